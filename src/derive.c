/*
 * derive.c
 *		Wires the stages: what the leader of a team does.
 *
 *	for each kind	EfFilesDetect -> EfKindRead, with the job of reading
 *	users			ranks of their ids -> partitions -> the job of scattering
 *	at the end		the job of deriving -> tuples
 *
 * One job follows the other, and the leader prepares each:
 *
 *	read		units of files -> rows, ids, rejects; once for each kind	(derive_read.c)
 *	scatter		users -> users by partition, unless they came in order		(derive_partition.c)
 *	derive		a partition's users and experiments -> tuples of features	(derive_tuples.c)
 *
 * No stage knows the next one: each takes a function to read from or is given
 * what the one before it made.
 */
#include "postgres.h"

#include "derive.h"
#include "derive_kind.h"
#include "derive_pack.h"
#include "derive_tuples.h"
#include "elapsed.h"
#include "progress.h"
#include "source_fingerprint.h"

/* Text for which one more worker is worth its start. */
#define WORKER_BYTES (8 * 1024 * 1024)

/* The leader's own. */
struct EfDerivation
{
	EfFiles files;
	EfReport *report;
	EfRejectFn on_reject;
	void *reject_arg;
	EfTeam *team;
	EfTuplesShared *shared;
	EfKindReader reader;

	/* giving out tuples, then compounds */
	EfTupleMaker *maker; /* NULL: all tuples were given out */
	EfStreamReader *tuples;
	EfStreamReader *compounds;
	uint32 partition;
	uint32 member;
	uint32 block;
	char *at;
	char *end;
	char *data; /* to be freed, if copied */
	bool copied;
};

void
EfDeriveInit(void)
{
	EfInputInit();
	EfStreamInit();
	EfTeamInit();

	/* the jobs */
	EfReadInit();
	EfPartitionInit();
	EfTuplesInit();
}

EfDerivation *
EfDeriveBegin(const char *path, const EfSpool *spool, const EfOptions *options,
			  EfRejectFn on_reject, void *arg, EfReport *report)
{
	EfDerivation *d = palloc0(sizeof(EfDerivation));
	EfFiles *files = &d->files;
	List *names[EF_KINDS];

	d->report = report;
	d->on_reject = on_reject;
	d->reject_arg = arg;
	files->options = options;
	files->source = spool == NULL ? EfSourceOpen(CurrentMemoryContext, path) :
									EfSourceOpenSpool(CurrentMemoryContext, path, spool);
	memset(report, 0, sizeof(*report));
	report->source = pstrdup(EfSourcePath(files->source));

	/* a kind that is missing altogether is found before anything is read */
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		names[kind] = EfSourceFiles(files->source, kind);
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		instr_time start;

		INSTR_TIME_SET_CURRENT(start);
		EfFilesDetect(files, kind, names[kind], report);
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
		for (int i = 0; i < d->files.n[kind]; i++)
			bytes = EfFilesFingerprint(&d->files, fingerprint, &d->files.infos[kind][i], bytes);
	EfFingerprintEnd(fingerprint, digits);
	EfProgressRead(0, 0, 0);
}

/* --- reading --- */

