/*
 * derive_files.c
 *		The files of a source, by kind, and what their beginnings show.
 */
#include "postgres.h"

#include "derive_files.h"
#include "progress.h"

/* What compression saves, roughly. */
#define COMPRESSION 4

/* A fingerprint is taken of blocks that stay in a processor's cache. */
#define FINGERPRINT_BLOCK (256 * 1024)

/* Finds dialect and columns of a file, and where its data begins. */
static void
detect_file(const EfFiles *files, EfFileInfo *info, EfFileNote *note)
{
	EfPlace place = {.file = note->file};
	ErrorContextCallback callback = {.callback = EfPlaceContext, .arg = &place};
	EfInput input;

	callback.previous = error_context_stack;
	error_context_stack = &callback;

	EfInputBegin(&input, EfFileOpen(files->source, note->kind, note->file, files->options->encoding));
	EfInputDetect(&input, files->options, info, note);
	pfree(input.sample);
	EfFileClose(input.file);

	error_context_stack = callback.previous;
}

void
EfFilesDetect(EfFiles *files, EfKind kind, List *names, EfReport *report)
{
	ListCell *cell;
	int n = 0;

	files->infos[kind] = palloc0(sizeof(EfFileInfo) * (Size) list_length(names));
	files->notes[kind] = palloc(sizeof(EfFileNote *) * (Size) list_length(names));
	foreach(cell, names)
	{
		EfFileNote *note = palloc0(sizeof(EfFileNote));

		note->kind = kind;
		note->file = lfirst(cell);
		detect_file(files, &files->infos[kind][n], note);
		files->notes[kind][n] = note;
		report->files = lappend(report->files, note);
		report->bytes += note->bytes;
		files->bytes[kind] += note->bytes * (strcmp(note->compression, "none") == 0 ? 1 : COMPRESSION);
		n++;
	}
	files->n[kind] = n;
}

EfFile *
EfFilesOpen(const EfFiles *files, const EfFileInfo *info)
{
	EfFile *opened = EfFileOpen(files->source, info->map.kind, info->name, files->options->encoding);

	EfFileCheckStamp(opened, &info->stamp);
	return opened;
}

int64
EfFilesFingerprint(const EfFiles *files, EfFingerprint *fingerprint, const EfFileInfo *info,
				   int64 done)
{
	EfFile *opened = EfFilesOpen(files, info);
	char *buffer = palloc(FINGERPRINT_BLOCK);
	int64 offset = 0;
	size_t got;

	EfFingerprintAddText(fingerprint, info->name);
	EfFingerprintAdd(fingerprint, &info->stamp.size, sizeof(info->stamp.size));
	while ((got = EfFileReadBytes(opened, offset, buffer, FINGERPRINT_BLOCK)) > 0)
	{
		EfFingerprintAdd(fingerprint, buffer, got);
		offset += (int64) got;
		EfProgressRead(done + offset, 0, 0);
	}
	pfree(buffer);
	EfFileClose(opened);
	return done + offset;
}
