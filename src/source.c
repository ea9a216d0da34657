/*
 * source.c
 *		A directory's part files, and the text of one file.
 *
 *	read(2) - [inflate] - [decode] -> UTF-8 text
 *
 * Files are read, never mapped: a mapped file that is cut short meanwhile would
 * take the server down. One that changed while it was read is an error.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "encoding.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "source.h"
#include "source_inflate.h"
#include "source_open.h"
#include "utils/memutils.h"

#define DECODE_SIZE (64 * 1024)

/* Longer than any magic number or byte order mark. */
#define START_SIZE 4

struct EfSource
{
	MemoryContext context;
	char *path;
	int fd;
	const EfSpool *spool; /* in place of a directory; NULL: there is one */
	bool listed;
	List *names; /* of the files in it, sorted; listed once */
};

/* The first bytes of a stream, looked at and then given out first. */
typedef struct Start
{
	char bytes[START_SIZE];
	size_t len;
	size_t pos;
} Start;

struct EfFile
{
	MemoryContext context;
	char *name;
	int fd;
	EfText memory; /* in place of fd; data NULL: there is one */
	struct stat before;
	int64 bytes; /* read from disk */
	bool sought; /* not read from its first byte on */
	bool ended;	 /* read to its last one */
	Start raw_start;
	EfCompression compression;
	EfInflater *inflater;
	Start text_start;
	int64 text_offset;
	EfDecoder decoder;
	char *undecoded;
	size_t undecoded_len;
	char *decoded;
	size_t decoded_len;
	size_t decoded_pos;
	bool eof;
};

void
EfSourceInit(void)
{
	EfSourceOpenInit();
	EfInflateInit();
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* Finds all names in the directory but "." and "..", sorted. */
static void
list_directory(EfSource *source)
{
	MemoryContext old;
	int fd = fcntl(source->fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL)
	{
		int error = errno;

		if (fd >= 0)
			close(fd);
		errno = error;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open directory \"%s\": %m", source->path)));
	}
	old = MemoryContextSwitchTo(source->context);
	PG_TRY();
	{
		while (errno = 0, (entry = readdir(dir)) != NULL)
		{
			CHECK_FOR_INTERRUPTS();
			if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
				source->names = lappend(source->names, pstrdup(entry->d_name));
		}
		if (errno != 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read directory \"%s\": %m", source->path)));
	}
	PG_FINALLY();
	{
		closedir(dir);
	}
	PG_END_TRY();
	list_sort(source->names, compare_names);
	MemoryContextSwitchTo(old);
}

static EfSource *
begin_source(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "eikon_features source",
												  ALLOCSET_SMALL_SIZES);
	EfSource *source = MemoryContextAllocZero(context, sizeof(EfSource));

	source->context = context;
	return source;
}

EfSource *
EfSourceOpen(MemoryContext parent, const char *path)
{
	EfSource *source = begin_source(parent);

	source->fd = EfOpenDirectory(source->context, path, &source->path);
	return source;
}

EfSource *
EfSourceOpenSpool(MemoryContext parent, const char *path, const EfSpool *spool)
{
	EfSource *source = begin_source(parent);

	source->path = MemoryContextStrdup(source->context, path);
	source->spool = spool;
	return source;
}

void
EfSourceShare(const EfSource *source, EfSourceShared *shared)
{
	strlcpy(shared->path, source->path, sizeof(shared->path));
	shared->spooled = source->spool != NULL;
	if (shared->spooled)
		shared->spool = *source->spool;
}

EfSource *
EfSourceAttach(MemoryContext parent, const EfSourceShared *shared)
{
	if (shared->spooled)
		return EfSourceOpenSpool(parent, shared->path, &shared->spool);
	return EfSourceOpen(parent, shared->path);
}

void
EfSourceClose(EfSource *source)
{
	MemoryContextDelete(source->context);
}

const char *
EfSourcePath(const EfSource *source)
{
	return source->path;
}

const char *
EfSourceName(const char *path)
{
	return path != NULL ? path : EfDefaultDirectory();
}

static bool
ends_with(const char *s, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len > n && pg_strncasecmp(s + len - n, end, n) == 0;
}

/* csv, tsv or txt, and perhaps .gz or .zst */
static bool
has_extension(const char *name, size_t len)
{
	if (ends_with(name, len, ".gz"))
		len -= 3;
	else if (ends_with(name, len, ".zst"))
		len -= 4;
	return ends_with(name, len, ".csv") || ends_with(name, len, ".tsv") ||
		   ends_with(name, len, ".txt");
}

