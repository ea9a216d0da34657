/*
 * t_record.c
 *		One table of inputs and the records that they hold, replayed with
 *		every size of piece in which the input can come; then random input,
 *		compared with libcsv run over it in one piece.
 */
#include "server.h"

#include <csv.h>

#include "miscadmin.h"

#include "record.h"

#define LIMIT 64

typedef struct Case
{
	const char *name;
	EfDialect dialect;
	const char *input;
	const char *expected; /* see show_record */
} Case;

#define PLAIN ',', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_ANY
#define BACKSLASH ',', '"', '\\', EF_PADDING_TRIM, EF_NEWLINE_ANY
#define UNQUOTED ',', '\0', '\0', EF_PADDING_TRIM, EF_NEWLINE_ANY
#define INSIDE ',', '"', '"', EF_PADDING_TRIM_QUOTED, EF_NEWLINE_ANY
#define KEEP ',', '"', '"', EF_PADDING_KEEP, EF_NEWLINE_ANY
#define TABS '\t', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_ANY
#define LF ',', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_LF
#define CR ',', '"', '"', EF_PADDING_TRIM, EF_NEWLINE_CR

#define FIFTY "01234567890123456789012345678901234567890123456789"

static const Case cases[] = {
	/* what stands where */
	{"nothing", {PLAIN}, "", ""},
	{"one record", {PLAIN}, "a,b\n", "1@0 a|b;"},
	{"no newline at the end", {PLAIN}, "a,b\nc,d", "1@0 a|b;2@4 c|d;"},
	{"empty fields", {PLAIN}, ",b,\n", "1@0 |b|;"},
	{"blank lines are passed over", {PLAIN}, "\n \n\t\na\n\n\nb", "4@5 a;7@9 b;"},
	{"so are records of nothing", {PLAIN}, ",,\na,b\n , \"\"\n", "2@3 a|b;"},

	/* newlines */
	{"CRLF", {PLAIN}, "a,b\r\nc,d\r\n", "1@0 a|b;2@5 c|d;"},
	{"CR", {PLAIN}, "a,b\rc,d\r", "1@0 a|b;2@4 c|d;"},
	{"mixed", {PLAIN}, "a\nb\rc\r\nd\n\re", "1@0 a;2@2 b;3@4 c;4@7 d;6@10 e;"},
	{"LF alone: a CR is data, or padding at the end", {LF}, "a\rb\r\nc\n", "1@0 a\rb;2@5 c;"},
	{"CRLF where LF ends a line and blanks are kept", {',', '"', '"', EF_PADDING_KEEP, EF_NEWLINE_LF}, " a,\"b\"\r\nc,d \r\n", "1@0  a|b;2@8 c|d ;"},
	{"CR alone: an LF is data", {CR}, "a\nb\rc\r", "1@0 a\nb;2@4 c;"},

	/* quotes */
	{"quoted", {PLAIN}, "\"a\",\"b,c\"\n", "1@0 a|b,c;"},
	{"doubled quote", {PLAIN}, "\"a\"\"b\",\"\"\"\"\n", "1@0 a\"b|\";"},
	{"quoted newlines", {PLAIN}, "\"a\nb\r\nc\",d\ne\n", "1@0 a\nb\r\nc|d;4@11 e;"},
	{"another quote", {';', '\'', '\'', EF_PADDING_TRIM, EF_NEWLINE_ANY}, "'a;''b';\"c\n", "1@0 a;'b|\"c;"},
	{"no quotes", {UNQUOTED}, "\"a,b\"\"c\n", "1@0 \"a|b\"\"c;"},
	{"backslash escapes", {BACKSLASH}, "\"a\\\"b\",\"\\\\\",\"c\\d\"\n", "1@0 a\"b|\\|c\\d;"},
	{"escaped delimiter", {',', '\0', '\\', EF_PADDING_TRIM, EF_NEWLINE_ANY}, "a\\,b,c\\\\,d\n", "1@0 a,b|c\\|d;"},
	{"bytes that stand for escapes are no quotes", {BACKSLASH}, "\"a\xFE\xFD\xFC\",b\n", "1@0 a\xFF\xFF\xFF|b;"},

	/* padding */
	{"blanks outside quotes", {PLAIN}, " a ,\t\"b \"\t, c d\n", "1@0 a|b |c d;"},
	{"blanks inside quotes", {INSIDE}, "\"\ta \",\" b\"\n", "1@0 a|b;"},
	{"blanks kept", {KEEP}, " a ,b \n", "1@0  a |b ;"},
	{"tabs that delimit are no padding", {TABS}, "a\t\t b \t\n", "1@0 a||b|;"},

	/* malformed: the first line is given up, reading goes on with the next */
	{"quote in a value", {PLAIN}, "a,b\"c\nd,e\n", "1@0 !UNQUOTED a,b\"c;2@6 d|e;"},
	{"text after a quote", {PLAIN}, "\"a\"b,c\nd\n", "1@0 !UNQUOTED \"a\"b,c;2@7 d;"},
	{"open quote", {PLAIN}, "a,\"b\nc,d\ne,f\n", "1@0 !UNTERMINATED a,\"b;2@5 c|d;3@9 e|f;"},
	{"open quote at the end", {PLAIN}, "a\nb,\"c", "1@0 a;2@2 !UNTERMINATED b,\"c;"},
	{"quote that closes lines later, wrongly", {PLAIN}, "a,\"b\nc\nd,\"e\nf\n", "1@0 !UNTERMINATED a,\"b;2@5 c;3@7 !UNTERMINATED d,\"e;4@12 f;"},
	{"open quote beyond the limit", {PLAIN}, "\"a\n" FIFTY "\n" FIFTY "\nb\n", "1@0 !UNTERMINATED \"a;2@3 " FIFTY ";3@54 " FIFTY ";4@105 b;"},
	{"line at the limit", {PLAIN}, FIFTY "01234567890123\nb\n", "1@0 " FIFTY "01234567890123;2@65 b;"},
	{"line over the limit", {PLAIN}, "a\n" FIFTY "012345678901234\nb\n", "1@0 a;2@2 !SIZE " FIFTY "01234567890123;3@68 b;"},
	{"line far over the limit", {PLAIN}, FIFTY FIFTY FIFTY "\r\nb\n", "1@0 !SIZE " FIFTY "01234567890123;2@152 b;"},
	{"line over the limit at the end", {PLAIN}, FIFTY FIFTY, "1@0 !SIZE " FIFTY "01234567890123;"},
};

