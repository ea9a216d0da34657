/*
 * progress.c
 *		How far a run is, for others to see.
 */
#include "postgres.h"

#include "commands/progress.h"
#include "compat.h"
#include "elapsed.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "progress.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"

/* Of COPY's numbers those that it leaves free; the mark tells a run from a COPY. */
enum
{
	PARAM_MARK = 10,
	PARAM_RUN,
	PARAM_PHASE,
	PARAM_ROWS_DONE,
	PARAM_ROWS_TOTAL,
	PARAM_STARTED,
	PARAM_SINCE, /* when the counting of bytes began */
	PARAM_ROLE
};

#define MARK INT64CONST(0x65696b6f6e)

/*
 * The part that reading takes of reading and writing, in a first load as in
 * docs/performance.md; for an estimate only.
 */
#define READING_PART 0.6

static bool active = false;
static int64 total;

static void
set(int param, int64 value)
{
	pgstat_progress_update_param(param, value);
}

void
EfProgressBegin(Oid table, int64 run_id, Oid role)
{
	pgstat_progress_start_command(PROGRESS_COMMAND_COPY, table);
	set(PROGRESS_COPY_COMMAND, PROGRESS_COPY_COMMAND_FROM);
	set(PROGRESS_COPY_TYPE, PROGRESS_COPY_TYPE_FILE);
	set(PARAM_RUN, run_id);
	set(PARAM_PHASE, EF_STARTING);
	set(PARAM_STARTED, GetCurrentTimestamp());
	set(PARAM_ROLE, role);
	set(PARAM_MARK, MARK);
	active = true;
	total = 0;
}

void
EfProgressPhase(EfPhase phase)
{
	if (!active)
		return;
	if (phase == EF_COMPARING || phase == EF_READING)
		set(PARAM_SINCE, GetCurrentTimestamp());
	set(PARAM_PHASE, phase);
}

void
EfProgressTotal(int64 bytes)
{
	if (active)
		set(PROGRESS_COPY_BYTES_TOTAL, total = bytes);
}

void
EfProgressRead(int64 bytes, int64 records, int64 rejects)
{
	static const int params[] = {PROGRESS_COPY_BYTES_PROCESSED, PROGRESS_COPY_TUPLES_PROCESSED,
								 EF_PROGRESS_REJECTS};
	int64 values[] = {Min(bytes, total), records, rejects}; /* ends of units are read twice */

	if (active)
		pgstat_progress_update_multi_param(lengthof(params), params, values);
}

void
EfProgressRows(int64 done, int64 total)
{
	static const int params[] = {PARAM_ROWS_DONE, PARAM_ROWS_TOTAL};
	int64 values[] = {done, total};

	if (active)
		pgstat_progress_update_multi_param(lengthof(params), params, values);
}

void
EfProgressEnd(void)
{
	if (active)
		pgstat_progress_end_command();
	active = false;
}

/* --- reading it --- */

/* The part of all work that is done, from 0 to 1. */
static double
part_done(const EfProgress *p)
{
	double reading = p->bytes_total > 0 ? (double) p->bytes_done / (double) p->bytes_total : 1;
	double writing = p->rows_total > 0 ? (double) p->rows_done / (double) p->rows_total : 0;

	return READING_PART * reading + (1 - READING_PART) * writing;
}

static void
take_entry(const PgBackendStatus *entry, EfProgress *p)
{
	static const char *const phases[] = {
		[EF_STARTING] = "starting",
		[EF_COMPARING] = "comparing",
		[EF_READING] = "reading users",
		[EF_READING + 1] = "reading compounds",
		[EF_READING + 2] = "reading experiments",
		[EF_WRITING] = "writing",
		[EF_FINISHING] = "finishing",
	};
	const int64 *params = entry->st_progress_param;
	EfPhase phase = (EfPhase) params[PARAM_PHASE];
	double seconds = EfElapsedSince(params[PARAM_SINCE]);
	double done;

	p->run_id = params[PARAM_RUN];
	p->pid = entry->st_procpid;
	p->role = (Oid) params[PARAM_ROLE];
	p->phase = phase <= EF_FINISHING ? phases[phase] : "";
	p->bytes_total = params[PROGRESS_COPY_BYTES_TOTAL];
	p->bytes_done = params[PROGRESS_COPY_BYTES_PROCESSED];
	p->records = params[PROGRESS_COPY_TUPLES_PROCESSED];
	p->rejects = params[EF_PROGRESS_REJECTS];
	p->rows_done = params[PARAM_ROWS_DONE];
	p->rows_total = params[PARAM_ROWS_TOTAL];
	p->started = params[PARAM_STARTED];
	p->rate = p->left = -1;
	if (phase >= EF_COMPARING && phase < EF_WRITING && seconds > 0)
		p->rate = (double) p->bytes_done / seconds;
	done = part_done(p);
	if (phase >= EF_READING && phase <= EF_WRITING && done > 0)
		p->left = Max(seconds, 0) * (1 - done) / done;
}

bool
EfProgressNext(Oid table, int *place, EfProgress *progress)
{
	if (*place == 0)
		pgstat_clear_backend_activity_snapshot();
	while (*place < pgstat_fetch_stat_numbackends())
	{
		const PgBackendStatus *entry = &EfBackendStatus(++*place)->backendStatus;

		if (entry->st_procpid == 0 || entry->st_databaseid != MyDatabaseId ||
			entry->st_progress_command != PROGRESS_COMMAND_COPY ||
			entry->st_progress_command_target != table ||
			entry->st_progress_param[PARAM_MARK] != MARK)
			continue;
		take_entry(entry, progress);
		return true;
	}
	return false;
}
