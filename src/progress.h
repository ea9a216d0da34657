/*
 * progress.h
 *		How far a run is, for others to see.
 *
 * Each run has an entry in shared memory until it ends, in whatever way. When all entries
 * are taken, a run goes on without being shown.
 */
#ifndef EF_PROGRESS_H
#define EF_PROGRESS_H

#include "utils/timestamp.h"

typedef enum EfPhase
{
	EF_STARTING,
	EF_COMPARING,
	EF_READING, /* + EfKind */
	EF_WRITING = EF_READING + 3,
	EF_FINISHING
} EfPhase;

/* To be called by _PG_init. */
extern void EfProgressInit(void);

/* --- by the process that runs; without EfProgressBegin they do nothing --- */

extern void EfProgressBegin(Oid table, int64 run_id, Oid role);
extern void EfProgressPhase(EfPhase phase);
extern void EfProgressTotal(int64 bytes);
extern void EfProgressRead(int64 bytes, int64 records, int64 rejects);
extern void EfProgressRows(int64 done, int64 total);
extern void EfProgressEnd(void);

/* A derivation that a run's trigger calls changes nothing of the run's progress. */
extern void EfProgressPause(void);
extern void EfProgressResume(void);

/* --- by others --- */

typedef struct EfProgress
{
	int64 run_id; /* 0: of a dry run */
	int pid;
	Oid role;
	const char *phase;
	int64 bytes_done;
	int64 bytes_total;
	int64 records;
	int64 rejects;
	int64 rows_done;
	int64 rows_total;
	TimestampTz started;
	double rate; /* bytes per second; < 0: none */
	double left; /* seconds; < 0: not known */
} EfProgress;

/* Of the next run for the table, from entry *next on, at first 0; false: there are no more. */
extern bool EfProgressNext(Oid table, int *next, EfProgress *progress);

#endif /* EF_PROGRESS_H */