static void
append(char *out, size_t room, const char *format, ...)
{
	va_list args;
	size_t len = strlen(out);

	va_start(args, format);
	assert_in_range(vsnprintf(out + len, room - len, format, args), 0, room - len - 1);
	va_end(args);
}

/* line@offset field|field; or line@offset !REASON raw; */
static void
show_record(char *out, size_t room, const EfRecord *record)
{
	static const char *const names[EF_REASONS] = {
		[EF_UNQUOTED_VALUE] = "UNQUOTED",
		[EF_UNTERMINATED_QUOTE] = "UNTERMINATED",
		[EF_LINE_SIZE] = "SIZE",
		[EF_INVALID_ENCODING] = "ENCODING",
	};

	append(out, room, "%d@%d ", (int) record->line, (int) record->offset);
	if (record->defect != EF_TAKEN)
	{
		append(out, room, "!%s %.*s;", names[record->defect], (int) record->raw_len, record->raw);
		return;
	}
	for (int i = 0; i < record->nfields; i++)
		append(out, room, "%s%.*s", i > 0 ? "|" : "", (int) record->fields[i].len,
			   record->fields[i].data);
	append(out, room, ";");
}

static void
read_all(const char *input, size_t len, size_t piece, const EfDialect *dialect,
		 char *out, size_t room)
{
	Pieces pieces = {input, len, 0, piece};
	EfRecordReader *reader = EfRecordBegin(CurrentMemoryContext, dialect, read_pieces, &pieces,
										   1, 0, LIMIT);
	EfRecord record;

	out[0] = '\0';
	while (EfRecordNext(reader, &record))
		show_record(out, room, &record);
	EfRecordEnd(reader);
}

