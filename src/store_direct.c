/*
 * store_direct.c
 *		The rows of a heap, read and inserted without SQL.
 *
 * Reading follows the primary key. The index may have any number of the rows that are being
 * inserted: the scan sees the table through one snapshot, whose command is the one that
 * inserts. New rows are inserted in batches, as COPY does.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "store_direct.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* --- whether it can be done --- */

/* Whether it allows each key once, whatever else the rows have. */
static bool
is_unique(const EfTarget *target, Relation index)
{
	Form_pg_index form = index->rd_index;
	AttrNumber key = form->indkey.values[0];

	return form->indisunique && form->indisvalid && form->indnkeyatts == 1 && key > 0 &&
		   EfIsColumn(RelationGetDescr(target->table), key - 1, target->form->columns[0].name,
					  target->form->columns[0].type) &&
		   heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

/*
 * Whether it is the primary key, on the key column alone, and can be read. The planner,
 * too, leaves an index alone that has broken HOT chains and is younger than what
 * the transaction may have to see.
 */
static bool
is_key(const EfTarget *target, Relation index)
{
	return is_unique(target, index) && index->rd_index->indisprimary &&
		   index->rd_index->indimmediate && index->rd_rel->relam == BTREE_AM_OID &&
		   index->rd_opfamily[0] == INTEGER_BTREE_FAM_OID &&
		   (!index->rd_index->indcheckxmin ||
			TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
								  TransactionXmin));
}

/* Whether inserting into an index can call code that is none of PostgreSQL's own. */
static bool
calls_functions(Relation index)
{
	bool isnull;
	oidvector *classes = (oidvector *)
		DatumGetPointer(SysCacheGetAttr(INDEXRELID, index->rd_indextuple,
										Anum_pg_index_indclass, &isnull));

	if (index->rd_rel->relam >= FirstNormalObjectId ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return true;
	for (int i = 0; i < classes->dim1; i++)
		if (classes->values[i] >= FirstNormalObjectId)
			return true;
	return false;
}

/* What the indexes of a table ask for. */
typedef struct Indexes
{
	Oid key;		/* the one that is_key */
	bool one_row;	/* one of them is_unique */
	bool unique;	/* others are unique */
	bool exclusion; /* one of them keeps an exclusion constraint */
	bool functions; /* one of them calls_functions */
} Indexes;

static Indexes
look_at_indexes(const EfTarget *target)
{
	Indexes indexes = {.key = InvalidOid};
	List *oids = RelationGetIndexList(target->table);
	ListCell *cell;

	foreach(cell, oids)
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);

		indexes.one_row |= is_unique(target, index);
		if (is_key(target, index))
			indexes.key = RelationGetRelid(index);
		else if (index->rd_index->indisunique)
			indexes.unique = true;
		indexes.exclusion |= index->rd_index->indisexclusion;
		indexes.functions |= calls_functions(index);
		index_close(index, NoLock);
	}
	list_free(oids);
	return indexes;
}

/* The column of the form that an attribute is; -1: none. */
static int
column_of(const EfTarget *target, int attribute)
{
	for (int i = 0; i < target->form->ncolumns; i++)
		if (EfIsColumn(RelationGetDescr(target->table), attribute, target->form->columns[i].name,
					   target->form->columns[i].type))
			return i;
	return -1;
}

bool
EfHasUniqueKey(const EfTarget *target)
{
	return look_at_indexes(target).one_row;
}

const char *
EfDirectReadObstacle(const EfTarget *target)
{
	Relation table = target->table;

	if (table->rd_rel->relkind != RELKIND_RELATION)
		return "it is partitioned";
	if (check_enable_rls(RelationGetRelid(table), InvalidOid, true) == RLS_ENABLED)
		return "it has row security";
	if (pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return "the role may not read all of its columns";
	if (ExecutorCheckPerms_hook != NULL)
		return "a module checks or logs what is done to tables";
	if (!OidIsValid(look_at_indexes(target).key))
		return "it has no primary key on that column, or none that can be read now";
	return NULL;
}

static const char *
column_obstacle(const EfTarget *target, int i)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(target->table), i);
	int column;

	if (attribute->attisdropped)
		return NULL;
	column = column_of(target, i);
	if (column < 0)
		return "it has further columns";
	if (attribute->attgenerated != '\0' || attribute->attidentity != '\0')
		return "it has generated columns";
	if (attribute->attnotnull && !target->form->columns[column].not_null)
		return "it has more NOT NULL constraints than the extension gave it";
	return NULL;
}

