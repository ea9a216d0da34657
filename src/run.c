/*
 * run.c
 *		One run, from the files to the tables, and what is told of it.
 *
 *	EfDeriveBegin -> the same as last time? -> EfDeriveFeatures -> EfStoreFeatures
 *	                          `----------- skipped ----------.           |
 *	                                                          `-> ledger <'
 *
 * A direct run whose failure is to be recorded does that in a subtransaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "derive.h"
#include "elapsed.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "progress.h"
#include "query.h"
#include "run.h"
#include "run_ledger.h"
#include "run_shared.h"
#include "run_upload.h"
#include "source.h"
#include "source_fingerprint.h"
#include "storage/latch.h"
#include "store.h"
#include "store_check.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

/* How often to try to claim the table from who is not known to do a run, and how long between. */
#define CLAIM_ATTEMPTS 20
#define CLAIM_MILLISECONDS 10

typedef enum LogRuns
{
	LOG_NONE,
	LOG_FAILED,
	LOG_ALL
} LogRuns;

static const struct config_enum_entry log_runs_choices[] = {
	{"none", LOG_NONE, false},
	{"failed", LOG_FAILED, false},
	{"all", LOG_ALL, false},
	{NULL, 0, false},
};

static int log_runs = LOG_ALL;

void
EfRunInit(void)
{
	/* Turn it down where runs are so many that their lines hide others. */
	DefineCustomEnumVariable("eikon_features.log_runs",
							 "Which runs the server's log has a line of.",
							 "A run of eikon_run_etl() that fails is an error of its statement.",
							 &log_runs, LOG_ALL, log_runs_choices, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* What the run is about, for as long as it goes on. */
typedef struct Run
{
	Oid schema;
	const EfOptions *options;
	int64 run_id; /* 0: of a dry run */
	TimestampTz started;
	MemoryContext context; /* outlives the run, whatever becomes of it */
	const char *source;	   /* as it is told of; resolved, as soon as it is */
	EfRejects *rejects;
	EfUploads uploads; /* where they are the source */
	EfDerivation *derivation;
	EfReport report;
	EfStoreCounts counts;
	char fingerprint[EF_FINGERPRINT_SIZE]; /* "": none was taken */
	bool skipped;
	double comparing; /* seconds; < 0: there was none */
	double storing;
} Run;

/* --- the log --- */

/* The line of one that has succeeded. */
static char *
describe(const Run *run)
{
	const EfKindCounts *kinds = run->report.kinds;
	const EfStoreCounts *counts = &run->counts;

	if (run->skipped)
		return psprintf("ETL run " INT64_FORMAT " of \"%s\" succeeded: nothing has changed, " INT64_FORMAT " bytes compared; %.3f s",
						run->run_id, run->report.source, run->report.bytes, EfElapsedSince(run->started));
	return psprintf("ETL run " INT64_FORMAT " of \"%s\" succeeded: " INT64_FORMAT " users, " INT64_FORMAT " compounds, " INT64_FORMAT " experiments loaded, " INT64_FORMAT " records rejected; rows: " INT64_FORMAT " inserted, " INT64_FORMAT " updated, " INT64_FORMAT " deleted, " INT64_FORMAT " unchanged; %.3f s",
					run->run_id, run->report.source, kinds[EF_USERS].loaded,
					kinds[EF_COMPOUNDS].loaded, kinds[EF_EXPERIMENTS].loaded,
					kinds[EF_USERS].rejected + kinds[EF_COMPOUNDS].rejected + kinds[EF_EXPERIMENTS].rejected,
					counts->inserted, counts->updated, counts->deleted, counts->unchanged,
					EfElapsedSince(run->started));
}

void
EfRunLogSuccess(const char *line)
{
	if (log_runs == LOG_ALL)
		ereport(LOG_SERVER_ONLY,
				(errmsg_internal("%s", line), errhidestmt(true), errhidecontext(true)));
}

static void
log_failure(int level, const EfQueuedRun *run, const char *outcome, const ErrorData *error)
{
	if (log_runs < LOG_FAILED)
		return;
	ereport(level,
			(errcode(error->sqlerrcode),
			 errmsg("ETL run " INT64_FORMAT " of \"%s\" %s after %.3f s: %s", run->run_id,
					run->source, outcome, EfElapsedSince(run->started), error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0,
			 error->context ? (errcontext("%s", error->context)) : 0,
			 errhidestmt(true)));
}

void
EfRunLogFailure(const EfQueuedRun *queued, const char *outcome, const ErrorData *error)
{
	log_failure(WARNING, queued, outcome, error);
}

/* --- deriving and storing --- */

static bool
is_unchanged(Run *run)
{
	instr_time start;

	run->comparing = -1;
	if (!run->options->skip_unchanged)
		return false;
	INSTR_TIME_SET_CURRENT(start);
	EfDeriveFingerprint(run->derivation, run->fingerprint);
	run->comparing = EfElapsed(start);
	return EfLedgerIsCurrent(run->schema, run->fingerprint, run->options);
}

static void
store(Run *run)
{
	EfTuples features = EfDeriveTuples(run->derivation);
	const EfStoreCounts *counts = &run->counts;
	EfTotals totals;
	EfCompounds compounds;
	EfStoreCounts others;

	EfStoreFeatures(run->schema, &features, run->options->dry_run, &run->counts);
	compounds = EfDeriveCompounds(run->derivation);

	/* a dry run has nothing to report of these */
	if (run->options->dry_run)
		return;
	EfStoreCompounds(run->schema, &compounds, &others);
	totals.users = run->report.kinds[EF_USERS].loaded;
	totals.experiments = run->report.kinds[EF_EXPERIMENTS].loaded;
	EfStoreTotals(run->schema, &totals, run->run_id,
				  counts->updated + counts->deleted + counts->unchanged == 0,
				  EfStoreWritten(counts) + EfStoreWritten(&others) > 0);
}

static void
derive_and_store(Run *run, const char *source)
{
	bool dry_run = run->options->dry_run;
	const EfSpool *spool;
	instr_time start;

	run->storing = -1;
	spool = EfUploadsSpool(run->schema, source, !dry_run, &run->uploads);
	run->derivation = EfDeriveBegin(source, spool, run->options, EfRejectsAdd, run->rejects,
									&run->report);
	if (run->context != NULL)
		run->source = MemoryContextStrdup(run->context, run->report.source);
	run->skipped = is_unchanged(run);
	if (!run->skipped)
	{
		/*
		 * Rows may be written while workers still derive others, when neither a
		 * transaction's id can be taken nor a command begin.
		 */
		if (!dry_run)
			(void) GetCurrentTransactionId();
		CommandCounterIncrement();
		EfDeriveFeatures(run->derivation, false);
		INSTR_TIME_SET_CURRENT(start);
		store(run);
		run->storing = EfElapsed(start);
	}
	EfDeriveEnd(run->derivation);
	if (spool != NULL && !dry_run)
		EfUploadsRemove(run->schema, &run->uploads);
}

/* --- the ledger --- */

/* What the ledger says of a run that has succeeded. */
static void
fill_row(EfLedger *ledger, const Run *run)
{
	EfLedgerSetText(ledger, "status", run->options->dry_run ? "dry_run" : "succeeded");
	EfLedgerSetText(ledger, "source", run->report.source);
	EfLedgerSetTime(ledger, "started_at", run->started);
	EfLedgerSetTime(ledger, "finished_at", GetCurrentTimestamp());
	EfLedgerSetBool(ledger, "skipped", run->skipped);
	EfLedgerSetBool(ledger, "is_current", !run->skipped && !run->options->dry_run);
	EfLedgerSetCount(ledger, "bytes_read", run->report.bytes);
	if (run->fingerprint[0] != '\0')
		EfLedgerSetText(ledger, "fingerprint", run->fingerprint);
	if (!run->skipped)
		EfLedgerSetReport(ledger, &run->report, &run->counts);
	EfLedgerSetTimings(ledger, &run->report, run->comparing, run->storing);
}

static void
write_rejects(const EfRejects *rejects, Oid schema, int64 run_id)
{
	EfIdentity before;

	EfLedgerActToWrite(schema, &before);
	EfRejectsWrite(unconstify(EfRejects *, rejects), schema, run_id);
	EfLedgerActEnd(&before);
}

/* --- a direct run --- */

static void
refuse_second(void)
{
	int64 run_id = EfRunningId();

	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("another ETL run is going on for table \"%s\"", EfUserFeatures.name),
			 run_id != 0 ? errdetail("It is run " INT64_FORMAT ".", run_id) : 0,
			 errhint("Wait until its transaction ends, then run again; or have this one wait in the queue with eikon_submit_etl().")));
}

/* A worker that looks for what is next, or a run that has just begun, has no id for a moment. */
static void
require_table_lock(Oid schema)
{
	for (int i = 0; !EfStoreTryLock(schema); i++)
	{
		if (EfRunningId() != 0 || i == CLAIM_ATTEMPTS)
			refuse_second();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 CLAIM_MILLISECONDS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* What the ledger says of a direct run, however it ended. */
static void
fill_direct(EfLedger *ledger, const Run *run)
{
	EfLedgerSetBool(ledger, "background", false);
	EfLedgerSetOptions(ledger, run->options);
	EfLedgerSetRequester(ledger, GetUserId());
	EfLedgerSetTime(ledger, "requested_at", run->started);
	EfLedgerSet(ledger, "attempts", INT4OID, Int32GetDatum(1));
	if (!run->options->dry_run)
		EfLedgerSetCount(ledger, "run_id", run->run_id);
}

/* Runs and records that; returns the row in the run's context. */
static Datum
run_and_return(Run *run, const char *source)
{
	EfLedger ledger = {0};
	Datum row;

	EfQueryBegin();
	derive_and_store(run, source);
	fill_row(&ledger, run);
	fill_direct(&ledger, run);
	if (!run->options->dry_run)
	{
		if (!run->skipped)
			EfLedgerClearCurrent(run->schema);
		(void) EfLedgerInsert(run->schema, &ledger, "");
		write_rejects(run->rejects, run->schema, run->run_id);
		EfRunLogSuccess(describe(run));
	}
	row = EfLedgerRow(run->schema, &ledger, run->context);
	EfQueryEnd();
	return row;
}

static void
fill_error(EfLedger *ledger, const ErrorData *error)
{
	EfLedgerSetText(ledger, "error_code", unpack_sql_state(error->sqlerrcode));
	EfLedgerSetText(ledger, "error_message", error->message);
	EfLedgerSetText(ledger, "error_detail", error->detail);
	EfLedgerSetText(ledger, "error_hint", error->hint);
	EfLedgerSetText(ledger, "error_context", error->context);
}

/* Whether it may be the rejects that could not be written, and now are cut off. */
static bool
damages_rejects(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		   error->sqlerrcode == ERRCODE_IO_ERROR;
}

/* Records that the run failed, and ends its rejects; returns the row in its context. */
static Datum
record_failure(Run *run, const ErrorData *error)
{
	EfQueuedRun logged = {.run_id = run->run_id, .source = unconstify(char *, run->source), .started = run->started};
	EfLedger ledger = {0};

	EfLedgerSetText(&ledger, "status", "failed");
	EfLedgerSetText(&ledger, "source", run->source);
	EfLedgerSetTime(&ledger, "started_at", run->started);
	EfLedgerSetTime(&ledger, "finished_at", GetCurrentTimestamp());
	EfLedgerSetBool(&ledger, "skipped", false);
	EfLedgerSetBool(&ledger, "is_current", false);
	fill_error(&ledger, error);
	fill_direct(&ledger, run);
	(void) EfLedgerInsert(run->schema, &ledger, "");
	if (damages_rejects(error))
		EfRejectsAbandon(run->rejects);
	else
	{
		write_rejects(run->rejects, run->schema, run->run_id);
		EfRejectsEnd(run->rejects);
	}
	log_failure(LOG_SERVER_ONLY, &logged, "failed", error);
	return EfLedgerRow(run->schema, &ledger, run->context);
}

/* Whether an error is the run's own; others are about the session or the server. */
static bool
is_failure(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_OPERATOR_INTERVENTION &&
		   error->sqlerrcode != ERRCODE_OUT_OF_MEMORY;
}

/*
 * Runs in a subtransaction, so that what it did is undone if it fails; returns its error then.
 * What the callers of the function are is none of the error's context.
 */
static ErrorData *
try_run(Run *run, const char *source, Datum *row)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorContextCallback *callers = error_context_stack;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	error_context_stack = NULL;
	PG_TRY();
	{
		*row = run_and_return(run, source);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	error_context_stack = callers;
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && !is_failure(error))
		ReThrowError(error);
	return error;
}

static Datum
run_directly(Oid schema, const char *source, const EfOptions *options, bool keep_failure)
{
	Run run = {
		.schema = schema,
		.options = options,
		.started = GetCurrentTimestamp(),
		.context = CurrentMemoryContext,
		.source = EfSourceName(source),
	};
	ErrorData *error = NULL;
	Datum row;

	EfStoreCheck(schema);
	if (!options->dry_run)
		require_table_lock(schema);
	EfQueryBegin();
	if (!options->dry_run)
	{
		run.run_id = EfLedgerNewId(schema);
		EfRunningBeginWithin(run.run_id, GetUserId());
	}
	EfProgressBegin(get_relname_relid("features", schema), run.run_id, GetUserId());
	run.rejects = EfRejectsBegin(false);
	if (keep_failure)
		error = try_run(&run, source, &row);
	else
		row = run_and_return(&run, source);
	if (error == NULL)
		EfRejectsEnd(run.rejects);
	else
		row = record_failure(&run, error);
	if (!options->dry_run)
		EfRunningOver();
	EfQueryEnd();
	return row;
}

/* Triggers of one run must not start another one, in whatever way this one was started. */
static bool running = false;

static void
refuse_nested(void)
{
	if (running)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("an ETL run cannot start another one"),
				 errhint("Look for a trigger on the extension's tables that calls eikon_run_etl.")));
}

