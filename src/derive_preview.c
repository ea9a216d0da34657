/*
 * derive_preview.c
 *		What the reader makes of one file.
 */
#include "postgres.h"

#include "derive_input.h"
#include "derive_preview.h"
#include "dialect.h"
#include "miscadmin.h"

/* The dialect under which a run would read the file, if it is of one of our kinds. */
static void
detect_any(const EfInput *input, const EfOptions *options, EfDetected *found)
{
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		int ncolumns;
		const char *const *columns = EfKindColumns(kind, &ncolumns);

		EfDialectDetect(input->sample, input->len, input->whole, &options->dialect,
						columns, ncolumns, EfMaxRecord(), found);
		if (found->complete)
			return;
	}
	EfDialectDetect(input->sample, input->len, input->whole, &options->dialect, NULL, 0,
					EfMaxRecord(), found);
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
EfPreviewFile(const char *path, const EfOptions *options, EfRecordFn on_record, void *arg)
{
	EfPlace place = {.file = path};
	ErrorContextCallback callback = {.callback = EfPlaceContext, .arg = &place};
	EfDetected found;
	EfRecordReader *reader;
	EfRecord record;
	EfInput input;

	callback.previous = error_context_stack;
	error_context_stack = &callback;

	EfInputBegin(&input, EfFileOpenPath(CurrentMemoryContext, path, options->encoding));
	detect_any(&input, options, &found);
	reader = EfInputRecords(&input, &found.dialect, found.first_line, found.first_offset);
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
