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
	void *data;			   /* shared, of the size asked for */
	MemoryContext context; /* lives as long as the team */
} EfTeam;

/* A job, as it is done by one member. */
typedef void (*EfJobFn)(EfTeam *team);

/* The jobs that there are, by number. To be called by _PG_init. */
extern void EfTeamJobs(const EfJobFn *jobs, int njobs);

/* How many workers this session may ask for. */
extern int EfTeamWorkers(void);

/*
 * Begins a team of up to nworkers workers, with size bytes of shared memory
 * and a pool whose blocks may take limit bytes.
 */
extern EfTeam *EfTeamBegin(MemoryContext parent, int nworkers, size_t size, uint64 limit);

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
