/*
 * server.h
 *		What unit tests need of the server that is not there.
 */
#ifndef EF_TEST_SERVER_H
#define EF_TEST_SERVER_H

#include "postgres.h"

#include "utils/memutils.h"

/* cmocka wants these, in this order, before its own header */
#include <cmocka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Creates the context in which a test runs, and deletes it with all below. */
extern void server_begin(void);
extern void server_end(void);

/* Bytes allocated, and checks for interrupts that found one, since server_begin(). */
extern size_t server_allocated;
extern int server_interrupts;

/* Bytes allocated and not freed. */
extern size_t server_held;

/* Text that comes in pieces of a given size, for an EfReadFn. */
typedef struct Pieces
{
	const char *data;
	size_t len;
	size_t pos;
	size_t piece;
} Pieces;

extern size_t read_pieces(void *arg, char *buf, size_t len);

/* 31 bits that nobody would guess, but the same at every run. */
extern uint32 next_random(void);
extern size_t random_below(size_t n);

#endif /* EF_TEST_SERVER_H */
