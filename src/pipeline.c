/*
 * pipeline.c
 *		Wires the stages.
 *
 *	EfFileRead -> sample -> EfDialectDetect
 *	         `-> EfRecordNext -> EfRowParse -> EfAggregateUser
 *	                       |             |     EfAggregateCompound
 *	                       |             |     EfAggregateExperiment
 *	                       `-------------`--------`-> reject
 *
 * No stage knows the next one: each takes a function to read from or is given
 * what the one before it made. Memory of a record's values is reset with each
 * record. What is being read is in the context of every error.
 */
#include "postgres.h"

#include "encoding.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pipeline.h"
#include "portability/instr_time.h"
#include "row.h"
#include "source.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* How much of a file its dialect is detected from. */
#define SAMPLE_SIZE (256 * 1024)

static int max_line_size = 2048;

void
EfPipelineInit(void)
{
	/*
	 * Raise it for files with longer records; it bounds the memory that a
	 * quote which is never closed can take.
	 */
	DefineCustomIntVariable("eikon_features.max_line_size",
							"Longest record that is read.",
							"Longer ones are rejected as LINE SIZE OVER MAXIMUM.",
							&max_line_size, 2048, 1, 128 * 1024,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* A file whose beginning has been read as a sample. */
typedef struct Input
{
	EfFile *file;
	char *sample;
	size_t len;
	size_t pos;
	bool whole;
} Input;

/* One derivation. */
typedef struct Derivation
{
	const EfOptions *options;
	EfRejectFn on_reject;
	void *reject_arg;
	EfReport *report;
	EfAggregate *aggregate;
	MemoryContext values; /* of one record */
	int64 rejected;

	/* the file being read */
	EfRowMap map;
	EfFileNote *note;
} Derivation;

/* For the context of errors. */
typedef struct Place
{
	const char *file;
	int64 line;				/* 0: none yet */
	const EfReject *reject; /* being thrown */
} Place;

static void
place_context(void *arg)
{
	Place *place = arg;

	if (place->reject != NULL)
		EfRejectContext(place->reject);
	else if (place->line > 0)
		errcontext("%s, line %lld", place->file, (long long) place->line);
	else if (*place->file != '\0')
		errcontext("%s", place->file);
}

static void
begin_input(Input *input, EfFile *file)
{
	size_t got;

	input->file = file;
	input->sample = palloc(SAMPLE_SIZE);
	input->len = 0;
	input->pos = 0;
	do
	{
		got = EfFileRead(file, input->sample + input->len, SAMPLE_SIZE - input->len);
		input->len += got;
	} while (got > 0 && input->len < SAMPLE_SIZE);
	input->whole = got == 0;
}

/* An EfReadFn: the sample from pos on, then the rest of the file. */
static size_t
read_input(void *arg, char *buf, size_t len)
{
	Input *input = arg;

	if (input->pos == input->len)
		return EfFileRead(input->file, buf, len);
	len = Min(len, input->len - input->pos);
	memcpy(buf, input->sample + input->pos, len);
	input->pos += len;
	return len;
}

static size_t
max_record(void)
{
	return (size_t) max_line_size * 1024;
}

static EfRecordReader *
begin_records(Input *input, const EfDialect *dialect, int64 line, size_t offset)
{
	input->pos = offset;
	return EfRecordBegin(CurrentMemoryContext, dialect, read_input, input, line,
						 EfFileTextOffset(input->file) + (int64) offset, max_record());
}

static void
reject_record(Derivation *d, Place *place, const EfRecord *record, const EfRowFault *fault)
{
	EfReject reject = {
		.kind = d->map.kind,
		.reason = fault->reason,
		.file = d->note->file,
		.line = record->line,
		.offset = record->offset,
		.column = fault->column,
		.value = fault->value,
		.sqlstate = fault->sqlstate,
		.message = fault->message,
		.raw = {record->raw, (uint32) record->raw_len},
		.raw_partial = record->raw_partial,
	};

	place->reject = &reject;
	if (!d->options->ignore)
		EfRejectThrow(&reject);
	d->report->kinds[d->map.kind].rejected++;
	d->rejected++;
	if (d->options->reject_limit > 0 && d->rejected > d->options->reject_limit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg_plural("more than " INT64_FORMAT " record rejected",
							   "more than " INT64_FORMAT " records rejected",
							   (unsigned long) d->options->reject_limit,
							   d->options->reject_limit),
				 errdetail("The last one: %s.", reject.message),
				 errhint("Correct the files, or raise reject_limit.")));
	d->on_reject(d->reject_arg, &reject);
	place->reject = NULL;
}

static EfReason
add_row(Derivation *d, const EfRow *row)
{
	switch (d->map.kind)
	{
		case EF_USERS:
			return EfAggregateUser(d->aggregate, &row->user) ? EF_TAKEN : EF_DUPLICATE_KEY;
		case EF_COMPOUNDS:
			return EfAggregateCompound(d->aggregate, &row->compound) ? EF_TAKEN :
																	   EF_DUPLICATE_KEY;
		case EF_EXPERIMENTS:
			return EfAggregateExperiment(d->aggregate, &row->experiment);
	}
	pg_unreachable();
}

/* Takes or rejects one record. */
static void
take_record(Derivation *d, Place *place, const EfRecord *record)
{
	EfKindCounts *counts = &d->report->kinds[d->map.kind];
	MemoryContext old = MemoryContextSwitchTo(d->values);
	EfRow row;
	EfRowFault fault;

	place->line = record->line;
	counts->read++;
	d->note->records++;
	if (!EfRowParse(&d->map, record, d->options->null, &row, &fault))
		reject_record(d, place, record, &fault);
	else
	{
		EfReason reason = add_row(d, &row);

		if (reason == EF_TAKEN)
			counts->loaded++;
		else
		{
			EfRowRefused(&d->map, record, &row, reason, &fault);
			reject_record(d, place, record, &fault);
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(d->values);
}

/* Says what there is instead of a header, where that is clear. */
static void
refuse_shapeless(const Derivation *d, EfKind kind, const Input *input, const EfDetected *found)
{
	if (memchr(input->sample, '\0', Min(input->len, 100)) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("%s file is not text in %s: it contains NUL bytes", EfKindNames[kind],
						d->note->encoding),
				 errhint("If it is UTF-16, use encoding => 'UTF-16LE' or 'UTF-16BE'.")));
	if (found->ncolumns > 0 || (d->options->dialect.header_given && !d->options->dialect.header))
		return;
	if (found->data_offset == input->len)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
				 errmsg("%s file is empty", EfKindNames[kind]),
				 errhint("A file must at least hold the header.")));
	ereport(ERROR,
			(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
			 errmsg("no header was found in a %s file", EfKindNames[kind]),
			 errhint("Name the columns in the first line; if the file's delimiter, quote or encoding is unusual, name it with those options.")));
}

