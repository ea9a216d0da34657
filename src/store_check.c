/*
 * store_check.c
 *		Whether the tables are as a run needs them, whatever users have made of them.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "query.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lock.h"
#include "store_check.h"
#include "store_form.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

void
EfStoreMissing(Oid schema, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s\" is missing from schema \"%s\"", table,
					get_namespace_name(schema)),
			 errhint("The extension's tables must keep their names and their schema. After an update of the extension's library, run ALTER EXTENSION eikon_features UPDATE.")));
}

/* Throws: the table is of a kind that a run cannot write. */
pg_noreturn static void
refuse_table(const char *name, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("cannot bring table \"%s\" up to date", name),
			 errdetail_internal("%s", detail),
			 errhint("%s", hint)));
}

/* Whether Citus has distributed it. */
static bool
is_distributed(Oid table)
{
	Oid type = OIDOID;
	Datum arg = ObjectIdGetDatum(table);

	return OidIsValid(get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE)) &&
		   EfQueryBigint("SELECT pg_catalog.count(*) FROM pg_catalog.pg_dist_partition WHERE logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) $1",
						 1, &type, &arg, NULL) > 0;
}

void
EfStoreCheckKind(const char *table, Relation relation)
{
	static const char *const hint = "Use an ordinary or a partitioned table of this server, with the access method heap.";
	const char *what = RelationGetRelationName(relation);
	char kind = relation->rd_rel->relkind;

	if (kind == RELKIND_FOREIGN_TABLE)
		refuse_table(table, psprintf("\"%s\" is a foreign table.", what), hint);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		refuse_table(table, psprintf("\"%s\" is not a table.", what), hint);
	if (kind == RELKIND_RELATION && relation->rd_rel->relam != HEAP_TABLE_AM_OID)
		refuse_table(table, psprintf("\"%s\" has the access method \"%s\".", what, get_am_name(relation->rd_rel->relam)),
					 hint);
}

/* Throws unless it is a heap, or partitioned into heaps, of this server. */
static void
check_kind(const char *name, Oid oid)
{
	List *oids = list_make1_oid(oid);
	ListCell *cell;

	if (get_rel_relkind(oid) == RELKIND_PARTITIONED_TABLE)
		oids = find_all_inheritors(oid, AccessShareLock, NULL);
	foreach(cell, oids)
	{
		Relation relation = relation_open(lfirst_oid(cell), AccessShareLock);

		EfStoreCheckKind(name, relation);
		if (is_distributed(lfirst_oid(cell)))
			refuse_table(name, psprintf("\"%s\" is distributed.", RelationGetRelationName(relation)),
						 "Keep it local, and distribute a table of your own that is filled from it.");
		relation_close(relation, NoLock);
	}
	list_free(oids);
}

static void
check_columns(const EfRelation *form, Relation relation)
{
	TupleDesc desc = RelationGetDescr(relation);

	for (int i = 0; i < form->ncolumns; i++)
	{
		bool found = false;

		for (int j = 0; j < desc->natts && !found; j++)
			found = EfIsColumn(desc, j, form->columns[i].name, form->columns[i].type);
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" is missing", form->columns[i].name,
							form->name),
					 errhint("The extension's tables must keep their columns, by name and type.")));
	}
}

static Oid
check_table(Oid schema, const EfRelation *form)
{
	Oid table = get_relname_relid(form->name, schema);
	Relation relation;

	if (!OidIsValid(table))
		EfStoreMissing(schema, form->name);
	relation = relation_open(table, AccessShareLock);
	check_columns(form, relation);
	relation_close(relation, AccessShareLock);
	return table;
}

/*
 * Throws where the view reads another table than the one that has the name now: a table that
 * was put in its place is none that the view knows.
 */
static void
check_view(Oid schema)
{
	Oid view = get_relname_relid(EfFeaturesView.name, schema);
	Oid table = get_relname_relid(EfUserFeatures.name, schema);
	Relation relation;
	bool found = false;

	if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_VIEW)
		return;
	relation = relation_open(view, AccessShareLock);
	{
		ListCell *cell;

		foreach(cell, get_view_query(relation)->rtable)
			found |= lfirst_node(RangeTblEntry, cell)->relid == table;
	}
	relation_close(relation, AccessShareLock);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" does not read table \"%s\"", EfFeaturesView.name,
						EfUserFeatures.name),
				 errhint("Where the table was replaced, replace the views that read it, too: CREATE OR REPLACE VIEW.")));
}

void
EfStoreCheck(Oid schema)
{
	static const EfRelation *const tables[] = {&EfUserFeatures, &EfCompoundsTable,
											   &EfTotalsTable, &EfRejectsTable};

	EfQueryBegin();
	for (size_t i = 0; i < lengthof(tables); i++)
		check_kind(tables[i]->name, check_table(schema, tables[i]));
	check_view(schema);
	EfQueryEnd();
}
