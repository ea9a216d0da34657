/*
 * derive_kind.c
 *		Has the files of one kind read: the leader's part.
 *
 *	files -> units -> the job of reading -> do units fit, are ids repeated?
 *	           ^                                  |            |
 *	           `------------- again --------------`------------'
 *
 * Ids that occur twice show only when all files of a kind have been read. Then
 * they are read again, knowing which records to reject, so rejects come in the
 * order of the files whatever their reason.
 */
#include "postgres.h"

#include "derive_kind.h"
#include "derive_pack.h"

/* Memory for finding repeated ids, at least: with less, logs are read again and again. */
#define ID_MEMORY (4 * 1024 * 1024)

void
EfKindReaderBegin(EfKindReader *reader, EfTeam *team, const EfFiles *files, EfReport *report,
				  EfRejectFn on_reject, void *arg)
{
	EfReadShared *shared = EfReadSharedOf(team);
	const char *null = files->options->null;
	size_t null_size = strlen(null) + 1;

	memset(reader, 0, sizeof(*reader));
	reader->team = team;
	reader->files = files;
	reader->report = report;
	reader->rejects.options = files->options;
	reader->rejects.fn = on_reject;
	reader->rejects.arg = arg;

	EfSourceShare(files->source, &shared->source);
	shared->encoding = files->options->encoding;
	shared->max_record = EfMaxRecord();
	shared->null = EfPoolAlloc(&team->pool, null_size);
	memcpy(EfPoolAddress(&team->pool, shared->null), null, null_size);
	pg_atomic_init_u32(&shared->ended, 0);
	pg_atomic_init_u64(&shared->progress.bytes, 0);
	pg_atomic_init_u64(&shared->progress.records, 0);
	pg_atomic_init_u64(&shared->progress.rejects, 0);
}

/* What is known before the kind is read, again where it has been before. */
static void
begin_progress(EfKindReader *reader, EfReadShared *shared)
{
	uint64 bytes = 0;
	uint64 records = 0;

	for (EfKind kind = 0; kind < shared->kind; kind++)
	{
		records += (uint64) reader->report->kinds[kind].read;
		for (int i = 0; i < reader->files->n[kind]; i++)
			bytes += (uint64) reader->files->notes[kind][i]->bytes;
	}
	pg_atomic_write_u64(&shared->progress.bytes, bytes);
	pg_atomic_write_u64(&shared->progress.records, records);
	pg_atomic_write_u64(&shared->progress.rejects, (uint64) reader->rejects.given);
}

/* Has the units read. */
static void
read_units(EfKindReader *reader, EfReadShared *shared)
{
	EfTeam *team = reader->team;
	EfPool *pool = &team->pool;
	EfUnits *units = &reader->units;
	int64 bytes = reader->files->bytes[shared->kind];
	uint32 nrows = shared->kind == EF_EXPERIMENTS ? shared->partitions.n : 1;
	size_t size = sizeof(EfUnit) * units->n;

	EfTeamBeginStreams(team, &shared->rows, nrows, (int64) ((double) bytes * EF_PACKED_PART));
	EfTeamBeginStreams(team, &shared->ids, 1, bytes / 16);
	EfTeamBeginStreams(team, &shared->rejects, 1, EF_BLOCK_LEAST);
	shared->nunits = units->n;
	shared->units = EfPoolAlloc(pool, size);
	memcpy(EfPoolAddress(pool, shared->units), units->units, size);
	pg_atomic_write_u32(&shared->ended, 0);
	begin_progress(reader, shared);
	EfReadUnits(team);
	memcpy(units->units, EfPoolAddress(pool, shared->units), size);
	EfPoolFree(pool, shared->units);

	/* those not read, or not to the end, say nothing */
	units->n = Min(units->n, pg_atomic_read_u32(&shared->last));
	if (units->n < shared->nunits)
		units->n++;
}

