/*
 * derive_aggregate.c
 *		Rows -> the features of each user.
 *
 * Few enough users are aggregated at a time that all of this stays in the
 * processor's cache. The compounds of a user's experiments are listed as they
 * come, in links of one cache line, and counted at the end, when one array
 * of counts does for one user after the other.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "derive_aggregate.h"
#include "derive_pack.h"
#include "derive_sum.h"
#include "grow.h"
#include "hash.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "sort_ids.h"
#include "utils/memutils.h"

#define SLAB_SIZE (256 * 1024)

/* A user whose experiments list more compounds than that gets counts of his own. */
#define LISTED_MOST 4096

/* Tied compounds whose ids are less apart may be sorted by bits. */
#define SORT_SPAN 4096

/* So many users ahead, what will be needed is fetched into the cache. */
#define AHEAD 4

/* Ids up to so far apart are looked up in an array. */
#define DIRECT_LEAST (64 * 1024)

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
#define SH_HASH_KEY(tb, key) ((uint32) EfHashId((uint64) (key), (uint64) (uintptr_t) (tb)->private_data))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Numbers of compounds, as they were listed. */
#define LINK_NUMBERS 14

typedef struct Link
{
	struct Link *next;
	uint32 numbers[LINK_NUMBERS];
} Link;

/* How often each compound is listed, by its number. */
typedef struct Counts
{
	uint32 room;
	int64 counts[FLEXIBLE_ARRAY_MEMBER];
} Counts;

/* What is counted per user; nothing that is only carried along. */
typedef struct UserState
{
	int64 experiments;
	int64 timed; /* those with a run time */
	EfSum run_time;
	Link *links;
	uint32 nlisted; /* in links */
	Counts *counts; /* in place of links, when there are many */
} UserState;

struct EfAggregate
{
	MemoryContext context;
	MemoryContext reset; /* what goes at EfAggregateReset, but the slabs */
	void *seed;

	/* memory for links, used again after a reset */
	char **slabs;
	uint32 slabs_room;
	uint32 nslabs;
	uint32 slab; /* the one in use */
	size_t slab_left;
	Link *free_links;

	UserState *states;
	const char **users; /* packed */
	uint32 nusers;
	uint32 next_user;

	/* id -> number + 1 for ids from direct_min on, idmap for others */
	uint32 *direct;
	int64 direct_min;
	uint64 direct_span;
	idmap_hash *numbers;
	EfCompound *compounds; /* by number; the known ones first, then the unknown */
	uint32 ncompounds;
	uint32 nknown;
	uint32 compounds_room;

	int64 *counts; /* by number; all 0 but while a user is counted */
	uint32 counts_room;
	int64 *tied;
	size_t tied_room;
};

