/*
 * run_upload.h
 *		Files that come by SQL: checked and kept in eikon_uploads, one of each kind,
 *		until a run has read them.
 */
#ifndef EF_RUN_UPLOAD_H
#define EF_RUN_UPLOAD_H

#include "options.h"
#include "source_spool.h"
#include "utils/jsonb.h"

/* The source that they are. */
#define EF_UPLOADS "uploads:"

/* Defines eikon_features.max_upload_size. */
extern void EfUploadInit(void);

typedef struct EfUploaded
{
	int64 upload_id; /* 0: it was not kept */
	int64 records;
	int64 rejected;
	Jsonb *rejects; /* the first of them */
} EfUploaded;

/*
 * Checks a file, a bytea, and keeps it in place of the one of its kind unless it has
 * rejects that options->ignore does not allow. Throws what a run would where the
 * file as a whole is of no use. file_name may be NULL.
 */
extern void EfUpload(Oid schema, const char *kind, Datum content, const char *file_name,
					 const EfOptions *options, EfUploaded *uploaded);

/* --- as a source --- */

extern bool EfIsUploads(const char *source);

/* Throws unless there is one of each kind, and the role may read and remove them. */
extern void EfUploadsCheck(Oid schema);

typedef struct EfUploads
{
	int64 ids[EF_KINDS];
	EfSpool spool;
} EfUploads;

/*
 * Copies them, as they are at one moment, to a spool that lasts as long as the current memory
 * context, and returns that. NULL where the source is another one. With remove it is
 * checked that EfUploadsRemove can follow.
 */
extern const EfSpool *EfUploadsSpool(Oid schema, const char *source, bool remove,
									 EfUploads *uploads);

/* Removes those that were copied; what has come in their place stays. Needs EfQueryBegin. */
extern void EfUploadsRemove(Oid schema, const EfUploads *uploads);

#endif /* EF_RUN_UPLOAD_H */
