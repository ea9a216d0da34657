/*
 * source_inflate.c
 *		Decompression of gzip (zlib) and Zstandard (libzstd) files.
 */
#include "postgres.h"

#include <zlib.h>
#include <zstd.h>

#include "miscadmin.h"
#include "source_inflate.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define INPUT_SIZE (128 * 1024)

static int max_decompressed_size = 64 * 1024;

struct EfInflater
{
	MemoryContextCallback callback;
	EfCompression compression;
	EfReadFn read;
	void *read_arg;
	const char *name;
	char *input;
	size_t input_len;
	size_t input_pos;
	bool input_eof;
	bool between; /* at the start, or after a whole member or frame */
	int64 produced;
	z_stream gzip;
	ZSTD_DStream *zstd;
};

void
EfInflateInit(void)
{
	/*
	 * Lower it where strangers may put files: a few kilobytes can expand to
	 * terabytes and keep a run busy for hours.
	 */
	DefineCustomIntVariable("eikon_features.max_decompressed_size",
							"Largest size to which a compressed file may expand.",
							"0 means no limit.",
							&max_decompressed_size, 64 * 1024, 0, MAX_KILOBYTES,
							PGC_SUSET, GUC_UNIT_MB, NULL, NULL, NULL);
}

EfCompression
EfCompressionOf(const char *start, size_t len)
{
	if (len >= 2 && memcmp(start, "\x1f\x8b", 2) == 0)
		return EF_GZIP;
	if (len >= 4 && memcmp(start, "\x28\xb5\x2f\xfd", 4) == 0)
		return EF_ZSTD;
	return EF_PLAIN;
}

static void
inflate_free(void *arg)
{
	EfInflater *inflater = arg;

	if (inflater->compression == EF_GZIP)
		inflateEnd(&inflater->gzip);
	if (inflater->zstd != NULL)
		ZSTD_freeDStream(inflater->zstd);
}

static void *
zlib_alloc(void *opaque, unsigned int items, unsigned int size)
{
	return MemoryContextAllocExtended(opaque, (Size) items * size, MCXT_ALLOC_NO_OOM);
}

static void
zlib_free(void *opaque, void *address)
{
	(void) opaque;
	pfree(address);
}

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("Failed while preparing to decompress.")));
}

EfInflater *
EfInflateBegin(MemoryContext context, EfCompression compression, EfReadFn read, void *arg,
			   const char *name)
{
	EfInflater *inflater = MemoryContextAllocZero(context, sizeof(EfInflater));

	inflater->compression = compression;
	inflater->read = read;
	inflater->read_arg = arg;
	inflater->name = name;
	inflater->between = true;
	inflater->input = MemoryContextAlloc(context, INPUT_SIZE);
	inflater->gzip.zalloc = zlib_alloc;
	inflater->gzip.zfree = zlib_free;
	inflater->gzip.opaque = context;
	inflater->callback.func = inflate_free;
	inflater->callback.arg = inflater;
	if (compression == EF_GZIP && inflateInit2(&inflater->gzip, 15 + 16) != Z_OK)
		out_of_memory();
	if (compression == EF_ZSTD)
	{
		inflater->zstd = ZSTD_createDStream();
		if (inflater->zstd == NULL)
			out_of_memory();
	}
	MemoryContextRegisterResetCallback(context, &inflater->callback);
	return inflater;
}

static void
fail_corrupt(const EfInflater *inflater, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("could not decompress file \"%s\": %s", inflater->name, detail),
			 errhint("The file is damaged or was not written to its end; provide it again.")));
}

/* One call of zlib. *wrote says how much came out. */
static void
step_gzip(EfInflater *inflater, char *buf, size_t len, size_t *wrote)
{
	z_stream *gzip = &inflater->gzip;
	int status;

	if (inflater->between)
		(void) inflateReset(gzip);
	gzip->next_in = (Bytef *) inflater->input + inflater->input_pos;
	gzip->avail_in = (uInt) (inflater->input_len - inflater->input_pos);
	gzip->next_out = (Bytef *) buf;
	gzip->avail_out = (uInt) len;
	status = inflate(gzip, Z_NO_FLUSH);
	if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
		fail_corrupt(inflater, gzip->msg != NULL ? gzip->msg : "invalid data");
	inflater->input_pos = inflater->input_len - gzip->avail_in;
	inflater->between = status == Z_STREAM_END;
	*wrote = len - gzip->avail_out;
}

/* One call of libzstd. */
static void
step_zstd(EfInflater *inflater, char *buf, size_t len, size_t *wrote)
{
	ZSTD_inBuffer in = {inflater->input, inflater->input_len, inflater->input_pos};
	ZSTD_outBuffer out = {buf, len, 0};
	size_t status = ZSTD_decompressStream(inflater->zstd, &out, &in);

	if (ZSTD_isError(status))
		fail_corrupt(inflater, ZSTD_getErrorName(status));
	inflater->input_pos = in.pos;
	inflater->between = status == 0;
	*wrote = out.pos;
}

/* A gzip file may be padded with zeros, as on tapes. */
static void
skip_padding(EfInflater *inflater)
{
	while (inflater->input_pos < inflater->input_len &&
		   inflater->input[inflater->input_pos] == '\0')
		inflater->input_pos++;
}

size_t
EfInflateRead(EfInflater *inflater, char *buf, size_t len)
{
	size_t wrote = 0;

	while (wrote == 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (inflater->input_pos == inflater->input_len && !inflater->input_eof)
		{
			inflater->input_len = inflater->read(inflater->read_arg, inflater->input,
												 INPUT_SIZE);
			inflater->input_pos = 0;
			inflater->input_eof = inflater->input_len == 0;
		}
		if (inflater->compression == EF_GZIP && inflater->between && inflater->produced > 0)
			skip_padding(inflater);
		if (inflater->input_pos == inflater->input_len && !inflater->input_eof)
			continue;
		if (inflater->input_eof && inflater->between)
			return 0;
		if (inflater->compression == EF_GZIP)
			step_gzip(inflater, buf, len, &wrote);
		else
			step_zstd(inflater, buf, len, &wrote);
		if (wrote == 0 && inflater->input_eof && !inflater->between)
			fail_corrupt(inflater, "unexpected end of file");
	}
	inflater->produced += (int64) wrote;
	if (max_decompressed_size > 0 &&
		inflater->produced > (int64) max_decompressed_size * 1024 * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("file \"%s\" expands to more than %d MB", inflater->name,
						max_decompressed_size),
				 errhint("If that is its true size, raise eikon_features.max_decompressed_size.")));
	return wrote;
}
