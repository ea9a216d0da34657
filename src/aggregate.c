/*
 * aggregate.c
 *		Rows -> the features of each user.
 *
 * Ids are mapped to small dense numbers once: users to a slot in an array of
 * states, compounds to a number that the states count by. Texts, counts and
 * rows live in slabs (alloc below), so a row costs no palloc of its own.
 */
#include "postgres.h"

#include "aggregate.h"
#include "aggregate_sum.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define SLAB_SIZE (1024 * 1024)

/*
 * Finalizer of splitmix64 (Steele, Lea, Flood 2014): spreads ids over a table.
 * The seed, another one for each run, keeps ids from being chosen to collide.
 */
static inline uint32
hash_id(const void *seed, int64 key)
{
	uint64 id = (uint64) key ^ (uint64) (uintptr_t) seed;

	id = (id ^ (id >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	id = (id ^ (id >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return (uint32) (id ^ (id >> 31));
}

/* id -> its dense number */
typedef struct IdEntry
{
	int64 id;
	uint32 number;
	char status;
} IdEntry;

#define SH_PREFIX idmap
#define SH_ELEMENT_TYPE IdEntry
#define SH_KEY_TYPE int64
#define SH_KEY id
#define SH_HASH_KEY(tb, key) hash_id((tb)->private_data, (key))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/*
 * A set of ids, 64 neighbours to an entry: dense ids take a quarter of a byte
 * each, ids all over the place 24 bytes.
 */
typedef struct SeenEntry
{
	int64 word; /* id >> 6 */
	uint64 bits;
	char status;
} SeenEntry;

#define SH_PREFIX seen
#define SH_ELEMENT_TYPE SeenEntry
#define SH_KEY_TYPE int64
#define SH_KEY word
#define SH_HASH_KEY(tb, key) hash_id((tb)->private_data, (key))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* How often a user's experiments list one compound. */
typedef struct Count
{
	uint32 number; /* of the compound, plus 1; 0 is an empty place */
	uint32 count;
} Count;

/* What is counted per user; nothing that is only carried along. */
typedef struct UserState
{
	int64 experiments;
	int64 timed; /* those with a run time */
	EfSum run_time;
	Count *counts; /* open addressing, capacity a power of two */
	uint32 ncounts;
	uint32 capacity;
} UserState;

struct EfAggregate
{
	MemoryContext context;
	char *slab;
	size_t slab_left;

	idmap_hash *user_numbers;
	UserState *states;
	EfUser *users;
	uint32 nusers;
	uint32 users_capacity;

	idmap_hash *compound_numbers;
	EfCompound *compounds; /* the known ones first, then the unknown */
	uint32 ncompounds;
	uint32 nknown;
	uint32 compounds_capacity;

	seen_hash *seen; /* experiment ids */
	int64 experiments;

	bool sorted;
	uint32 *order; /* users by ascending id */
	uint32 next_user;
	uint32 next_compound;
	int64 *tied;
	uint32 tied_capacity;
};

/* Zeroed memory that lives as long as the aggregate. */
static void *
alloc(EfAggregate *aggregate, size_t size)
{
	void *at;

	size = MAXALIGN(size);
	if (size > SLAB_SIZE / 16)
		return MemoryContextAllocExtended(aggregate->context, size,
										  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	if (size > aggregate->slab_left)
	{
		aggregate->slab = MemoryContextAllocZero(aggregate->context, SLAB_SIZE);
		aggregate->slab_left = SLAB_SIZE;
	}
	at = aggregate->slab;
	aggregate->slab += size;
	aggregate->slab_left -= size;
	return at;
}

static EfText
copy_text(EfAggregate *aggregate, EfText text)
{
	EfText copy = {NULL, text.len};

	if (text.data != NULL)
	{
		char *data = alloc(aggregate, text.len + 1);

		memcpy(data, text.data, text.len);
		copy.data = data;
	}
	return copy;
}

/* Makes room for one more element of an array. */
static void *
room(EfAggregate *aggregate, void *array, size_t element, uint32 used, uint32 *capacity)
{
	void *new;

	if (used < *capacity)
		return array;
	if (used > PG_UINT32_MAX / 2 - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %u users or compounds", PG_UINT32_MAX / 2)));
	*capacity = used == 0 ? 1024 : used * 2;
	new = MemoryContextAllocExtended(aggregate->context, element * *capacity, MCXT_ALLOC_HUGE);
	if (array != NULL)
	{
		memcpy(new, array, element * used);
		pfree(array);
	}
	return new;
}

EfAggregate *
EfAggregateBegin(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "eikon_features aggregate",
												  ALLOCSET_DEFAULT_SIZES);
	EfAggregate *aggregate = MemoryContextAllocZero(context, sizeof(EfAggregate));
	void *seed;

	aggregate->context = context;
	seed = (void *) (uintptr_t) pg_prng_uint64(&pg_global_prng_state);
	aggregate->user_numbers = idmap_create(context, 1024, seed);
	aggregate->compound_numbers = idmap_create(context, 1024, seed);
	aggregate->seen = seen_create(context, 1024, seed);
	return aggregate;
}

void
EfAggregateEnd(EfAggregate *aggregate)
{
	MemoryContextDelete(aggregate->context);
}

bool
EfAggregateUser(EfAggregate *aggregate, const EfUser *user)
{
	bool found;
	IdEntry *entry = idmap_insert(aggregate->user_numbers, user->user_id, &found);
	uint32 capacity = aggregate->users_capacity;
	uint32 number = aggregate->nusers;
	EfUser *copy;

	if (found)
		return false;
	entry->number = number;
	aggregate->users = room(aggregate, aggregate->users, sizeof(EfUser), number, &capacity);
	aggregate->states = room(aggregate, aggregate->states, sizeof(UserState), number,
							 &aggregate->users_capacity);
	copy = &aggregate->users[number];
	*copy = *user;
	copy->name = copy_text(aggregate, user->name);
	copy->email = copy_text(aggregate, user->email);
	memset(&aggregate->states[number], 0, sizeof(UserState));
	aggregate->nusers++;
	return true;
}

static EfCompound *
add_compound(EfAggregate *aggregate, IdEntry *entry)
{
	EfCompound *compound;

	entry->number = aggregate->ncompounds;
	aggregate->compounds = room(aggregate, aggregate->compounds, sizeof(EfCompound),
								aggregate->ncompounds, &aggregate->compounds_capacity);
	compound = &aggregate->compounds[aggregate->ncompounds++];
	memset(compound, 0, sizeof(*compound));
	compound->compound_id = entry->id;
	return compound;
}

bool
EfAggregateCompound(EfAggregate *aggregate, const EfCompound *compound)
{
	bool found;
	IdEntry *entry = idmap_insert(aggregate->compound_numbers, compound->compound_id, &found);
	EfCompound *copy;

	Assert(aggregate->nknown == aggregate->ncompounds);
	if (found)
		return false;
	copy = add_compound(aggregate, entry);
	copy->name = copy_text(aggregate, compound->name);
	copy->structure = copy_text(aggregate, compound->structure);
	aggregate->nknown++;
	return true;
}

/* Adds id to the set of experiment ids; false when it is there already. */
static bool
mark_seen(EfAggregate *aggregate, int64 id)
{
	bool found;
	SeenEntry *entry = seen_insert(aggregate->seen, id >> 6, &found);
	uint64 bit = UINT64CONST(1) << (id & 63);

	if (!found)
		entry->bits = 0;
	if (entry->bits & bit)
		return false;
	entry->bits |= bit;
	return true;
}

/* The place of a compound among a user's counts, perhaps still empty. */
static Count *
find_count(Count *counts, uint32 capacity, uint32 number)
{
	uint32 at = (uint32) ((number * UINT64CONST(0x9e3779b97f4a7c15)) >> 32) & (capacity - 1);

	while (counts[at].number != 0 && counts[at].number != number)
		at = (at + 1) & (capacity - 1);
	return &counts[at];
}

static void
grow_counts(EfAggregate *aggregate, UserState *state)
{
	uint32 capacity = state->capacity == 0 ? 4 : state->capacity * 2;
	Count *counts = alloc(aggregate, sizeof(Count) * capacity);

	for (uint32 i = 0; i < state->capacity; i++)
		if (state->counts[i].number != 0)
			*find_count(counts, capacity, state->counts[i].number) = state->counts[i];
	if (state->capacity * sizeof(Count) > SLAB_SIZE / 16)
		pfree(state->counts);
	state->counts = counts;
	state->capacity = capacity;
}

static void
count_compound(EfAggregate *aggregate, UserState *state, int64 compound_id)
{
	bool found;
	IdEntry *entry = idmap_insert(aggregate->compound_numbers, compound_id, &found);
	Count *count;

	if (!found)
		(void) add_compound(aggregate, entry);
	if (state->ncounts >= state->capacity / 4 * 3)
		grow_counts(aggregate, state);
	count = find_count(state->counts, state->capacity, entry->number + 1);
	if (count->number == 0)
	{
		count->number = entry->number + 1;
		state->ncounts++;
	}
	if (count->count == PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a user's experiments list compound " INT64_FORMAT
						" more than %u times",
						compound_id, PG_UINT32_MAX)));
	count->count++;
}

EfReason
EfAggregateExperiment(EfAggregate *aggregate, const EfExperiment *experiment)
{
	IdEntry *user = idmap_lookup(aggregate->user_numbers, experiment->user_id);
	UserState *state;

	if (user == NULL)
		return EF_UNKNOWN_USER;
	if (!mark_seen(aggregate, experiment->experiment_id))
		return EF_DUPLICATE_KEY;

	state = &aggregate->states[user->number];
	state->experiments++;
	aggregate->experiments++;
	if (experiment->has_run_time)
	{
		state->timed++;
		EfSumAdd(&state->run_time, experiment->run_time, aggregate->context);
	}
	for (int i = 0; i < experiment->ncompounds; i++)
	{
		CHECK_FOR_INTERRUPTS();
		count_compound(aggregate, state, experiment->compound_ids[i]);
	}
	return EF_TAKEN;
}

int64
EfAggregateUnknownCompounds(const EfAggregate *aggregate)
{
	return (int64) aggregate->ncompounds - aggregate->nknown;
}

int64
EfAggregateUsers(const EfAggregate *aggregate)
{
	return aggregate->nusers;
}

static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	CHECK_FOR_INTERRUPTS();
	return x < y ? -1 : x > y;
}

static int
compare_users(const void *a, const void *b, void *arg)
{
	const EfUser *users = arg;
	int64 x = users[*(const uint32 *) a].user_id;
	int64 y = users[*(const uint32 *) b].user_id;

	/* millions of users take seconds, and qsort can be left at any time */
	CHECK_FOR_INTERRUPTS();
	return x < y ? -1 : x > y;
}

static void
sort_users(EfAggregate *aggregate)
{
	bool ascending = true;

	aggregate->order = MemoryContextAllocExtended(aggregate->context,
												  sizeof(uint32) * Max(aggregate->nusers, 1),
												  MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < aggregate->nusers; i++)
	{
		aggregate->order[i] = i;
		if (i > 0 && aggregate->users[i].user_id < aggregate->users[i - 1].user_id)
			ascending = false;
	}
	if (!ascending)
		qsort_arg(aggregate->order, aggregate->nusers, sizeof(uint32), compare_users,
				  aggregate->users);
	aggregate->sorted = true;
}

/* Finds the compounds that the user's experiments list most often. */
static void
find_most_common(EfAggregate *aggregate, const UserState *state, EfFeatures *features)
{
	uint32 most = 0;
	uint32 ntied = 0;

	for (uint32 i = 0; i < state->capacity; i++)
		most = Max(most, state->counts[i].count);
	features->count = most;
	features->ntied = 0;
	features->compound = NULL;
	if (most == 0)
		return;

	if (aggregate->tied_capacity < state->ncounts)
	{
		if (aggregate->tied != NULL)
			pfree(aggregate->tied);
		aggregate->tied = NULL;
		aggregate->tied_capacity = 0;
		aggregate->tied = MemoryContextAllocExtended(aggregate->context,
													 sizeof(int64) * state->capacity,
													 MCXT_ALLOC_HUGE);
		aggregate->tied_capacity = state->capacity;
	}
	for (uint32 i = 0; i < state->capacity; i++)
	{
		const EfCompound *compound;

		if (state->counts[i].count != most)
			continue;
		compound = &aggregate->compounds[state->counts[i].number - 1];
		aggregate->tied[ntied++] = compound->compound_id;
		if (features->compound == NULL ||
			compound->compound_id < features->compound->compound_id)
			features->compound = compound;
	}
	qsort(aggregate->tied, ntied, sizeof(int64), compare_ids);
	features->tied = aggregate->tied;
	features->ntied = (int) ntied;
}

bool
EfAggregateNext(EfAggregate *aggregate, EfFeatures *features)
{
	const UserState *state;

	if (!aggregate->sorted)
		sort_users(aggregate);
	if (aggregate->next_user == aggregate->nusers)
		return false;

	features->user = aggregate->users[aggregate->order[aggregate->next_user]];
	state = &aggregate->states[aggregate->order[aggregate->next_user++]];
	features->experiments = state->experiments;
	features->avg_experiments = (double) aggregate->experiments / (double) aggregate->nusers;
	features->experiments_pct = aggregate->experiments == 0 ? 0 :
															  (double) state->experiments / (double) aggregate->experiments;
	features->has_run_time = state->timed > 0;
	if (features->has_run_time)
	{
		features->total_run_time = EfSumValue(&state->run_time);
		features->avg_run_time = features->total_run_time / (double) state->timed;
	}
	find_most_common(aggregate, state, features);
	return true;
}

bool
EfAggregateNextCompound(EfAggregate *aggregate, EfCompound *compound)
{
	if (aggregate->next_compound == aggregate->nknown)
		return false;
	*compound = aggregate->compounds[aggregate->next_compound++];
	return true;
}
