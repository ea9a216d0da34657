/*
 * source_inflate.h
 *		Decompression of gzip (zlib) and Zstandard (libzstd) files.
 */
#ifndef EF_SOURCE_INFLATE_H
#define EF_SOURCE_INFLATE_H

#include "eikon_features.h"

typedef enum EfCompression
{
	EF_PLAIN,
	EF_GZIP,
	EF_ZSTD
} EfCompression;

typedef struct EfInflater EfInflater;

/* Defines eikon_features.max_decompressed_size. */
extern void EfInflateInit(void);

/* What a file is compressed with, by its first bytes. */
extern EfCompression EfCompressionOf(const char *start, size_t len);

/* Bytes come from read(arg); name is for messages. Freed with context. */
extern EfInflater *EfInflateBegin(MemoryContext context, EfCompression compression,
								  EfReadFn read, void *arg, const char *name);

/* Up to len bytes of decompressed data; 0 at the end. Throws on corrupt data. */
extern size_t EfInflateRead(EfInflater *inflater, char *buf, size_t len);

#endif /* EF_SOURCE_INFLATE_H */
