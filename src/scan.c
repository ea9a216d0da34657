/*
 * scan.c
 *		Finds delimiters, quotes and newlines in a block of text.
 *
 * Every way below makes a mask of 64 bits for each 64 bytes, a bit for each
 * byte that was wanted, and the same loop turns masks into positions. This is
 * the only file that knows about processors; the portable way does on all.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "scan.h"

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define USE_AVX2
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define USE_NEON
#include <arm_neon.h>
#endif

/* Bytes to a mask. */
#define STEP 64

/* Writes the positions of the bits of a mask; returns the place to write the next. */
static inline uint32 *
write_positions(uint64 mask, uint32 at, uint32 *positions)
{
	while (mask != 0)
	{
		*positions++ = at + (uint32) pg_rightmost_one_pos64(mask);
		mask &= mask - 1;
	}
	return positions;
}

/* The last bytes, too few for a mask. */
static inline uint32 *
scan_rest(const char wanted[EF_SCAN_BYTES], const char *data, size_t at, size_t len,
		  uint32 *positions)
{
	for (; at < len; at++)
	{
		char c = data[at];

		if (c == wanted[0] || c == wanted[1] || c == wanted[2] || c == wanted[3])
			*positions++ = (uint32) at;
	}
	return positions;
}

/* --- portable: eight bytes of a word at a time --- */

#define LOW_BITS UINT64CONST(0x0101010101010101)
#define LOW_SEVEN UINT64CONST(0x7F7F7F7F7F7F7F7F)

/* The high bit of every byte of the word that is 0, exactly. */
static inline uint64
zero_bytes(uint64 word)
{
	return ~(((word & LOW_SEVEN) + LOW_SEVEN) | word | LOW_SEVEN);
}

/* The high bits of the eight bytes gathered in one, that of the first byte lowest. */
static inline uint64
gather(uint64 high_bits)
{
	return ((high_bits >> 7) * UINT64CONST(0x0102040810204080)) >> 56;
}

static size_t
scan_portable(const char wanted[EF_SCAN_BYTES], const char *data, size_t len, uint32 *positions)
{
	uint32 *to = positions;
	uint64 patterns[EF_SCAN_BYTES];
	size_t at = 0;

	for (int i = 0; i < EF_SCAN_BYTES; i++)
		patterns[i] = LOW_BITS * (unsigned char) wanted[i];
	for (; at + STEP <= len; at += STEP)
	{
		uint64 mask = 0;

		for (int i = 0; i < STEP / 8; i++)
		{
			uint64 word;
			uint64 found = 0;

			memcpy(&word, data + at + i * 8, 8);
#ifdef WORDS_BIGENDIAN
			word = pg_bswap64(word);
#endif
			for (int j = 0; j < EF_SCAN_BYTES; j++)
				found |= zero_bytes(word ^ patterns[j]);
			mask |= gather(found) << (i * 8);
		}
		to = write_positions(mask, (uint32) at, to);
	}
	return (size_t) (scan_rest(wanted, data, at, len, to) - positions);
}

/* --- x86-64 with AVX2 --- */

#ifdef USE_AVX2
__attribute__((target("avx2"))) static inline uint32
match_avx2(__m256i bytes, const __m256i *patterns)
{
	__m256i found = _mm256_or_si256(
		_mm256_or_si256(_mm256_cmpeq_epi8(bytes, patterns[0]),
						_mm256_cmpeq_epi8(bytes, patterns[1])),
		_mm256_or_si256(_mm256_cmpeq_epi8(bytes, patterns[2]),
						_mm256_cmpeq_epi8(bytes, patterns[3])));

	return (uint32) _mm256_movemask_epi8(found);
}

__attribute__((target("avx2,bmi"))) static size_t
scan_avx2(const char wanted[EF_SCAN_BYTES], const char *data, size_t len, uint32 *positions)
{
	uint32 *to = positions;
	__m256i patterns[EF_SCAN_BYTES];
	size_t at = 0;

	for (int i = 0; i < EF_SCAN_BYTES; i++)
		patterns[i] = _mm256_set1_epi8(wanted[i]);
	for (; at + STEP <= len; at += STEP)
	{
		__m256i low = _mm256_loadu_si256((const __m256i *) (data + at));
		__m256i high = _mm256_loadu_si256((const __m256i *) (data + at + STEP / 2));
		uint64 mask = match_avx2(low, patterns) |
					  (uint64) match_avx2(high, patterns) << (STEP / 2);

		to = write_positions(mask, (uint32) at, to);
	}
	return (size_t) (scan_rest(wanted, data, at, len, to) - positions);
}
#endif

/* --- ARM with NEON, which every 64-bit one has --- */

#ifdef USE_NEON
static inline uint8x16_t
match_neon(const char *data, const uint8x16_t *patterns)
{
	uint8x16_t bytes = vld1q_u8((const uint8_t *) data);

	return vorrq_u8(vorrq_u8(vceqq_u8(bytes, patterns[0]), vceqq_u8(bytes, patterns[1])),
					vorrq_u8(vceqq_u8(bytes, patterns[2]), vceqq_u8(bytes, patterns[3])));
}

static size_t
scan_neon(const char wanted[EF_SCAN_BYTES], const char *data, size_t len, uint32 *positions)
{
	static const uint8_t bit_values[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
	const uint8x16_t bits = vld1q_u8(bit_values);
	uint32 *to = positions;
	uint8x16_t patterns[EF_SCAN_BYTES];
	size_t at = 0;

	for (int i = 0; i < EF_SCAN_BYTES; i++)
		patterns[i] = vdupq_n_u8((uint8_t) wanted[i]);
	for (; at + STEP <= len; at += STEP)
	{
		uint8x16_t sum01;
		uint8x16_t sum23;
		uint8x16_t sum;

		/* each byte its bit, then neighbours added up until a byte holds eight */
		sum01 = vpaddq_u8(vandq_u8(match_neon(data + at, patterns), bits),
						  vandq_u8(match_neon(data + at + 16, patterns), bits));
		sum23 = vpaddq_u8(vandq_u8(match_neon(data + at + 32, patterns), bits),
						  vandq_u8(match_neon(data + at + 48, patterns), bits));
		sum = vpaddq_u8(sum01, sum23);
		sum = vpaddq_u8(sum, sum);
		to = write_positions(vgetq_lane_u64(vreinterpretq_u64_u8(sum), 0), (uint32) at, to);
	}
	return (size_t) (scan_rest(wanted, data, at, len, to) - positions);
}
#endif

/* --- choosing --- */

const EfScanWay *
EfScanWays(int *n)
{
	static const EfScanWay ways[] = {
#ifdef USE_AVX2
		{"avx2", scan_avx2},
#endif
#ifdef USE_NEON
		{"neon", scan_neon},
#endif
		{"portable", scan_portable},
	};
	int first = 0;

#ifdef USE_AVX2
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi"))
		first = 1;
#endif
	*n = (int) lengthof(ways) - first;
	return ways + first;
}

size_t
EfScan(const char wanted[EF_SCAN_BYTES], const char *data, size_t len, uint32 *positions)
{
	static EfScanFn best = NULL;

	if (best == NULL)
	{
		int n;

		best = EfScanWays(&n)->scan;
	}
	return best(wanted, data, len, positions);
}
