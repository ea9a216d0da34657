/*
 * t_derive_pack.c
 *		What is packed is unpacked the same, and takes no more bytes than said.
 */
#include "server.h"

#include "derive_pack.h"

/* Values around every length that a number can have, and around 0. */
static int
boundaries(uint64 *values)
{
	int n = 0;

	for (int bits = 0; bits <= 63; bits++)
		for (int near = -1; near <= 1; near++)
			values[n++] = (UINT64CONST(1) << bits) + (uint64) near;
	for (int near = -2; near <= 2; near++)
		values[n++] = (uint64) near;
	return n;
}

#define BOUNDARIES (3 * 64 + 5)

static size_t
varint_size(uint64 value)
{
	size_t size = 1;

	while ((value >>= 7) > 0)
		size++;
	return size;
}

static void
test_varint(void **state)
{
	uint64 values[BOUNDARIES];
	int n = boundaries(values);

	for (int i = 0; i < n; i++)
	{
		size_t size = varint_size(values[i]);
		char *bytes = malloc(size);
		uint64 back;

		assert_in_range(size, 1, EF_VARINT_SIZE);
		assert_ptr_equal(EfPutVarint(bytes, values[i]), bytes + size);
		assert_ptr_equal(EfGetVarint(bytes, &back), bytes + size);
		assert_true(back == values[i]);
		free(bytes);
	}
}

static void
test_zigzag(void **state)
{
	uint64 values[BOUNDARIES];
	int n = boundaries(values);

	for (int i = 0; i < n; i++)
		assert_true(EfUnzigzag(EfZigzag((int64) values[i])) == (int64) values[i]);
	assert_int_equal(EfZigzag(0), 0);
	assert_int_equal(EfZigzag(-1), 1);
	assert_int_equal(EfZigzag(1), 2);
	assert_true(EfZigzag(PG_INT64_MIN) == PG_UINT64_MAX);
}

/* Numbers follow one another without anything between. */
static void
test_varints_in_a_row(void **state)
{
	uint64 values[BOUNDARIES];
	int n = boundaries(values);
	char bytes[BOUNDARIES * EF_VARINT_SIZE];
	char *to = bytes;
	const char *from = bytes;
	uint64 back;

	for (int i = 0; i < n; i++)
		to = EfPutVarint(to, values[i]);
	for (int i = 0; i < n; i++)
	{
		from = EfGetVarint(from, &back);
		assert_true(back == values[i]);
	}
	assert_ptr_equal(from, to);
}

/* NULL, empty, and on both sides of where a length takes one byte more. */
static const struct
{
	bool null;
	uint32 len;
} texts[] = {
	{true, 0},
	{false, 0},
	{false, 1},
	{false, 126},
	{false, 127},
	{false, 128},
	{false, 16382},
	{false, 16383},
	{false, 70000},
};

static char letters[70000];

static EfText
make_text(size_t i)
{
	return (EfText){texts[i].null ? NULL : letters, texts[i].len};
}

static void
assert_same_text(EfText a, EfText b)
{
	assert_int_equal(a.data == NULL, b.data == NULL);
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.data, b.data, a.len);
}

static const int64 ids[] = {0, 1, -1, 63, 64, -64, -65, PG_INT32_MAX, PG_INT64_MAX, PG_INT64_MIN};

/* Days since 2000-01-01; the last is no date at all. */
static const int32 dates[] = {0, 1, -1, -10957, 2932896, -730119, PG_INT32_MAX, PG_INT32_MIN};

static void
check_user(const EfUser *user)
{
	size_t bound = EF_PACKED_USER_BOUND(user);
	char *bytes = malloc(bound);
	char *end = EfPackUser(bytes, user);
	EfUser back;

	assert_true((size_t) (end - bytes) <= bound);
	assert_ptr_equal(EfUnpackUser(bytes, &back), end);
	assert_true(back.user_id == user->user_id);
	assert_same_text(back.name, user->name);
	assert_same_text(back.email, user->email);
	assert_int_equal(back.has_signup_date, user->has_signup_date);
	if (user->has_signup_date)
		assert_int_equal(back.signup_date, user->signup_date);
	free(bytes);
}

static void
test_user(void **state)
{
	for (size_t id = 0; id < lengthof(ids); id++)
		for (size_t date = 0; date <= lengthof(dates); date++)
			for (size_t name = 0; name < lengthof(texts); name++)
			{
				EfUser user = {.user_id = ids[id], .name = make_text(name)};

				user.email = make_text(lengthof(texts) - 1 - name);
				user.has_signup_date = date < lengthof(dates);
				if (user.has_signup_date)
					user.signup_date = dates[date];
				check_user(&user);
			}
}

