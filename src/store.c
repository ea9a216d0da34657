/*
 * store.c
 *		Features -> tables.
 *
 *	new rows --.
 *	           +-> store_compare -> store_direct	rows to insert, where nothing asks for SQL
 *	old rows --'                 `> store_sql		all others
 *	(store_direct or store_sql)
 *
 * A row that did not change is not written, and a table is locked as any statement that writes
 * to it would lock it. So nobody waits but who changes the same rows, VACUUM least of all. Only
 * where no index keeps others from inserting a key that a run inserts, they have to wait.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "query.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "store.h"
#include "store_direct.h"
#include "store_sql.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

/* --- the claim of the tables for one run --- */

/* 1 and 2 are what pg_advisory_lock() makes: anybody could hold our lock. */
static LOCKTAG
run_lock(Oid schema)
{
	Oid table = get_relname_relid(EfUserFeatures.name, schema);
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, RelationRelationId, table, 3);
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

/* --- rows of other shapes --- */

/* The rows into a tuplestore of which column i is column from[i] of theirs, or NULL if -1. */
static void
fill_by_name(EfTuples *rows, const int *from, TupleDesc desc, Tuplestorestate *store)
{
	TupleDesc theirs = EfRelationDesc(rows->relation);
	Datum *values = palloc(sizeof(Datum) * (Size) desc->natts);
	bool *nulls = palloc(sizeof(bool) * (Size) desc->natts);
	HeapTupleData row;

	while (rows->next(rows->arg, &row))
	{
		Datum row_values[EF_COLUMNS_MOST];
		bool row_nulls[EF_COLUMNS_MOST];

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
	const EfRelation *form = rows->relation;
	HeapTupleData row;
	int *from;

	if (EfIsCanonical(desc, form))
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
		for (int j = 0; j < form->ncolumns; j++)
			if (EfIsColumn(desc, i, form->columns[j].name, form->columns[j].type))
				from[i] = j;
	}
	fill_by_name(rows, from, desc, store);
	pfree(from);
}

/* Rows that have been put aside. */
typedef struct Stored
{
	Tuplestorestate *store;
	Tuplesortstate *sort; /* instead of store, where it is not NULL */
	TupleTableSlot *slot;
} Stored;

static bool
next_stored(void *arg, HeapTupleData *tuple)
{
	Stored *stored = arg;
	bool more = stored->sort != NULL ?
					tuplesort_gettupleslot(stored->sort, true, false, stored->slot, NULL) :
					tuplestore_gettupleslot(stored->store, true, false, stored->slot);

	if (more)
		*tuple = *((MinimalTupleTableSlot *) stored->slot)->tuple;
	return more;
}

/* --- bringing a table up to date --- */

/* Compares, and inserts new rows directly where that can be done. */
static void
compare_directly(const EfTarget *target, EfTuples *rows, EfChanges *changes, bool insert)
{
	EfOldRows old;
	EfDirectInsert *inserting = NULL;

	EfDirectReadBegin(target, &old);
	if (insert)
	{
		inserting = EfDirectInsertBegin(target, rows->count);
		changes->insert = EfDirectInsertRow;
		changes->arg = inserting;
	}
	EfCompare(target, &old, rows, changes);
	if (inserting != NULL)
		EfDirectInsertEnd(inserting);
	EfDirectReadEnd(&old);
}

/* The same by SQL, which may do what is not allowed as long as workers derive rows. */
static void
compare_by_sql(const EfTarget *target, EfTuples *rows, EfChanges *changes)
{
	TupleDesc desc = EfRelationDesc(rows->relation);
	Stored stored = {
		.store = tuplestore_begin_heap(false, false, work_mem),
		.slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple),
	};
	EfTuples again = {rows->relation, next_stored, &stored, rows->count};
	EfOldRows old;

	EfStoreFill(rows, desc, stored.store);
	EfSqlReadBegin(target, &old);
	EfCompare(target, &old, &again, changes);
	EfSqlReadEnd(&old);
	ExecDropSingleTupleTableSlot(stored.slot);
	tuplestore_end(stored.store);
}

