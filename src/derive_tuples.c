/*
 * derive_tuples.c
 *		The jobs that make features of what was read, a partition at a time.
 *
 *	users -> users by partition ---.
 *	                               +-> EfAggregate -> tuples, by partition
 *	experiments by partition ------'
 */
#include "postgres.h"

#include "derive_pack.h"
#include "derive_shared.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "store_form.h"
#include "utils/memutils.h"

/* --- scatter --- */

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
void
EfScatterJob(EfTeam *team)
{
	EfShared *shared = team->data;
	EfStreamReader *rows = EfStreamReadBegin(&team->pool, &shared->rows);
	EfStreamWriter *users = EfStreamWriteBegin(&team->pool, &shared->users, team->member);
	uint32 number = EfTeamNext(team);
	uint32 before = 0;
	EfRanks ranks;

	EfRanksAttach(&team->pool, &shared->ranks, &ranks);
	for (uint32 member = 0; member < team->nmembers; member++)
	{
		uint32 n = EfStreamCount(rows, 0, member);

		for (; number - before < n; number = EfTeamNext(team))
		{
			size_t len;
			bool copied;
			char *data = EfStreamBlock(rows, 0, member, number - before, &len, &copied);

			scatter_block(&ranks, shared->shift, users, data, len);
			if (copied)
				pfree(data);
		}
		before += n;
	}
	EfStreamReadEnd(rows);
	EfStreamWriteEnd(users);
}

/* --- derive --- */

