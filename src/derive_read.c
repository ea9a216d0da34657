/*
 * derive_read.c
 *		The job of reading one kind's files.
 *
 *	EfFileRead -> EfRecordNext -> EfRowParse -> rows, by partition
 *	                    |              |    `-> ids
 *	                    `--------------`------> rejects
 *
 * Units are taken in order by whoever is free. Where a unit begins is found
 * by looking for a newline, which is wrong where that stands within quotes: the
 * leader sees it by the place where the unit before ended, and has the file
 * read again by units that are known to begin with a record.
 *
 * Memory of a record's values is reset with each record.
 */
#include "postgres.h"

#include "derive_pack.h"
#include "derive_read.h"
#include "derive_reject.h"
#include "miscadmin.h"
#include "progress.h"
#include "utils/memutils.h"

/* The leader says so often how far others are. */
#define PROGRESS_MILLISECONDS 200

static int read_job;

/* One member's part. */
typedef struct UnitReader
{
	EfTeam *team;
	EfReadShared *shared;
	EfFileInfo *files;
	EfText null;
	const uint64 *repeated_ids; /* NULL at the first reading */
	EfRanks ranks;
	int shift;
	MemoryContext values; /* of one record */
	EfRow row;

	EfStreamWriter *rows;
	EfStreamWriter *ids;
	EfStreamWriter *rejects;

	EfSource *source;
	EfFile *file; /* open; NULL: none */
	uint32 file_number;

	EfUnit *unit;
	int64 first_line;
	EfIdLog log;
	EfPlace place;

	/* what has been added to the progress: of the file, of the unit */
	int64 bytes_shown;
	int64 read_shown;
	int64 rejected_shown;
} UnitReader;

/* --- progress --- */

static void
show_progress(EfReadProgress *progress)
{
	EfProgressRead((int64) pg_atomic_read_u64(&progress->bytes),
				   (int64) pg_atomic_read_u64(&progress->records),
				   (int64) pg_atomic_read_u64(&progress->rejects));
}

static void
add_difference(pg_atomic_uint64 *sum, int64 now, int64 *before)
{
	pg_atomic_fetch_add_u64(sum, now - *before);
	*before = now;
}

static void
add_progress(UnitReader *r)
{
	EfReadProgress *progress = &r->shared->progress;

	add_difference(&progress->bytes, EfFileBytesRead(r->file), &r->bytes_shown);
	add_difference(&progress->records, r->unit->read, &r->read_shown);
	add_difference(&progress->rejects, r->unit->rejected, &r->rejected_shown);
	if (r->team->member == 0)
		show_progress(progress);
}

/* An EfReadFn. */
static size_t
read_text(void *arg, char *buf, size_t len)
{
	UnitReader *r = arg;
	size_t got = EfFileRead(r->file, buf, len);

	add_progress(r);
	return got;
}

/* The leader's, when there is nothing left to take but others are still reading. */
static void
await_others(UnitReader *r)
{
	EfReadShared *shared = r->shared;

	EfTeamWaitBegin(r->team);
	while (pg_atomic_read_u32(&shared->ended) < Min(EfTeamPeek(r->team), shared->nunits))
	{
		EfTeamWaitFor(r->team, PROGRESS_MILLISECONDS);
		show_progress(&shared->progress);
	}
	EfTeamWaitEnd(r->team);
}

static void
close_file(UnitReader *r)
{
	if (r->file != NULL)
		EfFileClose(r->file);
	r->file = NULL;
}

/* Opens the unit's file, unless it is, to be read from the unit's first byte on. */
static void
open_unit(UnitReader *r)
{
	const EfUnit *unit = r->unit;
	const EfFileInfo *info = &r->files[unit->file];
	char skipped[8192];
	int64 at;

	if (r->file != NULL && (r->file_number != unit->file || !info->plain))
		close_file(r);
	if (r->file == NULL)
	{
		r->file = EfFileOpen(r->source, r->shared->kind, info->name, r->shared->encoding);
		r->file_number = unit->file;
		r->bytes_shown = 0;
		EfFileCheckStamp(r->file, &info->stamp);
	}
	if (info->plain)
	{
		EfFileSeek(r->file, unit->exact ? unit->begin : unit->begin - 1);
		return;
	}
	for (at = EfFileTextOffset(r->file); at < unit->begin;)
	{
		size_t got = EfFileRead(r->file, skipped, (size_t) Min(unit->begin - at, (int64) sizeof(skipped)));

		if (got == 0)
			break;
		at += (int64) got;
	}
}

