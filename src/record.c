/*
 * record.c
 *		Bytes -> records, on libcsv.
 *
 * The buffer holds the record being read from its first byte on:
 *
 *	buf ....[ line 1 | line 2 | line 3 ...      ]....
 *	        begin                               end
 *
 * Lines are found here, by their newline bytes alone; whether a newline ends
 * the record is libcsv's decision. A record that proves malformed gives up its
 * first line only, and reading goes on with its second.
 *
 * libcsv calls back from the middle of its own frames, so nothing below
 * field_end and realloc_buffer throws: they note a failure, and feed() throws
 * once libcsv has returned. All memory lives in one context, so an error
 * thrown elsewhere (by read, say) leaks nothing either.
 */
#include "postgres.h"

#include <csv.h>

#include "grow.h"
#include "miscadmin.h"
#include "record.h"
#include "record_regular.h"
#include "utils/memutils.h"

/* Bytes asked for at a time. */
#define BLOCK_SIZE (256 * 1024)

/* libcsv grows its buffer by at least this much at a time, by default 128 bytes. */
#define FIELD_BLOCK_SIZE (16 * 1024)

/*
 * Escaped characters pass through libcsv as bytes that UTF-8 never contains,
 * since libcsv itself knows doubled quotes only.
 */
#define MARK_QUOTE ((char) 0xFE)
#define MARK_ESCAPE ((char) 0xFD)
#define MARK_DELIMITER ((char) 0xFC)
#define MARK_INVALID ((char) 0xFF)

typedef enum Line
{
	LINE_FOUND,
	LINE_TOO_LONG,
	LINE_NONE /* at the end of the input */
} Line;

/*
 * Where in the buffer the next byte of one value stands, as far as known: there
 * is none from "from" to before pos, and one at pos if hit.
 */
typedef struct NextByte
{
	char byte;
	bool hit;
	size_t from;
	size_t pos;
} NextByte;

struct EfRecordReader
{
	MemoryContext context;
	EfDialect dialect;
	EfReadFn read;
	void *read_arg;
	size_t max_record;

	char *buf;
	size_t capacity;
	size_t begin;
	size_t end;
	bool eof;
	NextByte next_lf;
	NextByte next_cr;
	bool in_long_line; /* begin is in the middle of one to be dropped */

	int64 line; /* of the byte at begin */
	int64 offset;
	int64 limit;	 /* records from this offset on are not read */
	size_t consumed; /* bytes and lines to step over at the next call */
	int64 consumed_lines;
	EfNewlineCounts newlines;

	EfRegular regular;
	struct csv_parser parser;
	char *escaped; /* a line with its escapes replaced */
	size_t escaped_capacity;

	/* the record so far */
	char *text;
	size_t text_len;
	size_t text_capacity;
	size_t *starts; /* of the fields in text, then their end */
	int nfields;
	int fields_capacity;
	EfText *fields;
	int fields_room;
	bool done;
	bool out_of_memory;
};

/* Whose buffer libcsv is reallocating: its allocator has no argument for it. */
static EfRecordReader *calling;

/* --- libcsv's callbacks: none of them may throw --- */

/* As repalloc_huge(), which would throw; used bytes are kept. NULL when there is no memory. */
static void *
grow_quietly(EfRecordReader *reader, void *old, size_t used, size_t size)
{
	void *new = MemoryContextAllocExtended(reader->context, size,
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);

	if (new != NULL && old != NULL)
	{
		memcpy(new, old, used);
		pfree(old);
	}
	return new;
}

static void *
realloc_buffer(void *old, size_t size)
{
	return grow_quietly(calling, old, Min(size, calling->parser.entry_size), size);
}

static void
free_buffer(void *old)
{
	pfree(old);
}

static int
is_lf(unsigned char c)
{
	return c == '\n';
}

static int
is_cr(unsigned char c)
{
	return c == '\r';
}

static int
is_space(unsigned char c)
{
	return c == ' ';
}

static int
is_space_or_cr(unsigned char c)
{
	return c == ' ' || c == '\r';
}

