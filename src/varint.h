/*
 * varint.h
 *		Integers in as few bytes as they take: seven bits to a byte, the lowest
 *		first, with the high bit set in all but the last (LEB128).
 */
#ifndef EF_VARINT_H
#define EF_VARINT_H

/* The most bytes that one can take. */
#define EF_VARINT_SIZE 10

static inline char *
EfPutVarint(char *to, uint64 value)
{
	while (value >= 0x80)
	{
		*to++ = (char) (value | 0x80);
		value >>= 7;
	}
	*to++ = (char) value;
	return to;
}

static inline const char *
EfGetVarint(const char *from, uint64 *value)
{
	uint64 byte = (unsigned char) *from++;
	int shift = 0;

	*value = byte;
	while (byte >= 0x80)
	{
		byte = (unsigned char) *from++;
		shift += 7;
		*value ^= (byte ^ 1) << shift;
	}
	return from;
}

/* Negative integers of small magnitude take few bytes too. */
static inline uint64
EfZigzag(int64 value)
{
	return ((uint64) value << 1) ^ (uint64) (value >> 63);
}

static inline int64
EfUnzigzag(uint64 value)
{
	return (int64) (value >> 1) ^ -(int64) (value & 1);
}

#endif /* EF_VARINT_H */
