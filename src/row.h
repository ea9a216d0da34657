/*
 * row.h
 *		Records -> typed rows. One static table says which columns a kind has.
 */
#ifndef EF_ROW_H
#define EF_ROW_H

#include "nodes/pg_list.h"
#include "record.h"

/* Columns of a kind: all of them are required, by these names. */
#define EF_COLUMNS 4

/* Names of the required columns in documented order, and how many. */
extern const char *const *EfKindColumns(EfKind kind, int *n);

/* Where the columns of a kind stand in the records of one file. */
typedef struct EfRowMap
{
	EfKind kind;
	int ncolumns;
	int at[EF_COLUMNS];
	int least; /* fields that a record must have */
	int most;  /* fields beyond these must be empty */
} EfRowMap;

/*
 * Finds the columns in a header of n names. Throws when one is missing or stands
 * there twice. Names of columns of no use are added to *ignored (a List of
 * char *); unnamed ones are passed over in silence. n = 0 stands for no header.
 */
extern void EfRowMapColumns(EfRowMap *map, EfKind kind, char **names, int n,
							int64 line, List **ignored);

typedef struct EfRow
{
	EfUser user; /* the one that goes with the kind is set */
	EfCompound compound;
	EfExperiment experiment;

	/* where an experiment's list is kept, for one row after the other */
	MemoryContext context;
	int64 *ids;
	size_t room;
} EfRow;

/* Memory that outlives a row is allocated in context. */
extern void EfRowBegin(EfRow *row, MemoryContext context);

/* What was wrong: a column (NULL for the whole record), its value, words. */
typedef struct EfRowFault
{
	EfReason reason;
	const char *column;
	EfText value;
	int sqlstate;
	const char *message;
} EfRowFault;

/*
 * Makes a row of a well-formed record. Values equal to null are NULL. Texts
 * point into the record or the current memory context, a list is valid until the
 * next row. False, with *fault filled, when it can't be taken.
 */
extern bool EfRowParse(const EfRowMap *map, const EfRecord *record, EfText null, EfRow *row,
					   EfRowFault *fault);

/* The fault of a row that the aggregate refused. */
extern void EfRowRefused(const EfRowMap *map, const EfRecord *record, const EfRow *row,
						 EfReason reason, EfRowFault *fault);

#endif /* EF_ROW_H */
