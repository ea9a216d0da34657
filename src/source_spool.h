/*
 * source_spool.h
 *		Temporary files that a run reads in place of a directory: one of each kind.
 *
 * They are the server's own, beneath pgsql_tmp of temp_tablespaces, so that no role's
 * rights on files matter, and a crash leaves none.
 */
#ifndef EF_SOURCE_SPOOL_H
#define EF_SOURCE_SPOOL_H

#include "eikon_features.h"
#include "storage/fileset.h"

/* Longest name, in bytes, terminator included. */
#define EF_SPOOL_NAME 201

/* Can lie in shared memory. */
typedef struct EfSpool
{
	FileSet files;
	char names[EF_KINDS][EF_SPOOL_NAME]; /* as they are told of */
} EfSpool;

/* Without files, which will go with the context. */
extern void EfSpoolBegin(EfSpool *spool, MemoryContext context);

/* Makes the file of a kind, then gives it bytes, one piece after the other. */
extern File EfSpoolCreate(EfSpool *spool, EfKind kind, const char *name);
extern void EfSpoolWrite(File file, const char *data, size_t len, int64 offset);
extern void EfSpoolFinish(File file);

/* A descriptor to read the file of a kind by, closed with the context; from any process. */
extern int EfSpoolOpen(MemoryContext context, const EfSpool *spool, EfKind kind);

#endif /* EF_SOURCE_SPOOL_H */