/* Whatever the pieces in which it comes, an input holds the same records. */
static void
test_case(void **state)
{
	const Case *test = *state;
	size_t len = strlen(test->input);
	char out[4096];

	server_begin();
	for (size_t piece = 1; piece <= len + 1; piece++)
	{
		read_all(test->input, len, piece, &test->dialect, out, sizeof(out));
		assert_string_equal(out, test->expected);
	}
	server_end();
}

/* A NUL byte without quoting is a matter of encoding, and hides no record. */
static void
test_nul(void **state)
{
	EfDialect dialect = {UNQUOTED};
	char out[256];

	server_begin();
	for (size_t piece = 1; piece < 10; piece++)
	{
		read_all("a\nb\0c\0\nd\n", 9, piece, &dialect, out, sizeof(out));
		assert_string_equal(out, "1@0 a;2@2 !ENCODING b;3@7 d;");
	}
	server_end();
}

/* Records are numbered and counted from where reading was said to begin. */
static void
test_position(void **state)
{
	EfDialect dialect = {PLAIN};
	Pieces pieces = {"a\r\nb\nc", 6, 0, 100};
	EfRecordReader *reader;
	EfRecord record;
	int64 line;
	int64 offset;

	server_begin();
	reader = EfRecordBegin(CurrentMemoryContext, &dialect, read_pieces, &pieces, 5, 100, LIMIT);
	assert_true(EfRecordNext(reader, &record));
	assert_int_equal(record.line, 5);
	assert_int_equal(record.offset, 100);
	EfRecordPosition(reader, &line, &offset);
	assert_int_equal(line, 6);
	assert_int_equal(offset, 103);
	assert_true(EfRecordNext(reader, &record));
	assert_true(EfRecordNext(reader, &record));
	assert_int_equal(record.line, 7);
	assert_false(EfRecordNext(reader, &record));
	assert_int_equal(EfRecordNewlines(reader)->crlf, 1);
	assert_int_equal(EfRecordNewlines(reader)->lf, 1);
	assert_int_equal(EfRecordNewlines(reader)->cr, 0);
	EfRecordEnd(reader);
	server_end();
}

/* Many more bytes than the buffer holds, and lines that straddle its blocks. */
static void
test_large(void **state)
{
	EfDialect dialect = {PLAIN};
	const int n = 60000;
	char *input = malloc((size_t) n * 32);
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += (size_t) sprintf(input + len, "%d,\"x\n%d\",y\r\n", i, i * 7);
	for (size_t piece = 4093; piece < 1000000; piece = piece * 5 + 1)
	{
		Pieces pieces = {input, len, 0, piece};
		EfRecordReader *reader;
		EfRecord record;
		char expected[32];
		int i = 0;

		server_begin();
		reader = EfRecordBegin(CurrentMemoryContext, &dialect, read_pieces, &pieces, 1, 0, LIMIT);
		for (; EfRecordNext(reader, &record); i++)
		{
			assert_int_equal(record.defect, EF_TAKEN);
			assert_int_equal(record.line, 1 + 2 * i);
			assert_int_equal(record.nfields, 3);
			sprintf(expected, "x\n%d", i * 7);
			assert_int_equal(record.fields[1].len, strlen(expected));
			assert_memory_equal(record.fields[1].data, expected, strlen(expected));
		}
		assert_int_equal(i, n);
		server_end();
	}
	free(input);
}

/* A record may have more fields than the arrays begin with. */
static void
test_many_fields(void **state)
{
	EfDialect dialect = {PLAIN};
	const int n = 100000;
	char *input = malloc((size_t) n * 2);
	Pieces pieces = {input, (size_t) n * 2, 0, 1000};
	EfRecordReader *reader;
	EfRecord record;

	for (int i = 0; i < n; i++)
	{
		input[i * 2] = 'a';
		input[i * 2 + 1] = i + 1 < n ? ',' : '\n';
	}
	server_begin();
	reader = EfRecordBegin(CurrentMemoryContext, &dialect, read_pieces, &pieces, 1, 0,
						   1024 * 1024);
	assert_true(EfRecordNext(reader, &record));
	assert_int_equal(record.nfields, n);
	assert_false(EfRecordNext(reader, &record));
	server_end();
	free(input);
}

