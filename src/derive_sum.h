/*
 * derive_sum.h
 *		Exact sums of finite, non-negative doubles.
 *
 * The sum is kept as a list of doubles that do not overlap (J. R. Shewchuk,
 * "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric
 * Predicates", 1997; Python's math.fsum does the same) and is rounded once, at
 * the end. So it does not depend on the order of the values, nor on how they
 * were split before the parts were merged. Two doubles nearly always do.
 */
#ifndef EF_DERIVE_SUM_H
#define EF_DERIVE_SUM_H

typedef struct EfSumTail
{
	int n;
	int capacity;
	double partials[FLEXIBLE_ARRAY_MEMBER];
} EfSumTail;

/* All zero is the empty sum. */
typedef struct EfSum
{
	double high; /* high + low + tail is the sum */
	double low;
	EfSumTail *tail; /* what two doubles can't hold; mostly NULL */
} EfSum;

/* Adds value; a tail is allocated in context. */
extern void EfSumAdd(EfSum *sum, double value, MemoryContext context);

/*
 * The sum, correctly rounded (half to even); infinity when out of range, which
 * begins a few units in the last place below the largest double.
 */
extern double EfSumValue(const EfSum *sum);

#endif /* EF_DERIVE_SUM_H */
