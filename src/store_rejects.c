/*
 * store_rejects.c
 *		Rejects -> the table eikon_rejects.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "query.h"
#include "store_form.h"
#include "store_rejects.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

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
	rejects->desc = EfRelationDesc(&EfRejectsTable);
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
	bool nulls[EF_COLUMNS_MOST] = {false};
	bool truncated;
	char *raw = EfShowText(reject->raw, EF_REJECT_RAW, false, &truncated);
	Datum values[EF_COLUMNS_MOST] = {
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
	char *columns = EfListColumns(EfRejectsTable.columns, EfRejectsTable.ncolumns, "");

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
