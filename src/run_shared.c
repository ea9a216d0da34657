/*
 * run_shared.c
 *		What the processes of all databases know of each other.
 *
 *	commit of a submission -> its database is wanted -> the launcher's latch
 *	the launcher           -> takes it, starts a worker there
 *	the worker             -> looks at the queue until nothing waits, is done
 *
 * Where there is no launcher, which is so when the library is not preloaded, the
 * commit starts one.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "run_shared.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

/* The launcher comes back so soon after it was ended. */
#define RESTART_SECONDS 5

typedef struct Running
{
	int64 run_id;
	Oid database; /* InvalidOid: nothing here */
	Oid role;
	int pid;
	bool cancelled;
	bool over;
} Running;

typedef struct Database
{
	Oid oid; /* InvalidOid: nothing here */
	bool wanted;
	bool done;
	int worker; /* its process id; 0: none */
} Database;

typedef struct Shared
{
	LWLock lock;
	ConditionVariable change;
	Latch *launcher;	  /* NULL: there is none */
	bool launcher_coming; /* it has been asked for */
	bool lost;			  /* a database found no room */
	Database databases[EF_DATABASES];
	Running running[EF_DATABASES];
} Shared;

static Shared *shared;
static shmem_request_hook_type previous_request;

/* What is to be done when the transaction ends. */
static bool wake_at_commit;
static bool wake_at_abort;
static bool change_at_commit;

/* --- attaching --- */

static void
request(void)
{
	if (previous_request != NULL)
		previous_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Shared)));
}

static void
attach(void)
{
	bool found;

	if (shared != NULL)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("eikon_features", sizeof(Shared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		LWLockInitialize(&shared->lock, LWLockNewTrancheId());
		ConditionVariableInit(&shared->change);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(shared->lock.tranche, "eikon_features");
}

static void
lock(void)
{
	attach();
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
}

static void
unlock(void)
{
	LWLockRelease(&shared->lock);
}

/* --- runs that are going on --- */

static Running *mine; /* this process's; NULL: none */

/* Of those within this transaction; the last one is known to others. */
typedef struct Within
{
	SubTransactionId id;
	int64 run_id;
	Oid role;
} Within;

static List *within; /* in TopTransactionContext, the last one first */

/* With the lock held. */
static Running *
find_running(int64 run_id)
{
	for (int i = 0; i < EF_DATABASES; i++)
		if (shared->running[i].database == MyDatabaseId && shared->running[i].run_id == run_id)
			return &shared->running[i];
	return NULL;
}

void
EfRunningBegin(int64 run_id, Oid role)
{
	lock();
	for (int i = 0; i < EF_DATABASES && mine == NULL; i++)
		if (!OidIsValid(shared->running[i].database))
			mine = &shared->running[i];
	if (mine != NULL)
		*mine = (Running){
			.run_id = run_id, .database = MyDatabaseId, .role = role, .pid = MyProcPid};
	unlock();
	if (mine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("runs are going on in %d other databases", EF_DATABASES),
				 errhint("Wait until one of them has ended.")));
}

void
EfRunningEnd(void)
{
	if (mine == NULL)
		return;
	lock();
	mine->database = InvalidOid;
	unlock();
	mine = NULL;
}

void
EfRunningBeginWithin(int64 run_id, Oid role)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Within *run = palloc(sizeof(Within));

	*run = (Within){GetCurrentSubTransactionId(), run_id, role};
	within = lcons(run, within);
	MemoryContextSwitchTo(old);
	EfRunningBegin(run_id, role);
}

void
EfRunningOver(void)
{
	if (mine == NULL)
		return;
	lock();
	mine->over = true;
	unlock();
}

/* Ends those of a subtransaction, or all. Nothing here may fail. */
static void
end_within(SubTransactionId id)
{
	bool ended = false;

	while (within != NIL)
	{
		const Within *last = linitial(within);

		if (id != InvalidSubTransactionId && last->id != id)
			break;
		within = list_delete_first(within);
		ended = true;
	}
	if (!ended)
		return;
	if (within == NIL)
		EfRunningEnd();
	else if (mine != NULL)
	{
		const Within *last = linitial(within);

		lock();
		mine->run_id = last->run_id;
		mine->role = last->role;
		mine->over = true;
		unlock();
	}
}

