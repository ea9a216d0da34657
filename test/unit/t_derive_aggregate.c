/*
 * t_derive_aggregate.c
 *		Features against what one counts by hand, and at scale against a plain
 *		recount; sums against exact arithmetic, in any order.
 */
#include "server.h"

#include <float.h>
#include <math.h>

#include "derive_aggregate.h"
#include "derive_pack.h"
#include "derive_sum.h"
#include "miscadmin.h"

static EfText
make_text(const char *s)
{
	return (EfText){s, (uint32) strlen(s)};
}

static void
add_user(EfAggregate *aggregate, uint32 number, int64 id, const char *name)
{
	EfUser user = {.user_id = id, .name = make_text(name)};
	char *packed = palloc(EF_PACKED_USER_BOUND(&user));
	char *end = EfPackUser(packed, &user);

	assert_ptr_equal(EfAggregateUser(aggregate, number, packed), end);
}

static void
add_compound(EfAggregate *aggregate, int64 id, const char *name)
{
	EfCompound compound = {.compound_id = id, .name = make_text(name)};

	EfAggregateCompound(aggregate, &compound);
}

/* Packed experiments, one after the other. */
typedef struct Packed
{
	char *data;
	size_t len;
	size_t room;
} Packed;

/* A run time below 0 stands for an unknown one. */
static void
pack(Packed *to, uint32 user, int n, const int64 *ids, double run_time)
{
	EfExperiment experiment = {0, 0, ids, n, run_time >= 0, run_time};
	size_t bound = EF_PACKED_EXPERIMENT_BOUND(n);

	if (to->len + bound > to->room)
	{
		to->room = (to->len + bound) * 2;
		to->data = to->data == NULL ? palloc(to->room) : repalloc(to->data, to->room);
	}
	to->len = (size_t) (EfPackExperiment(to->data + to->len, user, &experiment) - to->data);
}

static void
add_packed(EfAggregate *aggregate, const Packed *packed)
{
	EfAggregateExperiments(aggregate, packed->data, packed->len);
}

static void
add_experiment(EfAggregate *aggregate, uint32 user, int n, const int64 *ids, double run_time)
{
	Packed packed = {0};

	pack(&packed, user, n, ids, run_time);
	add_packed(aggregate, &packed);
	pfree(packed.data);
}

#define IDS(...)                                  \
	lengthof(((int64[]){__VA_ARGS__})), (int64[]) \
	{                                             \
		__VA_ARGS__                               \
	}

static const EfTotals totals = {2, 3};

/* Every feature, for a user with all of them and for one with none. */
static void
test_features(void **state)
{
	EfAggregate *aggregate;
	EfFeatures f;
	uint32 nunknown;
	int64 *unknown;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext, 2);
	add_compound(aggregate, 20, "twenty");
	add_compound(aggregate, 10, "ten");
	EfAggregateReset(aggregate, 2);
	add_user(aggregate, 1, 7, "seven");
	add_user(aggregate, 0, -3, "");
	add_experiment(aggregate, 1, IDS(20, 10, 30), 10);
	add_experiment(aggregate, 1, IDS(30, 10), 15);
	add_experiment(aggregate, 1, 0, NULL, -1);

	assert_true(EfAggregateNext(aggregate, &totals, &f));
	assert_int_equal(f.user.user_id, -3);
	assert_int_equal(f.user.name.len, 0);
	assert_non_null(f.user.name.data);
	assert_null(f.user.email.data);
	assert_int_equal(f.experiments, 0);
	assert_true(f.experiments_pct == 0);
	assert_true(f.avg_experiments == 1.5);
	assert_false(f.has_run_time);
	assert_int_equal(f.ntied, 0);
	assert_int_equal(f.count, 0);
	assert_null(f.compound);

	assert_true(EfAggregateNext(aggregate, &totals, &f));
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
	assert_false(EfAggregateNext(aggregate, &totals, &f));
	assert_false(EfAggregateNext(aggregate, &totals, &f));

	/* 30 is listed, but no compound is known by it */
	unknown = EfAggregateUnknownCompounds(aggregate, &nunknown);
	assert_int_equal(nunknown, 1);
	assert_int_equal(unknown[0], 30);
	EfAggregateEnd(aggregate);
	server_end();
}

