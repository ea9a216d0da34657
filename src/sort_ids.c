/*
 * sort_ids.c
 *		Sorts ids, by PostgreSQL's quicksort made for this type.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "sort_ids.h"

#define ST_SORT sort_ids
#define ST_ELEMENT_TYPE int64
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#define ST_DECLARE
#include "lib/sort_template.h"

void
EfSortIds(int64 *ids, size_t n)
{
	sort_ids(ids, n);
}
