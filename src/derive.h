/*
 * derive.h
 *		Wires the stages: a source in, an aggregate or a preview out.
 */
#ifndef EF_DERIVE_H
#define EF_DERIVE_H

#include "dialect.h"
#include "options.h"
#include "record.h"
#include "reject.h"
#include "source_spool.h"
#include "store_form.h"

/* Defines eikon_features.max_line_size and .work_mem. */
extern void EfDeriveInit(void);

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

typedef struct EfDerivation EfDerivation;

/*
 * Opens a source and looks at the beginning of its files. path NULL is
 * eikon_features.data_directory. With a spool it is that which is read, under the name
 * path; it must stay. *report is filled as things become known; all memory is
 * in the current context. on_reject is given each reject; the first is thrown, too, unless
 * options->ignore, as is one too many.
 */
extern EfDerivation *EfDeriveBegin(const char *path, const EfSpool *spool,
								   const EfOptions *options, EfRejectFn on_reject, void *arg,
								   EfReport *report);

/* Reads all bytes for what tells this content, read in this way, from another. */
extern void EfDeriveFingerprint(EfDerivation *derivation, char *digits);

/* Reads the files and derives the features: rows of eikon_user_features or, with view, of features. */
extern void EfDeriveFeatures(EfDerivation *derivation, bool view);

/*
 * What was derived, to be had once: tuples by ascending user_id, then the known
 * compounds. Until all tuples have been given out, others may still be derived, in
 * PostgreSQL's parallel mode: rows can be inserted, but neither updated nor deleted.
 * Only then is report->unknown_compounds known.
 */
extern EfTuples EfDeriveTuples(EfDerivation *derivation);
extern EfCompounds EfDeriveCompounds(EfDerivation *derivation);

extern void EfDeriveEnd(EfDerivation *derivation);

/*
 * Gives every record of a file, malformed ones included, to on_record. So it
 * does the header and what stands before it, unless options->dialect.header.
 */
typedef void (*EfRecordFn)(void *arg, const EfRecord *record);

extern void EfPreviewFile(const char *path, const EfOptions *options,
						  EfRecordFn on_record, void *arg);

/*
 * Reads one file of a kind by itself, in this process, and gives on_reject each of its
 * records that no run would take, but for what takes other files or all ids. Throws
 * where the file as a whole is of no use. name is for messages.
 */
extern void EfCheckFile(EfKind kind, const char *name, EfText bytes, const EfOptions *options,
						EfRejectFn on_reject, void *arg, EfKindCounts *counts);

#endif /* EF_DERIVE_H */
