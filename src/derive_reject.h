/*
 * derive_reject.h
 *		Rejects on their way from the member that read a record to the caller, who
 *		is given them in the order of the files.
 */
#ifndef EF_DERIVE_REJECT_H
#define EF_DERIVE_REJECT_H

#include "derive_report.h"
#include "derive_stream.h"
#include "options.h"
#include "row.h"

/* Writes a reject to stream 0; line is counted from the first one of its unit. */
extern void EfPackReject(EfStreamWriter *writer, const EfRecord *record, const EfRowFault *fault,
						 int64 line);

/* Who is given rejects, and how many have been given. */
typedef struct EfRejectSink
{
	const EfOptions *options;
	EfRejectFn fn;
	void *arg;
	int64 given;
} EfRejectSink;

/*
 * Gives out the n rejects of one unit, which a member wrote from that block on. unit
 * has what they have in common: kind, file, and the unit's first line. Throws as the
 * options have it.
 */
extern void EfGiveRejects(EfRejectSink *sink, EfStreamReader *reader, uint32 member, uint32 block,
						  int64 n, const EfReject *unit);

#endif /* EF_DERIVE_REJECT_H */