static int
is_blank_or_cr(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static int
is_nothing(unsigned char c)
{
	(void) c;
	return 0;
}

/* Makes room for at least one more element; false when there is no memory. */
static bool
grow(EfRecordReader *reader, void **array, size_t element, size_t used, size_t capacity)
{
	void *new = grow_quietly(reader, *array, element * used, element * capacity);

	if (new == NULL)
		reader->out_of_memory = true;
	else
		*array = new;
	return new != NULL;
}

static void
field_end(void *data, size_t len, void *arg)
{
	EfRecordReader *reader = arg;
	const char *from = data;
	char *to;

	if (reader->out_of_memory)
		return;

	if (reader->text_len + len + EF_SLACK > reader->text_capacity)
	{
		size_t capacity = Max(reader->text_capacity * 2, reader->text_len + len + EF_SLACK);

		if (!grow(reader, (void **) &reader->text, 1, reader->text_len, capacity))
			return;
		reader->text_capacity = capacity;
	}
	if (reader->nfields + 2 > reader->fields_capacity)
	{
		int capacity = reader->fields_capacity * 2;

		if (!grow(reader, (void **) &reader->starts, sizeof(size_t),
				  reader->nfields + 1, capacity))
			return;
		reader->fields_capacity = capacity;
	}

	if (reader->dialect.padding == EF_PADDING_TRIM_QUOTED)
	{
		EfText field = EfTrim((EfText){from, (uint32) len});

		from = field.data;
		len = field.len;
	}

	to = reader->text + reader->text_len;
	if (len > 0)
		memcpy(to, from, len);
	memset(to + len, 0, EF_SLACK);

	if (reader->dialect.escape != reader->dialect.quote)
	{
		for (size_t i = 0; i < len; i++)
		{
			if (to[i] == MARK_QUOTE)
				to[i] = reader->dialect.quote;
			else if (to[i] == MARK_ESCAPE)
				to[i] = reader->dialect.escape;
			else if (to[i] == MARK_DELIMITER)
				to[i] = reader->dialect.delimiter;
		}
	}

	reader->text_len += len + 1;
	reader->nfields++;
	reader->starts[reader->nfields] = reader->text_len;
}

static void
record_end(int terminator, void *arg)
{
	(void) terminator;
	((EfRecordReader *) arg)->done = true;
}

/* --- the parser --- */

static void
parser_begin(EfRecordReader *reader)
{
	struct csv_parser *parser = &reader->parser;
	const EfDialect *dialect = &reader->dialect;

	(void) csv_init(parser, CSV_STRICT | CSV_STRICT_FINI);
	csv_set_realloc_func(parser, realloc_buffer);
	csv_set_free_func(parser, free_buffer);
	csv_set_blk_size(parser, FIELD_BLOCK_SIZE);
	csv_set_delim(parser, (unsigned char) dialect->delimiter);

	/* Without quoting the quote is NUL, and lines with a NUL are kept away. */
	csv_set_quote(parser, (unsigned char) dialect->quote);

	if (dialect->newline == EF_NEWLINE_LF)
		csv_set_term_func(parser, is_lf);
	else if (dialect->newline == EF_NEWLINE_CR)
		csv_set_term_func(parser, is_cr);

	if (dialect->padding == EF_PADDING_KEEP || dialect->delimiter == ' ')
		csv_set_space_func(parser, dialect->newline == EF_NEWLINE_LF ? is_cr : is_nothing);
	else if (dialect->newline == EF_NEWLINE_LF)
		csv_set_space_func(parser,
						   dialect->delimiter == '\t' ? is_space_or_cr : is_blank_or_cr);
	else if (dialect->delimiter == '\t')
		csv_set_space_func(parser, is_space);
}

/* After an error libcsv's state is undefined: start over. */
static void
parser_reset(EfRecordReader *reader)
{
	calling = reader;
	csv_free(&reader->parser);
	parser_begin(reader);
}

EfRecordReader *
EfRecordBegin(MemoryContext parent, const EfDialect *dialect, EfReadFn read, void *arg,
			  int64 line, int64 offset, size_t max_record)
{
	MemoryContext context = AllocSetContextCreate(parent, "eikon_features record",
												  ALLOCSET_DEFAULT_SIZES);
	EfRecordReader *reader = MemoryContextAllocZero(context, sizeof(EfRecordReader));

	reader->context = context;
	reader->dialect = *dialect;
	reader->read = read;
	reader->read_arg = arg;
	reader->max_record = max_record;
	reader->line = line;
	reader->offset = offset;
	reader->limit = PG_INT64_MAX;
	reader->next_lf.byte = '\n';
	reader->next_cr.byte = '\r';

	reader->capacity = BLOCK_SIZE;
	reader->buf = MemoryContextAlloc(context, reader->capacity + EF_SLACK);
	reader->text_capacity = 1024;
	reader->text = MemoryContextAllocZero(context, reader->text_capacity);
	reader->fields_capacity = 16;
	reader->starts = MemoryContextAllocZero(context,
											sizeof(size_t) * reader->fields_capacity);
	EfRegularBegin(&reader->regular, dialect, context);
	parser_begin(reader);
	return reader;
}

void
EfRecordLimit(EfRecordReader *reader, int64 offset)
{
	reader->limit = offset;
}

void
EfRecordEnd(EfRecordReader *reader)
{
	MemoryContextDelete(reader->context);
}

/* --- lines --- */

/*
 * Index of the first such byte at or after from, or end. Looks at a byte once,
 * but after a malformed record, whose lines are gone through again.
 */
static size_t
next_byte(const EfRecordReader *reader, NextByte *next, size_t from)
{
	const char *at;

	if (from < next->from || from > next->pos)
		next->from = next->pos = from;
	else if (next->hit)
		return next->pos;
	at = memchr(reader->buf + next->pos, next->byte, reader->end - next->pos);
	next->hit = at != NULL;
	next->pos = next->hit ? (size_t) (at - reader->buf) : reader->end;
	return next->pos;
}

static void
move_next_byte(NextByte *next, size_t by)
{
	next->hit &= next->pos >= by;
	next->from = next->from < by ? 0 : next->from - by;
	next->pos = next->pos < by ? 0 : next->pos - by;
}

/* Reads on, keeping what stands from begin to end. */
static void
refill(EfRecordReader *reader)
{
	size_t got;

	EfRegularMoved(&reader->regular);
	if (reader->begin > 0)
	{
		memmove(reader->buf, reader->buf + reader->begin, reader->end - reader->begin);
		move_next_byte(&reader->next_lf, reader->begin);
		move_next_byte(&reader->next_cr, reader->begin);
		reader->end -= reader->begin;
		reader->begin = 0;
	}
	if (reader->capacity - reader->end < BLOCK_SIZE / 2)
	{
		reader->buf = repalloc_huge(reader->buf, reader->capacity * 2 + EF_SLACK);
		reader->capacity *= 2;
	}
	got = reader->read(reader->read_arg, reader->buf + reader->end,
					   reader->capacity - reader->end);
	reader->end += got;
	reader->eof = got == 0;
	memset(reader->buf + reader->end, 0, EF_SLACK);
}

/*
 * Finds the physical line that starts at begin + from. *len is its length with
 * its newline, *newline that of the newline alone (0 at the end of the input).
 */
static Line
find_line(EfRecordReader *reader, size_t from, size_t *len, size_t *newline)
{
	for (;;)
	{
		size_t start = reader->begin + from;
		size_t at = reader->end;

		if (reader->dialect.newline != EF_NEWLINE_CR)
			at = next_byte(reader, &reader->next_lf, start);
		if (reader->dialect.newline != EF_NEWLINE_LF)
			at = Min(at, next_byte(reader, &reader->next_cr, start));

		if (at < reader->end)
		{
			bool cr = reader->buf[at] == '\r';

			*newline = 1;
			if (cr && reader->dialect.newline == EF_NEWLINE_ANY)
			{
				if (at + 1 == reader->end && !reader->eof)
				{
					refill(reader);
					continue;
				}
				if (at + 1 < reader->end && reader->buf[at + 1] == '\n')
					*newline = 2;
			}
			*len = at - start + *newline;
			return at - reader->begin > reader->max_record ? LINE_TOO_LONG : LINE_FOUND;
		}
		if (reader->end - reader->begin > reader->max_record)
		{
			*len = reader->end - start;
			*newline = 0;
			return LINE_TOO_LONG;
		}
		if (reader->eof)
		{
			*len = reader->end - start;
			*newline = 0;
			return *len > 0 ? LINE_FOUND : LINE_NONE;
		}
		refill(reader);
	}
}

static void
count_newline(EfRecordReader *reader, const char *line, size_t len, size_t newline)
{
	if (newline == 2)
		reader->newlines.crlf++;
	else if (newline == 0)
		return;
	else if (line[len - 1] == '\r')
		reader->newlines.cr++;
	else if (len > 1 && line[len - 2] == '\r')
		reader->newlines.crlf++; /* seen only where LF alone ends a line */
	else
		reader->newlines.lf++;
}

/* --- records --- */

/*
 * Copies a line with escaped characters replaced by their marks. An escape
 * counts before the quote, the delimiter and itself only, as in COPY.
 */
static const char *
mark_escapes(EfRecordReader *reader, const char *line, size_t *len)
{
	const EfDialect *dialect = &reader->dialect;
	size_t n = 0;

	if (reader->escaped_capacity < *len)
	{
		reader->escaped = EfGrow(reader->context, reader->escaped, *len * 2);
		reader->escaped_capacity = *len * 2;
	}
	for (size_t i = 0; i < *len; i++)
	{
		char c = line[i];
		char next = i + 1 < *len ? line[i + 1] : '\0';

		if (c == dialect->escape && next == dialect->escape)
			c = MARK_ESCAPE, i++;
		else if (c == dialect->escape && next == dialect->quote && next != '\0')
			c = MARK_QUOTE, i++;
		else if (c == dialect->escape && next == dialect->delimiter)
			c = MARK_DELIMITER, i++;
		else if (c == MARK_QUOTE || c == MARK_ESCAPE || c == MARK_DELIMITER)
			c = MARK_INVALID;
		reader->escaped[n++] = c;
	}
	*len = n;
	return reader->escaped;
}

static void
throw_out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("Failed while reading a record.")));
}