static void
read_users(EfDerivation *d)
{
	EfTuplesShared *shared = d->shared;
	EfPool *pool = &d->team->pool;
	EfStreams rows;
	EfStreams ids;

	EfKindRead(&d->reader, EF_USERS, NULL, &rows, &ids);
	if (d->report->kinds[EF_USERS].loaded > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d users", PG_INT32_MAX)));
	EfPartitionsPlan(&shared->partitions, pool, &ids, &d->reader.units, d->files.bytes);
	EfStreamsEnd(pool, &ids);
	EfPartitionUsers(d->team, &shared->partitions, &rows, &d->reader.units,
					 d->files.bytes[EF_USERS], &shared->users);
}

static void
read_compounds(EfDerivation *d)
{
	EfStreams ids;

	EfKindRead(&d->reader, EF_COMPOUNDS, NULL, &d->shared->compounds, &ids);
	EfStreamsEnd(&d->team->pool, &ids);
}

static void
read_experiments(EfDerivation *d)
{
	EfStreams ids;

	EfKindRead(&d->reader, EF_EXPERIMENTS, &d->shared->partitions, &d->shared->experiments, &ids);
	EfStreamsEnd(&d->team->pool, &ids);
}

static int
choose_nworkers(const EfFiles *files)
{
	int64 bytes = 0;

	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		bytes += files->bytes[kind];
	return (int) Min((int64) EfTeamWorkers(), bytes / WORKER_BYTES);
}

/* Lets the members begin to derive; the leader's part is done in next_tuple. */
static void
begin_deriving(EfDerivation *d)
{
	d->shared->totals.users = (int64) d->shared->partitions.ranks.count;
	d->shared->totals.experiments = d->report->kinds[EF_EXPERIMENTS].loaded;
	d->maker = EfTuplesBegin(d->team, d->files.bytes[EF_USERS] * 4);
}

/* Ends the team's work, so that this process may write to tables again. */
static void
end_deriving(EfDerivation *d)
{
	if (d->maker == NULL)
		return;
	d->report->unknown_compounds = EfTuplesEnd(d->maker);
	d->maker = NULL;
	EfTeamDismiss(d->team);
	d->shared = EfTuplesSharedOf(d->team);
	d->tuples = NULL;
	EfProgressPhase(EF_FINISHING);
}

void
EfDeriveFeatures(EfDerivation *d, bool view)
{
	static void (*const read[EF_KINDS])(EfDerivation *) = {
		[EF_USERS] = read_users,
		[EF_COMPOUNDS] = read_compounds,
		[EF_EXPERIMENTS] = read_experiments,
	};

	d->team = EfTeamBegin(CurrentMemoryContext, choose_nworkers(&d->files));
	d->shared = EfTuplesSharedOf(d->team);
	d->shared->view = view;
	EfKindReaderBegin(&d->reader, d->team, &d->files, d->report, d->on_reject, d->reject_arg);
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		instr_time start;

		INSTR_TIME_SET_CURRENT(start);
		EfProgressPhase(EF_READING + kind);
		read[kind](d);
		d->report->kinds[kind].seconds += EfElapsed(start);
	}
	EfSourceClose(d->files.source);
	EfProgressPhase(EF_WRITING);
	begin_deriving(d);
}

/* --- giving out what was derived --- */

/* A partition's rows have been given out. */
static void
show_rows(const EfDerivation *d)
{
	int64 users = d->shared->totals.users;

	EfProgressRows(Min(users, (int64) (d->partition + 1) << d->shared->partitions.shift), users);
}

/* Goes on to the next block of tuples; false at the end. What was given out is given up. */
static bool
next_block(EfDerivation *d)
{
	size_t len;
	bool copied;

	for (;;)
	{
		if (d->partition == d->shared->partitions.n)
			return false;
		if (d->member == 0 && d->block == 0)
			EfTuplesAwait(d->maker, d->partition);
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
	EfTupleHeader *header;

	if (d->maker == NULL)
		return false;
	while (d->at == d->end)
	{
		if (next_block(d))
			continue;
		end_deriving(d);
		return false;
	}
	header = (EfTupleHeader *) d->at;
	if (header->len == 0)
		EfFeaturesOutOfRange(header->user_id);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	tuple->t_len = header->len;
	tuple->t_data = (HeapTupleHeader) (d->at + sizeof(*header));
	d->at += sizeof(*header) + MAXALIGN(header->len);
	return true;
}

EfTuples
EfDeriveTuples(EfDerivation *derivation)
{
	derivation->tuples = EfStreamReadBegin(&derivation->team->pool, &derivation->shared->tuples);
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
	Assert(derivation->maker == NULL);
	derivation->compounds = EfStreamReadBegin(&derivation->team->pool, &derivation->shared->compounds);
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
		EfSourceClose(derivation->files.source);
	pfree(derivation);
}
