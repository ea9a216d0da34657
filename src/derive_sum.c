/*
 * derive_sum.c
 *		Exact sums of doubles.
 *
 * Needs IEEE 754 doubles evaluated as doubles (FLT_EVAL_METHOD 0) and no
 * -ffast-math.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "derive_sum.h"
#include "grow.h"

#if FLT_EVAL_METHOD != 0
#error "exact sums need arithmetic in double precision, e.g. -msse2 -mfpmath=sse"
#endif

/*
 * Partials are non-adjacent (a zero bit stands between any two) and lie among
 * the 2098 bits between the least subnormal and the largest double.
 */
#define MAX_PARTIALS 1049

/* a + b = *sum + *error exactly (Knuth's TwoSum) */
static inline void
two_sum(double a, double b, double *sum, double *error)
{
	double s = a + b;
	double b_part = s - a;

	*error = (a - (s - b_part)) + (b - b_part);
	*sum = s;
}

/* Adds value to partials, which are kept ascending and apart; returns their number. */
static int
add_partial(double *partials, int n, double value)
{
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		double error;

		two_sum(value, partials[i], &value, &error);
		if (error != 0)
			partials[kept++] = error;
	}
	partials[kept++] = value;
	return kept;
}

static void
add_to_tail(EfSum *sum, double value, MemoryContext context)
{
	double partials[MAX_PARTIALS + 1];
	EfSumTail *tail = sum->tail;
	int n = tail == NULL ? 0 : tail->n;

	if (tail != NULL)
		memcpy(partials, tail->partials, sizeof(double) * (Size) n);
	n = add_partial(partials, n, value);
	if (tail == NULL || n > tail->capacity)
	{
		int capacity = n * 2;

		tail = EfGrow(context, tail, offsetof(EfSumTail, partials) + sizeof(double) * (Size) capacity);
		tail->capacity = capacity;
		sum->tail = tail;
	}
	tail->n = n;
	memcpy(tail->partials, partials, sizeof(double) * (Size) n);
}

void
EfSumAdd(EfSum *sum, double value, MemoryContext context)
{
	double high;
	double error;
	double low;

	two_sum(sum->high, value, &high, &error);
	if (error == 0)
	{
		sum->high = high;
		return;
	}
	if (!isfinite(high))
	{
		sum->high = high;
		sum->low = 0;
		return;
	}
	two_sum(sum->low, error, &low, &error);
	if (error != 0)
		add_to_tail(sum, error, context);
	two_sum(high, low, &sum->high, &sum->low);
}

double
EfSumValue(const EfSum *sum)
{
	double partials[MAX_PARTIALS + 3];
	double value;
	double error = 0;
	int n = 0;

	if (!isfinite(sum->high) || !isfinite(sum->low))
		return INFINITY;
	if (sum->tail == NULL)
		return sum->high + sum->low;

	for (int i = 0; i < sum->tail->n; i++)
		partials[n++] = sum->tail->partials[i];
	n = add_partial(partials, n, sum->low);
	n = add_partial(partials, n, sum->high);

	/* from the greatest down, until something is lost in rounding */
	value = partials[--n];
	while (n > 0 && error == 0)
		two_sum(value, partials[--n], &value, &error);

	/* halfway cases: what comes further down decides which way */
	if (n > 0 && ((error < 0 && partials[n - 1] < 0) || (error > 0 && partials[n - 1] > 0)))
	{
		double twice = error * 2;
		double moved = value + twice;

		if (moved - value == twice)
			value = moved;
	}
	return value;
}
