/*
 * derive_kind.c
 *		Reads the files of one kind: the leader's part.
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

#include "derive_shared.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "progress.h"
#include "utils/memutils.h"

/* Streams have blocks of at most so many bytes. */
#define EF_BLOCK_MOST (64 * 1024)

/* Memory for finding repeated ids, at least: with less, logs are read again and again. */
#define ID_MEMORY (4 * 1024 * 1024)

/* What compression saves, roughly. */
#define COMPRESSION 4

/* A fingerprint is taken of blocks that stay in a processor's cache. */
#define FINGERPRINT_BLOCK (256 * 1024)

/* --- files and units --- */

/* Finds dialect and columns of a file, and where its data begins. */
static void
detect_file(EfDerivation *d, EfFileInfo *shared, EfFileNote *note)
{
	EfPlace place = {.file = note->file};
	ErrorContextCallback callback = {.callback = EfPlaceContext, .arg = &place};
	EfInput input;

	callback.previous = error_context_stack;
	error_context_stack = &callback;

	EfInputBegin(&input, EfFileOpen(d->source, note->kind, note->file, d->options->encoding));
	EfInputDetect(&input, d->options, shared, note);
	pfree(input.sample);
	EfFileClose(input.file);

	error_context_stack = callback.previous;
}

/* Opens a file again, which must be the same still. */
static EfFile *
open_file(EfDerivation *d, const EfFileInfo *file)
{
	EfFile *opened = EfFileOpen(d->source, file->map.kind, file->name, d->options->encoding);

	EfFileCheckStamp(opened, &file->stamp);
	return opened;
}

/* Looks at the beginning of every file, before anything is read. */
void
EfDetectFiles(EfDerivation *d, EfKind kind, List *names)
{
	ListCell *cell;
	int n = 0;

	d->files[kind] = palloc0(sizeof(EfFileInfo) * (Size) list_length(names));
	d->notes[kind] = palloc(sizeof(EfFileNote *) * (Size) list_length(names));
	foreach(cell, names)
	{
		EfFileNote *note = palloc0(sizeof(EfFileNote));

		note->kind = kind;
		note->file = lfirst(cell);
		detect_file(d, &d->files[kind][n], note);
		d->notes[kind][n] = note;
		d->report->files = lappend(d->report->files, note);
		d->report->bytes += note->bytes;
		d->bytes[kind] += note->bytes * (strcmp(note->compression, "none") == 0 ? 1 : COMPRESSION);
		n++;
	}
	d->nfiles[kind] = n;
}

int64
EfFingerprintFile(EfDerivation *d, EfFingerprint *fingerprint, const EfFileInfo *file, int64 done)
{
	EfFile *opened = open_file(d, file);
	char *buffer = palloc(FINGERPRINT_BLOCK);
	int64 offset = 0;
	size_t got;

	EfFingerprintAddText(fingerprint, file->name);
	EfFingerprintAdd(fingerprint, &file->stamp.size, sizeof(file->stamp.size));
	while ((got = EfFileReadBytes(opened, offset, buffer, FINGERPRINT_BLOCK)) > 0)
	{
		EfFingerprintAdd(fingerprint, buffer, got);
		offset += (int64) got;
		EfProgressRead(done + offset, 0, 0);
	}
	pfree(buffer);
	EfFileClose(opened);
	return done + offset;
}

static EfUnit *
add_unit(EfDerivation *d, uint32 file, int64 begin, int64 end)
{
	EfUnit *unit;

	if (d->nunits == d->units_room)
	{
		EfUnit *more;

		d->units_room = Max(64, d->units_room * 2);
		more = palloc_extended(sizeof(EfUnit) * d->units_room, MCXT_ALLOC_HUGE);
		if (d->nunits > 0)
		{
			memcpy(more, d->units, sizeof(EfUnit) * d->nunits);
			pfree(d->units);
		}
		d->units = more;
	}
	unit = &d->units[d->nunits++];
	memset(unit, 0, sizeof(*unit));
	unit->file = file;
	unit->begin = begin;
	unit->end = end;
	return unit;
}

