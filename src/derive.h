/*
 * derive.h
 *		Wires the stages: a source in, features out.
 */
#ifndef EF_DERIVE_H
#define EF_DERIVE_H

#include "derive_report.h"
#include "options.h"
#include "source_spool.h"
#include "store_form.h"

/* Defines the settings of a derivation: eikon_features.max_line_size, .work_mem, .parallel_workers. */
extern void EfDeriveInit(void);

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

#endif /* EF_DERIVE_H */
