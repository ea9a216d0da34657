/*
 * generate.c
 *		Writes a source of any size: users.csv, compounds.csv, user_experiments.csv;
 *		or the experiments that one day adds to it.
 *
 * Every row is made from the seed and its own id by integers alone, so the same
 * arguments give the same bytes on any machine, and another shape or order gives
 * the same rows.
 *
 *	- Few users have thousands of experiments, most have a few: the user of rank
 *	  r has a share like 1 / sqrt(r). Ranks are strewn over the ids.
 *	- An experiment lists 1 to 4 compounds, half of them from its user's own
 *	  favourites, so that most users have a most common one and some have ties.
 *	- One run time in 128 is empty, the others have one decimal or two.
 *	- A day adds one experiment to each thousand, of the same users, with the ids
 *	  that follow those of the day before.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAVOURITES 4
#define FIRST_YEAR 2018
#define SIGNUP_YEARS 7
#define MAX_ROW 1024
#define EXPERIMENTS_PER_DAILY_ONE 1000

typedef struct Shape
{
	const char *name;
	const char *before; /* a field */
	const char *after;	/* a field that another one follows */
	const char *end;	/* after the last one */
} Shape;

static const Shape shapes[] = {
	{"plain", "", ",", "\n"},
	{"quoted", "\"", "\",", "\"\n"},
	{"tabbed", "", ",\t", "\n"},
	{"crlf", "", ",", "\r\n"},
	{NULL, NULL, NULL, NULL},
};

typedef struct Plan
{
	const char *dir;
	uint64_t experiments;
	uint64_t users;
	uint64_t compounds;
	uint64_t seed;
	uint64_t day; /* from 1: only what this day adds is written; 0: the source */
	bool shuffled;
	Shape shape;
} Plan;

typedef struct Output
{
	int fd;
	const Shape *shape;
	char path[4096];
	size_t used;
	char buf[1 << 20];
} Output;

static void
die(const char *what, const char *name)
{
	fprintf(stderr, "generate: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

/* --- Random numbers, from the seed, a stream's number and a row's id --- */

enum
{
	STREAM_USER = 1,
	STREAM_EXPERIMENT,
	STREAM_FAVOURITE,
	STREAM_COMPOUND,
	STREAM_ORDER
};

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t
begin_random(const Plan *plan, int stream, uint64_t id)
{
	return mix(mix(plan->seed * 64 + (uint64_t) stream) + id);
}

static uint32_t
next_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t) (mix(*state) >> 32);
}

/* From 0 to below limit, all alike. */
static uint64_t
even(uint64_t *state, uint64_t limit)
{
	return next_random(state) * limit >> 32;
}

/* From 0 to below limit, low ones more often: r with a share like 1 / sqrt(r). */
static uint64_t
skewed(uint64_t *state, uint64_t limit)
{
	uint64_t r = next_random(state);

	return (r * r >> 32) * limit >> 32;
}

/* The id of the row that stands at this place: a permutation, or the place itself. */
static uint64_t
id_at(const Plan *plan, uint64_t place, uint64_t rows)
{
	int half = 1;
	uint64_t mask;

	if (!plan->shuffled)
		return place + 1;
	while ((UINT64_C(1) << (2 * half)) < rows)
		half++;
	mask = (UINT64_C(1) << half) - 1;
	do
	{
		uint64_t left = place >> half;
		uint64_t right = place & mask;

		for (uint64_t round = 0; round < 4; round++)
		{
			uint64_t next = left ^ (begin_random(plan, STREAM_ORDER, right * 4 + round) & mask);

			left = right;
			right = next;
		}
		place = left << half | right;
	} while (place >= rows);
	return place + 1;
}

/* --- Writing --- */

static void
flush(Output *out)
{
	size_t done = 0;

	while (done < out->used)
	{
		ssize_t n = write(out->fd, out->buf + done, out->used - done);

		if (n < 0)
			die("could not write", out->path);
		done += (size_t) n;
	}
	out->used = 0;
}

static inline void
put(Output *out, const char *text, size_t len)
{
	memcpy(out->buf + out->used, text, len);
	out->used += len;
}

static inline void
put_text(Output *out, const char *text)
{
	put(out, text, strlen(text));
}

static inline void
put_number(Output *out, uint64_t n)
{
	char digits[20];
	char *p = digits + sizeof(digits);

	do
		*--p = (char) ('0' + n % 10);
	while ((n /= 10) > 0);
	put(out, p, (size_t) (digits + sizeof(digits) - p));
}

static inline void
begin_field(Output *out)
{
	put_text(out, out->shape->before);
}

static inline void
end_field(Output *out)
{
	put_text(out, out->shape->after);
}

static inline void
end_row(Output *out)
{
	put_text(out, out->shape->end);
	if (out->used > sizeof(out->buf) - MAX_ROW)
		flush(out);
}

static void
put_header(Output *out, const char *const *columns, int n)
{
	for (int i = 0; i < n; i++)
	{
		begin_field(out);
		put_text(out, columns[i]);
		if (i < n - 1)
			end_field(out);
	}
	end_row(out);
}