/* Users without experiments, and no users at all. */
static void
test_nothing(void **state)
{
	static const EfTotals none = {1, 0};
	EfAggregate *aggregate;
	EfFeatures f;
	uint32 nunknown;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext, 0);
	EfAggregateReset(aggregate, 0);
	assert_false(EfAggregateNext(aggregate, &none, &f));
	EfAggregateEnd(aggregate);

	aggregate = EfAggregateBegin(CurrentMemoryContext, 1);
	add_compound(aggregate, 1, "");
	EfAggregateReset(aggregate, 1);
	add_user(aggregate, 0, 1, "");
	assert_true(EfAggregateNext(aggregate, &none, &f));
	assert_true(f.experiments_pct == 0);
	assert_true(f.avg_experiments == 0);
	assert_false(EfAggregateNext(aggregate, &none, &f));
	(void) EfAggregateUnknownCompounds(aggregate, &nunknown);
	assert_int_equal(nunknown, 0);
	server_end();
}

/* Ids of every magnitude are told apart, whether they are known or not. */
static void
test_extreme_ids(void **state)
{
	static const int64 ids[] = {PG_INT64_MIN, PG_INT64_MIN + 1, -65, -64, -63, -1, 0, 1, 63, 64,
								PG_INT64_MAX - 1, PG_INT64_MAX};
	EfAggregate *aggregate;
	EfFeatures f;

	/* a bit for each id says whether it is known */
	for (uint32 known = 0; known < 1 << lengthof(ids); known += 5)
	{
		uint32 nunknown;

		server_begin();
		aggregate = EfAggregateBegin(CurrentMemoryContext, lengthof(ids));
		for (size_t i = 0; i < lengthof(ids); i++)
			if (known >> i & 1)
				add_compound(aggregate, ids[i], "known");
		EfAggregateReset(aggregate, lengthof(ids));
		for (uint32 i = 0; i < lengthof(ids); i++)
			add_user(aggregate, i, ids[i], "");
		for (uint32 i = 0; i < lengthof(ids); i++)
			add_experiment(aggregate, i, 1, &ids[i], 0);
		for (size_t i = 0; i < lengthof(ids); i++)
		{
			assert_true(EfAggregateNext(aggregate, &totals, &f));
			assert_true(f.user.user_id == ids[i]);
			assert_int_equal(f.ntied, 1);
			assert_true(f.tied[0] == ids[i]);
			assert_true(f.compound->compound_id == ids[i]);
			assert_int_equal(f.compound->name.data != NULL, known >> i & 1);
		}
		(void) EfAggregateUnknownCompounds(aggregate, &nunknown);
		assert_int_equal(nunknown, lengthof(ids) - (size_t) __builtin_popcount(known));
		server_end();
	}
}

/* --- against a plain recount --- */

typedef struct Case
{
	const char *name;
	uint32 users;
	uint32 listings; /* of each user */
	uint32 compounds;
	uint32 every; /* which of them are known; 0: none */
	int64 first;  /* their ids */
	uint64 apart;
	size_t most; /* listed by an experiment */
} Case;

