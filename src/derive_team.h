/*
 * derive_team.h
 *		A team: this process and as many of PostgreSQL's parallel workers as there
 *		are to be had, which do one job after the other together.
 *
 * Any number of workers may be missing, come late or not come at all: what is to
 * be done is shared out as it goes, in pieces that whoever is free takes next.
 */
#ifndef EF_DERIVE_TEAM_H
#define EF_DERIVE_TEAM_H

#include "derive_stream.h"
#include "port/atomics.h"

/* Defines eikon_features.parallel_workers. */
extern void EfTeamInit(void);

/* A member's own side of it. */
typedef struct EfTeam
{
	struct EfTeamShared *shared;
	struct ParallelContext *workers; /* of the leader */
	uint32 member;					 /* 0: the leader */
	uint32 nmembers;				 /* that there can be */
	EfPool pool;
	char *data;			   /* shared: that of all jobs */
	MemoryContext context; /* lives as long as the team */
} EfTeam;

/*
 * A job, as it is done by one member. shared is the job's own memory, which all
 * members see, as the leader has prepared it.
 */
typedef void (*EfJobFn)(EfTeam *team, void *shared);

/*
 * Adds a job for which each team has size bytes of shared memory, zeroed at first.
 * Returns the number to start it by, which is the same in all processes: to be
 * called by _PG_init.
 */
extern int EfTeamAddJob(EfJobFn fn, size_t size);

/* What the leader prepares for a job. It moves when the workers are dismissed. */
extern void *EfTeamJobShared(const EfTeam *team, int job);

/* How many workers this session may ask for. */
extern int EfTeamWorkers(void);

/* Begins a team of up to nworkers workers, with a pool. */
extern EfTeam *EfTeamBegin(MemoryContext parent, int nworkers);

/* Begins streams, which each member may write, that will hold about so many bytes. */
extern void EfTeamBeginStreams(EfTeam *team, EfStreams *streams, uint32 nstreams, int64 bytes);

/* Does a job; returns when all members have done their part. */
extern void EfTeamDo(EfTeam *team, int job);

/* The same in steps, for a leader that does its part in a way of its own. */
extern void EfTeamStart(EfTeam *team, int job);
extern void EfTeamFinish(EfTeam *team);

/* The number of the next piece of the job, from 0; and which one it would be. */
extern uint32 EfTeamNext(EfTeam *team);
extern uint32 EfTeamPeek(EfTeam *team);

/* Waits until another member has called EfTeamWake, or for no reason. */
extern void EfTeamWaitBegin(EfTeam *team);
extern void EfTeamWait(EfTeam *team);
extern void EfTeamWaitFor(EfTeam *team, long milliseconds); /* no longer than that */
extern void EfTeamWaitEnd(EfTeam *team);
extern void EfTeamWake(EfTeam *team);

/*
 * Lets the workers go, after which this process may write to tables again. The
 * pool stays, and a copy of the shared memory.
 */
extern void EfTeamDismiss(EfTeam *team);

extern void EfTeamEnd(EfTeam *team);

#endif /* EF_DERIVE_TEAM_H */
