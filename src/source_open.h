/*
 * source_open.h
 *		Opening directories and files: who may reach what.
 */
#ifndef EF_SOURCE_OPEN_H
#define EF_SOURCE_OPEN_H

/* Defines eikon_features.data_directory. */
extern void EfSourceOpenInit(void);

/* That setting, "" where there is none. */
extern const char *EfDefaultDirectory(void);

/*
 * A descriptor that is closed with context. *resolved is the path it stands for;
 * path NULL is eikon_features.data_directory.
 */
extern int EfOpenDirectory(MemoryContext context, const char *path, char **resolved);

/* A regular file in the directory, not through a symbolic link. */
extern int EfOpenFile(MemoryContext context, int directory, const char *name);

/* A regular file by its path, under the rules of EfOpenDirectory. */
extern int EfOpenPath(MemoryContext context, const char *path);

#endif /* EF_SOURCE_OPEN_H */
