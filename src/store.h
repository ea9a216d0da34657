/*
 * store.h
 *		Features and rejects -> tables.
 */
#ifndef EF_STORE_H
#define EF_STORE_H

#include "aggregate.h"
#include "query.h"
#include "reject.h"

/* What became of the rows of features. */
typedef struct EfStoreCounts
{
	int64 inserted;
	int64 updated;
	int64 deleted;
	int64 unchanged;
} EfStoreCounts;

/*
 * Whether a column bears that name. Throws where it does, but is of another type
 * than the extension gave it.
 */
extern bool EfStoreIsColumn(TupleDesc desc, int i, const char *name, Oid type);

/*
 * Puts the features of all users into rows, by ascending user_id. desc has
 * the columns of the table features, by name; others are NULL. Throws where a
 * user's total run time is out of range.
 */
extern void EfStoreFill(EfAggregate *aggregate, TupleDesc desc, Tuplestorestate *rows);

/* Throws unless the tables still have the columns that the extension gave them. */
extern void EfStoreCheck(Oid schema);

/*
 * Claims the table features of the schema for one run, until the end of the
 * transaction. Throws where another run has it, rather than wait.
 */
extern void EfStoreLock(Oid schema);

/*
 * Brings the tables features and eikon_compounds of the schema to what the
 * aggregate says, writing only rows that differ; with dry_run only counts them.
 * Other writers wait until the end of the transaction, so that what the run
 * leaves is what it derived; readers are not blocked. Needs EfQueryBegin.
 */
extern void EfStoreWrite(Oid schema, EfAggregate *aggregate, bool dry_run,
						 EfStoreCounts *counts);

/* Rejects kept until the run is on record; on disk when there are many. */
typedef struct EfRejects EfRejects;

extern EfRejects *EfRejectsBegin(void);
extern void EfRejectsAdd(void *rejects, const EfReject *reject); /* an EfRejectFn */
extern void EfRejectsWrite(EfRejects *rejects, Oid schema, int64 run_id);
extern void EfRejectsEnd(EfRejects *rejects);

#endif /* EF_STORE_H */
