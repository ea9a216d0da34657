/*
 * t_dialect.c
 *		One table of beginnings of files and the dialects that they show.
 */
#include "server.h"

#include "dialect.h"

static const char *const users[] = {"user_id", "name", "email", "signup_date"};

#define HEADER "user_id,name,email,signup_date\n"
#define FILLER "9,i,i@x,\n9,i,i@x,\n9,i,i@x,\n"

typedef struct Case
{
	const char *name;
	const char *sample;
	const char *expected; /* see show_detected */
	EfDialectOptions options;
} Case;

static const Case cases[] = {
	/* delimiters: the one under which the header shows the columns */
	{"comma", HEADER "1,a,a@x,2023-01-01\n", ", \" doubled trim header 1 data 2"},
	{"semicolon", "user_id;name;email;signup_date\n1;a,b,c,d,e;a@x;\n",
	 "; \" doubled trim header 1 data 2"},
	{"tab", "user_id\tname\temail\tsignup_date\n1\ta b\ta@x\t\n",
	 "tab \" doubled trim header 1 data 2"},
	{"bar", "user_id|name|email|signup_date\n1|a;b|a@x|\n", "| \" doubled trim header 1 data 2"},
	{"comma and tab", "\nuser_id,\tname,\temail,\tsignup_date\n1,\ta,\ta@x,\t2023-01-01",
	 ", \" doubled trim header 2 data 3"},
	{"sep= says it", "sep=|\nuser_id|name|email|signup_date\n", "| \" doubled trim header 2 data 3"},
	{"any delimiter by option", "user_id:name:email:signup_date\n1:a:b:c\n", ": \" doubled trim header 1 data 2", {.delimiter_given = true, .delimiter = ':'}},

	/* headers: any order, case, blanks; after a preamble; or none */
	{"order, case, blanks, more columns", " Email ,X,SIGNUP_DATE,name, user_id\n",
	 ", \" doubled trim header 1 data 2"},
	{"preamble", "Report of \"May\n\nby, me\n" HEADER, ", \" doubled trim header 4 data 5"},
	{"lines skipped by option", HEADER "\n" HEADER "1,a,b,\n", ", \" doubled trim header 3 data 4", {.skip = 1}},
	{"a header that lacks a column is named all the same", "x\nuser_id,name,mail,signup_date\n",
	 ", \" doubled trim header 2 data 3"},
	{"first record by option", "x,y\n" HEADER, ", \" doubled trim header 1 data 2", {.header_given = true, .header = true}},
	{"no header by option", "1;a,b;a@x;2023-01-01\n2;c;;\n", "; \" doubled trim header 0 data 1", {.header_given = true, .header = false}},
	{"quoted over lines", "\"user_id\",\"name\",\"email\",\"signup_date\"\n1,\"a\nb\",c,\n",
	 ", \" doubled trim header 1 data 2"},

	/* quotes: the usual one unless something else explains more */
	{"single quotes in the header", "'user_id','name','email','signup_date'\n1,'a''b','c',''\n",
	 ", ' doubled trim header 1 data 2"},
	{"single quotes in the records", HEADER "1,'a','b@x',\n2,'c','d@x','2023-01-01'\n",
	 ", ' doubled trim header 1 data 2"},
	{"single quotes where a value needs them", HEADER "1,'Smith, John',a@b,2020-01-01\n2,Bob,b@b,\n",
	 ", ' doubled trim header 1 data 2"},
	{"single quotes, doubled", HEADER "1,'O''Neil',a@b,2020-01-01\n2,Bob,b@b,\n",
	 ", ' doubled trim header 1 data 2"},
	{"inches and one value in apostrophes", HEADER "1,5\" pipe,a,\n2,'abc',b,\n3,C,c,\n",
	 ", none - trim header 1 data 2"},
	{"sep= against an option", "sep=|\n" HEADER, ", | doubled trim header 2 data 3", {.quote_given = true, .quote = '|'}},
	{"sep= of a byte that delimits nothing", "sep=\300\n" HEADER, ", \" doubled trim header 2 data 3"},
	{"apostrophes are no quotes", HEADER "1,'t Hooft,a@x,\n2,O'Neil,b@x,\n3,Rock 'n' Roll,c@x,\n",
	 ", \" doubled trim header 1 data 2"},
	{"one value in apostrophes", HEADER "1,'a',b@x,\n" FILLER,
	 ", \" doubled trim header 1 data 2"},
	{"inches: no quotes at all", HEADER "1,5\" pipe,a@x,\n2,6\",b@x,\n",
	 ", none - trim header 1 data 2"},
	{"inches in a file that quotes: a bad record", HEADER "1,5\" pipe,a@x,\n2,\"b,c\",b@x,\n",
	 ", \" doubled trim header 1 data 2"},
	{"one bad record is no reason to give quotes up", "\"user_id\",\"name\",\"email\",\"signup_date\"\n"
													  "1,\"a\"b\",c,\n" FILLER,
	 ", \" doubled trim header 1 data 2"},
	{"backslash escapes", HEADER "1,\"a \\\"b\\\" c\",d,\n2,\"\\\\\",e,\n",
	 ", \" backslash trim header 1 data 2"},
	{"a backslash at the end of a quoted value", HEADER "1,\"C:\\\",d,\n2,\"D:\\\",e,\n",
	 ", \" doubled trim header 1 data 2"},
	{"quote by option", HEADER "1,~a,b~,c@x,\n", ", ~ doubled trim header 1 data 2", {.quote_given = true, .quote = '~'}},
	{"no quote by option", HEADER "1,\"a\",c@x,\n", ", none - trim header 1 data 2", {.quote_given = true, .quote = '\0'}},
	{"escape by option", HEADER "1,\"a~\"b\",c@x,\n", ", \" ~ trim header 1 data 2", {.escape_given = true, .escape = '~'}},

	/* padding */
	{"tabs inside the quotes of the header", "user_id,\"\tname\",\"\temail\",\"\tsignup_date\"\n"
											 "1,\"\ta\",\"\tb\",\"\"\n",
	 ", \" doubled trim_quoted header 1 data 2"},
	{"tabs inside the quotes of every record", HEADER "1,\"\ta\",b,\n2,\"\tc\",d,\n",
	 ", \" doubled trim_quoted header 1 data 2"},
	{"a blank inside the quotes of a value is the value's", HEADER "1,\" a\",b,\n",
	 ", \" doubled trim header 1 data 2"},
	{"padding by option", HEADER "1,\"\ta\",b,\n", ", \" doubled keep header 1 data 2", {.padding = EF_PADDING_KEEP}},

	/* nothing much */
	{"header alone", HEADER, ", \" doubled trim header 1 data 2"},
	{"empty", "", ", \" doubled trim header 0 data 1"},
	{"blank", "\n \n\n", ", \" doubled trim header 0 data 4"},
};

