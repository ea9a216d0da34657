/*
 * store.c
 *		Features and rejects -> tables.
 *
 * The new rows are handed to SQL as a named tuplestore and compared with the
 * table in sets: one DELETE, one UPDATE, one INSERT, so indexes, triggers, foreign
 * keys and row security that users have put on the table work as for any other
 * statement, and a row that did not change is not written.
 */
#include "postgres.h"

#include <math.h>

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/rls.h"

typedef struct Column
{
	const char *name;
	Oid type;
} Column;

/* The table features, as the install script creates it. */
static const Column features_columns[] = {
	{"user_id", INT8OID},
	{"name", TEXTOID},
	{"email", TEXTOID},
	{"signup_date", DATEOID},
	{"total_experiments", INT8OID},
	{"avg_experiments", FLOAT8OID},
	{"experiments_pct", FLOAT8OID},
	{"avg_experiment_run_time", FLOAT8OID},
	{"total_experiment_run_time", FLOAT8OID},
	{"most_common_compound_id", INT8OID},
	{"most_common_compound_name", TEXTOID},
	{"most_common_compound_structure", TEXTOID},
	{"most_common_compound_count", INT8OID},
	{"most_common_compound_ids", INT8ARRAYOID},
};

static const Column compounds_columns[] = {
	{"compound_id", INT8OID},
	{"compound_name", TEXTOID},
	{"compound_structure", TEXTOID},
};

/* eikon_rejects without run_id, which is not known until the end */
static const Column rejects_columns[] = {
	{"reject_id", INT8OID},
	{"kind", TEXTOID},
	{"file", TEXTOID},
	{"line", INT8OID},
	{"byte_offset", INT8OID},
	{"column_name", TEXTOID},
	{"value", TEXTOID},
	{"error_type", TEXTOID},
	{"error_message", TEXTOID},
	{"raw", TEXTOID},
	{"raw_truncated", BOOLOID},
};

#define FEATURES_COLUMNS ((int) lengthof(features_columns))

bool
EfStoreIsColumn(TupleDesc desc, int i, const char *name, Oid type)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, i);

	if (attribute->attisdropped || strcmp(NameStr(attribute->attname), name) != 0)
		return false;
	if (attribute->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s, expected %s", name,
						format_type_be(attribute->atttypid), format_type_be(type)),
				 errhint("The columns of the extension's tables must keep their types; cast them in a view instead.")));
	return true;
}

static TupleDesc
make_desc(const Column *columns, int n)
{
	TupleDesc desc = CreateTemplateTupleDesc(n);

	for (int i = 0; i < n; i++)
		TupleDescInitEntry(desc, (AttrNumber) (i + 1), columns[i].name, columns[i].type, -1, 0);
	return desc;
}

static void
set_text(Datum *value, bool *isnull, EfText text)
{
	*isnull = text.data == NULL;
	*value = *isnull ? (Datum) 0 :
					   PointerGetDatum(cstring_to_text_with_len(text.data, (int) text.len));
}