/* Gives a line to libcsv; false when it finds the quoting malformed. */
static bool
feed(EfRecordReader *reader, const char *line, size_t len)
{
	size_t parsed;

	if (reader->dialect.quote == '\0' && memchr(line, '\0', len) != NULL)
		return false;
	if (reader->dialect.escape != reader->dialect.quote)
		line = mark_escapes(reader, line, &len);

	/* by a constant, a long value would be copied once for each step */
	csv_set_blk_size(&reader->parser,
					 Max(FIELD_BLOCK_SIZE, Max(len, csv_get_buffer_size(&reader->parser))));
	calling = reader;
	parsed = csv_parse(&reader->parser, line, len, field_end, record_end, reader);
	if (reader->out_of_memory)
		throw_out_of_memory();
	if (parsed == len)
		return true;
	if (csv_error(&reader->parser) != CSV_EPARSE)
		throw_out_of_memory();
	return false;
}

/* Ends the last record, one without a newline; false when a quote is open. */
static bool
feed_end(EfRecordReader *reader)
{
	bool ok;

	calling = reader;
	ok = csv_fini(&reader->parser, field_end, record_end, reader) == 0;
	if (reader->out_of_memory)
		throw_out_of_memory();
	return ok;
}

/* Makes the fields of the record just read available. False: all are empty. */
static bool
list_fields(EfRecordReader *reader, EfRecord *record)
{
	bool any = false;

	if (reader->nfields > reader->fields_room)
	{
		reader->fields = EfGrow(reader->context, reader->fields,
								sizeof(EfText) * (Size) reader->fields_capacity);
		reader->fields_room = reader->fields_capacity;
	}
	for (int i = 0; i < reader->nfields; i++)
	{
		EfText *field = &reader->fields[i];

		field->data = reader->text + reader->starts[i];
		field->len = (uint32) (reader->starts[i + 1] - reader->starts[i] - 1);
		any |= field->len > 0;
	}
	record->fields = reader->fields;
	record->nfields = reader->nfields;
	return any;
}

