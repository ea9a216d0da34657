/*
 * run_shared.h
 *		What the processes of all databases know of each other: which runs are going
 *		on, which databases have runs waiting, and where the launcher is.
 *
 * It is in shared memory, for which a preloaded library asks when the server starts, and
 * another one takes of what is left over. Nothing in it matters after a crash.
 */
#ifndef EF_RUN_SHARED_H
#define EF_RUN_SHARED_H

/* Databases that can have runs going on, or waiting to be begun, at a time. */
#define EF_DATABASES 128

/* To be called by _PG_init. */
extern void EfSharedInit(void);

/* --- runs that are going on --- */

/*
 * Makes this process known as the one that does the run, which any other can then
 * find and cancel, until EfRunningEnd.
 */
extern void EfRunningBegin(int64 run_id, Oid role);
extern void EfRunningEnd(void);

/*
 * The same for a run within a transaction, which may have several: until that, or the
 * subtransaction, ends. EfRunningOver says that the run itself has ended.
 */
extern void EfRunningBeginWithin(int64 run_id, Oid role);
extern void EfRunningOver(void);

/* Whether this process is known for one, and whether it was cancelled by EfRunningCancel. */
extern bool EfRunningHere(void);
extern bool EfRunningCancelled(void);

/* Of the run that is going on in this database; 0: none that is known. */
extern int64 EfRunningId(void);

/* Who asked for the run, and whether it is over; false where it is not known. */
extern bool EfRunningFind(int64 run_id, Oid *role, bool *over);

/* Tells the process that does it to stop; false where it is not going on. */
extern bool EfRunningCancel(int64 run_id);

/* --- changes of runs' states --- */

/* Wakes all who wait for a change, in any database, when the transaction commits. */
extern void EfChangeAtCommit(void);

/* Wakes them now. */
extern void EfChange(void);

/* Waits for a change after EfChangeWaitBegin, or for no reason; false after so long. */
extern void EfChangeWaitBegin(void);
extern bool EfChangeWait(long milliseconds); /* -1: however long */
extern void EfChangeWaitEnd(void);

/* --- work --- */

/* Has somebody look at this database's queue: now, or when the transaction commits. */
extern void EfWake(void);
extern void EfWakeAtCommit(void);

/* The same when the transaction ends in whatever way. */
extern void EfWakeAtEnd(void);

/* Workers that are alive in this database, and whether the launcher is. */
extern int EfWorkersAlive(void);
extern bool EfLauncherAlive(void);

/* --- for the launcher --- */

/* Makes this process the launcher; false where there is one. *asked: for a database. */
extern bool EfLauncherBegin(bool *asked);

/* Ends it, unless a database was entered meanwhile and must is false; then false. */
extern bool EfLauncherEnd(bool must);

/* How to start it. */
struct BackgroundWorker;
extern void EfLauncherDescribe(struct BackgroundWorker *launcher);

/* Whether there were more databases than there is room for. Says so once. */
extern bool EfDatabasesLost(void);

/*
 * The database in a slot; InvalidOid: none. *wanted: its queue is to be looked at;
 * *worked: a worker is at it.
 */
extern Oid EfDatabaseAt(int slot, bool *wanted, bool *worked);
extern bool EfDatabaseEnter(Oid database); /* wanted; false: there is no room */
extern void EfDatabaseRemove(int slot);	   /* unless wanted meanwhile */

/* A worker is going to be started there. */
extern void EfDatabaseTake(int slot);

/* It could not be, or has to be again. */
extern void EfDatabaseAgain(int slot);

/* Whether the worker that has ended there did so in an orderly way. */
extern bool EfDatabaseIsDone(int slot);

/* --- for workers --- */

extern void EfWorkerBegin(void); /* before it looks at the queue */
extern void EfWorkerDone(void);	 /* ends in an orderly way */

#endif /* EF_RUN_SHARED_H */
