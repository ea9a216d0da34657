/*
 * store_sql.c
 *		A table of any kind, read and brought up to date by SQL.
 *
 * The rows that differ are handed to SQL as named tuplestores: one DELETE, one UPDATE, one
 * INSERT. So indexes, triggers, foreign keys, row security and partitions that users have
 * given the table work as for any other statement. The rows to change are locked before,
 * where they were when they were compared: after that they can only be changed by what
 * the statements themselves set off.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "query.h"
#include "store_check.h"
#include "store_direct.h"
#include "store_sql.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* Names of the tuplestores in statements. */
#define GONE "eikon_gone_rows"
#define CHANGED "eikon_changed_rows"
#define FRESH "eikon_new_rows"

/* The table's name for statements. */
static char *
table_name(const EfTarget *target)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target->table)),
									  RelationGetRelationName(target->table));
}

/* With ONLY, where tables that inherit from it are not its own. */
static char *
own_rows(const EfTarget *target)
{
	bool partitioned = target->table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	return psprintf("%s%s", partitioned ? "" : "ONLY ", table_name(target));
}

/* --- reading --- */

/* Columns of the query before those of the form. */
#define ROW_TABLE 1
#define ROW_PLACE 2
#define ROW_COLUMNS 2

static bool
read_next(EfOldRows *rows)
{
	HeapTuple tuple = EfQueryFetch(rows->reader);
	bool isnull;

	if (tuple == NULL)
		return false;
	ExecStoreHeapTuple(tuple, rows->slot, false);
	rows->slot->tts_tableOid = DatumGetObjectId(slot_getattr(rows->slot, ROW_TABLE, &isnull));
	rows->slot->tts_tid = *(ItemPointer) DatumGetPointer(slot_getattr(rows->slot, ROW_PLACE, &isnull));
	return true;
}

void
EfSqlReadBegin(const EfTarget *target, EfOldRows *rows)
{
	const EfRelation *form = target->form;
	TupleDesc desc;

	rows->reader = EfQueryOpen(psprintf("SELECT tableoid, ctid, %s FROM %s ORDER BY %s USING OPERATOR(pg_catalog.<)",
										EfListColumns(form->columns, form->ncolumns, ""),
										own_rows(target), form->columns[0].name),
							   &desc);
	rows->next = read_next;
	rows->slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	rows->canonical = false;
	for (int i = 0; i < form->ncolumns; i++)
		rows->attributes[i] = (AttrNumber) (ROW_COLUMNS + i + 1);
}

void
EfSqlReadEnd(EfOldRows *rows)
{
	ExecDropSingleTupleTableSlot(rows->slot);
	EfQueryClose(rows->reader);
}

/* --- locking the rows to be changed --- */

static void
lock_row(const EfTarget *target, Relation table, ItemPointer place, LockTupleMode mode,
		 TupleTableSlot *slot)
{
	TM_FailureData failure;

	if (table_tuple_lock(table, place, GetActiveSnapshot(), slot, GetCurrentCommandId(true), mode,
						 LockWaitBlock, 0, &failure) != TM_Ok)
		EfConflict(target->form, NULL);
	ExecClearTuple(slot);
}

static void
lock_rows(const EfTarget *target, TupleDesc desc, Tuplestorestate *rows, LockTupleMode mode)
{
	TupleTableSlot *row = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *slot = NULL;
	Relation table = NULL;

	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, row))
	{
		bool isnull;
		Oid oid = DatumGetObjectId(slot_getattr(row, EF_CHANGE_TABLE + 1, &isnull));
		Datum place = slot_getattr(row, EF_CHANGE_PLACE + 1, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (table == NULL || RelationGetRelid(table) != oid)
		{
			if (table != NULL)
			{
				ExecDropSingleTupleTableSlot(slot);
				table_close(table, NoLock);
			}
			table = table_open(oid, RowExclusiveLock);
			EfStoreCheckKind(target->form->name, table); /* it may be attached since EfStoreCheck */
			slot = table_slot_create(table, NULL);
		}
		lock_row(target, table, (ItemPointer) DatumGetPointer(place), mode, slot);
	}
	if (table != NULL)
	{
		ExecDropSingleTupleTableSlot(slot);
		table_close(table, NoLock);
	}
	ExecDropSingleTupleTableSlot(row);
}

/* --- writing all rows by three statements --- */

static char *
list_assignments(const EfRelation *form)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 1; i < form->ncolumns; i++)
		appendStringInfo(&list, "%s%s = n.%s", i > 1 ? ", " : "", form->columns[i].name,
						 form->columns[i].name);
	return list.data;
}

static int64
run(const char *name, TupleDesc desc, Tuplestorestate *rows, int64 nrows, const char *sql)
{
	if (nrows == 0)
		return 0;
	tuplestore_rescan(rows);
	EfQueryRelation(name, desc, rows, nrows);
	return (int64) EfQueryRun(sql, 0, NULL, NULL, NULL);
}

/*
 * The key is what the files say, also where the column draws it from a sequence for
 * others.
 */