/* Whether ids were repeated, which then is known to the next reading. */
static bool
find_repeated(EfKindReader *reader, EfReadShared *shared)
{
	EfPool *pool = &reader->team->pool;
	EfUnits *units = &reader->units;
	EfIdRun *runs = EfUnitsIds(units);
	bool ascend = EfIdsAscend(runs, (int) units->n);
	int64 repeated = 0;

	if (!ascend)
	{
		EfStreamReader *logs = EfStreamReadBegin(pool, &shared->ids);
		int64 count = 0;

		for (uint32 i = 0; i < units->n; i++)
		{
			units->units[i].id_number = count;
			count += runs[i].count;
		}
		shared->repeated_ids = EfPoolAlloc(pool, ((size_t) count / 64 + 1) * sizeof(uint64));
		repeated = EfIdsRepeated(logs, runs, (int) units->n, Max(EfPoolLimit() / 4, ID_MEMORY),
								 EfPoolAddress(pool, shared->repeated_ids));
		EfStreamReadEnd(logs);
		if (repeated == 0)
		{
			EfPoolFree(pool, shared->repeated_ids);
			shared->repeated_ids = InvalidDsaPointer;
		}
	}
	pfree(runs);
	return repeated > 0;
}

/* Gives out the rejects in the order of the files, and counts what was read. */
static void
finish_units(EfKindReader *reader, EfReadShared *shared)
{
	EfKind kind = shared->kind;
	EfKindCounts *counts = &reader->report->kinds[kind];
	EfStreamReader *rejects = EfStreamReadBegin(&reader->team->pool, &shared->rejects);
	int64 line = 0;

	for (uint32 i = 0; i < reader->units.n; i++)
	{
		const EfUnit *unit = &reader->units.units[i];
		const EfFileInfo *file = &reader->files->infos[kind][unit->file];
		EfFileNote *note = reader->files->notes[kind][unit->file];

		if (i == 0 || unit->file != unit[-1].file)
			line = file->data_line;
		if (unit->rejected > 0)
			EfGiveRejects(&reader->rejects, rejects, unit->member, unit->reject_block,
						  unit->rejected,
						  &(EfReject){.kind = kind, .file = file->name, .line = line});
		line += unit->lines;
		note->records += unit->read;
		note->newlines.lf += unit->newlines.lf;
		note->newlines.crlf += unit->newlines.crlf;
		note->newlines.cr += unit->newlines.cr;
		counts->read += unit->read;
		counts->rejected += unit->rejected;
	}
	counts->loaded = counts->read - counts->rejected;
	EfStreamReadEnd(rejects);
}

/* How many rejects in one unit are too many, whatever there was in others. */
static int64
reject_limit(const EfRejectSink *rejects)
{
	const EfOptions *options = rejects->options;

	if (!options->ignore)
		return 0;
	return options->reject_limit > 0 ? options->reject_limit - rejects->given : PG_INT64_MAX;
}

void
EfKindRead(EfKindReader *reader, EfKind kind, const EfPartitions *partitions, EfStreams *rows,
		   EfStreams *ids)
{
	EfReadShared *shared = EfReadSharedOf(reader->team);
	EfPool *pool = &reader->team->pool;
	const EfFiles *files = reader->files;
	size_t size = sizeof(EfFileInfo) * (size_t) files->n[kind];
	bool *exactly = palloc0(sizeof(bool) * (Size) files->n[kind]);

	shared->kind = kind;
	if (partitions != NULL)
		shared->partitions = *partitions;
	shared->reject_limit = reject_limit(&reader->rejects);
	shared->repeated_ids = InvalidDsaPointer;
	pg_atomic_init_u32(&shared->last, PG_UINT32_MAX);
	shared->files = EfPoolAlloc(pool, size);
	memcpy(EfPoolAddress(pool, shared->files), files->infos[kind], size);
	EfUnitsCut(&reader->units, files, kind, exactly);
	for (;;)
	{
		read_units(reader, shared);
		if (!EfUnitsFit(&reader->units, exactly))
		{
			pg_atomic_write_u32(&shared->last, PG_UINT32_MAX);
			EfUnitsCut(&reader->units, files, kind, exactly);
		}
		else if (DsaPointerIsValid(shared->repeated_ids) || !find_repeated(reader, shared))
			break;
		EfStreamsEnd(pool, &shared->rows);
		EfStreamsEnd(pool, &shared->ids);
		EfStreamsEnd(pool, &shared->rejects);
	}
	finish_units(reader, shared);
	EfStreamsEnd(pool, &shared->rejects);
	EfPoolFree(pool, shared->repeated_ids);
	EfPoolFree(pool, shared->files);
	pfree(exactly);
	*rows = shared->rows;
	*ids = shared->ids;
}
