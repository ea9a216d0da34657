/*
 * store_direct.c
 *		Rows -> the table features, without SQL.
 *
 * The new rows come by ascending user_id, and an index gives those of the table in
 * the same order, so one pass over both finds what differs. It is done to the
 * table as the executor would do it, row by row or, for new rows, as COPY does.
 *
 * The index may have any number of the rows that are written here: the pass sees
 * the table through one snapshot, whose command is the one that writes them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "store_direct.h"
#include "store_form.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

/* --- whether it can be done --- */

/*
 * Whether it is the primary key, on user_id alone, and can be read. The planner,
 * too, leaves an index alone that has broken HOT chains and is younger than what
 * the transaction may have to see.
 */
static bool
is_key(Relation index)
{
	Form_pg_index form = index->rd_index;

	return form->indisprimary && form->indimmediate && form->indisvalid &&
		   form->indnkeyatts == 1 && form->indkey.values[0] == 1 &&
		   (!form->indcheckxmin ||
			TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
								  TransactionXmin));
}

/* What the indexes of a table ask for. */
typedef struct Indexes
{
	Oid key;		/* the one that is_key */
	bool unique;	/* others are unique */
	bool exclusion; /* one of them keeps an exclusion constraint */
	bool functions; /* one of them has expressions or a predicate */
} Indexes;

static Indexes
look_at_indexes(Relation relation)
{
	Indexes indexes = {.key = InvalidOid};
	List *oids = RelationGetIndexList(relation);
	ListCell *cell;

	foreach(cell, oids)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		if (is_key(index))
			indexes.key = RelationGetRelid(index);
		else if (index->rd_index->indisunique)
			indexes.unique = true;
		if (index->rd_index->indisexclusion)
			indexes.exclusion = true;
		if (!heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) ||
			!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
			indexes.functions = true;
		index_close(index, NoLock);
	}
	list_free(oids);
	return indexes;
}

/* The features that a row always has. */
static bool
may_be_null(int i)
{
	return i != 0 && (i < 4 || i > 6);
}

/* What keeps the rows from being compared here, and rights in the table that are missing. */
static const char *
reading_obstacle(Relation relation, AclMode rights)
{
	Oid table = RelationGetRelid(relation);

	if (IsolationUsesXactSnapshot())
		return "the transaction has one snapshot throughout";
	if (relation->rd_rel->relkind != RELKIND_RELATION ||
		relation->rd_rel->relam != HEAP_TABLE_AM_OID)
		return "it is not an ordinary heap";
	if (!EfIsCanonical(RelationGetDescr(relation)))
		return "it has not exactly the columns that the extension gave it";
	if (check_enable_rls(table, InvalidOid, true) == RLS_ENABLED)
		return "it has row security";
	if (pg_class_aclmask(table, GetUserId(), rights, ACLMASK_ALL) != rights)
		return "the role has not all rights in it";
	if (ExecutorCheckPerms_hook != NULL)
		return "a module checks or logs what is done to tables";
	if (!OidIsValid(look_at_indexes(relation).key))
		return "it has no primary key on user_id, or none that can be read now";
	return NULL;
}

static const char *
writing_obstacle(Relation relation)
{
	TupleDesc desc = RelationGetDescr(relation);

	/* foreign keys, from here or to here, and deferrable constraints have triggers, too */
	if (relation->trigdesc != NULL)
		return "it has triggers or foreign keys";
	if (relation->rd_rules != NULL)
		return "it has rules";
	if (relation->rd_rel->relispartition)
		return "it is a partition";
	if (desc->constr != NULL && desc->constr->num_check > 0)
		return "it has CHECK constraints";
	if (look_at_indexes(relation).exclusion)
		return "it has an exclusion constraint";
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attgenerated != '\0' || attribute->attidentity != '\0')
			return "it has generated columns";
		if (attribute->attnotnull && may_be_null(i))
			return "it has more NOT NULL constraints than the extension gave it";
	}
	return NULL;
}

