/*
 * t_aggregate.c
 *		Features against what one counts by hand, and at scale against a plain
 *		recount; sums against exact arithmetic, in any order.
 */
#include "server.h"

#include <float.h>
#include <math.h>

#include "aggregate.h"
#include "aggregate_sum.h"
#include "miscadmin.h"

static uint64 seed = 1;

static uint32
next_random(void)
{
	seed = seed * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (uint32) (seed >> 33);
}

static EfText
make_text(const char *s)
{
	return (EfText){s, (uint32) strlen(s)};
}

static bool
add_user(EfAggregate *aggregate, int64 id, const char *name)
{
	EfUser user = {.user_id = id, .name = make_text(name)};

	return EfAggregateUser(aggregate, &user);
}

static bool
add_compound(EfAggregate *aggregate, int64 id, const char *name)
{
	EfCompound compound = {.compound_id = id, .name = make_text(name)};

	return EfAggregateCompound(aggregate, &compound);
}

/* A run time below 0 stands for an unknown one. */
static EfReason
add_experiment(EfAggregate *aggregate, int64 id, int64 user, int n, const int64 *ids,
			   double run_time)
{
	EfExperiment experiment = {id, user, ids, n, run_time >= 0, run_time};

	return EfAggregateExperiment(aggregate, &experiment);
}

#define IDS(...)                                  \
	lengthof(((int64[]){__VA_ARGS__})), (int64[]) \
	{                                             \
		__VA_ARGS__                               \
	}

/* Every feature, for a user with all of them and for one with none. */
static void
test_features(void **state)
{
	EfAggregate *aggregate;
	EfFeatures f;
	EfCompound compound;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext);
	assert_true(add_user(aggregate, 7, "seven"));
	assert_true(add_user(aggregate, -3, ""));
	assert_true(add_compound(aggregate, 20, "twenty"));
	assert_true(add_compound(aggregate, 10, "ten"));
	assert_int_equal(add_experiment(aggregate, 1, 7, IDS(20, 10, 30), 10), EF_TAKEN);
	assert_int_equal(add_experiment(aggregate, 2, 7, IDS(30, 10), 15), EF_TAKEN);
	assert_int_equal(add_experiment(aggregate, 3, 7, 0, NULL, -1), EF_TAKEN);

	assert_true(EfAggregateNext(aggregate, &f));
	assert_int_equal(f.user.user_id, -3);
	assert_int_equal(f.user.name.len, 0);
	assert_non_null(f.user.name.data);
	assert_null(f.user.email.data);
	assert_int_equal(f.experiments, 0);
	assert_true(f.experiments_pct == 0);
	assert_true(f.avg_experiments == 1.5);
	assert_false(f.has_run_time);
	assert_int_equal(f.ntied, 0);

	assert_true(EfAggregateNext(aggregate, &f));
	assert_int_equal(f.user.user_id, 7);
	assert_memory_equal(f.user.name.data, "seven", 5);
	assert_int_equal(f.experiments, 3);
	assert_true(f.experiments_pct == 1);
	assert_true(f.total_run_time == 25);
	assert_true(f.avg_run_time == 12.5);
	assert_int_equal(f.ntied, 2);
	assert_int_equal(f.tied[0], 10);
	assert_int_equal(f.tied[1], 30);
	assert_int_equal(f.count, 2);
	assert_int_equal(f.compound->compound_id, 10);
	assert_memory_equal(f.compound->name.data, "ten", 3);
	assert_false(EfAggregateNext(aggregate, &f));

	/* 30 is listed, but in no compounds row */
	assert_int_equal(EfAggregateUnknownCompounds(aggregate), 1);
	assert_true(EfAggregateNextCompound(aggregate, &compound));
	assert_int_equal(compound.compound_id, 20);
	assert_true(EfAggregateNextCompound(aggregate, &compound));
	assert_false(EfAggregateNextCompound(aggregate, &compound));
	EfAggregateEnd(aggregate);
	server_end();
}

