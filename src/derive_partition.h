/*
 * derive_partition.h
 *		Partitions: ranges of users in the order of their ids. All that is known of
 *		the users of one is small enough to stay in a processor's cache.
 */
#ifndef EF_DERIVE_PARTITION_H
#define EF_DERIVE_PARTITION_H

#include "derive_team.h"
#include "derive_units.h"

/* Adds the job of scattering. */
extern void EfPartitionInit(void);

/* In shared memory: which partition a user belongs to. */
typedef struct EfPartitions
{
	EfRanksShared ranks; /* of users */
	int shift;			 /* rank to partition */
	uint32 n;
} EfPartitions;

/* A block of users who came in the order of their ids. */
typedef struct EfUserBlock
{
	uint64 first; /* rank of its first user */
	uint32 member;
	uint32 block;
} EfUserBlock;

/* In shared memory: where the users of a partition are found. */
typedef struct EfUsersShared
{
	EfStreams streams;	/* packed; by partition, or one stream in order */
	dsa_pointer blocks; /* EfUserBlock; or none, where they are by partition */
	uint32 nblocks;
} EfUsersShared;

/*
 * Ranks users, whose ids are in logs, and plans partitions of which each, and its
 * experiments, fits a cache. bytes are those of the files, by kind.
 */
extern void EfPartitionsPlan(EfPartitions *partitions, EfPool *pool, EfStreams *logs,
							 const EfUnits *units, const int64 *bytes);

/*
 * Makes the users of each partition known, who were read as rows. Users that did not
 * come in order are scattered by the team; bytes are those of their files.
 */
extern void EfPartitionUsers(EfTeam *team, const EfPartitions *partitions, const EfStreams *rows,
							 const EfUnits *units, int64 bytes, EfUsersShared *users);

#endif /* EF_DERIVE_PARTITION_H */
