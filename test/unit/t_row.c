/*
 * t_row.c
 *		Records and the rows that they make. An experiment of plain values is read
 *		in a quick way and any other with more care, which must be the same: both
 *		are compared with each other, and with strtoll() and strtod().
 */
#include "server.h"

#include <errno.h>
#include <math.h>
#include <regex.h>

#include "encoding.h"
#include "reject.h"
#include "row.h"

/* --- in place of encoding.c and reject.c --- */

bool
EfToServer(EfText *text)
{
	return memchr(text->data, '\xFF', text->len) == NULL;
}

char *
EfShowText(EfText text, size_t max, bool controls, bool *truncated)
{
	return pnstrdup(text.data, Min(text.len, max));
}

const char *
EfReasonMessage(EfReason reason)
{
	return "message of the reason";
}

/* --- records --- */

#define FIELDS 8

/* What may stand after a field: anything, as far as EF_SLACK. */
static const char *const slacks[] = {
	"\0\0\0\0\0\0\0\0",
	",1234567",
	"\"\n567890",
	"12345678",
	".5;6;7;8",
	"00000000",
	";;;;;;;;",
	"e1e1e1e1",
	"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
};

/*
 * Each field stands by itself in memory that ends with its slack, so that what
 * reads more than that is seen.
 */
static EfText
make_field(const char *value, const char *slack)
{
	size_t len = strlen(value);
	char *data = palloc(len + EF_SLACK);

	memcpy(data, value, len);
	memcpy(data + len, slack, EF_SLACK);
	return (EfText){data, (uint32) len};
}

static void
make_record(EfRecord *record, EfText *fields, const char *const *values, const char *slack)
{
	memset(record, 0, sizeof(*record));
	record->fields = fields;
	while (record->nfields < FIELDS && values[record->nfields] != NULL)
	{
		fields[record->nfields] = make_field(values[record->nfields], slack);
		record->nfields++;
	}
}

static void
append(char *out, size_t room, const char *format, ...)
{
	va_list args;
	size_t len = strlen(out);

	va_start(args, format);
	assert_in_range(vsnprintf(out + len, room - len, format, args), 0, room - len - 1);
	va_end(args);
}

static void
append_text(char *out, size_t room, EfText text)
{
	if (text.data == NULL)
		append(out, room, " null");
	else
		append(out, room, " '%.*s'", (int) text.len, text.data);
}

static void
append_experiment(char *out, size_t room, const EfExperiment *experiment)
{
	append(out, room, INT64_FORMAT " " INT64_FORMAT " [", experiment->experiment_id,
		   experiment->user_id);
	for (int i = 0; i < experiment->ncompounds; i++)
		append(out, room, "%s" INT64_FORMAT, i > 0 ? " " : "", experiment->compound_ids[i]);
	append(out, room, "] ");
	if (experiment->has_run_time)
		append(out, room, "%.17g", experiment->run_time);
	else
		append(out, room, "null");
}

static void
show_row(char *out, size_t room, EfKind kind, const EfRow *row)
{
	out[0] = '\0';
	switch (kind)
	{
		case EF_USERS:
			append(out, room, INT64_FORMAT, row->user.user_id);
			append_text(out, room, row->user.name);
			append_text(out, room, row->user.email);
			if (row->user.has_signup_date)
				append(out, room, " %d", row->user.signup_date);
			else
				append(out, room, " null");
			break;
		case EF_COMPOUNDS:
			append(out, room, INT64_FORMAT, row->compound.compound_id);
			append_text(out, room, row->compound.name);
			append_text(out, room, row->compound.structure);
			break;
		case EF_EXPERIMENTS:
			append_experiment(out, room, &row->experiment);
			break;
	}
}

static void
show_fault(char *out, size_t room, const EfRowFault *fault)
{
	out[0] = '\0';
	append(out, room, "!%d %s", fault->reason, fault->column == NULL ? "record" : fault->column);
	append_text(out, room, fault->value);
	append(out, room, " %d %s", fault->sqlstate, fault->message);
}

