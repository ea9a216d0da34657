/*
 * sql_api.c
 *		The functions that SQL calls: unpack, call, pack.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "derive.h"
#include "derive_preview.h"
#include "encoding.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "progress.h"
#include "query.h"
#include "run.h"
#include "run_ledger.h"
#include "run_queue.h"
#include "run_shared.h"
#include "run_upload.h"
#include "store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(eikon_run_etl);
PG_FUNCTION_INFO_V1(eikon_try_etl);
PG_FUNCTION_INFO_V1(eikon_derive_features);
PG_FUNCTION_INFO_V1(eikon_read_csv);
PG_FUNCTION_INFO_V1(eikon_upload);
PG_FUNCTION_INFO_V1(eikon_submit_etl);
PG_FUNCTION_INFO_V1(eikon_wait_etl);
PG_FUNCTION_INFO_V1(eikon_cancel_etl);
PG_FUNCTION_INFO_V1(eikon_etl);
PG_FUNCTION_INFO_V1(eikon_purge_runs);
PG_FUNCTION_INFO_V1(eikon_health);
PG_FUNCTION_INFO_V1(eikon_running);
PG_FUNCTION_INFO_V1(eikon_runs_guard);
PG_FUNCTION_INFO_V1(eikon_outside_extension);

/* Reads the arguments from the second to the nth: options, called by their names. */
static void
unpack_some_options(FunctionCallInfo fcinfo, EfOptions *options, int n)
{
	HeapTuple proc = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	Oid *types;
	char **names;
	char *modes;

	/* cannot happen: it is being called */
	if (!HeapTupleIsValid(proc))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	(void) get_func_arg_info(proc, &types, &names, &modes);
	ReleaseSysCache(proc);

	EfOptionsBegin(options);
	for (int i = 1; i < n; i++)
		if (!PG_ARGISNULL(i))
			EfOptionsSet(options, names[i], types[i],
						 types[i] == TEXTOID ? PointerGetDatum(PG_GETARG_TEXT_PP(i)) :
											   PG_GETARG_DATUM(i));
	EfOptionsCheck(options);
}

static void
unpack_options(FunctionCallInfo fcinfo, EfOptions *options)
{
	unpack_some_options(fcinfo, options, PG_NARGS());
}

/* The schema that the extension is in. */
static Oid
own_schema(FunctionCallInfo fcinfo)
{
	return get_func_namespace(fcinfo->flinfo->fn_oid);
}

static char *
unpack_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

Datum
eikon_run_etl(PG_FUNCTION_ARGS)
{
	EfOptions options;

	unpack_options(fcinfo, &options);
	if (!options.dry_run)
		PreventCommandIfReadOnly("eikon_run_etl()");
	return EfRun(own_schema(fcinfo), unpack_text(fcinfo, 0), &options, false);
}

Datum
eikon_try_etl(PG_FUNCTION_ARGS)
{
	EfOptions options;

	unpack_options(fcinfo, &options);
	PreventCommandIfReadOnly("eikon_try_etl()");
	return EfRun(own_schema(fcinfo), unpack_text(fcinfo, 0), &options, true);
}

/* Rejects of a derivation are counted and told, not kept. */
static void
count_reject(void *arg, const EfReject *reject)
{
	(void) reject;
	(*(int64 *) arg)++;
}

/* Fills the result; returns how many records were rejected. */
static int64
derive(Oid schema, const char *source, const EfOptions *options, ReturnSetInfo *result)
{
	EfDerivation *derivation;
	const EfSpool *spool;
	EfUploads uploads;
	EfTuples tuples;
	EfReport report;
	int64 rejected = 0;

	spool = EfUploadsSpool(schema, source, false, &uploads);
	derivation = EfDeriveBegin(source, spool, options, count_reject, &rejected, &report);
	EfDeriveFeatures(derivation, true);
	tuples = EfDeriveTuples(derivation);
	EfStoreFill(&tuples, result->setDesc, result->setResult);
	EfDeriveEnd(derivation);
	return rejected;
}

Datum
eikon_derive_features(PG_FUNCTION_ARGS)
{
	char *source = unpack_text(fcinfo, 0);
	Oid schema = own_schema(fcinfo);
	EfOptions options;
	volatile int64 rejected = 0;

	unpack_options(fcinfo, &options);
	InitMaterializedSRF(fcinfo, 0);
	EfProgressPause();
	PG_TRY();
	{
		rejected = derive(schema, source, &options, (ReturnSetInfo *) fcinfo->resultinfo);
	}
	PG_FINALLY();
	{
		EfProgressResume();
	}
	PG_END_TRY();
	if (rejected > 0)
		ereport(NOTICE,
				(errmsg_plural(INT64_FORMAT " record was rejected",
							   INT64_FORMAT " records were rejected",
							   (unsigned long) rejected, rejected),
				 errhint("eikon_run_etl keeps them in eikon_rejects.")));
	return (Datum) 0;
}