static char *
insert_into(const EfTarget *target)
{
	return psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE", table_name(target),
					EfListColumns(target->form->columns, target->form->ncolumns, ""));
}

/* The condition is one more on the rows: all, or none of them. */
static void
write_where(const EfTarget *target, EfChanges *changes, const char *condition,
			EfStoreCounts *counts)
{
	const EfRelation *form = target->form;
	const char *name = own_rows(target);
	const char *key = form->columns[0].name;
	const char *where = psprintf("WHERE f.%s OPERATOR(pg_catalog.=) n.%s AND %s", key, key, condition);

	counts->deleted += run(GONE, changes->desc, changes->gone, changes->ngone,
						   psprintf("DELETE FROM %s f USING %s n %s", name, GONE, where));
	counts->updated += run(CHANGED, changes->desc, changes->changed, changes->nchanged,
						   psprintf("UPDATE %s f SET %s FROM %s n %s", name,
									list_assignments(form), CHANGED, where));
	if (changes->insert == NULL)
		counts->inserted += run(FRESH, changes->fresh_desc, changes->fresh, changes->nfresh,
								psprintf("%s SELECT %s FROM %s n WHERE %s", insert_into(target),
										 EfListColumns(form->columns, form->ncolumns, "n."),
										 FRESH, condition));
}

/* Deletes come first, to free the values of unique columns. */
static void
write_rows(const EfTarget *target, EfChanges *changes, EfStoreCounts *counts)
{
	lock_rows(target, changes->desc, changes->gone, LockTupleExclusive);
	lock_rows(target, changes->desc, changes->changed, LockTupleNoKeyExclusive);
	EfQueryBegin();
	write_where(target, changes, "true", counts);
	EfQueryEnd();
}

/* --- finding the row that an error is about --- */

typedef struct Row
{
	const EfRelation *form;
	int64 key;
} Row;

static void
row_context(void *arg)
{
	const Row *row = arg;

	errcontext("row of table \"%s\" with %s " INT64_FORMAT, row->form->name,
			   row->form->columns[0].name, row->key);
}

/* Runs a statement for each row; its parameters are the form's columns, or some of them. */
static void
run_for_each(const EfTarget *target, TupleDesc desc, Tuplestorestate *rows, int first, int nparams,
			 const char *sql)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	Row row = {target->form};
	ErrorContextCallback context = {error_context_stack, row_context, &row};
	Oid types[EF_COLUMNS_MOST];
	EfQueryPlan *plan;

	for (int i = 0; i < nparams; i++)
		types[i] = target->form->columns[i].type;
	plan = EfQueryPrepare(sql, nparams, types);
	error_context_stack = &context;
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		row.key = DatumGetInt64(slot->tts_values[first]);
		EfQueryExecute(plan, nparams, slot->tts_values + first, slot->tts_isnull + first);
	}
	error_context_stack = context.previous;
	ExecDropSingleTupleTableSlot(slot);
}

static char *
list_parameters(const EfRelation *form, bool assign)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = assign ? 1 : 0; i < form->ncolumns; i++)
		appendStringInfo(&list, "%s%s%s$%d", i > (assign ? 1 : 0) ? ", " : "",
						 assign ? form->columns[i].name : "", assign ? " = " : "", i + 1);
	return list.data;
}

/*
 * The same as write_rows, by a statement for each row, of which one is expected to fail. What
 * the others write goes with the error that follows in any case. A trigger that refuses
 * statements, whatever their rows are, refuses one without any, and no row is to be named.
 */
static void
write_row_by_row(const EfTarget *target, EfChanges *changes)
{
	const EfRelation *form = target->form;
	const char *name = own_rows(target);
	const char *same_key = psprintf("%s OPERATOR(pg_catalog.=) $1", form->columns[0].name);
	EfStoreCounts none = {0};

	EfQueryBegin();
	write_where(target, changes, "false", &none);
	run_for_each(target, changes->desc, changes->gone, EF_CHANGE_COLUMNS, 1,
				 psprintf("DELETE FROM %s WHERE %s", name, same_key));
	run_for_each(target, changes->desc, changes->changed, EF_CHANGE_COLUMNS, form->ncolumns,
				 psprintf("UPDATE %s SET %s WHERE %s", name, list_parameters(form, true), same_key));
	if (changes->insert == NULL)
		run_for_each(target, changes->fresh_desc, changes->fresh, 0, form->ncolumns,
					 psprintf("%s VALUES (%s)", insert_into(target), list_parameters(form, false)));
	EfQueryEnd();
}

/* Whether an error may be about one row; others are about the session or the server. */
static bool
may_be_about_row(const ErrorData *error)
{
	static const int others[] = {
		ERRCODE_TRANSACTION_ROLLBACK,
		ERRCODE_INSUFFICIENT_RESOURCES,
		ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		ERRCODE_OPERATOR_INTERVENTION,
		ERRCODE_SYSTEM_ERROR,
	};

	for (size_t i = 0; i < lengthof(others); i++)
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == others[i])
			return false;
	return true;
}

