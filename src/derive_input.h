/*
 * derive_input.h
 *		A file's beginning, and what it shows: all that is needed to read the file.
 */
#ifndef EF_DERIVE_INPUT_H
#define EF_DERIVE_INPUT_H

#include "derive_report.h"
#include "options.h"
#include "row.h"
#include "source.h"

/* Defines eikon_features.max_line_size. */
extern void EfInputInit(void);

/* That setting, in bytes. */
extern size_t EfMaxRecord(void);

/* For the context of errors: what is being read. */
typedef struct EfPlace
{
	const char *file;
	int64 line;				/* 0: none yet */
	const EfReject *reject; /* being thrown */
} EfPlace;

/* An error context callback. */
extern void EfPlaceContext(void *place);

/* What any process needs to read a file; can lie in shared memory. */
typedef struct EfFileInfo
{
	char name[MAXPGPATH];
	EfFileStamp stamp;
	EfDialect dialect;
	EfRowMap map;
	bool plain;		   /* reading can begin anywhere in it */
	int64 data_line;   /* the first one after the header */
	int64 data_offset; /* where that begins; offsets are EfRecord's */
} EfFileInfo;

/* A file whose beginning has been read as a sample. */
typedef struct EfInput
{
	EfFile *file;
	char *sample;
	size_t len;
	size_t pos;
	bool whole; /* there is no more of it */
} EfInput;

extern void EfInputBegin(EfInput *input, EfFile *file);

/* An EfReadFn: the sample from pos on, then the rest of the file. */
extern size_t EfInputRead(void *input, char *buf, size_t len);
extern EfRecordReader *EfInputRecords(EfInput *input, const EfDialect *dialect, int64 line,
									  size_t offset);

/*
 * By its sample, fills in info, and note, of which kind and file are given, but for
 * what reading the file shows. Throws where it is not of its kind.
 */
extern void EfInputDetect(const EfInput *input, const EfOptions *options, EfFileInfo *info,
						  EfFileNote *note);

#endif /* EF_DERIVE_INPUT_H */
