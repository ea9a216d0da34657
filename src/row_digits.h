/*
 * row_digits.h
 *		Eight digits at a time, without a branch for each.
 *
 * All read EF_SLACK bytes from where they are told to, of which only those that
 * belong to the value count; readers of records see to it that so many are there.
 */
#ifndef EF_ROW_DIGITS_H
#define EF_ROW_DIGITS_H

#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "record.h"

StaticAssertDecl(EF_SLACK >= 8, "eight bytes are read at a time");

/* Eight bytes, the first one lowest. */
static inline uint64
EfLoadEight(const char *s)
{
	uint64 bytes;

	memcpy(&bytes, s, sizeof(bytes));
#ifdef WORDS_BIGENDIAN
	bytes = pg_bswap64(bytes);
#endif
	return bytes;
}

/* How many of them are digits before the first that is none: 0 to 8. */
static inline int
EfCountDigits(uint64 bytes)
{
	uint64 values = bytes ^ UINT64CONST(0x3030303030303030);
	uint64 others = (((values & UINT64CONST(0x7F7F7F7F7F7F7F7F)) +
					  UINT64CONST(0x7676767676767676)) |
					 values) &
					UINT64CONST(0x8080808080808080);

	return others == 0 ? 8 : pg_rightmost_one_pos64(others) / 8;
}

/*
 * The number that the first n digits make, 1 <= n <= 8. They are moved to the end, so
 * that zeros lead, then added up as pairs, fours and eight.
 */
static inline uint64
EfDigits(uint64 bytes, int n)
{
	uint64 values = (bytes ^ UINT64CONST(0x3030303030303030)) << (64 - 8 * n);

	values = values * 10 + (values >> 8);
	values = (values & UINT64CONST(0x000000FF000000FF)) * 100 +
			 ((values >> 16) & UINT64CONST(0x000000FF000000FF));
	return (uint32) values * UINT64CONST(10000) + (values >> 32);
}

/* digits, up to 16 of them, and nothing else */
static inline bool
EfQuickBigint(EfText text, int64 *value)
{
	uint64 bytes = EfLoadEight(text.data);

	if (likely(text.len - 1 < 8))
	{
		*value = (int64) EfDigits(bytes, (int) text.len);
		return EfCountDigits(bytes) >= (int) text.len;
	}
	if (text.len - 1 < 16)
	{
		uint64 rest = EfLoadEight(text.data + 8);

		*value = (int64) EfDigits(bytes, 8);
		for (uint32 i = 8; i < text.len; i++)
			*value *= 10;
		*value += (int64) EfDigits(rest, (int) text.len - 8);
		return EfCountDigits(bytes) == 8 && EfCountDigits(rest) >= (int) text.len - 8;
	}
	return false;
}

/*
 * digits [. digits] of up to eight bytes. Both the digits and the power of ten
 * are doubles exactly, so one division rounds correctly (W. D. Clinger, "How to
 * Read Floating Point Numbers Accurately", 1990).
 */
static inline bool
EfQuickFloat8(EfText text, double *value)
{
	static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
	uint64 bytes = EfLoadEight(text.data);
	int n = EfCountDigits(bytes);
	uint64 before;

	if (text.len - 1 >= 8)
		return false;
	if (n >= (int) text.len)
	{
		*value = (double) EfDigits(bytes, (int) text.len);
		return true;
	}
	if (text.data[n] != '.' || text.len == 1)
		return false;

	/* close the gap where the point was */
	before = (UINT64CONST(1) << (8 * n)) - 1;
	bytes = (bytes & before) | ((bytes >> 8) & ~before);
	if (EfCountDigits(bytes) < (int) text.len - 1)
		return false;
	*value = (double) EfDigits(bytes, (int) text.len - 1) / powers[(int) text.len - 1 - n];
	return true;
}

/*
 * Ids of up to seven digits, one ; , or | between them. Reads as far as they go and
 * returns how many there were; *s is where the list goes on in another way.
 */
static inline int
EfQuickList(const char **s, const char *end, int64 *values)
{
	const char *at = *s;
	int n = 0;

	while (at < end)
	{
		uint64 bytes = EfLoadEight(at);
		int digits = EfCountDigits(bytes);
		const char *after = at + digits;

		if (digits == 8 || digits == 0)
			break;
		if (after >= end)
			digits = (int) (end - at);
		else if (*after != ';' && *after != ',' && *after != '|')
			break;
		values[n++] = (int64) EfDigits(bytes, digits);
		at = after + 1;
	}
	*s = Min(at, end);
	return n;
}

#endif /* EF_ROW_DIGITS_H */