/*
 * Whether it is a part of the kind: <kind>.<ext> or <kind>[._-]*.<ext>. One that
 * looks like it, such as "users2.csv", is not passed over in silence.
 */
static bool
is_part_of(const char *name, const char *kind_name)
{
	size_t n = strlen(kind_name);

	if (pg_strncasecmp(name, kind_name, n) != 0 || !has_extension(name, strlen(name)))
		return false;
	if (strchr("._-", name[n]) != NULL)
		return true;
	if (pg_verifymbstr(name, (int) strlen(name), true))
		ereport(NOTICE,
				(errmsg("file \"%s\" is not read", name),
				 errhint("Parts of the %s are named %s.csv, %s_<part>.csv, %s-<part>.csv or %s.<part>.csv.",
						 kind_name, kind_name, kind_name, kind_name, kind_name)));
	return false;
}

/* What is there instead, for an error's detail. */
static char *
describe_names(List *names)
{
	StringInfoData text;
	ListCell *cell;
	int n = 0;

	if (names == NIL)
		return pstrdup("The directory is empty.");
	initStringInfo(&text);
	appendStringInfoString(&text, "The directory holds ");
	foreach(cell, names)
	{
		if (n == 10)
		{
			appendStringInfo(&text, " and %d more", list_length(names) - n);
			break;
		}
		appendStringInfo(&text, "%s\"%s\"", n++ > 0 ? ", " : "", (char *) lfirst(cell));
	}
	appendStringInfoChar(&text, '.');
	if (!pg_verifymbstr(text.data, text.len, true))
		return pstrdup("The directory holds names that are not valid text.");
	return text.data;
}

List *
EfSourceFiles(EfSource *source, EfKind kind)
{
	const char *kind_name = EfKindNames[kind];
	List *parts = NIL;
	ListCell *cell;

	if (source->spool != NULL)
		return list_make1(pstrdup(source->spool->names[kind]));
	if (!source->listed)
		list_directory(source);
	source->listed = true;
	foreach(cell, source->names)
	{
		const char *name = lfirst(cell);

		if (!is_part_of(name, kind_name))
			continue;
		if (!pg_verifymbstr(name, (int) strlen(name), true))
			ereport(ERROR,
					(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
					 errmsg("a %s file in \"%s\" has a name that is not valid text",
							kind_name, source->path),
					 errhint("Rename it.")));
		parts = lappend(parts, pstrdup(name)); /* to outlive the source */
	}
	if (parts == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("no %s file in \"%s\"", kind_name, source->path),
				 errdetail("%s", describe_names(source->names)),
				 errhint("Name it %s.csv, or %s_<part>.csv for parts; .tsv and .txt will do, and .gz or .zst after them.",
						 kind_name, kind_name)));
	return parts;
}

/* --- one file --- */

static size_t
take(Start *start, char *buf, size_t len)
{
	len = Min(len, start->len - start->pos);
	memcpy(buf, start->bytes + start->pos, len);
	start->pos += len;
	return len;
}

static void
fail_read(const EfFile *file)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not read file \"%s\": %m", file->name)));
}

static size_t
read_memory(EfFile *file, char *buf, size_t len)
{
	len = Min(len, file->memory.len - (size_t) file->bytes);
	memcpy(buf, file->memory.data + file->bytes, len);
	file->bytes += (int64) len;
	return len;
}

