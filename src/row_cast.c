/*
 * row_cast.c
 *		Text -> bigint, float8, date, list of bigint.
 */
#include "postgres.h"

#include <errno.h>
#include <math.h>

#include "common/int.h"
#include "datatype/timestamp.h"
#include "eikon_features.h"
#include "miscadmin.h"
#include "row_cast.h"
#include "row_digits.h"
#include "utils/datetime.h"

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void
trim(const char **s, size_t *len)
{
	EfText text = EfTrim((EfText){*s, (uint32) *len});

	*s = text.data;
	*len = text.len;
}

EfCast
EfCastBigint(const char *s, size_t len, int64 *value)
{
	const char *end;
	bool negative;
	int64 result = 0;
	bool overflow = false;

	trim(&s, &len);
	end = s + len;
	negative = len > 0 && *s == '-';
	if (len > 0 && (*s == '-' || *s == '+'))
		s++;
	if (s == end)
		return EF_CAST_SYNTAX;

	/* counted downwards: the negative range is the larger one */
	for (; s < end; s++)
	{
		if (!is_digit(*s))
			return EF_CAST_SYNTAX;
		overflow |= pg_mul_s64_overflow(result, 10, &result) ||
					pg_sub_s64_overflow(result, *s - '0', &result);
	}
	if (overflow || (!negative && result == PG_INT64_MIN))
		return EF_CAST_RANGE;
	*value = negative ? result : -result;
	return EF_CAST_OK;
}

/* [+-] digits [. digits] [e [+-] digits], at least one digit before the e */
static bool
is_decimal(const char *s, const char *end)
{
	int before_e = 0;

	if (s < end && (*s == '-' || *s == '+'))
		s++;
	for (; s < end && is_digit(*s); s++)
		before_e++;
	if (s < end && *s == '.')
		for (s++; s < end && is_digit(*s); s++)
			before_e++;
	if (before_e == 0)
		return false;
	if (s == end)
		return true;
	if (*s != 'e' && *s != 'E')
		return false;
	s++;
	if (s < end && (*s == '-' || *s == '+'))
		s++;
	if (s == end)
		return false;
	for (; s < end; s++)
		if (!is_digit(*s))
			return false;
	return true;
}

EfCast
EfCastFloat8(const char *s, size_t len, double *value)
{
	char few[64];
	char *copy = few;

	trim(&s, &len);
	if (EfQuickFloat8((EfText){s, (uint32) len}, value))
		return EF_CAST_OK;
	if (!is_decimal(s, s + len))
		return EF_CAST_SYNTAX;

	if (len >= sizeof(few))
		copy = palloc(len + 1);
	memcpy(copy, s, len);
	copy[len] = '\0';
	errno = 0;
	*value = strtod(copy, NULL);
	if (copy != few)
		pfree(copy);
	if (errno == ERANGE && (*value == 0 || isinf(*value)))
		return EF_CAST_RANGE;
	return EF_CAST_OK;
}

/* Reads n digits. */
static bool
digits(const char **s, const char *end, int n, int *value)
{
	*value = 0;
	for (int i = 0; i < n; i++, (*s)++)
	{
		if (*s == end || !is_digit(**s))
			return false;
		*value = *value * 10 + (**s - '0');
	}
	return true;
}

static bool
skip(const char **s, const char *end, char c)
{
	if (*s == end || **s != c)
		return false;
	(*s)++;
	return true;
}

/* hh:mm[:ss[.fraction]] or hhmm[ss[.fraction]], then Z or +-hh[[:]mm] or nothing */
static EfCast
check_time(const char *s, const char *end)
{
	int hour;
	int minute;
	int second = 0;
	bool extended;

	if (!digits(&s, end, 2, &hour))
		return EF_CAST_SYNTAX;
	extended = skip(&s, end, ':');
	if (!digits(&s, end, 2, &minute))
		return EF_CAST_SYNTAX;
	if (extended ? skip(&s, end, ':') : (s < end && is_digit(*s)))
	{
		if (!digits(&s, end, 2, &second))
			return EF_CAST_SYNTAX;
		if (skip(&s, end, '.') || skip(&s, end, ','))
		{
			if (s == end || !is_digit(*s))
				return EF_CAST_SYNTAX;
			while (s < end && is_digit(*s))
				s++;
		}
	}
	if (hour > 24 || minute > 59 || second > 60 || (hour == 24 && minute + second > 0))
		return EF_CAST_RANGE;

	while (s < end && EfIsBlank(*s))
		s++;
	if (s == end || ((skip(&s, end, 'Z') || skip(&s, end, 'z')) && s == end))
		return EF_CAST_OK;
	if (!skip(&s, end, '+') && !skip(&s, end, '-'))
		return EF_CAST_SYNTAX;
	if (!digits(&s, end, 2, &hour))
		return EF_CAST_SYNTAX;
	minute = 0;
	if (s < end)
	{
		(void) skip(&s, end, ':');
		if (!digits(&s, end, 2, &minute) || s != end)
			return EF_CAST_SYNTAX;
	}
	return hour > 15 || minute > 59 ? EF_CAST_RANGE : EF_CAST_OK;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month == 2 && leap ? 29 : days[month - 1];
}

EfCast
EfCastDate(const char *s, size_t len, int32 *value)
{
	const char *end;
	int year;
	int month;
	int day;
	bool extended;

	trim(&s, &len);
	end = s + len;
	if (!digits(&s, end, 4, &year))
		return EF_CAST_SYNTAX;
	extended = skip(&s, end, '-');
	if (!digits(&s, end, 2, &month) || (extended && !skip(&s, end, '-')) ||
		!digits(&s, end, 2, &day))
		return EF_CAST_SYNTAX;
	if (s < end)
	{
		EfCast time;

		if (*s != 'T' && *s != 't' && *s != ' ')
			return EF_CAST_SYNTAX;
		time = check_time(s + 1, end);
		if (time != EF_CAST_OK)
			return time;
	}
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
		return EF_CAST_RANGE;
	*value = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return EF_CAST_OK;
}

static inline bool
is_separator(char c)
{
	return c == ';' || c == ',' || c == '|' || EfIsBlank(c);
}

EfCast
EfCastList(const char *s, size_t len, int64 *values, int *n, const char **bad, size_t *bad_len)
{
	const char *end = s + len;

	*n = EfQuickList(&s, end, values);
	for (;;)
	{
		const char *item;
		EfCast cast;

		CHECK_FOR_INTERRUPTS();
		while (s < end && is_separator(*s))
			s++;
		if (s == end)
			return EF_CAST_OK;
		item = s;
		while (s < end && !is_separator(*s))
			s++;
		cast = EfCastBigint(item, (size_t) (s - item), &values[*n]);
		if (cast != EF_CAST_OK)
		{
			*bad = item;
			*bad_len = (size_t) (s - item);
			return cast;
		}
		(*n)++;
	}
}
