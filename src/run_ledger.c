/*
 * run_ledger.c
 *		The rows of eikon_runs.
 *
 * Who reads and writes it here is its owner, as with foreign keys, so that the roles that
 * run need no rights on it and can neither forge nor hide what they did.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "funcapi.h"
#include "json.h"
#include "miscadmin.h"
#include "query.h"
#include "run_ledger.h"
#include "run_shared.h"
#include "store_check.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* Who listens there hears of every change of a run's state. */
#define CHANNEL "eikon_runs"

/* Whether this process is in one of the statements below. */
static bool writing = false;

/* --- jsonb --- */

/* To the microsecond. */
static void
add_seconds(JsonbParseState **state, const char *key, double seconds)
{
	Datum numeric = DirectFunctionCall1(float8_numeric, Float8GetDatum(seconds));

	EfJsonNumeric(state, key, DirectFunctionCall2(numeric_round, numeric, Int32GetDatum(6)));
}

static void
add_character(JsonbParseState **state, const char *key, char c)
{
	char s[2] = {c, '\0'};

	EfJsonText(state, key, pstrdup(s));
}

static Datum
timings_to_jsonb(const EfReport *report, double comparing, double storing)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (comparing >= 0)
		add_seconds(&state, "compare", comparing);
	if (storing >= 0)
	{
		for (EfKind kind = 0; kind < EF_KINDS; kind++)
			add_seconds(&state, EfKindNames[kind], report->kinds[kind].seconds);
		add_seconds(&state, "store", storing);
	}
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
		EfJsonText(state, "quote", "");
	else
		add_character(state, "quote", dialect->quote);
	if (dialect->escape != '\0')
		add_character(state, "escape", dialect->escape);
	EfJsonText(state, "padding", padding[dialect->padding]);
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
		EfJsonText(&state, "file", note->file);
		EfJsonText(&state, "kind", EfKindNames[note->kind]);
		EfJsonInt(&state, "bytes", note->bytes);
		EfJsonInt(&state, "records", note->records);
		EfJsonText(&state, "compression", note->compression);
		EfJsonText(&state, "encoding", note->encoding);
		add_dialect(&state, &note->dialect);
		EfJsonText(&state, "newline", newline_name(&note->newlines));
		EfJsonInt(&state, "header_line", note->header_line);
		EfJsonKey(&state, "ignored_columns");
		pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		foreach(name, note->ignored)
		{
			EfText text = {lfirst(name), (uint32) strlen(lfirst(name))};

			EfJsonString(&state, WJB_ELEM, EfShowText(text, EF_REJECT_VALUE, true, NULL));
		}
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return PointerGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

/* --- a row in the making --- */

void
EfLedgerSet(EfLedger *ledger, const char *name, Oid type, Datum value)
{
	Assert(ledger->n < (int) lengthof(ledger->names));
	ledger->names[ledger->n] = name;
	ledger->types[ledger->n] = type;
	ledger->values[ledger->n] = value;
	ledger->nulls[ledger->n++] = false;
}

void
EfLedgerSetText(EfLedger *ledger, const char *name, const char *text)
{
	EfLedgerSet(ledger, name, TEXTOID, text == NULL ? (Datum) 0 : CStringGetTextDatum(text));
	ledger->nulls[ledger->n - 1] = text == NULL;
}

void
EfLedgerSetCount(EfLedger *ledger, const char *name, int64 n)
{
	EfLedgerSet(ledger, name, INT8OID, Int64GetDatum(n));
}

void
EfLedgerSetBool(EfLedger *ledger, const char *name, bool value)
{
	EfLedgerSet(ledger, name, BOOLOID, BoolGetDatum(value));
}

void
EfLedgerSetTime(EfLedger *ledger, const char *name, TimestampTz time)
{
	EfLedgerSet(ledger, name, TIMESTAMPTZOID, TimestampTzGetDatum(time));
}

void
EfLedgerSetOptions(EfLedger *ledger, const EfOptions *options)
{
	EfLedgerSet(ledger, "options", JSONBOID, JsonbPGetDatum(EfOptionsToJsonb(options)));
}

static void
set_kind(EfLedger *ledger, const char *kind, const EfKindCounts *counts)
{
	EfLedgerSetCount(ledger, psprintf("%s_read", kind), counts->read);
	EfLedgerSetCount(ledger, psprintf("%s_loaded", kind), counts->loaded);
	EfLedgerSetCount(ledger, psprintf("%s_rejected", kind), counts->rejected);
}

