/*
 * encoding.h
 *		Between a file's encoding, UTF-8 (what every stage works on) and the
 *		encoding of the database.
 */
#ifndef EF_ENCODING_H
#define EF_ENCODING_H

#include "eikon_features.h"

/* Beyond PostgreSQL's own pg_enc values, which are >= 0. */
#define EF_UTF16LE (-2)
#define EF_UTF16BE (-3)
#define EF_ENCODING_AUTO (-1)

/* PostgreSQL's names, and UTF-16LE, UTF-16BE. Throws when there is none. */
extern int EfEncodingByName(const char *name);
extern const char *EfEncodingName(int encoding);

/* Like a block of a file: may end in the middle of a character. */
typedef struct EfDecoder
{
	int encoding;
	Oid conversion; /* to UTF-8; of no use for UTF-16 */
} EfDecoder;

extern void EfDecoderBegin(EfDecoder *decoder, int encoding);

/*
 * Converts what it can of the len bytes at from to UTF-8 and says how many it
 * took; the rest, an incomplete character, is to be given again with what
 * follows. At the end of the file nothing is left over. A byte that is no
 * character becomes 0xFF, which UTF-8 never contains, so that the value in
 * which it stands is found invalid later. to has room for len * EF_GROWTH + 1.
 */
extern size_t EfDecode(EfDecoder *decoder, const char *from, size_t len, bool end,
					   char *to, size_t *written);

#define EF_GROWTH 4

/*
 * Checks UTF-8 text and converts it to the encoding of the database where that
 * is another one, in the current memory context. False when it is not valid
 * or has no equivalent there.
 */
extern bool EfToServer(EfText *text);

#endif /* EF_ENCODING_H */