static void
refuse_null(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", name)));
}

Datum
eikon_upload(PG_FUNCTION_ARGS)
{
	EfUploaded uploaded;
	EfOptions options;
	Datum values[4];
	bool nulls[4] = {false};
	TupleDesc desc;

	refuse_null(fcinfo, 0, "kind");
	refuse_null(fcinfo, 1, "content");
	EfOptionsBegin(&options);
	if (!PG_ARGISNULL(3))
		EfOptionsSet(&options, "on_error", TEXTOID, PointerGetDatum(PG_GETARG_TEXT_PP(3)));
	PreventCommandIfReadOnly("eikon_upload()");

	/* cannot happen: it is declared so */
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	EfUpload(own_schema(fcinfo), unpack_text(fcinfo, 0), PG_GETARG_DATUM(1),
			 unpack_text(fcinfo, 2), &options, &uploaded);
	values[0] = Int64GetDatum(uploaded.upload_id);
	nulls[0] = uploaded.upload_id == 0;
	values[1] = Int64GetDatum(uploaded.records);
	values[2] = Int64GetDatum(uploaded.rejected);
	values[3] = JsonbPGetDatum(uploaded.rejects);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

typedef struct Preview
{
	ReturnSetInfo *result;
	const char *null;	   /* NULL: no value stands for it */
	MemoryContext context; /* of one record */
} Preview;

/* The fields as text[]; sets *invalid where one is not text in the file's encoding. */
static Datum
pack_fields(const Preview *preview, const EfRecord *record, bool *invalid)
{
	int n = record->nfields;
	Datum *values = palloc(sizeof(Datum) * (Size) n);
	bool *nulls = palloc(sizeof(bool) * (Size) n);
	int lower = 1;

	for (int i = 0; i < n; i++)
	{
		EfText field = record->fields[i];

		nulls[i] = preview->null != NULL && strlen(preview->null) == field.len &&
				   memcmp(preview->null, field.data, field.len) == 0;
		if (!EfToServer(&field))
		{
			*invalid = true;
			field.data = EfShowText(record->fields[i], record->fields[i].len, false, NULL);
			field.len = (uint32) strlen(field.data);
		}
		values[i] = PointerGetDatum(cstring_to_text_with_len(field.data, (int) field.len));
	}
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, TEXTOID, -1, false,
											  TYPALIGN_INT));
}

static void
pack_record(void *arg, const EfRecord *record)
{
	Preview *preview = arg;
	MemoryContext old = MemoryContextSwitchTo(preview->context);
	EfReason defect = record->defect;
	bool invalid = false;
	bool nulls[3] = {false};
	Datum values[3] = {Int64GetDatum(record->line), 0, 0};

	if (defect == EF_TAKEN)
	{
		values[1] = pack_fields(preview, record, &invalid);
		if (invalid)
			defect = EF_INVALID_ENCODING;
	}
	else
	{
		EfText raw = {record->raw, (uint32) record->raw_len};
		EfRecord whole = {.nfields = 1, .fields = &raw};
		Preview as_is = {.null = NULL};

		values[1] = pack_fields(&as_is, &whole, &invalid);
	}
	nulls[2] = defect == EF_TAKEN;
	if (!nulls[2])
		values[2] = CStringGetTextDatum(EfReasonName(defect));
	tuplestore_putvalues(preview->result->setResult, preview->result->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(preview->context);
}

Datum
eikon_read_csv(PG_FUNCTION_ARGS)
{
	Preview preview;
	EfOptions options;

	unpack_options(fcinfo, &options);
	refuse_null(fcinfo, 0, "path");
	InitMaterializedSRF(fcinfo, 0);
	preview.result = (ReturnSetInfo *) fcinfo->resultinfo;
	preview.null = options.null_given ? options.null : NULL;
	preview.context = AllocSetContextCreate(CurrentMemoryContext, "eikon_features preview",
											ALLOCSET_DEFAULT_SIZES);
	EfPreviewFile(unpack_text(fcinfo, 0), &options, pack_record, &preview);
	return (Datum) 0;
}

/* --- runs in the background --- */

static int64
unpack_run_id(FunctionCallInfo fcinfo)
{
	refuse_null(fcinfo, 0, "run_id");
	return PG_GETARG_INT64(0);
}

static Interval *
unpack_interval(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_INTERVAL_P(n);
}

Datum
eikon_submit_etl(PG_FUNCTION_ARGS)
{
	EfOptions options;

	unpack_options(fcinfo, &options);
	return Int64GetDatum(EfQueueSubmit(own_schema(fcinfo), unpack_text(fcinfo, 0), &options, false));
}

Datum
eikon_wait_etl(PG_FUNCTION_ARGS)
{
	return EfQueueWait(own_schema(fcinfo), unpack_run_id(fcinfo), unpack_interval(fcinfo, 1));
}

Datum
eikon_cancel_etl(PG_FUNCTION_ARGS)
{
	EfQueueCancel(own_schema(fcinfo), unpack_run_id(fcinfo));
	return BoolGetDatum(true);
}

/* A procedure, its last argument the timeout. */
Datum
eikon_etl(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;
	EfOptions options;

	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("eikon_etl cannot be called within a transaction block, which it would have to commit"),
				 errhint("Use eikon_submit_etl(), commit, and eikon_wait_etl().")));
	unpack_some_options(fcinfo, &options, PG_NARGS() - 1);
	EfQueueRun(own_schema(fcinfo), unpack_text(fcinfo, 0), &options,
			   unpack_interval(fcinfo, PG_NARGS() - 1));
	PG_RETURN_VOID();
}

