/*
 * eikon_features.c
 *		The names of the kinds.
 */
#include "postgres.h"

#include "eikon_features.h"

const char *const EfKindNames[EF_KINDS] = {"users", "compounds", "user_experiments"};
