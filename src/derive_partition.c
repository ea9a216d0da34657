/*
 * derive_partition.c
 *		Plans partitions, and the job of scattering users to them.
 */
#include "postgres.h"

#include "derive_pack.h"
#include "derive_partition.h"

/* A partition has about so much of packed rows, and at most so many users. */
#define PARTITION_BYTES (768 * 1024)
#define PARTITION_USERS (16 * 1024)
#define PARTITIONS_MOST 1024

/* The job's memory. */
typedef struct ScatterShared
{
	EfPartitions partitions;
	EfStreams rows;	 /* users, packed, as they were read */
	EfStreams users; /* the same by partition */
} ScatterShared;

static int scatter_job;

void
EfPartitionsPlan(EfPartitions *partitions, EfPool *pool, EfStreams *logs, const EfUnits *units,
				 const int64 *bytes)
{
	EfRanksShared *ranks = &partitions->ranks;
	EfStreamReader *reader = EfStreamReadBegin(pool, logs);
	EfIdRun *runs = EfUnitsIds(units);
	double packed;
	double wanted;
	uint64 users;

	EfRanksBuild(pool, ranks, reader, runs, (int) units->n);
	EfStreamReadEnd(reader);
	pfree(runs);

	packed = Max((double) bytes[EF_EXPERIMENTS] * EF_PACKED_PART, (double) bytes[EF_USERS]);
	wanted = Max(packed / PARTITION_BYTES, (double) ranks->count / PARTITION_USERS);
	users = (uint64) ((double) ranks->count / Max(1, Min(wanted, PARTITIONS_MOST)));
	partitions->shift = 0;
	while (((uint64) 1 << partitions->shift) < users)
		partitions->shift++;
	partitions->n = (uint32) ((ranks->count + ((uint64) 1 << partitions->shift) - 1) >> partitions->shift);
	partitions->n = Max(1, partitions->n);
}

/* Lists the blocks of users, who came in the order of their ids. */
static void
list_blocks(EfPool *pool, EfUsersShared *users, const EfUnits *units)
{
	EfStreamReader *rows = EfStreamReadBegin(pool, &users->streams);
	EfUserBlock *blocks;
	uint64 rank = 0;

	users->nblocks = 0;
	for (uint32 i = 0; i < units->n; i++)
		users->nblocks += units->units[i].nrow_blocks;
	users->blocks = EfPoolAlloc(pool, sizeof(EfUserBlock) * ((size_t) users->nblocks + 1));
	blocks = EfPoolAddress(pool, users->blocks);
	for (uint32 i = 0; i < units->n; i++)
	{
		const EfUnit *unit = &units->units[i];

		for (uint32 j = 0; j < unit->nrow_blocks; j++)
		{
			blocks->member = unit->member;
			blocks->block = unit->row_block + j;
			blocks->first = rank + EfStreamBlockTag(rows, 0, unit->member, blocks->block);
			blocks++;
		}
		rank += (uint64) unit->ids.count;
	}
	EfStreamReadEnd(rows);
}

void
EfPartitionUsers(EfTeam *team, const EfPartitions *partitions, const EfStreams *rows,
				 const EfUnits *units, int64 bytes, EfUsersShared *users)
{
	EfIdRun *runs = EfUnitsIds(units);

	if (EfIdsAscend(runs, (int) units->n))
	{
		users->streams = *rows;
		list_blocks(&team->pool, users, units);
	}
	else
	{
		ScatterShared *shared = EfTeamJobShared(team, scatter_job);

		shared->partitions = *partitions;
		shared->rows = *rows;
		EfTeamBeginStreams(team, &shared->users, partitions->n, bytes);
		EfTeamDo(team, scatter_job);
		EfStreamsEnd(&team->pool, &shared->rows);
		users->streams = shared->users;
		users->blocks = InvalidDsaPointer;
		users->nblocks = 0;
	}
	pfree(runs);
}

/* --- the job --- */

/* Writes the users of one block to the partitions that they belong to. */
static void
scatter_block(const EfRanks *ranks, int shift, EfStreamWriter *writer, const char *data,
			  size_t len)
{
	const char *end = data + len;

	while (data < end)
	{
		const char *next;
		uint32 rank = 0;
		uint32 partition;
		EfUser user;
		char *to;

		next = EfUnpackUser(data, &user);
		(void) EfRanksFind(ranks, user.user_id, &rank);
		partition = rank >> shift;
		to = EfStreamRoom(writer, partition, (size_t) (next - data));
		memcpy(to, data, (size_t) (next - data));
		EfStreamWrote(writer, partition, to + (next - data));
		data = next;
	}
}

/* A piece of this job is one block, counted over all members. */
static void
scatter_users(EfTeam *team, void *arg)
{
	ScatterShared *shared = arg;
	EfStreamReader *rows = EfStreamReadBegin(&team->pool, &shared->rows);
	EfStreamWriter *users = EfStreamWriteBegin(&team->pool, &shared->users, team->member);
	uint32 number = EfTeamNext(team);
	uint32 before = 0;
	EfRanks ranks;

	EfRanksAttach(&team->pool, &shared->partitions.ranks, &ranks);
	for (uint32 member = 0; member < team->nmembers; member++)
	{
		uint32 n = EfStreamCount(rows, 0, member);

		for (; number - before < n; number = EfTeamNext(team))
		{
			size_t len;
			bool copied;
			char *data = EfStreamBlock(rows, 0, member, number - before, &len, &copied);

			scatter_block(&ranks, shared->partitions.shift, users, data, len);
			if (copied)
				pfree(data);
		}
		before += n;
	}
	EfStreamReadEnd(rows);
	EfStreamWriteEnd(users);
}

void
EfPartitionInit(void)
{
	scatter_job = EfTeamAddJob(scatter_users, sizeof(ScatterShared));
}
