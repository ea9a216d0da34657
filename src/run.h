/*
 * run.h
 *		One run, from the files to the tables, and what is told of it.
 */
#ifndef EF_RUN_H
#define EF_RUN_H

#include "options.h"
#include "store_rejects.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* Defines eikon_features.log_runs. */
extern void EfRunInit(void);

/*
 * Runs in the current transaction against the tables of the schema. source
 * NULL is eikon_features.data_directory. Returns the row of eikon_runs, of
 * that table's type; with dry_run it is only returned, not recorded. With keep_failure the
 * run's own errors are rolled back, recorded and returned, not thrown.
 */
extern Datum EfRun(Oid schema, const char *source, const EfOptions *options, bool keep_failure);

/* A run that is in the ledger already, as running. */
typedef struct EfQueuedRun
{
	int64 run_id;
	int attempt; /* from 1 */
	Oid role;
	char *requested_by;
	char *source;
	Jsonb *options;
	TimestampTz started;
	EfRejects *rejects; /* that outlive the transaction; NULL: none yet */
} EfQueuedRun;

/*
 * The same for it, as the current role, whose claim of the table it goes on with. Returns
 * what to say of it with EfRunLogSuccess once it is committed, in that context.
 */
extern char *EfRunQueued(Oid schema, const EfQueuedRun *queued, MemoryContext context);
extern void EfRunLogSuccess(const char *line);

/* Records that it failed or was cancelled, with its rejects if that is asked for. */
extern void EfRunFailed(Oid schema, const EfQueuedRun *queued, const char *status,
						const ErrorData *error, bool with_rejects);

/* Has the server's log say that the error ended it; outcome is "failed" or the like. */
extern void EfRunLogFailure(const EfQueuedRun *queued, const char *outcome,
							const ErrorData *error);

#endif /* EF_RUN_H */
