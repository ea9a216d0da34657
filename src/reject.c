/*
 * reject.c
 *		The words for each reason to reject a record.
 */
#include "postgres.h"

#include "encoding.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "reject.h"

typedef struct Words
{
	const char *name;
	int sqlstate;
	const char *message;
	const char *hint;
} Words;

static const Words words[EF_REASONS] = {
	[EF_TAKEN] = {"", 0, "", NULL},
	[EF_CAST] = {
		"CAST",
		ERRCODE_INVALID_TEXT_REPRESENTATION,
		"invalid value",
		"Correct the value; if it stands for an unknown one, name it with the option \"null\"; or use on_error => 'ignore' to leave such records out.",
	},
	[EF_MISSING_COLUMNS] = {
		"MISSING COLUMNS",
		ERRCODE_BAD_COPY_FILE_FORMAT,
		"record has fewer fields than the header",
		"Look for a missing delimiter in this line, or a line break inside an unquoted value.",
	},
	[EF_TOO_MANY_COLUMNS] = {
		"TOO MANY COLUMNS",
		ERRCODE_BAD_COPY_FILE_FORMAT,
		"record has more fields than the header",
		"A value that contains the delimiter must be quoted.",
	},
	[EF_UNQUOTED_VALUE] = {
		"UNQUOTED VALUE",
		ERRCODE_BAD_COPY_FILE_FORMAT,
		"quote in the middle of a value, or text after a closing quote",
		"Quote the whole value and double the quotes in it, or name the file's own quote and escape with those options.",
	},
	[EF_UNTERMINATED_QUOTE] = {
		"UNTERMINATED QUOTE",
		ERRCODE_BAD_COPY_FILE_FORMAT,
		"quoted value is not closed",
		"Close the quote. If the file does not quote values, use quote => ''; if the value is longer than eikon_features.max_line_size, raise that.",
	},
	[EF_LINE_SIZE] = {
		"LINE SIZE OVER MAXIMUM",
		ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		"line is longer than eikon_features.max_line_size",
		"Check that the file has line breaks where it should, or raise eikon_features.max_line_size.",
	},
	[EF_INVALID_ENCODING] = {
		"INVALID ENCODING",
		ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
		"text is not valid in the file's encoding",
		"If the file is not UTF-8, name its encoding, for example encoding => 'WIN1252'.",
	},
	[EF_DUPLICATE_KEY] = {
		"DUPLICATE KEY",
		ERRCODE_UNIQUE_VIOLATION,
		"id occurs a second time",
		"Remove one of the two records, or use on_error => 'ignore' to keep the first.",
	},
	[EF_UNKNOWN_USER] = {
		"UNKNOWN USER",
		ERRCODE_FOREIGN_KEY_VIOLATION,
		"experiment of a user who was not loaded from any users file",
		"Add the user to a users file, or use on_error => 'ignore' to leave such experiments out.",
	},
};

const char *
EfReasonName(EfReason reason)
{
	return words[reason].name;
}

const char *
EfReasonMessage(EfReason reason)
{
	return words[reason].message;
}

const char *
EfReasonHint(EfReason reason)
{
	return words[reason].hint;
}

void
EfRejectThrow(const EfReject *reject)
{
	ereport(ERROR,
			(errcode(reject->sqlstate != 0 ? reject->sqlstate : words[reject->reason].sqlstate),
			 errmsg("%s", reject->message),
			 errhint("%s", words[reject->reason].hint)));
}

void
EfRejectContext(const EfReject *reject)
{
	const char *file = reject->file;
	long long line = (long long) reject->line;

	if (reject->column != NULL && reject->value.data != NULL)
		errcontext("%s, line %lld, column %s: \"%s\"", file, line, reject->column,
				   EfShowText(reject->value, EF_REJECT_VALUE, true, NULL));
	else if (reject->column != NULL)
		errcontext("%s, line %lld, column %s", file, line, reject->column);
	else
		errcontext("%s, line %lld: \"%s\"", file, line,
				   EfShowText(reject->raw, EF_REJECT_VALUE, true, NULL));
}

/* Length of the valid UTF-8 character at s, 0 if there is none. */
static int
valid_character(const char *s, size_t len)
{
	int n = pg_utf_mblen((const unsigned char *) s);

	if (*s == '\0' || (size_t) n > len || !pg_utf8_islegal((const unsigned char *) s, n))
		return 0;
	return n;
}

static void
append_hex(StringInfo out, const char *s, int n)
{
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "\\x%02X", (unsigned char) s[i]);
}

static void
append_character(StringInfo out, const char *s, int n, bool controls)
{
	EfText character = {s, (uint32) n};

	if (n == 1)
	{
		unsigned char c = (unsigned char) *s;

		if (!controls || (c >= 0x20 && c != 0x7F))
			appendStringInfoChar(out, *s);
		else if (c == '\n')
			appendStringInfoString(out, "\\n");
		else if (c == '\r')
			appendStringInfoString(out, "\\r");
		else if (c == '\t')
			appendStringInfoString(out, "\\t");
		else
			append_hex(out, s, 1);
		return;
	}
	if (EfToServer(&character))
		appendBinaryStringInfo(out, character.data, (int) character.len);
	else
		append_hex(out, s, n);
}

char *
EfShowText(EfText text, size_t max, bool controls, bool *truncated)
{
	StringInfoData out;
	const char *s = text.data;
	const char *end = text.data + Min(text.len, max);

	initStringInfo(&out);
	while (s < end)
	{
		int n = valid_character(s, (size_t) (text.data + text.len - s));

		if (n > 0 && s + n > end)
			break;
		if (n > 0)
			append_character(&out, s, n, controls);
		else
			append_hex(&out, s, n = 1);
		s += n;
	}
	if (truncated != NULL)
		*truncated = s < text.data + text.len;
	else if (s < text.data + text.len)
		appendStringInfoString(&out, "...");
	return out.data;
}
