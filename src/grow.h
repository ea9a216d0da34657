/*
 * grow.h
 *		Memory that grows, to whatever size.
 */
#ifndef EF_GROW_H
#define EF_GROW_H

#include "utils/memutils.h"

/* Enlarges memory, which stays in its context; NULL is allocated in context. */
static inline void *
EfGrow(MemoryContext context, void *memory, Size size)
{
	if (memory == NULL)
		return MemoryContextAllocHuge(context, size);
	return repalloc_huge(memory, size);
}

#endif /* EF_GROW_H */
