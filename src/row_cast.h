/*
 * row_cast.h
 *		Text -> bigint, float8, date, list of bigint.
 *
 * All take a value of len bytes, blanks around it allowed.
 */
#ifndef EF_ROW_CAST_H
#define EF_ROW_CAST_H

typedef enum EfCast
{
	EF_CAST_OK,
	EF_CAST_SYNTAX, /* not of that form at all */
	EF_CAST_RANGE	/* of that form, but out of range */
} EfCast;

extern EfCast EfCastBigint(const char *s, size_t len, int64 *value);

/* Correctly rounded. Finite numbers only, in decimal notation. */
extern EfCast EfCastFloat8(const char *s, size_t len, double *value);

/*
 * ISO 8601 calendar date, extended (2023-01-31) or basic (20230131) form, with
 * or without a time of day and zone, which are checked and left out. *value is
 * in days since 2000-01-01.
 */
extern EfCast EfCastDate(const char *s, size_t len, int32 *value);

/*
 * Ids separated by ; , | or blanks. Empty items are skipped. values has room
 * for (len + 1) / 2; *n says how many there are. *bad, *bad_len: the item at fault.
 */
extern EfCast EfCastList(const char *s, size_t len, int64 *values, int *n,
						 const char **bad, size_t *bad_len);

#endif /* EF_ROW_CAST_H */
