/*
 * derive_report.h
 *		What a caller learns of files that were read: counts, notes, rejects.
 */
#ifndef EF_DERIVE_REPORT_H
#define EF_DERIVE_REPORT_H

#include "nodes/pg_list.h"
#include "record.h"
#include "reject.h"

typedef struct EfKindCounts
{
	int64 read; /* = loaded + rejected */
	int64 loaded;
	int64 rejected;
	double seconds;
} EfKindCounts;

/* What was found out about one file. */
typedef struct EfFileNote
{
	EfKind kind;
	const char *file;
	int64 bytes;   /* as on disk */
	int64 records; /* header not counted */
	const char *compression;
	const char *encoding;
	EfDialect dialect;
	EfNewlineCounts newlines;
	int64 header_line; /* 0: none */
	List *ignored;	   /* names of columns of no use, as in the file */
} EfFileNote;

typedef struct EfReport
{
	const char *source; /* the directory's path */
	int64 bytes;
	EfKindCounts kinds[EF_KINDS];
	int64 unknown_compounds;
	List *files; /* EfFileNote */
} EfReport;

/* Is given each reject. */
typedef void (*EfRejectFn)(void *arg, const EfReject *reject);

#endif /* EF_DERIVE_REPORT_H */
