/*
 * derive_stream.c
 *		Streams of bytes, written by several processes, read by any.
 *
 *	streams -> parts[writer][stream] -> refs[block] -> bytes, in memory or in a file
 *
 * A part has one writer, and is read when that has ended, so nothing here is
 * locked; whoever runs the processes sees to the order.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include "derive_stream.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "storage/dsm_impl.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* Where one block is. */
typedef struct Ref
{
	uint64 at; /* dsa_pointer, or offset in the writer's file */
	uint32 len;
	uint32 size; /* of the memory; 0: in the file */
	uint64 tag;
} Ref;

/* What one writer wrote to one stream. */
typedef struct Part
{
	dsa_pointer refs;
	uint32 nblocks;
	uint32 room;
} Part;

struct EfStreamReader
{
	EfPool *pool;
	EfStreams *streams;
	Part *parts;
	BufFile **files; /* by writer, opened at need */
};

static int pool_size = 512 * 1024;

void
EfStreamInit(void)
{
	/*
	 * Raise it where sources are larger and memory is to spare, so that less
	 * goes through temporary files; lower it where many derive at a time.
	 */
	DefineCustomIntVariable("eikon_features.work_mem",
							"Memory that a derivation may use for what it has read.",
							"What does not fit goes to temporary files. All processes of a derivation share it.",
							&pool_size, 512 * 1024, 64, MAX_KILOBYTES,
							PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* --- the pool --- */

uint64
EfPoolLimit(void)
{
	/* the rest is for what each process has of its own */
	return (uint64) pool_size * 1024 / 16 * 15;
}

/* A cancel would leave files behind, since it interrupts the going through directories. */
static void
delete_temporary_files(void *files)
{
	HOLD_INTERRUPTS();
	FileSetDeleteAll((FileSet *) files);
	RESUME_INTERRUPTS();
}

/*
 * Shared memory may have less room than the limit; containers often give it 64
 * MB. At most half of what is free there is taken, since running out is an error.
 */
static uint64
room_in_shared_memory(uint64 limit)
{
	struct statvfs fs;

	if (dynamic_shared_memory_type != DSM_IMPL_POSIX || statvfs("/dev/shm", &fs) != 0)
		return limit;
	return Min(limit, (uint64) fs.f_bavail * fs.f_frsize / 2);
}

void
EfPoolBegin(EfPool *pool, EfPoolShared *shared, uint64 limit, MemoryContext context)
{
	static int tranche = 0;
	FileSet *files;
	MemoryContextCallback *callback;

	if (tranche == 0)
		tranche = LWLockNewTrancheId();
	LWLockRegisterTranche(tranche, "eikon_features");
	pool->shared = shared;
	pool->context = context;
	pool->area = dsa_create(tranche);
	shared->area = dsa_get_handle(pool->area);
	shared->limit = room_in_shared_memory(limit);
	pg_atomic_init_u64(&shared->used, 0);
	FileSetInit(&shared->files);

	/* shared memory may be gone by the time that the files are to be deleted */
	files = MemoryContextAlloc(context, sizeof(FileSet));
	*files = shared->files;
	callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));
	callback->func = delete_temporary_files;
	callback->arg = files;
	MemoryContextRegisterResetCallback(context, callback);
}

void
EfPoolAttach(EfPool *pool, EfPoolShared *shared, MemoryContext context)
{
	pool->shared = shared;
	pool->context = context;
	pool->area = dsa_attach(shared->area);
}

void
EfPoolEnd(EfPool *pool)
{
	dsa_detach(pool->area);
	pool->area = NULL;
}

dsa_pointer
EfPoolAlloc(EfPool *pool, size_t size)
{
	return dsa_allocate_extended(pool->area, size, DSA_ALLOC_HUGE | DSA_ALLOC_ZERO);
}

void *
EfPoolAddress(EfPool *pool, dsa_pointer pointer)
{
	return dsa_get_address(pool->area, pointer);
}

void
EfPoolFree(EfPool *pool, dsa_pointer pointer)
{
	if (DsaPointerIsValid(pointer))
		dsa_free(pool->area, pointer);
}

/* Takes size bytes from the pool's limit; false when there is not that much left. */
static bool
reserve(EfPool *pool, size_t size, bool anyway)
{
	if (pg_atomic_add_fetch_u64(&pool->shared->used, (int64) size) <= pool->shared->limit ||
		anyway)
		return true;
	pg_atomic_sub_fetch_u64(&pool->shared->used, (int64) size);
	return false;
}

static void
free_block(EfPool *pool, dsa_pointer block, size_t size)
{
	dsa_free(pool->area, block);
	pg_atomic_sub_fetch_u64(&pool->shared->used, (int64) size);
}

/* --- groups --- */