/* The bytes as they lie on disk. */
static size_t
read_raw(void *arg, char *buf, size_t len)
{
	EfFile *file = arg;
	ssize_t got;

	if (file->raw_start.pos < file->raw_start.len)
		return take(&file->raw_start, buf, len);
	if (file->memory.data != NULL)
		return read_memory(file, buf, len);
	do
	{
		CHECK_FOR_INTERRUPTS();
		pgstat_report_wait_start(WAIT_EVENT_COPY_FILE_READ);
		got = read(file->fd, buf, len);
		pgstat_report_wait_end();
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		fail_read(file);
	file->bytes += got;
	file->ended |= got == 0 && len > 0;
	return (size_t) got;
}

/* The bytes decompressed. */
static size_t
read_plain(EfFile *file, char *buf, size_t len)
{
	if (file->text_start.pos < file->text_start.len)
		return take(&file->text_start, buf, len);
	if (file->inflater != NULL)
		return EfInflateRead(file->inflater, buf, len);
	return read_raw(file, buf, len);
}

/* Fills start with what read gives first. */
static void
fill_start(Start *start, EfFile *file, bool raw)
{
	size_t len = 0;
	size_t got;

	do
	{
		char *to = start->bytes + len;

		got = raw ? read_raw(file, to, START_SIZE - len) : read_plain(file, to, START_SIZE - len);
		len += got;
	} while (got > 0 && len < START_SIZE);
	start->len = len;
}

/* Finds the encoding and steps over a byte order mark. */
static void
detect_encoding(EfFile *file, int encoding)
{
	Start *start = &file->text_start;
	int marked = EF_ENCODING_AUTO;
	size_t mark = 2;

	if (start->len >= 3 && memcmp(start->bytes, "\xEF\xBB\xBF", 3) == 0)
	{
		marked = PG_UTF8;
		mark = 3;
	}
	else if (start->len >= 2 && memcmp(start->bytes, "\xFF\xFE", 2) == 0)
		marked = EF_UTF16LE;
	else if (start->len >= 2 && memcmp(start->bytes, "\xFE\xFF", 2) == 0)
		marked = EF_UTF16BE;

	/* the option is for all files of a source, the mark for this one */
	if (marked != EF_ENCODING_AUTO)
		encoding = marked;
	else if (encoding == EF_ENCODING_AUTO)
		encoding = PG_UTF8;
	if (marked == encoding)
	{
		start->pos = mark;
		if (encoding == PG_UTF8)
			file->text_offset = (int64) mark;
	}
	EfDecoderBegin(&file->decoder, encoding);
}

static EfFile *
begin_file(MemoryContext parent, const char *name)
{
	MemoryContext context = AllocSetContextCreate(parent, "eikon_features file",
												  ALLOCSET_DEFAULT_SIZES);
	EfFile *file = MemoryContextAllocZero(context, sizeof(EfFile));

	file->context = context;
	file->name = MemoryContextStrdup(context, name);
	return file;
}

/* Files of formats that are often given the name of a text file. */
static void
refuse_foreign(const EfFile *file)
{
	static const struct
	{
		const char *magic;
		const char *format;
		const char *hint;
	} foreign[] = {
		{"PK\x03\x04", "a ZIP archive", "Workbooks must be saved as CSV, archives unpacked."},
		{"\xD0\xCF\x11\xE0", "an old workbook", "Workbooks must be saved as CSV."},
		{"BZh", "a bzip2 file", "Only gzip and Zstandard are decompressed."},
		{"\xFD"
		 "7zX",
		 "an xz file", "Only gzip and Zstandard are decompressed."},
		{"PAR1", "a Parquet file", "Only delimited text is read."},
	};

	for (size_t i = 0; i < lengthof(foreign); i++)
		if (file->raw_start.len == START_SIZE &&
			memcmp(file->raw_start.bytes, foreign[i].magic, strlen(foreign[i].magic)) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
					 errmsg("file \"%s\" is not text: it begins like %s", file->name,
							foreign[i].format),
					 errhint("%s", foreign[i].hint)));
}

