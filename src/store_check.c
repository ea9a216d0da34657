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
#include "nodes/nodeFuncs.h"
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
			 errhint("After an update of the extension's library, run ALTER EXTENSION eikon_features UPDATE. The extension's tables must keep their names and their schema.")));
}

/* Throws: the table is of a kind that a run cannot write. */
pg_noreturn static void
refuse_table(const char *name, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
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

/* Whether a relation is read somewhere in the query. */
static bool
is_read(Node *node, void *relation)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
		return ((RangeTblEntry *) node)->relid == *(Oid *) relation;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, is_read, relation, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, is_read, relation);
}

/*
 * Throws where the view reads another table than the one that has the name now: a table that
 * was put in its place is none that the view knows. A view that was made to read that of
 * features is as right as that.
 */
static void
check_view(Oid schema, const char *name, const EfRelation *form)
{
	Oid view = get_relname_relid(name, schema);
	Oid table = get_relname_relid(form->name, schema);
	Oid features = get_relname_relid(EfFeaturesView.name, schema);
	Relation relation;
	Node *query;
	bool found;

	if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_VIEW)
		return;
	relation = relation_open(view, AccessShareLock);
	query = (Node *) get_view_query(relation);
	found = is_read(query, &table) || (view != features && is_read(query, &features));
	relation_close(relation, AccessShareLock);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" does not read table \"%s\"", name, form->name),
				 errhint("Where the table was replaced, replace the views that read it, too: CREATE OR REPLACE VIEW.")));
}

void
EfStoreCheck(Oid schema)
{
	static const EfRelation *const tables[] = {&EfUserFeatures, &EfCompoundsTable,
											   &EfTotalsTable, &EfRejectsTable};
	static const struct
	{
		const char *name;
		const EfRelation *table;
	} views[] = {
		{"features", &EfUserFeatures},
		{"features", &EfTotalsTable},
		{"etl_results", &EfUserFeatures},
		{"etl_results", &EfCompoundsTable},
		{"derived_exp_data", &EfUserFeatures},
		{"derived_exp_data", &EfTotalsTable},
		{"feature_derivation", &EfUserFeatures},
	};

	EfQueryBegin();
	for (size_t i = 0; i < lengthof(tables); i++)
		check_kind(tables[i]->name, check_table(schema, tables[i]));
	if (get_rel_relkind(get_relname_relid(EfTotalsTable.name, schema)) != RELKIND_RELATION)
		refuse_table(EfTotalsTable.name, "It is partitioned.", "Use an ordinary table.");
	for (size_t i = 0; i < lengthof(views); i++)
		check_view(schema, views[i].name, views[i].table);
	EfQueryEnd();
}
