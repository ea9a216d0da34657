/*
 * derive_preview.h
 *		What the reader makes of one file.
 */
#ifndef EF_DERIVE_PREVIEW_H
#define EF_DERIVE_PREVIEW_H

#include "options.h"
#include "record.h"

/*
 * Gives every record of a file, malformed ones included, to on_record. So it
 * does the header and what stands before it, unless options->dialect.header.
 */
typedef void (*EfRecordFn)(void *arg, const EfRecord *record);

extern void EfPreviewFile(const char *path, const EfOptions *options,
						  EfRecordFn on_record, void *arg);

#endif /* EF_DERIVE_PREVIEW_H */
