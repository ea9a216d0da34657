/*
 * record.h
 *		Bytes -> records, under a given dialect.
 *
 * libcsv is the authority on quoting. Lines that are plainly regular do without
 * it (record_regular.h). The others it is fed one at a time, which tells where
 * each record starts and lets reading go on at the next line after a malformed
 * one: nothing after a bad line is lost.
 */
#ifndef EF_RECORD_H
#define EF_RECORD_H

#include "eikon_features.h"

/* So many bytes after each field can be read, whatever they are. */
#define EF_SLACK 8

typedef struct EfRecord
{
	int64 line;	  /* physical line on which it starts, from 1 */
	int64 offset; /* byte at which that line starts, from 0 */
	int nfields;
	const EfText *fields;
	EfReason defect; /* EF_TAKEN, or why it is malformed */
	const char *raw; /* as it stands in the file, no newline */
	size_t raw_len;
	bool raw_partial; /* the line goes on after raw */
} EfRecord;

/* How often each form of newline ended a record. */
typedef struct EfNewlineCounts
{
	int64 lf;
	int64 crlf;
	int64 cr;
} EfNewlineCounts;

typedef struct EfRecordReader EfRecordReader;

/*
 * Begins reading records: read(arg) gives the bytes, of which the first one
 * stands at offset and on the line given. A record of more than max_record
 * bytes is malformed. Memory is allocated below parent.
 */
extern EfRecordReader *EfRecordBegin(MemoryContext parent, const EfDialect *dialect,
									 EfReadFn read, void *arg,
									 int64 line, int64 offset, size_t max_record);

/*
 * The next record, malformed ones included; false at the end. Blank lines
 * and records whose fields are all empty are passed over. The record is
 * valid until the next call.
 */
extern bool EfRecordNext(EfRecordReader *reader, EfRecord *record);

/* Reads no record that starts at that offset or later. */
extern void EfRecordLimit(EfRecordReader *reader, int64 offset);

/* Steps over the rest of a line, to begin in the middle of a file. */
extern void EfRecordSkipLine(EfRecordReader *reader);

/* Line and byte offset that follow the record returned last. */
extern void EfRecordPosition(const EfRecordReader *reader, int64 *line, int64 *offset);

extern const EfNewlineCounts *EfRecordNewlines(const EfRecordReader *reader);

extern void EfRecordEnd(EfRecordReader *reader);

#endif /* EF_RECORD_H */