void
EfStreamsBegin(EfPool *pool, EfStreams *streams, uint32 nstreams, uint32 nwriters,
			   uint32 block_size)
{
	static uint32 id = 0;

	streams->id = id++;
	streams->nstreams = nstreams;
	streams->nwriters = nwriters;
	streams->block_size = block_size;
	streams->parts = EfPoolAlloc(pool, sizeof(Part) * nstreams * nwriters);
}

static void
name_file(const EfStreams *streams, uint32 writer, char *name)
{
	snprintf(name, MAXPGPATH, "%u.%u", streams->id, writer);
}

static Part *
part_of(const EfStreams *streams, Part *parts, uint32 stream, uint32 writer)
{
	return &parts[(size_t) writer * streams->nstreams + stream];
}

static void
release_part(EfPool *pool, Part *part)
{
	Ref *refs;

	if (!DsaPointerIsValid(part->refs))
		return;
	refs = dsa_get_address(pool->area, part->refs);
	for (uint32 i = 0; i < part->nblocks; i++)
		if (refs[i].size > 0)
			free_block(pool, refs[i].at, refs[i].size);
	dsa_free(pool->area, part->refs);
	part->refs = InvalidDsaPointer;
	part->nblocks = 0;
	part->room = 0;
}

void
EfStreamsEnd(EfPool *pool, EfStreams *streams)
{
	Part *parts;

	if (!DsaPointerIsValid(streams->parts))
		return;
	parts = dsa_get_address(pool->area, streams->parts);
	for (size_t i = 0; i < (size_t) streams->nstreams * streams->nwriters; i++)
		release_part(pool, &parts[i]);
	dsa_free(pool->area, streams->parts);
	streams->parts = InvalidDsaPointer;
	for (uint32 i = 0; i < streams->nwriters; i++)
	{
		char name[MAXPGPATH];

		name_file(streams, i, name);
		BufFileDeleteFileSet(&pool->shared->files, name, true);
	}
}

/* --- writing --- */

EfStreamWriter *
EfStreamWriteBegin(EfPool *pool, EfStreams *streams, uint32 number)
{
	EfStreamWriter *writer = MemoryContextAllocZero(pool->context, sizeof(EfStreamWriter));

	writer->pool = pool;
	writer->streams = streams;
	writer->writer = number;
	writer->open = MemoryContextAllocZero(pool->context,
										  sizeof(EfOpenBlock) * streams->nstreams);
	return writer;
}

static Part *
writers_part(EfStreamWriter *writer, uint32 stream)
{
	return part_of(writer->streams, dsa_get_address(writer->pool->area, writer->streams->parts),
				   stream, writer->writer);
}

/* Adds a block to what can be read. */
static void
add_ref(EfStreamWriter *writer, uint32 stream, const Ref *ref)
{
	dsa_area *area = writer->pool->area;
	Part *part = writers_part(writer, stream);

	if (part->nblocks == part->room)
	{
		uint32 room = Max(part->room * 2, 4);
		dsa_pointer refs = dsa_allocate_extended(area, sizeof(Ref) * room, DSA_ALLOC_HUGE);

		if (part->nblocks > 0)
		{
			memcpy(dsa_get_address(area, refs), dsa_get_address(area, part->refs),
				   sizeof(Ref) * part->nblocks);
			dsa_free(area, part->refs);
		}
		part->refs = refs;
		part->room = room;
	}
	((Ref *) dsa_get_address(area, part->refs))[part->nblocks++] = *ref;
}

/* Adds the block that is open, as it is. */
static void
add_open(EfStreamWriter *writer, uint32 stream)
{
	const EfOpenBlock *open = &writer->open[stream];
	Ref ref = {open->block, (uint32) (open->at - open->start), (uint32) (open->end - open->start), open->tag};

	add_ref(writer, stream, &ref);
}

static void
write_to_file(EfStreamWriter *writer, uint32 stream, const char *data, size_t len)
{
	Ref ref = {writer->file_size, (uint32) len, 0, writer->open[stream].tag};

	if (writer->file == NULL)
	{
		char name[MAXPGPATH];
		MemoryContext old = MemoryContextSwitchTo(writer->pool->context);

		name_file(writer->streams, writer->writer, name);
		writer->file = BufFileCreateFileSet(&writer->pool->shared->files, name);
		MemoryContextSwitchTo(old);
	}
	BufFileWrite(writer->file, unconstify(char *, data), len);
	writer->file_size += len;
	add_ref(writer, stream, &ref);
}

static void
open_block(EfStreamWriter *writer, EfOpenBlock *open, size_t size)
{
	size = Max(size, writer->streams->block_size);
	open->block = dsa_allocate_extended(writer->pool->area, size, DSA_ALLOC_HUGE);
	open->start = open->at = dsa_get_address(writer->pool->area, open->block);
	open->end = open->start + size;
}

