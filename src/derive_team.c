/*
 * derive_team.c
 *		A team of processes.
 *
 *	leader    ... prepares | does a job with the others | prepares | ... | dismisses
 *	worker        waits    | does the job               | waits    | ... | exits
 *
 * Both lines are crossed at a barrier. A worker that comes late joins at whatever
 * is going on. An error in a worker reaches the leader as an interrupt
 * while it waits, and ends the team, as an error of the leader does.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "derive_team.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/barrier.h"
#include "storage/shm_toc.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define KEY_TEAM 1
#define KEY_DATA 2

/* What the number of a job says when there are no more. */
#define NO_JOB (-1)

#define JOBS_MOST 8

/* Streams have blocks of at most so many bytes. */
#define BLOCK_MOST (64 * 1024)

typedef struct Job
{
	EfJobFn fn;
	size_t offset; /* of its memory in the team's */
} Job;

typedef struct EfTeamShared
{
	Barrier barrier;
	uint32 nmembers;
	int job;
	pg_atomic_uint32 next;
	ConditionVariable news;
	EfPoolShared pool;
} EfTeamShared;

static int parallel_workers = -1;
static Job jobs[JOBS_MOST];
static int njobs;
static size_t data_size; /* of all jobs' memory */

PGDLLEXPORT void EfTeamWorker(dsm_segment *segment, shm_toc *toc);

void
EfTeamInit(void)
{
	/*
	 * Lower it where other sessions need the processors more; raise it above
	 * max_parallel_workers to no effect.
	 */
	DefineCustomIntVariable("eikon_features.parallel_workers",
							"Parallel workers that a derivation may use.",
							"-1 is one less than there are processors.",
							&parallel_workers, -1, -1, 1024,
							PGC_USERSET, 0, NULL, NULL, NULL);
}

int
EfTeamAddJob(EfJobFn fn, size_t size)
{
	Assert(njobs < JOBS_MOST);
	jobs[njobs].fn = fn;
	jobs[njobs].offset = data_size;
	data_size += MAXALIGN(size);
	return njobs++;
}

void *
EfTeamJobShared(const EfTeam *team, int job)
{
	return team->data + jobs[job].offset;
}

int
EfTeamWorkers(void)
{
	int workers = parallel_workers;

	if (workers < 0)
		workers = Max((int) sysconf(_SC_NPROCESSORS_ONLN), 1) - 1;
	return IsParallelWorker() ? 0 : Min(workers, max_parallel_workers);
}

static EfTeam *
begin_member(MemoryContext parent, EfTeamShared *shared, char *data, uint32 member)
{
	MemoryContext context = AllocSetContextCreate(parent, "eikon_features team",
												  ALLOCSET_DEFAULT_SIZES);
	EfTeam *team = MemoryContextAllocZero(context, sizeof(EfTeam));

	team->context = context;
	team->shared = shared;
	team->data = data;
	team->member = member;
	team->nmembers = shared->nmembers;
	return team;
}

EfTeam *
EfTeamBegin(MemoryContext parent, int nworkers)
{
	ParallelContext *workers;
	EfTeamShared *shared;
	EfTeam *team;
	char *data;

	EnterParallelMode();
	workers = CreateParallelContext("eikon_features", "EfTeamWorker", nworkers);
	shm_toc_estimate_chunk(&workers->estimator, sizeof(EfTeamShared));
	shm_toc_estimate_chunk(&workers->estimator, data_size);
	shm_toc_estimate_keys(&workers->estimator, 2);
	InitializeParallelDSM(workers);

	shared = shm_toc_allocate(workers->toc, sizeof(EfTeamShared));
	memset(shared, 0, sizeof(*shared));
	shared->nmembers = (uint32) workers->nworkers + 1;
	data = shm_toc_allocate(workers->toc, data_size);
	memset(data, 0, data_size);
	shm_toc_insert(workers->toc, KEY_TEAM, shared);
	shm_toc_insert(workers->toc, KEY_DATA, data);

	team = begin_member(parent, shared, data, 0);
	team->workers = workers;
	ConditionVariableInit(&shared->news);
	BarrierInit(&shared->barrier, 0);
	(void) BarrierAttach(&shared->barrier);
	EfPoolBegin(&team->pool, &shared->pool, EfPoolLimit(), team->context);
	if (workers->nworkers > 0)
		LaunchParallelWorkers(workers);
	return team;
}

