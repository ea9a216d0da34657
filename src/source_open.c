/*
 * source_open.c
 *		Opening directories and files: who may reach what.
 *
 * A path beneath eikon_features.data_directory is walked one component at a
 * time with O_NOFOLLOW, so neither ".." nor a symbolic link leads out of it,
 * not even one that is planted meanwhile.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "source_open.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* Opens a directory to pass through it, for which it need not be readable. */
#ifndef O_PATH
#define O_PATH 0
#endif

static char *data_directory = NULL;

static bool
check_data_directory(char **newval, void **extra, GucSource source)
{
	(void) extra;
	(void) source;
	if (*newval == NULL || **newval == '\0')
		return true;
	if (!is_absolute_path(*newval))
	{
		GUC_check_errdetail("The path must be absolute.");
		return false;
	}
	canonicalize_path(*newval);
	return true;
}

void
EfSourceOpenInit(void)
{
	/*
	 * Set it to let people who may not read any file of the server load from
	 * one place, and to let them leave out the path.
	 */
	DefineCustomStringVariable("eikon_features.data_directory",
							   "Directory that runs read from when they name none, and the only one open to roles without the privileges of pg_read_server_files.",
							   "Empty: none.",
							   &data_directory, "", PGC_SIGHUP, 0,
							   check_data_directory, NULL, NULL);
}

const char *
EfDefaultDirectory(void)
{
	return data_directory == NULL ? "" : data_directory;
}

typedef struct Descriptor
{
	MemoryContextCallback callback;
	int fd;
} Descriptor;

static void
close_descriptor(void *arg)
{
	Descriptor *descriptor = arg;

	if (descriptor->fd >= 0)
		close(descriptor->fd);
	ReleaseExternalFD();
}

/* openat(), with a descriptor that context closes; -1 and errno on failure. */
static int
open_in(MemoryContext context, int directory, const char *name, int flags)
{
	Descriptor *descriptor = MemoryContextAlloc(context, sizeof(Descriptor));

	if (!AcquireExternalFD())
		return -1;
	descriptor->callback.func = close_descriptor;
	descriptor->callback.arg = descriptor;
	descriptor->fd = -1;
	MemoryContextRegisterResetCallback(context, &descriptor->callback);
	descriptor->fd = openat(directory, name, flags | O_RDONLY | O_CLOEXEC);
	return descriptor->fd;
}

static void
fail_not_regular(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not a regular file", name),
			 errhint("Pipes, devices and directories can't be read.")));
}

static void
fail_open(const char *what, const char *path)
{
	int error = errno;

	if (error == ELOOP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("could not open %s \"%s\": it is a symbolic link", what, path),
				 errhint("Symbolic links are not followed; name the %s itself.", what)));
	if (error == ENXIO) /* a socket, a device that is not there */
		fail_not_regular(path);
	errno = error;
	ereport(ERROR,
			(error == ENAMETOOLONG ? errcode(ERRCODE_INVALID_NAME) : errcode_for_file_access(),
			 errmsg("could not open %s \"%s\": %m", what, path),
			 error == EACCES ?
				 errhint("The server reads with the rights of its own operating system user.") :
				 0,
			 error == ENOENT ?
				 errhint("The path is one on the machine of the server.") :
				 0,
			 error == ENOTDIR ?
				 errhint("Name the directory that holds the users, compounds and user_experiments files.") :
				 0));
}

