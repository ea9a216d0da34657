/*
 * derive_tuples.c
 *		The job that makes features of what was read, a partition at a time.
 *
 *	users by partition -------.
 *	                          +-> EfAggregate -> tuples, by partition
 *	experiments by partition -'
 */
#include "postgres.h"

#include "derive_pack.h"
#include "derive_tuples.h"
#include "grow.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "sort_ids.h"
#include "store_form.h"
#include "utils/memutils.h"

static int tuples_job;

struct EfTupleMaker
{
	EfTeam *team;
	EfTuplesShared *shared;
	EfRanks ranks;
	EfAggregate *aggregate;
	MemoryContext compounds; /* texts of all of them */
	MemoryContext partition; /* what goes with one */
	EfStreamReader *users;
	EfStreamReader *experiments;
	EfStreamWriter *tuples;
	StringInfoData tuple; /* the one being made */
	pg_atomic_uint32 *derived;
	const EfUserBlock *user_blocks; /* NULL: users are by partition */
};

/* Is given one block of a stream. */
typedef void (*BlockFn)(EfTupleMaker *maker, const char *data, size_t len);

/* Gives all blocks of a stream to fn. Copies of blocks in files are freed unless they stay. */
static void
read_stream(EfTupleMaker *maker, EfStreamReader *reader, uint32 stream, BlockFn fn, bool stay)
{
	for (uint32 member = 0; member < maker->team->nmembers; member++)
	{
		uint32 n = EfStreamCount(reader, stream, member);

		for (uint32 block = 0; block < n; block++)
		{
			size_t len;
			bool copied;
			char *data = EfStreamBlock(reader, stream, member, block, &len, &copied);

			fn(maker, data, len);
			if (copied && !stay)
				pfree(data);
		}
	}
}

static void
take_compounds(EfTupleMaker *maker, const char *data, size_t len)
{
	const char *end = data + len;

	while (data < end)
	{
		EfCompound compound;

		data = EfUnpackCompound(data, &compound);
		EfAggregateCompound(maker->aggregate, &compound);
	}
}

static void
load_compounds(EfTupleMaker *maker)
{
	EfStreamReader *reader = EfStreamReadBegin(&maker->team->pool, &maker->shared->compounds);
	MemoryContext old = MemoryContextSwitchTo(maker->compounds);

	read_stream(maker, reader, 0, take_compounds, true);
	MemoryContextSwitchTo(old);
	EfStreamReadEnd(reader);
}

/* Users as they were scattered: in any order. */
static void
take_users(EfTupleMaker *maker, const char *data, size_t len)
{
	const char *end = data + len;

	while (data < end)
	{
		EfUser user;
		uint32 rank = 0;
		uint32 mask = ((uint32) 1 << maker->shared->partitions.shift) - 1;

		(void) EfUnpackUser(data, &user);
		(void) EfRanksFind(&maker->ranks, user.user_id, &rank);
		data = EfAggregateUser(maker->aggregate, rank & mask, data);
	}
}