/* Makes a row of the record, or a fault, and shows it. */
static void
parse(char *out, size_t room, EfKind kind, const EfRecord *record, const char *null)
{
	EfText null_text = {null, (uint32) strlen(null)};
	List *ignored = NIL;
	EfRowMap map;
	EfRow row;
	EfRowFault fault;

	EfRowMapColumns(&map, kind, NULL, 0, 1, &ignored);
	EfRowBegin(&row, CurrentMemoryContext);
	if (EfRowParse(&map, record, null_text, &row, &fault))
		show_row(out, room, kind, &row);
	else
		show_fault(out, room, &fault);
}

/* --- one table of records --- */

typedef struct Case
{
	const char *name;
	EfKind kind;
	const char *null;
	const char *values[FIELDS];
	const char *expected; /* as far as it goes */
} Case;

static const Case cases[] = {
	{"user", EF_USERS, "", {"1", "a", "b", "2000-01-02"}, "1 'a' 'b' 1"},
	{"user before 2000", EF_USERS, "", {"1", "a", "b", "1999-12-31"}, "1 'a' 'b' -1"},
	{"user of whom nothing is known", EF_USERS, "", {"1", "", "", ""}, "1 null null null"},
	{"empty texts that are not NULL", EF_USERS, "-", {"1", "", "-", "-"}, "1 '' null null"},
	{"an empty date is NULL all the same", EF_USERS, "-", {"1", "a", "b", ""}, "1 'a' 'b' null"},
	{"blanks are no NULL in a text", EF_USERS, "", {"1", " ", "b", " "}, "1 ' ' 'b' null"},
	{"user without an id", EF_USERS, "", {" ", "a", "b", ""}, "!1 user_id ' '"},
	{"invalid text", EF_USERS, "", {"1", "a\xFF", "b", ""}, "!7 name 'a\xFF'"},
	{"invalid date", EF_USERS, "", {"1", "a", "b", "2023-02-29"}, "!1 signup_date '2023-02-29'"},
	{"compound", EF_COMPOUNDS, "", {"-7", "a", ""}, "-7 'a' null"},
	{"compound out of range", EF_COMPOUNDS, "", {"9223372036854775808", "a", ""}, "!1 compound_id"},

	{"experiment", EF_EXPERIMENTS, "", {"1", "2", "3;4", "2.5"}, "1 2 [3 4] 2.5"},
	{"nothing listed", EF_EXPERIMENTS, "", {"1", "2", "", "2.5"}, "1 2 [] 2.5"},
	{"no run time", EF_EXPERIMENTS, "", {"1", "2", "3", ""}, "1 2 [3] null"},
	{"NULL by a word", EF_EXPERIMENTS, "none", {"1", "2", "none", "none"}, "1 2 [] null"},
	{"NULL by a number", EF_EXPERIMENTS, "0", {"1", "2", "0", "0"}, "1 2 [] null"},
	{"an id that is NULL", EF_EXPERIMENTS, "0", {"1", "0", "3", "1"}, "!1 user_id '0'"},
	{"negative run time", EF_EXPERIMENTS, "", {"1", "2", "3", "-1"}, "!1 experiment_run_time '-1'"},
	{"no negative zero", EF_EXPERIMENTS, "", {"1", "2", "3", "-0"}, "1 2 [3] 0"},

	/* fields */
	{"too few", EF_EXPERIMENTS, "", {"1", "2", "3"}, "!2 record"},
	{"one too many", EF_EXPERIMENTS, "", {"1", "2", "3", "4", "5"}, "!3 record"},
	{"empty ones too many", EF_EXPERIMENTS, "", {"1", "2", "3", "4", "", ""}, "1 2 [3] 4"},
	{"a blank one too many", EF_EXPERIMENTS, "", {"1", "2", "3", "4", " "}, "!3 record"},
};

static void
test_case(void **state)
{
	const Case *test = *state;

	for (size_t i = 0; i < lengthof(slacks); i++)
	{
		EfRecord record;
		EfText fields[FIELDS];
		char out[1000];

		server_begin();
		make_record(&record, fields, test->values, slacks[i]);
		parse(out, sizeof(out), test->kind, &record, test->null);
		out[strnlen(out, strlen(test->expected))] = '\0';
		assert_string_equal(out, test->expected);
		server_end();
	}
}

