/*
 * options.c
 *		The options of a run, under COPY's names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "encoding.h"
#include "mb/pg_wchar.h"
#include "options.h"
#include "utils/builtins.h"

typedef void (*SetFn)(EfOptions *options, const char *name, Datum value);

typedef struct Option
{
	const char *name;
	Oid type;
	SetFn set;
} Option;

static void
fail_choice(const char *name, const char *value, const char *choices)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" does not know \"%s\"", name, value),
			 errhint("Use one of: %s.", choices)));
}

/* A value that must be one one-byte character; "\t" is taken for a tab. */
static char
one_character(const char *name, const char *value)
{
	if (strcmp(value, "\\t") == 0)
		return '\t';
	if (strlen(value) != 1 || (signed char) *value <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a single one-byte character", name)));
	if (*value == '\n' || *value == '\r')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not be a newline or carriage return", name)));
	return *value;
}

static void
set_on_error(EfOptions *options, const char *name, Datum value)
{
	char *s = TextDatumGetCString(value);

	if (strcmp(s, "stop") != 0 && strcmp(s, "ignore") != 0)
		fail_choice(name, s, "stop, ignore");
	options->ignore = strcmp(s, "ignore") == 0;
}

static void
set_reject_limit(EfOptions *options, const char *name, Datum value)
{
	options->reject_limit = DatumGetInt64(value);
	if (options->reject_limit <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" (" INT64_FORMAT ") must be greater than zero",
						name, options->reject_limit)));
}

static void
set_delimiter(EfOptions *options, const char *name, Datum value)
{
	options->dialect.delimiter = one_character(name, TextDatumGetCString(value));
	options->dialect.delimiter_given = true;
}

static void
set_quote(EfOptions *options, const char *name, Datum value)
{
	char *s = TextDatumGetCString(value);

	options->dialect.quote = *s == '\0' ? '\0' : one_character(name, s);
	options->dialect.quote_given = true;
}

static void
set_escape(EfOptions *options, const char *name, Datum value)
{
	options->dialect.escape = one_character(name, TextDatumGetCString(value));
	options->dialect.escape_given = true;
}

static void
set_encoding(EfOptions *options, const char *name, Datum value)
{
	(void) name;
	options->encoding = EfEncodingByName(TextDatumGetCString(value));
}

static void
set_null(EfOptions *options, const char *name, Datum value)
{
	char *s = TextDatumGetCString(value);

	if (strpbrk(s, "\r\n") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not contain a newline or carriage return", name)));
	options->null = pg_server_to_any(s, (int) strlen(s), PG_UTF8); /* as fields are */
	options->null_given = true;
}

static void
set_header(EfOptions *options, const char *name, Datum value)
{
	(void) name;
	options->dialect.header = DatumGetBool(value);
	options->dialect.header_given = true;
}

static void
set_skip(EfOptions *options, const char *name, Datum value)
{
	options->dialect.skip = DatumGetInt64(value);
	if (options->dialect.skip < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" (" INT64_FORMAT ") must not be negative",
						name, options->dialect.skip)));
}

static void
set_padding(EfOptions *options, const char *name, Datum value)
{
	char *s = TextDatumGetCString(value);

	if (strcmp(s, "trim") == 0)
		options->dialect.padding = EF_PADDING_TRIM;
	else if (strcmp(s, "trim_quoted") == 0)
		options->dialect.padding = EF_PADDING_TRIM_QUOTED;
	else if (strcmp(s, "keep") == 0)
		options->dialect.padding = EF_PADDING_KEEP;
	else
		fail_choice(name, s, "trim, trim_quoted, keep");
}

static void
set_newline(EfOptions *options, const char *name, Datum value)
{
	char *s = TextDatumGetCString(value);

	if (strcmp(s, "any") == 0)
		options->dialect.newline = EF_NEWLINE_ANY;
	else if (strcmp(s, "lf") == 0 || strcmp(s, "crlf") == 0)
		options->dialect.newline = EF_NEWLINE_LF;
	else if (strcmp(s, "cr") == 0)
		options->dialect.newline = EF_NEWLINE_CR;
	else
		fail_choice(name, s, "any, lf, crlf, cr");
}

static void
set_dry_run(EfOptions *options, const char *name, Datum value)
{
	(void) name;
	options->dry_run = DatumGetBool(value);
}

static void
set_skip_unchanged(EfOptions *options, const char *name, Datum value)
{
	(void) name;
	options->skip_unchanged = DatumGetBool(value);
}

static const Option known[] = {
	{"on_error", TEXTOID, set_on_error},
	{"reject_limit", INT8OID, set_reject_limit},
	{"delimiter", TEXTOID, set_delimiter},
	{"quote", TEXTOID, set_quote},
	{"escape", TEXTOID, set_escape},
	{"encoding", TEXTOID, set_encoding},
	{"null", TEXTOID, set_null},
	{"header", BOOLOID, set_header},
	{"skip", INT8OID, set_skip},
	{"padding", TEXTOID, set_padding},
	{"newline", TEXTOID, set_newline},
	{"dry_run", BOOLOID, set_dry_run},
	{"skip_unchanged", BOOLOID, set_skip_unchanged},
};

void
EfOptionsBegin(EfOptions *options)
{
	memset(options, 0, sizeof(*options));
	options->encoding = EF_ENCODING_AUTO;
	options->null = "";
}

/* Values that are the default of the function's argument. */
static bool
is_default(const char *name, Datum value)
{
	if (strcmp(name, "on_error") == 0)
		return strcmp(TextDatumGetCString(value), "stop") == 0;
	if (strcmp(name, "null") == 0)
		return strcmp(TextDatumGetCString(value), "") == 0;
	if (strcmp(name, "dry_run") == 0 || strcmp(name, "skip_unchanged") == 0)
		return !DatumGetBool(value);
	return false;
}

void
EfOptionsSet(EfOptions *options, const char *name, Oid type, Datum value)
{
	for (size_t i = 0; i < lengthof(known); i++)
	{
		EfGivenOption *given;

		if (strcmp(known[i].name, name) != 0 || known[i].type != type)
			continue;
		known[i].set(options, name, value);
		if (is_default(name, value))
			return;
		given = palloc(sizeof(EfGivenOption));
		given->name = known[i].name;
		given->type = type;
		given->value = value;
		options->given = lappend(options->given, given);
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_PARAMETER),
			 errmsg("option \"%s\" is not known", name),
			 errhint("The extension's library and its SQL objects differ in version; run ALTER EXTENSION eikon_features UPDATE.")));
}

void
EfOptionsCheck(const EfOptions *options)
{
	const EfDialectOptions *dialect = &options->dialect;

	if (options->reject_limit > 0 && !options->ignore)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" requires %s", "reject_limit", "on_error => 'ignore'")));
	if (dialect->delimiter_given && dialect->quote_given &&
		dialect->delimiter == dialect->quote)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"%s\" and \"%s\" must be different", "delimiter", "quote")));
	if (dialect->delimiter_given && dialect->escape_given &&
		dialect->delimiter == dialect->escape)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"%s\" and \"%s\" must be different", "delimiter", "escape")));
	if (dialect->delimiter_given && strchr(options->null, dialect->delimiter) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not appear in option \"%s\"", "delimiter", "null")));
}
