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

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "store.h"
#include "store_direct.h"
#include "store_form.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

static const EfColumn compounds_columns[] = {
	{"compound_id", INT8OID},
	{"compound_name", TEXTOID},
	{"compound_structure", TEXTOID},
};

/* eikon_rejects without run_id, which is not known until the end */
static const EfColumn rejects_columns[] = {
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

static void
set_text(Datum *value, bool *isnull, EfText text)
{
	*isnull = text.data == NULL;
	*value = *isnull ? (Datum) 0 :
					   PointerGetDatum(cstring_to_text_with_len(text.data, (int) text.len));
}

/* The rows into a tuplestore of which column i is column from[i] of theirs, or NULL if -1. */
static void
fill_by_name(EfTuples *rows, const int *from, TupleDesc desc, Tuplestorestate *store)
{
	TupleDesc theirs = EfStoreDesc();
	Datum *values = palloc(sizeof(Datum) * (Size) desc->natts);
	bool *nulls = palloc(sizeof(bool) * (Size) desc->natts);
	HeapTupleData row;

	while (rows->next(rows->arg, &row))
	{
		Datum row_values[EF_FEATURES_COLUMNS];
		bool row_nulls[EF_FEATURES_COLUMNS];

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(&row, theirs, row_values, row_nulls);
		for (int i = 0; i < desc->natts; i++)
		{
			nulls[i] = from[i] < 0 || row_nulls[from[i]];
			values[i] = nulls[i] ? (Datum) 0 : row_values[from[i]];
		}
		tuplestore_putvalues(store, desc, values, nulls);
	}
	pfree(values);
	pfree(nulls);
	FreeTupleDesc(theirs);
}

void
EfStoreFill(EfTuples *rows, TupleDesc desc, Tuplestorestate *store)
{
	HeapTupleData row;
	int *from;

	if (EfIsCanonical(desc))
	{
		while (rows->next(rows->arg, &row))
		{
			CHECK_FOR_INTERRUPTS();
			tuplestore_puttuple(store, &row);
		}
		return;
	}

	from = palloc(sizeof(int) * (Size) desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		from[i] = -1;
		for (int j = 0; j < EF_FEATURES_COLUMNS; j++)
			if (EfStoreIsColumn(desc, i, EfFeaturesColumns[j].name, EfFeaturesColumns[j].type))
				from[i] = j;
	}
	fill_by_name(rows, from, desc, store);
	pfree(from);
}

static void
fill_compounds(EfCompounds *compounds, TupleDesc desc, Tuplestorestate *rows)
{
	EfCompound compound;

	while (compounds->next(compounds->arg, &compound))
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

void
EfStoreMissing(Oid schema, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s\" is missing from schema \"%s\"", table,
					get_namespace_name(schema)),
			 errhint("The extension's tables must keep their names and their schema.")));
}

/* Throws unless the table has the columns, of the types that they were given. */
static void
check_table(Oid schema, const char *name, const EfColumn *columns, int n)
{
	Oid table = get_relname_relid(name, schema);
	Relation relation;
	TupleDesc desc;

	if (!OidIsValid(table))
		EfStoreMissing(schema, name);
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
	check_table(schema, "features", EfFeaturesColumns, EF_FEATURES_COLUMNS);
	check_table(schema, "eikon_compounds", compounds_columns, lengthof(compounds_columns));
	check_table(schema, "eikon_rejects", rejects_columns, lengthof(rejects_columns));
}

/* 1 and 2 are what pg_advisory_lock() makes: anybody could hold our lock. */
static LOCKTAG
run_lock(Oid schema)
{
	Oid features = get_relname_relid("features", schema);
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, RelationRelationId, features, 3);
	return tag;
}

bool
EfStoreTryLock(Oid schema)
{
	LOCKTAG tag = run_lock(schema);

	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

static LOCKTAG kept; /* by EfStoreLock, as the table may be gone when it is given back */

void
EfStoreLock(Oid schema)
{
	kept = run_lock(schema);
	InvalidateCatalogSnapshot(); /* not to hold up VACUUM meanwhile */
	(void) LockAcquire(&kept, ExclusiveLock, true, false);
}

void
EfStoreUnlock(void)
{
	(void) LockRelease(&kept, ExclusiveLock, true);
}

/* A list of columns, each with that before it. */
static char *
list_columns(const EfColumn *columns, int n, const char *before)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s%s", i > 0 ? ", " : "", before, columns[i].name);
	return list.data;
}