/*
 * Whether the table has a key now that is to be inserted: another transaction has inserted it
 * since the comparison.
 */
static bool
has_new_key(const EfTarget *target, EfChanges *changes)
{
	const char *key = target->form->columns[0].name;
	Datum value;
	bool isnull;
	bool found;

	if (changes->insert != NULL || changes->nfresh == 0)
		return false;
	EfQueryBegin();
	tuplestore_rescan(changes->fresh);
	EfQueryRelation(FRESH, changes->fresh_desc, changes->fresh, changes->nfresh);
	found = EfQueryRowNow(psprintf("SELECT 1 FROM %s f, %s n WHERE f.%s OPERATOR(pg_catalog.=) n.%s LIMIT 1",
								   own_rows(target), FRESH, key, key),
						  0, NULL, NULL, 1, &value, &isnull);
	EfQueryEnd();
	return found;
}

/* Whether that is why a unique index objects. Triggers and other indexes may fail so too. */
static bool
is_conflict(const EfTarget *target, EfChanges *changes, const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
		   check_enable_rls(RelationGetRelid(target->table), InvalidOid, true) != RLS_ENABLED &&
		   has_new_key(target, changes);
}

typedef void (*WriteFn)(const EfTarget *target, EfChanges *changes, EfStoreCounts *counts);

/* Calls it in a subtransaction; returns its error after that has been rolled back. */
static ErrorData *
try_write(WriteFn write, const EfTarget *target, EfChanges *changes, EfStoreCounts *counts)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		write(target, changes, counts);
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
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/* --- both --- */

/*
 * Row security lets a statement pass over rows in silence. What the role does not see is not
 * its own; what it sees must be what the run derived. Triggers and rules may keep rows back.
 */
static void
report_withheld(const EfTarget *target, int64 deletes, int64 updates, int64 inserts)
{
	const char *name = target->form->name;

	if (deletes + updates + inserts <= 0)
		return;
	if (check_enable_rls(RelationGetRelid(target->table), InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security prevented updating table \"%s\"", name),
				 errdetail("Rows still to insert: " INT64_FORMAT ", to update: " INT64_FORMAT ", to delete: " INT64_FORMAT ".",
						   inserts, updates, deletes),
				 errhint("Run as a role whose policies let it write every row that it sees, as the table's owner, or as one with BYPASSRLS.")));
	ereport(WARNING,
			(errmsg("triggers or rules kept " INT64_FORMAT " changes of table \"%s\" from being written",
					deletes + updates + inserts, name)));
}

/* Whether writing to it may set off what writes to it, too. */
static bool
may_write_more(Relation table)
{
	return table->trigdesc != NULL || table->rd_rules != NULL ||
		   table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
}

/*
 * Triggers, rules and foreign keys with ON DELETE CASCADE may delete rows that the run did not
 * mean to, or insert others. The active snapshot is that of the comparison.
 */
static void
report_rows(const EfTarget *target, int64 expected)
{
	Datum count;
	bool isnull;

	if (!may_write_more(target->table) ||
		check_enable_rls(RelationGetRelid(target->table), InvalidOid, true) == RLS_ENABLED)
		return;
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
	(void) EfQueryRowActive(psprintf("SELECT pg_catalog.count(*) FROM %s", own_rows(target)),
							0, NULL, NULL, 1, &count, &isnull);
	if (DatumGetInt64(count) != expected)
		ereport(WARNING,
				(errmsg("table \"%s\" has " INT64_FORMAT " rows instead of " INT64_FORMAT,
						target->form->name, DatumGetInt64(count), expected),
				 errdetail("Triggers, rules or foreign keys have inserted or deleted rows of it.")));
}

void
EfSqlWrite(const EfTarget *target, EfChanges *changes, EfStoreCounts *counts)
{
	EfStoreCounts written = {0};
	ErrorData *error;

	if (changes->ngone + changes->nchanged == 0 && (changes->nfresh == 0 || changes->insert != NULL))
		return;

	/* without an index, a lock keeps keys from being inserted; but the snapshot may be older */
	if (IsolationUsesXactSnapshot() && !EfHasUniqueKey(target) && has_new_key(target, changes))
		EfConflict(target->form, NULL);
	error = try_write(write_rows, target, changes, &written);
	if (error != NULL)
	{
		if (is_conflict(target, changes, error))
			EfConflict(target->form, error->detail);
		if (may_be_about_row(error))
			write_row_by_row(target, changes);
		ReThrowError(error);
	}
	counts->deleted += written.deleted;
	counts->updated += written.updated;
	counts->inserted += written.inserted;
	report_withheld(target, changes->ngone - written.deleted, changes->nchanged - written.updated,
					changes->insert != NULL ? 0 : changes->nfresh - written.inserted);
	report_rows(target, changes->nsame + changes->nchanged + changes->ngone - written.deleted +
							(changes->insert != NULL ? changes->nfresh : written.inserted));
}
