/*
 * options.h
 *		The options of a run, under COPY's names.
 */
#ifndef EF_OPTIONS_H
#define EF_OPTIONS_H

#include "dialect.h"
#include "utils/jsonb.h"

/* Options that there can be. */
#define EF_OPTIONS 32

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

	/* as the caller gave them, for the ledger; options.c knows which is which */
	bool given[EF_OPTIONS]; /* not as by default */
	Datum values[EF_OPTIONS];
} EfOptions;

/* Defaults. */
extern void EfOptionsBegin(EfOptions *options);

/*
 * Sets one option: TEXTOID, INT8OID or BOOLOID. Throws when the value is not one it can
 * have.
 */
extern void EfOptionsSet(EfOptions *options, const char *name, Oid type, Datum value);

/* Checks those that depend on each other. */
extern void EfOptionsCheck(const EfOptions *options);

/* Those that are not as by default. */
extern Jsonb *EfOptionsToJsonb(const EfOptions *options);

/* The same, back again: begins, sets and checks them. */
extern void EfOptionsFromJsonb(EfOptions *options, Jsonb *given);

/* The names of those that make no difference to what is derived, as text[]. */
extern Datum EfOptionsOfRun(void);

#endif /* EF_OPTIONS_H */
