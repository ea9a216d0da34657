/*
 * record.c
 *		Times the extension's record stage against libcsv's callbacks on the same
 *		bytes in memory, on one core.
 *
 *	record FILE RUNS
 *
 * FILE is a user_experiments.csv. Each run prints a line: milliseconds of ours,
 * milliseconds of libcsv. Both must find the same records, fields and bytes.
 * The dialect is detected, as in a run of the extension.
 */
#include "server.h"

#include <csv.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dialect.h"
#include "record.h"

#define SAMPLE_SIZE (256 * 1024)
#define BLOCK_SIZE (256 * 1024)
#define MAX_RECORD (2 * 1024 * 1024)

static const char *const columns[] = {"experiment_id", "user_id", "experiment_compound_ids",
									  "experiment_run_time"};

/* What was found. sum takes the first byte of each field, so that all are touched. */
typedef struct Tally
{
	int64 records;
	int64 fields;
	int64 bytes;
	int64 sum;
} Tally;

static void
die(const char *what, const char *name)
{
	fprintf(stderr, "record: %s %s\n", what, name);
	exit(1);
}

static Pieces
read_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	char *data;
	size_t len = 0;

	if (fd < 0 || fstat(fd, &st) != 0)
		die("could not open", path);
	data = malloc((size_t) st.st_size + 1);
	if (data == NULL)
		die("no memory for", path);
	while (len < (size_t) st.st_size)
	{
		ssize_t n = read(fd, data + len, (size_t) st.st_size - len);

		if (n <= 0)
			die("could not read", path);
		len += (size_t) n;
	}
	close(fd);
	return (Pieces){.data = data, .len = len, .piece = len};
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static inline void
count_field(Tally *tally, const void *data, size_t len)
{
	tally->fields++;
	tally->bytes += (int64) len;
	if (len > 0)
		tally->sum += *(const unsigned char *) data;
}

static Tally
run_ours(Pieces input, const EfDetected *detected)
{
	Tally tally = {0};
	EfRecordReader *reader;
	EfRecord record;

	server_begin();
	reader = EfRecordBegin(CurrentMemoryContext, &detected->dialect, read_pieces, &input,
						   detected->data_line, (int64) input.pos, MAX_RECORD);
	while (EfRecordNext(reader, &record))
	{
		if (record.defect != EF_TAKEN)
			die("malformed record in", "the file");
		tally.records++;
		for (int i = 0; i < record.nfields; i++)
			count_field(&tally, record.fields[i].data, record.fields[i].len);
	}
	EfRecordEnd(reader);
	server_end();
	return tally;
}

static void
libcsv_field(void *data, size_t len, void *tally)
{
	count_field(tally, data, len);
}

static void
libcsv_record(int c, void *tally)
{
	((Tally *) tally)->records++;
}

static Tally
run_libcsv(Pieces input)
{
	Tally tally = {0};
	struct csv_parser parser;

	if (csv_init(&parser, 0) != 0)
		die("no memory for", "libcsv");
	/* by default its buffer grows by 128 bytes at a time */
	csv_set_blk_size(&parser, 16 * 1024);
	for (size_t pos = input.pos; pos < input.len; pos += BLOCK_SIZE)
	{
		size_t len = Min(BLOCK_SIZE, input.len - pos);

		if (csv_parse(&parser, input.data + pos, len, libcsv_field, libcsv_record, &tally) != len)
			die("libcsv:", csv_strerror(csv_error(&parser)));
	}
	csv_fini(&parser, libcsv_field, libcsv_record, &tally);
	csv_free(&parser);
	return tally;
}

int
main(int argc, char **argv)
{
	EfDialectOptions options = {0};
	EfDetected detected;
	Pieces input;

	if (argc != 3)
		die("usage:", "record FILE RUNS");
	input = read_file(argv[1]);
	server_begin();
	EfDialectDetect(input.data, Min(input.len, SAMPLE_SIZE), input.len <= SAMPLE_SIZE, &options,
					columns, lengthof(columns), MAX_RECORD, &detected);
	if (!detected.complete)
		die("no header in", argv[1]);
	input.pos = detected.data_offset;
	server_end();

	for (int run = atoi(argv[2]); run > 0; run--)
	{
		double start = now();
		Tally ours = run_ours(input, &detected);
		double between = now();
		Tally libcsv = run_libcsv(input);
		double end = now();

		if (memcmp(&ours, &libcsv, sizeof(Tally)) != 0)
			die("other records than libcsv's in", argv[1]);
		printf("%.3f %.3f\n", between - start, end - between);
	}
	return 0;
}
