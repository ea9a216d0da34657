/*
 * t_scan.c
 *		Every way of scanning that this machine has, against a loop over bytes.
 */
#include "server.h"

#include "scan.h"

#define LENGTHS 301
#define ALIGNMENTS 64

typedef struct Case
{
	const char *name;
	char wanted[EF_SCAN_BYTES];
	const char *alphabet; /* NULL: every byte */
	size_t nalphabet;
} Case;

#define ALPHABET(s) s, sizeof(s) - 1

static const Case cases[] = {
	{"text", {',', '"', '\n', '\r'}, ALPHABET("ab,\"\n\r")},
	{"any bytes", {',', '"', '\n', '\r'}, NULL, 0},
	{"one byte wanted four times", {',', ',', ',', ','}, ALPHABET(",-")},
	{"some wanted twice", {';', '\0', '\n', '\n'}, ALPHABET(";\0\n\t")},
	{"the ends of both halves", {'\0', '\x7F', '\x80', '\xFF'}, NULL, 0},
	{"their neighbours", {'\0', '\x7F', '\x80', '\xFF'}, ALPHABET("\0\x01\x7E\x7F\x80\x81\xFE\xFF")},
	{"one bit apart", {'\0', '\0', '\0', '\0'}, ALPHABET("\0\x01\x02\x04\x08\x10\x20\x40\x80")},
	{"nothing else", {'\x80', '\xFF', '\x80', '\xFF'}, ALPHABET("\x80\xFF")},
	{"none of them", {'\x80', '\xFF', '\0', '\x7F'}, ALPHABET("\x01\x7E\x81\xFE")},
};

static size_t
scan_bytes(const char wanted[EF_SCAN_BYTES], const char *data, size_t len, uint32 *places)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		if (memchr(wanted, data[i], EF_SCAN_BYTES) != NULL)
			places[n++] = (uint32) i;
	return n;
}

static void
fill(const Case *test, char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = test->alphabet == NULL ? (char) next_random() :
										   test->alphabet[random_below(test->nalphabet)];
}

/*
 * The memory ends where data and places do, so that a byte more that is read or
 * written is seen.
 */
static void
compare(const Case *test, const EfScanWay *way, const char *data, size_t len)
{
	uint32 *places = malloc(sizeof(uint32) * len);
	uint32 expected[LENGTHS];
	size_t n = scan_bytes(test->wanted, data, len, expected);

	if (way->scan(test->wanted, data, len, places) != n)
		fail_msg("%s: %zu bytes, wrong number of places", way->name, len);
	if (n > 0 && memcmp(places, expected, sizeof(uint32) * n) != 0)
		fail_msg("%s: %zu bytes, wrong places", way->name, len);
	free(places);
}

static void
test_case(void **state)
{
	const Case *test = *state;
	int nways;
	const EfScanWay *ways = EfScanWays(&nways);

	assert_true(nways > 0);
	assert_string_equal(ways[nways - 1].name, "portable");
	for (size_t len = 0; len < LENGTHS; len++)
	{
		for (size_t align = 0; align < ALIGNMENTS; align++)
		{
			void *block = NULL;

			assert_int_equal(posix_memalign(&block, ALIGNMENTS, Max(align + len, 1)), 0);
			fill(test, (char *) block + align, len);
			for (int way = 0; way < nways; way++)
				compare(test, &ways[way], (char *) block + align, len);
			free(block);
		}
	}
}

/* What is used is one of them. */
static void
test_best(void **state)
{
	static const char wanted[EF_SCAN_BYTES] = {',', '"', '\n', '\r'};
	uint32 places[6];

	assert_int_equal(EfScan(wanted, "a,\"b\"\n", 6, places), 4);
	assert_int_equal(places[0], 1);
	assert_int_equal(places[3], 5);
}

int
main(void)
{
	struct CMUnitTest tests[lengthof(cases) + 1] = {
		cmocka_unit_test(test_best),
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		tests[i + 1] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL,
										   unconstify(Case *, &cases[i])};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
