/*
 * derive_ids.c
 *		Whether an id occurs twice, and what rank each has among all.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "derive_ids.h"
#include "hash.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "sort_ids.h"
#include "utils/memutils.h"

/* Up to so many numbers for each id, a bitmap with counts takes no more memory than a list. */
#define BITMAP_NUMBERS 48

/* Is given each id and its number over all runs. */
typedef void (*IdFn)(void *arg, int64 id, int64 number);

bool
EfIdsAscend(const EfIdRun *runs, int n)
{
	const EfIdRun *last = NULL;

	for (int i = 0; i < n; i++)
	{
		if (runs[i].count == 0)
			continue;
		if (runs[i].descends || (last != NULL && runs[i].min <= last->max))
			return false;
		last = &runs[i];
	}
	return true;
}

static int64
count_ids(const EfIdRun *runs, int n, int64 *min, int64 *max)
{
	int64 count = 0;

	for (int i = 0; i < n; i++)
	{
		if (runs[i].count == 0)
			continue;
		*min = count == 0 ? runs[i].min : Min(*min, runs[i].min);
		*max = count == 0 ? runs[i].max : Max(*max, runs[i].max);
		count += runs[i].count;
	}
	return count;
}

/* Gives the ids of one run to fn; returns the number of the next one. */
static int64
read_run(EfStreamReader *logs, const EfIdRun *run, int64 number, IdFn fn, void *arg)
{
	int64 end = number + run->count;
	int64 id = 0;

	for (uint32 block = run->block; number < end; block++)
	{
		size_t len;
		bool copied;
		char *data = EfStreamBlock(logs, 0, run->writer, block, &len, &copied);
		const char *at = data;

		while (at < data + len && number < end)
		{
			uint64 step;

			at = EfGetVarint(at, &step);
			id = (int64) ((uint64) id + (uint64) EfUnzigzag(step));
			fn(arg, id, number++);
		}
		if (copied)
			pfree(data);
	}
	return end;
}

static void
read_runs(EfStreamReader *logs, const EfIdRun *runs, int n, IdFn fn, void *arg)
{
	int64 number = 0;

	for (int i = 0; i < n; i++)
		number = read_run(logs, &runs[i], number, fn, arg);
}

/* --- repeated ids --- */

typedef struct Search
{
	uint64 *repeated;
	int64 found;

	/* a bit for each number from min on */
	int64 min;
	uint64 *words;

	/* or a set, by open addressing, of those whose hash is in the slice */
	uint64 seed;
	int64 *slots; /* 0: empty */
	uint64 mask;
	uint64 slice;
	uint64 nslices;
	bool zero; /* 0 itself was there */
} Search;

static void
found_again(Search *search, int64 number)
{
	search->repeated[number >> 6] |= UINT64CONST(1) << (number & 63);
	search->found++;
}

static void
look_in_bitmap(void *arg, int64 id, int64 number)
{
	Search *search = arg;
	uint64 at = (uint64) id - (uint64) search->min;
	uint64 bit = UINT64CONST(1) << (at & 63);

	if (search->words[at >> 6] & bit)
		found_again(search, number);
	search->words[at >> 6] |= bit;
}

static void
look_in_set(void *arg, int64 id, int64 number)
{
	Search *search = arg;
	uint64 hash = EfHashId((uint64) id, search->seed);
	uint64 at;

	if ((hash >> 32) * search->nslices >> 32 != search->slice)
		return;
	if (id == 0)
	{
		if (search->zero)
			found_again(search, number);
		search->zero = true;
		return;
	}
	for (at = hash & search->mask; search->slots[at] != 0; at = (at + 1) & search->mask)
	{
		if (search->slots[at] != id)
			continue;
		found_again(search, number);
		return;
	}
	search->slots[at] = id;
}

