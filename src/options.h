/*
 * options.h
 *		The options of a run, under COPY's names.
 */
#ifndef EF_OPTIONS_H
#define EF_OPTIONS_H

#include "dialect.h"
#include "nodes/pg_list.h"

/* One option as the caller gave it, for the ledger. */
typedef struct EfGivenOption
{
	const char *name;
	Oid type; /* TEXTOID, INT8OID or BOOLOID */
	Datum value;
} EfGivenOption;

typedef struct EfOptions
{
	EfDialectOptions dialect;
	int encoding;	  /* see encoding.h */
	const char *null; /* values equal to it are NULL */
	bool null_given;
	bool ignore;		/* on_error => 'ignore' */
	int64 reject_limit; /* 0: none */
	bool dry_run;
	bool skip_unchanged;
	List *given; /* EfGivenOption, those not at their default */
} EfOptions;

/* Defaults. */
extern void EfOptionsBegin(EfOptions *options);

/* Sets one option. Throws when the value is not one it can have. */
extern void EfOptionsSet(EfOptions *options, const char *name, Oid type, Datum value);

/* Checks those that depend on each other. */
extern void EfOptionsCheck(const EfOptions *options);

#endif /* EF_OPTIONS_H */