const char *
EfDirectObstacle(Relation relation, bool dry_run)
{
	AclMode rights = ACL_SELECT | (dry_run ? 0 : ACL_INSERT | ACL_UPDATE | ACL_DELETE);
	const char *obstacle = reading_obstacle(relation, rights);

	return obstacle != NULL || dry_run ? obstacle : writing_obstacle(relation);
}

/* --- writing --- */

/* New rows are inserted by so many at once. */
#define BATCH_ROWS 1000
#define BATCH_BYTES (256 * 1024)

/*
 * New rows are written through a ring of few buffers, as COPY writes them, where
 * they would take more than a part of all buffers; otherwise they may stay there,
 * which spares waiting for each page and its WAL to be written. A scan of the
 * table makes the same difference.
 */
#define BUFFERS_PART 4
#define ROW_BYTES 256

/* What one pass does. */
#define DELETES 1
#define UPDATES 2 /* and counts what is unchanged */
#define INSERTS 4
#define EVERYTHING (DELETES | UPDATES | INSERTS)

/* What was put off, and the image of the new row. */
static const EfColumn later_columns[] = {
	{"tid", TIDOID},
	{"image", BYTEAOID},
};

typedef struct Table
{
	Relation relation;
	Relation key;
	Snapshot snapshot;
	EfStoreCounts *counts;
	int pass;
	bool dry_run; /* nothing of what follows is there */

	CommandId command;
	EState *estate;
	ResultRelInfo *indexes;
	TupleTableSlot *slot; /* of the row to update to */
	StringInfoData image;
	Tuplestorestate *later; /* updates and deletes put off; NULL: none yet */
	TupleDesc later_desc;

	/* the new rows: images of their own, since their headers are written to */
	BulkInsertState bulk; /* or NULL */
	TupleTableSlot **slots;
	HeapTupleData *tuples;
	int nslots; /* made so far */
	int n;
	char *images;
	Size used;
	Size size;
} Table;

/* They are told what an update, which leaves user_id alone, does to their keys. */
static void
open_indexes(Table *table)
{
	table->indexes = makeNode(ResultRelInfo);
	InitResultRelInfo(table->indexes, table->relation, 0, NULL, 0);
	ExecOpenIndices(table->indexes, false);
	for (int i = 0; i < table->indexes->ri_NumIndices; i++)
	{
		IndexInfo *info = table->indexes->ri_IndexRelationInfo[i];

		info->ii_CheckedUnchanged = true;
		info->ii_IndexUnchanged = true;
		for (int j = 0; j < info->ii_NumIndexKeyAttrs; j++)
			if (info->ii_IndexAttrNumbers[j] != 1)
				info->ii_IndexUnchanged = false;
	}
}

static void
begin_writing(Table *table, int64 nrows)
{
	/* a publication may need to know which row it was */
	CheckCmdReplicaIdentity(table->relation, CMD_DELETE);
	CheckCmdReplicaIdentity(table->relation, CMD_UPDATE);

	table->command = GetCurrentCommandId(true);
	table->estate = CreateExecutorState();
	open_indexes(table);
	table->slot = MakeSingleTupleTableSlot(RelationGetDescr(table->relation), &TTSOpsHeapTuple);
	initStringInfo(&table->image);
	table->later_desc = EfMakeDesc(later_columns, lengthof(later_columns));
	if (nrows > (int64) (NBuffers / BUFFERS_PART) * (BLCKSZ / ROW_BYTES))
		table->bulk = GetBulkInsertState();
	table->slots = palloc(sizeof(TupleTableSlot *) * BATCH_ROWS);
	table->tuples = palloc(sizeof(HeapTupleData) * BATCH_ROWS);
	table->size = BATCH_BYTES;
	table->images = palloc(table->size);
}