static const Case cases[] = {
	{"one listing each", 50, 1, 10, 1, 1, 1, 2},
	{"all known", 300, 100, 500, 1, 1, 1, 5},
	{"few and often", 300, 100, 6, 1, 1, 1, 5},
	{"half known, the others among them", 100, 100, 500, 2, -200, 1, 5},
	{"few known, the others beyond", 100, 100, 500, 499, 0, 1, 5},
	{"none known", 100, 100, 500, 0, 1, 1, 5},
	{"known, but so far apart that few are found directly", 100, 100, 500, 1, 0, 60000, 5},
	{"far apart, and most unknown", 100, 100, 500, 3, 0, 60000, 5},
	{"over all of the range", 100, 100, 500, 2, PG_INT64_MIN, PG_UINT64_MAX / 500, 5},
	{"up to its end", 100, 100, 500, 3, PG_INT64_MAX - 499, 1, 5},
	{"from its beginning", 100, 100, 500, 0, PG_INT64_MIN, 1, 5},

	/* long lists become counts, unless there are more compounds still */
	{"long lists", 3, 10000, 100, 1, 1, 1, 50},
	{"long lists of unknown compounds", 3, 10000, 3000, 0, 1, 1, 50},
	{"long lists, more known compounds", 3, 10000, 12000, 1, 1, 1, 50},
	{"long lists, compounds become known as they grow", 3, 20000, 15000, 0, 1, 1000, 50},
	{"an experiment that lists as many", 2, 20000, 5000, 1, 1, 1, 20000},
};

/* What should come out for one user. */
typedef struct User
{
	int64 experiments;
	int64 timed;
	double run_time; /* a multiple of 1/4, so added without error */
	int64 *counts;	 /* by compound */
} User;

static int64
id_of(const Case *test, uint32 compound)
{
	return (int64) ((uint64) test->first + compound * test->apart);
}

static bool
is_known(const Case *test, uint32 compound)
{
	return test->every > 0 && compound % test->every == 0;
}

/* Packs an experiment that lists n compounds. */
static void
make_experiment(const Case *test, uint32 number, User *user, uint32 n, Packed *packed)
{
	int64 *ids = palloc(sizeof(int64) * (n + 1));
	double run_time = random_below(3) == 0 ? -1 : (double) random_below(1000) / 4;

	/* a few are listed more often than the others */
	for (uint32 i = 0; i < n; i++)
	{
		uint32 among = random_below(3) == 0 ? Min(test->compounds, 4) : test->compounds;
		uint32 compound = (uint32) random_below(among);

		ids[i] = id_of(test, compound);
		user->counts[compound]++;
	}
	user->experiments++;
	if (run_time >= 0)
	{
		user->timed++;
		user->run_time += run_time;
	}
	pack(packed, number, (int) n, ids, run_time);
	pfree(ids);
}

static User *
make_users(const Case *test, EfAggregate *aggregate)
{
	User *users = palloc0(sizeof(User) * test->users);
	uint32 *left = palloc(sizeof(uint32) * test->users);
	Packed packed = {0};
	bool any = true;

	for (uint32 i = 0; i < test->users; i++)
	{
		add_user(aggregate, i, i, "");
		users[i].counts = palloc0(sizeof(int64) * test->compounds);
		left[i] = test->listings;
	}

	/* users take turns, so that what is known of one grows among the others' */
	while (any)
	{
		any = false;
		for (uint32 i = 0; i < test->users; i++)
		{
			uint32 n = (uint32) random_below(test->most + 1);

			n = Min(n, left[i]);
			if (left[i] > 0)
				make_experiment(test, i, &users[i], n, &packed);
			left[i] -= n;
			any |= left[i] > 0;
		}
	}
	add_packed(aggregate, &packed);
	return users;
}

static void
check_user(const Case *test, const User *user, const EfFeatures *f)
{
	int64 most = 0;
	int tied = 0;

	assert_int_equal(f->experiments, user->experiments);
	assert_int_equal(f->has_run_time, user->timed > 0);
	if (user->timed > 0)
	{
		assert_true(f->total_run_time == user->run_time);
		assert_true(f->avg_run_time == user->run_time / (double) user->timed);
	}
	for (uint32 i = 0; i < test->compounds; i++)
		most = Max(most, user->counts[i]);
	assert_int_equal(f->count, most);
	for (uint32 i = 0; i < test->compounds && most > 0; i++)
		if (user->counts[i] == most)
		{
			assert_true(tied < f->ntied);
			assert_true(f->tied[tied++] == id_of(test, i));
		}
	assert_int_equal(f->ntied, tied);
	assert_true(tied == 0 || f->compound->compound_id == f->tied[0]);
}

