/*
 * derive_tuples.h
 *		The job of deriving: a partition's users and experiments -> tuples.
 *
 * It goes on while the leader gives out tuples: the leader does its part when
 * those that it needs are not there yet.
 */
#ifndef EF_DERIVE_TUPLES_H
#define EF_DERIVE_TUPLES_H

#include "derive_aggregate.h"
#include "derive_partition.h"

/* Adds the job. */
extern void EfTuplesInit(void);

/* The job's memory. */
typedef struct EfTuplesShared
{
	/* for the leader to fill in before EfTuplesBegin */
	EfPartitions partitions;
	EfUsersShared users;
	EfStreams compounds;
	EfStreams experiments; /* by partition, packed */
	EfTotals totals;
	bool view; /* rows of features, else of eikon_user_features */

	dsa_pointer derived;	/* pg_atomic_uint32, by partition: its tuples are there */
	pg_atomic_uint32 given; /* partitions whose tuples were given out */
	EfStreams tuples;		/* by partition: EfTupleHeader and tuple, one after the other */
	EfStreams unknown;		/* compound ids */
} EfTuplesShared;

extern EfTuplesShared *EfTuplesSharedOf(const EfTeam *team);

/* What stands before a tuple, MAXALIGNed as that. */
typedef struct EfTupleHeader
{
	int64 user_id;
	uint32 len; /* 0: the user's total run time is out of range */
} EfTupleHeader;

/* One member's part. */
typedef struct EfTupleMaker EfTupleMaker;

/* Partitions whose tuples may wait to be given out. */
static inline uint32
EfTuplesAhead(const EfTeam *team)
{
	return 2 * team->nmembers + 2;
}

/* Lets the team begin; bytes are those of all tuples, roughly. Returns the leader's part. */
extern EfTupleMaker *EfTuplesBegin(EfTeam *team, int64 bytes);

/* Derives until a partition's tuples are there; waits if another member is at it. */
extern void EfTuplesAwait(EfTupleMaker *maker, uint32 partition);

/* Ends the job; returns how many compounds were unknown. */
extern int64 EfTuplesEnd(EfTupleMaker *maker);

#endif /* EF_DERIVE_TUPLES_H */
