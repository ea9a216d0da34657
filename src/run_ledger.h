/*
 * run_ledger.h
 *		The rows of eikon_runs.
 *
 * What writes a row also sends a notification, and wakes those who wait, once the
 * transaction commits. All statements need EfQueryBegin.
 */
#ifndef EF_RUN_LEDGER_H
#define EF_RUN_LEDGER_H

#include "derive.h"
#include "options.h"
#include "store_form.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* A row in the making: by column name, in any order. */
typedef struct EfLedger
{
	int n;
	const char *names[48];
	Oid types[48];
	Datum values[48];
	bool nulls[48];
} EfLedger;

extern void EfLedgerSet(EfLedger *ledger, const char *name, Oid type, Datum value);
extern void EfLedgerSetText(EfLedger *ledger, const char *name, const char *text); /* NULL */
extern void EfLedgerSetCount(EfLedger *ledger, const char *name, int64 n);
extern void EfLedgerSetBool(EfLedger *ledger, const char *name, bool value);
extern void EfLedgerSetTime(EfLedger *ledger, const char *name, TimestampTz time);

/* options */
extern void EfLedgerSetOptions(EfLedger *ledger, const EfOptions *options);

/* requested_by, requester */
extern void EfLedgerSetRequester(EfLedger *ledger, Oid role);

/* records, rows and notes */
extern void EfLedgerSetReport(EfLedger *ledger, const EfReport *report,
							  const EfStoreCounts *counts);

/* timings, in seconds; comparing and storing < 0 where there was none */
extern void EfLedgerSetTimings(EfLedger *ledger, const EfReport *report, double comparing,
							   double storing);

/* The number of a new run. */
extern int64 EfLedgerNewId(Oid schema);

/*
 * Writes the row and returns its run_id. conflict is an ON CONFLICT clause or "";
 * 0 where that kept the row away.
 */
extern int64 EfLedgerInsert(Oid schema, const EfLedger *ledger, const char *conflict);

/* Writes to the row of that run if that is its status; else false. */
extern bool EfLedgerUpdate(Oid schema, const EfLedger *ledger, int64 run_id, const char *status);

/* No run is the current one, until another row says that it is. */
extern void EfLedgerClearCurrent(Oid schema);

/*
 * Whether features comes from a run of the current role with that fingerprint, and those of
 * these options that make a difference to it; and has not been emptied since.
 */
extern bool EfLedgerIsCurrent(Oid schema, const char *fingerprint, const EfOptions *options);

/* The row as a value of the table's type, in the given context; not written. */
extern Datum EfLedgerRow(Oid schema, const EfLedger *ledger, MemoryContext context);

/* The table's name, qualified. */
extern char *EfLedgerTable(Oid schema);

/*
 * Acting as the owner of the ledger, with a search_path in which nobody can put things
 * of his own.
 */
typedef struct EfIdentity
{
	Oid role;
	int context;
	int settings;
} EfIdentity;

extern Oid EfLedgerOwner(Oid schema);
extern void EfLedgerAct(Oid schema, EfIdentity *before);

/* The same for statements that write there; throws where they would call others' triggers. */
extern void EfLedgerActToWrite(Oid schema, EfIdentity *before);
extern void EfLedgerActEnd(const EfIdentity *before);

/* In place of EfLedgerActEnd where the transaction has ended. */
extern void EfLedgerActed(const EfIdentity *before);

/* Throws unless it is the functions above or a superuser who writes a row that waits or runs. */
extern void EfLedgerGuard(void);

#endif /* EF_RUN_LEDGER_H */