/* A malformed record has no fields that count. */
static void
test_defect(void **state)
{
	EfRecord record = {.defect = EF_UNTERMINATED_QUOTE};
	char out[100];

	server_begin();
	parse(out, sizeof(out), EF_EXPERIMENTS, &record, "");
	assert_string_equal(out, "!5 record null 0 message of the reason");
	server_end();
}

/* --- headers --- */

static void
test_header(void **state)
{
	char *names[] = {"Extra", "NAME", "", "signup_date", "email", "user_ID", "more"};
	static const int at[] = {5, 1, 4, 3};
	List *ignored = NIL;
	EfRowMap map;

	server_begin();
	EfRowMapColumns(&map, EF_USERS, names, lengthof(names), 1, &ignored);
	assert_int_equal(map.ncolumns, lengthof(at));
	for (size_t i = 0; i < lengthof(at); i++)
		assert_int_equal(map.at[i], at[i]);
	assert_int_equal(map.least, 7);
	assert_int_equal(map.most, 7);
	assert_int_equal(list_length(ignored), 2);
	assert_string_equal(linitial(ignored), "Extra");
	assert_string_equal(lsecond(ignored), "more");
	server_end();
}

/* --- experiments, against the C library --- */

typedef enum Read
{
	READ_OK,
	READ_NULL,
	READ_WRONG
} Read;

static regex_t integer;
static regex_t decimal;

static const char *
skip_blanks(char *value)
{
	size_t len = strlen(value);

	while (len > 0 && EfIsBlank(value[len - 1]))
		value[--len] = '\0';
	return value + strspn(value, " \t");
}

static Read
read_id(const char *text, int64 *id)
{
	char *copy = pstrdup(text);
	const char *value = skip_blanks(copy);

	if (*value == '\0')
		return READ_NULL;
	errno = 0;
	*id = strtoll(value, NULL, 10);
	return regexec(&integer, value, 0, NULL, 0) == 0 && errno == 0 ? READ_OK : READ_WRONG;
}

static Read
read_run_time(const char *text, double *run_time)
{
	char *copy = pstrdup(text);
	const char *value = skip_blanks(copy);

	if (*value == '\0')
		return READ_NULL;
	if (regexec(&decimal, value, 0, NULL, 0) != 0)
		return READ_WRONG;
	errno = 0;
	*run_time = strtod(value, NULL) + 0.0;
	if (errno == ERANGE && (*run_time == 0 || isinf(*run_time)))
		return READ_WRONG;
	return *run_time < 0 ? READ_WRONG : READ_OK;
}

static Read
read_list(const char *text, int64 *ids, int *n)
{
	static const char separators[] = ";,| \t";
	char *copy = pstrdup(text);
	char *rest;

	*n = 0;
	for (char *item = strtok_r(copy, separators, &rest); item != NULL;
		 item = strtok_r(NULL, separators, &rest))
		if (read_id(item, &ids[(*n)++]) != READ_OK)
			return READ_WRONG;
	return READ_OK;
}

/* Shows the row that the values should make, or which column is wrong. */
static void
expect(char *out, size_t room, const char *const *values)
{
	int64 ids[1000];
	EfExperiment experiment = {.compound_ids = ids};
	Read run_time = read_run_time(values[3], &experiment.run_time);

	out[0] = '\0';
	experiment.has_run_time = run_time == READ_OK;
	if (read_id(values[0], &experiment.experiment_id) != READ_OK)
		append(out, room, "!1 experiment_id '%s'", values[0]);
	else if (read_id(values[1], &experiment.user_id) != READ_OK)
		append(out, room, "!1 user_id '%s'", values[1]);
	else if (read_list(values[2], ids, &experiment.ncompounds) != READ_OK)
		append(out, room, "!1 experiment_compound_ids '%s'", values[2]);
	else if (run_time == READ_WRONG)
		append(out, room, "!1 experiment_run_time '%s'", values[3]);
	else
		append_experiment(out, room, &experiment);
}