struct EfTupleMaker
{
	EfTeam *team;
	EfShared *shared;
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
typedef void (*BlockFn)(EfTupleMaker *d, const char *data, size_t len);

/* Gives all blocks of a stream to fn; those that lie in files are left to the context. */
static void
read_stream(EfTupleMaker *d, EfStreamReader *reader, uint32 stream, BlockFn fn, bool keep)
{
	for (uint32 member = 0; member < d->team->nmembers; member++)
	{
		uint32 n = EfStreamCount(reader, stream, member);

		for (uint32 block = 0; block < n; block++)
		{
			size_t len;
			bool copied;
			char *data = EfStreamBlock(reader, stream, member, block, &len, &copied);

			fn(d, data, len);
			if (copied && !keep)
				pfree(data);
		}
	}
}

static void
take_compounds(EfTupleMaker *d, const char *data, size_t len)
{
	const char *end = data + len;

	while (data < end)
	{
		EfCompound compound;

		data = EfUnpackCompound(data, &compound);
		EfAggregateCompound(d->aggregate, &compound);
	}
}

static void
read_compounds(EfTupleMaker *d)
{
	EfStreamReader *reader = EfStreamReadBegin(&d->team->pool, &d->shared->compounds);
	MemoryContext old = MemoryContextSwitchTo(d->compounds);

	read_stream(d, reader, 0, take_compounds, true);
	MemoryContextSwitchTo(old);
	EfStreamReadEnd(reader);
}

/* Users as they were scattered: in any order. */
static void
take_users(EfTupleMaker *d, const char *data, size_t len)
{
	const char *end = data + len;

	while (data < end)
	{
		EfUser user;
		uint32 rank = 0;
		uint32 mask = ((uint32) 1 << d->shared->shift) - 1;

		(void) EfUnpackUser(data, &user);
		(void) EfRanksFind(&d->ranks, user.user_id, &rank);
		data = EfAggregateUser(d->aggregate, rank & mask, data);
	}
}

/* The last block whose first user is of that rank or a lower one. */
static uint32
find_block(const EfTupleMaker *d, uint64 rank)
{
	uint32 low = 0;
	uint32 high = d->shared->nuser_blocks;

	while (high - low > 1)
	{
		uint32 middle = low + (high - low) / 2;

		if (d->user_blocks[middle].first <= rank)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* The users of n ranks, out of blocks that have them in order. */
static void
take_users_in_order(EfTupleMaker *d, uint64 first, uint64 n)
{
	for (uint32 i = find_block(d, first);
		 i < d->shared->nuser_blocks && d->user_blocks[i].first < first + n; i++)
	{
		const EfUserBlock *block = &d->user_blocks[i];
		uint64 rank = block->first;
		size_t len;
		bool copied;
		const char *at = EfStreamBlock(d->users, 0, block->member, block->block, &len, &copied);
		const char *end = at + len;

		for (; at < end && rank < first + n; rank++)
		{
			EfUser user;

			if (rank < first)
				at = EfUnpackUser(at, &user);
			else
				at = EfAggregateUser(d->aggregate, (uint32) (rank - first), at);
		}
	}
}

static void
take_experiments(EfTupleMaker *d, const char *data, size_t len)
{
	EfAggregateExperiments(d->aggregate, data, len);
}

/* Writes the tuples of one partition, one after the other. */
static void
write_tuples(EfTupleMaker *d, uint32 partition)
{
	EfFeatures features;

	while (EfAggregateNext(d->aggregate, &d->shared->totals, &features))
	{
		EfPackedTuple packed = {.user_id = features.user.user_id};
		HeapTupleData tuple;
		char *to;

		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&d->tuple);
		if (EfFormFeatures(&features, d->shared->view, &d->tuple, &tuple))
			packed.len = tuple.t_len;
		to = EfStreamRoom(d->tuples, partition, sizeof(packed) + MAXALIGN(packed.len));
		memcpy(to, &packed, sizeof(packed));
		if (packed.len > 0)
			memcpy(to + sizeof(packed), tuple.t_data, packed.len);
		EfStreamWrote(d->tuples, partition, to + sizeof(packed) + MAXALIGN(packed.len));
	}
}

void
EfTupleMakerDerive(EfTupleMaker *d, uint32 partition)
{
	MemoryContext old = MemoryContextSwitchTo(d->partition);
	uint64 first = (uint64) partition << d->shared->shift;
	uint64 n = Min((uint64) 1 << d->shared->shift, d->ranks.count - first);

	EfAggregateReset(d->aggregate, (uint32) n);
	if (d->user_blocks != NULL)
		take_users_in_order(d, first, n);
	else
		read_stream(d, d->users, partition, take_users, true);
	read_stream(d, d->experiments, partition, take_experiments, false);
	EfStreamRelease(d->experiments, partition);
	write_tuples(d, partition);
	EfStreamFinish(d->tuples, partition);
	if (d->user_blocks == NULL)
		EfStreamRelease(d->users, partition);
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->partition);

	/* who sees this sees the tuples */
	pg_write_barrier();
	pg_atomic_write_u32(&d->derived[partition], 1);
	EfTeamWake(d->team);
}

/* The leader counts the ids that were unknown to any member. */
static void
write_unknown(EfTupleMaker *d)
{
	EfStreamWriter *writer = EfStreamWriteBegin(&d->team->pool, &d->shared->unknown,
												d->team->member);
	uint32 n;
	int64 *ids = EfAggregateUnknownCompounds(d->aggregate, &n);

	for (uint32 i = 0; i < n; i++)
	{
		char *to = EfStreamRoom(writer, 0, sizeof(int64));

		memcpy(to, &ids[i], sizeof(int64));
		EfStreamWrote(writer, 0, to + sizeof(int64));
	}
	pfree(ids);
	EfStreamWriteEnd(writer);
}

EfTupleMaker *
EfTupleMakerBegin(EfTeam *team)
{
	EfShared *shared = team->data;
	EfTupleMaker *d = MemoryContextAllocZero(team->context, sizeof(EfTupleMaker));

	d->team = team;
	d->shared = shared;
	EfRanksAttach(&team->pool, &shared->ranks, &d->ranks);
	d->derived = EfPoolAddress(&team->pool, shared->derived);
	if (DsaPointerIsValid(shared->user_blocks))
		d->user_blocks = EfPoolAddress(&team->pool, shared->user_blocks);
	d->compounds = AllocSetContextCreate(team->context, "eikon_features compounds",
										 ALLOCSET_DEFAULT_SIZES);
	d->partition = AllocSetContextCreate(team->context, "eikon_features partition",
										 ALLOCSET_DEFAULT_SIZES);
	d->aggregate = EfAggregateBegin(team->context, (uint32) 1 << shared->shift);
	d->users = EfStreamReadBegin(&team->pool, &shared->users);
	d->experiments = EfStreamReadBegin(&team->pool, &shared->experiments);
	d->tuples = EfStreamWriteBegin(&team->pool, &shared->tuples, team->member);
	initStringInfo(&d->tuple);
	read_compounds(d);
	return d;
}

void
EfTupleMakerEnd(EfTupleMaker *d)
{
	write_unknown(d);
	EfStreamWriteEnd(d->tuples);
	EfStreamReadEnd(d->users);
	EfStreamReadEnd(d->experiments);
	EfAggregateEnd(d->aggregate);
	MemoryContextDelete(d->partition);
	MemoryContextDelete(d->compounds);
	pfree(d->tuple.data);
	pfree(d);
}

/*
 * A worker's part. A piece of this job is one partition; it is not begun before
 * those that lie far enough before it have been given out, for tuples take memory.
 */
void
EfTuplesJob(EfTeam *team)
{
	EfShared *shared = team->data;
	MemoryContext old = MemoryContextSwitchTo(team->context);
	uint32 ahead = EF_DERIVE_AHEAD(team->nmembers);
	EfTupleMaker *d = NULL;

	for (;;)
	{
		uint32 partition = EfTeamNext(team);

		if (partition >= shared->npartitions)
			break;
		if (d == NULL)
			d = EfTupleMakerBegin(team);
		EfTeamWaitBegin(team);
		while (partition >= pg_atomic_read_u32(&shared->given) + ahead)
			EfTeamWait(team);
		EfTeamWaitEnd(team);
		EfTupleMakerDerive(d, partition);
	}
	if (d != NULL)
		EfTupleMakerEnd(d);
	MemoryContextSwitchTo(old);
}
