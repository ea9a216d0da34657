/*
 * derive.c
 *		Wires the stages: what the leader of a team does.
 *
 *	for each kind	EfDetectFiles -> EfReadKind, with the job of reading
 *	users			ranks of their ids -> partitions -> the job of scattering
 *	at the end		the job of deriving -> tuples
 *
 * No stage knows the next one: each takes a function to read from or is given
 * what the one before it made. derive_shared.h says what the jobs are.
 */
#include "postgres.h"

#include "derive_pack.h"
#include "derive_shared.h"
#include "elapsed.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "progress.h"
#include "sort_ids.h"
#include "source_fingerprint.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* Text for which one more worker is worth its start. */
#define WORKER_BYTES (8 * 1024 * 1024)

/* A partition has about so much of packed rows, and at most so many users. */
#define PARTITION_BYTES (768 * 1024)
#define PARTITION_USERS (16 * 1024)
#define PARTITIONS_MOST 1024

static int pool_size = 512 * 1024;

void
EfDeriveInit(void)
{
	static const EfJobFn jobs[] = {
		[EF_JOB_READ] = EfReadJob,
		[EF_JOB_SCATTER] = EfScatterJob,
		[EF_JOB_DERIVE] = EfTuplesJob,
	};

	EfInputInit();
	EfTeamInit();
	EfTeamJobs(jobs, lengthof(jobs));

	/*
	 * Raise it where sources are larger and memory is to spare, so that less
	 * goes through temporary files; lower it where many derive at a time.
	 */
	DefineCustomIntVariable("eikon_features.work_mem",
							"Memory that a derivation may use for what it has read.",
							"What does not fit goes to temporary files. All processes of a derivation share it.",
							&pool_size, 512 * 1024, 64, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

uint64
EfPoolLimit(void)
{
	/* the rest is for what each process has of its own */
	return (uint64) pool_size * 1024 / 16 * 15;
}

/* --- the kinds --- */

/* So many users to a partition that it fits a cache, and its streams their memory. */
static void
plan_partitions(EfDerivation *d)
{
	EfShared *shared = d->shared;
	double bytes = Max((double) d->bytes[EF_EXPERIMENTS] * EF_PACKED_PART,
					   (double) d->bytes[EF_USERS]);
	double wanted = Max(bytes / PARTITION_BYTES,
						(double) shared->ranks.count / PARTITION_USERS);
	uint64 users = (uint64) ((double) shared->ranks.count / Max(1, Min(wanted, PARTITIONS_MOST)));

	shared->shift = 0;
	while (((uint64) 1 << shared->shift) < users)
		shared->shift++;
	shared->npartitions = (uint32) ((shared->ranks.count + ((uint64) 1 << shared->shift) - 1) >> shared->shift);
	shared->npartitions = Max(1, shared->npartitions);
}

/* Lists the blocks of users, where they came in the order of their ids. */
static void
list_user_blocks(EfDerivation *d)
{
	EfShared *shared = d->shared;
	EfStreamReader *rows = EfStreamReadBegin(d->pool, &shared->rows);
	EfUserBlock *blocks;
	uint32 n = 0;
	uint64 rank = 0;

	for (uint32 i = 0; i < d->nunits; i++)
		n += d->units[i].nrow_blocks;
	shared->user_blocks = EfPoolAlloc(d->pool, sizeof(EfUserBlock) * ((size_t) n + 1));
	shared->nuser_blocks = n;
	blocks = EfPoolAddress(d->pool, shared->user_blocks);
	for (uint32 i = 0; i < d->nunits; i++)
	{
		const EfUnit *unit = &d->units[i];

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
	shared->users = shared->rows;
}

static void
read_users(EfDerivation *d)
{
	EfShared *shared = d->shared;
	EfStreamReader *logs;
	EfIdRun *runs;

	EfReadKind(d, EF_USERS);
	if (d->report->kinds[EF_USERS].loaded > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d users", PG_INT32_MAX)));
	runs = EfListRuns(d);
	logs = EfStreamReadBegin(d->pool, &shared->ids);
	EfRanksBuild(d->pool, &shared->ranks, logs, runs, (int) d->nunits);
	EfStreamReadEnd(logs);
	EfStreamsEnd(d->pool, &shared->ids);
	plan_partitions(d);
	if (EfIdsAscend(runs, (int) d->nunits))
		list_user_blocks(d);
	else
	{
		EfBeginStreams(d, &shared->users, shared->npartitions, d->bytes[EF_USERS]);
		EfTeamDo(d->team, EF_JOB_SCATTER);
		EfStreamsEnd(d->pool, &shared->rows);
	}
	pfree(runs);
}

static void
read_compounds(EfDerivation *d)
{
	EfReadKind(d, EF_COMPOUNDS);
	EfStreamsEnd(d->pool, &d->shared->ids);
	d->shared->compounds = d->shared->rows;
}

static void
read_experiments(EfDerivation *d)
{
	EfReadKind(d, EF_EXPERIMENTS);
	EfStreamsEnd(d->pool, &d->shared->ids);
	d->shared->experiments = d->shared->rows;
}

/* --- deriving --- */

/* Distinct ids among those that members found unknown. */
static int64
count_unknown(EfDerivation *d)
{
	EfStreamReader *reader = EfStreamReadBegin(d->pool, &d->shared->unknown);
	int64 *ids = NULL;
	size_t n = 0;
	size_t distinct = 0;

	for (uint32 member = 0; member < d->team->nmembers; member++)
	{
		for (uint32 block = 0; block < EfStreamCount(reader, 0, member); block++)
		{
			size_t len;
			bool copied;
			char *data = EfStreamBlock(reader, 0, member, block, &len, &copied);
			int64 *more = palloc_extended(n * sizeof(int64) + len, MCXT_ALLOC_HUGE);

			if (n > 0)
				memcpy(more, ids, n * sizeof(int64));
			memcpy(more + n, data, len);
			n += len / sizeof(int64);
			ids = more;
		}
	}
	EfStreamReadEnd(reader);
	if (n > 0)
		EfSortIds(ids, n);
	for (size_t i = 0; i < n; i++)
		distinct += i == 0 || ids[i] != ids[i - 1];
	return (int64) distinct;
}

/* Lets the members begin to derive; the leader's part is done in next_tuple. */
static void
begin_deriving(EfDerivation *d)
{
	EfShared *shared = d->shared;

	shared->totals.users = (int64) shared->ranks.count;
	shared->totals.experiments = d->report->kinds[EF_EXPERIMENTS].loaded;
	shared->derived = EfPoolAlloc(d->pool, sizeof(pg_atomic_uint32) * shared->npartitions);
	pg_atomic_init_u32(&shared->given, 0);
	EfBeginStreams(d, &shared->tuples, shared->npartitions, d->bytes[EF_USERS] * 4);
	shared->tuples.in_memory = true;
	EfBeginStreams(d, &shared->unknown, 1, EF_BLOCK_LEAST);
	EfTeamStart(d->team, EF_JOB_DERIVE);
	d->deriving = EfTupleMakerBegin(d->team);
}

/* Ends the team's work, so that this process may write to tables again. */
static void
end_deriving(EfDerivation *d)
{
	if (d->deriving == NULL)
		return;
	EfTupleMakerEnd(d->deriving);
	d->deriving = NULL;
	EfTeamFinish(d->team);
	d->report->unknown_compounds = count_unknown(d);
	EfTeamDismiss(d->team);
	d->shared = d->team->data;
	d->tuples = NULL;
	EfProgressPhase(EF_FINISHING);
}

static int
count_workers(const EfDerivation *d)
{
	int64 bytes = 0;

	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		bytes += d->bytes[kind];
	return (int) Min((int64) EfTeamWorkers(), bytes / WORKER_BYTES);
}

static void
begin_team(EfDerivation *d)
{
	EfShared *shared;
	size_t null_size = strlen(d->options->null) + 1;

	d->team = EfTeamBegin(CurrentMemoryContext, count_workers(d), sizeof(EfShared),
						  EfPoolLimit());
	d->pool = &d->team->pool;
	shared = d->shared = d->team->data;
	EfSourceShare(d->source, &shared->source);
	shared->encoding = d->options->encoding;
	shared->max_record = EfMaxRecord();
	pg_atomic_init_u32(&shared->ended, 0);
	pg_atomic_init_u64(&shared->bytes_done, 0);
	pg_atomic_init_u64(&shared->records_done, 0);
	pg_atomic_init_u64(&shared->rejects_done, 0);
	shared->null = EfPoolAlloc(d->pool, null_size);
	memcpy(EfPoolAddress(d->pool, shared->null), d->options->null, null_size);
}

EfDerivation *
EfDeriveBegin(const char *path, const EfSpool *spool, const EfOptions *options,
			  EfRejectFn on_reject, void *arg, EfReport *report)
{
	EfDerivation *d = palloc0(sizeof(EfDerivation));
	List *names[EF_KINDS];

	d->options = options;
	d->on_reject = on_reject;
	d->reject_arg = arg;
	d->report = report;
	d->source = spool == NULL ? EfSourceOpen(CurrentMemoryContext, path) :
								EfSourceOpenSpool(CurrentMemoryContext, path, spool);
	memset(report, 0, sizeof(*report));
	report->source = pstrdup(EfSourcePath(d->source));

	/* a kind that is missing altogether is found before anything is read */
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		names[kind] = EfSourceFiles(d->source, kind);
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		instr_time start;

		INSTR_TIME_SET_CURRENT(start);
		EfDetectFiles(d, kind, names[kind]);
		report->kinds[kind].seconds += EfElapsed(start);
	}
	EfProgressTotal(report->bytes);
	return d;
}

void
EfDeriveFingerprint(EfDerivation *d, char *digits)
{
	EfFingerprint *fingerprint = EfFingerprintBegin();
	size_t max_record = EfMaxRecord();
	int64 bytes = 0;

	EfProgressPhase(EF_COMPARING);

	/* what else it is that features depend on; run compares the options */
	EfFingerprintAddText(fingerprint, EF_VERSION);
	EfFingerprintAdd(fingerprint, &max_record, sizeof(max_record));
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		for (int i = 0; i < d->nfiles[kind]; i++)
			bytes = EfFingerprintFile(d, fingerprint, &d->files[kind][i], bytes);
	EfFingerprintEnd(fingerprint, digits);
	EfProgressRead(0, 0, 0);
}

void
EfDeriveFeatures(EfDerivation *d, bool view)
{
	static void (*const read[EF_KINDS])(EfDerivation *) = {
		[EF_USERS] = read_users,
		[EF_COMPOUNDS] = read_compounds,
		[EF_EXPERIMENTS] = read_experiments,
	};

	begin_team(d);
	d->shared->view = view;
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		instr_time start;

		INSTR_TIME_SET_CURRENT(start);
		EfProgressPhase(EF_READING + kind);
		read[kind](d);
		d->report->kinds[kind].seconds += EfElapsed(start);
	}
	EfSourceClose(d->source);
	EfProgressPhase(EF_WRITING);
	begin_deriving(d);
}

/* --- giving out what was derived --- */

static bool
is_derived(EfDerivation *d, uint32 partition)
{
	pg_atomic_uint32 *derived = EfPoolAddress(d->pool, d->shared->derived);

	if (pg_atomic_read_u32(&derived[partition]) == 0)
		return false;
	pg_read_barrier();
	return true;
}

/* Derives until a partition's tuples are there; waits if another member is at it. */
static void
await_partition(EfDerivation *d, uint32 partition)
{
	uint32 end = Min(d->shared->npartitions, partition + EF_DERIVE_AHEAD(d->team->nmembers));

	while (!is_derived(d, partition))
	{
		if (EfTeamPeek(d->team) < end)
		{
			uint32 next = EfTeamNext(d->team);

			if (next < d->shared->npartitions)
				EfTupleMakerDerive(d->deriving, next);
			continue;
		}
		EfTeamWaitBegin(d->team);
		while (!is_derived(d, partition))
			EfTeamWait(d->team);
		EfTeamWaitEnd(d->team);
	}
}

/* A partition's rows have been given out. */
static void
show_rows(const EfDerivation *d)
{
	int64 users = d->shared->totals.users;

	EfProgressRows(Min(users, (int64) (d->partition + 1) << d->shared->shift), users);
}

/* Goes on to the next block of tuples; false at the end. What was given out is given up. */
static bool
next_block(EfDerivation *d)
{
	size_t len;
	bool copied;

	for (;;)
	{
		if (d->partition == d->shared->npartitions)
			return false;
		if (d->member == 0 && d->block == 0)
			await_partition(d, d->partition);
		if (d->block < EfStreamCount(d->tuples, d->partition, d->member))
			break;
		d->block = 0;
		if (++d->member < d->team->nmembers)
			continue;
		d->member = 0;
		EfStreamRelease(d->tuples, d->partition);
		show_rows(d);
		pg_atomic_write_u32(&d->shared->given, ++d->partition);
		EfTeamWake(d->team);
	}
	d->at = EfStreamBlock(d->tuples, d->partition, d->member, d->block++, &len, &copied);
	d->end = d->at + len;
	return true;
}

static bool
next_tuple(void *arg, HeapTupleData *tuple)
{
	EfDerivation *d = arg;
	EfPackedTuple *packed;

	if (d->deriving == NULL)
		return false;
	while (d->at == d->end)
	{
		if (next_block(d))
			continue;
		end_deriving(d);
		return false;
	}
	packed = (EfPackedTuple *) d->at;
	if (packed->len == 0)
		EfFeaturesOutOfRange(packed->user_id);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	tuple->t_len = packed->len;
	tuple->t_data = (HeapTupleHeader) (d->at + sizeof(*packed));
	d->at += sizeof(*packed) + MAXALIGN(packed->len);
	return true;
}

EfTuples
EfDeriveTuples(EfDerivation *derivation)
{
	derivation->tuples = EfStreamReadBegin(derivation->pool, &derivation->shared->tuples);
	return (EfTuples){derivation->shared->view ? &EfFeaturesView : &EfUserFeatures, next_tuple,
					  derivation, derivation->shared->totals.users};
}

static bool
next_compound(void *arg, EfCompound *compound)
{
	EfDerivation *d = arg;

	while (d->at == d->end)
	{
		size_t len;

		if (d->copied)
			pfree(d->data);
		d->copied = false;
		while (d->block == EfStreamCount(d->compounds, 0, d->member))
		{
			d->block = 0;
			if (++d->member == d->team->nmembers)
				return false;
		}
		d->data = d->at = EfStreamBlock(d->compounds, 0, d->member, d->block++, &len, &d->copied);
		d->end = d->at + len;
	}
	d->at = unconstify(char *, EfUnpackCompound(d->at, compound));
	return true;
}

EfCompounds
EfDeriveCompounds(EfDerivation *derivation)
{
	Assert(derivation->deriving == NULL);
	derivation->compounds = EfStreamReadBegin(derivation->pool, &derivation->shared->compounds);
	derivation->member = derivation->block = 0;
	derivation->at = derivation->end = NULL;
	return (EfCompounds){next_compound, derivation};
}

void
EfDeriveEnd(EfDerivation *derivation)
{
	end_deriving(derivation);
	if (derivation->compounds != NULL)
		EfStreamReadEnd(derivation->compounds);
	if (derivation->team != NULL)
		EfTeamEnd(derivation->team);
	else
		EfSourceClose(derivation->source);
	pfree(derivation);
}