/* With a text for NULL that does not occur, rows are made with care. */
static void
check_experiment(const char *const *values)
{
	char expected[4000];
	char quick[4000];
	char careful[4000];

	server_begin();
	expect(expected, sizeof(expected), values);
	for (size_t i = 0; i < lengthof(slacks); i++)
	{
		EfRecord record;
		EfText fields[FIELDS];

		make_record(&record, fields, values, slacks[i]);
		parse(quick, sizeof(quick), EF_EXPERIMENTS, &record, "");
		parse(careful, sizeof(careful), EF_EXPERIMENTS, &record, "some other text");
		assert_string_equal(quick, careful);
		if (expected[0] == '!')
			quick[strnlen(quick, strlen(expected))] = '\0';
		assert_string_equal(quick, expected);
	}
	server_end();
}

/* The value in place of each of the four, and the others plain. */
static void
check_value(const char *value)
{
	for (int i = 0; i < 4; i++)
	{
		const char *values[] = {"1", "22", "3;44", "5.5", NULL};

		values[i] = value;
		check_experiment(values);
	}
}

static const char *const values[] = {
	"", " ", "\t ", "0", "00", "-0", "+0", "+", "-", "--1", "+-1", "1-", "1+", " 1", "1 ",
	"\t1\t", "1 2", "0x1", "x", "1x", "x1", "1234567x", "12345678x", "123456789x",
	"1234567890123456x", "x2345678", "1x345678", "12345678 9", "/", ":", "1:", "1/",

	/* the end of the range */
	"9223372036854775807", "9223372036854775808", "-9223372036854775808",
	"-9223372036854775809", "+9223372036854775807", "09223372036854775807",
	"0000000000000000000000000000001", "9999999999999999", "99999999999999999",
	"18446744073709551616", "100000000000000000000", "-100000000000000000000",

	/* points */
	".", "..", "5.", ".5", "-.5", "+5.", "5..", ".5.", "5.5.5", "1.2345678", "12.345678",
	"1234567.", ".1234567", "12345678.", ".12345678", "0.000001", "000.1", "1. ", " .5",
	"1 .5", "0.1", "0.7", "1.005", "999999.9", "99999.99",

	/* powers of ten */
	"1e5", "1E5", "1e+5", "1e-5", "1e", "1e+", "e5", ".e5", "5.e5", ".5e5", "1e5.", "1e400",
	"-1e400", "1e-400", "4.9e-324", "2e-324", "1.7976931348623157e308",
	"1.7976931348623159e308", "0e400",
	"1e00000000000000000000000000000000000000000000000000000000000000000005",

	/* numbers in other notations */
	"inf", "nan", "Infinity", "0x1p3", "1_000", "1,5", "1,000.5", "\xD9\xA1", "1\xC2\xA0",

	/* decimals that are hard to round */
	"9007199254740993", "9007199254740992.5", "9007199254740993.0000000000000001",
	"0.500000000000000166533453693773481063544750213623046875", "2.2250738585072011e-308",
	"6929495644600919.5", "3.518437208883201171875e13", "8.5", "123456789012345678",
	"0.30000000000000004", "1.00000000000000011102230246251565404",

	/* lists */
	"1;2", "1,2", "1|2", "1 2", "1\t2", "1; 2", "1 ;2", " 1;2", "1;2 ", "1;2;", ";1;2",
	"1;;2", ";", ";;", "1;2;;", "1;,|2", "1;x", "x;1", "1;2x", "1;x2;3", "1;-2;+3", "1;2.5",
	"1;0002", "1234567", "12345678", "123456789", "1234567;1", "12345678;1", "123456789;1",
	"1;1234567", "1;12345678", "1;123456789", "1;2;1234567;12345678;3;4",
	"1;9223372036854775807;2", "1;9223372036854775808;2", "1;-9223372036854775808",
	"1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1", "7654321;7654321;7654321;7654321", "1:2",
	"[1;2]", "1;2\n", "{1,2}", "(1)"};

static void
test_values(void **state)
{
	for (size_t i = 0; i < lengthof(values); i++)
		check_value(values[i]);
}

static char
random_digit(void)
{
	return (char) ('0' + random_below(10));
}

static size_t
add_digits(char *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = random_digit();
	to[n] = '\0';
	return n;
}