/* Cuts a file into units anywhere; lines are looked for later. */
static void
cut_file(EfDerivation *d, uint32 number)
{
	const EfFileInfo *file = &d->files[d->shared->kind][number];
	int64 begin = file->data_offset;
	EfUnit *unit = add_unit(d, number, begin, PG_INT64_MAX);

	unit->exact = true;
	unit->line = file->data_line;
	while (file->plain && file->stamp.size - begin > EF_UNIT_SIZE * 3 / 2)
	{
		begin += EF_UNIT_SIZE;
		unit->end = begin;
		unit = add_unit(d, number, begin, PG_INT64_MAX);
	}
}

/* Cuts a file where records begin, which takes reading it. */
static void
cut_file_exactly(EfDerivation *d, uint32 number)
{
	const EfFileInfo *file = &d->files[d->shared->kind][number];
	EfFile *opened = open_file(d, file);
	EfUnit *unit = add_unit(d, number, file->data_offset, PG_INT64_MAX);
	EfRecordReader *reader;
	EfRecord record;

	unit->exact = true;
	unit->line = file->data_line;
	EfFileSeek(opened, unit->begin);
	reader = EfRecordBegin(CurrentMemoryContext, &file->dialect, EfFileRead, opened, unit->line,
						   unit->begin, EfMaxRecord());
	while (EfRecordNext(reader, &record))
	{
		int64 line;
		int64 offset;

		CHECK_FOR_INTERRUPTS();
		EfRecordPosition(reader, &line, &offset);
		if (record.defect == EF_LINE_SIZE || offset - unit->begin < EF_UNIT_SIZE)
			continue;
		unit->end = offset;
		unit = add_unit(d, number, offset, PG_INT64_MAX);
		unit->exact = true;
		unit->line = line;
	}
	EfRecordEnd(reader);
	EfFileClose(opened);
}

/* Makes the units of all files; exactly says of which to take care. */
static void
cut_files(EfDerivation *d, const bool *exactly)
{
	d->nunits = 0;
	for (int i = 0; i < d->nfiles[d->shared->kind]; i++)
	{
		if (exactly[i])
			cut_file_exactly(d, (uint32) i);
		else
			cut_file(d, (uint32) i);
	}
}

/* --- streams --- */

static size_t
block_size(const EfDerivation *d, uint32 nstreams, int64 bytes)
{
	uint64 most = Min((uint64) bytes, d->pool->shared->limit / 8);
	uint64 size = most / ((uint64) nstreams * d->team->nmembers);

	return Max(EF_BLOCK_LEAST, Min(EF_BLOCK_MOST, size / EF_BLOCK_LEAST * EF_BLOCK_LEAST));
}

void
EfBeginStreams(EfDerivation *d, EfStreams *streams, uint32 nstreams, int64 bytes)
{
	EfStreamsBegin(d->pool, streams, nstreams, d->team->nmembers,
				   (uint32) block_size(d, nstreams, bytes));
}

/* --- reading a kind --- */

/* What is known before the kind is read, again where it has been before. */
static void
begin_progress(EfDerivation *d)
{
	EfShared *shared = d->shared;
	uint64 bytes = 0;
	uint64 records = 0;

	for (EfKind kind = 0; kind < shared->kind; kind++)
	{
		records += (uint64) d->report->kinds[kind].read;
		for (int i = 0; i < d->nfiles[kind]; i++)
			bytes += (uint64) d->notes[kind][i]->bytes;
	}
	pg_atomic_write_u64(&shared->bytes_done, bytes);
	pg_atomic_write_u64(&shared->records_done, records);
	pg_atomic_write_u64(&shared->rejects_done, (uint64) d->rejected);
}