/* Ends the block that is open, if any, and makes room for size bytes. */
char *
EfStreamNewBlock(EfStreamWriter *writer, uint32 stream, size_t size)
{
	EfPool *pool = writer->pool;
	EfOpenBlock *open = &writer->open[stream];
	size_t needed = Max(size, writer->streams->block_size);

	CHECK_FOR_INTERRUPTS();
	if (open->start == NULL)
	{
		/* each stream has one block, whatever the limit */
		pg_atomic_add_fetch_u64(&pool->shared->used, (int64) needed);
		open_block(writer, open, size);
		return open->at;
	}
	if (reserve(pool, needed, writer->streams->in_memory))
	{
		add_open(writer, stream);
		open_block(writer, open, size);
		return open->at;
	}
	if (open->at > open->start)
		write_to_file(writer, stream, open->start, (size_t) (open->at - open->start));
	open->at = open->start;
	if ((size_t) (open->end - open->start) < needed)
	{
		free_block(pool, open->block, (size_t) (open->end - open->start));
		pg_atomic_add_fetch_u64(&pool->shared->used, (int64) needed);
		open_block(writer, open, size);
	}
	return open->at;
}

uint32
EfStreamCut(EfStreamWriter *writer, uint32 stream)
{
	EfOpenBlock *open = &writer->open[stream];

	if (open->at > open->start)
		(void) EfStreamNewBlock(writer, stream, writer->streams->block_size);
	return writers_part(writer, stream)->nblocks;
}

void
EfStreamFinish(EfStreamWriter *writer, uint32 stream)
{
	EfOpenBlock *open = &writer->open[stream];

	Assert(writer->streams->in_memory);
	if (open->start != NULL)
		add_open(writer, stream);
	memset(open, 0, sizeof(*open));
}

void
EfStreamWriteEnd(EfStreamWriter *writer)
{
	for (uint32 i = 0; i < writer->streams->nstreams; i++)
		if (writer->open[i].start != NULL)
			add_open(writer, i);
	if (writer->file != NULL)
	{
		BufFileExportFileSet(writer->file);
		BufFileClose(writer->file);
	}
	pfree(writer->open);
	pfree(writer);
}

/* --- reading --- */

EfStreamReader *
EfStreamReadBegin(EfPool *pool, EfStreams *streams)
{
	EfStreamReader *reader = MemoryContextAllocZero(pool->context, sizeof(EfStreamReader));

	reader->pool = pool;
	reader->streams = streams;
	reader->parts = dsa_get_address(pool->area, streams->parts);
	reader->files = MemoryContextAllocZero(pool->context, sizeof(BufFile *) * streams->nwriters);
	return reader;
}

uint32
EfStreamCount(EfStreamReader *reader, uint32 stream, uint32 writer)
{
	return part_of(reader->streams, reader->parts, stream, writer)->nblocks;
}

static void
read_from_file(EfStreamReader *reader, uint32 writer, uint64 at, char *to, size_t len)
{
	char name[MAXPGPATH];

	name_file(reader->streams, writer, name);
	if (reader->files[writer] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(reader->pool->context);

		reader->files[writer] = BufFileOpenFileSet(&reader->pool->shared->files, name, O_RDONLY,
												   false);
		MemoryContextSwitchTo(old);
	}
	if (BufFileSeek(reader->files[writer], 0, (off_t) at, SEEK_SET) != 0 ||
		BufFileRead(reader->files[writer], to, len) != len)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from temporary file \"%s\": %m", name)));
}

char *
EfStreamBlock(EfStreamReader *reader, uint32 stream, uint32 writer, uint32 block, size_t *len,
			  bool *copied)
{
	dsa_area *area = reader->pool->area;
	Part *part = part_of(reader->streams, reader->parts, stream, writer);
	const Ref *ref = (Ref *) dsa_get_address(area, part->refs) + block;
	char *copy;

	CHECK_FOR_INTERRUPTS();
	*len = ref->len;
	*copied = ref->size == 0;
	if (!*copied)
		return dsa_get_address(area, ref->at);
	copy = MemoryContextAllocExtended(CurrentMemoryContext, ref->len, MCXT_ALLOC_HUGE);
	read_from_file(reader, writer, ref->at, copy, ref->len);
	return copy;
}

uint64
EfStreamBlockTag(EfStreamReader *reader, uint32 stream, uint32 writer, uint32 block)
{
	Part *part = part_of(reader->streams, reader->parts, stream, writer);

	return ((Ref *) dsa_get_address(reader->pool->area, part->refs))[block].tag;
}

void
EfStreamRelease(EfStreamReader *reader, uint32 stream)
{
	for (uint32 i = 0; i < reader->streams->nwriters; i++)
		release_part(reader->pool, part_of(reader->streams, reader->parts, stream, i));
}

void
EfStreamReadEnd(EfStreamReader *reader)
{
	for (uint32 i = 0; i < reader->streams->nwriters; i++)
		if (reader->files[i] != NULL)
			BufFileClose(reader->files[i]);
	pfree(reader->files);
	pfree(reader);
}