/*
 * A long value is not copied over and over while it grows, and can be
 * cancelled between its lines.
 */
static void
test_long_value(void **state)
{
	EfDialect dialect = {PLAIN};
	const size_t n = 16 * 1024 * 1024;
	char *input = malloc(n);
	Pieces pieces = {input, n, 0, 100000};
	EfRecordReader *reader;
	EfRecord record;

	for (size_t i = 0; i < n; i++)
		input[i] = i % 1000 == 999 ? '\n' : 'a';
	input[0] = '"';
	input[n - 2] = '"';
	input[n - 1] = '\n';
	server_begin();
	InterruptPending = true;
	reader = EfRecordBegin(CurrentMemoryContext, &dialect, read_pieces, &pieces, 1, 0, n);
	assert_true(EfRecordNext(reader, &record));
	assert_int_equal(record.defect, EF_TAKEN);
	assert_int_equal(record.fields[0].len, n - 3);
	assert_in_range(server_allocated, n, 10 * n);
	assert_in_range(server_interrupts, n / 1000, n);
	server_end();
	free(input);
}

/* --- against libcsv run in one piece --- */

typedef struct Reference
{
	char out[4096];
	char record[4096];
	int nfields;
	bool any;
} Reference;

static void
reference_field(void *data, size_t len, void *arg)
{
	Reference *reference = arg;

	append(reference->record, sizeof(reference->record), "%s%.*s",
		   reference->nfields++ > 0 ? "|" : "", (int) len, len > 0 ? (char *) data : "");
	reference->any |= len > 0;
}

static void
reference_record(int c, void *arg)
{
	Reference *reference = arg;

	if (reference->any)
		append(reference->out, sizeof(reference->out), "%s;", reference->record);
	reference->record[0] = '\0';
	reference->nfields = 0;
	reference->any = false;
}

static bool
run_reference(const char *input, size_t len, Reference *reference)
{
	struct csv_parser parser;
	bool ok;

	memset(reference, 0, sizeof(*reference));
	csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI);
	ok = csv_parse(&parser, input, len, reference_field, reference_record, reference) == len &&
		 csv_fini(&parser, reference_field, reference_record, reference) == 0;
	csv_free(&parser);
	return ok;
}

/* "1@0 a|b;2@4 c;" without the places */
static void
strip_places(const char *from, char *to)
{
	while (*from != '\0')
	{
		from = strchr(from, ' ') + 1;
		while (*from != ';')
			*to++ = *from++;
		*to++ = *from++;
	}
	*to = '\0';
}

/* Well-formed input gives what libcsv makes of it; any input the same in any pieces. */
static void
test_random(void **state)
{
	static const char alphabet[] = "aab,,\"\"\"\n\r \t";
	EfDialect dialect = {PLAIN};
	Reference reference;
	int well_formed = 0;

	for (int round = 0; round < 4000; round++)
	{
		char input[32];
		char whole[4096];
		char out[4096];
		size_t len = (size_t) (round % 24);

		for (size_t i = 0; i < len; i++)
			input[i] = alphabet[random_below(sizeof(alphabet) - 1)];
		server_begin();
		read_all(input, len, len + 1, &dialect, whole, sizeof(whole));
		for (size_t piece = 1; piece <= len; piece++)
		{
			read_all(input, len, piece, &dialect, out, sizeof(out));
			assert_string_equal(out, whole);
		}
		server_end();
		if (run_reference(input, len, &reference))
		{
			strip_places(whole, out);
			assert_string_equal(out, reference.out);
			well_formed++;
		}
	}
	assert_true(well_formed > 500);
}

int
main(void)
{
	struct CMUnitTest tests[lengthof(cases) + 6] = {
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_position),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_many_fields),
		cmocka_unit_test(test_long_value),
		cmocka_unit_test(test_random),
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		tests[i + 6] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL,
										   unconstify(Case *, &cases[i])};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
