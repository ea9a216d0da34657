/*
 * store_sql.h
 *		A table of any kind, read and brought up to date by SQL.
 */
#ifndef EF_STORE_SQL_H
#define EF_STORE_SQL_H

#include "store_compare.h"

/* Reads the table by ascending key. Not while workers are at work. */
extern void EfSqlReadBegin(const EfTarget *target, EfOldRows *rows);
extern void EfSqlReadEnd(EfOldRows *rows);

/*
 * Deletes, updates and inserts what changes holds, in this order, and adds to counts what was
 * written. Rows that another transaction has changed since they were compared are a
 * serialization failure. An error that is about a row says which one, in its context.
 */
extern void EfSqlWrite(const EfTarget *target, EfChanges *changes, EfStoreCounts *counts);

#endif /* EF_STORE_SQL_H */