static void
pass_within(SubTransactionId id, SubTransactionId parent)
{
	ListCell *cell;

	foreach(cell, within)
	{
		Within *run = lfirst(cell);

		if (run->id == id)
			run->id = parent;
	}
}

bool
EfRunningHere(void)
{
	return mine != NULL;
}

bool
EfRunningCancelled(void)
{
	bool cancelled;

	if (mine == NULL)
		return false;
	lock();
	cancelled = mine->cancelled;
	unlock();
	return cancelled;
}

int64
EfRunningId(void)
{
	int64 run_id = 0;

	lock();
	for (int i = 0; i < EF_DATABASES; i++)
		if (shared->running[i].database == MyDatabaseId)
			run_id = shared->running[i].run_id;
	unlock();
	return run_id;
}

bool
EfRunningFind(int64 run_id, Oid *role, bool *over)
{
	Running *running;

	lock();
	running = find_running(run_id);
	if (running != NULL)
	{
		*role = running->role;
		*over = running->over;
	}
	unlock();
	return running != NULL;
}

/* The signal is sent under the lock, so that it goes to nobody who has left it behind. */
bool
EfRunningCancel(int64 run_id)
{
	Running *running;

	lock();
	running = find_running(run_id);
	if (running != NULL && running->over)
		running = NULL;
	if (running != NULL)
	{
		running->cancelled = true;
		kill(running->pid, SIGINT);
	}
	unlock();
	return running != NULL;
}

/* --- the end of a transaction --- */

static void
at_end(XactEvent event, void *arg)
{
	bool committed = event == XACT_EVENT_COMMIT;

	if (!committed && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	end_within(InvalidSubTransactionId);
	if (committed ? wake_at_commit : wake_at_abort)
		EfWake();
	if (committed && change_at_commit)
		EfChange();
	wake_at_commit = wake_at_abort = change_at_commit = false;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		end_within(id);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		pass_within(id, parent);
}

void
EfSharedInit(void)
{
	RegisterXactCallback(at_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
}

void
EfWakeAtCommit(void)
{
	attach();
	wake_at_commit = true;
}

void
EfWakeAtEnd(void)
{
	EfWakeAtCommit();
	wake_at_abort = true;
}

void
EfChangeAtCommit(void)
{
	attach();
	change_at_commit = true;
}

/* --- changes --- */

void
EfChange(void)
{
	attach();
	ConditionVariableBroadcast(&shared->change);
}

void
EfChangeWaitBegin(void)
{
	attach();
	ConditionVariablePrepareToSleep(&shared->change);
}

bool
EfChangeWait(long milliseconds)
{
	return !ConditionVariableTimedSleep(&shared->change, milliseconds, PG_WAIT_EXTENSION);
}

void
EfChangeWaitEnd(void)
{
	ConditionVariableCancelSleep();
}

/* --- work --- */

/* With the lock held. */
static Database *
find_database(Oid oid)
{
	for (int i = 0; i < EF_DATABASES; i++)
		if (shared->databases[i].oid == oid)
			return &shared->databases[i];
	return NULL;
}

bool
EfDatabaseEnter(Oid oid)
{
	Database *database;

	lock();
	database = find_database(oid);
	if (database == NULL)
		database = find_database(InvalidOid);
	if (database != NULL && database->oid != oid)
		*database = (Database){.oid = oid};
	if (database != NULL)
		database->wanted = true;
	unlock();
	return database != NULL;
}

void
EfLauncherDescribe(BackgroundWorker *launcher)
{
	memset(launcher, 0, sizeof(*launcher));
	launcher->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher->bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher->bgw_restart_time = RESTART_SECONDS;
	strlcpy(launcher->bgw_library_name, "eikon_features", BGW_MAXLEN);
	strlcpy(launcher->bgw_function_name, "EfLauncherMain", BGW_MAXLEN);
	strlcpy(launcher->bgw_name, "eikon_features launcher", BGW_MAXLEN);
	strlcpy(launcher->bgw_type, "eikon_features launcher", BGW_MAXLEN);
}

/* Nothing here may fail but with a warning: the transaction has ended. */
static void
start_launcher(void)
{
	BackgroundWorker launcher;

	EfLauncherDescribe(&launcher);
	if (RegisterDynamicBackgroundWorker(&launcher, NULL))
		return;
	lock();
	shared->launcher_coming = false;
	unlock();
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("no background worker could be started, so runs stay queued"),
			 errhint("Raise max_worker_processes; then submit again, or preload the library: shared_preload_libraries = 'eikon_features'.")));
}