Datum
eikon_purge_runs(PG_FUNCTION_ARGS)
{
	refuse_null(fcinfo, 0, "older_than");
	return Int64GetDatum(EfQueuePurge(own_schema(fcinfo), PG_GETARG_INTERVAL_P(0)));
}

Datum
eikon_health(PG_FUNCTION_ARGS)
{
	Datum values[EF_HEALTH_COLUMNS];
	bool nulls[EF_HEALTH_COLUMNS];
	TupleDesc desc;

	/* cannot happen: it is declared so */
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	EfQueueHealth(own_schema(fcinfo), values, nulls);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

Datum
eikon_running(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid table = get_relname_relid("features", own_schema(fcinfo));
	EfProgress progress;
	int next = 0;

	InitMaterializedSRF(fcinfo, 0);
	while (EfProgressNext(table, &next, &progress))
	{
		char *role = GetUserNameFromId(progress.role, true);
		NameData name;
		Interval left = {.time = (TimeOffset) (progress.left * USECS_PER_SEC)};
		Datum values[] = {
			Int64GetDatum(progress.run_id),
			Int32GetDatum(progress.pid),
			NameGetDatum(&name),
			CStringGetTextDatum(progress.phase),
			Int64GetDatum(progress.bytes_done),
			Int64GetDatum(progress.bytes_total),
			Int64GetDatum(progress.records),
			Int64GetDatum(progress.rejects),
			Int64GetDatum(progress.rows_done),
			Int64GetDatum(progress.rows_total),
			TimestampTzGetDatum(progress.started),
			Float8GetDatum(progress.rate),
			IntervalPGetDatum(&left),
		};
		bool nulls[lengthof(values)] = {false};

		nulls[0] = progress.run_id == 0;
		nulls[2] = role == NULL;
		if (role != NULL)
			namestrcpy(&name, role);
		nulls[11] = progress.rate < 0;
		nulls[12] = progress.left < 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

Datum
eikon_runs_guard(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("eikon_runs_guard can only be called as a trigger")));
	EfLedgerGuard();
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple);
}

/*
 * For extension scripts: runs a statement, as a role if one is given, whose effect does not become
 * part of the extension. In a script, a GRANT takes all rights on the object for the extension's
 * own, so that pg_dump leaves out those of users, and CREATE OR REPLACE accepts no view of theirs.
 */
Datum
eikon_outside_extension(PG_FUNCTION_ARGS)
{
	char *statement = unpack_text(fcinfo, 0);
	Oid user;
	int context;

	refuse_null(fcinfo, 0, "statement");
	if (!creating_extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("eikon_outside_extension() can only be called from an extension script")));
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to call eikon_outside_extension()")));

	GetUserIdAndSecContext(&user, &context);
	EfQueryBegin();
	creating_extension = false;
	PG_TRY();
	{
		if (!PG_ARGISNULL(1))
			SetUserIdAndSecContext(PG_GETARG_OID(1), context | SECURITY_LOCAL_USERID_CHANGE);
		(void) EfQueryRun(statement, 0, NULL, NULL, NULL);
	}
	PG_FINALLY();
	{
		creating_extension = true;
		SetUserIdAndSecContext(user, context);
	}
	PG_END_TRY();

	/* runs may have waited for the update; in scripts of eikon_api there is no such table */
	if (max_worker_processes > 0 &&
		OidIsValid(get_relname_relid("eikon_runs", own_schema(fcinfo))) &&
		EfQueueHasWork(own_schema(fcinfo)))
		EfWakeAtCommit();
	EfQueryEnd();
	PG_RETURN_VOID();
}
