/*
 * sql_api.c
 *		The functions that SQL calls: unpack, call, pack.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "encoding.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pipeline.h"
#include "run.h"
#include "store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(eikon_run_etl);
PG_FUNCTION_INFO_V1(eikon_derive_features);
PG_FUNCTION_INFO_V1(eikon_read_csv);

/* Reads the arguments from the second on: options, called by their names. */
static void
unpack_options(FunctionCallInfo fcinfo, EfOptions *options)
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
	for (int i = 1; i < PG_NARGS(); i++)
		if (!PG_ARGISNULL(i))
			EfOptionsSet(options, names[i], types[i],
						 types[i] == TEXTOID ? PointerGetDatum(PG_GETARG_TEXT_PP(i)) :
											   PG_GETARG_DATUM(i));
	EfOptionsCheck(options);
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
	return EfRun(get_func_namespace(fcinfo->flinfo->fn_oid), unpack_text(fcinfo, 0), &options);
}

/* Rejects of a derivation are counted and told, not kept. */
static void
count_reject(void *arg, const EfReject *reject)
{
	(void) reject;
	(*(int64 *) arg)++;
}

Datum
eikon_derive_features(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EfDerivation *derivation;
	EfTuples tuples;
	EfOptions options;
	EfReport report;
	int64 rejected = 0;

	unpack_options(fcinfo, &options);
	EfStoreCheck(get_func_namespace(fcinfo->flinfo->fn_oid));
	InitMaterializedSRF(fcinfo, 0);
	derivation = EfPipelineDerive(unpack_text(fcinfo, 0), &options, count_reject, &rejected,
								  &report);
	tuples = EfPipelineTuples(derivation);
	EfStoreFill(&tuples, result->setDesc, result->setResult);
	EfPipelineEnd(derivation);
	if (rejected > 0)
		ereport(NOTICE,
				(errmsg_plural(INT64_FORMAT " record was rejected",
							   INT64_FORMAT " records were rejected",
							   (unsigned long) rejected, rejected),
				 errhint("eikon_run_etl keeps them in eikon_rejects.")));
	return (Datum) 0;
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
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("path must not be NULL")));
	InitMaterializedSRF(fcinfo, 0);
	preview.result = (ReturnSetInfo *) fcinfo->resultinfo;
	preview.null = options.null_given ? options.null : NULL;
	preview.context = AllocSetContextCreate(CurrentMemoryContext, "eikon_features preview",
											ALLOCSET_DEFAULT_SIZES);
	EfPipelinePreview(unpack_text(fcinfo, 0), &options, pack_record, &preview);
	return (Datum) 0;
}
