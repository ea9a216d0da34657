/*
 * source.h
 *		Where bytes come from: allowed directories, part files, one file's text.
 *
 * Everything opened is closed when the memory context goes, so an error thrown
 * anywhere leaks nothing.
 */
#ifndef EF_SOURCE_H
#define EF_SOURCE_H

#include "eikon_features.h"
#include "nodes/pg_list.h"
#include "source_spool.h"

typedef struct EfSource EfSource;
typedef struct EfFile EfFile;

/* Defines eikon_features.data_directory and .max_decompressed_size. */
extern void EfSourceInit(void);

/*
 * Opens a directory to read from; NULL is eikon_features.data_directory. Roles
 * with the privileges of pg_read_server_files may name any, others only what
 * lies beneath that setting, symbolic links not followed. Throws.
 */
extern EfSource *EfSourceOpen(MemoryContext parent, const char *path);

/* The same for what was spooled; path is what it is to be called. */
extern EfSource *EfSourceOpenSpool(MemoryContext parent, const char *path, const EfSpool *spool);

/* What other processes of a run open the source by; in shared memory. */
typedef struct EfSourceShared
{
	char path[MAXPGPATH];
	bool spooled;
	EfSpool spool;
} EfSourceShared;

extern void EfSourceShare(const EfSource *source, EfSourceShared *shared);
extern EfSource *EfSourceAttach(MemoryContext parent, const EfSourceShared *shared);

/*
 * Names of the files of a kind, in the order to read them: "users.csv",
 * "users_2024-01-31.tsv.gz" and the like for EF_USERS. Throws when there is none.
 */
extern List *EfSourceFiles(EfSource *source, EfKind kind);

extern void EfSourceClose(EfSource *source);

/* The directory's path, as it was resolved. */
extern const char *EfSourcePath(const EfSource *source);

/* What to call a source, by that path or NULL, that has not been opened. */
extern const char *EfSourceName(const char *path);

/*
 * Opens a file of the source, or any file under the same rules. encoding is
 * one of encoding.h, EF_ENCODING_AUTO for UTF-8; a byte order mark counts more.
 * Compression is detected by its first bytes.
 */
extern EfFile *EfFileOpen(EfSource *source, EfKind kind, const char *name, int encoding);
extern EfFile *EfFileOpenPath(MemoryContext parent, const char *path, int encoding);

/* The same for bytes in memory, which must stay there; to be read from first to last. */
extern EfFile *EfFileOpenBytes(MemoryContext parent, const char *name, EfText bytes, int encoding);

/* What tells one version of a file from another. */
typedef struct EfFileStamp
{
	uint64 device;
	uint64 inode;
	int64 size;
	int64 seconds; /* of its last change */
	int64 nanoseconds;
} EfFileStamp;

extern EfFileStamp EfFileStampOf(const EfFile *file);

/* Throws unless the file is the one that bore that stamp. */
extern void EfFileCheckStamp(const EfFile *file, const EfFileStamp *stamp);

/* Whether reading can begin anywhere, with EfFileSeek: it is plain UTF-8. */
extern bool EfFileIsPlain(const EfFile *file);

/* Goes on reading at that offset of the file, as it lies on disk. */
extern void EfFileSeek(EfFile *file, int64 offset);

/* An EfReadFn: the file's text, decompressed and in UTF-8, no byte order mark. */
extern size_t EfFileRead(void *file, char *buf, size_t len);

/* The bytes as they lie on disk, from that offset on; 0 at the end. */
extern size_t EfFileReadBytes(EfFile *file, int64 offset, char *buf, size_t len);

/* How many have been read of them by EfFileRead. */
extern int64 EfFileBytesRead(const EfFile *file);

/* Offset of the first byte that EfFileRead gives: the length of the mark. */
extern int64 EfFileTextOffset(const EfFile *file);

extern int EfFileEncoding(const EfFile *file);
extern const char *EfFileCompression(const EfFile *file); /* "none", "gzip", "zstd" */

/* Closes it. Throws if it changed since it was opened. */
extern void EfFileClose(EfFile *file);

#endif /* EF_SOURCE_H */
