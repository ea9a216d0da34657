/*
 * progress.h
 *		How far a run is, for others to see.
 *
 * It is kept where PostgreSQL keeps the progress of COPY, so pg_stat_progress_copy
 * shows the bytes and records as well. Needs track_activities, which is on by default.
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

/* --- by the process that runs; without EfProgressBegin they do nothing --- */

extern void EfProgressBegin(Oid table, int64 run_id, Oid role);
extern void EfProgressPhase(EfPhase phase);
extern void EfProgressTotal(int64 bytes);
extern void EfProgressRead(int64 bytes, int64 records, int64 rejects);
extern void EfProgressRows(int64 done, int64 total);
extern void EfProgressEnd(void);

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

/* Of the next run for the table after *place, at first 0; false: there are no more. */
extern bool EfProgressNext(Oid table, int *place, EfProgress *progress);

#endif /* EF_PROGRESS_H */
