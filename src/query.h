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
#include "compat.h"
#include "utils/tuplestore.h"

extern void EfQueryBegin(void);
extern void EfQueryEnd(void);

/* The same in a procedure, which may commit its caller's transaction and go on in a new one. */
extern void EfQueryBeginProcedure(void);
extern void EfQueryCommit(void);

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

/* Throws, saying that the statement gave another number of rows than one. */
pg_noreturn extern void EfQueryUnexpected(const char *sql);

/*
 * As above, and fills in the columns of the first row; they live until EfQueryEnd.
 * False where there is none.
 */
extern bool EfQueryRow(const char *sql, int nargs, const Oid *types, const Datum *args,
					   const bool *args_null, int ncolumns, Datum *values, bool *nulls);

/*
 * The same for a statement that only reads, which sees what has been committed by
 * now, whatever the transaction's isolation level.
 */
extern bool EfQueryRowNow(const char *sql, int nargs, const Oid *types, const Datum *args,
						  int ncolumns, Datum *values, bool *nulls);

/* The same, but it sees what the active snapshot does. */
extern bool EfQueryRowActive(const char *sql, int nargs, const Oid *types, const Datum *args,
							 int ncolumns, Datum *values, bool *nulls);

/* As EfQueryRow, for arguments that are so large that the plan had better not copy them. */
extern bool EfQueryRowLarge(const char *sql, int nargs, const Oid *types, const Datum *args,
							const bool *args_null, int ncolumns, Datum *values, bool *nulls);

/*
 * The rows of a query that only reads, as the active snapshot sees them. A row is valid until the
 * next one is fetched; NULL: there are no more.
 */
typedef struct EfQueryCursor EfQueryCursor;

extern EfQueryCursor *EfQueryOpen(const char *sql, TupleDesc *desc);
extern HeapTuple EfQueryFetch(EfQueryCursor *cursor);
extern void EfQueryClose(EfQueryCursor *cursor);

/* A statement that is run many times, until EfQueryEnd. */
typedef struct _SPI_plan EfQueryPlan;

extern EfQueryPlan *EfQueryPrepare(const char *sql, int nargs, const Oid *types);
extern void EfQueryExecute(EfQueryPlan *plan, int nargs, const Datum *args, const bool *nulls);

#endif /* EF_QUERY_H */
