/*
 * run.c
 *		One run, and its row in the ledger.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pipeline.h"
#include "portability/instr_time.h"
#include "run.h"
#include "store.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* --- jsonb --- */

static void
add_key(JsonbParseState **state, const char *key)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

/* token is WJB_VALUE after a key, WJB_ELEM in an array */
static void
add_string(JsonbParseState **state, JsonbIteratorToken token, const char *s)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, s);
	value.val.string.len = (int) strlen(s);
	pushJsonbValue(state, token, &value);
}

static void
add_numeric(JsonbParseState **state, const char *key, Datum numeric)
{
	JsonbValue value = {.type = jbvNumeric};

	add_key(state, key);
	value.val.numeric = DatumGetNumeric(numeric);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
add_int(JsonbParseState **state, const char *key, int64 n)
{
	add_numeric(state, key, DirectFunctionCall1(int8_numeric, Int64GetDatum(n)));
}

/* To the microsecond. */
static void
add_seconds(JsonbParseState **state, const char *key, double seconds)
{
	Datum numeric = DirectFunctionCall1(float8_numeric, Float8GetDatum(seconds));

	add_numeric(state, key, DirectFunctionCall2(numeric_round, numeric, Int32GetDatum(6)));
}

static void
add_text(JsonbParseState **state, const char *key, const char *s)
{
	add_key(state, key);
	add_string(state, WJB_VALUE, s);
}

static void
add_character(JsonbParseState **state, const char *key, char c)
{
	char s[2] = {c, '\0'};

	add_text(state, key, pstrdup(s));
}

static Datum
options_to_jsonb(const EfOptions *options)
{
	JsonbParseState *state = NULL;
	ListCell *cell;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	foreach(cell, options->given)
	{
		const EfGivenOption *given = lfirst(cell);
		JsonbValue value = {.type = jbvBool};

		switch (given->type)
		{
			case INT8OID:
				add_int(&state, given->name, DatumGetInt64(given->value));
				break;
			case BOOLOID:
				add_key(&state, given->name);
				value.val.boolean = DatumGetBool(given->value);
				pushJsonbValue(&state, WJB_VALUE, &value);
				break;
			default:
				add_text(&state, given->name, TextDatumGetCString(given->value));
				break;
		}
	}
	return PointerGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static Datum
timings_to_jsonb(const EfReport *report, double store_seconds)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		add_seconds(&state, EfKindNames[kind], report->kinds[kind].seconds);
	add_seconds(&state, "store", store_seconds);
	return PointerGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static const char *
newline_name(const EfNewlineCounts *newlines)
{
	int forms = (newlines->lf > 0) + (newlines->crlf > 0) + (newlines->cr > 0);

	if (forms > 1)
		return "mixed";
	if (newlines->crlf > 0)
		return "crlf";
	return newlines->cr > 0 ? "cr" : "lf";
}

static void
add_dialect(JsonbParseState **state, const EfDialect *dialect)
{
	static const char *const padding[] = {
		[EF_PADDING_AUTO] = "trim",
		[EF_PADDING_TRIM] = "trim",
		[EF_PADDING_TRIM_QUOTED] = "trim_quoted",
		[EF_PADDING_KEEP] = "keep",
	};

	add_character(state, "delimiter", dialect->delimiter);
	if (dialect->quote == '\0')
		add_text(state, "quote", "");
	else
		add_character(state, "quote", dialect->quote);
	if (dialect->escape != '\0')
		add_character(state, "escape", dialect->escape);
	add_text(state, "padding", padding[dialect->padding]);
}

static Datum
notes_to_jsonb(const EfReport *report)
{
	JsonbParseState *state = NULL;
	ListCell *cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, report->files)
	{
		const EfFileNote *note = lfirst(cell);
		ListCell *name;

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		add_text(&state, "file", note->file);
		add_text(&state, "kind", EfKindNames[note->kind]);
		add_int(&state, "bytes", note->bytes);
		add_int(&state, "records", note->records);
		add_text(&state, "compression", note->compression);
		add_text(&state, "encoding", note->encoding);
		add_dialect(&state, &note->dialect);
		add_text(&state, "newline", newline_name(&note->newlines));
		add_int(&state, "header_line", note->header_line);
		add_key(&state, "ignored_columns");
		pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		foreach(name, note->ignored)
		{
			EfText text = {lfirst(name), (uint32) strlen(lfirst(name))};

			add_string(&state, WJB_ELEM, EfShowText(text, EF_REJECT_VALUE, true, NULL));
		}
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return PointerGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

/* --- the ledger --- */

/* A row of eikon_runs in the making: by column name, in any order. */
typedef struct Ledger
{
	int n;
	const char *names[32];
	Oid types[32];
	Datum values[32];
} Ledger;

static void
set_column(Ledger *ledger, const char *name, Oid type, Datum value)
{
	Assert(ledger->n < (int) lengthof(ledger->names));
	ledger->names[ledger->n] = name;
	ledger->types[ledger->n] = type;
	ledger->values[ledger->n++] = value;
}

static void
set_count(Ledger *ledger, const char *name, int64 n)
{
	set_column(ledger, name, INT8OID, Int64GetDatum(n));
}

static void
set_kind(Ledger *ledger, const char *kind, const EfKindCounts *counts)
{
	set_count(ledger, psprintf("%s_read", kind), counts->read);
	set_count(ledger, psprintf("%s_loaded", kind), counts->loaded);
	set_count(ledger, psprintf("%s_rejected", kind), counts->rejected);
}

/* Writes the row and returns its run_id. */
static int64
record_run(Oid schema, const Ledger *ledger)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s.eikon_runs (",
					 quote_identifier(get_namespace_name(schema)));
	for (int i = 0; i < ledger->n; i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "", ledger->names[i]);
	appendStringInfoString(&sql, ") VALUES (");
	for (int i = 0; i < ledger->n; i++)
		appendStringInfo(&sql, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoString(&sql, ") RETURNING run_id");
	return EfQueryBigint(sql.data, ledger->n, ledger->types, ledger->values, NULL);
}

/* The row as a value of the table's type, in the given context. */
static Datum
make_row(Oid schema, const Ledger *ledger, MemoryContext context)
{
	Oid type = get_rel_type_id(get_relname_relid("eikon_runs", schema));
	TupleDesc desc = lookup_rowtype_tupdesc(type, -1);
	Datum *values = palloc0(sizeof(Datum) * (Size) desc->natts);
	bool *nulls = palloc(sizeof(bool) * (Size) desc->natts);
	MemoryContext old;
	Datum row;

	for (int i = 0; i < desc->natts; i++)
	{
		nulls[i] = true;
		for (int j = 0; j < ledger->n; j++)
		{
			if (!EfStoreIsColumn(desc, i, ledger->names[j], ledger->types[j]))
				continue;
			values[i] = ledger->values[j];
			nulls[i] = false;
		}
	}
	old = MemoryContextSwitchTo(context);
	row = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	MemoryContextSwitchTo(old);
	ReleaseTupleDesc(desc);
	return row;
}

static Datum
run(Oid schema, const char *source, const EfOptions *options)
{
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz started = GetCurrentTimestamp();
	EfRejects *rejects;
	EfDerivation *derivation;
	EfTuples features;
	EfCompounds compounds;
	EfReport report;
	EfStoreCounts counts;
	Ledger ledger = {0};
	instr_time before;
	instr_time after;
	NameData role;
	Datum row;

	EfStoreCheck(schema);
	if (!options->dry_run)
		EfStoreLock(schema);
	EfQueryBegin();
	rejects = EfRejectsBegin();

	/*
	 * Rows may be written while workers still derive others, when neither a
	 * transaction's id can be taken nor a command begin.
	 */
	if (!options->dry_run)
		(void) GetCurrentTransactionId();
	CommandCounterIncrement();
	derivation = EfPipelineDerive(source, options, EfRejectsAdd, rejects, &report);

	INSTR_TIME_SET_CURRENT(before);
	features = EfPipelineTuples(derivation);
	EfStoreFeatures(schema, &features, options->dry_run, &counts);
	compounds = EfPipelineCompounds(derivation);

	/* a dry run has nothing to tell of them */
	if (!options->dry_run)
		EfStoreCompounds(schema, &compounds);
	EfPipelineEnd(derivation);
	INSTR_TIME_SET_CURRENT(after);
	INSTR_TIME_SUBTRACT(after, before);

	namestrcpy(&role, GetUserNameFromId(GetUserId(), false));
	set_column(&ledger, "status", TEXTOID,
			   CStringGetTextDatum(options->dry_run ? "dry_run" : "succeeded"));
	set_column(&ledger, "source", TEXTOID, CStringGetTextDatum(report.source));
	set_column(&ledger, "options", JSONBOID, options_to_jsonb(options));
	set_column(&ledger, "requested_by", NAMEOID, NameGetDatum(&role));
	set_column(&ledger, "started_at", TIMESTAMPTZOID, TimestampTzGetDatum(started));
	set_column(&ledger, "finished_at", TIMESTAMPTZOID,
			   TimestampTzGetDatum(GetCurrentTimestamp()));
	set_count(&ledger, "bytes_read", report.bytes);
	set_kind(&ledger, "users", &report.kinds[EF_USERS]);
	set_kind(&ledger, "compounds", &report.kinds[EF_COMPOUNDS]);
	set_kind(&ledger, "experiments", &report.kinds[EF_EXPERIMENTS]);
	set_count(&ledger, "unknown_compounds", report.unknown_compounds);
	set_count(&ledger, "rows_inserted", counts.inserted);
	set_count(&ledger, "rows_updated", counts.updated);
	set_count(&ledger, "rows_deleted", counts.deleted);
	set_count(&ledger, "rows_unchanged", counts.unchanged);
	set_column(&ledger, "timings", JSONBOID,
			   timings_to_jsonb(&report, INSTR_TIME_GET_DOUBLE(after)));
	set_column(&ledger, "notes", JSONBOID, notes_to_jsonb(&report));

	if (!options->dry_run)
	{
		int64 run_id = record_run(schema, &ledger);

		EfRejectsWrite(rejects, schema, run_id);
		set_count(&ledger, "run_id", run_id);
	}
	EfRejectsEnd(rejects);
	row = make_row(schema, &ledger, caller);
	EfQueryEnd();
	return row;
}

Datum
EfRun(Oid schema, const char *source, const EfOptions *options)
{
	static bool running = false;
	Datum row;

	if (running)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("an ETL run cannot start another one"),
				 errhint("Look for a trigger on the extension's tables that calls eikon_run_etl.")));
	running = true;
	PG_TRY();
	{
		row = run(schema, source, options);
	}
	PG_FINALLY();
	{
		running = false;
	}
	PG_END_TRY();
	return row;
}