/* Each compound listed by any user that is not known, once. */
static void
check_unknown(const Case *test, const EfAggregate *aggregate, const bool *listed)
{
	bool *seen = palloc0(sizeof(bool) * test->compounds);
	uint32 nunknown;
	const int64 *unknown = EfAggregateUnknownCompounds(aggregate, &nunknown);
	uint32 expected = 0;

	for (uint32 i = 0; i < nunknown; i++)
	{
		uint64 compound = ((uint64) unknown[i] - (uint64) test->first) / test->apart;

		assert_true(compound < test->compounds);
		assert_true(unknown[i] == id_of(test, (uint32) compound));
		assert_false(seen[compound]);
		assert_true(listed[compound] && !is_known(test, (uint32) compound));
		seen[compound] = true;
	}
	for (uint32 i = 0; i < test->compounds; i++)
		expected += listed[i] && !is_known(test, i);
	assert_int_equal(nunknown, expected);
}

/* The same aggregate counts one set of users after the other. */
static void
count_case(const Case *test, int sets)
{
	EfAggregate *aggregate;
	EfFeatures f;
	bool *listed;

	server_begin();
	listed = palloc0(sizeof(bool) * test->compounds);
	aggregate = EfAggregateBegin(CurrentMemoryContext, test->users);

	/* from the last one down, since their order must not matter */
	for (uint32 i = test->compounds; i-- > 0;)
		if (is_known(test, i))
			add_compound(aggregate, id_of(test, i), "known");
	for (int set = 0; set < sets; set++)
	{
		User *users;

		EfAggregateReset(aggregate, test->users);
		users = make_users(test, aggregate);
		for (uint32 i = 0; i < test->users; i++)
		{
			assert_true(EfAggregateNext(aggregate, &totals, &f));
			assert_int_equal(f.user.user_id, i);
			check_user(test, &users[i], &f);
			for (uint32 c = 0; c < test->compounds; c++)
				listed[c] |= users[i].counts[c] > 0;
		}
		assert_false(EfAggregateNext(aggregate, &totals, &f));
		check_unknown(test, aggregate, listed);
	}
	server_end();
}

static void
test_case(void **state)
{
	count_case(*state, 3);
}

/* Around the lengths at which a list takes another link, and becomes counts. */
static void
test_lengths(void **state)
{
	static const uint32 listings[] = {13, 14, 15, 28, 29, 4095, 4096, 4097, 8191, 8192, 8193};
	static const uint32 compounds[] = {1, 4095, 4096, 4097, 8193};

	for (size_t i = 0; i < lengthof(listings); i++)
		for (size_t j = 0; j < lengthof(compounds); j++)
			for (uint32 every = 0; every <= 1; every++)
			{
				Case test = {NULL, 2, listings[i], compounds[j], every, 1, 1, 100};

				count_case(&test, 1);
			}
}

/* Counts that were made when few compounds were known grow with them. */
static void
test_more_compounds(void **state)
{
	enum
	{
		FEW = 10,
		LISTED = 5000,
		ALL = 30000
	};
	EfAggregate *aggregate;
	EfFeatures f;
	int64 ids[LISTED];

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext, 1);
	EfAggregateReset(aggregate, 1);
	add_user(aggregate, 0, 1, "");
	for (int i = 0; i < LISTED; i++)
		ids[i] = i % FEW;
	add_experiment(aggregate, 0, LISTED, ids, 0);
	for (int64 id = FEW; id < ALL; id++)
		add_experiment(aggregate, 0, 1, &id, 0);
	assert_true(EfAggregateNext(aggregate, &totals, &f));
	assert_int_equal(f.count, LISTED / FEW);
	assert_int_equal(f.ntied, FEW);
	for (int i = 0; i < FEW; i++)
		assert_int_equal(f.tied[i], i);
	server_end();
}

