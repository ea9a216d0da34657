/*
 * run_queue.c
 *		Runs that wait to be run by a background worker, and those that wait for them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "query.h"
#include "run_ledger.h"
#include "run_queue.h"
#include "run_shared.h"
#include "run_upload.h"
#include "source.h"
#include "store.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* How long to wait for a run that is just about to end, or just about to be known. */
#define MOMENT_MILLISECONDS 50

/* How often to look for the same run, and to enter it, by turns. */
#define SUBMIT_ATTEMPTS 100

/* --- shared --- */

static void
fail_unknown_run(int64 run_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("run " INT64_FORMAT " does not exist", run_id),
			 errhint("Table eikon_runs lists the runs that were submitted and those whose transactions have committed.")));
}

static void
fail_negative(const char *argument)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must not be negative", argument)));
}

static void
refuse_standby(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errhint("This server is a standby; call it on the primary.")));
	PreventCommandIfReadOnly(function);
}

/* With months of 30 days. */
static int64
microseconds(const Interval *interval)
{
	int64 days = (int64) interval->month * DAYS_PER_MONTH + interval->day;
	int64 sum;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &sum) ||
		pg_add_s64_overflow(sum, interval->time, &sum))
		return days < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return sum;
}

/* What is said of one run, now. */
typedef struct State
{
	char *status;
	Oid role;		  /* may be gone */
	bool uncommitted; /* by this transaction */
	Datum row;
} State;

static bool
look_up(Oid schema, int64 run_id, State *state)
{
	Oid type = INT8OID;
	Datum arg = Int64GetDatum(run_id);
	EfIdentity before;
	Datum values[4];
	bool nulls[4];
	bool found;

	EfLedgerAct(schema, &before);
	found = EfQueryRowNow(psprintf("SELECT r.status, r.requester, r.xmin, r FROM %s r WHERE r.run_id = $1",
								   EfLedgerTable(schema)),
						  1, &type, &arg, 4, values, nulls);
	EfLedgerActEnd(&before);
	if (!found)
		return false;
	state->status = TextDatumGetCString(values[0]);
	state->role = DatumGetObjectId(values[1]);
	state->uncommitted = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(values[2]));
	state->row = values[3];
	return true;
}

static bool
may_act_as(Oid role)
{
	return superuser() || has_privs_of_role(GetUserId(), role);
}

static bool
is_status(const State *state, const char *status)
{
	return strcmp(state->status, status) == 0;
}

static bool
has_ended(const State *state)
{
	return !is_status(state, "queued") && !is_status(state, "running");
}

/* --- submitting --- */

/* The run that is the same and of that status; 0: none. */
static int64
find_same(Oid schema, const EfLedger *ledger, const char *status)
{
	const char *const keys[] = {"source", "options", "requester"};
	Oid types[lengthof(keys) + 1] = {TEXTOID};
	Datum args[lengthof(keys) + 1] = {CStringGetTextDatum(status)};
	EfIdentity before;
	Datum run_id;
	bool isnull;
	bool found;

	for (size_t i = 0; i < lengthof(keys); i++)
	{
		for (int j = 0; j < ledger->n; j++)
		{
			if (strcmp(ledger->names[j], keys[i]) != 0)
				continue;
			types[i + 1] = ledger->types[j];
			args[i + 1] = ledger->values[j];
		}
	}
	EfLedgerAct(schema, &before);
	found = EfQueryRowNow(psprintf("SELECT run_id FROM %s WHERE status = $1 AND status = ANY ('{queued,running}'::text[])"
								   " AND source = $2 AND options = $3 AND requester = $4"
								   " AND md5(source) = md5($2) AND md5(options::text) = md5($3::text)"
								   " ORDER BY run_id LIMIT 1",
								   EfLedgerTable(schema)),
						  lengthof(types), types, args, 1, &run_id, &isnull);
	EfLedgerActEnd(&before);
	return found ? DatumGetInt64(run_id) : 0;
}

/* What the ledger calls the source. What is wrong with it now is better said now. */
static char *
check_source(Oid schema, const char *source)
{
	EfSource *opened;
	char *path;

	if (EfIsUploads(source))
	{
		EfUploadsCheck(schema);
		return EF_UPLOADS;
	}
	opened = EfSourceOpen(CurrentMemoryContext, source);
	path = pstrdup(EfSourcePath(opened));
	EfSourceClose(opened);
	return path;
}

