/*
 * store_compare.c
 *		What differs between a table and the rows that it should have.
 *
 * One pass over both, which come by ascending key. A row that is the same to the byte is left
 * alone without a look at its values.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "store_compare.h"
#include "utils/datum.h"
#include "utils/rel.h"

void
EfConflict(const EfRelation *form, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access to table \"%s\" due to a concurrent change",
					form->name),
			 detail != NULL ? errdetail_internal("%s", detail) : 0,
			 errhint("Run again.")));
}

void
EfRethrowConflict(const EfRelation *form, const char *key_name)
{
	ErrorData *error = CopyErrorData();

	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION || error->constraint_name == NULL ||
		strcmp(error->constraint_name, key_name) != 0)
		PG_RE_THROW();
	FlushErrorState();
	EfConflict(form, error->detail);
}

void
EfChangesBegin(EfChanges *changes, const EfRelation *form)
{
	EfColumn columns[EF_CHANGE_COLUMNS + EF_COLUMNS_MOST] = {
		[EF_CHANGE_TABLE] = {"in_table", OIDOID},
		[EF_CHANGE_PLACE] = {"at_place", TIDOID},
	};

	memcpy(columns + EF_CHANGE_COLUMNS, form->columns, sizeof(EfColumn) * (Size) form->ncolumns);
	memset(changes, 0, sizeof(*changes));
	changes->desc = EfMakeDesc(columns, EF_CHANGE_COLUMNS + form->ncolumns);
	changes->fresh_desc = EfRelationDesc(form);
	changes->gone = tuplestore_begin_heap(false, false, work_mem);
	changes->changed = tuplestore_begin_heap(false, false, work_mem);
	changes->fresh = tuplestore_begin_heap(false, false, work_mem);
}

void
EfChangesEnd(EfChanges *changes)
{
	tuplestore_end(changes->gone);
	tuplestore_end(changes->changed);
	tuplestore_end(changes->fresh);
	FreeTupleDesc(changes->desc);
	FreeTupleDesc(changes->fresh_desc);
}

/* Keeps a row of the table that is to be deleted or, with the new row, updated. */
static void
keep_change(EfChanges *changes, Tuplestorestate *store, const TupleTableSlot *old, int64 key,
			HeapTuple row)
{
	Datum values[EF_CHANGE_COLUMNS + EF_COLUMNS_MOST];
	bool nulls[EF_CHANGE_COLUMNS + EF_COLUMNS_MOST];

	memset(nulls, row == NULL, sizeof(nulls));
	values[EF_CHANGE_TABLE] = ObjectIdGetDatum(old->tts_tableOid);
	values[EF_CHANGE_PLACE] = PointerGetDatum(&old->tts_tid);
	values[EF_CHANGE_COLUMNS] = Int64GetDatum(key);
	nulls[EF_CHANGE_TABLE] = nulls[EF_CHANGE_PLACE] = nulls[EF_CHANGE_COLUMNS] = false;
	if (row != NULL)
		heap_deform_tuple(row, changes->fresh_desc, values + EF_CHANGE_COLUMNS,
						  nulls + EF_CHANGE_COLUMNS);
	tuplestore_putvalues(store, changes->desc, values, nulls);
}

static void
insert_row(const EfTarget *target, EfChanges *changes, HeapTuple row)
{
	changes->nfresh++;
	if (target->dry_run)
		return;
	if (changes->insert != NULL)
		changes->insert(changes->arg, row);
	else
		tuplestore_puttuple(changes->fresh, row);
}

static bool
same_bytes(HeapTuple old, HeapTuple row)
{
	Size bits = offsetof(HeapTupleHeaderData, t_bits);

	return old->t_len == row->t_len && old->t_data->t_hoff == row->t_data->t_hoff &&
		   HeapTupleHasNulls(old) == HeapTupleHasNulls(row) &&
		   HeapTupleHeaderGetNatts(old->t_data) == HeapTupleHeaderGetNatts(row->t_data) &&
		   memcmp((char *) old->t_data + bits, (char *) row->t_data + bits, row->t_len - bits) == 0;
}

/*
 * Whether the row of the table is the new one. One that is not the same to the byte
 * may still be, where a value is compressed or out of line.
 */
static bool
is_same(EfOldRows *old, HeapTuple row, TupleDesc desc)
{
	if (old->canonical && same_bytes(ExecFetchSlotHeapTuple(old->slot, false, NULL), row))
		return true;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool old_null;
		bool row_null;
		Datum old_value = slot_getattr(old->slot, old->attributes[i], &old_null);
		Datum row_value = fastgetattr(row, i + 1, desc, &row_null);

		if (old_null != row_null ||
			(!old_null && !datum_image_eq(old_value, row_value, attribute->attbyval,
										  attribute->attlen)))
			return false;
	}
	return true;
}

/* Takes the next row of the table and its key; false after the last one. */
static bool
next_old(const EfTarget *target, EfOldRows *old, bool first, int64 *key)
{
	int64 before = *key;
	bool isnull;

	if (!old->next(old))
		return false;
	*key = DatumGetInt64(slot_getattr(old->slot, old->attributes[0], &isnull));
	if (isnull || (!first && *key == before))
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 isnull ? errmsg("table \"%s\" has a row without %s", target->form->name,
								 target->form->columns[0].name) :
						  errmsg("table \"%s\" has more than one row with %s " INT64_FORMAT,
								 target->form->name, target->form->columns[0].name, *key),
				 errhint("Delete the surplus row, and give the table its primary key on %s again.",
						 target->form->columns[0].name)));
	return true;
}

void
EfCompare(const EfTarget *target, EfOldRows *old, EfTuples *rows, EfChanges *changes)
{
	TupleDesc desc = changes->fresh_desc;
	int64 old_key = 0;
	int64 row_key = 0;
	bool more_old = next_old(target, old, true, &old_key);
	HeapTupleData row;
	bool more = rows->next(rows->arg, &row);

	while (more_old || more)
	{
		bool isnull;
		bool is_gone;
		bool is_fresh;

		CHECK_FOR_INTERRUPTS();
		if (more)
			row_key = DatumGetInt64(fastgetattr(&row, 1, desc, &isnull));
		is_gone = !more || (more_old && old_key < row_key);
		is_fresh = !more_old || (more && row_key < old_key);
		if (is_fresh)
			insert_row(target, changes, &row);
		else if (is_gone)
		{
			changes->ngone++;
			if (!target->dry_run)
				keep_change(changes, changes->gone, old->slot, old_key, NULL);
		}
		else if (is_same(old, &row, desc))
			changes->nsame++;
		else
		{
			changes->nchanged++;
			if (!target->dry_run)
				keep_change(changes, changes->changed, old->slot, old_key, &row);
		}
		if (!is_fresh)
			more_old = next_old(target, old, false, &old_key);
		if (!is_gone)
			more = rows->next(rows->arg, &row);
	}
}