/* --- where experiments come from --- */

static void
shuffle(size_t *order, size_t n)
{
	for (size_t i = n; i > 1; i--)
	{
		size_t j = random_below(i);
		size_t swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
}

enum
{
	MERGED_USERS = 20,
	MERGED = 3000
};

typedef struct Made
{
	uint32 user;
	int n;
	int64 ids[8];
	double run_time;
} Made;

/* Run times of every magnitude, whose sums two doubles can't hold. */
static Made *
make_some(void)
{
	Made *made = palloc(sizeof(Made) * MERGED);

	for (int i = 0; i < MERGED; i++)
	{
		made[i].user = (uint32) random_below(MERGED_USERS);
		made[i].n = (int) random_below(8);
		made[i].run_time = ldexp(1.0 + next_random() / 4294967296.0,
								 (int) random_below(1900) - 1000);
		if (random_below(2) == 0)
			made[i].run_time = (double) random_below(1000) / 10;
		for (int j = 0; j < made[i].n; j++)
			made[i].ids[j] = (int64) random_below(5) * (random_below(2) == 0 ? 1 : 100000000);
	}
	return made;
}

/*
 * As so many processes would pack them, each taking any of them in any order, and
 * as their blocks would be added.
 */
static EfAggregate *
merge(const Made *made, size_t *order, int nprocesses)
{
	EfAggregate *aggregate = EfAggregateBegin(CurrentMemoryContext, MERGED_USERS);
	Packed *packed = palloc0(sizeof(Packed) * (Size) nprocesses);

	add_compound(aggregate, 1, "one");
	EfAggregateReset(aggregate, MERGED_USERS);
	for (uint32 i = 0; i < MERGED_USERS; i++)
		add_user(aggregate, i, i, "");
	for (int i = 0; i < MERGED; i++)
	{
		const Made *one = &made[order[i]];
		Packed *to = &packed[random_below((size_t) nprocesses)];

		pack(to, one->user, one->n, one->ids, one->run_time);
	}
	for (int i = 0; i < nprocesses; i++)
		add_packed(aggregate, &packed[i]);
	return aggregate;
}

static void
assert_same_features(const EfFeatures *a, const EfFeatures *b)
{
	assert_int_equal(a->user.user_id, b->user.user_id);
	assert_int_equal(a->experiments, b->experiments);
	assert_true(a->experiments_pct == b->experiments_pct);
	assert_int_equal(a->has_run_time, b->has_run_time);
	assert_memory_equal(&a->total_run_time, &b->total_run_time, sizeof(double));
	assert_memory_equal(&a->avg_run_time, &b->avg_run_time, sizeof(double));
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->ntied, b->ntied);
	assert_memory_equal(a->tied, b->tied, sizeof(int64) * (size_t) a->ntied);
	assert_int_equal(a->compound->compound_id, b->compound->compound_id);
}

/* The same features to the last bit, however the experiments were spread and mixed. */
static void
test_merge(void **state)
{
	for (int nprocesses = 1; nprocesses <= 5; nprocesses++)
	{
		size_t order[MERGED];
		EfAggregate *one;
		EfAggregate *many;
		EfFeatures a;
		EfFeatures b;
		Made *made;

		server_begin();
		made = make_some();
		for (size_t i = 0; i < MERGED; i++)
			order[i] = i;
		one = merge(made, order, 1);
		shuffle(order, MERGED);
		many = merge(made, order, nprocesses);
		while (EfAggregateNext(one, &totals, &a))
		{
			assert_true(EfAggregateNext(many, &totals, &b));
			assert_same_features(&a, &b);
		}
		assert_false(EfAggregateNext(many, &totals, &b));
		server_end();
	}
}

