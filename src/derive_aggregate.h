/*
 * derive_aggregate.h
 *		Rows -> the features of each user. Pure: no SPI, no files, no errors
 *		but out of memory and the limits named below.
 *
 * Compounds first, then users, then experiments. The features do not depend on
 * the order in which experiments come, to the last bit of every sum.
 */
#ifndef EF_DERIVE_AGGREGATE_H
#define EF_DERIVE_AGGREGATE_H

#include "eikon_features.h"

typedef struct EfAggregate EfAggregate;

/*
 * Begins to aggregate up to nusers users at a time, which bear the numbers from
 * 0 on. Memory is allocated below parent.
 */
extern EfAggregate *EfAggregateBegin(MemoryContext parent, uint32 nusers);

/* A known compound, one that did not come before. Its texts must stay. */
extern void EfAggregateCompound(EfAggregate *aggregate, const EfCompound *compound);

/*
 * Forgets the users and their experiments, but not the compounds; then there
 * are nusers users, each of which is to be given once.
 */
extern void EfAggregateReset(EfAggregate *aggregate, uint32 nusers);

/* The packed user must stay; returns what follows it. */
extern const char *EfAggregateUser(EfAggregate *aggregate, uint32 number, const char *packed);

/*
 * Packed experiments. They may come in any order and from any number of places: to
 * add what two processes packed is to merge them.
 */
extern void EfAggregateExperiments(EfAggregate *aggregate, const char *packed, size_t len);

/* Compound ids that experiments list and no known compound has, and how many. */
extern int64 *EfAggregateUnknownCompounds(const EfAggregate *aggregate, uint32 *n);

/* The features of the users, by their number; false after the last. */
extern bool EfAggregateNext(EfAggregate *aggregate, const EfTotals *totals, EfFeatures *features);

extern void EfAggregateEnd(EfAggregate *aggregate);

#endif /* EF_DERIVE_AGGREGATE_H */
