/*
 * derive_check.c
 *		What a run would make of one file, as far as that file alone can tell.
 */
#include "postgres.h"

#include "derive_check.h"
#include "derive_input.h"
#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct Checking
{
	EfKind kind;
	const char *name;
	EfFileInfo file;
	EfText null;
	EfRejectFn on_reject;
	void *reject_arg;
	EfKindCounts *counts;
} Checking;

static void
report_reject(Checking *c, const EfRecord *record, const EfRowFault *fault)
{
	EfReject reject = {
		.kind = c->kind,
		.reason = fault->reason,
		.file = c->name,
		.line = record->line,
		.offset = record->offset,
		.column = fault->column,
		.value = fault->value,
		.sqlstate = fault->sqlstate,
		.message = fault->message,
		.raw = {record->raw, (uint32) record->raw_len},
		.raw_partial = record->raw_partial,
	};

	c->counts->rejected++;
	c->on_reject(c->reject_arg, &reject);
}

static void
check_records(Checking *c, EfRecordReader *reader, EfPlace *place)
{
	MemoryContext values = AllocSetContextCreate(CurrentMemoryContext, "eikon_features values",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	EfRecord record;
	EfRow row;

	EfRowBegin(&row, CurrentMemoryContext);
	old = MemoryContextSwitchTo(values);
	while (EfRecordNext(reader, &record))
	{
		EfRowFault fault;

		CHECK_FOR_INTERRUPTS();
		place->line = record.line;
		c->counts->read++;
		if (!EfRowParse(&c->file.map, &record, c->null, &row, &fault))
			report_reject(c, &record, &fault);
		MemoryContextReset(values);
	}
	place->line = 0;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(values);
	c->counts->loaded = c->counts->read - c->counts->rejected;
}

void
EfCheckFile(EfKind kind, const char *name, EfText bytes, const EfOptions *options,
			EfRejectFn on_reject, void *arg, EfKindCounts *counts)
{
	Checking checking = {
		.kind = kind,
		.name = name,
		.null = {options->null, (uint32) strlen(options->null)},
		.on_reject = on_reject,
		.reject_arg = arg,
		.counts = counts,
	};
	EfFileInfo *file = &checking.file;
	EfFileNote note = {.kind = kind, .file = name};
	EfPlace place = {.file = name};
	ErrorContextCallback callback = {.callback = EfPlaceContext, .arg = &place};
	EfRecordReader *reader;
	EfInput input;

	callback.previous = error_context_stack;
	error_context_stack = &callback;

	memset(counts, 0, sizeof(*counts));
	EfInputBegin(&input, EfFileOpenBytes(CurrentMemoryContext, name, bytes, options->encoding));
	EfInputDetect(&input, options, file, &note);
	reader = EfInputRecords(&input, &file->dialect, file->data_line,
							(size_t) (file->data_offset - EfFileTextOffset(input.file)));
	check_records(&checking, reader, &place);
	EfRecordEnd(reader);
	pfree(input.sample);
	EfFileClose(input.file);

	error_context_stack = callback.previous;
}
