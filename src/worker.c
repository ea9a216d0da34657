/*
 * worker.c
 *		The worker: runs what is queued in its database, as the roles that asked for it.
 *
 *	claim the table -> recover -> claim the next run -> run it -> record -> again
 *	     waits for direct runs        transaction       its own   its own
 *
 * It is connected as the server's superuser and becomes the run's role for the run's
 * transaction, as in a SECURITY DEFINER function: nothing that the role's triggers do leads
 * back. One process serves one role, so that nothing of a role's session is left for
 * another one. When nothing waits it is gone, and is in nobody's way.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_db_role_setting.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "progress.h"
#include "query.h"
#include "run_ledger.h"
#include "run_queue.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "worker_shared.h"

PGDLLEXPORT void EfWorkerMain(Datum database);

/* The server, or an administrator, wants this process to end. */
static volatile sig_atomic_t terminated = false;
static volatile sig_atomic_t in_run = false;

/* A run is ended as by a cancel, so that there is still time to say so. */
static void
on_terminate(SIGNAL_ARGS)
{
	int saved = errno;

	if (!in_run)
	{
		die(postgres_signal_arg);
		return;
	}
	terminated = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = saved;
}

/* --- transactions --- */

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* The same for statements on the ledger. */
static void
begin_ledger(Oid schema, EfIdentity *before)
{
	begin();
	EfLedgerAct(schema, before);
	EfQueryBegin();
}

/* As the ledger's owner, who may have put deferred triggers on it. */
static void
commit_ledger(const EfIdentity *before)
{
	EfQueryEnd();
	commit();
	EfLedgerActed(before);
}

/* The extension's schema; InvalidOid where it is not there, or not with these tables. */
static Oid
find_schema(void)
{
	Oid schema = InvalidOid;
	Datum value;
	bool isnull;

	begin();
	EfQueryBegin();
	if (EfQueryRowNow("SELECT extnamespace FROM pg_catalog.pg_extension"
					  " WHERE extname OPERATOR(pg_catalog.=) 'eikon_features'",
					  0, NULL, NULL, 1, &value, &isnull))
		schema = DatumGetObjectId(value);
	EfQueryEnd();
	if (OidIsValid(schema) && !OidIsValid(get_relname_relid("eikon_runs", schema)))
		schema = InvalidOid;
	commit();
	return schema;
}

/* --- one run --- */

typedef struct Worker
{
	Oid schema;
	Oid role;			   /* that this process serves; InvalidOid: none yet */
	MemoryContext context; /* of one run */
	EfQueuedRun run;
	int running;
} Worker;

/* What ALTER ROLE says of the role, as if it had logged in. */
static void
apply_settings(Oid role)
{
	Relation settings = table_open(DbRoleSettingRelationId, AccessShareLock);
	Snapshot snapshot = GetActiveSnapshot();

	ApplySetting(snapshot, MyDatabaseId, role, settings, PGC_S_DATABASE_USER);
	ApplySetting(snapshot, InvalidOid, role, settings, PGC_S_USER);
	table_close(settings, AccessShareLock);
}

/* In a transaction of its own, which it ends as the run's role: that has triggers, too. */
static void
run_it(Worker *worker)
{
	Oid user;
	int context;
	MemoryContext old;

	begin();
	old = MemoryContextSwitchTo(worker->context);
	worker->run.rejects = EfRejectsBegin(true);
	MemoryContextSwitchTo(old);
	if (!OidIsValid(worker->role))
		apply_settings(worker->run.role);
	worker->role = worker->run.role;
	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(worker->role, context | SECURITY_LOCAL_USERID_CHANGE);
	EfRunQueued(worker->schema, &worker->run);
	EfProgressEnd();
	commit();
	SetUserIdAndSecContext(user, context);
	disable_timeout(STATEMENT_TIMEOUT, false);
}

static bool
has_timed_out(const Worker *worker)
{
	return StatementTimeout > 0 &&
		   TimestampDifferenceExceeds(worker->run.started, GetCurrentTimestamp(), StatementTimeout);
}

/* What became of a run that ended with this error. */
static const char *
judge(const Worker *worker, const ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
		return "failed";
	if (EfRunningCancelled(worker->running))
		return "cancelled";
	if (terminated)
		return worker->run.attempt < EF_ATTEMPTS ? "queued" : "failed";
	return has_timed_out(worker) ? "failed" : "cancelled";
}

/* Writes it down; false where that could not be done. */
static bool
record(Worker *worker, const char *status, ErrorData *error, bool with_rejects)
{
	MemoryContext old = CurrentMemoryContext;
	EfIdentity before;
	volatile bool recorded = true;

	PG_TRY();
	{
		begin_ledger(worker->schema, &before);
		if (strcmp(status, "queued") != 0 || !EfQueueAgain(worker->schema, worker->run.run_id))
			EfRunFailed(worker->schema, &worker->run,
						strcmp(status, "queued") == 0 ? "failed" : status, error, with_rejects);
		commit_ledger(&before);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		recorded = false;
	}
	PG_END_TRY();
	return recorded;
}