int64
EfQueueSubmit(Oid schema, const char *source, const EfOptions *options, bool join)
{
	EfLedger ledger = {0};
	int64 run_id = 0;

	refuse_standby("eikon_submit_etl()");
	EfLedgerSetText(&ledger, "source", check_source(schema, source));
	EfLedgerSetText(&ledger, "status", "queued");
	EfLedgerSetBool(&ledger, "background", true);
	EfLedgerSetOptions(&ledger, options);
	EfLedgerSetRequester(&ledger, GetUserId());
	EfLedgerSetTime(&ledger, "requested_at", GetCurrentTimestamp());
	EfLedgerSet(&ledger, "attempts", INT4OID, Int32GetDatum(0));

	EfQueryBegin();

	/* one that is running may have copied the uploaded files before the last one came */
	if (join && !EfIsUploads(source))
		run_id = find_same(schema, &ledger, "running");
	for (int i = 0; run_id == 0; i++)
	{
		CHECK_FOR_INTERRUPTS();

		/* now and then it is begun in between; more often the row is not taken */
		if (i == SUBMIT_ATTEMPTS)
			EfQueryUnexpected("INSERT INTO eikon_runs");
		run_id = find_same(schema, &ledger, "queued");
		if (run_id == 0)
			run_id = EfLedgerInsert(schema, &ledger,
									" ON CONFLICT (requester, md5(source), md5(options::text))"
									" WHERE status = 'queued' DO NOTHING");
	}
	EfQueryEnd();
	EfWakeAtCommit();
	return run_id;
}

/* --- waiting --- */

static void
refuse_uncommitted(const State *state, int64 run_id)
{
	if (is_status(state, "queued") && state->uncommitted)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("run " INT64_FORMAT " was submitted by this transaction, and begins when that commits", run_id),
				 errhint("Commit first, then wait.")));
}

/* Who holds up the queue until his transaction ends would wait for ever. */
static void
refuse_own(void)
{
	if (EfRunningHere())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this transaction has a run of its own, which others wait for"),
				 errhint("Commit first, then wait.")));
}

static void
check_may_see(Oid schema, const State *state, int64 run_id)
{
	if (pg_class_aclcheck(get_relname_relid("eikon_runs", schema), GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		!may_act_as(state->role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to see run " INT64_FORMAT, run_id),
				 errhint("That takes SELECT on table eikon_runs, or to be the role that asked for it.")));
}

/* Looks at the run once; true, with its row in that context, where it is over, or time is. */
static bool
look_once(Oid schema, int64 run_id, TimestampTz end, MemoryContext context, Datum *row)
{
	State state;
	MemoryContext old;
	bool done;
	bool over;
	Oid role;

	EfQueryBegin();
	if (!look_up(schema, run_id, &state))
		fail_unknown_run(run_id);
	check_may_see(schema, &state, run_id);
	refuse_uncommitted(&state, run_id);

	/* its process, too, shall be through, so that the next run can begin */
	done = GetCurrentTimestamp() >= end ||
		   (has_ended(&state) && (state.uncommitted || !EfRunningFind(run_id, &role, &over)));
	if (!done)
		refuse_own();
	else
	{
		old = MemoryContextSwitchTo(context);
		*row = datumCopy(state.row, false, -1);
		MemoryContextSwitchTo(old);
	}
	EfQueryEnd();
	return done;
}

Datum
EfQueueWait(Oid schema, int64 run_id, const Interval *timeout)
{
	int64 wait = timeout == NULL ? PG_INT64_MAX : microseconds(timeout);
	TimestampTz end;
	Datum row;

	refuse_standby("eikon_wait_etl()");
	if (wait < 0)
		fail_negative("timeout");
	if (pg_add_s64_overflow(GetCurrentTimestamp(), wait, &end))
		end = PG_INT64_MAX;

	EfChangeWaitBegin();
	for (bool first = true; !look_once(schema, run_id, end, CurrentMemoryContext, &row); first = false)
	{
		int64 left = end - GetCurrentTimestamp();

		/* nobody looks after it where the server has been restarted since */
		if (first && EfWorkersAlive() == 0)
			EfWake();
		(void) EfChangeWait(end == PG_INT64_MAX ? -1 : (long) Max(0, Min(left / 1000 + 1, PG_INT32_MAX)));
	}
	EfChangeWaitEnd();
	return row;
}

/* --- both --- */

static char *
get_text(HeapTupleHeader row, const char *column)
{
	bool isnull;
	Datum value = GetAttributeByName(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Throws the error that ended the run. */
static void
throw_error(int64 run_id, HeapTupleHeader row)
{
	char *code = get_text(row, "error_code");
	char *detail = get_text(row, "error_detail");
	char *hint = get_text(row, "error_hint");
	char *context = get_text(row, "error_context");

	if (code == NULL || strlen(code) != 5)
		return;
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4])),
			 errmsg_internal("%s", get_text(row, "error_message")),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0,
			 context ? (errcontext("%s", context)) : 0,
			 errcontext("ETL run " INT64_FORMAT, run_id)));
}