static void
set_ids(Datum *value, bool *isnull, const int64 *ids, int n)
{
	Datum *elements = palloc(sizeof(Datum) * (Size) n);

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(ids[i]);
	*isnull = false;
	*value = PointerGetDatum(construct_array(elements, n, INT8OID, sizeof(int64),
											 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* One row of features, in the order of features_columns. */
static void
make_features(const EfFeatures *features, Datum *values, bool *nulls)
{
	const EfUser *user = &features->user;

	memset(nulls, false, sizeof(bool) * FEATURES_COLUMNS);
	values[0] = Int64GetDatum(user->user_id);
	set_text(&values[1], &nulls[1], user->name);
	set_text(&values[2], &nulls[2], user->email);
	values[3] = Int32GetDatum(user->signup_date);
	nulls[3] = !user->has_signup_date;
	values[4] = Int64GetDatum(features->experiments);
	values[5] = Float8GetDatum(features->avg_experiments);
	values[6] = Float8GetDatum(features->experiments_pct);
	nulls[7] = nulls[8] = !features->has_run_time;
	if (features->has_run_time)
	{
		if (!isfinite(features->total_run_time))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("sum of the run times of user " INT64_FORMAT " is out of range for type double precision",
							user->user_id),
					 errhint("Look for run times that are far too large.")));
		values[7] = Float8GetDatum(features->avg_run_time);
		values[8] = Float8GetDatum(features->total_run_time);
	}
	if (features->ntied == 0)
	{
		memset(nulls + 9, true, sizeof(bool) * 5);
		return;
	}
	values[9] = Int64GetDatum(features->compound->compound_id);
	set_text(&values[10], &nulls[10], features->compound->name);
	set_text(&values[11], &nulls[11], features->compound->structure);
	values[12] = Int64GetDatum(features->count);
	set_ids(&values[13], &nulls[13], features->tied, features->ntied);
}

void
EfStoreFill(EfAggregate *aggregate, TupleDesc desc, Tuplestorestate *rows)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "eikon_features row",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int *from = MemoryContextAlloc(old, sizeof(int) * (Size) desc->natts);
	Datum *values = MemoryContextAlloc(old, sizeof(Datum) * (Size) desc->natts);
	bool *nulls = MemoryContextAlloc(old, sizeof(bool) * (Size) desc->natts);
	EfFeatures features;

	for (int i = 0; i < desc->natts; i++)
	{
		from[i] = -1;
		for (int j = 0; j < FEATURES_COLUMNS; j++)
			if (EfStoreIsColumn(desc, i, features_columns[j].name, features_columns[j].type))
				from[i] = j;
	}
	while (EfAggregateNext(aggregate, &features))
	{
		Datum made[FEATURES_COLUMNS];
		bool made_nulls[FEATURES_COLUMNS];

		CHECK_FOR_INTERRUPTS();
		make_features(&features, made, made_nulls);
		for (int i = 0; i < desc->natts; i++)
		{
			nulls[i] = from[i] < 0 || made_nulls[from[i]];
			values[i] = nulls[i] ? (Datum) 0 : made[from[i]];
		}
		tuplestore_putvalues(rows, desc, values, nulls);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
fill_compounds(EfAggregate *aggregate, TupleDesc desc, Tuplestorestate *rows)
{
	EfCompound compound;

	while (EfAggregateNextCompound(aggregate, &compound))
	{
		Datum values[lengthof(compounds_columns)];
		bool nulls[lengthof(compounds_columns)];

		CHECK_FOR_INTERRUPTS();
		values[0] = Int64GetDatum(compound.compound_id);
		nulls[0] = false;
		set_text(&values[1], &nulls[1], compound.name);
		set_text(&values[2], &nulls[2], compound.structure);
		tuplestore_putvalues(rows, desc, values, nulls);
		for (int i = 1; i <= 2; i++)
			if (!nulls[i])
				pfree(DatumGetPointer(values[i]));
	}
}

/* Throws unless the table has the columns, of the types that they were given. */
static void
check_table(Oid schema, const char *name, const Column *columns, int n)
{
	Oid table = get_relname_relid(name, schema);
	Relation relation;
	TupleDesc desc;

	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" is missing from schema \"%s\"", name,
						get_namespace_name(schema)),
				 errhint("The extension's tables must keep their names and their schema.")));
	relation = relation_open(table, AccessShareLock);
	desc = RelationGetDescr(relation);
	for (int i = 0; i < n; i++)
	{
		bool found = false;

		for (int j = 0; j < desc->natts && !found; j++)
			found = EfStoreIsColumn(desc, j, columns[i].name, columns[i].type);
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" is missing", columns[i].name, name),
					 errhint("The extension's tables must keep their columns, by name and type.")));
	}
	relation_close(relation, AccessShareLock);
}

void
EfStoreCheck(Oid schema)
{
	check_table(schema, "features", features_columns, FEATURES_COLUMNS);
	check_table(schema, "eikon_compounds", compounds_columns, lengthof(compounds_columns));
	check_table(schema, "eikon_rejects", rejects_columns, lengthof(rejects_columns));
}

void
EfStoreLock(Oid schema)
{
	Oid features = get_relname_relid("features", schema);
	LOCKTAG tag;

	/* 1 and 2 are what pg_advisory_lock() makes: anybody could hold our lock */
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, RelationRelationId, features, 3);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("another ETL run is going on for table \"%s\"", "features"),
				 errhint("Wait until its transaction ends, then run again.")));
}

/* A list of columns, each with that before it. */
static char *
list_columns(const Column *columns, int n, const char *before)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s%s", i > 0 ? ", " : "", before, columns[i].name);
	return list.data;
}

static char *
list_assignments(const Column *columns, int n)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 1; i < n; i++)
		appendStringInfo(&list, "%s%s = n.%s", i > 1 ? ", " : "", columns[i].name,
						 columns[i].name);
	return list.data;
}

/*
 * Brings a table to what the named tuplestore holds; the first column is the
 * key. Deletes come first, to free the values of unique columns.
 */
