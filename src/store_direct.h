/*
 * store_direct.h
 *		Rows -> the table features, without SQL.
 */
#ifndef EF_STORE_DIRECT_H
#define EF_STORE_DIRECT_H

#include "store.h"
#include "utils/relcache.h"

/*
 * What of the table, the role or the transaction asks for SQL, in words for a
 * message; NULL if nothing does. With dry_run, whether it can be compared so.
 */
extern const char *EfDirectObstacle(Relation relation, bool dry_run);

/*
 * Brings the table to what the rows say, or only compares it. The table must be
 * locked against other writers, and have no obstacle.
 */
extern void EfDirectWrite(Relation relation, EfTuples *rows, bool dry_run,
						  EfStoreCounts *counts);

#endif /* EF_STORE_DIRECT_H */