static void
take_status(const EfFile *file, struct stat *status)
{
	if (fstat(file->fd, status) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", file->name)));
}

static void
start_reading(EfFile *file, int encoding)
{
	if (file->memory.data != NULL)
		file->before.st_size = file->memory.len;
	else
		take_status(file, &file->before);
	fill_start(&file->raw_start, file, true);
	refuse_foreign(file);
	file->compression = EfCompressionOf(file->raw_start.bytes, file->raw_start.len);
	if (file->compression != EF_PLAIN)
		file->inflater = EfInflateBegin(file->context, file->compression, read_raw, file,
										file->name);
	fill_start(&file->text_start, file, false);
	detect_encoding(file, encoding);
}

EfFile *
EfFileOpen(EfSource *source, EfKind kind, const char *name, int encoding)
{
	EfFile *file = begin_file(source->context, name);

	file->fd = source->spool != NULL ? EfSpoolOpen(file->context, source->spool, kind) :
									   EfOpenFile(file->context, source->fd, name);
	start_reading(file, encoding);
	return file;
}

EfFile *
EfFileOpenPath(MemoryContext parent, const char *path, int encoding)
{
	EfFile *file = begin_file(parent, path);

	file->fd = EfOpenPath(file->context, path);
	start_reading(file, encoding);
	return file;
}

EfFile *
EfFileOpenBytes(MemoryContext parent, const char *name, EfText bytes, int encoding)
{
	EfFile *file = begin_file(parent, name);

	file->memory = bytes;
	start_reading(file, encoding);
	return file;
}

/* Decodes the next block; false at the end. */
static bool
decode_block(EfFile *file)
{
	while (!file->eof)
	{
		size_t got;
		size_t taken;

		if (file->decoded == NULL)
		{
			file->undecoded = MemoryContextAlloc(file->context, DECODE_SIZE);
			file->decoded = MemoryContextAlloc(file->context, DECODE_SIZE * EF_GROWTH + 1);
		}
		got = read_plain(file, file->undecoded + file->undecoded_len,
						 DECODE_SIZE - file->undecoded_len);
		file->eof = got == 0;
		file->undecoded_len += got;
		taken = EfDecode(&file->decoder, file->undecoded, file->undecoded_len, file->eof,
						 file->decoded, &file->decoded_len);
		memmove(file->undecoded, file->undecoded + taken, file->undecoded_len - taken);
		file->undecoded_len -= taken;
		file->decoded_pos = 0;
		if (file->decoded_len > 0)
			return true;
	}
	return false;
}

size_t
EfFileRead(void *arg, char *buf, size_t len)
{
	EfFile *file = arg;

	if (file->decoder.encoding == PG_UTF8)
		return read_plain(file, buf, len);
	if (file->decoded_pos == file->decoded_len && !decode_block(file))
		return 0;
	len = Min(len, file->decoded_len - file->decoded_pos);
	memcpy(buf, file->decoded + file->decoded_pos, len);
	file->decoded_pos += len;
	return len;
}

size_t
EfFileReadBytes(EfFile *file, int64 offset, char *buf, size_t len)
{
	ssize_t got;

	do
	{
		CHECK_FOR_INTERRUPTS();
		pgstat_report_wait_start(WAIT_EVENT_COPY_FILE_READ);
		got = pread(file->fd, buf, len, (off_t) offset);
		pgstat_report_wait_end();
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		fail_read(file);
	return (size_t) got;
}

int64
EfFileBytesRead(const EfFile *file)
{
	return file->bytes;
}

int64
EfFileTextOffset(const EfFile *file)
{
	return file->text_offset;
}

int
EfFileEncoding(const EfFile *file)
{
	return file->decoder.encoding;
}

const char *
EfFileCompression(const EfFile *file)
{
	static const char *const names[] = {"none", "gzip", "zstd"};

	return names[file->compression];
}

static EfFileStamp
make_stamp(const struct stat *status)
{
	return (EfFileStamp){
		.device = status->st_dev,
		.inode = status->st_ino,
		.size = status->st_size,
		.seconds = status->st_mtim.tv_sec,
		.nanoseconds = status->st_mtim.tv_nsec,
	};
}

EfFileStamp
EfFileStampOf(const EfFile *file)
{
	return make_stamp(&file->before);
}

static bool
is_same(const EfFileStamp *a, const EfFileStamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
		   a->seconds == b->seconds && a->nanoseconds == b->nanoseconds;
}

static void
refuse_changed(const EfFile *file)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("file \"%s\" changed while it was read", file->name),
			 errhint("Write files under another name and rename them when they are complete.")));
}

void
EfFileCheckStamp(const EfFile *file, const EfFileStamp *stamp)
{
	EfFileStamp own = EfFileStampOf(file);

	if (!is_same(&own, stamp))
		refuse_changed(file);
}

bool
EfFileIsPlain(const EfFile *file)
{
	return file->compression == EF_PLAIN && file->decoder.encoding == PG_UTF8;
}

void
EfFileSeek(EfFile *file, int64 offset)
{
	Assert(EfFileIsPlain(file));
	if (lseek(file->fd, (off_t) offset, SEEK_SET) < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not seek in file \"%s\": %m", file->name)));
	file->raw_start.pos = file->raw_start.len;
	file->text_start.pos = file->text_start.len;
	file->sought = true;
}

static void
check_unchanged(const EfFile *file)
{
	struct stat status;
	EfFileStamp before = EfFileStampOf(file);
	EfFileStamp after;

	take_status(file, &status);
	after = make_stamp(&status);
	if (!is_same(&before, &after) || (file->ended && !file->sought && file->bytes != after.size))
		refuse_changed(file);
}

void
EfFileClose(EfFile *file)
{
	if (file->memory.data == NULL)
		check_unchanged(file);
	MemoryContextDelete(file->context);
}