/* What of path comes after the directory; NULL if it is not beneath it. */
static const char *
path_beneath(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	while (len > 0 && directory[len - 1] == '/')
		len--;
	if (strncmp(path, directory, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return NULL;
	return path + len;
}

/* Walks down from the data directory without following a link. */
static int
walk_beneath(MemoryContext context, const char *rest, const char *whole)
{
	char *copy = pstrdup(rest);
	char *left = copy;
	char *name;
	int above;
	int fd = open_in(context, AT_FDCWD, data_directory, O_DIRECTORY | O_PATH);

	if (fd < 0)
		fail_open("directory", data_directory);
	while ((name = strsep(&left, "/")) != NULL)
	{
		if (*name == '\0' || strcmp(name, ".") == 0)
			continue;
		if (strcmp(name, "..") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("path \"%s\" must not contain \"..\"", whole)));
		above = fd;
		fd = open_in(context, above, name, O_DIRECTORY | O_NOFOLLOW | O_PATH);
		if (fd < 0)
		{
			struct stat st;

			/* Linux reports a link as what it is not: a directory */
			if (errno == ENOTDIR)
				errno = fstatat(above, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) ? ELOOP : ENOTDIR;
			fail_open("directory", whole);
		}
	}
	pfree(copy);

	/* only the last one must be readable, the others need only be passed */
	fd = open_in(context, fd, ".", O_DIRECTORY | O_NONBLOCK);
	if (fd < 0)
		fail_open("directory", whole);
	return fd;
}

/* shown is what the caller named: the path, or that of a file in it; NULL for none. */
static int
open_directory(MemoryContext context, const char *path, const char *shown, char **resolved)
{
	bool any = has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
	bool set = data_directory != NULL && *data_directory != '\0';
	MemoryContext old = MemoryContextSwitchTo(context);
	const char *rest;
	int fd;

	if (path == NULL || !is_absolute_path(path))
	{
		if (!set)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 shown == NULL ? errmsg("no source directory given") : errmsg("\"%s\" is not an absolute path", shown),
					 errdetail("eikon_features.data_directory is not set."),
					 errhint("Give an absolute path, or set eikon_features.data_directory in postgresql.conf.")));
		*resolved = path == NULL ? pstrdup(data_directory) :
								   psprintf("%s/%s", data_directory, path);
		fd = walk_beneath(context, path == NULL ? "" : path, *resolved);
	}
	else if (any)
	{
		*resolved = pstrdup(path);
		fd = open_in(context, AT_FDCWD, path, O_DIRECTORY | O_NONBLOCK);
		if (fd < 0)
			fail_open("directory", path);
	}
	else
	{
		char *plain = pstrdup(path);

		if (strstr(plain, "..") == NULL)
			canonicalize_path(plain);
		rest = set ? path_beneath(plain, data_directory) : NULL;
		if (rest == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to read \"%s\"", shown),
					 set ? errdetail("Only roles with privileges of the \"%s\" role may read outside of eikon_features.data_directory.", "pg_read_server_files") : errdetail("Only roles with privileges of the \"%s\" role may read files, since eikon_features.data_directory is not set.", "pg_read_server_files")));
		*resolved = pstrdup(path);
		fd = walk_beneath(context, rest, path);
	}
	/* where ".." follows a symbolic link, the text alone does not tell the path */
	if (strstr(*resolved, "..") == NULL)
		canonicalize_path(*resolved);
	MemoryContextSwitchTo(old);
	return fd;
}

int
EfOpenDirectory(MemoryContext context, const char *path, char **resolved)
{
	return open_directory(context, path, path, resolved);
}

static int
open_file(MemoryContext context, int directory, const char *name, const char *shown)
{
	struct stat st;

	/* without O_NONBLOCK, opening a pipe that nobody writes to never returns */
	int fd = open_in(context, directory, name, O_NONBLOCK | O_NOFOLLOW);

	if (fd < 0)
		fail_open("file", shown);
	if (fstat(fd, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", shown)));
	if (!S_ISREG(st.st_mode))
		fail_not_regular(shown);
	return fd;
}

int
EfOpenFile(MemoryContext context, int directory, const char *name)
{
	return open_file(context, directory, name, name);
}

int
EfOpenPath(MemoryContext context, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	char *directory = slash == NULL ? NULL : pnstrdup(path, Max(slash - path, 1));
	char *resolved;
	int fd;

	if (*name == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" does not name a file", path)));
	fd = open_directory(context, directory, path, &resolved);
	return open_file(context, fd, name, path);
}