static void
end_writing(Table *table)
{
	table_finish_bulk_insert(table->relation, 0);
	if (table->bulk != NULL)
		FreeBulkInsertState(table->bulk);
	for (int i = 0; i < table->nslots; i++)
		ExecDropSingleTupleTableSlot(table->slots[i]);
	ExecDropSingleTupleTableSlot(table->slot);
	ExecCloseIndices(table->indexes);
	FreeExecutorState(table->estate);
	pfree(table->images);
	pfree(table->image.data);
	pfree(table->slots);
	pfree(table->tuples);
}

/* An image that can be written to; the beginning of its header is the table's affair. */
static void
copy_row(HeapTuple copy, const HeapTupleData *row, char *image)
{
	Size from = offsetof(HeapTupleHeaderData, t_infomask2);

	*copy = *row;
	copy->t_data = (HeapTupleHeader) image;
	memset(image, 0, from);
	memcpy(image + from, (const char *) row->t_data + from, row->t_len - from);
}

static void
insert_into_indexes(Table *table, TupleTableSlot *slot, bool update, EfIndexes which)
{
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(table->estate));

	(void) EfInsertIndexTuples(table->indexes, slot, table->estate, update, which);
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(table->estate);
}

/* Writes the new rows that were put aside. */
static void
insert_batch(Table *table)
{
	MemoryContext old;

	if (table->n == 0)
		return;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(table->estate));
	table_multi_insert(table->relation, table->slots, table->n, table->command, 0, table->bulk);
	MemoryContextSwitchTo(old);
	ResetPerTupleExprContext(table->estate);
	for (int i = 0; i < table->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		insert_into_indexes(table, table->slots[i], false, EF_ALL_INDEXES);
		ExecClearTuple(table->slots[i]);
	}
	table->n = 0;
	table->used = 0;
}

static void
insert_row(Table *table, const HeapTupleData *row)
{
	Size len = MAXALIGN(row->t_len);

	table->counts->inserted++;
	if (table->dry_run)
		return;
	if (table->n == BATCH_ROWS || table->used + len > table->size)
		insert_batch(table);
	if (len > table->size)
	{
		pfree(table->images);
		table->images = palloc(len);
		table->size = len;
	}
	if (table->n == table->nslots)
		table->slots[table->nslots++] =
			MakeSingleTupleTableSlot(RelationGetDescr(table->relation), &TTSOpsHeapTuple);
	copy_row(&table->tuples[table->n], row, table->images + table->used);
	ExecStoreHeapTuple(&table->tuples[table->n], table->slots[table->n], false);
	table->n++;
	table->used += len;
}

/* Nobody else can have changed a row, since the table is locked. */
static void
check_result(const Table *table, TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return;
		case TM_SelfModified:
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("a row of table \"%s\" was changed by what its own change set off",
							RelationGetRelationName(table->relation)),
					 errhint("Look for a function in an index on the table that writes to it.")));
		default:
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access to table \"%s\" due to a concurrent change",
							RelationGetRelationName(table->relation)),
					 errhint("Run again.")));
	}
}

/*
 * As long as workers derive rows, PostgreSQL's parallel mode lets rows be inserted
 * but neither updated nor deleted. They are put off until all rows have come: with
 * row NULL, the one at tid is to be deleted.
 */
static void
put_off(Table *table, ItemPointer tid, const HeapTupleData *row)
{
	Datum values[2] = {PointerGetDatum(tid)};
	bool nulls[2] = {false, row == NULL};

	if (table->later == NULL)
		table->later = tuplestore_begin_heap(false, false, work_mem);
	if (row != NULL)
	{
		resetStringInfo(&table->image);
		enlargeStringInfo(&table->image, (int) row->t_len + VARHDRSZ);
		SET_VARSIZE(table->image.data, row->t_len + VARHDRSZ);
		memcpy(VARDATA(table->image.data), row->t_data, row->t_len);
		values[1] = PointerGetDatum(table->image.data);
	}
	tuplestore_putvalues(table->later, table->later_desc, values, nulls);
}