void
EfLedgerSetReport(EfLedger *ledger, const EfReport *report, const EfStoreCounts *counts)
{
	set_kind(ledger, "users", &report->kinds[EF_USERS]);
	set_kind(ledger, "compounds", &report->kinds[EF_COMPOUNDS]);
	set_kind(ledger, "experiments", &report->kinds[EF_EXPERIMENTS]);
	EfLedgerSetCount(ledger, "unknown_compounds", report->unknown_compounds);
	EfLedgerSetCount(ledger, "rows_inserted", counts->inserted);
	EfLedgerSetCount(ledger, "rows_updated", counts->updated);
	EfLedgerSetCount(ledger, "rows_deleted", counts->deleted);
	EfLedgerSetCount(ledger, "rows_unchanged", counts->unchanged);
	EfLedgerSet(ledger, "notes", JSONBOID, notes_to_jsonb(report));
}

void
EfLedgerSetTimings(EfLedger *ledger, const EfReport *report, double comparing, double storing)
{
	EfLedgerSet(ledger, "timings", JSONBOID, timings_to_jsonb(report, comparing, storing));
}

void
EfLedgerSetRequester(EfLedger *ledger, Oid role)
{
	Name name = palloc(sizeof(NameData));

	namestrcpy(name, GetUserNameFromId(role, false));
	EfLedgerSet(ledger, "requested_by", NAMEOID, NameGetDatum(name));
	EfLedgerSet(ledger, "requester", OIDOID, ObjectIdGetDatum(role));
}

/* --- acting as the owner --- */