/* Makes room for one more element of an array; returns it. */
static void *
make_room(EfAggregate *aggregate, void *array, size_t element, uint32 used, uint32 *capacity)
{
	if (used < *capacity)
		return array;
	if (used > PG_UINT32_MAX / 2 - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %u compounds", PG_UINT32_MAX / 2)));
	*capacity = used == 0 ? 1024 : used * 2;
	return EfGrow(aggregate->context, array, element * *capacity);
}

EfAggregate *
EfAggregateBegin(MemoryContext parent, uint32 nusers)
{
	MemoryContext context = AllocSetContextCreate(parent, "eikon_features aggregate",
												  ALLOCSET_DEFAULT_SIZES);
	EfAggregate *aggregate = MemoryContextAllocZero(context, sizeof(EfAggregate));

	aggregate->context = context;
	aggregate->reset = AllocSetContextCreate(context, "eikon_features users",
											 ALLOCSET_DEFAULT_SIZES);
	aggregate->seed = (void *) (uintptr_t) pg_prng_uint64(&pg_global_prng_state);
	aggregate->numbers = idmap_create(context, 64, aggregate->seed);
	aggregate->states = MemoryContextAllocExtended(context, sizeof(UserState) * Max(nusers, 1),
												   MCXT_ALLOC_HUGE);
	aggregate->users = MemoryContextAllocExtended(context, sizeof(char *) * Max(nusers, 1),
												  MCXT_ALLOC_HUGE);
	return aggregate;
}

void
EfAggregateEnd(EfAggregate *aggregate)
{
	MemoryContextDelete(aggregate->context);
}

void
EfAggregateReset(EfAggregate *aggregate, uint32 nusers)
{
	MemoryContextReset(aggregate->reset);
	aggregate->slab = 0;
	aggregate->slab_left = aggregate->nslabs > 0 ? SLAB_SIZE : 0;
	aggregate->free_links = NULL;
	aggregate->nusers = nusers;
	aggregate->next_user = 0;
	memset(aggregate->states, 0, sizeof(UserState) * nusers);
}

/* --- compounds --- */

static uint32
add_compound(EfAggregate *aggregate, int64 id)
{
	EfCompound *compound;

	aggregate->compounds = make_room(aggregate, aggregate->compounds, sizeof(EfCompound),
									 aggregate->ncompounds, &aggregate->compounds_room);
	compound = &aggregate->compounds[aggregate->ncompounds];
	memset(compound, 0, sizeof(*compound));
	compound->compound_id = id;
	return aggregate->ncompounds++;
}

void
EfAggregateCompound(EfAggregate *aggregate, const EfCompound *compound)
{
	uint32 number;

	Assert(aggregate->nknown == aggregate->ncompounds && aggregate->direct == NULL);
	number = add_compound(aggregate, compound->compound_id);
	aggregate->compounds[number] = *compound;
	aggregate->nknown++;
}

/* Makes the known compounds' ids known by number. */
static void
index_compounds(EfAggregate *aggregate)
{
	int64 min = 0;
	int64 max = 0;

	for (uint32 i = 0; i < aggregate->nknown; i++)
	{
		int64 id = aggregate->compounds[i].compound_id;

		min = i == 0 ? id : Min(min, id);
		max = i == 0 ? id : Max(max, id);
	}
	aggregate->direct_min = min;
	aggregate->direct_span = Min((uint64) max - (uint64) min,
								 Max(DIRECT_LEAST, 4 * (uint64) aggregate->nknown));
	aggregate->direct = MemoryContextAllocExtended(aggregate->context,
												   sizeof(uint32) * (aggregate->direct_span + 1),
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint32 i = 0; i < aggregate->nknown; i++)
	{
		int64 id = aggregate->compounds[i].compound_id;
		uint64 at = (uint64) id - (uint64) min;
		bool found;

		if (at <= aggregate->direct_span)
			aggregate->direct[at] = i + 1;
		else
			idmap_insert(aggregate->numbers, id, &found)->number = i;
	}
}

static uint32
number_by_hash(EfAggregate *aggregate, int64 id)
{
	bool found;
	IdEntry *entry = idmap_insert(aggregate->numbers, id, &found);

	if (!found)
		entry->number = add_compound(aggregate, id);
	return entry->number;
}

/* The number of a compound, which may be a new one. */
static inline uint32
number_of(EfAggregate *aggregate, int64 id)
{
	uint64 at = (uint64) id - (uint64) aggregate->direct_min;

	if (unlikely(at > aggregate->direct_span))
		return number_by_hash(aggregate, id);
	if (unlikely(aggregate->direct[at] == 0))
		aggregate->direct[at] = add_compound(aggregate, id) + 1;
	return aggregate->direct[at] - 1;
}

int64 *
EfAggregateUnknownCompounds(const EfAggregate *aggregate, uint32 *n)
{
	int64 *ids = palloc_extended(sizeof(int64) * (aggregate->ncompounds + 1), MCXT_ALLOC_HUGE);

	*n = aggregate->ncompounds - aggregate->nknown;
	for (uint32 i = 0; i < *n; i++)
		ids[i] = aggregate->compounds[aggregate->nknown + i].compound_id;
	return ids;
}

/* --- users and experiments --- */

const char *
EfAggregateUser(EfAggregate *aggregate, uint32 number, const char *packed)
{
	EfUser user;

	Assert(number < aggregate->nusers);
	aggregate->users[number] = packed;
	return EfUnpackUser(packed, &user);
}

static Link *
new_link(EfAggregate *aggregate)
{
	Link *link = aggregate->free_links;

	if (link != NULL)
	{
		aggregate->free_links = link->next;
		return link;
	}
	if (aggregate->slab_left < sizeof(Link))
	{
		CHECK_FOR_INTERRUPTS();
		if (aggregate->nslabs > 0)
			aggregate->slab++;
		if (aggregate->slab == aggregate->nslabs)
		{
			aggregate->slabs = make_room(aggregate, aggregate->slabs, sizeof(char *),
										 aggregate->nslabs, &aggregate->slabs_room);
			aggregate->slabs[aggregate->nslabs++] =
				MemoryContextAlloc(aggregate->context, SLAB_SIZE);
		}
		aggregate->slab_left = SLAB_SIZE;
	}
	aggregate->slab_left -= sizeof(Link);
	return (Link *) (aggregate->slabs[aggregate->slab] + aggregate->slab_left);
}

static Counts *
grow_counts(EfAggregate *aggregate, Counts *old, uint32 least)
{
	uint32 before = old == NULL ? 0 : old->room;
	uint32 capacity = Max(least, aggregate->ncompounds) * 2;
	Counts *new = EfGrow(aggregate->reset, old,
						 offsetof(Counts, counts) + sizeof(int64) * capacity);

	new->room = capacity;
	memset(new->counts + before, 0, sizeof(int64) * (capacity - before));
	return new;
}

static void
count_one(EfAggregate *aggregate, UserState *state, uint32 number)
{
	if (number >= state->counts->room)
		state->counts = grow_counts(aggregate, state->counts, number + 1);
	state->counts->counts[number]++;
}

/* Numbers in the first link of nlisted; the others are full. */
static inline uint32
in_first(uint32 nlisted)
{
	return (nlisted - 1) % LINK_NUMBERS + 1;
}

/* Replaces a user's long list by counts. */
static void
count_list(EfAggregate *aggregate, UserState *state)
{
	uint32 n = in_first(state->nlisted);

	state->counts = grow_counts(aggregate, NULL, 1);
	while (state->links != NULL)
	{
		Link *link = state->links;

		for (uint32 i = 0; i < n; i++)
			count_one(aggregate, state, link->numbers[i]);
		n = LINK_NUMBERS;
		state->links = link->next;
		link->next = aggregate->free_links;
		aggregate->free_links = link;
	}
	state->nlisted = 0;
}

static inline void
list_compound(EfAggregate *aggregate, UserState *state, int64 id)
{
	uint32 number = number_of(aggregate, id);
	uint32 at;

	if (unlikely(state->counts != NULL))
	{
		count_one(aggregate, state, number);
		return;
	}
	at = state->nlisted++ % LINK_NUMBERS;
	if (at == 0)
	{
		Link *link = new_link(aggregate);

		link->next = state->links;
		state->links = link;
	}
	state->links->numbers[at] = number;
	if (unlikely(state->nlisted % LISTED_MOST == 0) && state->nlisted >= aggregate->ncompounds)
		count_list(aggregate, state);
}

/* Lists n packed compounds; returns what follows them. */
static inline const char *
list_compounds(EfAggregate *aggregate, UserState *state, const char *packed, uint64 n,
			   bool in_short)
{
	for (; n > 0 && in_short; n--)
	{
		uint16 id;

		memcpy(&id, packed, sizeof(id));
		packed += sizeof(id);
		list_compound(aggregate, state, id);
	}
	for (; n > 0; n--)
	{
		uint64 id;

		packed = EfGetVarint(packed, &id);
		list_compound(aggregate, state, EfUnzigzag(id));
	}
	return packed;
}

void
EfAggregateExperiments(EfAggregate *aggregate, const char *packed, size_t len)
{
	const char *end = packed + len;

	if (aggregate->direct == NULL)
		index_compounds(aggregate);
	while (packed < end)
	{
		uint64 number;
		uint64 bits;
		UserState *state;

		packed = EfGetVarint(packed, &number);
		packed = EfGetVarint(packed, &bits);
		state = &aggregate->states[number];
		state->experiments++;
		if (bits & EF_PACKED_TIMED)
		{
			double run_time;

			memcpy(&run_time, packed, sizeof(double));
			packed += sizeof(double);
			state->timed++;
			EfSumAdd(&state->run_time, run_time, aggregate->reset);
		}
		packed = list_compounds(aggregate, state, packed, bits >> EF_PACKED_BITS,
								(bits & EF_PACKED_SHORT) != 0);
	}
}

/* --- features --- */

static void
make_room_for_counts(EfAggregate *aggregate)
{
	uint32 before = aggregate->counts_room;
	uint32 capacity = aggregate->compounds_room;

	aggregate->counts = EfGrow(aggregate->context, aggregate->counts, sizeof(int64) * capacity);
	memset(aggregate->counts + before, 0, sizeof(int64) * (capacity - before));
	aggregate->counts_room = capacity;
}

/* Makes room for n tied compounds. */
static void
make_room_for_tied(EfAggregate *aggregate, size_t n)
{
	if (n <= aggregate->tied_room)
		return;
	aggregate->tied = EfGrow(aggregate->context, aggregate->tied, sizeof(int64) * n * 2);
	aggregate->tied_room = n * 2;
}

/*
 * The compounds listed most often are put in tied; returns how often they are. An
 * id is written before it is known to be one of them, which spares a branch that
 * cannot be foreseen.
 */
static int64
find_most_in_list(EfAggregate *aggregate, const UserState *state, uint32 *ntied)
{
	int64 *counts;
	int64 *tied;
	int64 most = 0;
	uint32 n = in_first(state->nlisted);

	if (aggregate->counts_room < aggregate->ncompounds)
		make_room_for_counts(aggregate);
	make_room_for_tied(aggregate, state->nlisted);
	counts = aggregate->counts;
	tied = aggregate->tied;
	for (const Link *link = state->links; link != NULL; link = link->next, n = LINK_NUMBERS)
	{
		for (uint32 i = 0; i < n; i++)
		{
			int64 count = ++counts[link->numbers[i]];

			most = Max(most, count);
		}
	}
	n = in_first(state->nlisted);
	for (const Link *link = state->links; link != NULL; link = link->next, n = LINK_NUMBERS)
	{
		for (uint32 i = 0; i < n; i++)
		{
			uint32 number = link->numbers[i];

			tied[*ntied] = aggregate->compounds[number].compound_id;
			*ntied += counts[number] == most;
			counts[number] = 0;
		}
	}
	return most;
}

static int64
find_most_in_counts(EfAggregate *aggregate, const Counts *counts, uint32 *ntied)
{
	int64 most = 0;

	make_room_for_tied(aggregate, counts->room);
	for (uint32 i = 0; i < counts->room; i++)
		most = Max(most, counts->counts[i]);
	for (uint32 i = 0; i < counts->room; i++)
		if (counts->counts[i] == most)
			aggregate->tied[(*ntied)++] = aggregate->compounds[i].compound_id;
	return most;
}

/*
 * Ascending. Ids that lie near each other are sorted by setting a bit for each and
 * reading the bits in order, which takes no comparisons.
 */
static void
sort_tied(int64 *ids, uint32 n)
{
	uint64 bits[SORT_SPAN / 64];
	int64 min = ids[0];
	int64 max = ids[0];
	uint64 span;
	uint32 to = 0;

	for (uint32 i = 1; i < n; i++)
	{
		min = Min(min, ids[i]);
		max = Max(max, ids[i]);
	}
	span = (uint64) max - (uint64) min;
	if (span >= SORT_SPAN || span / 64 > n)
	{
		EfSortIds(ids, n);
		return;
	}
	memset(bits, 0, sizeof(uint64) * (span / 64 + 1));
	for (uint32 i = 0; i < n; i++)
	{
		uint64 at = (uint64) ids[i] - (uint64) min;

		bits[at / 64] |= UINT64CONST(1) << (at % 64);
	}
	for (uint64 i = 0; i <= span / 64; i++)
		for (uint64 word = bits[i]; word != 0; word &= word - 1)
			ids[to++] = min + (int64) (i * 64) + pg_rightmost_one_pos64(word);
}

/* Finds the compounds that the user's experiments list most often. */
static void
find_most_common(EfAggregate *aggregate, const UserState *state, EfFeatures *features)
{
	uint32 ntied = 0;

	features->count = 0;
	features->ntied = 0;
	features->compound = NULL;
	if (state->counts != NULL)
		features->count = find_most_in_counts(aggregate, state->counts, &ntied);
	else if (state->links != NULL)
		features->count = find_most_in_list(aggregate, state, &ntied);
	if (ntied == 0)
		return;
	if (ntied > 1)
		sort_tied(aggregate->tied, ntied);
	features->tied = aggregate->tied;
	features->ntied = (int) ntied;
	features->compound = &aggregate->compounds[number_of(aggregate, aggregate->tied[0])];
}

bool
EfAggregateNext(EfAggregate *aggregate, const EfTotals *totals, EfFeatures *features)
{
	const UserState *state;

	if (aggregate->next_user == aggregate->nusers)
		return false;
	(void) EfUnpackUser(aggregate->users[aggregate->next_user], &features->user);
	state = &aggregate->states[aggregate->next_user++];
	if (aggregate->next_user + AHEAD < aggregate->nusers)
	{
		__builtin_prefetch(aggregate->states[aggregate->next_user + AHEAD].links);
		__builtin_prefetch(aggregate->users[aggregate->next_user + AHEAD]);
	}
	features->experiments = state->experiments;
	features->avg_experiments = (double) totals->experiments / (double) totals->users;
	features->experiments_pct =
		totals->experiments == 0 ? 0 : (double) state->experiments / (double) totals->experiments;
	features->has_run_time = state->timed > 0;
	if (features->has_run_time)
	{
		features->total_run_time = EfSumValue(&state->run_time);
		features->avg_run_time = features->total_run_time / (double) state->timed;
	}
	find_most_common(aggregate, state, features);
	return true;
}
