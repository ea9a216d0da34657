/*
 * record_regular.c
 *		Reads records that are plainly regular.
 *
 * scan.c gives the positions of delimiters, quotes and newlines; from one to the
 * next it takes a few comparisons, whatever the length of the values between.
 */
#include "postgres.h"

#include "record_regular.h"
#include "utils/memutils.h"

void
EfRegularBegin(EfRegular *regular, const EfDialect *dialect, MemoryContext context)
{
	bool lf = dialect->newline == EF_NEWLINE_LF;

	memset(regular, 0, sizeof(*regular));
	regular->enabled = dialect->escape == dialect->quote && !EfIsBlank(dialect->quote);
	regular->any_newline = dialect->newline == EF_NEWLINE_ANY;
	regular->trim_quoted = dialect->padding == EF_PADDING_TRIM_QUOTED;
	regular->delimiter = dialect->delimiter;
	regular->quote = dialect->quote;

	/* without quoting this looks for NUL bytes, whose lines are malformed */
	regular->wanted[0] = dialect->delimiter;
	regular->wanted[1] = dialect->quote;
	regular->wanted[2] = dialect->newline == EF_NEWLINE_CR ? '\r' : '\n';
	regular->wanted[3] = lf ? '\n' : '\r';

	if (dialect->padding != EF_PADDING_KEEP && dialect->delimiter != ' ')
	{
		regular->space[' '] = true;
		regular->space['\t'] = dialect->delimiter != '\t';
	}
	regular->space['\r'] = lf;

	regular->positions = MemoryContextAlloc(context, sizeof(uint32) * EF_REGULAR_WINDOW);
}

void
EfRegularMoved(EfRegular *regular)
{
	regular->window = regular->window_end = NULL;
}

static void
scan_window(EfRegular *regular, const char *begin, const char *end)
{
	regular->window = begin;
	regular->window_end = Min(end, begin + EF_REGULAR_WINDOW);
	regular->next = 0;
	regular->npositions = EfScan(regular->wanted, begin, (size_t) (regular->window_end - begin),
								 regular->positions);
}

static inline bool
is_padding(const EfRegular *regular, char c)
{
	return regular->space[(unsigned char) c];
}

static inline bool
all_space(const EfRegular *regular, const char *from, const char *to)
{
	for (; from < to; from++)
		if (!is_padding(regular, *from))
			return false;
	return true;
}

/*
 * Reads as far as the positions known reach: EF_UNFINISHED when they end first.
 * Nothing of the reader changes unless it returns EF_REGULAR.
 */
static EfRegularity
read_positions(EfRegular *regular, const char *begin, const char *end)
{
	const uint32 *position = regular->positions + regular->next;
	const uint32 *last = regular->positions + regular->npositions;
	const char *window = regular->window;
	const char delimiter = regular->delimiter;
	const char quote = regular->quote;
	const char *from = begin;
	const char *at;
	uint32 any = 0;
	int n = 0;

	for (;;)
	{
		EfText field;

		if (position == last)
			return EF_UNFINISHED;
		at = window + *position++;
		if (*at == quote)
		{
			const char *open = at;
			const char *close;

			if (quote == '\0' || !all_space(regular, from, open))
				return EF_IRREGULAR;
			do
			{
				if (position == last)
					return EF_UNFINISHED;
				close = window + *position++;
			} while (*close == delimiter);
			if (*close != quote)
				return EF_IRREGULAR;
			if (position == last)
				return EF_UNFINISHED;
			at = window + *position++;
			if (*at == quote || !all_space(regular, close + 1, at))
				return EF_IRREGULAR;
			field.data = open + 1;
			field.len = (uint32) (close - field.data);
		}
		else
		{
			const char *to = at;

			while (from < to && is_padding(regular, *from))
				from++;
			while (from < to && is_padding(regular, to[-1]))
				to--;
			field.data = from;
			field.len = (uint32) (to - from);
		}
		if (regular->trim_quoted)
			field = EfTrim(field);
		any |= field.len;
		regular->fields[n++] = field;
		if (*at != delimiter)
			break;
		if (n == EF_REGULAR_FIELDS)
			return EF_IRREGULAR;
		from = at + 1;
	}

	regular->newline = at;
	regular->after = at + 1;
	if (*at == '\r' && regular->any_newline)
	{
		if (at + 1 == end)
			return EF_UNFINISHED;
		if (at[1] == '\n')
		{
			regular->after++;
			if (position < last)
				position++;
		}
	}
	regular->nfields = n;
	regular->empty = any == 0;
	regular->next = (size_t) (position - regular->positions);
	return EF_REGULAR;
}

EfRegularity
EfRegularNext(EfRegular *regular, const char *begin, const char *end)
{
	EfRegularity found;

	/* libcsv may have read on from there */
	if (begin < regular->window || begin >= regular->window_end)
		scan_window(regular, begin, end);
	while (regular->next < regular->npositions &&
		   regular->window + regular->positions[regular->next] < begin)
		regular->next++;

	found = read_positions(regular, begin, end);
	if (found == EF_UNFINISHED && begin > regular->window)
	{
		scan_window(regular, begin, end);
		found = read_positions(regular, begin, end);
	}
	if (found == EF_UNFINISHED && regular->window_end < end)
		return EF_IRREGULAR;
	return found;
}
