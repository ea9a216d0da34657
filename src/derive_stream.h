/*
 * derive_stream.h
 *		Streams of bytes that several processes write at a time, and that any of
 *		them reads later.
 *
 * A group is a number of streams for one purpose. Each process writes its own
 * part of each of them, in blocks; a piece written stays in one block. Blocks
 * are in shared memory until the limit of the pool is reached, then
 * in temporary files, which go with the pool whatever happens.
 */
#ifndef EF_DERIVE_STREAM_H
#define EF_DERIVE_STREAM_H

#include "port/atomics.h"
#include "storage/fileset.h"
#include "utils/dsa.h"

/* In shared memory: what the blocks of all groups may take. */
typedef struct EfPoolShared
{
	dsa_handle area;
	pg_atomic_uint64 used; /* bytes, less than limit */
	uint64 limit;
	FileSet files;
} EfPoolShared;

/* A process's access to it. */
typedef struct EfPool
{
	EfPoolShared *shared;
	dsa_area *area;
	MemoryContext context;
} EfPool;

/* In shared memory; made by one process before others write. */
typedef struct EfStreams
{
	uint32 id; /* names the files */
	uint32 nstreams;
	uint32 nwriters;
	uint32 block_size;
	bool in_memory;	   /* whatever the limit */
	dsa_pointer parts; /* by writer, then by stream */
} EfStreams;

typedef struct EfStreamWriter EfStreamWriter;
typedef struct EfStreamReader EfStreamReader;

/* Defines eikon_features.work_mem. */
extern void EfStreamInit(void);

/* Bytes that this setting allows to a pool. */
extern uint64 EfPoolLimit(void);

/*
 * Sets up an empty pool whose blocks are to take limit bytes, and is attached to
 * by others. The process that began it ends it last; files go with its context.
 */
extern void EfPoolBegin(EfPool *pool, EfPoolShared *shared, uint64 limit, MemoryContext context);
extern void EfPoolAttach(EfPool *pool, EfPoolShared *shared, MemoryContext context);
extern void EfPoolEnd(EfPool *pool);

/* Zeroed shared memory of the pool, without regard to its limit. */
extern dsa_pointer EfPoolAlloc(EfPool *pool, size_t size);
extern void *EfPoolAddress(EfPool *pool, dsa_pointer pointer);
extern void EfPoolFree(EfPool *pool, dsa_pointer pointer);

/* For streams that are expected to be short or empty. */
#define EF_BLOCK_LEAST 4096

extern void EfStreamsBegin(EfPool *pool, EfStreams *streams, uint32 nstreams, uint32 nwriters,
						   uint32 block_size);

/* Frees all that is left of them, when nobody reads or writes. */
extern void EfStreamsEnd(EfPool *pool, EfStreams *streams);

/* What a writer keeps of each stream at hand. */
typedef struct EfOpenBlock
{
	char *at;
	char *end;
	char *start;
	dsa_pointer block;
	uint64 tag;
} EfOpenBlock;

struct EfStreamWriter
{
	EfPool *pool;
	EfStreams *streams;
	uint32 writer;
	EfOpenBlock *open;
	struct BufFile *file;
	uint64 file_size;
};

extern EfStreamWriter *EfStreamWriteBegin(EfPool *pool, EfStreams *streams, uint32 writer);
extern char *EfStreamNewBlock(EfStreamWriter *writer, uint32 stream, size_t size);

/*
 * Where the next piece of a stream, of up to size bytes, is to be written. The
 * caller calls EfStreamWrote with the place after its last byte.
 */
static inline char *
EfStreamRoom(EfStreamWriter *writer, uint32 stream, size_t size)
{
	EfOpenBlock *open = &writer->open[stream];

	if (likely((size_t) (open->end - open->at) >= size))
		return open->at;
	return EfStreamNewBlock(writer, stream, size);
}

static inline void
EfStreamWrote(EfStreamWriter *writer, uint32 stream, char *end)
{
	writer->open[stream].at = end;
}

/* Whether the piece to be written at that place begins a block. */
static inline bool
EfStreamBegins(const EfStreamWriter *writer, uint32 stream, const char *at)
{
	return at == writer->open[stream].start;
}

/* A number to go with the block that was begun. */
static inline void
EfStreamTag(EfStreamWriter *writer, uint32 stream, uint64 tag)
{
	writer->open[stream].tag = tag;
}

/* Lets the next piece begin a block, whose number among this writer's is returned. */
extern uint32 EfStreamCut(EfStreamWriter *writer, uint32 stream);

/* Makes one stream readable, while others are still written; it must be in memory. */
extern void EfStreamFinish(EfStreamWriter *writer, uint32 stream);

/* Makes all that was written readable. */
extern void EfStreamWriteEnd(EfStreamWriter *writer);

extern EfStreamReader *EfStreamReadBegin(EfPool *pool, EfStreams *streams);

/* How many blocks a writer wrote to a stream. */
extern uint32 EfStreamCount(EfStreamReader *reader, uint32 stream, uint32 writer);

/*
 * One block of a stream, aligned. It is valid until EfStreamRelease, or when
 * it lies in a file (*copied), until the caller frees it.
 */
extern char *EfStreamBlock(EfStreamReader *reader, uint32 stream, uint32 writer, uint32 block,
						   size_t *len, bool *copied);

/* The number that goes with it. */
extern uint64 EfStreamBlockTag(EfStreamReader *reader, uint32 stream, uint32 writer, uint32 block);

/* Gives back the memory of a stream that is not needed again. */
extern void EfStreamRelease(EfStreamReader *reader, uint32 stream);

extern void EfStreamReadEnd(EfStreamReader *reader);

#endif /* EF_DERIVE_STREAM_H */
