/*
 * derive_shared.h
 *		What the members of a team share while they derive features.
 *
 * One job after the other, the leader preparing each (derive.c):
 *
 *	read		units of files -> rows, ids, rejects; once for each kind	(derive_read.c)
 *	scatter		users -> users by partition, unless they came in order		(derive_tuples.c)
 *	derive		a partition's users and experiments -> tuples of features	(derive_tuples.c)
 *
 * The last job goes on while the leader gives out tuples: it does its part when
 * those that it needs are not there yet.
 *
 * A unit is a piece of a file that begins and ends with a line. A partition
 * is a range of users in the order of their ids: all that is known of them is
 * small enough to stay in a processor's cache.
 */
#ifndef EF_DERIVE_SHARED_H
#define EF_DERIVE_SHARED_H

#include "derive.h"
#include "derive_aggregate.h"
#include "derive_ids.h"
#include "derive_input.h"
#include "derive_team.h"
#include "reject.h"
#include "row.h"
#include "source.h"
#include "source_fingerprint.h"

typedef struct EfTupleMaker EfTupleMaker;

typedef struct EfUnit
{
	uint32 file;
	bool exact;	 /* a line begins at begin; else the first one after it is meant */
	int64 begin; /* lines that begin from here ... */
	int64 end;	 /* ... to before here */
	int64 line;	 /* of the first one; 0: not known */

	/* what was found; rejects are in the member's stream */
	int64 first;	/* where the first line begins */
	int64 next;		/* where the one after the last begins */
	int64 lines;	/* from the one to the other */
	int64 read;		/* records */
	int64 taken;	/* rows, repeated ids included */
	int64 rejected; /* records */
	uint32 member;
	uint32 reject_block;
	uint32 row_block; /* of a kind with one stream of rows */
	uint32 nrow_blocks;
	EfNewlineCounts newlines;
	EfIdRun ids;
	int64 id_number; /* of its first id among all, where ids repeat */
} EfUnit;

typedef struct EfShared
{
	EfSharedSource source;
	dsa_pointer null; /* text, terminated */
	int encoding;
	size_t max_record;

	/* reading */
	EfKind kind;
	dsa_pointer files; /* EfFileInfo */
	dsa_pointer units; /* EfUnit */
	uint32 nunits;
	int64 reject_limit;		  /* a unit is left when there are more */
	pg_atomic_uint32 last;	  /* units after that one need not be read */
	pg_atomic_uint32 ended;	  /* units that nobody is reading any more */
	dsa_pointer repeated_ids; /* bits, by number of the id; for a second reading */
	EfStreams rows;
	EfStreams ids;
	EfStreams rejects;

	/* progress: of all kinds so far */
	pg_atomic_uint64 bytes_done;
	pg_atomic_uint64 records_done;
	pg_atomic_uint64 rejects_done;

	/* partitions */
	EfRanksShared ranks; /* of users */
	int shift;			 /* rank to partition */
	uint32 npartitions;
	EfStreams users;		 /* packed; by partition, or one stream in order */
	dsa_pointer user_blocks; /* EfUserBlock; or none, where they are by partition */
	uint32 nuser_blocks;
	EfStreams compounds;
	EfStreams experiments; /* by partition, packed */

	/* deriving */
	EfTotals totals;
	bool view;				/* rows of features, else of eikon_user_features */
	dsa_pointer derived;	/* pg_atomic_uint32, by partition: its tuples are there */
	pg_atomic_uint32 given; /* partitions whose tuples were given out */
	EfStreams tuples;		/* by partition */
	EfStreams unknown;		/* compound ids */
} EfShared;

/* A block of users who came in the order of their ids. */
typedef struct EfUserBlock
{
	uint64 first; /* rank of its first user */
	uint32 member;
	uint32 block;
} EfUserBlock;

/* A reject as it is written to a stream; column, value, message and raw follow. */
typedef struct EfPackedReject
{
	EfReason reason;
	int sqlstate;
	int64 line; /* of those of the unit, from 0 */
	int64 offset;
	bool has_column;
	bool has_value;
	bool raw_partial;
	uint32 column;
	uint32 value;
	uint32 message;
	uint32 raw;
} EfPackedReject;

/* A tuple as it is written to a stream, MAXALIGNed; it follows. */
typedef struct EfPackedTuple
{
	int64 user_id;
	uint32 len; /* 0: the user's total run time is out of range */
} EfPackedTuple;

/* --- the leader's own --- */

struct EfDerivation
{
	const EfOptions *options;
	EfRejectFn on_reject;
	void *reject_arg;
	EfReport *report;
	EfTeam *team;
	EfPool *pool;
	EfShared *shared;
	int64 rejected;

	EfSource *source;
	int nfiles[EF_KINDS];
	EfFileInfo *files[EF_KINDS];
	EfFileNote **notes[EF_KINDS];
	int64 bytes[EF_KINDS]; /* of text, roughly */

	EfUnit *units; /* of the kind being read */
	uint32 nunits;
	uint32 units_room;

	/* giving out tuples, then compounds */
	EfTupleMaker *deriving; /* NULL: all tuples were given out */
	EfStreamReader *tuples;
	EfStreamReader *compounds;
	uint32 partition;
	uint32 member;
	uint32 block;
	char *at;
	char *end;
	char *data; /* to be freed, if copied */
	bool copied;
};

/* Looks at the beginning of every file, before anything is read. */
extern void EfDetectFiles(EfDerivation *d, EfKind kind, List *names);

/* Adds a file, by its name and bytes. done bytes came before; returns how many they are now. */
extern int64 EfFingerprintFile(EfDerivation *d, EfFingerprint *fingerprint,
							   const EfFileInfo *file, int64 done);

/*
 * Has a kind read and gives out its rejects. Leaves the rows in shared->rows, the
 * ids in shared->ids and what there is to know of units in d->units.
 */
extern void EfReadKind(EfDerivation *d, EfKind kind);

/* The ids of each unit. */
extern EfIdRun *EfListRuns(const EfDerivation *d);

/* Begins streams that will hold about so many bytes. */
extern void EfBeginStreams(EfDerivation *d, EfStreams *streams, uint32 nstreams, int64 bytes);

/* Bytes that eikon_features.work_mem allows. */
extern uint64 EfPoolLimit(void);

/* For streams that are expected to be short or empty. */
#define EF_BLOCK_LEAST 4096

/* What of a text file packed experiments take, roughly. */
#define EF_PACKED_PART 0.6

/* --- the jobs --- */

/* The jobs, by number. */
enum
{
	EF_JOB_READ,
	EF_JOB_SCATTER,
	EF_JOB_DERIVE
};

extern void EfReadJob(EfTeam *team);
extern void EfScatterJob(EfTeam *team);
extern void EfTuplesJob(EfTeam *team);

/* One member's part in the last job. */
extern EfTupleMaker *EfTupleMakerBegin(EfTeam *team);
extern void EfTupleMakerDerive(EfTupleMaker *deriving, uint32 partition);
extern void EfTupleMakerEnd(EfTupleMaker *deriving);

/* Partitions whose tuples may wait to be given out. */
#define EF_DERIVE_AHEAD(nmembers) (2 * (nmembers) + 2)

/* How much text a unit has. */
#define EF_UNIT_SIZE (2 * 1024 * 1024)

#endif /* EF_DERIVE_SHARED_H */
