/*
 * query.c
 *		SQL from C: the only user of SPI.
 *
 * elog(ERROR) here is for what SPI reports of its own misuse, which no input can
 * bring about; what is wrong with a statement or its data it throws itself.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "query.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"

void
EfQueryBegin(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

void
EfQueryBeginProcedure(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
}

void
EfQueryCommit(void)
{
	SPI_commit();
}

void
EfQueryEnd(void)
{
	SPI_finish();
}

void
EfQueryRelation(const char *name, TupleDesc desc, Tuplestorestate *rows, int64 n)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = pstrdup(name);
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) n;
	relation->reldata = rows;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"%s\"", name);
}

/* SPI's way of saying which arguments are NULL. */
static char *
mark_nulls(int nargs, const bool *nulls)
{
	char *marks = palloc((Size) nargs + 1);

	for (int i = 0; i < nargs; i++)
		marks[i] = nulls != NULL && nulls[i] ? 'n' : ' ';
	marks[nargs] = '\0';
	return marks;
}

static void
run(const char *sql, int nargs, const Oid *types, const Datum *args, const bool *nulls,
	bool read_only)
{
	char *marks = mark_nulls(nargs, nulls);
	int status;

	status = SPI_execute_with_args(sql, nargs, unconstify(Oid *, types),
								   unconstify(Datum *, args), marks, read_only, 0);
	if (status < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(status));
	pfree(marks);
}

uint64
EfQueryRun(const char *sql, int nargs, const Oid *types, const Datum *args, const bool *nulls)
{
	run(sql, nargs, types, args, nulls, false);
	if (SPI_tuptable != NULL)
		SPI_freetuptable(SPI_tuptable);
	return SPI_processed;
}

void
EfQueryUnexpected(const char *sql)
{
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("statement gave " UINT64_FORMAT " rows where one was expected: %s",
					SPI_processed, sql),
			 errhint("Look for a trigger, a rule or a policy on the extension's tables that keeps rows from being written.")));
}

int64
EfQueryBigint(const char *sql, int nargs, const Oid *types, const Datum *args,
			  const bool *nulls)
{
	bool isnull;
	Datum value;

	run(sql, nargs, types, args, nulls, false);
	if (SPI_processed != 1)
		EfQueryUnexpected(sql);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(value);
}

/* The columns of the first row, if there is one. */
static bool
take_row(int ncolumns, Datum *values, bool *nulls)
{
	if (SPI_processed == 0)
		return false;
	for (int i = 0; i < ncolumns; i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
	return true;
}

bool
EfQueryRow(const char *sql, int nargs, const Oid *types, const Datum *args,
		   const bool *args_null, int ncolumns, Datum *values, bool *nulls)
{
	run(sql, nargs, types, args, args_null, false);
	return take_row(ncolumns, values, nulls);
}

bool
EfQueryRowNow(const char *sql, int nargs, const Oid *types, const Datum *args, int ncolumns,
			  Datum *values, bool *nulls)
{
	PushActiveSnapshot(GetLatestSnapshot());
	run(sql, nargs, types, args, NULL, true);
	PopActiveSnapshot();
	return take_row(ncolumns, values, nulls);
}

bool
EfQueryRowActive(const char *sql, int nargs, const Oid *types, const Datum *args, int ncolumns,
				 Datum *values, bool *nulls)
{
	run(sql, nargs, types, args, NULL, true);
	return take_row(ncolumns, values, nulls);
}

/* By a generic plan: any other has the arguments in it as constants. */
bool
EfQueryRowLarge(const char *sql, int nargs, const Oid *types, const Datum *args,
				const bool *args_null, int ncolumns, Datum *values, bool *nulls)
{
	SPIPlanPtr plan = SPI_prepare_cursor(sql, nargs, unconstify(Oid *, types),
										 CURSOR_OPT_GENERIC_PLAN);
	int status;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	status = SPI_execute_plan(plan, unconstify(Datum *, args), mark_nulls(nargs, args_null),
							  false, 0);
	if (status < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(status));
	return take_row(ncolumns, values, nulls);
}

/* --- cursors --- */

#define FETCH_ROWS 1000

struct EfQueryCursor
{
	Portal portal;
	SPITupleTable *rows;
	uint64 n;
	uint64 next;
};

EfQueryCursor *
EfQueryOpen(const char *sql, TupleDesc *desc)
{
	EfQueryCursor *cursor = palloc0(sizeof(EfQueryCursor));

	cursor->portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true,
											   CURSOR_OPT_NO_SCROLL);
	*desc = cursor->portal->tupDesc;
	return cursor;
}

HeapTuple
EfQueryFetch(EfQueryCursor *cursor)
{
	if (cursor->next == cursor->n)
	{
		if (cursor->rows != NULL)
			SPI_freetuptable(cursor->rows);
		SPI_cursor_fetch(cursor->portal, true, FETCH_ROWS);
		cursor->rows = SPI_tuptable;
		cursor->n = SPI_processed;
		cursor->next = 0;
	}
	return cursor->n == 0 ? NULL : cursor->rows->vals[cursor->next++];
}

void
EfQueryClose(EfQueryCursor *cursor)
{
	SPI_freetuptable(cursor->rows);
	SPI_cursor_close(cursor->portal);
	pfree(cursor);
}

/* --- statements that are run many times --- */

EfQueryPlan *
EfQueryPrepare(const char *sql, int nargs, const Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, nargs, unconstify(Oid *, types));

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

void
EfQueryExecute(EfQueryPlan *plan, int nargs, const Datum *args, const bool *nulls)
{
	char *marks = mark_nulls(nargs, nulls);
	int status = SPI_execute_plan(plan, unconstify(Datum *, args), marks, false, 0);

	if (status < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(status));
	pfree(marks);
}