/* Finds dialect and columns of a file, and where its data begins. */
static void
detect(Derivation *d, EfKind kind, Input *input, EfDetected *found)
{
	int ncolumns;
	const char *const *columns = EfKindColumns(kind, &ncolumns);

	EfDialectDetect(input->sample, input->len, input->whole, &d->options->dialect,
					columns, ncolumns, max_record(), found);
	d->note->dialect = found->dialect;
	d->note->header_line = found->header_line;
	d->note->encoding = EfEncodingName(EfFileEncoding(input->file));
	d->note->compression = EfFileCompression(input->file);
	if (!found->complete)
		refuse_shapeless(d, kind, input, found);
	EfRowMapColumns(&d->map, kind, found->columns, found->ncolumns, found->header_line,
					&d->note->ignored);
}

static void
read_file(Derivation *d, EfSource *source, EfKind kind, const char *name)
{
	Place place = {.file = name};
	ErrorContextCallback callback = {.callback = place_context, .arg = &place};
	EfDetected found;
	EfRecordReader *reader;
	EfRecord record;
	Input input;

	callback.previous = error_context_stack;
	error_context_stack = &callback;

	d->note = palloc0(sizeof(EfFileNote));
	d->note->kind = kind;
	d->note->file = name;
	begin_input(&input, EfFileOpen(source, name, d->options->encoding));
	detect(d, kind, &input, &found);
	reader = begin_records(&input, &found.dialect, found.data_line, found.data_offset);
	while (EfRecordNext(reader, &record))
	{
		CHECK_FOR_INTERRUPTS();
		take_record(d, &place, &record);
	}
	place.line = 0;
	d->note->newlines = *EfRecordNewlines(reader);
	EfRecordEnd(reader);
	pfree(input.sample);
	d->note->bytes = EfFileBytes(input.file);
	d->report->bytes += d->note->bytes;
	d->report->files = lappend(d->report->files, d->note);
	EfFileClose(input.file);

	error_context_stack = callback.previous;
}