const char *
EfDirectInsertObstacle(const EfTarget *target)
{
	Relation table = target->table;
	TupleDesc desc = RelationGetDescr(table);
	Indexes indexes = look_at_indexes(target);

	/* foreign keys, from here or to here, and deferrable constraints have triggers, too */
	if (table->trigdesc != NULL)
		return "it has triggers or foreign keys";
	if (table->rd_rules != NULL)
		return "it has rules";
	if (table->rd_rel->relispartition)
		return "it is a partition";
	if (desc->constr != NULL && desc->constr->num_check > 0)
		return "it has CHECK constraints";
	if (indexes.exclusion)
		return "it has an exclusion constraint";
	if (indexes.functions)
		return "it has an index that calls functions";
	if (indexes.unique && RelationGetNumberOfBlocks(table) > 0)
		return "it has rows, and other unique indexes, whose values may pass from one row to another";
	if (pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_INSERT) != ACLCHECK_OK)
		return "the role may not write all of its columns";
	for (int i = 0; i < desc->natts; i++)
	{
		const char *obstacle = column_obstacle(target, i);

		if (obstacle != NULL)
			return obstacle;
	}
	return NULL;
}

/* --- reading --- */

typedef struct Reader
{
	Relation key;
	IndexScanDesc scan;
} Reader;

static bool
read_next(EfOldRows *rows)
{
	Reader *reader = rows->reader;

	return index_getnext_slot(reader->scan, ForwardScanDirection, rows->slot);
}

void
EfDirectReadBegin(const EfTarget *target, EfOldRows *rows)
{
	Reader *reader = palloc(sizeof(Reader));
	TupleDesc desc = RelationGetDescr(target->table);

	reader->key = index_open(look_at_indexes(target).key, AccessShareLock);
	reader->scan = EfBeginIndexScan(target->table, reader->key, GetActiveSnapshot());
	index_rescan(reader->scan, NULL, 0, NULL, 0);
	rows->next = read_next;
	rows->reader = reader;
	rows->slot = table_slot_create(target->table, NULL);
	rows->canonical = EfIsCanonical(desc, target->form);
	for (int i = 0; i < desc->natts; i++)
	{
		int column = column_of(target, i);

		if (column >= 0)
			rows->attributes[column] = (AttrNumber) (i + 1);
	}
}

void
EfDirectReadEnd(EfOldRows *rows)
{
	Reader *reader = rows->reader;

	index_endscan(reader->scan);
	index_close(reader->key, NoLock);
	ExecDropSingleTupleTableSlot(rows->slot);
	pfree(reader);
}

/* --- inserting --- */

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

struct EfDirectInsert
{
	const EfTarget *target;
	char *key_name; /* of the primary key */
	CommandId command;
	EState *estate;
	ResultRelInfo *indexes;
	BulkInsertState bulk; /* or NULL */
	TupleDesc form;
	AttrNumber key_attribute;
	int *columns;	/* of the form, for each attribute; -1: none */
	bool canonical; /* the table is laid out as the form */

	TupleTableSlot **slots;
	int nslots; /* made so far */
	int n;
	Size bytes;
	int64 key; /* of the row whose index entries are being made */
};

EfDirectInsert *
EfDirectInsertBegin(const EfTarget *target, int64 nrows)
{
	EfDirectInsert *insert = palloc0(sizeof(EfDirectInsert));
	TupleDesc desc = RelationGetDescr(target->table);

	insert->target = target;
	insert->key_name = get_rel_name(look_at_indexes(target).key);
	insert->command = GetCurrentCommandId(true);
	insert->estate = CreateExecutorState();
	insert->indexes = makeNode(ResultRelInfo);
	InitResultRelInfo(insert->indexes, target->table, 0, NULL, 0);
	ExecOpenIndices(insert->indexes, false);
	if (nrows > (int64) (NBuffers / BUFFERS_PART) * (BLCKSZ / ROW_BYTES))
		insert->bulk = GetBulkInsertState();
	insert->slots = palloc(sizeof(TupleTableSlot *) * BATCH_ROWS);
	insert->form = EfRelationDesc(target->form);
	insert->columns = palloc(sizeof(int) * (Size) desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		insert->columns[i] = column_of(target, i);
		if (insert->columns[i] == 0)
			insert->key_attribute = (AttrNumber) (i + 1);
	}
	insert->canonical = EfIsCanonical(desc, target->form);
	return insert;
}