static void
show_detected(char *out, const EfDetected *found)
{
	static const char *const padding[] = {"auto", "trim", "trim_quoted", "keep"};
	const EfDialect *dialect = &found->dialect;
	char delimiter[] = {dialect->delimiter, '\0'};
	char quote[] = {dialect->quote, '\0'};
	char escape[] = {dialect->escape, '\0'};

	sprintf(out, "%s %s %s %s header %d data %d",
			dialect->delimiter == '\t' ? "tab" : delimiter,
			dialect->quote == '\0' ? "none" : quote,
			dialect->escape == '\0' ? "-" : dialect->escape == dialect->quote ? "doubled" :
										dialect->escape == '\\'				  ? "backslash" :
																				escape,
			padding[dialect->padding], (int) found->header_line, (int) found->data_line);
}

static void
test_case(void **state)
{
	const Case *test = *state;
	EfDetected found;
	char out[256];

	server_begin();
	EfDialectDetect(test->sample, strlen(test->sample), true, &test->options, users,
					lengthof(users), 1024, &found);
	show_detected(out, &found);
	assert_string_equal(out, test->expected);
	server_end();
}

/* A record cut by the end of the sample says nothing about quoting. */
static void
test_cut(void **state)
{
	static const char sample[] = HEADER "1,a,b,2023-01-01\n2,\"c";
	EfDialectOptions options = {0};
	EfDetected found;
	char out[256];

	server_begin();
	EfDialectDetect(sample, strlen(sample), false, &options, users, lengthof(users), 1024,
					&found);
	show_detected(out, &found);
	assert_string_equal(out, ", \" doubled trim header 1 data 2");
	assert_true(found.complete);
	assert_int_equal(found.ncolumns, 4);
	assert_string_equal(found.columns[3], "signup_date");
	assert_int_equal(found.data_offset, strlen(HEADER));
	server_end();
}

/* Without columns to look for, the delimiter that cuts most evenly is taken. */
static void
test_foreign(void **state)
{
	static const struct
	{
		const char *sample;
		char delimiter;
	} samples[] = {
		{"a,b,c\nd,e,f\n", ','},
		{"1;2,5;x\n3;4,5;y\n", ';'},
		{"a\tb, c\nd\te\n", '\t'},
		{"a|b\nc|d,e\n", '|'},
		{"title\na,b,c\n1,2,3\n4,5\n", ','},
		{"one\ntwo\n", ','},
		{"1,\ta\n2,\tb\n", ','},
	};
	EfDialectOptions options = {0};
	EfDetected found;

	for (size_t i = 0; i < lengthof(samples); i++)
	{
		server_begin();
		EfDialectDetect(samples[i].sample, strlen(samples[i].sample), true, &options, NULL, 0,
						1024, &found);
		assert_int_equal(found.dialect.delimiter, samples[i].delimiter);
		assert_int_equal(found.first_line, 1);
		assert_false(found.complete);
		server_end();
	}
}

int
main(void)
{
	struct CMUnitTest tests[lengthof(cases) + 2] = {
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_foreign),
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		tests[i + 2] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL,
										   unconstify(Case *, &cases[i])};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("dialect", tests, NULL, NULL);
}