static double
seconds_since(instr_time start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

EfAggregate *
EfPipelineDerive(const char *path, const EfOptions *options, EfRejectFn on_reject, void *arg,
				 EfReport *report)
{
	EfSource *source = EfSourceOpen(CurrentMemoryContext, path);
	List *files[EF_KINDS];
	Derivation d = {
		.options = options,
		.on_reject = on_reject,
		.reject_arg = arg,
		.report = report,
		.aggregate = EfAggregateBegin(CurrentMemoryContext),
		.values = AllocSetContextCreate(CurrentMemoryContext, "eikon_features values",
										ALLOCSET_DEFAULT_SIZES),
	};

	memset(report, 0, sizeof(*report));
	report->source = pstrdup(EfSourcePath(source));

	/* a kind that is missing altogether is found before anything is read */
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		files[kind] = EfSourceFiles(source, EfKindNames[kind]);
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		instr_time start;
		ListCell *cell;

		INSTR_TIME_SET_CURRENT(start);
		foreach(cell, files[kind])
			read_file(&d, source, kind, lfirst(cell));
		report->kinds[kind].seconds = seconds_since(start);
	}
	report->unknown_compounds = EfAggregateUnknownCompounds(d.aggregate);
	EfSourceClose(source);
	MemoryContextDelete(d.values);
	return d.aggregate;
}

/* --- preview --- */

/* The dialect under which a run would read the file, if it is of one of our kinds. */
static void
detect_any(const Input *input, const EfOptions *options, EfDetected *found)
{
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		int ncolumns;
		const char *const *columns = EfKindColumns(kind, &ncolumns);

		EfDialectDetect(input->sample, input->len, input->whole, &options->dialect,
						columns, ncolumns, max_record(), found);
		if (found->complete)
			return;
	}
	EfDialectDetect(input->sample, input->len, input->whole, &options->dialect, NULL, 0,
					max_record(), found);
}

/* A file that is not of one of our kinds has its header, if any, in the first record. */
static bool
is_header(EfDetected *found, const EfRecord *record)
{
	if (found->header_line == 0)
		found->header_line = record->line;
	return record->line <= found->header_line;
}

void
EfPipelinePreview(const char *path, const EfOptions *options, EfRecordFn on_record, void *arg)
{
	Place place = {.file = path};
	ErrorContextCallback callback = {.callback = place_context, .arg = &place};
	EfDetected found;
	EfRecordReader *reader;
	EfRecord record;
	Input input;

	callback.previous = error_context_stack;
	error_context_stack = &callback;

	begin_input(&input, EfFileOpenPath(CurrentMemoryContext, path, options->encoding));
	detect_any(&input, options, &found);
	reader = begin_records(&input, &found.dialect, found.first_line, found.first_offset);
	while (EfRecordNext(reader, &record))
	{
		CHECK_FOR_INTERRUPTS();
		place.line = record.line;
		if (options->dialect.header && is_header(&found, &record))
			continue;
		on_record(arg, &record);
	}
	place.line = 0;
	EfRecordEnd(reader);
	pfree(input.sample);
	EfFileClose(input.file);

	error_context_stack = callback.previous;
}
