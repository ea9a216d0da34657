/*
 * store_check.h
 *		Whether the tables are as a run needs them, whatever users have made of them.
 */
#ifndef EF_STORE_CHECK_H
#define EF_STORE_CHECK_H

#include "compat.h"
#include "utils/relcache.h"

/*
 * Throws unless the tables have the columns that the extension gave them, and are of a kind
 * that a run can write.
 */
extern void EfStoreCheck(Oid schema);

/* The same for the kind of one relation, that table or a partition of it. */
extern void EfStoreCheckKind(const char *table, Relation relation);

/* Throws, saying that the table is missing from the schema. */
pg_noreturn extern void EfStoreMissing(Oid schema, const char *table);

#endif /* EF_STORE_CHECK_H */