/* A row that is refused leaves no trace. */
static void
test_refused(void **state)
{
	EfAggregate *aggregate;
	EfFeatures f;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext);
	assert_true(add_user(aggregate, 1, "first"));
	assert_false(add_user(aggregate, 1, "second"));
	assert_true(add_compound(aggregate, 1, "first"));
	assert_false(add_compound(aggregate, 1, "second"));
	assert_int_equal(add_experiment(aggregate, 5, 2, IDS(1), 1), EF_UNKNOWN_USER);
	assert_int_equal(add_experiment(aggregate, 5, 1, IDS(1), 1), EF_TAKEN);
	assert_int_equal(add_experiment(aggregate, 5, 1, IDS(1), 1), EF_DUPLICATE_KEY);

	assert_true(EfAggregateNext(aggregate, &f));
	assert_memory_equal(f.user.name.data, "first", 5);
	assert_memory_equal(f.compound->name.data, "first", 5);
	assert_int_equal(f.experiments, 1);
	assert_int_equal(f.count, 1);
	assert_false(EfAggregateNext(aggregate, &f));
	server_end();
}

/* Ids of every magnitude are told apart. */
static void
test_extreme_ids(void **state)
{
	static const int64 ids[] = {PG_INT64_MIN, PG_INT64_MIN + 1, -65, -64, -63, -1, 0, 1, 63, 64,
								PG_INT64_MAX - 1, PG_INT64_MAX};
	EfAggregate *aggregate;
	EfFeatures f;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext);
	for (int i = lengthof(ids) - 1; i >= 0; i--)
		assert_true(add_user(aggregate, ids[i], ""));
	for (size_t i = 0; i < lengthof(ids); i++)
		assert_int_equal(add_experiment(aggregate, ids[i], ids[i], 1, &ids[i], 0), EF_TAKEN);
	for (size_t i = 0; i < lengthof(ids); i++)
		assert_int_equal(add_experiment(aggregate, ids[i], ids[i], 0, NULL, 0),
						 EF_DUPLICATE_KEY);
	for (size_t i = 0; i < lengthof(ids); i++)
	{
		assert_true(EfAggregateNext(aggregate, &f));
		assert_true(f.user.user_id == ids[i]);
		assert_int_equal(f.ntied, 1);
		assert_true(f.tied[0] == ids[i]);
	}
	server_end();
}

/* Many users, compounds and experiments against counts in plain arrays. */
static void
test_scale(void **state)
{
	enum
	{
		USERS = 300,
		COMPOUNDS = 500,
		EXPERIMENTS = 100000
	};
	static int counts[USERS][COMPOUNDS];
	static int experiments[USERS];
	EfAggregate *aggregate;
	EfFeatures f;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext);
	memset(counts, 0, sizeof(counts));
	for (int i = 0; i < USERS; i++)
		assert_true(add_user(aggregate, i * INT64CONST(1000000007), ""));
	for (int i = 0; i < EXPERIMENTS; i++)
	{
		int user = (int) (next_random() % USERS * (next_random() % USERS) / USERS);
		int n = (int) (next_random() % 5);
		int64 ids[5];

		for (int j = 0; j < n; j++)
		{
			ids[j] = next_random() % (user % 7 == 0 ? COMPOUNDS : 6);
			counts[user][ids[j]]++;
		}
		experiments[user]++;
		assert_int_equal(add_experiment(aggregate, i * INT64CONST(37), user * INT64CONST(1000000007),
										n, ids, 1),
						 EF_TAKEN);
	}
	for (int i = 0; i < USERS; i++)
	{
		int most = 0;
		int tied = 0;

		assert_true(EfAggregateNext(aggregate, &f));
		assert_int_equal(f.experiments, experiments[i]);
		assert_true(experiments[i] == 0 || f.total_run_time == experiments[i]);
		for (int c = 0; c < COMPOUNDS; c++)
			most = Max(most, counts[i][c]);
		assert_int_equal(f.count, most);
		for (int c = 0; c < COMPOUNDS && most > 0; c++)
			if (counts[i][c] == most)
				assert_int_equal(f.tied[tied++], c);
		assert_int_equal(f.ntied, tied);
	}
	assert_int_equal(EfAggregateUsers(aggregate), USERS);
	server_end();
}

/* One experiment may list millions of compounds: each is a chance to cancel. */
static void
test_interrupts(void **state)
{
	enum
	{
		LISTED = 1000
	};
	EfAggregate *aggregate;
	EfFeatures f;
	int64 ids[LISTED];

	for (int i = 0; i < LISTED; i++)
		ids[i] = LISTED - i;
	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext);
	assert_true(add_user(aggregate, 1, ""));
	InterruptPending = true;
	assert_int_equal(add_experiment(aggregate, 1, 1, LISTED, ids, 0), EF_TAKEN);
	assert_in_range(server_interrupts, LISTED, 10 * LISTED);

	/* so is each comparison when the tied ones are sorted */
	server_interrupts = 0;
	assert_true(EfAggregateNext(aggregate, &f));
	assert_int_equal(f.ntied, LISTED);
	assert_in_range(server_interrupts, LISTED - 1, 100 * LISTED);
	server_end();
}