/* Notes a reject; false when the rest of the unit is of no use. */
static bool
pack_reject(UnitReader *r, const EfRecord *record, const EfRowFault *fault)
{
	EfUnit *unit = r->unit;

	if (unit->rejected++ == 0)
		unit->reject_block = EfStreamCut(r->rejects, 0);
	EfPackReject(r->rejects, record, fault, record->line - r->first_line);
	return unit->rejected <= r->shared->reject_limit;
}

/* Logs the id; false where it occurred before, which is known at a second reading only. */
static inline bool
log_id(UnitReader *r, int64 id)
{
	int64 number = r->unit->id_number + r->unit->taken++;

	if (r->repeated_ids != NULL &&
		(r->repeated_ids[number >> 6] & UINT64CONST(1) << (number & 63)) != 0)
		return false;
	EfIdLogAdd(&r->log, id);
	return true;
}

static EfReason
pack_user(UnitReader *r, const EfUser *user)
{
	char *to;

	if (!log_id(r, user->user_id))
		return EF_DUPLICATE_KEY;
	to = EfStreamRoom(r->rows, 0, EF_PACKED_USER_BOUND(user));
	if (EfStreamBegins(r->rows, 0, to))
		EfStreamTag(r->rows, 0, (uint64) r->log.run.count - 1);
	EfStreamWrote(r->rows, 0, EfPackUser(to, user));
	return EF_TAKEN;
}

static EfReason
pack_compound(UnitReader *r, const EfCompound *compound)
{
	char *to;

	if (!log_id(r, compound->compound_id))
		return EF_DUPLICATE_KEY;
	to = EfStreamRoom(r->rows, 0, EF_PACKED_COMPOUND_BOUND(compound));
	EfStreamWrote(r->rows, 0, EfPackCompound(to, compound));
	return EF_TAKEN;
}

static inline EfReason
pack_experiment(UnitReader *r, const EfExperiment *experiment)
{
	uint32 rank;
	uint32 partition;
	char *to;

	if (!EfRanksFind(&r->ranks, experiment->user_id, &rank))
		return EF_UNKNOWN_USER;
	if (!log_id(r, experiment->experiment_id))
		return EF_DUPLICATE_KEY;
	partition = rank >> r->shift;
	to = EfStreamRoom(r->rows, partition, EF_PACKED_EXPERIMENT_BOUND(experiment->ncompounds));
	EfStreamWrote(r->rows, partition,
				  EfPackExperiment(to, rank - (partition << r->shift), experiment));
	return EF_TAKEN;
}

static inline EfReason
pack_row(UnitReader *r)
{
	switch (r->shared->kind)
	{
		case EF_USERS:
			return pack_user(r, &r->row.user);
		case EF_COMPOUNDS:
			return pack_compound(r, &r->row.compound);
		case EF_EXPERIMENTS:
			return pack_experiment(r, &r->row.experiment);
	}
	pg_unreachable();
}

/* Takes or rejects one record; false when the rest of the unit is of no use. */
static bool
take_record(UnitReader *r, const EfRecord *record)
{
	const EfRowMap *map = &r->files[r->unit->file].map;
	EfReason reason;
	EfRowFault fault;

	r->unit->read++;
	if (!EfRowParse(map, record, r->null, &r->row, &fault))
		return pack_reject(r, record, &fault);
	reason = pack_row(r);
	if (likely(reason == EF_TAKEN))
		return true;
	EfRowRefused(map, record, &r->row, reason, &fault);
	return pack_reject(r, record, &fault);
}

/* Lets units after this one be left unread. */
static void
make_last(UnitReader *r, uint32 number)
{
	uint32 last = pg_atomic_read_u32(&r->shared->last);

	while (number < last && !pg_atomic_compare_exchange_u32(&r->shared->last, &last, number))
		;
}