/* Has the units read. */
static void
read_units(EfDerivation *d)
{
	EfShared *shared = d->shared;
	EfKind kind = shared->kind;
	uint32 nrows = kind == EF_EXPERIMENTS ? shared->npartitions : 1;
	size_t size = sizeof(EfUnit) * d->nunits;

	EfBeginStreams(d, &shared->rows, nrows, (int64) ((double) d->bytes[kind] * EF_PACKED_PART));
	EfBeginStreams(d, &shared->ids, 1, d->bytes[kind] / 16);
	EfBeginStreams(d, &shared->rejects, 1, EF_BLOCK_LEAST);
	shared->nunits = d->nunits;
	shared->units = EfPoolAlloc(d->pool, size);
	memcpy(EfPoolAddress(d->pool, shared->units), d->units, size);
	pg_atomic_write_u32(&shared->ended, 0);
	begin_progress(d);
	EfTeamDo(d->team, EF_JOB_READ);
	memcpy(d->units, EfPoolAddress(d->pool, shared->units), size);
	EfPoolFree(d->pool, shared->units);

	/* those not read, or not to the end, say nothing */
	d->nunits = Min(d->nunits, pg_atomic_read_u32(&shared->last));
	if (d->nunits < shared->nunits)
		d->nunits++;
}

static void
end_streams(EfDerivation *d)
{
	EfStreamsEnd(d->pool, &d->shared->rows);
	EfStreamsEnd(d->pool, &d->shared->ids);
	EfStreamsEnd(d->pool, &d->shared->rejects);
}

/* Whether each unit began where the one before ended; exactly says where not. */
static bool
units_fit(const EfDerivation *d, bool *exactly)
{
	bool fit = true;

	for (uint32 i = 1; i < d->nunits; i++)
	{
		const EfUnit *unit = &d->units[i];

		if (unit->file != unit[-1].file || unit->first == unit[-1].next)
			continue;
		exactly[unit->file] = true;
		fit = false;
	}
	return fit;
}

EfIdRun *
EfListRuns(const EfDerivation *d)
{
	EfIdRun *runs = palloc_extended(sizeof(EfIdRun) * (d->nunits + 1), MCXT_ALLOC_HUGE);

	for (uint32 i = 0; i < d->nunits; i++)
		runs[i] = d->units[i].ids;
	return runs;
}

/* Whether ids were repeated, which then is known to the next reading. */
static bool
find_repeated(EfDerivation *d)
{
	EfIdRun *runs = EfListRuns(d);
	bool ascend = EfIdsAscend(runs, (int) d->nunits);
	int64 repeated = 0;

	if (!ascend)
	{
		EfStreamReader *logs = EfStreamReadBegin(d->pool, &d->shared->ids);
		int64 count = 0;

		for (uint32 i = 0; i < d->nunits; i++)
		{
			d->units[i].id_number = count;
			count += runs[i].count;
		}
		d->shared->repeated_ids = EfPoolAlloc(d->pool, ((size_t) count / 64 + 1) * sizeof(uint64));
		repeated = EfIdsRepeated(logs, runs, (int) d->nunits, Max(EfPoolLimit() / 4, ID_MEMORY),
								 EfPoolAddress(d->pool, d->shared->repeated_ids));
		EfStreamReadEnd(logs);
		if (repeated == 0)
		{
			EfPoolFree(d->pool, d->shared->repeated_ids);
			d->shared->repeated_ids = InvalidDsaPointer;
		}
	}
	pfree(runs);
	return repeated > 0;
}

/* --- rejects --- */

static void
give_reject(EfDerivation *d, EfPlace *place, const EfReject *reject)
{
	place->reject = reject;
	d->on_reject(d->reject_arg, reject);
	if (!d->options->ignore)
		EfRejectThrow(reject);
	d->rejected++;
	if (d->options->reject_limit > 0 && d->rejected > d->options->reject_limit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg_plural("more than " INT64_FORMAT " record rejected",
							   "more than " INT64_FORMAT " records rejected",
							   (unsigned long) d->options->reject_limit,
							   d->options->reject_limit),
				 errdetail("The last one: %s.", reject->message),
				 errhint("Correct the files, or raise reject_limit.")));
	place->reject = NULL;
}

static char *
take_string(const char **from, uint32 len)
{
	char *string = pnstrdup(*from, len);

	*from += len;
	return string;
}

