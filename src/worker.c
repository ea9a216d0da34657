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
#include "catalog/pg_authid.h"
#include "catalog/pg_db_role_setting.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "progress.h"
#include "query.h"
#include "run_ledger.h"
#include "run_queue.h"
#include "run_shared.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "store.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

PGDLLEXPORT void EfWorkerMain(Datum database);

/* How long until the next look at what somebody else has locked. */
#define LOCKED_MILLISECONDS 200

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

/* PL/pgSQL and others let a trigger catch a cancel. One that is told to end must. */
static void
end_if_terminated(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB || !terminated)
		return;
	ProcDiePending = true;
	InterruptPending = true;
}

/* --- transactions --- */

static void
begin_transaction(void)
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

/*
 * The same for statements on the ledger, whatever the settings are. If somebody has locked
 * what they need, it is better to begin anew than to hold up others, or the server's end.
 */
static void
begin_ledger(Oid schema, EfIdentity *before)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = XactDeferrable = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	EfLedgerAct(schema, before);
	(void) set_config_option("lock_timeout", terminated ? "1s" : "10s", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
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

	begin_transaction();
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
} Worker;

/*
 * What ALTER ROLE says of the role, as if it had logged in. More than what it says of the
 * superuser as whom this process is connected, so both are given the higher rank.
 */
static void
apply_settings(Oid role)
{
	Relation settings = table_open(DbRoleSettingRelationId, AccessShareLock);
	Snapshot snapshot = GetActiveSnapshot();

	ApplySetting(snapshot, InvalidOid, role, settings, PGC_S_DATABASE_USER);
	ApplySetting(snapshot, MyDatabaseId, role, settings, PGC_S_DATABASE_USER);
	table_close(settings, AccessShareLock);
}

/* This process is the role, for session_user too, until its transaction has ended. */
static void
set_role(Oid role)
{
	SetSessionAuthorization(role, superuser_arg(role));
	SetUserIdAndSecContext(role, SECURITY_LOCAL_USERID_CHANGE);
}

static void
reset_role(void)
{
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, 0);
	SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
}

/* In a transaction of its own, which it ends as the run's role: that has triggers, too. */
static void
run_it(Worker *worker)
{
	MemoryContext old;
	char *line;

	begin_transaction();
	old = MemoryContextSwitchTo(worker->context);
	worker->run.rejects = EfRejectsBegin(true);
	MemoryContextSwitchTo(old);
	set_role(worker->run.role);
	if (!OidIsValid(worker->role))
		apply_settings(worker->run.role);
	worker->role = worker->run.role;
	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
	line = EfRunQueued(worker->schema, &worker->run, worker->context);
	EfProgressEnd();
	commit();
	reset_role();
	disable_timeout(STATEMENT_TIMEOUT, false);
	EfRunLogSuccess(line);
}

static bool
has_timed_out(const Worker *worker)
{
	return StatementTimeout > 0 &&
		   TimestampDifferenceExceeds(worker->run.started, GetCurrentTimestamp(), StatementTimeout);
}

/* Whether the error is but the end of processes, this one or a parallel worker. */
static bool
is_cut_off(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN || error->sqlerrcode == ERRCODE_CRASH_SHUTDOWN ||
		   (terminated && (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
						   error->sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE));
}

/* What becomes of a run that ended with this error. */
static const char *
classify_error(const Worker *worker, const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && EfRunningCancelled())
		return "cancelled";
	if (is_cut_off(error))
		return worker->run.attempt < EF_ATTEMPTS ? "queued" : "failed";
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && !has_timed_out(worker))
		return "cancelled";
	return "failed";
}

/* Writes it down; returns 0, or the code of the error why that could not be done. */
static int
record(Worker *worker, const char *status, ErrorData *error, bool with_rejects)
{
	MemoryContext old = CurrentMemoryContext;
	bool again = strcmp(status, "queued") == 0;
	EfIdentity before;
	volatile int code = 0;