static Output *
open_output(const Plan *plan, const char *name)
{
	static Output out;

	out.used = 0;
	out.shape = &plan->shape;
	snprintf(out.path, sizeof(out.path), "%s/%s", plan->dir, name);
	/* a new file: the old one may be linked from elsewhere */
	if (unlink(out.path) != 0 && errno != ENOENT)
		die("could not remove", out.path);
	out.fd = open(out.path, O_WRONLY | O_CREAT | O_EXCL, 0666);
	if (out.fd < 0)
		die("could not create", out.path);
	return &out;
}

static void
close_output(Output *out)
{
	flush(out);
	if (close(out->fd) != 0)
		die("could not write", out->path);
}

/* --- The three files --- */

static const char *const first_names[] = {
	"Ada", "Alice", "Amir", "Anna", "Beatriz", "Bob", "Carlos", "Carol",
	"Chinedu", "Dave", "Dorothea", "Elena", "Eve", "Farid", "Frank", "Grace",
	"Hannah", "Heidi", "Ivan", "Ji-woo", "Judy", "Katarzyna", "Lars", "Leila",
	"Maximilian", "Mei", "Nadia", "Olu", "Priya", "Rafael", "Sofia", "Tomasz"};

static const char *const last_names[] = {
	"Adeyemi", "Almeida", "Andersson", "Baker", "Bianchi", "Chandrasekhar", "Chen", "Dubois",
	"Evans", "Fernandez", "Fischer", "Garcia", "Haddad", "Hughes", "Ivanova", "Johnson",
	"Kim", "Kowalska", "Lee", "Lindqvist", "Meyer", "Nakamura", "Nguyen", "O Brien",
	"Okafor", "Patel", "Rossi", "Santos", "Smith", "van der Berg", "Wilson", "Yilmaz"};

static const char *const syllables[] = {"ace", "bu", "cef", "di", "eso", "flu", "ga", "hydro",
										"ibu", "keto", "lora", "met", "nor", "ome", "pro", "val"};

static const char *const endings[] = {"lol", "mab", "mide", "nib", "pine", "prazole", "statin", "zole"};

/* In lower case, without blanks. */
static void
put_address_part(Output *out, const char *name)
{
	for (; *name; name++)
		if (*name != ' ')
			out->buf[out->used++] = (char) (*name | 0x20);
}

static void
put_date(Output *out, uint64_t year, uint64_t month, uint64_t day)
{
	put_number(out, year);
	put_text(out, month < 10 ? "-0" : "-");
	put_number(out, month);
	put_text(out, day < 10 ? "-0" : "-");
	put_number(out, day);
}

static void
write_users(const Plan *plan)
{
	static const char *const columns[] = {"user_id", "name", "email", "signup_date"};
	Output *out = open_output(plan, "users.csv");

	put_header(out, columns, 4);
	for (uint64_t place = 0; place < plan->users; place++)
	{
		uint64_t id = id_at(plan, place, plan->users);
		uint64_t random = begin_random(plan, STREAM_USER, id);
		const char *first = first_names[even(&random, 32)];
		const char *last = last_names[even(&random, 32)];
		uint64_t year = FIRST_YEAR + even(&random, SIGNUP_YEARS);
		uint64_t month = 1 + even(&random, 12);

		begin_field(out);
		put_number(out, id);
		end_field(out);
		begin_field(out);
		put_text(out, first);
		put_text(out, " ");
		put_text(out, last);
		end_field(out);
		begin_field(out);
		put_address_part(out, first);
		put_text(out, ".");
		put_address_part(out, last);
		put_number(out, id);
		put_text(out, "@example.com");
		end_field(out);
		begin_field(out);
		put_date(out, year, month, 1 + even(&random, 28));
		end_row(out);
	}
	close_output(out);
}

static void
write_compounds(const Plan *plan)
{
	static const char *const columns[] = {"compound_id", "compound_name", "compound_structure"};
	Output *out = open_output(plan, "compounds.csv");

	put_header(out, columns, 3);
	for (uint64_t id = 1; id <= plan->compounds; id++)
	{
		uint64_t random = begin_random(plan, STREAM_COMPOUND, id);

		begin_field(out);
		put_number(out, id);
		end_field(out);
		begin_field(out);
		put_text(out, syllables[even(&random, 16)]);
		put_text(out, syllables[even(&random, 16)]);
		put_text(out, endings[even(&random, 8)]);
		put_text(out, "-");
		put_number(out, id);
		end_field(out);
		begin_field(out);
		put_text(out, "C");
		put_number(out, 4 + even(&random, 30));
		put_text(out, "H");
		put_number(out, 4 + even(&random, 50));
		put_text(out, "N");
		put_number(out, 2 + even(&random, 6));
		put_text(out, "O");
		put_number(out, 2 + even(&random, 9));
		end_row(out);
	}
	close_output(out);
}

static uint64_t
pick_compound(const Plan *plan, uint64_t *random, uint64_t user)
{
	uint64_t kind = even(random, 2);
	uint64_t favourite;

	if (kind == 0)
		return 1 + skewed(random, plan->compounds);
	favourite = begin_random(plan, STREAM_FAVOURITE, user * FAVOURITES + skewed(random, FAVOURITES));
	return 1 + even(&favourite, plan->compounds);
}