void
EfWake(void)
{
	bool start;

	if (!IsUnderPostmaster)
		return;
	if (!EfDatabaseEnter(MyDatabaseId))
	{
		lock();
		shared->lost = true;
		unlock();
	}
	lock();
	start = shared->launcher == NULL && !shared->launcher_coming;
	if (start)
		shared->launcher_coming = true;
	else if (shared->launcher != NULL)
		SetLatch(shared->launcher);
	unlock();
	if (start)
		start_launcher();
}

int
EfWorkersAlive(void)
{
	int n = 0;

	lock();
	for (int i = 0; i < EF_DATABASES; i++)
		n += shared->databases[i].oid == MyDatabaseId && shared->databases[i].worker != 0;
	unlock();
	return n;
}

bool
EfLauncherAlive(void)
{
	bool alive;

	lock();
	alive = shared->launcher != NULL;
	unlock();
	return alive;
}

/* --- the launcher --- */

bool
EfLauncherBegin(bool *asked)
{
	bool first;

	lock();
	first = shared->launcher == NULL;
	*asked = shared->launcher_coming;
	if (first)
		shared->launcher = MyLatch;
	shared->launcher_coming = false;
	unlock();
	return first;
}

bool
EfLauncherEnd(bool must)
{
	bool wanted = false;

	lock();
	for (int i = 0; i < EF_DATABASES; i++)
		wanted |= OidIsValid(shared->databases[i].oid);
	wanted |= shared->lost;
	if ((must || !wanted) && shared->launcher == MyLatch)
		shared->launcher = NULL;
	unlock();
	return must || !wanted;
}

bool
EfDatabasesLost(void)
{
	bool lost;

	lock();
	lost = shared->lost;
	shared->lost = false;
	unlock();
	return lost;
}

Oid
EfDatabaseAt(int slot, bool *wanted, bool *worked)
{
	Oid oid;

	lock();
	oid = shared->databases[slot].oid;
	*wanted = shared->databases[slot].wanted;
	*worked = shared->databases[slot].worker != 0;
	unlock();
	return oid;
}

void
EfDatabaseRemove(int slot)
{
	lock();
	if (!shared->databases[slot].wanted)
		shared->databases[slot].oid = InvalidOid;
	unlock();
}

void
EfDatabaseTake(int slot)
{
	lock();
	shared->databases[slot].wanted = false;
	shared->databases[slot].done = false;
	unlock();
}

void
EfDatabaseAgain(int slot)
{
	lock();
	shared->databases[slot].wanted = true;
	unlock();
}

bool
EfDatabaseIsDone(int slot)
{
	bool done;

	lock();
	done = shared->databases[slot].done;
	unlock();
	return done;
}

/* --- workers --- */

static void
forget_worker(int code, Datum arg)
{
	Database *database;

	lock();
	database = find_database(MyDatabaseId);
	if (database != NULL && database->worker == MyProcPid)
		database->worker = 0;
	if (shared->launcher != NULL)
		SetLatch(shared->launcher);
	unlock();
	EfRunningEnd(); /* it may have been cut off in the middle of one */
	ConditionVariableBroadcast(&shared->change);
}

void
EfWorkerBegin(void)
{
	static bool known = false;
	Database *database;

	lock();
	database = find_database(MyDatabaseId);
	if (database != NULL)
	{
		database->wanted = false;
		database->worker = MyProcPid;
	}
	unlock();
	if (!known)
		before_shmem_exit(forget_worker, (Datum) 0);
	known = true;
}

void
EfWorkerDone(void)
{
	Database *database;

	lock();
	database = find_database(MyDatabaseId);
	if (database != NULL && database->worker == MyProcPid)
		database->done = true;
	unlock();
}