	PG_TRY();
	{
		begin_ledger(worker->schema, &before);
		if (!again || !EfQueueAgain(worker->schema, worker->run.run_id))
			EfRunFailed(worker->schema, &worker->run, again ? "failed" : status, error, with_rejects);
		commit_ledger(&before);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(old);
		code = geterrcode();
		if (code != ERRCODE_QUERY_CANCELED)
			EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return code;
}

/* The end of a run is not interrupted by who wants it to end, nor lost to who locks the ledger. */
static void
record_outcome(Worker *worker, const char *status, ErrorData *error)
{
	bool with_rejects = true;
	bool last = terminated; /* there is no time to wait for others */

	for (;;)
	{
		int code;

		QueryCancelPending = false;
		code = record(worker, status, error, with_rejects);
		if (code == 0)
			return;
		if ((code == ERRCODE_QUERY_CANCELED || code == ERRCODE_LOCK_NOT_AVAILABLE) &&
			!last)
			last = terminated;
		else if (with_rejects)
			with_rejects = false; /* it may be they that cannot be written */
		else
			break;
	}
	ereport(FATAL,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("could not record the end of run " INT64_FORMAT, worker->run.run_id),
			 errdetail("It will be taken for one that was cut off.")));
}

static void
end_run(Worker *worker, ErrorData *error)
{
	const char *status = classify_error(worker, error);
	const char *outcome = strcmp(status, "queued") == 0 ? "was cut off and is queued again" : status;

	if (is_cut_off(error) && strcmp(status, "cancelled") != 0)
	{
		error->sqlerrcode = ERRCODE_ADMIN_SHUTDOWN;
		error->message = "the run was cut off: its worker was told to end, by a shutdown of the server or an administrator";
	}

	/* from here on it cannot be cancelled any more */
	EfRunningEnd();
	QueryCancelPending = false;
	EfRunLogFailure(&worker->run, outcome, error);
	RESUME_INTERRUPTS();
	record_outcome(worker, status, error);
	HOLD_INTERRUPTS();
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
		reset_role();
		EfProgressEnd();
		disable_all_timeouts(false);
		end_run(worker, error);
		RESUME_INTERRUPTS();
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
		/* known to be running before it can be seen to be; a cancel is for the run itself */
		HOLD_INTERRUPTS();
		EfRunningBegin(worker->run.run_id, worker->run.role);
		EfProgressBegin(get_relname_relid("features", worker->schema), worker->run.run_id,
						worker->run.role);
	}
	commit_ledger(&before);
	if (claim == EF_CLAIMED)
		RESUME_INTERRUPTS();
	MemoryContextSwitchTo(worker->context);
	return claim;
}

/* However long that takes, and whatever the settings say of waiting. */
static void
wait_for_table(Oid schema)
{
	int settings;

	pgstat_report_activity(STATE_RUNNING, "waiting until no other ETL run is going on");
	begin_transaction();
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
run_and_report(Worker *worker)
{
	pgstat_report_activity(STATE_RUNNING,
						   psprintf("ETL run " INT64_FORMAT " of \"%s\" for %s", worker->run.run_id,
									worker->run.source, worker->run.requested_by));
	run_and_record(worker);
	if (worker->run.rejects != NULL)
		EfRejectsEnd(worker->run.rejects);
	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(true);
}

/*
 * What waits is locked by somebody, who is about to cancel it, for instance. In the
 * meantime others may run.
 */
static void
wait_a_moment(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOCKED_MILLISECONDS,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Whether there is a run to do. Those that are queued in a database whose SQL objects are still
 * those of an earlier version stay queued until these are updated.
 */
static bool
has_work(const Worker *worker)
{
	if (!EfQueueHasWork(worker->schema))
		return false;
	if (OidIsValid(get_relname_relid(EfUserFeatures.name, worker->schema)))
		return true;
	ereport(LOG,
			(errmsg("ETL runs stay queued until extension \"%s\" is updated", "eikon_features"),
			 errhint("Run ALTER EXTENSION eikon_features UPDATE.")));
	return false;
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
	work = has_work(worker);
	commit_ledger(&before);
	if (!work)
		return false;

	wait_for_table(worker->schema);
	claimed = claim(worker);
	if (claimed == EF_CLAIMED)
		run_and_report(worker);

	/* who has waited for it may go on with a run of his own */
	EfStoreUnlock();
	EfRunningEnd();
	EfChange();
	if (claimed == EF_NONE)
		wait_a_moment();
	if (claimed == EF_OTHER)
		EfWake(); /* for another process */
	return claimed != EF_OTHER;
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

	RegisterSubXactCallback(end_if_terminated, NULL);
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
