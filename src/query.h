/*
 * query.h
 *		SQL from C: the only user of SPI.
 *
 * Statements run with the rights and settings of the caller, so they name
 * every object and operator in full.
 */
#ifndef EF_QUERY_H
#define EF_QUERY_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/tuplestore.h"

extern void EfQueryBegin(void);
extern void EfQueryEnd(void);

/* Lets statements read a tuplestore of about n rows under that name. */
extern void EfQueryRelation(const char *name, TupleDesc desc, Tuplestorestate *rows, int64 n);

/*
 * Runs a statement; nulls may be NULL. Returns the number of rows that it wrote
 * or returned.
 */
extern uint64 EfQueryRun(const char *sql, int nargs, const Oid *types, const Datum *args,
						 const bool *nulls);

/* As above, and returns the one bigint that it must give; 0 for NULL. */
extern int64 EfQueryBigint(const char *sql, int nargs, const Oid *types, const Datum *args,
						   const bool *nulls);

#endif /* EF_QUERY_H */
