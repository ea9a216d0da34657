/*
 * derive_units.h
 *		Cuts files into units: pieces that begin and end with a line, which members
 *		of a team read.
 */
#ifndef EF_DERIVE_UNITS_H
#define EF_DERIVE_UNITS_H

#include "derive_files.h"
#include "derive_ids.h"

typedef struct EfUnit
{
	uint32 file;
	bool exact;	 /* a line begins at begin; else the first one after it is meant */
	int64 begin; /* lines that begin from here ... */
	int64 end;	 /* ... to before here */
	int64 line;	 /* of the first one; 0: not known */

	/* what was found; rejects are in the member's stream */
	int64 first;	/* where the first line begins */
	int64 next;		/* where the one after the last begins */
	int64 lines;	/* from the one to the other */
	int64 read;		/* records */
	int64 taken;	/* rows, repeated ids included */
	int64 rejected; /* records */
	uint32 member;
	uint32 reject_block;
	uint32 row_block; /* of a kind with one stream of rows */
	uint32 nrow_blocks;
	EfNewlineCounts newlines;
	EfIdRun ids;
	int64 id_number; /* of its first id among all, where ids repeat */
} EfUnit;

/* Those of one kind, in the order of the files. */
typedef struct EfUnits
{
	EfUnit *units;
	uint32 n;
	uint32 capacity;
} EfUnits;

/* Cuts all files of a kind; exactly says which of them are to be read for it. */
extern void EfUnitsCut(EfUnits *units, const EfFiles *files, EfKind kind, const bool *exactly);

/* Whether each unit began where the one before ended; sets exactly where not. */
extern bool EfUnitsFit(const EfUnits *units, bool *exactly);

/* The ids of each unit. */
extern EfIdRun *EfUnitsIds(const EfUnits *units);

#endif /* EF_DERIVE_UNITS_H */
