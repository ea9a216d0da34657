/*
 * store_form.h
 *		The columns of the extension's tables, and features as rows of them.
 *
 * The bottom of the store: what derives features makes rows of them here, and the rest of
 * the store takes those rows.
 */
#ifndef EF_STORE_FORM_H
#define EF_STORE_FORM_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "compat.h"
#include "eikon_features.h"
#include "lib/stringinfo.h"

typedef struct EfColumn
{
	const char *name;
	Oid type;
	bool not_null;
} EfColumn;

/* A relation of the extension, its columns in the order in which rows are formed. */
typedef struct EfRelation
{
	const char *name;
	const EfColumn *columns; /* the first one is the key */
	int ncolumns;
} EfRelation;

#define EF_COLUMNS_MOST 16

/* The table, and the view that has what depends on all users besides. */
extern const EfRelation EfUserFeatures;
extern const EfRelation EfFeaturesView;

/* The other tables that a run writes; of eikon_rejects without run_id. */
extern const EfRelation EfCompoundsTable;
extern const EfRelation EfTotalsTable;
extern const EfRelation EfRejectsTable;

extern TupleDesc EfMakeDesc(const EfColumn *columns, int n);
extern TupleDesc EfRelationDesc(const EfRelation *relation);

/* The columns, separated by commas, each with that before it. */
extern char *EfListColumns(const EfColumn *columns, int n, const char *before);

/*
 * Whether a column bears that name. Throws where it does, but is of another type
 * than the extension gave it.
 */
extern bool EfIsColumn(TupleDesc desc, int i, const char *name, Oid type);

/*
 * Whether rows of desc are laid out as those of EfRelationDesc(): these columns, no
 * others, in this order. Throws as EfIsColumn() does.
 */
extern bool EfIsCanonical(TupleDesc desc, const EfRelation *relation);

/* Rows by ascending key: heap tuples of EfRelationDesc(). */
typedef struct EfTuples
{
	const EfRelation *relation;
	bool (*next)(void *arg, HeapTupleData *tuple); /* valid until the next call; false: no more */
	void *arg;
	int64 count;
} EfTuples;

/* The known compounds, in any order. */
typedef struct EfCompounds
{
	bool (*next)(void *arg, EfCompound *compound); /* texts as above */
	void *arg;
} EfCompounds;

/* What became of the rows of a table. */
typedef struct EfStoreCounts
{
	int64 inserted;
	int64 updated;
	int64 deleted;
	int64 unchanged;
} EfStoreCounts;

static inline int64
EfStoreWritten(const EfStoreCounts *counts)
{
	return counts->inserted + counts->updated + counts->deleted;
}

/*
 * Appends a row of EfUserFeatures or, with view, of EfFeaturesView to the buffer, MAXALIGNed,
 * as heap_form_tuple would make it, but for what a header has of transactions; tuple
 * points there until the buffer grows again. False where the user's total run time is out of
 * range, and nothing is done.
 */
extern bool EfFormFeatures(const EfFeatures *features, bool view, StringInfo buffer,
						   HeapTupleData *tuple);

/* Throws for the user of whom EfFormFeatures() returned false. */
pg_noreturn extern void EfFeaturesOutOfRange(int64 user_id);

#endif /* EF_STORE_FORM_H */
