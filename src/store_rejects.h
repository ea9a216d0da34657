/*
 * store_rejects.h
 *		Rejects -> the table eikon_rejects.
 */
#ifndef EF_STORE_REJECTS_H
#define EF_STORE_REJECTS_H

#include "reject.h"

/* Rejects kept until the run is on record; on disk when there are many. */
typedef struct EfRejects EfRejects;

/* In the current memory context; with keep it outlives the transaction if that does. */
extern EfRejects *EfRejectsBegin(bool keep);
extern void EfRejectsAdd(void *rejects, const EfReject *reject); /* an EfRejectFn */
extern void EfRejectsWrite(EfRejects *rejects, Oid schema, int64 run_id);
extern void EfRejectsEnd(EfRejects *rejects);

/* Ends it where it may be damaged: a disk was full, for instance. Not with keep. */
extern void EfRejectsAbandon(EfRejects *rejects);

#endif /* EF_STORE_REJECTS_H */
