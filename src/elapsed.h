/*
 * elapsed.h
 *		How long ago something was, in seconds.
 */
#ifndef EF_ELAPSED_H
#define EF_ELAPSED_H

#include "portability/instr_time.h"
#include "utils/timestamp.h"

static inline double
EfElapsed(instr_time start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

static inline double
EfElapsedSince(TimestampTz then)
{
	return (double) (GetCurrentTimestamp() - then) / USECS_PER_SEC;
}

#endif /* EF_ELAPSED_H */