/*
 * Reads the record whose first line, of len bytes, stands at begin. Returns
 * what is wrong with it, and the bytes and lines that it takes up.
 */
static EfReason
parse_record(EfRecordReader *reader, size_t len, size_t newline, size_t *size, int64 *lines)
{
	size_t first_len = len;

	reader->text_len = 0;
	reader->nfields = 0;
	reader->starts[0] = 0;
	reader->done = false;
	*size = 0;
	*lines = 0;

	for (;;)
	{
		const char *line = reader->buf + reader->begin + *size;
		EfReason defect = EF_UNTERMINATED_QUOTE;
		bool ok;

		CHECK_FOR_INTERRUPTS();
		ok = feed(reader, line, len);

		count_newline(reader, line, len, newline);
		*size += len;
		*lines += 1;
		if (reader->done && ok)
			return EF_TAKEN;
		if (!ok && *lines == 1)
			defect = EF_UNQUOTED_VALUE;
		if (ok)
		{
			switch (find_line(reader, *size, &len, &newline))
			{
				case LINE_FOUND:
					continue;
				case LINE_NONE:
					if (feed_end(reader))
						return EF_TAKEN;
					break;
				case LINE_TOO_LONG:
					break;
			}
		}
		parser_reset(reader);
		*size = first_len;
		*lines = 1;
		if (memchr(reader->buf + reader->begin, '\0', first_len) != NULL)
			defect = EF_INVALID_ENCODING;
		return defect;
	}
}