/* --- ties --- */

static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Up to n ids from first on, span apart at most; returns how many. */
static int
make_ids(int64 *ids, int n, int64 first, uint64 span)
{
	int kept = 0;

	ids[0] = first;
	ids[1] = (int64) ((uint64) first + span);
	for (int i = 2; i < n; i++)
	{
		uint64 random = (uint64) next_random() << 32 | next_random() << 1;

		ids[i] = (int64) ((uint64) first + random % span);
	}
	qsort(ids, (size_t) n, sizeof(int64), compare_ids);
	for (int i = 0; i < n; i++)
		if (kept == 0 || ids[i] != ids[kept - 1])
			ids[kept++] = ids[i];
	return kept;
}

static void
check_tied(int64 *ids, int n)
{
	int64 *listed = palloc(sizeof(int64) * (Size) n);
	size_t *order = palloc(sizeof(size_t) * (Size) n);
	EfAggregate *aggregate = EfAggregateBegin(CurrentMemoryContext, 1);
	EfFeatures f;

	for (size_t i = 0; i < (size_t) n; i++)
		order[i] = i;
	shuffle(order, (size_t) n);
	for (int i = 0; i < n; i++)
		listed[i] = ids[order[i]];
	EfAggregateReset(aggregate, 1);
	add_user(aggregate, 0, 1, "");
	add_experiment(aggregate, 0, n, listed, 0);
	assert_true(EfAggregateNext(aggregate, &totals, &f));
	assert_int_equal(f.ntied, n);
	assert_memory_equal(f.tied, ids, sizeof(int64) * (size_t) n);
	EfAggregateEnd(aggregate);
}

/* Ascending, whether they lie close together, far apart or at an end of the range. */
static void
test_ties(void **state)
{
	static const uint64 spans[] = {1, 2, 63, 64, 65, 127, 128, 1000, 4031, 4032,
								   4095, 4096, 4097, UINT64CONST(1) << 40, PG_INT64_MAX,
								   PG_UINT64_MAX};
	static const int numbers[] = {2, 3, 10, 62, 63, 64, 65, 500, 3000};
	int64 ids[3000];

	for (size_t i = 0; i < lengthof(spans); i++)
		for (size_t j = 0; j < lengthof(numbers); j++)
		{
			int64 first[] = {PG_INT64_MIN, -5, 1, (int64) ((uint64) PG_INT64_MAX - spans[i])};

			for (size_t k = 0; k < lengthof(first); k++)
			{
				/* no further than the range does */
				if (first[k] > 0 && spans[i] > (uint64) PG_INT64_MAX - (uint64) first[k])
					continue;
				if (first[k] == -5 && spans[i] > PG_INT64_MAX)
					continue;
				server_begin();
				check_tied(ids, make_ids(ids, numbers[j], first[k], spans[i]));
				server_end();
			}
		}
}

/* --- memory and interrupts --- */

/* A user about whom nothing is known, packed. */
static const char nobody[4];