static void
read_records(UnitReader *r, uint32 number, EfRecordReader *reader)
{
	EfUnit *unit = r->unit;
	MemoryContext old;
	EfRecord record;
	int64 line;

	if (!unit->exact)
		EfRecordSkipLine(reader);
	EfRecordLimit(reader, unit->end);
	EfRecordPosition(reader, &r->first_line, &unit->first);
	EfIdLogBegin(&r->log, r->ids);
	if (r->shared->kind != EF_EXPERIMENTS)
		unit->row_block = EfStreamCut(r->rows, 0);
	old = MemoryContextSwitchTo(r->values);
	while (EfRecordNext(reader, &record))
	{
		CHECK_FOR_INTERRUPTS();
		r->place.line = unit->line > 0 ? record.line : 0;
		if (!take_record(r, &record))
		{
			make_last(r, number);
			break;
		}
		MemoryContextReset(r->values);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->values);
	r->place.line = 0;
	EfRecordPosition(reader, &line, &unit->next);
	unit->lines = line - r->first_line;
	unit->newlines = *EfRecordNewlines(reader);
	unit->ids = r->log.run;
	if (r->shared->kind != EF_EXPERIMENTS)
		unit->nrow_blocks = EfStreamCut(r->rows, 0) - unit->row_block;
}

static void
read_unit(UnitReader *r, uint32 number, EfUnit *unit)
{
	const EfFileInfo *file = &r->files[unit->file];
	ErrorContextCallback callback = {.callback = EfPlaceContext, .arg = &r->place};
	EfRecordReader *reader;

	r->unit = unit;
	r->place.file = file->name;
	r->place.line = 0;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	unit->member = r->team->member;
	unit->read = unit->taken = unit->rejected = 0;
	r->read_shown = r->rejected_shown = 0;
	open_unit(r);
	reader = EfRecordBegin(CurrentMemoryContext, &file->dialect, read_text, r,
						   unit->line, unit->exact ? unit->begin : unit->begin - 1,
						   r->shared->max_record);
	read_records(r, number, reader);
	EfRecordEnd(reader);
	add_progress(r);
	if (!file->plain)
		close_file(r);

	error_context_stack = callback.previous;
}

static void
read_files(EfTeam *team, void *arg)
{
	EfReadShared *shared = arg;
	UnitReader reader = {.team = team, .shared = shared, .shift = shared->partitions.shift};
	EfUnit *units = EfPoolAddress(&team->pool, shared->units);
	uint32 number;

	reader.files = EfPoolAddress(&team->pool, shared->files);
	reader.null.data = EfPoolAddress(&team->pool, shared->null);
	reader.null.len = (uint32) strlen(reader.null.data);
	if (DsaPointerIsValid(shared->repeated_ids))
		reader.repeated_ids = EfPoolAddress(&team->pool, shared->repeated_ids);
	if (shared->kind == EF_EXPERIMENTS)
		EfRanksAttach(&team->pool, &shared->partitions.ranks, &reader.ranks);
	reader.values = AllocSetContextCreate(team->context, "eikon_features values",
										  ALLOCSET_DEFAULT_SIZES);
	EfRowBegin(&reader.row, team->context);
	reader.rows = EfStreamWriteBegin(&team->pool, &shared->rows, team->member);
	reader.ids = EfStreamWriteBegin(&team->pool, &shared->ids, team->member);
	reader.rejects = EfStreamWriteBegin(&team->pool, &shared->rejects, team->member);
	reader.source = EfSourceAttach(team->context, &shared->source);

	for (number = EfTeamNext(team); number < shared->nunits; number = EfTeamNext(team))
	{
		bool needed = number <= pg_atomic_read_u32(&shared->last);

		if (needed)
			read_unit(&reader, number, &units[number]);
		pg_atomic_fetch_add_u32(&shared->ended, 1);
		EfTeamWake(team);
		if (!needed)
			break;
	}
	if (team->member == 0)
		await_others(&reader);

	close_file(&reader);
	EfSourceClose(reader.source);
	EfStreamWriteEnd(reader.rows);
	EfStreamWriteEnd(reader.ids);
	EfStreamWriteEnd(reader.rejects);
	MemoryContextDelete(reader.values);
}

void
EfReadInit(void)
{
	read_job = EfTeamAddJob(read_files, sizeof(EfReadShared));
}

EfReadShared *
EfReadSharedOf(const EfTeam *team)
{
	return EfTeamJobShared(team, read_job);
}

void
EfReadUnits(EfTeam *team)
{
	EfTeamDo(team, read_job);
}