void
EfQueueRun(Oid schema, const char *source, const EfOptions *options, const Interval *timeout)
{
	HeapTupleHeader row;
	int64 run_id;

	if (timeout != NULL && microseconds(timeout) < 0)
		fail_negative("timeout");
	EfQueryBeginProcedure();
	run_id = EfQueueSubmit(schema, source, options, true);
	EfQueryCommit();
	row = DatumGetHeapTupleHeader(EfQueueWait(schema, run_id, timeout));
	throw_error(run_id, row);
	if (strcmp(get_text(row, "status"), "succeeded") != 0)
		ereport(NOTICE,
				(errmsg("run " INT64_FORMAT " is still %s", run_id, get_text(row, "status"))));
	EfQueryEnd();
}

/* --- cancelling --- */

static void
check_may_cancel(Oid role, int64 run_id)
{
	if (!may_act_as(role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to cancel run " INT64_FORMAT, run_id),
				 errhint("Only the role that asked for it, or a superuser, may do so.")));
}

/* Writes that it was cancelled, if it still is in that state. */
static bool
set_cancelled(Oid schema, int64 run_id, const char *status, const char *message)
{
	EfLedger ledger = {0};

	EfLedgerSetText(&ledger, "status", "cancelled");
	EfLedgerSetTime(&ledger, "finished_at", GetCurrentTimestamp());
	EfLedgerSetText(&ledger, "error_code", unpack_sql_state(ERRCODE_QUERY_CANCELED));
	EfLedgerSetText(&ledger, "error_message", message);
	return EfLedgerUpdate(schema, &ledger, run_id, status);
}

/*
 * A run that the ledger calls running and that no process does was cut off, and nobody has
 * noticed yet. It is so where another one is going on, or could begin.
 */
static bool
cancel_orphan(Oid schema, int64 run_id)
{
	int64 other = EfRunningId();

	return ((other != 0 && other != run_id) || EfStoreTryLock(schema)) &&
		   set_cancelled(schema, run_id, "running", "cancelled after it had been cut off");
}

static void
fail_ended(int64 run_id, const char *how)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("run " INT64_FORMAT " has already ended: %s", run_id, how)));
}

/* A direct run is in the ledger only when its transaction has committed. */
static void
cancel_direct(int64 run_id)
{
	bool over;
	Oid role;

	if (!EfRunningFind(run_id, &role, &over))
		fail_unknown_run(run_id);
	check_may_cancel(role, run_id);
	if (over)
		fail_ended(run_id, "its transaction has not yet");
	if (!EfRunningCancel(run_id))
		fail_unknown_run(run_id);
}

/* One that waits, in this transaction; until that ends the worker may pass it by. */
static bool
cancel_queued(Oid schema, int64 run_id)
{
	EfWakeAtEnd();
	if (set_cancelled(schema, run_id, "queued", "cancelled before it began"))
		return true;

	/* what it is now this transaction cannot see */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	return false;
}

/* False where it is just about to be known what it is. */
static bool
cancel_once(Oid schema, int64 run_id)
{
	State state;

	if (!look_up(schema, run_id, &state))
	{
		cancel_direct(run_id);
		return true;
	}
	check_may_cancel(state.role, run_id);
	if (has_ended(&state))
		fail_ended(run_id, state.status);
	if (is_status(&state, "queued"))
		return cancel_queued(schema, run_id);
	return EfRunningCancel(run_id) || cancel_orphan(schema, run_id);
}

void
EfQueueCancel(Oid schema, int64 run_id)
{
	bool cancelled;

	refuse_standby("eikon_cancel_etl()");
	do
	{
		CHECK_FOR_INTERRUPTS();
		EfChangeWaitBegin();
		EfQueryBegin();
		cancelled = cancel_once(schema, run_id);
		EfQueryEnd();
		if (!cancelled)
			(void) EfChangeWait(MOMENT_MILLISECONDS);
		EfChangeWaitEnd();
	} while (!cancelled);
}

/* --- looking after the ledger --- */

