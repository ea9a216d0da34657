/*
 * run.h
 *		One run, from the files to the tables, and its row in the ledger.
 */
#ifndef EF_RUN_H
#define EF_RUN_H

#include "options.h"

/*
 * Runs in the current transaction against the tables of the schema. source
 * NULL is eikon_features.data_directory. Returns the row of eikon_runs, of
 * that table's type; with dry_run it is only returned, not recorded.
 */
extern Datum EfRun(Oid schema, const char *source, const EfOptions *options);

#endif /* EF_RUN_H */