static void
check_compound(const EfCompound *compound)
{
	size_t bound = EF_PACKED_COMPOUND_BOUND(compound);
	char *bytes = malloc(bound);
	char *end = EfPackCompound(bytes, compound);
	EfCompound back;

	assert_true((size_t) (end - bytes) <= bound);
	assert_ptr_equal(EfUnpackCompound(bytes, &back), end);
	assert_true(back.compound_id == compound->compound_id);
	assert_same_text(back.name, compound->name);
	assert_same_text(back.structure, compound->structure);
	free(bytes);
}

static void
test_compound(void **state)
{
	for (size_t id = 0; id < lengthof(ids); id++)
		for (size_t name = 0; name < lengthof(texts); name++)
			for (size_t structure = 0; structure < lengthof(texts); structure++)
			{
				EfCompound compound = {ids[id], make_text(name), make_text(structure)};

				check_compound(&compound);
			}
}

/* Lists of ids: all of them in few bytes, at the edge of that, and beyond. */
static const int64 small[] = {0, 1, 255, 256, PG_UINT16_MAX - 1, PG_UINT16_MAX};
static const int64 edge[] = {PG_UINT16_MAX, 0, PG_UINT16_MAX + 1};
static const int64 negative[] = {1, 2, -1};

static const struct
{
	const int64 *ids;
	int n;
	bool in_short;
} lists[] = {
	{NULL, 0, true},
	{small, 1, true},
	{small, lengthof(small), true},
	{edge, lengthof(edge) - 1, true},
	{edge, lengthof(edge), false},
	{negative, lengthof(negative), false},
	{ids, lengthof(ids), false},
};

/* Unpacked as EfAggregateExperiments does it. */
static const char *
unpack_compound(const char *from, bool in_short, int64 *id)
{
	uint16 two_bytes;
	uint64 value;

	if (!in_short)
	{
		from = EfGetVarint(from, &value);
		*id = EfUnzigzag(value);
		return from;
	}
	memcpy(&two_bytes, from, sizeof(two_bytes));
	*id = two_bytes;
	return from + sizeof(two_bytes);
}

static void
check_experiment(uint32 number, const EfExperiment *experiment, bool in_short)
{
	size_t bound = EF_PACKED_EXPERIMENT_BOUND(experiment->ncompounds);
	char *bytes = malloc(bound);
	char *end = EfPackExperiment(bytes, number, experiment);
	const char *from = bytes;
	uint64 value;

	assert_true((size_t) (end - bytes) <= bound);
	from = EfGetVarint(from, &value);
	assert_true(value == number);
	from = EfGetVarint(from, &value);
	assert_true(value >> EF_PACKED_BITS == (uint64) experiment->ncompounds);
	assert_int_equal((value & EF_PACKED_TIMED) != 0, experiment->has_run_time);
	assert_int_equal((value & EF_PACKED_SHORT) != 0, in_short);
	if (experiment->has_run_time)
	{
		assert_memory_equal(from, &experiment->run_time, sizeof(double));
		from += sizeof(double);
	}
	for (int i = 0; i < experiment->ncompounds; i++)
	{
		int64 id;

		from = unpack_compound(from, in_short, &id);
		assert_true(id == experiment->compound_ids[i]);
	}
	assert_ptr_equal(from, end);
	free(bytes);
}

static void
test_experiment(void **state)
{
	static const uint32 numbers[] = {0, 127, 128, PG_UINT32_MAX};
	static const double run_times[] = {0, 4.9e-324, 1.5, 1.7976931348623157e308, -1};

	for (size_t number = 0; number < lengthof(numbers); number++)
		for (size_t time = 0; time < lengthof(run_times); time++)
			for (size_t list = 0; list < lengthof(lists); list++)
			{
				EfExperiment experiment = {
					.experiment_id = 1,
					.compound_ids = lists[list].ids,
					.ncompounds = lists[list].n,
					.has_run_time = run_times[time] >= 0,
					.run_time = run_times[time],
				};

				check_experiment(numbers[number], &experiment, lists[list].in_short);
			}
}

/* What the bound must hold: many compounds, each in as many bytes as can be. */
static void
test_long_list(void **state)
{
	static int64 longest[100000];
	EfExperiment experiment = {.compound_ids = longest, .has_run_time = true};

	for (size_t i = 0; i < lengthof(longest); i++)
		longest[i] = PG_INT64_MIN + (int64) i;
	for (int n = 1; n <= (int) lengthof(longest); n *= 10)
	{
		experiment.ncompounds = n;
		check_experiment(PG_UINT32_MAX, &experiment, false);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_varint),
		cmocka_unit_test(test_zigzag),
		cmocka_unit_test(test_varints_in_a_row),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_compound),
		cmocka_unit_test(test_experiment),
		cmocka_unit_test(test_long_list),
	};

	for (size_t at = 0; at < sizeof(letters); at++)
		letters[at] = (char) (at * 7);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