/* Steps over what is left of a line that was too long. */
static void
drop_long_line(EfRecordReader *reader)
{
	size_t len;
	size_t newline;
	Line found;

	do
	{
		found = find_line(reader, 0, &len, &newline);
		if (found == LINE_NONE)
			break;
		reader->begin += len;
		reader->offset += len;
	} while (newline == 0);
	reader->line++;
	reader->in_long_line = false;
}

void
EfRecordSkipLine(EfRecordReader *reader)
{
	drop_long_line(reader);
}

static void
set_raw(const EfRecordReader *reader, EfRecord *record, size_t len)
{
	record->raw = reader->buf + reader->begin;
	record->raw_len = len;
	while (record->raw_len > 0 && (record->raw[record->raw_len - 1] == '\n' ||
								   record->raw[record->raw_len - 1] == '\r'))
		record->raw_len--;
}

/*
 * Reads the record at begin without libcsv, where that can be done: then *found
 * says whether there is something in it.
 */
static bool
read_regular(EfRecordReader *reader, EfRecord *record, bool *found)
{
	EfRegular *regular = &reader->regular;
	const char *begin;
	size_t len;
	size_t newline;
	bool blank;

	if (!regular->enabled)
		return false;
	for (;;)
	{
		EfRegularity regularity;

		begin = reader->buf + reader->begin;
		regularity = EfRegularNext(regular, begin, reader->buf + reader->end);
		if (regularity == EF_REGULAR)
			break;
		if (regularity == EF_IRREGULAR || reader->eof ||
			reader->end - reader->begin > reader->max_record)
			return false;
		refill(reader);
	}
	len = (size_t) (regular->newline - begin);
	newline = (size_t) (regular->after - regular->newline);
	if (len > reader->max_record)
		return false;

	/* blank lines are none of the dialect's, whatever it takes for padding */
	blank = (unsigned char) *begin <= ' ' && EfIsBlankLine(begin, len);
	*found = !regular->empty && !blank;
	if (!blank)
		count_newline(reader, begin, len + newline, newline);
	reader->consumed = len + newline;
	reader->consumed_lines = 1;
	record->line = reader->line;
	record->offset = reader->offset;
	record->nfields = regular->nfields;
	record->fields = regular->fields;
	record->defect = EF_TAKEN;
	record->raw_partial = false;
	set_raw(reader, record, len);
	return true;
}

bool
EfRecordNext(EfRecordReader *reader, EfRecord *record)
{
	for (;;)
	{
		size_t len;
		size_t newline;
		Line found;
		bool worth;

		reader->begin += reader->consumed;
		reader->offset += reader->consumed;
		reader->line += reader->consumed_lines;
		reader->consumed = 0;
		reader->consumed_lines = 0;
		if (reader->in_long_line)
			drop_long_line(reader);
		if (reader->offset >= reader->limit)
			return false;

		if (read_regular(reader, record, &worth))
		{
			if (worth)
				return true;
			CHECK_FOR_INTERRUPTS();
			continue;
		}
		found = find_line(reader, 0, &len, &newline);
		if (found == LINE_NONE)
			return false;

		record->line = reader->line;
		record->offset = reader->offset;
		record->nfields = 0;
		record->fields = NULL;
		record->raw_partial = false;
		if (found == LINE_TOO_LONG)
		{
			record->defect = EF_LINE_SIZE;
			record->raw = reader->buf + reader->begin;
			record->raw_len = reader->max_record;
			record->raw_partial = true;
			reader->in_long_line = true;
			return true;
		}
		if (EfIsBlankLine(reader->buf + reader->begin, len))
		{
			reader->consumed = len;
			reader->consumed_lines = newline > 0 ? 1 : 0;
			continue;
		}
		record->defect = parse_record(reader, len, newline, &reader->consumed,
									  &reader->consumed_lines);
		worth = list_fields(reader, record) || record->defect != EF_TAKEN;
		if (!worth)
			continue;

		set_raw(reader, record, reader->consumed);
		return true;
	}
}

void
EfRecordPosition(const EfRecordReader *reader, int64 *line, int64 *offset)
{
	*line = reader->line + reader->consumed_lines;
	*offset = reader->offset + reader->consumed;
}

const EfNewlineCounts *
EfRecordNewlines(const EfRecordReader *reader)
{
	return &reader->newlines;
}
