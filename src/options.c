/*
 * options.c
 *		The options of a run, under COPY's names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "encoding.h"
#include "json.h"
#include "mb/pg_wchar.h"
#include "options.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

typedef void (*SetFn)(EfOptions *options, const char *name, Datum value);

typedef struct Option
{
	const char *name;
	Oid type;				   /* TEXTOID, INT8OID or BOOLOID */
	const char *default_value; /* of the functions' argument; NULL: NULL */
	SetFn set;
	bool of_run; /* makes no difference to what is derived */
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

/* The arguments of the functions come from sql/options.txt, which must say the same. */
static const Option known[] = {
	{"on_error", TEXTOID, "stop", set_on_error},
	{"reject_limit", INT8OID, NULL, set_reject_limit},
	{"delimiter", TEXTOID, NULL, set_delimiter},
	{"quote", TEXTOID, NULL, set_quote},
	{"escape", TEXTOID, NULL, set_escape},
	{"encoding", TEXTOID, NULL, set_encoding},
	{"null", TEXTOID, "", set_null},
	{"header", BOOLOID, NULL, set_header},
	{"skip", INT8OID, NULL, set_skip},
	{"padding", TEXTOID, NULL, set_padding},
	{"newline", TEXTOID, NULL, set_newline},
	{"dry_run", BOOLOID, "false", set_dry_run, .of_run = true},
	{"skip_unchanged", BOOLOID, "false", set_skip_unchanged, .of_run = true},
};

StaticAssertDecl(lengthof(known) <= EF_OPTIONS, "EF_OPTIONS is too small");

void
EfOptionsBegin(EfOptions *options)
{
	memset(options, 0, sizeof(*options));
	options->encoding = EF_ENCODING_AUTO;
	options->null = "";
}

/* As the table writes it. */
static char *
value_text(const Option *option, Datum value)
{
	switch (option->type)
	{
		case INT8OID:
			return psprintf(INT64_FORMAT, DatumGetInt64(value));
		case BOOLOID:
			return pstrdup(DatumGetBool(value) ? "true" : "false");
		default:
			return TextDatumGetCString(value);
	}
}

static bool
is_default(const Option *option, Datum value)
{
	return option->default_value != NULL &&
		   strcmp(value_text(option, value), option->default_value) == 0;
}

void
EfOptionsSet(EfOptions *options, const char *name, Oid type, Datum value)
{
	for (size_t i = 0; i < lengthof(known); i++)
	{
		if (strcmp(known[i].name, name) != 0 || known[i].type != type)
			continue;
		known[i].set(options, name, value);
		options->given[i] = !is_default(&known[i], value);
		options->values[i] = value;
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

/* --- jsonb --- */

Jsonb *
EfOptionsToJsonb(const EfOptions *options)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (size_t i = 0; i < lengthof(known); i++)
	{
		if (!options->given[i])
			continue;
		switch (known[i].type)
		{
			case INT8OID:
				EfJsonInt(&state, known[i].name, DatumGetInt64(options->values[i]));
				break;
			case BOOLOID:
				EfJsonBool(&state, known[i].name, DatumGetBool(options->values[i]));
				break;
			default:
				EfJsonText(&state, known[i].name, TextDatumGetCString(options->values[i]));
				break;
		}
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

void
EfOptionsFromJsonb(EfOptions *options, Jsonb *given)
{
	JsonbIterator *iterator = JsonbIteratorInit(&given->root);
	JsonbIteratorToken token;
	JsonbValue value;
	char *name = NULL;

	EfOptionsBegin(options);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		if (value.type == jbvBool)
			EfOptionsSet(options, name, BOOLOID, BoolGetDatum(value.val.boolean));
		else if (value.type == jbvNumeric)
			EfOptionsSet(options, name, INT8OID,
						 DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
		else if (value.type == jbvString)
			EfOptionsSet(options, name, TEXTOID,
						 PointerGetDatum(cstring_to_text_with_len(value.val.string.val, value.val.string.len)));
	}
	EfOptionsCheck(options);
}

Datum
EfOptionsOfRun(void)
{
	Datum names[EF_OPTIONS];
	int n = 0;

	for (size_t i = 0; i < lengthof(known); i++)
		if (known[i].of_run)
			names[n++] = CStringGetTextDatum(known[i].name);
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}