int64
EfQueuePurge(Oid schema, const Interval *older_than)
{
	Oid type = INTERVALOID;
	Datum arg = IntervalPGetDatum(older_than);
	EfIdentity before;
	int64 purged;

	refuse_standby("eikon_purge_runs()");
	if (microseconds(older_than) < 0)
		fail_negative("older_than");
	EfQueryBegin();
	EfLedgerActToWrite(schema, &before);
	purged = (int64) EfQueryRun(psprintf("DELETE FROM %s WHERE finished_at < (now() - $1) AND NOT is_current",
										 EfLedgerTable(schema)),
								1, &type, &arg, NULL);
	EfLedgerActEnd(&before);
	EfQueryEnd();
	return purged;
}

void
EfQueueHealth(Oid schema, Datum *values, bool *nulls)
{
	static const int intervals[] = {1, 5};
	Oid types[] = {INT8OID, INT4OID, BOOLOID};
	Datum args[] = {Int64GetDatum(EfRunningId() != 0), Int32GetDatum(EfWorkersAlive()),
					BoolGetDatum(EfLauncherAlive())};
	char *table = EfLedgerTable(schema);
	MemoryContext caller = CurrentMemoryContext;
	EfIdentity before;
	MemoryContext old;

	EfQueryBegin();
	EfLedgerAct(schema, &before);
	(void) EfQueryRowNow(psprintf("SELECT s, clock_timestamp() - s, f, $1, q, clock_timestamp() - o, $2, $3 FROM"
								  " (SELECT (SELECT max(finished_at) FROM %s WHERE status = 'succeeded') AS s,"
								  " (SELECT max(finished_at) FROM %s WHERE status = 'failed') AS f,"
								  " (SELECT count(*) FROM %s WHERE status = 'queued') AS q,"
								  " (SELECT min(requested_at) FROM %s WHERE status = 'queued') AS o) AS h",
								  table, table, table, table),
						 lengthof(types), types, args, EF_HEALTH_COLUMNS, values, nulls);
	EfLedgerActEnd(&before);

	old = MemoryContextSwitchTo(caller);
	for (size_t i = 0; i < lengthof(intervals); i++)
		if (!nulls[intervals[i]])
			values[intervals[i]] = datumCopy(values[intervals[i]], false, sizeof(Interval));
	MemoryContextSwitchTo(old);
	EfQueryEnd();
}

/* --- for the worker --- */

bool
EfQueueHasWork(Oid schema)
{
	Datum value;
	bool isnull;

	return EfQueryRowNow(psprintf("SELECT 1 FROM %s WHERE status = ANY ('{queued,running}') LIMIT 1", EfLedgerTable(schema)),
						 0, NULL, NULL, 1, &value, &isnull);
}

bool
EfQueueAgain(Oid schema, int64 run_id)
{
	Oid type = INT8OID;
	Datum arg = Int64GetDatum(run_id);
	EfLedger ledger = {0};
	Datum value;
	bool isnull;

	if (EfQueryRow(psprintf("SELECT 1 FROM %s a JOIN %s b ON b.status = 'queued' AND b.source = a.source"
							" AND b.options = a.options AND b.requester = a.requester WHERE a.run_id = $1",
							EfLedgerTable(schema), EfLedgerTable(schema)),
				   1, &type, &arg, NULL, 1, &value, &isnull))
		return false;
	EfLedgerSetText(&ledger, "status", "queued");
	return EfLedgerUpdate(schema, &ledger, run_id, "running");
}

static void
fail_orphan(Oid schema, int64 run_id, int attempts)
{
	EfLedger ledger = {0};

	EfLedgerSetText(&ledger, "status", "failed");
	EfLedgerSetTime(&ledger, "finished_at", GetCurrentTimestamp());
	EfLedgerSetText(&ledger, "error_code", unpack_sql_state(ERRCODE_CRASH_SHUTDOWN));
	EfLedgerSetText(&ledger, "error_message",
					attempts < EF_ATTEMPTS ?
						"the run was cut off, and the same is queued already" :
						psprintf("the run was cut off %d times", attempts));
	EfLedgerSetText(&ledger, "error_detail",
					"A crash or shutdown of the server, or the end of its worker, cuts a run off.");
	EfLedgerSetText(&ledger, "error_hint",
					"The server's log says what happened. Submit the run again.");
	if (!EfLedgerUpdate(schema, &ledger, run_id, "running"))
		EfQueryUnexpected("UPDATE eikon_runs");
}