/* A reset frees what the users took; what stays is used again. */
static void
test_reset(void **state)
{
	enum
	{
		LISTED = 4200,
		RESETS = 1000
	};
	EfAggregate *aggregate;
	Packed packed = {0};
	int64 ids[LISTED];
	size_t held = 0;
	EfFeatures f;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext, 2);
	for (int i = 0; i < 1000; i++)
		add_compound(aggregate, i, "");
	for (int i = 0; i < LISTED; i++)
		ids[i] = i % 1000;

	/* counts for one user, links for the other, and sums that take memory */
	pack(&packed, 0, LISTED, ids, 0.1);
	pack(&packed, 1, 100, ids, 1e300);
	pack(&packed, 1, 0, NULL, 1e-300);
	pack(&packed, 1, 0, NULL, 1.0);
	pack(&packed, 1, 0, NULL, 1e-150);
	for (int i = 0; i < RESETS; i++)
	{
		EfAggregateReset(aggregate, 2);
		if (i == 1)
			held = server_held;
		assert_true(i < 1 || server_held == held);
		EfAggregateUser(aggregate, 0, nobody);
		EfAggregateUser(aggregate, 1, nobody);
		add_packed(aggregate, &packed);
		assert_true(EfAggregateNext(aggregate, &totals, &f));
		assert_int_equal(f.experiments, 1);
		assert_int_equal(f.count, 5);
		assert_int_equal(f.ntied, 200);
		assert_true(EfAggregateNext(aggregate, &totals, &f));
		assert_int_equal(f.experiments, 4);
		assert_true(f.total_run_time == 1e300);
		assert_int_equal(f.ntied, 100);
	}
	server_end();
}

/* So is memory for lists that take more than one block of it. */
static void
test_reset_long_lists(void **state)
{
	enum
	{
		LISTED = 150000
	};
	EfAggregate *aggregate;
	Packed packed = {0};
	int64 *ids;
	size_t allocated = 0;
	EfFeatures f;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext, 1);
	ids = palloc(sizeof(int64) * LISTED);
	for (int i = 0; i < LISTED; i++)
	{
		ids[i] = LISTED - i;
		add_compound(aggregate, i + 1, "");
	}
	pack(&packed, 0, LISTED - 1, ids, -1);
	for (int i = 0; i < 4; i++)
	{
		EfAggregateReset(aggregate, 1);
		if (i == 1)
			allocated = server_allocated;
		EfAggregateUser(aggregate, 0, nobody);
		add_packed(aggregate, &packed);
		assert_true(EfAggregateNext(aggregate, &totals, &f));
		assert_int_equal(f.ntied, LISTED - 1);
		assert_int_equal(f.tied[0], 2);
		assert_true(i < 1 || server_allocated == allocated);
	}
	server_end();
}

/* One experiment may list millions of compounds, and can be cancelled. */
static void
test_interrupts(void **state)
{
	enum
	{
		LISTED = 200000
	};
	EfAggregate *aggregate;
	EfFeatures f;
	int64 *ids;

	server_begin();
	aggregate = EfAggregateBegin(CurrentMemoryContext, 1);
	ids = palloc(sizeof(int64) * LISTED);
	for (int i = 0; i < LISTED; i++)
	{
		ids[i] = LISTED - i;
		add_compound(aggregate, ids[i], "");
	}
	EfAggregateReset(aggregate, 1);
	add_user(aggregate, 0, 1, "");
	InterruptPending = true;
	add_experiment(aggregate, 0, LISTED - 1, ids, 0);
	assert_in_range(server_interrupts, 2, LISTED);

	/* so is each comparison a chance, when the tied ones are sorted */
	server_interrupts = 0;
	assert_true(EfAggregateNext(aggregate, &totals, &f));
	assert_int_equal(f.ntied, LISTED - 1);
	assert_in_range(server_interrupts, LISTED - 2, 100 * LISTED);
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
			int j = (int) random_below((size_t) i + 1);
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
			int j = (int) random_below((size_t) i + 1);
			double swap = values[i];

			values[i] = values[j];
			values[j] = swap;
		}
		assert_true(sum(values, 600) == total);
	}
	server_end();
}

#define TESTS 13

int
main(void)
{
	struct CMUnitTest tests[lengthof(cases) + TESTS] = {
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_extreme_ids),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_more_compounds),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_reset_long_lists),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_sum_exact),
		cmocka_unit_test(test_sum_random),
		cmocka_unit_test(test_sum_order),
	};

	for (size_t i = 0; i < lengthof(cases); i++)
		tests[i + TESTS] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL,
											   unconstify(Case *, &cases[i])};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("aggregate", tests, NULL, NULL);
}
