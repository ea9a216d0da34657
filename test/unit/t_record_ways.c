/*
 * t_record_ways.c
 *		An input holds the same records whichever way it is read: with libcsv
 *		alone, or with what is plainly regular read without it, in blocks of any
 *		size; and as a whole or in units, cut anywhere.
 */
#include "server.h"

#include <ctype.h>
#include <limits.h>

#include "plain.h"
#include "record_regular.h"

/* Times as much for a longer search, which is to be built with -DMORE=... */
#ifndef MORE
#define MORE 1
#endif

/* What record.c reads at a time. */
#define BLOCK_SIZE (256 * 1024)

typedef struct Input
{
	EfDialect dialect;
	size_t max_record;
	char *data; /* malloc */
	size_t len;
	size_t room;
} Input;

typedef struct Bytes
{
	char *data; /* malloc */
	size_t len;
	size_t room;
} Bytes;

static void
put(Bytes *to, const void *data, size_t len)
{
	if (to->len + len > to->room)
	{
		to->room = (to->len + len) * 2;
		to->data = realloc(to->data, to->room);
		assert_non_null(to->data);
	}
	if (len > 0)
		memcpy(to->data + to->len, data, len);
	to->len += len;
}

static bool
same_bytes(const Bytes *a, const Bytes *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* --- the two readers --- */

typedef struct Way
{
	const char *name;
	__typeof__(EfRecordBegin) *begin;
	__typeof__(EfRecordNext) *next;
	__typeof__(EfRecordPosition) *position;
	__typeof__(EfRecordNewlines) *newlines;
	__typeof__(EfRecordEnd) *end;
} Way;

static const Way ways[] = {
	{"record.c", EfRecordBegin, EfRecordNext, EfRecordPosition, EfRecordNewlines, EfRecordEnd},
	{"libcsv alone", PlainRecordBegin, PlainRecordNext, PlainRecordPosition, PlainRecordNewlines,
	 PlainRecordEnd},
};

#define AS_IS (&ways[0])
#define PLAIN (&ways[1])

/* All of a record, and the bytes after each field that may be read too. */
static void
put_record(Bytes *out, const EfRecord *record)
{
	static volatile char touched;
	int64 head[] = {record->line, record->offset, record->nfields, record->defect,
					(int64) record->raw_len, record->raw_partial};

	put(out, head, sizeof(head));
	put(out, record->raw, record->raw_len);
	for (int i = 0; i < record->nfields; i++)
	{
		const EfText *field = &record->fields[i];

		put(out, &field->len, sizeof(field->len));
		put(out, field->data, field->len);
		for (int j = 0; j < EF_SLACK && record->defect == EF_TAKEN; j++)
			touched = field->data[field->len + (uint32) j];
	}
	(void) touched;
}

static void
put_state(Bytes *out, const Way *way, const EfRecordReader *reader)
{
	int64 place[2];

	way->position(reader, &place[0], &place[1]);
	put(out, place, sizeof(place));
	put(out, way->newlines(reader), sizeof(EfNewlineCounts));
}

/* What is said of an input, after each record and at the end. */
static void
read_all(const Way *way, const Input *input, size_t chunk, Bytes *out)
{
	Pieces pieces = {input->data, input->len, 0, chunk};
	EfRecordReader *reader = way->begin(CurrentMemoryContext, &input->dialect, read_pieces,
										&pieces, 1, 0, input->max_record);
	EfRecord record;

	out->len = 0;
	while (way->next(reader, &record))
	{
		put_record(out, &record);
		put_state(out, way, reader);
	}
	put_state(out, way, reader);
	way->end(reader);
}

/* --- saying what differs --- */

static void
show_text(const char *text, size_t len)
{
	for (size_t i = 0; i < len && i < 200; i++)
	{
		unsigned char c = (unsigned char) text[i];

		print_error(c == '\n' ? "\\n" : c == '\r' ? "\\r" :
									c == '\t'	  ? "\\t" :
									isprint(c)	  ? "%c" :
													"\\x%02X",
					c);
	}
	print_error(len > 200 ? "...\n" : "\n");
}

static void
show_record(const Way *way, bool any, const EfRecord *record)
{
	if (!any)
	{
		print_error("%s: no more records\n", way->name);
		return;
	}
	print_error("%s: line %d, offset %d, %d fields, defect %d: ", way->name, (int) record->line,
				(int) record->offset, record->nfields, (int) record->defect);
	show_text(record->raw, record->raw_len);
}

/* Shows the first records of which one is not what the other is. */
static void
show_difference(const Input *input, const Way *const with[2], const size_t chunks[2])
{
	Pieces pieces[2] = {{input->data, input->len, 0, chunks[0]},
						{input->data, input->len, 0, chunks[1]}};
	EfRecordReader *readers[2];
	EfRecord records[2];
	Bytes bytes[2] = {{0}};
	bool any[2] = {true, true};

	for (int i = 0; i < 2; i++)
		readers[i] = with[i]->begin(CurrentMemoryContext, &input->dialect, read_pieces,
									&pieces[i], 1, 0, input->max_record);
	while (any[0] && any[1] && same_bytes(&bytes[0], &bytes[1]))
	{
		for (int i = 0; i < 2; i++)
		{
			any[i] = with[i]->next(readers[i], &records[i]);
			if (any[i])
				put_record(&bytes[i], &records[i]);
			put_state(&bytes[i], with[i], readers[i]);
		}
	}
	for (int i = 0; i < 2; i++)
	{
		show_record(with[i], any[i], &records[i]);
		free(bytes[i].data);
	}
}

static void
show_input(const Input *input)
{
	static const char *const paddings[] = {"auto", "trim", "trim_quoted", "keep"};
	static const char *const newlines[] = {"any", "LF", "CR"};

	print_error("delimiter 0x%02X, quote 0x%02X, %s, %s, at most %zu bytes, input: ",
				input->dialect.delimiter, input->dialect.quote,
				paddings[input->dialect.padding], newlines[input->dialect.newline],
				input->max_record);
	show_text(input->data, input->len);
}

static void
compare_chunk(const Input *input, const Bytes *expected, const Way *way, size_t chunk)
{
	static Bytes found;

	read_all(way, input, chunk, &found);
	if (same_bytes(&found, expected))
		return;
	show_input(input);
	show_difference(input, (const Way *[]){PLAIN, way}, (size_t[]){input->len + 1, chunk});
	server_end();
	fail_msg("records differ when %s reads chunks of %zu bytes", way->name, chunk);
}

/* Reads the input in chunks of each of those sizes, which end with 0. */
static void
compare_chunks(const Input *input, const size_t *chunks)
{
	static Bytes expected;

	server_begin();
	read_all(PLAIN, input, input->len + 1, &expected);
	for (; *chunks > 0; chunks++)
		compare_chunk(input, &expected, AS_IS, *chunks);
	server_end();
}

/* --- what is read --- */

static void
make_room(Input *input, size_t len)
{
	if (input->len + len > input->room)
	{
		input->room = (input->len + len) * 2;
		input->data = realloc(input->data, input->room);
		assert_non_null(input->data);
	}
}

static void
add(Input *input, const char *text, size_t len)
{
	make_room(input, len);
	memcpy(input->data + input->len, text, len);
	input->len += len;
}

static void
add_text(Input *input, const char *text)
{
	if (*text != '\0')
		add(input, text, strlen(text));
}

static void
add_char(Input *input, char c)
{
	if (c != '\0')
		add(input, &c, 1);
}

static void
add_times(Input *input, char c, size_t times)
{
	make_room(input, times);
	memset(input->data + input->len, c, times);
	input->len += times;
}

static const char delimiters[] = {',', ';', '\t', '|', ' '};

/* A quote can be any character; one that is padding is an odd choice. */
static const char quotes[] = {'"', '\'', '\0', ' '};

static const EfPadding paddings[] = {EF_PADDING_TRIM, EF_PADDING_TRIM_QUOTED, EF_PADDING_KEEP};
static const EfNewline newlines[] = {EF_NEWLINE_ANY, EF_NEWLINE_LF, EF_NEWLINE_CR};

#define DIALECTS (lengthof(delimiters) * lengthof(quotes) * lengthof(paddings) * lengthof(newlines))

/* False where the number stands for none. */
static bool
dialect_number(size_t number, EfDialect *dialect)
{
	dialect->delimiter = delimiters[number % lengthof(delimiters)];
	number /= lengthof(delimiters);
	dialect->quote = dialect->escape = quotes[number % lengthof(quotes)];
	number /= lengthof(quotes);
	dialect->padding = paddings[number % lengthof(paddings)];
	number /= lengthof(paddings);
	dialect->newline = newlines[number];
	return dialect->delimiter != dialect->quote;
}

static void
add_newline(Input *input)
{
	static const char *const forms[][3] = {
		[EF_NEWLINE_ANY] = {"\n", "\r\n", "\r"},
		[EF_NEWLINE_LF] = {"\n", "\n", "\r\n"},
		[EF_NEWLINE_CR] = {"\r", "\r", "\r"},
	};

	add_text(input, forms[input->dialect.newline][random_below(3)]);
}

static void
add_blanks(Input *input)
{
	static const char *const forms[] = {"", "", "", "", " ", "\t", "  ", " \t "};

	add_text(input, forms[random_below(lengthof(forms))]);
}

/* A value, mostly a well-formed one; in quotes it may hold anything. */
static void
add_value(Input *input, bool newlines_in_quotes)
{
	const EfDialect *dialect = &input->dialect;
	bool quoted = dialect->quote != '\0' && random_below(newlines_in_quotes ? 2 : 3) == 0;
	size_t len = random_below(4) == 0 ? random_below(20) : random_below(4);

	add_blanks(input);
	if (quoted)
		add_char(input, dialect->quote);
	for (size_t i = 0; i < len; i++)
	{
		switch (quoted ? random_below(12) : 9 + random_below(4))
		{
			case 0:
				add_char(input, dialect->delimiter);
				break;
			case 1:
				add_char(input, dialect->quote);
				add_char(input, dialect->quote);
				break;
			case 2:
			case 3:
			case 4:
				if (newlines_in_quotes)
					add_newline(input);
				break;
			case 9:
				add_char(input, ' ');
				break;
			default:
				add_char(input, "ab1\xC3"[random_below(4)]);
		}
	}
	if (quoted)
		add_char(input, dialect->quote);
	add_blanks(input);
}

static void
add_record(Input *input, bool newlines_in_quotes)
{
	size_t nvalues = 1 + random_below(4);

	if (random_below(8) == 0)
		nvalues = 0;
	for (size_t i = 0; i < nvalues; i++)
	{
		if (i > 0)
			add_char(input, input->dialect.delimiter);
		add_value(input, newlines_in_quotes);
	}
	add_newline(input);
}

/* A byte with a meaning, in this dialect or another. */
static char
hostile_byte(const Input *input)
{
	static const char bytes[] = {'\n', '\n', '\r', '\r', ' ', '\t', '\0', '\x80', '\xFF',
								 '"', '\'', ',', ';', '|', 'a', 'b', '\\', '\v', '\f'};

	switch (random_below(4))
	{
		case 0:
			return input->dialect.delimiter;
		case 1:
			return input->dialect.quote;
		default:
			return bytes[random_below(sizeof(bytes))];
	}
}

/* Replaces, leaves out or inserts a byte somewhere. */
static void
mutate(Input *input)
{
	size_t at = random_below(input->len + 1);
	char c = hostile_byte(input);

	switch (at < input->len ? random_below(3) : 2)
	{
		case 0:
			input->data[at] = c;
			break;
		case 1:
			memmove(input->data + at, input->data + at + 1, input->len - at - 1);
			input->len--;
			break;
		default:
			add(input, &c, 1);
			memmove(input->data + at + 1, input->data + at, input->len - at - 1);
			input->data[at] = c;
	}
}

/* About so many bytes: well-formed, with a few bytes changed, or of hostile bytes alone. */
static void
make_input(Input *input, size_t len, bool newlines_in_quotes)
{
	size_t kind = random_below(4);
	size_t cut = 1 + random_below(3);

	input->len = 0;
	if (kind == 0)
	{
		while (input->len < len)
		{
			char c = hostile_byte(input);

			add(input, &c, 1);
		}
		return;
	}
	while (input->len < len)
		add_record(input, newlines_in_quotes);
	if (kind == 1)
		for (size_t n = 1 + random_below(3); n > 0; n--)
			mutate(input);
	if (random_below(4) == 0)
		input->len -= Min(input->len, cut);
}

static size_t
some_limit(void)
{
	static const size_t limits[] = {3, 10, 30, 1000, 1000, 1000};

	return limits[random_below(lengthof(limits))];
}

/* --- the regular path against libcsv alone --- */

/* Small inputs, in chunks of every size. */
static void
test_small(void **state)
{
	Input input = {0};

	for (size_t i = 0; i < DIALECTS * 6 * MORE; i++)
	{
		size_t chunks[256];

		if (!dialect_number(i % DIALECTS, &input.dialect))
			continue;
		input.max_record = some_limit();
		make_input(&input, random_below(25), true);
		assert_in_range(input.len, 0, lengthof(chunks) - 2);
		for (size_t chunk = 0; chunk <= input.len; chunk++)
			chunks[chunk] = chunk + 1;
		chunks[input.len + 1] = 0;
		compare_chunks(&input, chunks);
	}
	free(input.data);
}

/* libcsv alone reads the same in chunks of any size. */
static void
test_plain(void **state)
{
	static Bytes expected;
	Input input = {0};

	for (size_t i = 0; i < DIALECTS * MORE; i++)
	{
		if (!dialect_number(i % DIALECTS, &input.dialect))
			continue;
		input.max_record = some_limit();
		make_input(&input, random_below(60), true);
		server_begin();
		read_all(PLAIN, &input, input.len + 1, &expected);
		for (size_t chunk = 1; chunk <= 8; chunk++)
			compare_chunk(&input, &expected, PLAIN, chunk);
		server_end();
	}
	free(input.data);
}

/* Enough records that many lie in the bytes searched at a time. */
static void
test_large(void **state)
{
	static const size_t chunks[] = {7, 1000, 4096, 1000000, 0};
	Input input = {0};

	for (size_t i = 0; i < DIALECTS * MORE; i++)
	{
		if (!dialect_number(i % DIALECTS, &input.dialect))
			continue;
		input.max_record = 100000;
		make_input(&input, random_below(20) == 0 ? 30000 : 1000, true);
		for (size_t n = random_below(20); n > 0; n--)
			mutate(&input);
		compare_chunks(&input, chunks);
	}
	free(input.data);
}

/* Lines that hold blanks and newline bytes only, where those are values and where not. */
static void
test_blank(void **state)
{
	static const char bytes[] = {' ', '\t', '\r', '\n', ','};
	static const size_t chunks[] = {1000, 0};
	Input input = {.max_record = 1000};

	for (size_t i = 0; i < DIALECTS; i++)
	{
		if (!dialect_number(i, &input.dialect))
			continue;
		for (size_t line = 0; line < 5 * 5 * 5; line++)
		{
			input.len = 0;
			add(&input, &bytes[line % 5], 1);
			add(&input, &bytes[line / 5 % 5], 1);
			add(&input, &bytes[line / 25], 1);
			add_newline(&input);
			add_text(&input, "a");
			add_newline(&input);
			compare_chunks(&input, chunks);
		}
	}
	free(input.data);
}

/* --- where the bytes searched at a time, or those read, come to an end --- */

typedef struct Shape
{
	const char *name;
	const char *begin;
	const char *repeated;
	const char *end;
} Shape;

static const Shape shapes[] = {
	{"one value", "", "a", ""},
	{"a quoted value", "\"", "a", "\""},
	{"quoted delimiters", "\"", ",", "\""},
	{"quoted quotes", "\"", "\"\"", "\""},
	{"quoted newlines", "\"", "\n", "\""},
	{"an open quote", "\"", "a", ""},
	{"blanks", "a", " ", ""},
	{"blanks after a quote", "\"a\"", " ", ""},
	{"fields", "a", ",", "b"},
	{"quoted fields", "a", ",\"b,\"", ""},
	{"63 fields and a long one",
	 ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", "a", ""},
	{"64 fields and a long one",
	 ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", "a", ""},
};

static const char *const line_ends[] = {"\n", "\r", "\r\n"};

/* A record of len bytes, or a little less. */
static void
add_shape(Input *input, const Shape *shape, size_t len)
{
	size_t end = input->len + len - strlen(shape->end);

	add_text(input, shape->begin);
	while (input->len + strlen(shape->repeated) <= end)
		add_text(input, shape->repeated);
	add_text(input, shape->end);
}

/* Records about as long as the window, whether they begin with it or within it. */
static void
test_window(void **state)
{
	static const size_t chunks[] = {EF_REGULAR_WINDOW + 1, 1000000, 0};
	const Shape *shape = *state;
	Input input = {.dialect = {',', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_ANY}};

	input.max_record = 20000;
	for (size_t end = 0; end < lengthof(line_ends); end++)
		for (size_t len = EF_REGULAR_WINDOW - 3; len <= EF_REGULAR_WINDOW + 1; len++)
		{
			input.dialect.padding = paddings[len % lengthof(paddings)];
			input.len = 0;
			add_shape(&input, shape, len);
			add_text(&input, line_ends[end]);
			add_text(&input, "x,y\nz\n");
			add_shape(&input, shape, len);
			add_text(&input, line_ends[end]);
			add_text(&input, "\"x\",y\n");
			compare_chunks(&input, chunks);
		}
	free(input.data);
}

/*
 * A line too long is passed over fast, so it is what puts the records at the end
 * of the first block; the newline of one after the other falls on it.
 */
static void
test_block(void **state)
{
	static const char records[] = "a,\"b\"\r\n\"c\rd\",e\rf\n\r\n\"g\"\"\",\"h\"\r\n";
	static const size_t chunks[] = {100000, BLOCK_SIZE, 1000000, 0};
	Input input = {.dialect = {',', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_ANY}};

	input.max_record = 1000;
	for (size_t newline = 0; newline < lengthof(newlines); newline++)
		for (size_t before = 0; before <= sizeof(records); before++)
		{
			input.dialect.newline = newlines[newline];
			input.len = 0;
			add_times(&input, 'x', BLOCK_SIZE - 1 - before);
			add_text(&input, newlines[newline] == EF_NEWLINE_CR ? "\r" : "\n");
			add_text(&input, records);
			add_text(&input, records);
			compare_chunks(&input, chunks);
		}
	free(input.data);
}

/* So is a block that is read while records are: none is passed over here. */
static void
test_blocks(void **state)
{
	static const char *const forms[] = {"%zu,\"b\",c d\r\n", "%zu,b\rc,\"d\"\n",
										"\"%zu\",\"b\r\nc\"\"\"\r\n"};
	static const size_t chunks[] = {BLOCK_SIZE - 1, 1000000, 0};
	Input input = {.dialect = {',', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_ANY}};
	char record[64];

	input.max_record = 1000;
	for (size_t form = 0; form < lengthof(forms); form++)
	{
		input.len = 0;
		for (size_t i = 0; input.len < BLOCK_SIZE + 1000; i++)
		{
			sprintf(record, forms[form], i);
			add_text(&input, record);
		}
		compare_chunks(&input, chunks);
	}
	free(input.data);
}

/* A record longer than a block makes the buffer grow. */
static void
test_growth(void **state)
{
	static const size_t chunks[] = {100000, 1000000, 0};
	Input input = {.dialect = {',', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_ANY}};

	input.max_record = 10000000;
	add_text(&input, "a,b\n");
	add_shape(&input, &shapes[0], BLOCK_SIZE + 100);
	add_text(&input, "\r\nc,d\r\n\"");
	add_shape(&input, &shapes[0], BLOCK_SIZE + 100);
	add_text(&input, "\"\r\ne,f\r\n");
	compare_chunks(&input, chunks);
	free(input.data);
}

/* A window full of places, with nothing between them. */
static void
test_dense(void **state)
{
	static const size_t chunks[] = {1000, 1000000, 0};
	static const char bytes[] = {',', '"', '\n', '\r'};

	for (size_t i = 0; i < DIALECTS; i++)
	{
		Input input = {.max_record = 50000};

		if (!dialect_number(i, &input.dialect) || input.dialect.delimiter != ',' ||
			input.dialect.quote == '\'')
			continue;
		for (size_t j = 0; j < sizeof(bytes); j++)
			add_times(&input, bytes[j], EF_REGULAR_WINDOW + random_below(100));
		add_text(&input, "a\n");
		compare_chunks(&input, chunks);
		free(input.data);
	}
}

/* --- units --- */

/* What reading an input unit by unit has come to. */
typedef struct Units
{
	bool fit;	   /* each began where the one before ended */
	bool one_line; /* no record has more */
	int64 line;	   /* where the last one ended */
	int64 offset;
	EfNewlineCounts counts;
	Bytes records;
} Units;

/* Steps into the first line that begins in the unit; false when it is not the next one. */
static bool
find_first_line(EfRecordReader *reader, size_t begin, const Units *units)
{
	int64 line;
	int64 offset;

	if (begin > 0)
		EfRecordSkipLine(reader);
	EfRecordPosition(reader, &line, &offset);
	return line == units->line && offset == units->offset;
}

/* A unit but the first is read from the byte before it, to see whether a line ends there. */
static void
read_unit(const Input *input, size_t chunk, size_t begin, int64 end, Units *units)
{
	size_t from = begin == 0 ? 0 : begin - 1;
	Pieces pieces = {input->data, input->len, from, chunk};
	EfRecordReader *reader = EfRecordBegin(CurrentMemoryContext, &input->dialect, read_pieces,
										   &pieces, begin == 0 ? 1 : units->line - 1,
										   (int64) from, input->max_record);
	const EfNewlineCounts *counts = EfRecordNewlines(reader);
	EfRecord record;

	units->fit = find_first_line(reader, begin, units);
	EfRecordLimit(reader, end);
	while (EfRecordNext(reader, &record))
	{
		put_record(&units->records, &record);
		EfRecordPosition(reader, &units->line, &units->offset);
		units->one_line &= units->line <= record.line + 1;
	}
	EfRecordPosition(reader, &units->line, &units->offset);
	units->counts.lf += counts->lf;
	units->counts.crlf += counts->crlf;
	units->counts.cr += counts->cr;
	EfRecordEnd(reader);
}

/* Reads the input cut at first, and from there on each step bytes; 0: not again. */
static void
read_units(const Input *input, size_t chunk, size_t first, size_t step, Units *units)
{
	Bytes records = units->records;
	size_t begin = 0;
	size_t end = first;

	records.len = 0;
	*units = (Units){.fit = true, .one_line = true, .line = 1, .records = records};
	while (units->fit && begin < input->len)
	{
		if (end <= begin || end >= input->len)
			end = input->len;
		read_unit(input, chunk, begin, end == input->len ? PG_INT64_MAX : (int64) end, units);
		begin = end;
		end += step;
	}
	put(&units->records, &units->counts, sizeof(units->counts));
	put(&units->records, &units->line, sizeof(units->line));
	put(&units->records, &units->offset, sizeof(units->offset));
}

/* Whether the units fit. */
static bool
compare_units(const Input *input, const Units *whole, size_t chunk, size_t first, size_t step)
{
	static Units units;

	read_units(input, chunk, first, step, &units);
	if (units.fit ? same_bytes(&units.records, &whole->records) : !whole->one_line)
		return units.fit;
	show_input(input);
	server_end();
	fail_msg("records %s when cut at %zu and each %zu bytes",
			 units.fit ? "differ" : "are lost", first, step);
	return false;
}

/* Cut in two at every byte, and in many of every size. */
static void
test_units(void **state)
{
	static Units whole;
	Input input = {0};
	int fit = 0;
	int unfit = 0;

	for (size_t i = 0; i < DIALECTS * 2 * MORE; i++)
	{
		size_t chunk = random_below(2) == 0 ? 1000 : 1 + random_below(10);

		if (!dialect_number(i % DIALECTS, &input.dialect))
			continue;
		input.max_record = some_limit();
		make_input(&input, random_below(40), random_below(2) == 0);
		server_begin();
		read_units(&input, chunk, 0, 0, &whole);
		for (size_t at = 1; at < input.len; at++)
			*(compare_units(&input, &whole, chunk, at, 0) ? &fit : &unfit) += !whole.one_line;
		for (size_t at = 1; at < 5 && at < input.len; at++)
			(void) compare_units(&input, &whole, chunk, at, at);
		server_end();
	}

	/* where records have more lines than one, it takes luck to fit */
	assert_in_range(fit, 100, INT_MAX);
	assert_in_range(unfit, 100, INT_MAX);
	free(input.data);
}

int
main(void)
{
	struct CMUnitTest tests[lengthof(shapes) + 9] = {
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_blank),
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_dense),
		cmocka_unit_test(test_units),
	};

	for (size_t i = 0; i < lengthof(shapes); i++)
		tests[i + 9] = (struct CMUnitTest){shapes[i].name, test_window, NULL, NULL,
										   unconstify(Shape *, &shapes[i])};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("record ways", tests, NULL, NULL);
}