Datum
EfRun(Oid schema, const char *source, const EfOptions *options, bool keep_failure)
{
	volatile Datum row = (Datum) 0;

	refuse_nested();
	running = true;
	PG_TRY();
	{
		row = run_directly(schema, source, options, keep_failure);
	}
	PG_FINALLY();
	{
		running = false;
		EfProgressEnd();
	}
	PG_END_TRY();
	return row;
}

/* --- a run that was queued --- */

static void
run_queued(Run *run, const EfQueuedRun *queued)
{
	EfLedger ledger = {0};

	EfStoreCheck(run->schema);

	/* a trigger may let go of what the session holds, but not of what the transaction does */
	if (!EfStoreTryLock(run->schema))
		refuse_second();
	derive_and_store(run, queued->source);
	fill_row(&ledger, run);
	if (!run->skipped)
		EfLedgerClearCurrent(run->schema);
	if (!EfLedgerUpdate(run->schema, &ledger, queued->run_id, "running"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row of run " INT64_FORMAT " in table \"%s\" was removed or changed while it ran",
						queued->run_id, "eikon_runs")));
	write_rejects(run->rejects, run->schema, run->run_id);
}

char *
EfRunQueued(Oid schema, const EfQueuedRun *queued, MemoryContext context)
{
	EfOptions options;
	Run run = {
		.schema = schema,
		.options = &options,
		.run_id = queued->run_id,
		.started = queued->started,
		.rejects = queued->rejects,
	};
	char *line;

	EfQueryBegin();
	EfOptionsFromJsonb(&options, queued->options);
	running = true;
	PG_TRY();
	{
		run_queued(&run, queued);
	}
	PG_FINALLY();
	{
		running = false;
	}
	PG_END_TRY();
	line = MemoryContextStrdup(context, describe(&run));
	EfQueryEnd();
	return line;
}

void
EfRunFailed(Oid schema, const EfQueuedRun *queued, const char *status, const ErrorData *error,
			bool with_rejects)
{
	EfLedger ledger = {0};

	EfQueryBegin();
	EfLedgerSetText(&ledger, "status", status);
	EfLedgerSetTime(&ledger, "finished_at", GetCurrentTimestamp());
	fill_error(&ledger, error);
	if (EfLedgerUpdate(schema, &ledger, queued->run_id, "running") && with_rejects &&
		queued->rejects != NULL)
		write_rejects(queued->rejects, schema, queued->run_id);
	EfQueryEnd();
}