/* The row as the table has it, in memory of the slot's own. */
static void
store_row(const EfDirectInsert *insert, HeapTuple row, TupleTableSlot *slot)
{
	TupleDesc desc = RelationGetDescr(insert->target->table);
	Datum values[EF_COLUMNS_MOST];
	bool nulls[EF_COLUMNS_MOST];

	if (insert->canonical)
	{
		ExecStoreHeapTuple(row, slot, false);
		ExecMaterializeSlot(slot);
		return;
	}
	heap_deform_tuple(row, insert->form, values, nulls);
	ExecClearTuple(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		int column = insert->columns[i];

		slot->tts_isnull[i] = column < 0 || nulls[column];
		slot->tts_values[i] = slot->tts_isnull[i] ? (Datum) 0 : values[column];
	}
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
}

static void
row_context(void *arg)
{
	const EfDirectInsert *insert = arg;
	const EfRelation *form = insert->target->form;

	errcontext("row of table \"%s\" with %s " INT64_FORMAT, form->name, form->columns[0].name,
			   insert->key);
}

static void
insert_into_indexes(EfDirectInsert *insert)
{
	ErrorContextCallback context = {error_context_stack, row_context, insert};
	MemoryContext old = MemoryContextSwitchTo(GetPerTupleMemoryContext(insert->estate));

	error_context_stack = &context;
	for (int i = 0; i < insert->n; i++)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		insert->key = DatumGetInt64(slot_getattr(insert->slots[i], insert->key_attribute, &isnull));
		(void) EfInsertIndexTuples(insert->indexes, insert->slots[i], insert->estate);
		ExecClearTuple(insert->slots[i]);
		ResetPerTupleExprContext(insert->estate);
	}
	error_context_stack = context.previous;
	MemoryContextSwitchTo(old);
}

/* Writes the rows that were put aside. */
static void
insert_batch(EfDirectInsert *insert)
{
	MemoryContext context = CurrentMemoryContext;

	if (insert->n == 0)
		return;
	MemoryContextSwitchTo(GetPerTupleMemoryContext(insert->estate));
	table_multi_insert(insert->target->table, insert->slots, insert->n, insert->command, 0,
					   insert->bulk);
	MemoryContextSwitchTo(context);
	ResetPerTupleExprContext(insert->estate);
	PG_TRY();
	{
		insert_into_indexes(insert);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		EfRethrowConflict(insert->target->form, insert->key_name);
	}
	PG_END_TRY();
	insert->n = 0;
	insert->bytes = 0;
}

void
EfDirectInsertRow(void *arg, const HeapTupleData *row)
{
	EfDirectInsert *insert = arg;

	if (insert->n == BATCH_ROWS || insert->bytes + row->t_len > BATCH_BYTES)
		insert_batch(insert);
	if (insert->n == insert->nslots)
		insert->slots[insert->nslots++] =
			MakeSingleTupleTableSlot(RelationGetDescr(insert->target->table), &TTSOpsHeapTuple);
	store_row(insert, unconstify(HeapTupleData *, row), insert->slots[insert->n]);
	insert->n++;
	insert->bytes += row->t_len;
}

void
EfDirectInsertEnd(EfDirectInsert *insert)
{
	insert_batch(insert);
	table_finish_bulk_insert(insert->target->table, 0);
	if (insert->bulk != NULL)
		FreeBulkInsertState(insert->bulk);
	for (int i = 0; i < insert->nslots; i++)
		ExecDropSingleTupleTableSlot(insert->slots[i]);
	ExecCloseIndices(insert->indexes);
	FreeExecutorState(insert->estate);
	pfree(insert);
}
