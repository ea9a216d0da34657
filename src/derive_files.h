/*
 * derive_files.h
 *		The files of a source, by kind, and what their beginnings show.
 */
#ifndef EF_DERIVE_FILES_H
#define EF_DERIVE_FILES_H

#include "derive_input.h"
#include "source_fingerprint.h"

/* All of them, in the order to read them. */
typedef struct EfFiles
{
	EfSource *source;
	const EfOptions *options;
	int n[EF_KINDS];
	EfFileInfo *infos[EF_KINDS];
	EfFileNote **notes[EF_KINDS];
	int64 bytes[EF_KINDS]; /* of text, roughly */
} EfFiles;

/*
 * Looks at the beginning of every file of a kind, before anything is read, and
 * adds the files to the report.
 */
extern void EfFilesDetect(EfFiles *files, EfKind kind, List *names, EfReport *report);

/* Opens a file again, which must still be the same. */
extern EfFile *EfFilesOpen(const EfFiles *files, const EfFileInfo *info);

/* Adds a file, by its name and bytes. done bytes came before; returns how many they are now. */
extern int64 EfFilesFingerprint(const EfFiles *files, EfFingerprint *fingerprint,
								const EfFileInfo *info, int64 done);

#endif /* EF_DERIVE_FILES_H */