/* Unpacks a reject and gives it out; returns what follows it. */
static const char *
unpack_reject(EfDerivation *d, const EfUnit *unit, int64 line, const char *from)
{
	EfPlace place = {.file = d->files[d->shared->kind][unit->file].name};
	ErrorContextCallback callback = {.callback = EfPlaceContext, .arg = &place};
	EfPackedReject packed;
	EfReject reject;

	memcpy(&packed, from, sizeof(packed));
	from += sizeof(packed);
	memset(&reject, 0, sizeof(reject));
	reject.kind = d->shared->kind;
	reject.reason = packed.reason;
	reject.file = place.file;
	reject.line = line + packed.line;
	reject.offset = packed.offset;
	reject.column = take_string(&from, packed.column);
	if (!packed.has_column)
		reject.column = NULL;
	reject.value.data = packed.has_value ? from : NULL;
	reject.value.len = packed.value;
	from += packed.value;
	reject.sqlstate = packed.sqlstate;
	reject.message = take_string(&from, packed.message);
	reject.raw.data = from;
	reject.raw.len = packed.raw;
	reject.raw_partial = packed.raw_partial;

	callback.previous = error_context_stack;
	error_context_stack = &callback;
	give_reject(d, &place, &reject);
	error_context_stack = callback.previous;
	return from + packed.raw;
}

static void
give_unit_rejects(EfDerivation *d, EfStreamReader *reader, const EfUnit *unit, int64 line)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "eikon_features rejects",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int64 left = unit->rejected;

	for (uint32 block = unit->reject_block; left > 0; block++)
	{
		size_t len;
		bool copied;
		const char *at = EfStreamBlock(reader, 0, unit->member, block, &len, &copied);
		const char *end = at + len;

		for (; at < end && left > 0; left--)
		{
			CHECK_FOR_INTERRUPTS();
			at = unpack_reject(d, unit, line, at);
		}
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Gives out the rejects in the order of the files, and counts what was read. */
static void
finish_units(EfDerivation *d)
{
	EfKindCounts *counts = &d->report->kinds[d->shared->kind];
	EfStreamReader *reader = EfStreamReadBegin(d->pool, &d->shared->rejects);
	int64 line = 0;

	for (uint32 i = 0; i < d->nunits; i++)
	{
		const EfUnit *unit = &d->units[i];
		EfFileNote *note = d->notes[d->shared->kind][unit->file];

		if (i == 0 || unit->file != unit[-1].file)
			line = d->files[d->shared->kind][unit->file].data_line;
		if (unit->rejected > 0)
			give_unit_rejects(d, reader, unit, line);
		line += unit->lines;
		note->records += unit->read;
		note->newlines.lf += unit->newlines.lf;
		note->newlines.crlf += unit->newlines.crlf;
		note->newlines.cr += unit->newlines.cr;
		counts->read += unit->read;
		counts->rejected += unit->rejected;
	}
	counts->loaded = counts->read - counts->rejected;
	EfStreamReadEnd(reader);
}

/* --- the whole kind --- */

/* How many rejects in one unit are too many, whatever there was in others. */
static int64
reject_limit(const EfDerivation *d)
{
	if (!d->options->ignore)
		return 0;
	return d->options->reject_limit > 0 ? d->options->reject_limit - d->rejected : PG_INT64_MAX;
}

/* Leaves the rows in shared->rows and the ids in shared->ids. */
void
EfReadKind(EfDerivation *d, EfKind kind)
{
	EfShared *shared = d->shared;
	size_t size = sizeof(EfFileInfo) * (size_t) d->nfiles[kind];
	bool *exactly = palloc0(sizeof(bool) * (Size) d->nfiles[kind]);

	shared->kind = kind;
	shared->reject_limit = reject_limit(d);
	shared->repeated_ids = InvalidDsaPointer;
	pg_atomic_init_u32(&shared->last, PG_UINT32_MAX);
	shared->files = EfPoolAlloc(d->pool, size);
	memcpy(EfPoolAddress(d->pool, shared->files), d->files[kind], size);
	cut_files(d, exactly);
	for (;;)
	{
		read_units(d);
		if (!units_fit(d, exactly))
		{
			pg_atomic_write_u32(&shared->last, PG_UINT32_MAX);
			cut_files(d, exactly);
		}
		else if (DsaPointerIsValid(shared->repeated_ids) || !find_repeated(d))
			break;
		end_streams(d);
	}
	finish_units(d);
	EfStreamsEnd(d->pool, &shared->rejects);
	EfPoolFree(d->pool, shared->repeated_ids);
	EfPoolFree(d->pool, shared->files);
	pfree(exactly);
}