static void
record_error(Worker *worker, ErrorData *error)
{
	const char *status = judge(worker, error);

	if (terminated && strcmp(status, "cancelled") != 0)
	{
		error->sqlerrcode = ERRCODE_ADMIN_SHUTDOWN;
		error->message = "the run was cut off: its worker was told to end, by a shutdown of the server or an administrator";
	}
	EfRunLogFailure(&worker->run,
					strcmp(status, "queued") == 0 ? "was cut off and is queued again" : status,
					error);
	QueryCancelPending = false;

	/* without its rejects, if it is they that cannot be written */
	if (!record(worker, status, error, true) && !record(worker, status, error, false))
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not record the end of run " INT64_FORMAT, worker->run.run_id),
				 errdetail("It will be taken for one that was cut off.")));
}

static void
run_and_record(Worker *worker)
{
	MemoryContextSwitchTo(worker->context);
	in_run = true;
	PG_TRY();
	{
		run_it(worker);
	}
	PG_CATCH();
	{
		ErrorData *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(worker->context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		EfProgressEnd();
		disable_all_timeouts(false);
		RESUME_INTERRUPTS();
		record_error(worker, error);
	}
	PG_END_TRY();
	in_run = false;

	/* what triggers have set */
	ResetAllOptions();
}

/* --- the loop --- */

/* Claims the next run, if it is one of the role that this process serves. */
static EfClaim
claim(Worker *worker)
{
	EfIdentity before;
	MemoryContext old;
	EfClaim claim;

	begin_ledger(worker->schema, &before);
	EfQueueRecover(worker->schema);
	memset(&worker->run, 0, sizeof(worker->run));
	old = MemoryContextSwitchTo(worker->context);
	claim = EfQueueClaim(worker->schema, worker->role, &worker->run);
	MemoryContextSwitchTo(old);
	if (claim == EF_CLAIMED)
	{
		/* known to be running before it can be seen to be */
		worker->running = EfRunningBegin(worker->run.run_id, worker->run.role);
		EfProgressBegin(get_relname_relid("features", worker->schema), worker->run.run_id,
						worker->run.role);
	}
	commit_ledger(&before);
	MemoryContextSwitchTo(worker->context);
	return claim;
}

/* However long that takes, and whatever the settings say of waiting. */
static void
claim_table(Oid schema)
{
	int settings;

	pgstat_report_activity(STATE_RUNNING, "waiting until no other ETL run is going on");
	begin();
	settings = NewGUCNestLevel();
	(void) set_config_option("lock_timeout", "0", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	PopActiveSnapshot();
	EfStoreLock(schema);
	PushActiveSnapshot(GetTransactionSnapshot());
	AtEOXact_GUC(false, settings);
	commit();
}

/* Runs what has been claimed. */
static void
do_run(Worker *worker)
{
	pgstat_report_activity(STATE_RUNNING,
						   psprintf("ETL run " INT64_FORMAT " of \"%s\" for %s", worker->run.run_id,
									worker->run.source, worker->run.requested_by));
	run_and_record(worker);
	if (worker->run.rejects != NULL)
		EfRejectsEnd(worker->run.rejects);
	EfRunningEnd(worker->running);
	EfChange();
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(true);
}

/* Does one run; false when there is nothing left for this process. */
static bool
do_next(Worker *worker)
{
	EfIdentity before;
	EfClaim claimed;
	bool work;

	/* so that who submits from here on has somebody look again */
	EfWorkerBegin();
	worker->schema = find_schema();
	if (!OidIsValid(worker->schema))
		return false;
	begin_ledger(worker->schema, &before);
	work = EfQueueHasWork(worker->schema);
	commit_ledger(&before);
	if (!work)
		return false;

	claim_table(worker->schema);
	claimed = claim(worker);
	if (claimed == EF_CLAIMED)
		do_run(worker);
	else if (claimed == EF_OTHER)
		EfWake(); /* for another process */
	EfStoreUnlock();
	return claimed == EF_CLAIMED || claimed == EF_REFUSED;
}

/* What would otherwise come from the server's settings, and is not meant for the ledger. */
static void
pin_settings(void)
{
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_deferrable", "off", PGC_SUSET, PGC_S_OVERRIDE);
}

void
EfWorkerMain(Datum database)
{
	Worker worker = {0};

	pqsignal(SIGTERM, on_terminate);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
	pin_settings();
	worker.context = AllocSetContextCreate(TopMemoryContext, "eikon_features run",
										   ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		bool more;

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		MemoryContextSwitchTo(worker.context);
		more = do_next(&worker);
		MemoryContextReset(worker.context);
		if (terminated)
			EfWake(); /* for the worker after this one */
		if (!more || terminated)
			break;

		/* a cancel that came too late is meant for nobody */
		QueryCancelPending = false;
	}
	EfWorkerDone();
	proc_exit(0);
}
