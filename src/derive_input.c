/*
 * derive_input.c
 *		A file's beginning: the sample that its dialect is detected from.
 */
#include "postgres.h"

#include "derive_input.h"
#include "dialect.h"
#include "encoding.h"
#include "utils/guc.h"

/* How much of a file its dialect is detected from. */
#define SAMPLE_SIZE (256 * 1024)

static int max_line_size = 2048;

void
EfInputInit(void)
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

size_t
EfMaxRecord(void)
{
	return (size_t) max_line_size * 1024;
}

void
EfPlaceContext(void *arg)
{
	EfPlace *place = arg;

	if (place->reject != NULL)
		EfRejectContext(place->reject);
	else if (place->line > 0)
		errcontext("%s, line %lld", place->file, (long long) place->line);
	else if (*place->file != '\0')
		errcontext("%s", place->file);
}

void
EfInputBegin(EfInput *input, EfFile *file)
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

size_t
EfInputRead(void *arg, char *buf, size_t len)
{
	EfInput *input = arg;

	if (input->pos == input->len)
		return EfFileRead(input->file, buf, len);
	len = Min(len, input->len - input->pos);
	memcpy(buf, input->sample + input->pos, len);
	input->pos += len;
	return len;
}

EfRecordReader *
EfInputRecords(EfInput *input, const EfDialect *dialect, int64 line, size_t offset)
{
	input->pos = offset;
	return EfRecordBegin(CurrentMemoryContext, dialect, EfInputRead, input, line,
						 EfFileTextOffset(input->file) + (int64) offset, EfMaxRecord());
}

/* Says what there is instead of a header, where that is clear. */
static void
refuse_shapeless(const EfFileNote *note, const EfOptions *options, const EfInput *input,
				 const EfDetected *found)
{
	if (memchr(input->sample, '\0', Min(input->len, 100)) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("%s file is not text in %s: it contains NUL bytes", EfKindNames[note->kind],
						note->encoding),
				 errhint("If it is UTF-16, use encoding => 'UTF-16LE' or 'UTF-16BE'.")));
	if (found->ncolumns > 0 || (options->dialect.header_given && !options->dialect.header))
		return;
	if (found->data_offset == input->len)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
				 errmsg("%s file is empty", EfKindNames[note->kind]),
				 errhint("A file must at least hold the header.")));
	ereport(ERROR,
			(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
			 errmsg("no header was found in a %s file", EfKindNames[note->kind]),
			 errhint("Name the columns in the first line; if the file's delimiter, quote or encoding is unusual, name it with those options.")));
}

void
EfInputDetect(const EfInput *input, const EfOptions *options, EfFileInfo *info,
			  EfFileNote *note)
{
	int ncolumns;
	const char *const *columns = EfKindColumns(note->kind, &ncolumns);
	EfDetected found;

	EfDialectDetect(input->sample, input->len, input->whole, &options->dialect, columns, ncolumns,
					EfMaxRecord(), &found);
	note->dialect = found.dialect;
	note->header_line = found.header_line;
	note->encoding = EfEncodingName(EfFileEncoding(input->file));
	note->compression = EfFileCompression(input->file);
	if (!found.complete)
		refuse_shapeless(note, options, input, &found);
	EfRowMapColumns(&info->map, note->kind, found.columns, found.ncolumns, found.header_line,
					&note->ignored);
	strlcpy(info->name, note->file, sizeof(info->name));
	info->stamp = EfFileStampOf(input->file);
	info->dialect = found.dialect;
	info->plain = EfFileIsPlain(input->file);
	info->data_line = found.data_line;
	info->data_offset = EfFileTextOffset(input->file) + (int64) found.data_offset;
	note->bytes = info->stamp.size;
}