static void
put_run_time(Output *out, uint64_t *random)
{
	uint64_t hundredths;

	if (even(random, 128) == 0)
		return;
	hundredths = 1 + skewed(random, 40000);
	put_number(out, hundredths / 100);
	put_text(out, ".");
	put_number(out, hundredths / 10 % 10);
	if (even(random, 3) != 0)
		put_number(out, hundredths % 10);
}

static uint64_t
experiments_of_a_day(const Plan *plan)
{
	uint64_t n = plan->experiments / EXPERIMENTS_PER_DAILY_ONE;

	return n > 0 ? n : 1;
}

static void
write_experiments(const Plan *plan)
{
	static const char *const columns[] = {"experiment_id", "user_id", "experiment_compound_ids",
										  "experiment_run_time"};
	/* prime, and larger than the number of users: it strews ranks over all ids */
	const uint64_t stride = UINT64_C(2654435761);
	const uint64_t rows = plan->day > 0 ? experiments_of_a_day(plan) : plan->experiments;
	const uint64_t before = plan->day > 0 ? plan->experiments + (plan->day - 1) * rows : 0;
	Output *out = open_output(plan, "user_experiments.csv");

	put_header(out, columns, 4);
	for (uint64_t place = 0; place < rows; place++)
	{
		uint64_t id = before + id_at(plan, place, rows);
		uint64_t random = begin_random(plan, STREAM_EXPERIMENT, id);
		uint64_t user = 1 + skewed(&random, plan->users) * stride % plan->users;
		uint64_t n = 1 + even(&random, 4);

		begin_field(out);
		put_number(out, id);
		end_field(out);
		begin_field(out);
		put_number(out, user);
		end_field(out);
		begin_field(out);
		for (uint64_t i = 0; i < n; i++)
		{
			if (i > 0)
				put_text(out, ";");
			put_number(out, pick_compound(plan, &random, user));
		}
		end_field(out);
		begin_field(out);
		put_run_time(out, &random);
		end_row(out);
	}
	close_output(out);
}

/* --- Arguments --- */

static void
usage(void)
{
	fputs("usage: generate DIR --experiments N [--users N/10] [--compounds 1000] [--seed 1]\n"
		  "                [--shape plain|quoted|tabbed|crlf] [--order ascending|shuffled]\n"
		  "                [--day D]	only user_experiments.csv, with what day D adds to the N\n",
		  stderr);
	exit(2);
}

static uint64_t
parse_count(const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < min || n > max)
	{
		fprintf(stderr, "generate: not a number from %" PRIu64 " to %" PRIu64 ": %s\n", min, max, text);
		exit(2);
	}
	return n;
}

static Shape
parse_shape(const char *name)
{
	for (const Shape *shape = shapes; shape->name != NULL; shape++)
		if (strcmp(shape->name, name) == 0)
			return *shape;
	usage();
	abort();
}

static bool
parse_order(const char *name)
{
	if (strcmp(name, "shuffled") != 0 && strcmp(name, "ascending") != 0)
		usage();
	return name[0] == 's';
}

static Plan
parse_arguments(int argc, char **argv)
{
	static const struct option options[] = {{"experiments", required_argument, NULL, 'e'},
											{"users", required_argument, NULL, 'u'},
											{"compounds", required_argument, NULL, 'c'},
											{"seed", required_argument, NULL, 's'},
											{"shape", required_argument, NULL, 'f'},
											{"order", required_argument, NULL, 'o'},
											{"day", required_argument, NULL, 'd'},
											{NULL, 0, NULL, 0}};
	Plan plan = {.compounds = 1000, .seed = 1, .shape = shapes[0]};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case 'e':
				plan.experiments = parse_count(optarg, 1, UINT64_C(4000000000));
				break;
			case 'u':
				plan.users = parse_count(optarg, 1, UINT64_C(2000000000));
				break;
			case 'c':
				plan.compounds = parse_count(optarg, 1, UINT64_C(2000000000));
				break;
			case 's':
				plan.seed = parse_count(optarg, 0, UINT32_MAX);
				break;
			case 'f':
				plan.shape = parse_shape(optarg);
				break;
			case 'o':
				plan.shuffled = parse_order(optarg);
				break;
			case 'd':
				plan.day = parse_count(optarg, 1, 1000);
				break;
			default:
				usage();
		}
	if (optind != argc - 1 || plan.experiments == 0)
		usage();
	if (plan.users == 0)
		plan.users = plan.experiments < 10 ? 1 : plan.experiments / 10;
	plan.dir = argv[optind];
	return plan;
}

int
main(int argc, char **argv)
{
	Plan plan = parse_arguments(argc, argv);

	if (mkdir(plan.dir, 0777) != 0 && errno != EEXIST)
		die("could not create", plan.dir);
	if (plan.day == 0)
	{
		write_users(&plan);
		write_compounds(&plan);
	}
	write_experiments(&plan);
	return 0;
}