/* --- sums --- */

static double
sum(const double *values, int n)
{
	EfSum total = {0};

	for (int i = 0; i < n; i++)
		EfSumAdd(&total, values[i], CurrentMemoryContext);
	return EfSumValue(&total);
}

#define SUM(...) sum((double[]){__VA_ARGS__}, lengthof(((double[]){__VA_ARGS__})))

/* Rounded once: what no running sum of doubles gets right. */
static void
test_sum_exact(void **state)
{
	server_begin();
	assert_true(SUM(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1) == 1.0);
	assert_true(SUM(9007199254740992.0, 1.0, 1.0) == 9007199254740994.0);
	assert_true(SUM(1.0, 9007199254740992.0, 1.0) == 9007199254740994.0);

	/* halfway between two doubles: to even, unless anything tips it */
	assert_true(SUM(9007199254740992.0, 1.0) == 9007199254740992.0);
	assert_true(SUM(9007199254740994.0, 1.0) == 9007199254740996.0);
	assert_true(SUM(9007199254740992.0, 1.0, 4.9e-324) == 9007199254740994.0);
	assert_true(SUM(9007199254740992.0, 4.9e-324, 1.0) == 9007199254740994.0);
	assert_true(SUM(1e300, 1.0, 1e-300, 1e300) == 2e300);

	/* the edge of the range */
	assert_true(SUM(DBL_MAX, DBL_MAX / 4503599627370496.0 / 4) == DBL_MAX);
	assert_true(isinf(SUM(DBL_MAX, DBL_MAX)));
	assert_true(isinf(SUM(DBL_MAX, DBL_MAX, 1.0)));
	assert_true(isinf(SUM(1.7976931348623157e+308, 4.9896007738368e+291, 4.9896007738368e+291)));
	assert_true(SUM(0.0, 0.0) == 0);
	server_end();
}

/* Multiples of 2^-40 below 2^50 add up exactly in 128 bits. */
static void
test_sum_random(void **state)
{
	for (int round = 0; round < 2000; round++)
	{
		__int128 exact = 0;
		double values[64];
		int n = 1 + (int) (next_random() % 64);
		double total;
		__int128 units;

		for (int i = 0; i < n; i++)
		{
			uint64 unit = ((uint64) next_random() << 22 ^ next_random()) &
						  ((UINT64CONST(1) << 53) - 1);
			int shift = (int) (next_random() % 37);

			values[i] = ldexp((double) unit, shift - 40);
			exact += (__int128) unit << shift;
		}
		server_begin();
		total = sum(values, n);
		units = (__int128) ldexp(total, 40);
		/* within half a unit in the last place */
		assert_true(fabs((double) (units - exact)) * 2 <= nextafter(ldexp(total, 40), INFINITY) - ldexp(total, 40));
		for (int i = n - 1; i > 0; i--)
		{
			int j = (int) (next_random() % (uint32) (i + 1));
			double swap = values[i];

			values[i] = values[j];
			values[j] = swap;
		}
		assert_true(sum(values, n) == total);
		server_end();
	}
}

/* Values of every magnitude, far more than two doubles can hold, in any order. */
static void
test_sum_order(void **state)
{
	double values[600];
	double total;

	server_begin();
	for (int i = 0; i < 600; i++)
		values[i] = ldexp(1.0 + next_random() / 4294967296.0, (int) (next_random() % 1900) - 1000);
	total = sum(values, 600);
	for (int round = 0; round < 50; round++)
	{
		for (int i = 599; i > 0; i--)
		{
			int j = (int) (next_random() % (uint32) (i + 1));
			double swap = values[i];

			values[i] = values[j];
			values[j] = swap;
		}
		assert_true(sum(values, 600) == total);
	}
	server_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_extreme_ids),
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_sum_exact),
		cmocka_unit_test(test_sum_random),
		cmocka_unit_test(test_sum_order),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("aggregate", tests, NULL, NULL);
}
