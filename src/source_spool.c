/*
 * source_spool.c
 *		Temporary files that a run reads in place of a directory.
 */
#include "postgres.h"

#include <fcntl.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "source_open.h"
#include "source_spool.h"

/* A cancel would leave files behind, since it interrupts the going through directories. */
static void
delete_files(void *files)
{
	HOLD_INTERRUPTS();
	FileSetDeleteAll((FileSet *) files);
	RESUME_INTERRUPTS();
}

void
EfSpoolBegin(EfSpool *spool, MemoryContext context)
{
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));
	FileSet *files = MemoryContextAlloc(context, sizeof(FileSet));

	memset(spool, 0, sizeof(*spool));
	FileSetInit(&spool->files);
	*files = spool->files;
	callback->func = delete_files;
	callback->arg = files;
	MemoryContextRegisterResetCallback(context, callback);
}

File
EfSpoolCreate(EfSpool *spool, EfKind kind, const char *name)
{
	strlcpy(spool->names[kind], name, EF_SPOOL_NAME);
	return FileSetCreate(&spool->files, EfKindNames[kind]);
}

void
EfSpoolWrite(File file, const char *data, size_t len, int64 offset)
{
	int wrote;

	errno = 0;
	wrote = (int) FileWrite(file, unconstify(char *, data), (int) len, (off_t) offset,
							WAIT_EVENT_BUFFILE_WRITE);
	if (wrote == (int) len)
		return;
	if (errno == 0)
		errno = ENOSPC;
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not write to file \"%s\": %m", FilePathName(file)),
			 errhint("Uploaded files are copied to temporary files before they are read; see temp_tablespaces.")));
}

void
EfSpoolFinish(File file)
{
	FileClose(file);
}

/* Opened once more, as the server may close its own descriptors for others' sake. */
int
EfSpoolOpen(MemoryContext context, const EfSpool *spool, EfKind kind)
{
	FileSet files = spool->files;
	File file = FileSetOpen(&files, EfKindNames[kind], O_RDONLY);
	char *path;

	if (file <= 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open temporary file \"%s\": %m", EfKindNames[kind]),
				 errhint("Something has removed it; run again.")));
	path = pstrdup(FilePathName(file));
	FileClose(file);
	return EfOpenFile(context, AT_FDCWD, path);
}
