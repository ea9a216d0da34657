/*
 * derive_check.h
 *		What a run would make of one file, as far as that file alone can tell.
 */
#ifndef EF_DERIVE_CHECK_H
#define EF_DERIVE_CHECK_H

#include "derive_report.h"
#include "options.h"

/*
 * Reads one file of a kind by itself, in this process, and gives on_reject each of its
 * records that no run would take, but for what takes other files or all ids. Throws
 * where the file as a whole is of no use. name is for messages.
 */
extern void EfCheckFile(EfKind kind, const char *name, EfText bytes, const EfOptions *options,
						EfRejectFn on_reject, void *arg, EfKindCounts *counts);

#endif /* EF_DERIVE_CHECK_H */