static uint32
block_size(const EfTeam *team, uint32 nstreams, int64 bytes)
{
	uint64 most = Min((uint64) bytes, team->pool.shared->limit / 8);
	uint64 size = most / ((uint64) nstreams * team->nmembers);

	return (uint32) Max(EF_BLOCK_LEAST, Min(BLOCK_MOST, size / EF_BLOCK_LEAST * EF_BLOCK_LEAST));
}

void
EfTeamBeginStreams(EfTeam *team, EfStreams *streams, uint32 nstreams, int64 bytes)
{
	EfStreamsBegin(&team->pool, streams, nstreams, team->nmembers,
				   block_size(team, nstreams, bytes));
}

void
EfTeamStart(EfTeam *team, int job)
{
	EfTeamShared *shared = team->shared;

	Assert(team->workers != NULL && job >= 0 && job < njobs);
	shared->job = job;
	pg_atomic_write_u32(&shared->next, 0);
	(void) BarrierArriveAndWait(&shared->barrier, PG_WAIT_EXTENSION);
}

void
EfTeamFinish(EfTeam *team)
{
	(void) BarrierArriveAndWait(&team->shared->barrier, PG_WAIT_EXTENSION);
}

static void
do_job(EfTeam *team, int job)
{
	jobs[job].fn(team, EfTeamJobShared(team, job));
}

void
EfTeamDo(EfTeam *team, int job)
{
	EfTeamStart(team, job);
	do_job(team, job);
	EfTeamFinish(team);
}

uint32
EfTeamPeek(EfTeam *team)
{
	return pg_atomic_read_u32(&team->shared->next);
}

void
EfTeamWaitBegin(EfTeam *team)
{
	ConditionVariablePrepareToSleep(&team->shared->news);
}

void
EfTeamWait(EfTeam *team)
{
	ConditionVariableSleep(&team->shared->news, PG_WAIT_EXTENSION);
}

void
EfTeamWaitFor(EfTeam *team, long milliseconds)
{
	(void) ConditionVariableTimedSleep(&team->shared->news, milliseconds, PG_WAIT_EXTENSION);
}

void
EfTeamWaitEnd(EfTeam *team)
{
	(void) ConditionVariableCancelSleep();
}

void
EfTeamWake(EfTeam *team)
{
	ConditionVariableBroadcast(&team->shared->news);
}

uint32
EfTeamNext(EfTeam *team)
{
	CHECK_FOR_INTERRUPTS();
	return pg_atomic_fetch_add_u32(&team->shared->next, 1);
}

/* A copy that does not go with the parallel context. */
static void *
copy_shared(EfTeam *team, const void *shared, size_t size)
{
	return memcpy(MemoryContextAlloc(team->context, size), shared, size);
}

void
EfTeamDismiss(EfTeam *team)
{
	EfTeamShared *shared = team->shared;

	shared->job = NO_JOB;
	(void) BarrierArriveAndDetach(&shared->barrier);
	WaitForParallelWorkersToFinish(team->workers);
	team->data = copy_shared(team, team->data, data_size);
	team->shared = copy_shared(team, shared, sizeof(*shared));
	team->pool.shared = &team->shared->pool;
	DestroyParallelContext(team->workers);
	team->workers = NULL;
	ExitParallelMode();
}

/* An odd phase of the barrier is a job being done. */
static void
do_jobs(EfTeam *team)
{
	EfTeamShared *shared = team->shared;

	if (BarrierAttach(&shared->barrier) % 2 == 0)
		(void) BarrierArriveAndWait(&shared->barrier, PG_WAIT_EXTENSION);
	while (shared->job != NO_JOB)
	{
		do_job(team, shared->job);
		(void) BarrierArriveAndWait(&shared->barrier, PG_WAIT_EXTENSION);
		(void) BarrierArriveAndWait(&shared->barrier, PG_WAIT_EXTENSION);
	}
	(void) BarrierDetach(&shared->barrier);
}

/* A worker's main function, which PostgreSQL calls by its name. */
void
EfTeamWorker(dsm_segment *segment, shm_toc *toc)
{
	EfTeamShared *shared = shm_toc_lookup(toc, KEY_TEAM, false);
	EfTeam *team = begin_member(CurrentMemoryContext, shared, shm_toc_lookup(toc, KEY_DATA, false),
								(uint32) ParallelWorkerNumber + 1);

	EfPoolAttach(&team->pool, &shared->pool, team->context);
	do_jobs(team);
	EfPoolEnd(&team->pool);
}

void
EfTeamEnd(EfTeam *team)
{
	Assert(team->workers == NULL);
	EfPoolEnd(&team->pool);
	MemoryContextDelete(team->context);
}