/* As many digits, with blanks or a sign before or after. */
static void
test_digits(void **state)
{
	static const char *const before[] = {"", " ", "\t", "+", "-", " -", "0", "00000000"};
	static const char *const after[] = {"", " ", "\t", "x", ";"};

	for (size_t n = 1; n <= 20; n++)
		for (size_t i = 0; i < lengthof(before); i++)
			for (size_t j = 0; j < lengthof(after); j++)
			{
				char digits[21];
				char value[64];

				add_digits(digits, n);
				sprintf(value, "%s%s%s", before[i], digits, after[j]);
				check_value(value);
			}
}

static void
check_run_time(const char *value)
{
	const char *values[] = {"1", "2", "3", value, NULL};

	check_experiment(values);
}

/* A point anywhere among up to 17 digits. */
static void
test_decimals(void **state)
{
	for (size_t n = 0; n <= 17; n++)
		for (size_t point = 0; point <= n; point++)
			for (int i = 0; i < (n < 8 ? 8 : 2); i++)
			{
				char value[64];
				size_t len = add_digits(value, point);

				value[len++] = '.';
				(void) add_digits(value + len, n - point);
				check_run_time(value);
			}
}

/* A separator, mostly the usual one. */
static const char *
some_separator(void)
{
	static const char *const between[] = {";", ";", ";", ",", "|", " ", "\t", ";;", "; ", " |"};

	return between[random_below(lengthof(between))];
}

/* An id of one to seven digits, mostly. */
static void
add_item(char *list)
{
	size_t digits = random_below(16) == 0 ? random_below(12) : 1 + random_below(7);

	if (random_below(32) == 0)
		strcat(list, "-");
	(void) add_digits(list + strlen(list), digits);
}

/* Lists of items of any length with anything between them. */
static void
test_lists(void **state)
{
	for (int i = 0; i < 1500; i++)
	{
		const char *values[] = {"1", "2", NULL, "3", NULL};
		const char *separator = some_separator();
		char list[1000] = "";
		size_t n = random_below(10);

		for (size_t item = 0; item < n; item++)
		{
			if (item > 0)
				strcat(list, random_below(8) == 0 ? some_separator() : separator);
			add_item(list);
		}
		if (random_below(8) == 0)
			strcat(list, separator);
		values[2] = list;
		check_experiment(values);
	}
}

/* A list grows the room for it, and the next one uses that again. */
static void
test_long_lists(void **state)
{
	EfText null = {"", 0};
	List *ignored = NIL;
	EfRowMap map;
	EfRow row;

	server_begin();
	EfRowMapColumns(&map, EF_EXPERIMENTS, NULL, 0, 1, &ignored);
	EfRowBegin(&row, CurrentMemoryContext);
	for (int n = 1; n < 3000; n = n * 2 + 1)
		for (int shorter = 0; shorter < 2; shorter++)
		{
			int len = shorter ? n / 2 + 1 : n;
			const char *values[] = {"1", "2", NULL, "3", NULL};
			char *list = palloc((Size) len * 2 + 1);
			EfRecord record;
			EfText fields[FIELDS];
			EfRowFault fault;

			for (int i = 0; i < len; i++)
				strcpy(list + 2 * i, i % 2 == 0 ? "1;" : "2;");
			list[2 * len - 1] = '\0';
			values[2] = list;
			make_record(&record, fields, values, slacks[0]);
			assert_true(EfRowParse(&map, &record, null, &row, &fault));
			assert_int_equal(row.experiment.ncompounds, len);
			assert_int_equal(row.experiment.compound_ids[len - 1], 2 - len % 2);
		}
	server_end();
}

static int
compile_patterns(void **state)
{
	return regcomp(&integer, "^[+-]?[0-9]+$", REG_EXTENDED | REG_NOSUB) != 0 ||
		   regcomp(&decimal, "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$",
				   REG_EXTENDED | REG_NOSUB) != 0;
}

static int
free_patterns(void **state)
{
	regfree(&integer);
	regfree(&decimal);
	return 0;
}

#define TESTS 7

int
main(void)
{
	struct CMUnitTest tests[lengthof(cases) + TESTS] = {
		cmocka_unit_test(test_defect),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_digits),
		cmocka_unit_test(test_decimals),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_long_lists),
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		tests[i + TESTS] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL,
											   unconstify(Case *, &cases[i])};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("row", tests, compile_patterns, free_patterns);
}