/* The last block whose first user is of that rank or a lower one. */
static uint32
find_block(const EfTupleMaker *maker, uint64 rank)
{
	uint32 low = 0;
	uint32 high = maker->shared->users.nblocks;

	while (high - low > 1)
	{
		uint32 middle = low + (high - low) / 2;

		if (maker->user_blocks[middle].first <= rank)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The users of n ranks, out of blocks that have them in order. */
static void
take_users_in_order(EfTupleMaker *maker, uint64 first, uint64 n)
{
	for (uint32 i = find_block(maker, first);
		 i < maker->shared->users.nblocks && maker->user_blocks[i].first < first + n; i++)
	{
		const EfUserBlock *block = &maker->user_blocks[i];
		uint64 rank = block->first;
		size_t len;
		bool copied;
		const char *at = EfStreamBlock(maker->users, 0, block->member, block->block, &len, &copied);
		const char *end = at + len;

		for (; at < end && rank < first + n; rank++)
		{
			EfUser user;

			if (rank < first)
				at = EfUnpackUser(at, &user);
			else
				at = EfAggregateUser(maker->aggregate, (uint32) (rank - first), at);
		}
	}
}

static void
take_experiments(EfTupleMaker *maker, const char *data, size_t len)
{
	EfAggregateExperiments(maker->aggregate, data, len);
}

/* Writes the tuples of one partition, one after the other. */
static void
write_tuples(EfTupleMaker *maker, uint32 partition)
{
	EfFeatures features;

	while (EfAggregateNext(maker->aggregate, &maker->shared->totals, &features))
	{
		EfTupleHeader packed = {.user_id = features.user.user_id};
		HeapTupleData tuple;
		char *to;

		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&maker->tuple);
		if (EfFormFeatures(&features, maker->shared->view, &maker->tuple, &tuple))
			packed.len = tuple.t_len;
		to = EfStreamRoom(maker->tuples, partition, sizeof(packed) + MAXALIGN(packed.len));
		memcpy(to, &packed, sizeof(packed));
		if (packed.len > 0)
			memcpy(to + sizeof(packed), tuple.t_data, packed.len);
		EfStreamWrote(maker->tuples, partition, to + sizeof(packed) + MAXALIGN(packed.len));
	}
}

static void
derive_partition(EfTupleMaker *maker, uint32 partition)
{
	MemoryContext old = MemoryContextSwitchTo(maker->partition);
	uint64 first = (uint64) partition << maker->shared->partitions.shift;
	uint64 n = Min((uint64) 1 << maker->shared->partitions.shift, maker->ranks.count - first);

	EfAggregateReset(maker->aggregate, (uint32) n);
	if (maker->user_blocks != NULL)
		take_users_in_order(maker, first, n);
	else
		read_stream(maker, maker->users, partition, take_users, true);
	read_stream(maker, maker->experiments, partition, take_experiments, false);
	EfStreamRelease(maker->experiments, partition);
	write_tuples(maker, partition);
	EfStreamFinish(maker->tuples, partition);
	if (maker->user_blocks == NULL)
		EfStreamRelease(maker->users, partition);
	MemoryContextSwitchTo(old);
	MemoryContextReset(maker->partition);

	/* who sees this sees the tuples */
	pg_write_barrier();
	pg_atomic_write_u32(&maker->derived[partition], 1);
	EfTeamWake(maker->team);
}

/* The leader counts the ids that were unknown to any member. */
static void
write_unknown(EfTupleMaker *maker)
{
	EfStreamWriter *writer = EfStreamWriteBegin(&maker->team->pool, &maker->shared->unknown,
												maker->team->member);
	uint32 n;
	int64 *ids = EfAggregateUnknownCompounds(maker->aggregate, &n);

	for (uint32 i = 0; i < n; i++)
	{
		char *to = EfStreamRoom(writer, 0, sizeof(int64));

		memcpy(to, &ids[i], sizeof(int64));
		EfStreamWrote(writer, 0, to + sizeof(int64));
	}
	pfree(ids);
	EfStreamWriteEnd(writer);
}

static EfTupleMaker *
begin_maker(EfTeam *team)
{
	EfTuplesShared *shared = EfTuplesSharedOf(team);
	EfTupleMaker *maker = MemoryContextAllocZero(team->context, sizeof(EfTupleMaker));

	maker->team = team;
	maker->shared = shared;
	EfRanksAttach(&team->pool, &shared->partitions.ranks, &maker->ranks);
	maker->derived = EfPoolAddress(&team->pool, shared->derived);
	if (DsaPointerIsValid(shared->users.blocks))
		maker->user_blocks = EfPoolAddress(&team->pool, shared->users.blocks);
	maker->compounds = AllocSetContextCreate(team->context, "eikon_features compounds",
											 ALLOCSET_DEFAULT_SIZES);
	maker->partition = AllocSetContextCreate(team->context, "eikon_features partition",
											 ALLOCSET_DEFAULT_SIZES);
	maker->aggregate = EfAggregateBegin(team->context, (uint32) 1 << shared->partitions.shift);
	maker->users = EfStreamReadBegin(&team->pool, &shared->users.streams);
	maker->experiments = EfStreamReadBegin(&team->pool, &shared->experiments);
	maker->tuples = EfStreamWriteBegin(&team->pool, &shared->tuples, team->member);
	initStringInfo(&maker->tuple);
	load_compounds(maker);
	return maker;
}

static void
end_maker(EfTupleMaker *maker)
{
	write_unknown(maker);
	EfStreamWriteEnd(maker->tuples);
	EfStreamReadEnd(maker->users);
	EfStreamReadEnd(maker->experiments);
	EfAggregateEnd(maker->aggregate);
	MemoryContextDelete(maker->partition);
	MemoryContextDelete(maker->compounds);
	pfree(maker->tuple.data);
	pfree(maker);
}

/*
 * A worker's part. A piece of this job is one partition; it is not begun before
 * those that lie far enough before it have been given out, for tuples take memory.
 */
static void
make_tuples(EfTeam *team, void *arg)
{
	EfTuplesShared *shared = arg;
	MemoryContext old = MemoryContextSwitchTo(team->context);
	uint32 ahead = EfTuplesAhead(team);
	EfTupleMaker *maker = NULL;

	for (;;)
	{
		uint32 partition = EfTeamNext(team);

		if (partition >= shared->partitions.n)
			break;
		if (maker == NULL)
			maker = begin_maker(team);
		EfTeamWaitBegin(team);
		while (partition >= pg_atomic_read_u32(&shared->given) + ahead)
			EfTeamWait(team);
		EfTeamWaitEnd(team);
		derive_partition(maker, partition);
	}
	if (maker != NULL)
		end_maker(maker);
	MemoryContextSwitchTo(old);
}

void
EfTuplesInit(void)
{
	tuples_job = EfTeamAddJob(make_tuples, sizeof(EfTuplesShared));
}

EfTuplesShared *
EfTuplesSharedOf(const EfTeam *team)
{
	return EfTeamJobShared(team, tuples_job);
}

/* --- the leader's part --- */

EfTupleMaker *
EfTuplesBegin(EfTeam *team, int64 bytes)
{
	EfTuplesShared *shared = EfTuplesSharedOf(team);
	uint32 n = shared->partitions.n;

	shared->derived = EfPoolAlloc(&team->pool, sizeof(pg_atomic_uint32) * n);
	pg_atomic_init_u32(&shared->given, 0);
	EfTeamBeginStreams(team, &shared->tuples, n, bytes);
	shared->tuples.in_memory = true;
	EfTeamBeginStreams(team, &shared->unknown, 1, EF_BLOCK_LEAST);
	EfTeamStart(team, tuples_job);
	return begin_maker(team);
}

static bool
is_derived(const EfTupleMaker *maker, uint32 partition)
{
	if (pg_atomic_read_u32(&maker->derived[partition]) == 0)
		return false;
	pg_read_barrier();
	return true;
}

void
EfTuplesAwait(EfTupleMaker *maker, uint32 partition)
{
	EfTeam *team = maker->team;
	uint32 n = maker->shared->partitions.n;
	uint32 end = Min(n, partition + EfTuplesAhead(team));

	while (!is_derived(maker, partition))
	{
		if (EfTeamPeek(team) < end)
		{
			uint32 next = EfTeamNext(team);

			if (next < n)
				derive_partition(maker, next);
			continue;
		}
		EfTeamWaitBegin(team);
		while (!is_derived(maker, partition))
			EfTeamWait(team);
		EfTeamWaitEnd(team);
	}
}

/* Distinct ids among those that members found unknown. */
static int64
count_unknown(EfTeam *team)
{
	EfStreamReader *reader = EfStreamReadBegin(&team->pool, &EfTuplesSharedOf(team)->unknown);
	int64 *ids = NULL;
	size_t capacity = 0;
	size_t n = 0;
	size_t distinct = 0;

	for (uint32 member = 0; member < team->nmembers; member++)
	{
		for (uint32 block = 0; block < EfStreamCount(reader, 0, member); block++)
		{
			size_t len;
			bool copied;
			char *data = EfStreamBlock(reader, 0, member, block, &len, &copied);

			if (n + len / sizeof(int64) > capacity)
			{
				capacity = Max(capacity * 2, n + len / sizeof(int64));
				ids = EfGrow(CurrentMemoryContext, ids, capacity * sizeof(int64));
			}
			memcpy(ids + n, data, len);
			n += len / sizeof(int64);
			if (copied)
				pfree(data);
		}
	}
	EfStreamReadEnd(reader);
	if (n > 0)
		EfSortIds(ids, n);
	for (size_t i = 0; i < n; i++)
		distinct += i == 0 || ids[i] != ids[i - 1];
	if (ids != NULL)
		pfree(ids);
	return (int64) distinct;
}

int64
EfTuplesEnd(EfTupleMaker *maker)
{
	EfTeam *team = maker->team;

	end_maker(maker);
	EfTeamFinish(team);
	return count_unknown(team);
}
