/*
 * store_direct.h
 *		The rows of a heap, read and inserted without SQL.
 */
#ifndef EF_STORE_DIRECT_H
#define EF_STORE_DIRECT_H

#include "store_compare.h"

/* Whether an index allows each key once, also where it is inserted by others meanwhile. */
extern bool EfHasUniqueKey(const EfTarget *target);

/*
 * Why the table cannot be read, or rows not be inserted into it, without SQL, in words for
 * a message; NULL if they can.
 */
extern const char *EfDirectReadObstacle(const EfTarget *target);
extern const char *EfDirectInsertObstacle(const EfTarget *target);

/* Reads the table by its primary key, as the active snapshot sees it. */
extern void EfDirectReadBegin(const EfTarget *target, EfOldRows *rows);
extern void EfDirectReadEnd(EfOldRows *rows);

/*
 * Inserts rows of the form, by ascending key, while workers may still derive others. The last
 * ones are written by EfDirectInsertEnd. A key that another transaction has inserted
 * meanwhile is a serialization failure.
 */
typedef struct EfDirectInsert EfDirectInsert;

extern EfDirectInsert *EfDirectInsertBegin(const EfTarget *target, int64 nrows);
extern void EfDirectInsertRow(void *insert, const HeapTupleData *row);
extern void EfDirectInsertEnd(EfDirectInsert *insert);

#endif /* EF_STORE_DIRECT_H */