int64
EfIdsRepeated(EfStreamReader *logs, const EfIdRun *runs, int n, size_t memory, uint64 *repeated)
{
	Search search = {.repeated = repeated};
	int64 max = 0;
	int64 count = count_ids(runs, n, &search.min, &max);
	uint64 span = (uint64) max - (uint64) search.min;

	if (count == 0)
		return 0;
	if (span / 8 <= memory && span / BITMAP_NUMBERS <= (uint64) count)
	{
		search.words = MemoryContextAllocExtended(CurrentMemoryContext, (span / 64 + 1) * 8,
												  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		read_runs(logs, runs, n, look_in_bitmap, &search);
		pfree(search.words);
		return search.found;
	}

	/* at most half full, so slices are made of a quarter on average */
	search.mask = Min(pg_nextpower2_64((uint64) count * 2 + 1024),
					  pg_prevpower2_size_t(Max(memory / sizeof(int64), 1024))) -
				  1;
	search.nslices = (uint64) count / (search.mask / 4) + 1;
	search.seed = pg_prng_uint64(&pg_global_prng_state);
	search.slots = MemoryContextAllocExtended(CurrentMemoryContext,
											  sizeof(int64) * (search.mask + 1),
											  MCXT_ALLOC_HUGE);
	for (search.slice = 0; search.slice < search.nslices; search.slice++)
	{
		memset(search.slots, 0, sizeof(int64) * (search.mask + 1));
		read_runs(logs, runs, n, look_in_set, &search);
	}
	pfree(search.slots);
	return search.found;
}

/* --- ranks --- */

typedef struct Target
{
	int64 min;
	uint64 *words;
	int64 *ids;
} Target;

static void
set_bit(void *arg, int64 id, int64 number)
{
	uint64 at = (uint64) id - (uint64) ((Target *) arg)->min;

	((Target *) arg)->words[at >> 6] |= UINT64CONST(1) << (at & 63);
}

static void
list_id(void *arg, int64 id, int64 number)
{
	((Target *) arg)->ids[number] = id;
}

static void
build_bitmap(EfPool *pool, EfRanksShared *shared, EfStreamReader *logs, const EfIdRun *runs,
			 int n, uint64 span)
{
	size_t nwords = span / 64 + 1;
	Target target = {.min = shared->min};
	uint32 *ranks;
	uint32 rank = 0;

	shared->words = EfPoolAlloc(pool, sizeof(uint64) * nwords);
	shared->ranks = EfPoolAlloc(pool, sizeof(uint32) * nwords);
	target.words = EfPoolAddress(pool, shared->words);
	ranks = EfPoolAddress(pool, shared->ranks);
	read_runs(logs, runs, n, set_bit, &target);
	for (size_t i = 0; i < nwords; i++)
	{
		ranks[i] = rank;
		rank += (uint32) pg_popcount64(target.words[i]);
	}
}

/* Sorts the ids, and notes where each of about count / 4 equal parts of their span begins. */
static void
build_list(EfPool *pool, EfRanksShared *shared, EfStreamReader *logs, const EfIdRun *runs,
		   int n, uint64 span)
{
	Target target;
	size_t nbuckets = shared->count / 4 + 2; /* so that the shift stays below 64 */
	uint32 *starts;
	size_t bucket = 0;

	shared->ids = EfPoolAlloc(pool, sizeof(int64) * shared->count);
	target.ids = EfPoolAddress(pool, shared->ids);
	read_runs(logs, runs, n, list_id, &target);
	if (!EfIdsAscend(runs, n))
		EfSortIds(target.ids, shared->count);

	shared->shift = 0;
	while (span >> shared->shift >= nbuckets)
		shared->shift++;
	nbuckets = (size_t) (span >> shared->shift) + 1;
	shared->starts = EfPoolAlloc(pool, sizeof(uint32) * (nbuckets + 1));
	starts = EfPoolAddress(pool, shared->starts);
	for (uint64 i = 0; i < shared->count; i++)
	{
		uint64 at = (uint64) target.ids[i] - (uint64) shared->min;

		while (bucket <= at >> shared->shift)
			starts[bucket++] = (uint32) i;
	}
	while (bucket <= nbuckets)
		starts[bucket++] = (uint32) shared->count;
}

void
EfRanksBuild(EfPool *pool, EfRanksShared *shared, EfStreamReader *logs, const EfIdRun *runs,
			 int n)
{
	uint64 span;

	memset(shared, 0, sizeof(*shared));
	shared->count = (uint64) count_ids(runs, n, &shared->min, &shared->max);
	span = (uint64) shared->max - (uint64) shared->min;
	if (shared->count == 0 || span == shared->count - 1)
		return;
	if (span / BITMAP_NUMBERS <= shared->count)
		build_bitmap(pool, shared, logs, runs, n, span);
	else
		build_list(pool, shared, logs, runs, n, span);
}

void
EfRanksAttach(EfPool *pool, const EfRanksShared *shared, EfRanks *ranks)
{
	memset(ranks, 0, sizeof(*ranks));
	ranks->count = shared->count;
	ranks->min = shared->min;
	ranks->span = (uint64) shared->max - (uint64) shared->min;
	ranks->shift = shared->shift;
	if (DsaPointerIsValid(shared->words))
	{
		ranks->words = EfPoolAddress(pool, shared->words);
		ranks->ranks = EfPoolAddress(pool, shared->ranks);
	}
	if (DsaPointerIsValid(shared->ids))
	{
		ranks->ids = EfPoolAddress(pool, shared->ids);
		ranks->starts = EfPoolAddress(pool, shared->starts);
	}
}

bool
EfRanksSearch(const EfRanks *ranks, int64 id, uint32 *rank)
{
	uint64 bucket = ((uint64) id - (uint64) ranks->min) >> ranks->shift;
	uint32 low = ranks->starts[bucket];
	uint32 high = ranks->starts[bucket + 1];

	while (low < high)
	{
		uint32 middle = low + (high - low) / 2;

		if (ranks->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	*rank = low;
	return low < ranks->count && ranks->ids[low] == id;
}