/*
 * Whether the role has the right in the table, or in each of the form's columns. The place of
 * a row, which it is locked by, can only be read with the right in the table.
 */
static bool
has_right(const EfRelation *form, Oid table, AclMode right)
{
	if (pg_class_aclcheck(table, GetUserId(), right) == ACLCHECK_OK)
		return true;
	if (right == ACL_SELECT || right == ACL_DELETE)
		return false;
	for (int i = 0; i < form->ncolumns; i++)
		if ((i > 0 || right != ACL_UPDATE) &&
			pg_attribute_aclcheck(table, get_attnum(table, form->columns[i].name), GetUserId(),
								  right) != ACLCHECK_OK)
			return false;
	return true;
}

/* Throws unless the role may do what a run may have to do, even if this one does not. */
static void
check_rights(const EfRelation *form, Oid table, bool dry_run)
{
	static const AclMode rights[] = {ACL_SELECT, ACL_INSERT, ACL_UPDATE, ACL_DELETE};

	for (size_t i = 0; i < (dry_run ? 1 : lengthof(rights)); i++)
		if (!has_right(form, table, rights[i]))
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, form->name);
}

static void
bring_up_to_date(Oid schema, EfTuples *rows, bool dry_run, EfStoreCounts *counts)
{
	EfTarget target = {.form = rows->relation, .dry_run = dry_run};
	const char *read_obstacle;
	const char *insert_obstacle = NULL;
	EfChanges changes;

	target.table = table_open(get_relname_relid(rows->relation->name, schema),
							  dry_run ? AccessShareLock : RowExclusiveLock);
	check_rights(target.form, RelationGetRelid(target.table), dry_run);
	if (!dry_run && !EfHasUniqueKey(&target))
		LockRelationOid(RelationGetRelid(target.table), ShareRowExclusiveLock);
	read_obstacle = EfDirectReadObstacle(&target);
	if (!dry_run)
		insert_obstacle = read_obstacle != NULL ? read_obstacle : EfDirectInsertObstacle(&target);
	if (insert_obstacle != NULL)
		ereport(DEBUG1,
				(errmsg_internal("new rows of table \"%s\" are inserted by SQL, which is slower: %s",
								 rows->relation->name, insert_obstacle)));

	/*
	 * Taken after the lock, the snapshot has all that is committed. It has what this
	 * transaction did before, but nothing of the command that writes here.
	 */
	if (!IsInParallelMode())
		CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	EfChangesBegin(&changes, rows->relation);
	if (read_obstacle == NULL)
		compare_directly(&target, rows, &changes, !dry_run && insert_obstacle == NULL);
	else
		compare_by_sql(&target, rows, &changes);
	Assert(changes.nfresh + changes.nchanged + changes.nsame == rows->count);

	*counts = (EfStoreCounts){
		.inserted = dry_run || changes.insert != NULL ? changes.nfresh : 0,
		.updated = dry_run ? changes.nchanged : 0,
		.deleted = dry_run ? changes.ngone : 0,
		.unchanged = changes.nsame,
	};
	CommandCounterIncrement();
	if (!dry_run)
		EfSqlWrite(&target, &changes, counts);
	EfChangesEnd(&changes);
	PopActiveSnapshot();
	table_close(target.table, NoLock);
}

void
EfStoreFeatures(Oid schema, EfTuples *rows, bool dry_run, EfStoreCounts *counts)
{
	bring_up_to_date(schema, rows, dry_run, counts);
}

static void
set_text(Datum *value, bool *isnull, EfText text)
{
	*isnull = text.data == NULL;
	*value = *isnull ? (Datum) 0 :
					   PointerGetDatum(cstring_to_text_with_len(text.data, (int) text.len));
}

