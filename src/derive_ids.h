/*
 * derive_ids.h
 *		Ids in the order in which they were read: whether one occurs twice, and
 *		what rank each has among all of them.
 *
 * A log keeps the ids of one run of records as differences, so ids that ascend
 * take a byte or two each. That they are unique is nearly always seen from their
 * being ascending; only otherwise are the logs read.
 */
#ifndef EF_DERIVE_IDS_H
#define EF_DERIVE_IDS_H

#include "derive_stream.h"
#include "varint.h"

/* The ids of one run of records; in shared memory. */
typedef struct EfIdRun
{
	uint32 writer;
	uint32 block; /* where its log begins */
	int64 count;
	int64 min;
	int64 max;
	bool descends; /* somewhere, or stays the same */
} EfIdRun;

typedef struct EfIdLog
{
	EfStreamWriter *writer;
	EfIdRun run;
	int64 last;
} EfIdLog;

/* The log is written to stream 0. */
static inline void
EfIdLogBegin(EfIdLog *log, EfStreamWriter *writer)
{
	memset(log, 0, sizeof(*log));
	log->writer = writer;
	log->run.writer = writer->writer;
	log->run.block = EfStreamCut(writer, 0);
}

static inline void
EfIdLogAdd(EfIdLog *log, int64 id)
{
	uint64 step = (uint64) id - (uint64) log->last;
	char *to = EfStreamRoom(log->writer, 0, EF_VARINT_SIZE);

	EfStreamWrote(log->writer, 0, EfPutVarint(to, EfZigzag((int64) step)));
	if (log->run.count++ == 0)
		log->run.min = log->run.max = id;
	else if (id > log->last && id > log->run.max)
		log->run.max = id;
	else
	{
		log->run.descends = true;
		log->run.min = Min(log->run.min, id);
	}
	log->last = id;
}

/* Whether the runs, one after the other, are seen to hold no id twice. */
extern bool EfIdsAscend(const EfIdRun *runs, int n);

/*
 * Sets a bit of repeated for each id that occurred before, counted over all runs;
 * returns how many. Takes about memory bytes.
 */
extern int64 EfIdsRepeated(EfStreamReader *logs, const EfIdRun *runs, int n, size_t memory,
						   uint64 *repeated);

/* In shared memory: the rank of each id among all, which are unique. */
typedef struct EfRanksShared
{
	uint64 count;
	int64 min;
	int64 max;
	dsa_pointer words;	/* a bit for each number from min to max */
	dsa_pointer ranks;	/* ids before each word; uint32 */
	dsa_pointer ids;	/* or else the ids, ascending */
	dsa_pointer starts; /* of each bucket of ids; uint32 */
	int shift;			/* id - min to bucket */
} EfRanksShared;

/* A process's view of it. */
typedef struct EfRanks
{
	uint64 count;
	int64 min;
	uint64 span; /* max - min */
	const uint64 *words;
	const uint32 *ranks;
	const int64 *ids;
	const uint32 *starts;
	int shift;
} EfRanks;

/* Dense ids take a few bits each, others nine bytes. */
extern void EfRanksBuild(EfPool *pool, EfRanksShared *shared, EfStreamReader *logs,
						 const EfIdRun *runs, int n);
extern void EfRanksAttach(EfPool *pool, const EfRanksShared *shared, EfRanks *ranks);

/* The rank of one that is neither dense nor in a bitmap. */
extern bool EfRanksSearch(const EfRanks *ranks, int64 id, uint32 *rank);

/* The rank of id, from 0; false when it is none of them. */
static inline bool
EfRanksFind(const EfRanks *ranks, int64 id, uint32 *rank)
{
	uint64 at = (uint64) id - (uint64) ranks->min;

	if (unlikely(at > ranks->span || ranks->count == 0))
		return false;
	if (ranks->words != NULL)
	{
		uint64 word = ranks->words[at >> 6];
		uint64 bit = UINT64CONST(1) << (at & 63);

		*rank = ranks->ranks[at >> 6] + (uint32) __builtin_popcountll(word & (bit - 1));
		return (word & bit) != 0;
	}
	if (ranks->ids != NULL)
		return EfRanksSearch(ranks, id, rank);
	*rank = (uint32) at;
	return true;
}

#endif /* EF_DERIVE_IDS_H */
