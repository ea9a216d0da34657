/*
 * store_compare.h
 *		What differs between a table and the rows that it should have.
 *
 *	rows of the table, by key ---.
 *	                             +-> EfCompare -> rows that are gone, changed, new
 *	new rows, by key ------------'
 */
#ifndef EF_STORE_COMPARE_H
#define EF_STORE_COMPARE_H

#include "executor/tuptable.h"
#include "store_form.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"

/* One of the extension's tables, open and locked. */
typedef struct EfTarget
{
	const EfRelation *form;
	Relation table;
	bool dry_run;
} EfTarget;

/* The rows of a table by ascending key. A slot has the row's place in tts_tableOid and tts_tid. */
typedef struct EfOldRows
{
	bool (*next)(struct EfOldRows *rows); /* the next one into the slot; false: no more */
	void *reader;
	TupleTableSlot *slot;
	AttrNumber attributes[EF_COLUMNS_MOST]; /* of the slot, for each column of the form */
	bool canonical;							/* the slot has heap tuples as new rows are */
} EfOldRows;

/* Columns of gone and changed before those of the form: where the row is. */
#define EF_CHANGE_TABLE 0
#define EF_CHANGE_PLACE 1
#define EF_CHANGE_COLUMNS 2

typedef struct EfChanges
{
	TupleDesc desc;			  /* of gone and changed */
	Tuplestorestate *gone;	  /* of the form's columns only the key */
	Tuplestorestate *changed; /* where the row is, and its new values */
	TupleDesc fresh_desc;
	Tuplestorestate *fresh; /* rows to insert */

	/* takes new rows instead of fresh, if it is not NULL */
	void (*insert)(void *arg, const HeapTupleData *row);
	void *arg;

	int64 ngone;
	int64 nchanged;
	int64 nfresh;
	int64 nsame;
} EfChanges;

/* In the current memory context. */
extern void EfChangesBegin(EfChanges *changes, const EfRelation *form);
extern void EfChangesEnd(EfChanges *changes);

/*
 * Compares all rows. Counts what differs and, but for a dry run, keeps it in changes. May be
 * called while workers derive rows. Throws where the table has two rows of a key.
 */
extern void EfCompare(const EfTarget *target, EfOldRows *old, EfTuples *rows, EfChanges *changes);

/* Throws: another transaction has changed a row of the table since it was compared. */
pg_noreturn extern void EfConflict(const EfRelation *form, const char *detail);

/*
 * For PG_CATCH, in the memory context of the block around it: throws the error on, and as a
 * conflict where it is one of the primary key of that name. Rows are new to the table that
 * was compared, so it is another transaction that has inserted the key.
 */
pg_noreturn extern void EfRethrowConflict(const EfRelation *form, const char *key_name);

#endif /* EF_STORE_COMPARE_H */