/* Puts the compounds into the sort; returns how many. */
static int64
sort_compounds(EfCompounds *compounds, TupleTableSlot *slot, Tuplesortstate *sort)
{
	EfCompound compound;
	int64 n = 0;

	while (compounds->next(compounds->arg, &compound))
	{
		CHECK_FOR_INTERRUPTS();
		ExecClearTuple(slot);
		slot->tts_values[0] = Int64GetDatum(compound.compound_id);
		slot->tts_isnull[0] = false;
		set_text(&slot->tts_values[1], &slot->tts_isnull[1], compound.name);
		set_text(&slot->tts_values[2], &slot->tts_isnull[2], compound.structure);
		ExecStoreVirtualTuple(slot);
		tuplesort_puttupleslot(sort, slot);
		for (int i = 1; i <= 2; i++)
			if (!slot->tts_isnull[i])
				pfree(DatumGetPointer(slot->tts_values[i]));
		n++;
	}
	tuplesort_performsort(sort);
	return n;
}

void
EfStoreCompounds(Oid schema, EfCompounds *compounds, EfStoreCounts *counts)
{
	TupleDesc desc = EfRelationDesc(&EfCompoundsTable);
	AttrNumber key = 1;
	Oid less = Int8LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	Stored stored = {
		.sort = tuplesort_begin_heap(desc, 1, &key, &less, &collation, &nulls_first, work_mem,
									 NULL, TUPLESORT_NONE),
		.slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple),
	};
	EfTuples rows = {&EfCompoundsTable, next_stored, &stored, 0};

	rows.count = sort_compounds(compounds, slot, stored.sort);
	bring_up_to_date(schema, &rows, false, counts);
	ExecDropSingleTupleTableSlot(slot);
	ExecDropSingleTupleTableSlot(stored.slot);
	tuplesort_end(stored.sort);
}

/* --- the totals --- */

/* Throws: the statement did not write the row of totals. */
pg_noreturn static void
refuse_totals(Oid schema)
{
	Relation table = table_open(get_relname_relid(EfTotalsTable.name, schema), NoLock);

	if (table->trigdesc == NULL && table->rd_rules == NULL)
		EfConflict(&EfTotalsTable, NULL);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("could not write the row of table \"%s\"", EfTotalsTable.name),
			 errhint("Look for a trigger or a rule on it that keeps rows from being written.")));
}

void
EfStoreTotals(Oid schema, const EfTotals *totals, int64 run_id, bool first, bool changed)
{
	Oid types[] = {INT8OID, INT8OID, INT8OID};
	Datum args[] = {Int64GetDatum(totals->users), Int64GetDatum(totals->experiments),
					Int64GetDatum(run_id)};
	const char *name = quote_qualified_identifier(get_namespace_name(schema), EfTotalsTable.name);
	Datum values[3];
	bool nulls[3];
	int64 rows;

	check_rights(&EfTotalsTable, get_relname_relid(EfTotalsTable.name, schema), false);
	(void) EfQueryRow(psprintf("SELECT pg_catalog.count(*), pg_catalog.min(users), pg_catalog.min(experiments) FROM ONLY %s", name),
					  0, NULL, NULL, NULL, 3, values, nulls);
	rows = DatumGetInt64(values[0]);
	if (rows == 1 && !changed && DatumGetInt64(values[1]) == totals->users &&
		DatumGetInt64(values[2]) == totals->experiments)
		return;
	if (rows != 1)
	{
		if (rows > 0 || !first)
			ereport(WARNING,
					(errmsg("table \"%s\" had " INT64_FORMAT " rows instead of one",
							EfTotalsTable.name, rows),
					 errdetail("The run has replaced them by its own.")));
		EfQueryRun(psprintf("DELETE FROM ONLY %s", name), 0, NULL, NULL, NULL);
		rows = (int64) EfQueryRun(psprintf("INSERT INTO %s (users, experiments, run_id) VALUES ($1, $2, $3)", name),
								  3, types, args, NULL);
	}
	else
		rows = (int64) EfQueryRun(psprintf("UPDATE ONLY %s SET users = $1, experiments = $2, run_id = $3", name),
								  3, types, args, NULL);
	if (rows != 1)
		refuse_totals(schema);
}
