/*
 * sort_ids.h
 *		Sorts ids.
 */
#ifndef EF_SORT_IDS_H
#define EF_SORT_IDS_H

/* Ascending. Can be interrupted. */
extern void EfSortIds(int64 *ids, size_t n);

#endif /* EF_SORT_IDS_H */