Oid
EfLedgerOwner(Oid schema)
{
	Oid table = get_relname_relid("eikon_runs", schema);
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		EfStoreMissing(schema, "eikon_runs");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
EfLedgerAct(Oid schema, EfIdentity *before)
{
	Oid owner = EfLedgerOwner(schema);

	GetUserIdAndSecContext(&before->role, &before->context);
	SetUserIdAndSecContext(owner, before->context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	before->settings = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

static void
check_trigger(const Relation table, const Trigger *trigger)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(trigger->tgfoid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		return; /* to be told of by who calls it */
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	if (owner != table->rd_rel->relowner && !superuser_arg(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("trigger \"%s\" of table \"%s\" calls a function that belongs to neither the table's owner nor a superuser",
						trigger->tgname, RelationGetRelationName(table)),
				 errhint("Drop the trigger, or give its function to the table's owner; and do not grant TRIGGER on the table.")));
}

/*
 * Its triggers run as the owner, too, whoever calls, so somebody who may create triggers
 * there must not have functions of his own called.
 */
static void
check_triggers(Oid schema, const char *name)
{
	Oid oid = get_relname_relid(name, schema);
	Relation table;

	if (!OidIsValid(oid))
		EfStoreMissing(schema, name);
	table = table_open(oid, RowExclusiveLock);
	for (int i = 0; table->trigdesc != NULL && i < table->trigdesc->numtriggers; i++)
		check_trigger(table, &table->trigdesc->triggers[i]);
	table_close(table, NoLock);
}

void
EfLedgerActToWrite(Oid schema, EfIdentity *before)
{
	check_triggers(schema, "eikon_runs");
	check_triggers(schema, "eikon_rejects");
	EfLedgerAct(schema, before);
}

void
EfLedgerActEnd(const EfIdentity *before)
{
	AtEOXact_GUC(false, before->settings);
	SetUserIdAndSecContext(before->role, before->context);
}

void
EfLedgerActed(const EfIdentity *before)
{
	SetUserIdAndSecContext(before->role, before->context);
}

/* --- statements --- */

char *
EfLedgerTable(Oid schema)
{
	return psprintf("%s.eikon_runs", quote_identifier(get_namespace_name(schema)));
}

int64
EfLedgerNewId(Oid schema)
{
	EfIdentity before;
	int64 run_id;

	EfLedgerAct(schema, &before);
	run_id = EfQueryBigint(psprintf("SELECT nextval(pg_get_serial_sequence(%s, 'run_id'))",
									quote_literal_cstr(EfLedgerTable(schema))),
						   0, NULL, NULL, NULL);
	EfLedgerActEnd(&before);
	return run_id;
}

/*
 * Says of a row that was written what state the run is in, once that is committed. Any
 * role can listen, so it has nothing that is not public.
 */
static void
notify_listeners(const Datum *row)
{
	JsonbParseState *state = NULL;
	Jsonb *payload;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	EfJsonInt(&state, "run_id", DatumGetInt64(row[0]));
	EfJsonText(&state, "status", TextDatumGetCString(row[1]));
	EfJsonText(&state, "requested_by", pstrdup(NameStr(*DatumGetName(row[2]))));
	payload = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	Async_Notify(CHANNEL, JsonbToCString(NULL, &payload->root, VARSIZE(payload)));
	EfChangeAtCommit();
}

/* Runs a statement that writes one row, or perhaps none; returns its run_id, 0 for none. */
static int64
write_row(Oid schema, const char *sql, int nargs, const Oid *types, const Datum *args,
		  const bool *nulls, bool perhaps)
{
	char *returning = psprintf("%s RETURNING run_id, status, requested_by", sql);
	EfIdentity before;
	Datum row[3];
	bool row_nulls[3];
	bool found;

	EfLedgerActToWrite(schema, &before);
	writing = true;
	PG_TRY();
	{
		found = EfQueryRow(returning, nargs, types, args, nulls, 3, row, row_nulls);
	}
	PG_FINALLY();
	{
		writing = false;
	}
	PG_END_TRY();
	if (!found && !perhaps)
		EfQueryUnexpected(sql);
	EfLedgerActEnd(&before);
	if (!found)
		return 0;
	notify_listeners(row);
	return DatumGetInt64(row[0]);
}

int64
EfLedgerInsert(Oid schema, const EfLedger *ledger, const char *conflict)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (", EfLedgerTable(schema));
	for (int i = 0; i < ledger->n; i++)
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "", ledger->names[i]);
	appendStringInfoString(&sql, ") VALUES (");
	for (int i = 0; i < ledger->n; i++)
		appendStringInfo(&sql, "%s$%d", i > 0 ? ", " : "", i + 1);
	appendStringInfo(&sql, ")%s", conflict);
	return write_row(schema, sql.data, ledger->n, ledger->types, ledger->values, ledger->nulls,
					 *conflict != '\0');
}

bool
EfLedgerUpdate(Oid schema, const EfLedger *ledger, int64 run_id, const char *status)
{
	EfLedger all = *ledger;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s SET ", EfLedgerTable(schema));
	for (int i = 0; i < ledger->n; i++)
		appendStringInfo(&sql, "%s%s = $%d", i > 0 ? ", " : "", ledger->names[i], i + 1);
	appendStringInfo(&sql, " WHERE run_id = $%d AND status = $%d",
					 ledger->n + 1, ledger->n + 2);
	EfLedgerSetCount(&all, "", run_id);
	EfLedgerSetText(&all, "", status);
	return write_row(schema, sql.data, all.n, all.types, all.values, all.nulls, true) != 0;
}

void
EfLedgerClearCurrent(Oid schema)
{
	EfIdentity before;

	EfLedgerActToWrite(schema, &before);
	EfQueryRun(psprintf("UPDATE %s SET is_current = false WHERE is_current", EfLedgerTable(schema)),
			   0, NULL, NULL, NULL);
	EfLedgerActEnd(&before);
}

bool
EfLedgerIsCurrent(Oid schema, const char *fingerprint, const EfOptions *options)
{
	Oid types[] = {TEXTOID, JSONBOID, OIDOID, TEXTARRAYOID};
	Datum args[] = {CStringGetTextDatum(fingerprint), JsonbPGetDatum(EfOptionsToJsonb(options)),
					ObjectIdGetDatum(GetUserId()), EfOptionsOfRun()};
	Oid features = get_relname_relid(EfUserFeatures.name, schema);
	EfIdentity before;
	Datum value;
	bool isnull;
	bool found;

	EfLedgerAct(schema, &before);
	found = EfQueryRowNow(psprintf("SELECT run_id FROM %s WHERE is_current AND fingerprint = $1"
								   " AND options - $4 = $2 - $4 AND requester = $3"
								   " AND (users_loaded = 0 OR EXISTS (SELECT FROM %s %s.eikon_user_features))"
								   " AND (SELECT count(*) = 1 AND min(t.users) = users_loaded AND min(t.experiments) = experiments_loaded"
								   " FROM ONLY %s.eikon_totals t)",
								   EfLedgerTable(schema),
								   get_rel_relkind(features) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY",
								   quote_identifier(get_namespace_name(schema)),
								   quote_identifier(get_namespace_name(schema))),
						  4, types, args, 1, &value, &isnull);
	EfLedgerActEnd(&before);
	return found;
}

/* The row as a value of the table's type, in the given context. */
Datum
EfLedgerRow(Oid schema, const EfLedger *ledger, MemoryContext context)
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
			if (!EfIsColumn(desc, i, ledger->names[j], ledger->types[j]))
				continue;
			values[i] = ledger->values[j];
			nulls[i] = ledger->nulls[j];
		}
	}
	old = MemoryContextSwitchTo(context);
	row = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	MemoryContextSwitchTo(old);
	ReleaseTupleDesc(desc);
	return row;
}

void
EfLedgerGuard(void)
{
	if (!writing && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to queue a run by writing to table \"%s\"", "eikon_runs"),
				 errhint("Use eikon_submit_etl().")));
}
