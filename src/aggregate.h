/*
 * aggregate.h
 *		Rows -> the features of each user. Pure: no SPI, no files, no errors
 *		but out of memory and the limits named below.
 *
 * Users and compounds first, then experiments. The features do not depend on
 * the order in which experiments come, to the last bit of every sum.
 */
#ifndef EF_AGGREGATE_H
#define EF_AGGREGATE_H

#include "eikon_features.h"

/* The features of one user, as DESIGN calls them. */
typedef struct EfFeatures
{
	EfUser user;
	int64 experiments;
	double avg_experiments; /* all experiments / all users */
	double experiments_pct; /* experiments / all experiments; 0 if there are none */
	bool has_run_time;		/* any run time is known */
	double total_run_time;	/* exact sum, rounded once; inf if out of range */
	double avg_run_time;
	int ntied;					/* compounds listed most often; 0 if none is listed */
	const int64 *tied;			/* ascending; valid until the next call */
	int64 count;				/* how often each of them is */
	const EfCompound *compound; /* tied[0]; its texts are NULL where unknown */
} EfFeatures;

typedef struct EfAggregate EfAggregate;

/* Memory is allocated below parent. */
extern EfAggregate *EfAggregateBegin(MemoryContext parent);

/* Texts are copied. False: the id was there before, and nothing changed. */
extern bool EfAggregateUser(EfAggregate *aggregate, const EfUser *user);
extern bool EfAggregateCompound(EfAggregate *aggregate, const EfCompound *compound);

/* EF_TAKEN; else EF_UNKNOWN_USER or EF_DUPLICATE_KEY, and nothing changed. */
extern EfReason EfAggregateExperiment(EfAggregate *aggregate, const EfExperiment *experiment);

/* Distinct compound ids that experiments list and no compound row had. */
extern int64 EfAggregateUnknownCompounds(const EfAggregate *aggregate);

extern int64 EfAggregateUsers(const EfAggregate *aggregate);

/* The features, one user at a time by ascending id; false after the last. */
extern bool EfAggregateNext(EfAggregate *aggregate, EfFeatures *features);

/* The known compounds, in the order in which they came; false after the last. */
extern bool EfAggregateNextCompound(EfAggregate *aggregate, EfCompound *compound);

extern void EfAggregateEnd(EfAggregate *aggregate);

#endif /* EF_AGGREGATE_H */