static char *
list_assignments(const EfColumn *columns, int n)
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
bring_up_to_date(const char *table, const char *rows, const EfColumn *columns, int n,
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
check_row_security(Oid table, const char *name, const char *rows, const EfColumn *columns, int n)
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

static char *
table_name(Oid schema, const char *table)
{
	return psprintf("%s.%s", quote_identifier(get_namespace_name(schema)), table);
}

/* Other writers wait until the end of the transaction. */
static void
lock_table(Oid schema, const char *table)
{
	EfQueryRun(psprintf("LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE",
						table_name(schema, table)),
			   0, NULL, NULL, NULL);
}

/*
 * One of the tables, by the nrows rows in the named tuplestore. Where triggers
 * or rules may keep rows back, which is their good right, it is counted before
 * what there is to do, so that the counts stay true.
 */
static void
write_table(Oid schema, const char *table, const char *rows, int64 nrows, const EfColumn *columns,
			int n, bool dry_run, EfStoreCounts *counts)
{
	Oid relation = get_relname_relid(table, schema);
	char *name = table_name(schema, table);
	bool guarded = !dry_run && has_guards(relation); /* it is locked, so that stays true */
	EfStoreCounts todo;

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

/* Whether the role has the rights that the lock takes, and the direct way too. */
static bool
may_lock(Oid table)
{
	AclMode rights = ACL_INSERT | ACL_UPDATE | ACL_DELETE;

	return pg_class_aclmask(table, GetUserId(), rights, ACLMASK_ALL) == rights;
}

/* Whether the table could be written, or with dry_run compared, without SQL. */
static bool
write_directly(Oid schema, EfTuples *rows, bool dry_run, EfStoreCounts *counts)
{
	Oid table = get_relname_relid("features", schema);
	Relation relation;
	const char *obstacle;

	/* LOCK TABLE cannot be said while workers are at work; here it checks rights, too */
	if (!dry_run && may_lock(table))
		LockRelationOid(table, ShareRowExclusiveLock);
	relation = table_open(table, dry_run ? AccessShareLock : RowExclusiveLock);
	obstacle = EfDirectObstacle(relation, dry_run);
	if (obstacle == NULL)
		EfDirectWrite(relation, rows, dry_run, counts);
	else
		ereport(DEBUG1,
				(errmsg_internal("table \"%s\" is brought up to date by SQL, which is slower: %s",
								 RelationGetRelationName(relation), obstacle)));
	table_close(relation, NoLock);
	return obstacle == NULL;
}

void
EfStoreFeatures(Oid schema, EfTuples *rows, bool dry_run, EfStoreCounts *counts)
{
	TupleDesc desc;
	Tuplestorestate *store;

	if (write_directly(schema, rows, dry_run, counts))
		return;
	desc = EfStoreDesc();
	store = tuplestore_begin_heap(false, false, work_mem);
	EfStoreFill(rows, desc, store);
	if (!dry_run)
		lock_table(schema, "features");
	EfQueryRelation("eikon_new_features", desc, store, tuplestore_tuple_count(store));
	write_table(schema, "features", "eikon_new_features", tuplestore_tuple_count(store),
				EfFeaturesColumns, EF_FEATURES_COLUMNS, dry_run, counts);
	tuplestore_end(store);
}

void
EfStoreCompounds(Oid schema, EfCompounds *compounds)
{
	TupleDesc desc = EfMakeDesc(compounds_columns, lengthof(compounds_columns));
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	EfStoreCounts unused;

	fill_compounds(compounds, desc, store);
	EfQueryRelation("eikon_new_compounds", desc, store, tuplestore_tuple_count(store));
	lock_table(schema, "eikon_compounds");
	write_table(schema, "eikon_compounds", "eikon_new_compounds", tuplestore_tuple_count(store),
				compounds_columns, lengthof(compounds_columns), false, &unused);
	tuplestore_end(store);
}

/* --- rejects --- */

struct EfRejects
{
	MemoryContext context; /* of one reject */
	TupleDesc desc;
	Tuplestorestate *rows;
	ResourceOwner owner; /* of its files; NULL: the process */
};

EfRejects *
EfRejectsBegin(bool keep)
{
	EfRejects *rejects = palloc0(sizeof(EfRejects));
	ResourceOwner callers = CurrentResourceOwner;

	rejects->context = AllocSetContextCreate(CurrentMemoryContext, "eikon_features reject",
											 ALLOCSET_DEFAULT_SIZES);
	rejects->desc = EfMakeDesc(rejects_columns, lengthof(rejects_columns));
	if (!keep)
		CurrentResourceOwner = rejects->owner = ResourceOwnerCreate(callers, "eikon_features rejects");
	rejects->rows = tuplestore_begin_heap(false, keep, work_mem);
	CurrentResourceOwner = callers;
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
	if (rejects->owner != NULL)
		ResourceOwnerDelete(rejects->owner);
	MemoryContextDelete(rejects->context);
}

/* To end the tuplestore would be to write what is left of it. */
void
EfRejectsAbandon(EfRejects *rejects)
{
	ResourceOwnerRelease(rejects->owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(rejects->owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(rejects->owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(rejects->owner);
	MemoryContextDelete(rejects->context);
}
