/*
 * derive_read.h
 *		The job of reading one kind's files: units -> rows, ids, rejects.
 */
#ifndef EF_DERIVE_READ_H
#define EF_DERIVE_READ_H

#include "derive_partition.h"

/* Adds the job. */
extern void EfReadInit(void);

/* Counted by all members: of all kinds so far. */
typedef struct EfReadProgress
{
	pg_atomic_uint64 bytes;
	pg_atomic_uint64 records;
	pg_atomic_uint64 rejects;
} EfReadProgress;

/* The job's memory. */
typedef struct EfReadShared
{
	/* the same for all kinds */
	EfSourceShared source;
	int encoding;
	size_t max_record;
	dsa_pointer null; /* text, terminated */
	EfReadProgress progress;

	/* of the kind that is read */
	EfKind kind;
	EfPartitions partitions; /* of users, for experiments */
	dsa_pointer files;		 /* EfFileInfo */
	dsa_pointer units;		 /* EfUnit */
	uint32 nunits;
	int64 reject_limit;		  /* a unit is left when there are more */
	pg_atomic_uint32 last;	  /* units after that one need not be read */
	pg_atomic_uint32 ended;	  /* units that nobody is reading any more */
	dsa_pointer repeated_ids; /* bits, by number of the id; for a second reading */
	EfStreams rows;			  /* experiments are by partition */
	EfStreams ids;
	EfStreams rejects;
} EfReadShared;

extern EfReadShared *EfReadSharedOf(const EfTeam *team);

/* Has the team do it. */
extern void EfReadUnits(EfTeam *team);

#endif /* EF_DERIVE_READ_H */