/* To be called with the table claimed: then no run can be going on. */
void
EfQueueRecover(Oid schema)
{
	Datum values[2];
	bool nulls[2];

	while (EfQueryRow(psprintf("SELECT run_id, attempts FROM %s WHERE status = 'running' ORDER BY run_id LIMIT 1 FOR UPDATE",
							   EfLedgerTable(schema)),
					  0, NULL, NULL, NULL, 2, values, nulls))
	{
		int64 run_id = DatumGetInt64(values[0]);
		int attempts = DatumGetInt32(values[1]);
		bool again = attempts < EF_ATTEMPTS && EfQueueAgain(schema, run_id);

		if (!again)
			fail_orphan(schema, run_id, attempts);
		ereport(LOG,
				(errmsg("ETL run " INT64_FORMAT " was cut off and %s", run_id,
						again ? "is queued again" : "has failed"),
				 errhidestmt(true)));
	}
}

/*
 * The run to begin next, but for those whose rows somebody has locked, to cancel them for
 * instance: that may take long, and nothing else could run.
 */
static bool
lock_next(Oid schema, Datum *values)
{
	bool nulls[6];

	return EfQueryRow(psprintf("SELECT run_id, source, options, requested_by, requester, attempts FROM %s"
							   " WHERE status = 'queued' ORDER BY run_id LIMIT 1 FOR UPDATE SKIP LOCKED",
							   EfLedgerTable(schema)),
					  0, NULL, NULL, NULL, 6, values, nulls);
}

/* Whether the role may still submit runs, by either way. */
static bool
may_submit(Oid schema, Oid role)
{
	Oid types[] = {OIDOID, OIDOID};
	Datum args[] = {ObjectIdGetDatum(schema), ObjectIdGetDatum(role)};
	Datum value;
	bool isnull;

	return EfQueryRow("SELECT 1 FROM pg_proc WHERE pronamespace = $1"
					  " AND proname = ANY ('{eikon_submit_etl,eikon_etl}')"
					  " AND has_function_privilege($2, oid, 'EXECUTE') LIMIT 1",
					  2, types, args, NULL, 1, &value, &isnull);
}

/* Why a run may not be run as its role; NULL: it may. */
static const char *
find_obstacle(Oid schema, const EfQueuedRun *queued, int *code)
{
	Oid owner = EfLedgerOwner(schema);

	*code = ERRCODE_UNDEFINED_OBJECT;
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(queued->role)))
		return psprintf("role \"%s\" does not exist", queued->requested_by);
	*code = ERRCODE_INSUFFICIENT_PRIVILEGE;
	if (!may_submit(schema, queued->role))
		return psprintf("permission denied for function %s", "eikon_submit_etl");

	/* who owns the ledger can write into it what he likes */
	if (!superuser_arg(owner) && !has_privs_of_role(owner, queued->role))
		return psprintf("the owner of table \"%s\" may not act as role \"%s\"", "eikon_runs", queued->requested_by);
	return NULL;
}

static void
refuse_queued(EfLedger *ledger, const EfQueuedRun *queued, int code, const char *obstacle)
{
	EfLedgerSetText(ledger, "status", "failed");
	EfLedgerSetTime(ledger, "finished_at", queued->started);
	EfLedgerSetText(ledger, "error_code", unpack_sql_state(code));
	EfLedgerSetText(ledger, "error_message", obstacle);
	EfRunLogFailure(queued, "failed",
					&(ErrorData){.sqlerrcode = code, .message = unconstify(char *, obstacle)});
}

EfClaim
EfQueueClaim(Oid schema, Oid role, EfQueuedRun *queued)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum values[6];
	EfLedger ledger = {0};
	const char *obstacle;
	MemoryContext old;
	int code;

	if (!lock_next(schema, values))
		return EF_NONE;
	old = MemoryContextSwitchTo(caller);
	queued->run_id = DatumGetInt64(values[0]);
	queued->source = TextDatumGetCString(values[1]);
	queued->requested_by = pstrdup(NameStr(*DatumGetName(values[3])));
	queued->role = DatumGetObjectId(values[4]);
	queued->attempt = DatumGetInt32(values[5]) + 1;
	queued->started = GetCurrentTimestamp();
	queued->options = DatumGetJsonbPCopy(values[2]);
	MemoryContextSwitchTo(old);

	obstacle = find_obstacle(schema, queued, &code);
	if (obstacle == NULL && OidIsValid(role) && queued->role != role)
		return EF_OTHER;
	EfLedgerSetTime(&ledger, "started_at", queued->started);
	EfLedgerSet(&ledger, "attempts", INT4OID, Int32GetDatum(queued->attempt));
	if (obstacle == NULL)
		EfLedgerSetText(&ledger, "status", "running");
	else
		refuse_queued(&ledger, queued, code, obstacle);
	if (!EfLedgerUpdate(schema, &ledger, queued->run_id, "queued"))
		EfQueryUnexpected("the update that begins a run");
	return obstacle == NULL ? EF_CLAIMED : EF_REFUSED;
}
