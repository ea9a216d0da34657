/*
 * store.h
 *		Features and rejects -> tables.
 */
#ifndef EF_STORE_H
#define EF_STORE_H

#include "store_form.h"
#include "utils/tuplestore.h"

/*
 * Puts the rows into a tuplestore whose desc has their columns, by name, in any order; others
 * are NULL.
 */
extern void EfStoreFill(EfTuples *rows, TupleDesc desc, Tuplestorestate *store);

/*
 * Claims the tables of the schema for one run: until the end of the transaction, without
 * waiting; false where another has it.
 */
extern bool EfStoreTryLock(Oid schema);

/* The same until EfStoreUnlock or the end of the process, and waits for its turn. */
extern void EfStoreLock(Oid schema);
extern void EfStoreUnlock(void);

/*
 * Brings eikon_user_features to what the rows say, writing only what differs; with dry_run only
 * counts it. Others may write to the table meanwhile: whoever changes the same row as the
 * run waits, or one of both gets a serialization failure. Needs EfQueryBegin.
 */
extern void EfStoreFeatures(Oid schema, EfTuples *rows, bool dry_run, EfStoreCounts *counts);

/* The same for eikon_compounds. */
extern void EfStoreCompounds(Oid schema, EfCompounds *compounds, EfStoreCounts *counts);

/*
 * The same for eikon_totals. run_id is written only with other totals, or if the run has changed
 * rows of other tables. Where the row is missing, which it should be only before the first run,
 * or doubled, a warning says so and it is put right.
 */
extern void EfStoreTotals(Oid schema, const EfTotals *totals, int64 run_id, bool first,
						  bool changed);

#endif /* EF_STORE_H */
