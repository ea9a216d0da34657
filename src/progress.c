/*
 * progress.c
 *		How far a run is, for others to see.
 *
 * Only the process that runs writes to its run's entry. Others read it without a lock,
 * and once more if it was changed in the meantime.
 */
#include "postgres.h"

#include "elapsed.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "progress.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

/*
 * Runs that can be shown at a time: one for each table, and dry runs. All entries must
 * fit into what a server keeps free for libraries that are not preloaded, 100 kB.
 */
#define ENTRIES 128

/*
 * The part that reading takes of reading and writing, in a first load as in
 * docs/performance.md; for an estimate only.
 */
#define READING_PART 0.6

typedef struct State
{
	Oid database; /* InvalidOid: there is no run */
	Oid table;
	Oid role;
	int pid;
	EfPhase phase;
	int64 run_id;
	int64 bytes_done;
	int64 bytes_total;
	int64 records;
	int64 rejects;
	int64 rows_done;
	int64 rows_total;
	TimestampTz started;
	TimestampTz since; /* when the counting of bytes began */
} State;

typedef struct Entry
{
	pg_atomic_uint32 pid;	  /* whose it is; 0: nobody's */
	pg_atomic_uint32 changes; /* odd while it is being changed */
	State state;
} Entry;

static Entry *entries;
static Entry *mine; /* this process's; NULL: none */
static int paused;
static shmem_request_hook_type previous_request;

/* --- attaching --- */

static void
request(void)
{
	if (previous_request != NULL)
		previous_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Entry) * ENTRIES));
}

void
EfProgressInit(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
}

static void
leave(int code, Datum arg)
{
	EfProgressEnd(); /* the process may have been terminated in the middle of a run */
}

static void
attach(void)
{
	bool found;

	if (entries != NULL)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	entries = ShmemInitStruct("eikon_features progress", sizeof(Entry) * ENTRIES, &found);
	if (!found)
	{
		memset(entries, 0, sizeof(Entry) * ENTRIES);
		for (int i = 0; i < ENTRIES; i++)
		{
			pg_atomic_init_u32(&entries[i].pid, 0);
			pg_atomic_init_u32(&entries[i].changes, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
	before_shmem_exit(leave, (Datum) 0);
}

/* --- writing it --- */

/* Between these two, nothing may fail. */
static State *
begin_change(void)
{
	pg_atomic_write_u32(&mine->changes, pg_atomic_read_u32(&mine->changes) + 1);
	pg_write_barrier();
	return &mine->state;
}

static void
end_change(void)
{
	pg_write_barrier();
	pg_atomic_write_u32(&mine->changes, pg_atomic_read_u32(&mine->changes) + 1);
}

static bool
is_shown(void)
{
	return mine != NULL && paused == 0;
}

void
EfProgressBegin(Oid table, int64 run_id, Oid role)
{
	TimestampTz now = GetCurrentTimestamp();

	attach();
	for (int i = 0; i < ENTRIES && mine == NULL; i++)
	{
		uint32 nobody = 0;

		if (pg_atomic_compare_exchange_u32(&entries[i].pid, &nobody, (uint32) MyProcPid))
			mine = &entries[i];
	}
	if (mine == NULL)
		return;
	*begin_change() = (State){
		.database = MyDatabaseId,
		.table = table,
		.role = role,
		.pid = MyProcPid,
		.phase = EF_STARTING,
		.run_id = run_id,
		.started = now,
		.since = now,
	};
	end_change();
}

void
EfProgressPhase(EfPhase phase)
{
	TimestampTz now = GetCurrentTimestamp();
	State *state;

	if (!is_shown())
		return;
	state = begin_change();
	if (phase == EF_COMPARING || phase == EF_READING)
		state->since = now;
	state->phase = phase;
	end_change();
}

void
EfProgressTotal(int64 bytes)
{
	if (!is_shown())
		return;
	begin_change()->bytes_total = bytes;
	end_change();
}

void
EfProgressRead(int64 bytes, int64 records, int64 rejects)
{
	State *state;

	if (!is_shown())
		return;
	state = begin_change();
	state->bytes_done = Min(bytes, state->bytes_total); /* ends of units are read twice */
	state->records = records;
	state->rejects = rejects;
	end_change();
}

void
EfProgressRows(int64 done, int64 total)
{
	State *state;

	if (!is_shown())
		return;
	state = begin_change();
	state->rows_done = done;
	state->rows_total = total;
	end_change();
}

void
EfProgressEnd(void)
{
	Entry *entry = mine;

	if (entry == NULL)
		return;
	begin_change()->database = InvalidOid;
	end_change();
	mine = NULL;
	pg_write_barrier();
	pg_atomic_write_u32(&entry->pid, 0);
}

void
EfProgressPause(void)
{
	paused++;
}

void
EfProgressResume(void)
{
	paused--;
}

/* --- reading it --- */

static State
read_state(Entry *entry)
{
	for (;;)
	{
		uint32 before = pg_atomic_read_u32(&entry->changes);
		State state;

		pg_read_barrier();
		state = *(volatile State *) &entry->state;
		pg_read_barrier();
		if (before % 2 == 0 && pg_atomic_read_u32(&entry->changes) == before)
			return state;
		CHECK_FOR_INTERRUPTS();
	}
}

/* The part of all work that is done, from 0 to 1. */
static double
part_done(const State *state)
{
	double reading = state->bytes_total > 0 ? (double) state->bytes_done / (double) state->bytes_total : 1;
	double writing = state->rows_total > 0 ? (double) state->rows_done / (double) state->rows_total : 0;

	return READING_PART * reading + (1 - READING_PART) * writing;
}

static void
fill(EfProgress *p, const State *state)
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
	double seconds = EfElapsedSince(state->since);
	double done = part_done(state);

	*p = (EfProgress){
		.run_id = state->run_id,
		.pid = state->pid,
		.role = state->role,
		.phase = phases[state->phase],
		.bytes_done = state->bytes_done,
		.bytes_total = state->bytes_total,
		.records = state->records,
		.rejects = state->rejects,
		.rows_done = state->rows_done,
		.rows_total = state->rows_total,
		.started = state->started,
		.rate = -1,
		.left = -1,
	};
	if (state->phase >= EF_COMPARING && state->phase < EF_WRITING && seconds > 0)
		p->rate = (double) state->bytes_done / seconds;
	if (state->phase >= EF_READING && state->phase <= EF_WRITING && done > 0)
		p->left = Max(seconds, 0) * (1 - done) / done;
}

bool
EfProgressNext(Oid table, int *next, EfProgress *progress)
{
	attach();
	while (*next < ENTRIES)
	{
		State state = read_state(&entries[(*next)++]);

		if (state.database != MyDatabaseId || state.table != table)
			continue;
		fill(progress, &state);
		return true;
	}
	return false;
}
