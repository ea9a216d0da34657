/*
 * server.c
 *		Stands in for the functions of the server that the stages under test
 *		call: memory contexts, which here take every chunk from malloc so that
 *		sanitizers and valgrind see each of them, and errors, which end the test.
 */
#include "server.h"

#include <time.h>

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/datetime.h"

typedef struct Chunk
{
	struct Chunk *next;
	struct Chunk *previous;
	struct Context *context;
	Size size;
} Chunk;

typedef struct Context
{
	struct MemoryContextData head;
	struct Context *parent;
	struct Context *child;
	struct Context *sibling;
	Chunk *chunks;
} Context;

MemoryContext CurrentMemoryContext = NULL;
MemoryContext TopMemoryContext = NULL;

/* a pending interrupt is counted, and nothing is cancelled */
volatile sig_atomic_t InterruptPending = false;

size_t server_allocated;
size_t server_held;
int server_interrupts;

void
ProcessInterrupts(void)
{
	server_interrupts++;
}

#define CHUNK_SIZE MAXALIGN(sizeof(Chunk))

void *
MemoryContextAllocExtended(MemoryContext context, Size size, int flags)
{
	Context *owner = (Context *) context;
	Chunk *chunk = malloc(CHUNK_SIZE + size);

	assert_non_null(chunk);
	server_allocated += size;
	server_held += size;
	chunk->context = owner;
	chunk->size = size;
	chunk->previous = NULL;
	chunk->next = owner->chunks;
	if (owner->chunks != NULL)
		owner->chunks->previous = chunk;
	owner->chunks = chunk;
	if (flags & MCXT_ALLOC_ZERO)
		memset((char *) chunk + CHUNK_SIZE, 0, size);
	return (char *) chunk + CHUNK_SIZE;
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return MemoryContextAllocExtended(context, size, 0);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return MemoryContextAllocExtended(context, size, MCXT_ALLOC_ZERO);
}

void *
MemoryContextAllocHuge(MemoryContext context, Size size)
{
	return MemoryContextAllocExtended(context, size, MCXT_ALLOC_HUGE);
}

void *
palloc(Size size)
{
	return MemoryContextAlloc(CurrentMemoryContext, size);
}

void *
palloc0(Size size)
{
	return MemoryContextAllocZero(CurrentMemoryContext, size);
}

void *
palloc_extended(Size size, int flags)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, size, flags);
}

static Chunk *
chunk_of(void *pointer)
{
	return (Chunk *) ((char *) pointer - CHUNK_SIZE);
}

void
pfree(void *pointer)
{
	Chunk *chunk = chunk_of(pointer);

	server_held -= chunk->size;
	if (chunk->previous != NULL)
		chunk->previous->next = chunk->next;
	else
		chunk->context->chunks = chunk->next;
	if (chunk->next != NULL)
		chunk->next->previous = chunk->previous;
	free(chunk);
}

void *
repalloc(void *pointer, Size size)
{
	Chunk *chunk = chunk_of(pointer);
	void *new = MemoryContextAlloc((MemoryContext) chunk->context, size);

	memcpy(new, pointer, Min(size, chunk->size));
	pfree(pointer);
	return new;
}

void *
repalloc_huge(void *pointer, Size size)
{
	return repalloc(pointer, size);
}

char *
pnstrdup(const char *in, Size len)
{
	char *out = palloc(len + 1);

	memcpy(out, in, len);
	out[len] = '\0';
	return out;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size min_size,
							  Size init_size, Size max_size)
{
	Context *context = calloc(1, sizeof(Context));

	assert_non_null(context);
	context->head.name = name;
	context->parent = (Context *) parent;
	if (parent != NULL)
	{
		context->sibling = context->parent->child;
		context->parent->child = context;
	}
	return (MemoryContext) context;
}

void
MemoryContextReset(MemoryContext context)
{
	Context *emptied = (Context *) context;

	while (emptied->child != NULL)
		MemoryContextDelete((MemoryContext) emptied->child);
	while (emptied->chunks != NULL)
		pfree((char *) emptied->chunks + CHUNK_SIZE);
}

void
MemoryContextDelete(MemoryContext context)
{
	Context *gone = (Context *) context;

	MemoryContextReset(context);
	if (gone->parent != NULL)
	{
		Context **link = &gone->parent->child;

		while (*link != gone)
			link = &(*link)->sibling;
		*link = gone->sibling;
	}
	free(gone);
}

List *
lappend(List *list, void *datum)
{
	int n = list_length(list);
	List *longer = palloc(offsetof(List, initial_elements) + sizeof(ListCell) * ((Size) n + 1));

	longer->type = T_List;
	longer->length = longer->max_length = n + 1;
	longer->elements = longer->initial_elements;
	if (n > 0)
		memcpy(longer->elements, list->elements, sizeof(ListCell) * (Size) n);
	longer->elements[n].ptr_value = datum;
	return longer;
}

/* The Julian day, from what the C library knows of calendars. */
int
date2j(int year, int month, int day)
{
	struct tm date = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};

	return (int) (timegm(&date) / (24 * 60 * 60)) + 2440588;
}

bool
errstart(int elevel, const char *domain)
{
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return true;
}

int
errcode(int sqlerrcode)
{
	return 0;
}

int
errmsg(const char *format, ...)
{
	return 0;
}

int
errmsg_internal(const char *format, ...)
{
	return 0;
}

int
errdetail(const char *format, ...)
{
	return 0;
}

int
errhint(const char *format, ...)
{
	return 0;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	fail_msg("unexpected error at %s:%d", filename, lineno);
	abort();
}

void
#if PG_VERSION_NUM >= 160000
ExceptionalCondition(const char *condition, const char *file, int line)
#else
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
#endif
{
	fail_msg("assertion \"%s\" failed at %s:%d", condition, file, line);
	abort();
}

void
server_begin(void)
{
	TopMemoryContext = AllocSetContextCreateInternal(NULL, "test", 0, 0, 0);
	CurrentMemoryContext = TopMemoryContext;
	InterruptPending = false;
	server_allocated = 0;
	server_held = 0;
	server_interrupts = 0;
}

void
server_end(void)
{
	MemoryContextDelete(TopMemoryContext);
	TopMemoryContext = NULL;
	CurrentMemoryContext = NULL;
}

size_t
read_pieces(void *arg, char *buf, size_t len)
{
	Pieces *pieces = arg;

	len = Min(len, pieces->piece);
	len = Min(len, pieces->len - pieces->pos);
	memcpy(buf, pieces->data + pieces->pos, len);
	pieces->pos += len;
	return len;
}

uint32
next_random(void)
{
	static uint64 seed = 1;

	seed = seed * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (uint32) (seed >> 33);
}

size_t
random_below(size_t n)
{
	return next_random() % n;
}