static void
bring_up_to_date(const char *table, const char *rows, const Column *columns, int n,
				 bool dry_run, EfStoreCounts *counts)
{
	const char *key = columns[0].name;
	char *same_key = psprintf("n.%s OPERATOR(pg_catalog.=) f.%s", key, key);
	char *gone = psprintf("NOT EXISTS (SELECT FROM %s n WHERE %s)", rows, same_key);
	char *fresh = psprintf("NOT EXISTS (SELECT FROM ONLY %s f WHERE %s)", table, same_key);
	char *changed = psprintf("%s AND pg_catalog.record_image_ne(ROW(%s), ROW(%s))",
							 same_key, list_columns(columns, n, "f."),
							 list_columns(columns, n, "n."));

	/*
	 * Where the transaction has one snapshot throughout, rows that others have
	 * inserted since are not seen here; this makes them a serialization failure.
	 */
	const char *conflict = IsolationUsesXactSnapshot() ?
							   psprintf(" ON CONFLICT (%s) DO NOTHING", key) :
							   "";

	if (dry_run)
	{
		counts->deleted = EfQueryBigint(psprintf("SELECT pg_catalog.count(*) FROM ONLY %s f WHERE %s",
												 table, gone),
										0, NULL, NULL, NULL);
		counts->updated = EfQueryBigint(psprintf("SELECT pg_catalog.count(*) FROM ONLY %s f, %s n WHERE %s",
												 table, rows, changed),
										0, NULL, NULL, NULL);
		counts->inserted = EfQueryBigint(psprintf("SELECT pg_catalog.count(*) FROM %s n WHERE %s",
												  rows, fresh),
										 0, NULL, NULL, NULL);
		return;
	}
	counts->deleted = (int64) EfQueryRun(psprintf("DELETE FROM ONLY %s f WHERE %s", table, gone),
										 0, NULL, NULL, NULL);
	counts->updated = (int64) EfQueryRun(psprintf("UPDATE ONLY %s f SET %s FROM %s n WHERE %s",
												  table, list_assignments(columns, n), rows,
												  changed),
										 0, NULL, NULL, NULL);
	counts->inserted = (int64) EfQueryRun(psprintf("INSERT INTO %s (%s) SELECT %s FROM %s n WHERE %s%s",
												   table, list_columns(columns, n, ""),
												   list_columns(columns, n, "n."), rows, fresh,
												   conflict),
										  0, NULL, NULL, NULL);
}

static int64
written(const EfStoreCounts *counts)
{
	return counts->inserted + counts->updated + counts->deleted;
}

/*
 * Row security lets a statement pass over rows in silence. What the role does
 * not see is not its own; what it sees must be what the run derived.
 */
static void
check_row_security(Oid table, const char *name, const char *rows, const Column *columns, int n)
{
	EfStoreCounts left;

	if (check_enable_rls(table, InvalidOid, true) != RLS_ENABLED)
		return;
	bring_up_to_date(name, rows, columns, n, true, &left);
	if (written(&left) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row security keeps rows of table \"%s\" from being brought up to date",
						get_rel_name(table)),
				 errdetail("Rows still to insert: " INT64_FORMAT ", to update: " INT64_FORMAT ", to delete: " INT64_FORMAT ".",
						   left.inserted, left.updated, left.deleted),
				 errhint("Run as a role whose policies let it write every row that it sees, as the table's owner, or as one with BYPASSRLS.")));
}

/* Whether users have put on the table what can keep rows from being written. */
static bool
has_guards(Oid table)
{
	Relation relation = relation_open(table, AccessShareLock);
	const TriggerDesc *triggers = relation->trigdesc;
	bool guards = relation->rd_rules != NULL ||
				  (triggers != NULL && (triggers->trig_insert_before_row ||
										triggers->trig_update_before_row ||
										triggers->trig_delete_before_row));

	relation_close(relation, AccessShareLock);
	return guards;
}

/*
 * One of the tables, by the nrows rows in the named tuplestore. Where triggers
 * or rules may keep rows back, which is their good right, it is counted before
 * what there is to do, so that the counts stay true.
 */
static void
write_table(Oid schema, const char *table, const char *rows, int64 nrows, const Column *columns,
			int n, bool dry_run, EfStoreCounts *counts)
{
	Oid relation = get_relname_relid(table, schema);
	char *name = psprintf("%s.%s", quote_identifier(get_namespace_name(schema)), table);
	bool guarded = false;
	EfStoreCounts todo;

	if (!dry_run)
	{
		EfQueryRun(psprintf("LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE", name), 0, NULL,
				   NULL, NULL);
		guarded = has_guards(relation); /* under the lock, so that it stays true */
	}
	if (guarded)
		bring_up_to_date(name, rows, columns, n, true, &todo);
	bring_up_to_date(name, rows, columns, n, dry_run, counts);
	if (!guarded)
		todo = *counts;
	counts->unchanged = nrows - todo.inserted - todo.updated;
	if (written(&todo) > written(counts))
		ereport(WARNING,
				(errmsg("triggers or rules kept " INT64_FORMAT " changes of table \"%s\" from being written",
						written(&todo) - written(counts), table)));
	if (!dry_run)
		check_row_security(relation, name, rows, columns, n);
}

