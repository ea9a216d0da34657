/*
 * encoding.c
 *		Between a file's encoding, UTF-8 and the encoding of the database.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "encoding.h"
#include "mb/pg_wchar.h"

#define INVALID_BYTE ((char) 0xFF)

int
EfEncodingByName(const char *name)
{
	int encoding;

	if (pg_strcasecmp(name, "UTF-16LE") == 0 || pg_strcasecmp(name, "UTF16LE") == 0)
		return EF_UTF16LE;
	if (pg_strcasecmp(name, "UTF-16BE") == 0 || pg_strcasecmp(name, "UTF16BE") == 0)
		return EF_UTF16BE;
	encoding = pg_char_to_encoding(name);
	if (encoding < 0 || encoding == PG_SQL_ASCII || encoding == PG_MULE_INTERNAL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument to option \"%s\" must be a valid encoding name", "encoding"),
				 errdetail("There is no encoding \"%s\" to read files in.", name),
				 errhint("Use a name that PostgreSQL knows, such as UTF8, LATIN1 or WIN1252, or UTF-16LE, UTF-16BE.")));
	return encoding;
}

const char *
EfEncodingName(int encoding)
{
	if (encoding == EF_UTF16LE)
		return "UTF-16LE";
	if (encoding == EF_UTF16BE)
		return "UTF-16BE";
	return pg_encoding_to_char(encoding);
}

void
EfDecoderBegin(EfDecoder *decoder, int encoding)
{
	decoder->encoding = encoding;
	decoder->conversion = InvalidOid;
	if (encoding == EF_UTF16LE || encoding == EF_UTF16BE || encoding == PG_UTF8)
		return;
	decoder->conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(decoder->conversion))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("there is no conversion from \"%s\" to \"%s\"",
						EfEncodingName(encoding), "UTF8")));
}

static uint32
utf16_unit(const char *at, bool big)
{
	const unsigned char *byte = (const unsigned char *) at;

	return big ? (uint32) byte[0] << 8 | byte[1] : (uint32) byte[1] << 8 | byte[0];
}

static size_t
decode_utf16(bool big, const char *from, size_t len, bool end, char *to, size_t *written)
{
	size_t i = 0;
	char *out = to;

	while (i + 2 <= len)
	{
		uint32 c = utf16_unit(from + i, big);
		size_t size = 2;

		if (c >= 0xD800 && c < 0xDC00)
		{
			uint32 low;

			if (i + 4 > len && !end)
				break;
			low = i + 4 <= len ? utf16_unit(from + i + 2, big) : 0;
			if (low >= 0xDC00 && low < 0xE000)
			{
				c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
				size = 4;
			}
		}
		i += size;
		if (c >= 0xD800 && c < 0xE000)
			*out++ = INVALID_BYTE;
		else
		{
			unicode_to_utf8(c, (unsigned char *) out);
			out += pg_utf_mblen((unsigned char *) out);
		}
	}
	if (end && i < len)
	{
		*out++ = INVALID_BYTE;
		i = len;
	}
	*written = (size_t) (out - to);
	return i;
}

size_t
EfDecode(EfDecoder *decoder, const char *from, size_t len, bool end, char *to, size_t *written)
{
	size_t taken = 0;
	char *out = to;
	size_t longest;

	if (!OidIsValid(decoder->conversion))
		return decode_utf16(decoder->encoding == EF_UTF16BE, from, len, end, to, written);

	longest = (size_t) pg_encoding_max_length(decoder->encoding);
	while (taken < len)
	{
		taken += (size_t) pg_do_encoding_conversion_buf(decoder->conversion,
														decoder->encoding, PG_UTF8,
														(unsigned char *) unconstify(char *, from) + taken,
														(int) (len - taken),
														(unsigned char *) out,
														(int) (len - taken) * EF_GROWTH + 1, true);
		out += strlen(out);
		if (taken == len || (!end && len - taken < longest))
			break;
		*out++ = INVALID_BYTE;
		taken++;
	}
	*written = (size_t) (out - to);
	return taken;
}

/* UTF-8, known to be valid, in the encoding of the database. */
static bool
convert_to_server(EfText *text, int encoding)
{
	static Oid conversion = InvalidOid;
	size_t room = (size_t) text->len * MAX_CONVERSION_GROWTH + 1;
	char *to = palloc(room);
	int taken;

	if (!OidIsValid(conversion))
		conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion))
		return false;
	taken = pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding,
										  (unsigned char *) unconstify(char *, text->data),
										  (int) text->len, (unsigned char *) to,
										  (int) room, true);
	if (taken != (int) text->len)
	{
		pfree(to);
		return false;
	}
	text->data = to;
	text->len = (uint32) strlen(to);
	return true;
}

static bool
is_ascii(const char *s, uint32 len)
{
	uint64 word;
	uint64 high = 0;
	uint32 i = 0;

	/* a byte less one has its high bit set where it is 0, or where it had it anyway */
	for (; i + sizeof(word) <= len; i += sizeof(word))
	{
		memcpy(&word, s + i, sizeof(word));
		high |= word | (word - UINT64CONST(0x0101010101010101));
	}
	for (; i < len; i++)
		high |= (signed char) s[i] <= 0 ? UINT64CONST(0x80) : 0;
	return (high & UINT64CONST(0x8080808080808080)) == 0;
}

bool
EfToServer(EfText *text)
{
	int encoding = GetDatabaseEncoding();

	if (is_ascii(text->data, text->len))
		return true;
	if (!pg_verify_mbstr(PG_UTF8, text->data, (int) text->len, true))
		return false;
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return true;
	return convert_to_server(text, encoding);
}
