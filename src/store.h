/*
 * store.h
 *		Features and rejects -> tables.
 */
#ifndef EF_STORE_H
#define EF_STORE_H

#include "access/htup.h"
#include "aggregate.h"
#include "compat.h"
#include "lib/stringinfo.h"
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

/* Rows of the table features, by ascending user_id: heap tuples of EfStoreDesc(). */
typedef struct EfTuples
{
	bool (*next)(void *arg, HeapTupleData *tuple); /* valid until the next call; false: no more */
	void *arg;
	int64 count;
} EfTuples;

/* The known compounds, in any order. */
typedef struct EfCompounds
{
	bool (*next)(void *arg, EfCompound *compound); /* texts as above */
	void *arg;
} EfCompounds;

extern TupleDesc EfStoreDesc(void);

/*
 * Appends the row to the buffer, MAXALIGNed, as heap_form_tuple would make it of
 * EfStoreDesc(), but for what a header has of transactions; tuple points there
 * until the buffer grows again. False where the user's total run time is out of
 * range, and nothing is done.
 */
extern bool EfStoreForm(const EfFeatures *features, StringInfo buffer, HeapTupleData *tuple);

/* Throws for the user of whom EfStoreForm() said so. */
pg_noreturn extern void EfStoreOutOfRange(int64 user_id);

/*
 * Puts the rows into a tuplestore whose desc has columns of the table features, by
 * name, in any order; others are NULL.
 */
extern void EfStoreFill(EfTuples *rows, TupleDesc desc, Tuplestorestate *store);

/* Throws unless the tables still have the columns that the extension gave them. */
extern void EfStoreCheck(Oid schema);

/* Throws, saying that the table is missing from the schema. */
pg_noreturn extern void EfStoreMissing(Oid schema, const char *table);

/*
 * Claims the table features of the schema for one run: until the end of the
 * transaction, without waiting; false where another has it.
 */
extern bool EfStoreTryLock(Oid schema);

/* The same until EfStoreUnlock or the end of the process, and waits for its turn. */
extern void EfStoreLock(Oid schema);
extern void EfStoreUnlock(void);

/*
 * Brings the table features of the schema to what the rows say, writing only what
 * differs; with dry_run only counts it. Other writers wait until the end of the
 * transaction, so that what the run leaves is what it derived; readers are not
 * blocked. Needs EfQueryBegin.
 */
extern void EfStoreFeatures(Oid schema, EfTuples *rows, bool dry_run, EfStoreCounts *counts);

/* The same for eikon_compounds. */
extern void EfStoreCompounds(Oid schema, EfCompounds *compounds);

/* Rejects kept until the run is on record; on disk when there are many. */
typedef struct EfRejects EfRejects;

/* In the current memory context; with keep it outlives the transaction if that does. */
extern EfRejects *EfRejectsBegin(bool keep);
extern void EfRejectsAdd(void *rejects, const EfReject *reject); /* an EfRejectFn */
extern void EfRejectsWrite(EfRejects *rejects, Oid schema, int64 run_id);
extern void EfRejectsEnd(EfRejects *rejects);

/* Ends it where it may be damaged: a disk was full, for instance. Not with keep. */
extern void EfRejectsAbandon(EfRejects *rejects);

#endif /* EF_STORE_H */
