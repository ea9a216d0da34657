/*
 * reject.h
 *		A record that could not be taken: its reason's words and SQLSTATE, its
 *		place.
 */
#ifndef EF_REJECT_H
#define EF_REJECT_H

#include "compat.h"
#include "eikon_features.h"

typedef struct EfReject
{
	EfKind kind;
	EfReason reason;
	const char *file;
	int64 line;
	int64 offset;
	const char *column;	 /* NULL: the whole record */
	EfText value;		 /* data NULL: none; UTF-8 as far as it is valid */
	int sqlstate;		 /* 0: the reason's own */
	const char *message; /* what is wrong, one fact, in the server encoding */
	EfText raw;
	bool raw_partial;
} EfReject;

/* The value of eikon_rejects.error_type. */
extern const char *EfReasonName(EfReason reason);

/* What is wrong in general, for records whose message says no more. */
extern const char *EfReasonMessage(EfReason reason);

/* What to do about it. */
extern const char *EfReasonHint(EfReason reason);

/* Throws it. The place comes from the error context, see EfRejectContext. */
pg_noreturn extern void EfRejectThrow(const EfReject *reject);

/* Adds the line: file, line N, column C: "value". */
extern void EfRejectContext(const EfReject *reject);

/*
 * Text that can be shown and stored in this database, whatever the bytes: at
 * most max bytes of it are taken, invalid ones become \xHH. With controls, so
 * do control characters, and newlines and tabs become \n \r \t.
 */
extern char *EfShowText(EfText text, size_t max, bool controls, bool *truncated);

/* How much of a value, and of a record, is kept with a reject. */
#define EF_REJECT_VALUE 100
#define EF_REJECT_RAW 8192

#endif /* EF_REJECT_H */