static void
write_update(Table *table, ItemPointer tid, const HeapTupleData *row)
{
	HeapTupleData tuple;
	TM_FailureData failure;
	LockTupleMode lock;
	EfIndexes indexes = EF_NO_INDEXES;

	resetStringInfo(&table->image);
	enlargeStringInfo(&table->image, (int) row->t_len);
	copy_row(&tuple, row, table->image.data);
	ExecStoreHeapTuple(&tuple, table->slot, false);
	check_result(table,
				 table_tuple_update(table->relation, tid, table->slot, table->command,
									table->snapshot, InvalidSnapshot, true, &failure, &lock,
									&indexes));
	if (indexes != EF_NO_INDEXES)
		insert_into_indexes(table, table->slot, true, indexes);
	ExecClearTuple(table->slot);
}

static void
write_delete(Table *table, ItemPointer tid)
{
	TM_FailureData failure;

	check_result(table,
				 table_tuple_delete(table->relation, tid, table->command, table->snapshot,
									InvalidSnapshot, true, &failure, false));
}

static void
update_row(Table *table, ItemPointer tid, const HeapTupleData *row)
{
	table->counts->updated++;
	if (table->dry_run)
		return;
	if (IsInParallelMode())
		put_off(table, tid, row);
	else
		write_update(table, tid, row);
}

static void
delete_row(Table *table, ItemPointer tid)
{
	table->counts->deleted++;
	if (table->dry_run)
		return;
	if (IsInParallelMode())
		put_off(table, tid, NULL);
	else
		write_delete(table, tid);
}

/* Writes what was put off. */
static void
catch_up(Table *table)
{
	TupleTableSlot *slot;

	if (table->later == NULL)
		return;
	slot = MakeSingleTupleTableSlot(table->later_desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(table->later, true, false, slot))
	{
		HeapTupleData row;
		ItemPointer tid;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		tid = (ItemPointer) DatumGetPointer(slot->tts_values[0]);
		if (slot->tts_isnull[1])
			write_delete(table, tid);
		else
		{
			bytea *image = DatumGetByteaPCopy(slot->tts_values[1]);

			row.t_len = (uint32) VARSIZE(image) - VARHDRSZ;
			row.t_data = (HeapTupleHeader) VARDATA(image);
			row.t_tableOid = InvalidOid;
			ItemPointerSetInvalid(&row.t_self);
			write_update(table, tid, &row);
			pfree(image);
		}
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(table->later);
	table->later = NULL;
}

/* --- comparing --- */

static int64
key_of(HeapTuple tuple, TupleDesc desc)
{
	bool isnull;

	return DatumGetInt64(fastgetattr(tuple, 1, desc, &isnull));
}

/*
 * Whether the row of the table is the new one. One that is not the same to the byte
 * may still be, where a value is compressed or out of line.
 */
static bool
same(TupleTableSlot *slot, HeapTuple old, HeapTuple row, TupleDesc desc)
{
	Size bits = offsetof(HeapTupleHeaderData, t_bits);

	if (old->t_len == row->t_len && old->t_data->t_hoff == row->t_data->t_hoff &&
		HeapTupleHasNulls(old) == HeapTupleHasNulls(row) &&
		HeapTupleHeaderGetNatts(old->t_data) == HeapTupleHeaderGetNatts(row->t_data) &&
		memcmp((char *) old->t_data + bits, (char *) row->t_data + bits, row->t_len - bits) == 0)
		return true;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool old_null;
		bool row_null;
		Datum old_value = slot_getattr(slot, i + 1, &old_null);
		Datum row_value = fastgetattr(row, i + 1, desc, &row_null);

		if (old_null != row_null ||
			(!old_null && !datum_image_eq(old_value, row_value, attribute->attbyval,
										  attribute->attlen)))
			return false;
	}
	return true;
}

/* The next row of the table, valid until the one after it; NULL if there is none. */
static HeapTuple
next_old(IndexScanDesc scan, TupleTableSlot *slot)
{
	if (!index_getnext_slot(scan, ForwardScanDirection, slot))
		return NULL;
	return ExecFetchSlotHeapTuple(slot, false, NULL);
}

