/*
 * run_queue.h
 *		Runs that wait to be run by a background worker, and those that wait for them.
 *
 *	queued -> running -> succeeded | failed | cancelled
 *	   ^ `------|-----------------------------^
 *	   `--------'  cut off, once
 */
#ifndef EF_RUN_QUEUE_H
#define EF_RUN_QUEUE_H

#include "datatype/timestamp.h"
#include "options.h"
#include "run.h"

/* How often a run is begun, where each attempt is cut off. */
#define EF_ATTEMPTS 2

/* --- for sessions --- */

/*
 * Queues a run, in the current transaction; source NULL is
 * eikon_features.data_directory. Returns its run_id, or that of the same one that is
 * queued already or, with join, running, unless the source is uploaded files.
 */
extern int64 EfQueueSubmit(Oid schema, const char *source, const EfOptions *options, bool join);

/*
 * Waits until the run has ended, or the timeout (NULL: none) is over. Returns its row of
 * eikon_runs as it is then, in the current memory context.
 */
extern Datum EfQueueWait(Oid schema, int64 run_id, const Interval *timeout);

/*
 * Submits and commits the caller's transaction, which must be able to; waits and throws
 * the run's error if it has one.
 */
extern void EfQueueRun(Oid schema, const char *source, const EfOptions *options,
					   const Interval *timeout);

/* Withdraws a run that waits, or tells a running one to stop. */
extern void EfQueueCancel(Oid schema, int64 run_id);

/* Deletes the runs that ended longer ago; returns how many. */
extern int64 EfQueuePurge(Oid schema, const Interval *older_than);

#define EF_HEALTH_COLUMNS 8

/* The columns of eikon_health(), in the current memory context. */
extern void EfQueueHealth(Oid schema, Datum *values, bool *nulls);

/* --- for the worker, between EfLedgerAct and EfLedgerActEnd --- */

/* Whether there is anything to do. */
extern bool EfQueueHasWork(Oid schema);

/* Queues again, or fails, what is said to be running though nobody can be running it. */
extern void EfQueueRecover(Oid schema);

/* Queues a running run again; false where the same is queued already. */
extern bool EfQueueAgain(Oid schema, int64 run_id);

typedef enum EfClaim
{
	EF_NONE,	/* nothing waits, or what waits is locked */
	EF_OTHER,	/* the next run is another role's */
	EF_REFUSED, /* it may not be run, and has failed */
	EF_CLAIMED
} EfClaim;

/*
 * Makes the next run a running one, if it is of that role (InvalidOid: any), and fills in
 * queued but for its rejects, in the current memory context.
 */
extern EfClaim EfQueueClaim(Oid schema, Oid role, EfQueuedRun *queued);

#endif /* EF_RUN_QUEUE_H */
