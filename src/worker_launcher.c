/*
 * worker_launcher.c
 *		The launcher: starts a worker in each database where runs wait.
 *
 * It is connected to no database and sleeps until somebody wakes it. When it starts, nobody
 * knows where runs wait, so a worker has a look at each database. A library that is not
 * preloaded has it started by the first who submits a run; then it ends when there is
 * nothing left to do.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "run_shared.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker.h"

PGDLLEXPORT void EfLauncherMain(Datum arg);

/* How long until the next try, where there is no room for a worker. */
#define FULL_MILLISECONDS 1000

/* The same where a worker failed; doubled with each further time, up to a limit. */
#define FAILED_MILLISECONDS 5000
#define FAILED_MOST (5 * 60 * 1000)

static int max_workers = 4;
static bool preloaded;

void
EfWorkerInit(void)
{
	BackgroundWorker launcher;

	/*
	 * Raise it where runs of many databases shall go on at a time; each takes one of
	 * max_worker_processes. In one database there is never more than one.
	 */
	DefineCustomIntVariable("eikon_features.max_workers",
							"Background workers that run submitted runs at a time, in all databases.",
							NULL, &max_workers, 4, 1, EF_DATABASES, PGC_SIGHUP, 0, NULL, NULL, NULL);
	preloaded = process_shared_preload_libraries_in_progress;
	if (!preloaded || IsBinaryUpgrade)
		return;
	EfLauncherDescribe(&launcher);
	RegisterBackgroundWorker(&launcher);
}

/* The worker of the database at the same slot of what is shared. */
typedef struct LaunchedWorker
{
	Oid database;
	BackgroundWorkerHandle *handle; /* NULL: none */
	int failures;					/* one after the other */
	TimestampTz not_before;
} LaunchedWorker;

static LaunchedWorker workers[EF_DATABASES];
static List *visits; /* databases that are to be looked at, by the start of the server */
static bool full;	 /* there is no room for a worker */

/* --- databases --- */

/* Those that can be connected to and are no templates; or whether one can be. */
static List *
list_databases(Oid only)
{
	MemoryContext context = CurrentMemoryContext;
	List *found = NIL;
	Relation catalog;
	TableScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		/* one with a negative limit is a DROP DATABASE that was cut off */
		if (!database->datallowconn || database->datconnlimit < -1 || (only == InvalidOid ? database->datistemplate : database->oid != only))
			continue;
		old = MemoryContextSwitchTo(context);
		found = lappend_oid(found, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return found;
}

static bool
is_connectable(Oid database)
{
	List *found = list_databases(database);
	bool connectable = found != NIL;

	list_free(found);
	return connectable;
}

/* Enters as many of the databases to be looked at as there is room for. */
static void
enter_visits(void)
{
	if (EfDatabasesLost())
	{
		list_free(visits);
		visits = list_databases(InvalidOid);
	}
	while (visits != NIL && EfDatabaseEnter(linitial_oid(visits)))
		visits = list_delete_first(visits);
}

/* --- workers --- */

static int
count_workers(void)
{
	int n = 0;

	for (int i = 0; i < EF_DATABASES; i++)
		n += workers[i].handle != NULL;
	return n;
}

static bool
start_worker(int slot, Oid database)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "eikon_features", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "EfWorkerMain", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "eikon_features worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "eikon_features worker", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, &workers[slot].handle);
}

static void
say_full(void)
{
	if (!full)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no background worker could be started, so runs stay queued for now"),
				 errhint("Raise max_worker_processes.")));
	full = true;
}

static void
try_start(int slot, Oid database)
{
	if (!is_connectable(database))
	{
		EfDatabaseTake(slot);
		EfDatabaseRemove(slot);
		return;
	}
	EfDatabaseTake(slot);
	if (start_worker(slot, database))
	{
		full = false;
		return;
	}
	workers[slot].handle = NULL;
	EfDatabaseAgain(slot);
	say_full();
}

/* A worker that did not end in an orderly way is started again, after a while. */
static void
look_after(int slot)
{
	LaunchedWorker *worker = &workers[slot];
	int wait;
	pid_t pid;

	if (GetBackgroundWorkerPid(worker->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(worker->handle);
	worker->handle = NULL;
	if (EfDatabaseIsDone(slot))
	{
		worker->failures = 0;
		worker->not_before = 0;
		return;
	}
	wait = worker->failures < 6 ? FAILED_MILLISECONDS << worker->failures : FAILED_MOST;
	worker->failures++;
	worker->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait);
	EfDatabaseAgain(slot);
}

/* Looks after one slot; returns for how long it need not be looked at again, -1: for ever. */
static long
serve_slot(int slot, TimestampTz now)
{
	LaunchedWorker *worker = &workers[slot];
	bool wanted;
	bool worked;
	Oid database;

	if (worker->handle != NULL)
		look_after(slot);
	database = EfDatabaseAt(slot, &wanted, &worked);
	if (database != worker->database)
		*worker = (LaunchedWorker){.database = database};

	/* a worker without a handle is one of the launcher before this one */
	if (!OidIsValid(database) || worker->handle != NULL || worked)
		return -1;
	if (!wanted)
	{
		EfDatabaseRemove(slot);
		return -1;
	}
	if (worker->not_before > now)
		return TimestampDifferenceMilliseconds(now, worker->not_before) + 1;
	if (count_workers() < max_workers)
		try_start(slot, database);
	return full ? FULL_MILLISECONDS : -1;
}

/* Does what there is to do; returns for how long nothing else is, -1: for ever. */
static long
do_work(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long sleep;

	enter_visits();
	sleep = visits == NIL ? -1 : FULL_MILLISECONDS;
	for (int i = 0; i < EF_DATABASES; i++)
	{
		long wait = serve_slot(i, now);

		if (wait >= 0)
			sleep = sleep < 0 ? wait : Min(sleep, wait);
	}
	return sleep;
}

/* --- the process --- */

static void
leave(int code, Datum arg)
{
	(void) EfLauncherEnd(true);
}

static void
sleep_for(long milliseconds)
{
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (milliseconds >= 0 ? WL_TIMEOUT : 0);

	(void) WaitLatch(MyLatch, events, milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
EfLauncherMain(Datum arg)
{
	bool asked;

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	MemoryContextSwitchTo(TopMemoryContext);
	if (!EfLauncherBegin(&asked))
		proc_exit(0);
	before_shmem_exit(leave, (Datum) 0);
	if (preloaded || !asked)
		visits = list_databases(InvalidOid);
	while (!ShutdownRequestPending)
	{
		long sleep = do_work();

		if (!preloaded && visits == NIL && count_workers() == 0 && EfLauncherEnd(false))
			proc_exit(0);
		sleep_for(sleep);
	}
	proc_exit(1);
}