/* One pass over the table and the rows, which does what table->pass says. */
static void
merge(Table *table, EfTuples *rows)
{
	TupleDesc desc = RelationGetDescr(table->relation);
	TupleTableSlot *slot = table_slot_create(table->relation, NULL);
	IndexScanDesc scan = EfBeginIndexScan(table->relation, table->key, table->snapshot);
	HeapTupleData row;
	HeapTuple old;
	bool more;

	index_rescan(scan, NULL, 0, NULL, 0);
	old = next_old(scan, slot);
	more = rows->next(rows->arg, &row);
	while (old != NULL || more)
	{
		int64 old_key = old != NULL ? key_of(old, desc) : 0;
		int64 row_key = more ? key_of(&row, desc) : 0;
		bool gone = !more || (old != NULL && old_key < row_key);
		bool fresh = old == NULL || (more && row_key < old_key);

		CHECK_FOR_INTERRUPTS();
		if (gone && (table->pass & DELETES))
			delete_row(table, &slot->tts_tid);
		if (fresh && (table->pass & INSERTS))
			insert_row(table, &row);
		if (!gone && !fresh && (table->pass & UPDATES))
		{
			if (same(slot, old, &row, desc))
				table->counts->unchanged++;
			else
				update_row(table, &slot->tts_tid, &row);
		}
		if (!fresh)
			old = next_old(scan, slot);
		if (!gone)
			more = rows->next(rows->arg, &row);
	}
	if (!table->dry_run)
		insert_batch(table);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	catch_up(table);
}

/* --- several passes --- */

typedef struct Stored
{
	Tuplestorestate *store;
	TupleTableSlot *slot;
} Stored;

static bool
next_stored(void *arg, HeapTupleData *tuple)
{
	Stored *stored = arg;

	if (!tuplestore_gettupleslot(stored->store, true, false, stored->slot))
		return false;
	*tuple = *((MinimalTupleTableSlot *) stored->slot)->tuple;
	return true;
}

/*
 * In the order in which statements would do it: a value that must be unique may
 * go from a row that is deleted or updated to another one.
 */
static void
merge_in_order(Table *table, EfTuples *rows)
{
	static const int passes[] = {DELETES, UPDATES, INSERTS};
	TupleDesc desc = RelationGetDescr(table->relation);
	Stored stored = {
		.store = tuplestore_begin_heap(false, false, work_mem),
		.slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple),
	};
	EfTuples again = {.next = next_stored, .arg = &stored, .count = rows->count};

	EfStoreFill(rows, desc, stored.store);
	for (int i = 0; i < (int) lengthof(passes); i++)
	{
		tuplestore_rescan(stored.store);
		table->pass = passes[i];
		merge(table, &again);
	}
	ExecDropSingleTupleTableSlot(stored.slot);
	tuplestore_end(stored.store);
}

void
EfDirectWrite(Relation relation, EfTuples *rows, bool dry_run, EfStoreCounts *counts)
{
	Table table = {.relation = relation, .counts = counts, .dry_run = dry_run, .pass = EVERYTHING};
	Indexes indexes = look_at_indexes(relation);

	memset(counts, 0, sizeof(*counts));
	table.key = index_open(indexes.key, AccessShareLock);

	/*
	 * Taken after the lock, the snapshot has all that is committed. It has what this
	 * transaction did before, but nothing of the command that writes here.
	 */
	if (!IsInParallelMode())
		CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	table.snapshot = GetActiveSnapshot();
	if (!dry_run)
		begin_writing(&table, rows->count);

	/* functions in indexes may do what is not allowed as long as workers are at work */
	if (!dry_run && (indexes.functions ||
					 (indexes.unique && RelationGetNumberOfBlocks(relation) > 0)))
		merge_in_order(&table, rows);
	else
		merge(&table, rows);
	if (!dry_run)
		end_writing(&table);
	PopActiveSnapshot();
	index_close(table.key, NoLock);
	CommandCounterIncrement();
	Assert(counts->inserted + counts->updated + counts->unchanged == rows->count);
}