void
EfStoreWrite(Oid schema, EfAggregate *aggregate, bool dry_run, EfStoreCounts *counts)
{
	TupleDesc features_desc = make_desc(features_columns, FEATURES_COLUMNS);
	TupleDesc compounds_desc = make_desc(compounds_columns, lengthof(compounds_columns));
	Tuplestorestate *features = tuplestore_begin_heap(false, false, work_mem);
	Tuplestorestate *compounds;
	EfStoreCounts unused;

	EfStoreFill(aggregate, features_desc, features);
	EfQueryRelation("eikon_new_features", features_desc, features,
					tuplestore_tuple_count(features));
	write_table(schema, "features", "eikon_new_features", tuplestore_tuple_count(features),
				features_columns, FEATURES_COLUMNS, dry_run, counts);
	tuplestore_end(features);

	/* a dry run has nothing to tell of them */
	if (dry_run)
		return;
	compounds = tuplestore_begin_heap(false, false, work_mem);
	fill_compounds(aggregate, compounds_desc, compounds);
	EfQueryRelation("eikon_new_compounds", compounds_desc, compounds,
					tuplestore_tuple_count(compounds));
	write_table(schema, "eikon_compounds", "eikon_new_compounds",
				tuplestore_tuple_count(compounds), compounds_columns,
				lengthof(compounds_columns), false, &unused);
	tuplestore_end(compounds);
}

/* --- rejects --- */

struct EfRejects
{
	MemoryContext context; /* of one reject */
	TupleDesc desc;
	Tuplestorestate *rows;
};

EfRejects *
EfRejectsBegin(void)
{
	EfRejects *rejects = palloc(sizeof(EfRejects));

	rejects->context = AllocSetContextCreate(CurrentMemoryContext, "eikon_features reject",
											 ALLOCSET_DEFAULT_SIZES);
	rejects->desc = make_desc(rejects_columns, lengthof(rejects_columns));
	rejects->rows = tuplestore_begin_heap(false, false, work_mem);
	return rejects;
}

void
EfRejectsAdd(void *arg, const EfReject *reject)
{
	EfRejects *rejects = arg;
	MemoryContext old = MemoryContextSwitchTo(rejects->context);
	bool value = reject->value.data != NULL;
	bool nulls[lengthof(rejects_columns)] = {false};
	bool truncated;
	char *raw = EfShowText(reject->raw, EF_REJECT_RAW, false, &truncated);
	Datum values[lengthof(rejects_columns)] = {
		Int64GetDatum(tuplestore_tuple_count(rejects->rows) + 1),
		CStringGetTextDatum(EfKindNames[reject->kind]),
		CStringGetTextDatum(reject->file),
		Int64GetDatum(reject->line),
		Int64GetDatum(reject->offset),
		reject->column ? CStringGetTextDatum(reject->column) : (Datum) 0,
		value ? CStringGetTextDatum(EfShowText(reject->value, EF_REJECT_VALUE, true, NULL)) :
				(Datum) 0,
		CStringGetTextDatum(EfReasonName(reject->reason)),
		CStringGetTextDatum(reject->message),
		CStringGetTextDatum(raw),
		BoolGetDatum(truncated || reject->raw_partial),
	};

	nulls[5] = reject->column == NULL;
	nulls[6] = !value;
	tuplestore_putvalues(rejects->rows, rejects->desc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(rejects->context);
}

void
EfRejectsWrite(EfRejects *rejects, Oid schema, int64 run_id)
{
	Oid type = INT8OID;
	Datum arg = Int64GetDatum(run_id);
	char *columns = list_columns(rejects_columns, lengthof(rejects_columns), "");

	if (tuplestore_tuple_count(rejects->rows) == 0)
		return;
	EfQueryRelation("eikon_new_rejects", rejects->desc, rejects->rows,
					tuplestore_tuple_count(rejects->rows));
	EfQueryRun(psprintf("INSERT INTO %s.eikon_rejects (run_id, %s) SELECT $1, %s FROM eikon_new_rejects",
						quote_identifier(get_namespace_name(schema)), columns, columns),
			   1, &type, &arg, NULL);
}

void
EfRejectsEnd(EfRejects *rejects)
{
	tuplestore_end(rejects->rows);
	MemoryContextDelete(rejects->context);
}
