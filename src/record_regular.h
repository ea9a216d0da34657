/*
 * record_regular.h
 *		Reads records that are plainly regular, without libcsv.
 *
 * Regular is what can be read in one way only: a line whose quotes, if any,
 * enclose whole values and do not stand within them. Anything else is left to
 * libcsv, which is the authority; on regular records the two agree.
 */
#ifndef EF_RECORD_REGULAR_H
#define EF_RECORD_REGULAR_H

#include "eikon_features.h"
#include "scan.h"

/* A record of more fields is left to libcsv. */
#define EF_REGULAR_FIELDS 64

/* Bytes searched for structure at a time; a longer record is left to libcsv. */
#define EF_REGULAR_WINDOW (16 * 1024)

typedef enum EfRegularity
{
	EF_REGULAR,
	EF_IRREGULAR,
	EF_UNFINISHED /* its end is not among the bytes given */
} EfRegularity;

typedef struct EfRegular
{
	bool enabled; /* the dialect is one of those handled here */
	bool any_newline;
	bool trim_quoted;
	char delimiter;
	char quote;
	char wanted[EF_SCAN_BYTES];
	bool space[256]; /* what libcsv takes for padding */

	/* the bytes last searched, and the positions found that lie ahead */
	const char *window;
	const char *window_end;
	uint32 *positions;
	size_t npositions;
	size_t next;

	/* the record */
	int nfields;
	bool empty;			 /* all its fields are */
	const char *newline; /* where it ends */
	const char *after;	 /* where the next one begins */
	EfText fields[EF_REGULAR_FIELDS];
} EfRegular;

/* Memory is allocated in context. */
extern void EfRegularBegin(EfRegular *regular, const EfDialect *dialect, MemoryContext context);

/* Reads the record that begins at begin; the bytes given reach to end. */
extern EfRegularity EfRegularNext(EfRegular *regular, const char *begin, const char *end);

/* To be called when the bytes have moved. */
extern void EfRegularMoved(EfRegular *regular);

#endif /* EF_RECORD_REGULAR_H */
