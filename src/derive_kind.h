/*
 * derive_kind.h
 *		Has the files of one kind read: the leader's part.
 */
#ifndef EF_DERIVE_KIND_H
#define EF_DERIVE_KIND_H

#include "derive_read.h"
#include "derive_reject.h"

typedef struct EfKindReader
{
	EfTeam *team;
	const EfFiles *files;
	EfReport *report;
	EfRejectSink rejects;
	EfUnits units; /* of the kind that was read last */
} EfKindReader;

/* The source of files is closed when all kinds have been read. */
extern void EfKindReaderBegin(EfKindReader *reader, EfTeam *team, const EfFiles *files,
							  EfReport *report, EfRejectFn on_reject, void *arg);

/*
 * Has a kind read and gives out its rejects. Leaves the rows and the logs of ids in the
 * streams, for the caller to end, and what there is to know of units in reader->units.
 * partitions are those of users, where experiments are read.
 */
extern void EfKindRead(EfKindReader *reader, EfKind kind, const EfPartitions *partitions,
					   EfStreams *rows, EfStreams *ids);

#endif /* EF_DERIVE_KIND_H */
