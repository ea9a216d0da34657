/*
 * dialect.c
 *		Finds out the dialect of a file from its first bytes.
 *
 * The columns that must be there are known, so nothing is guessed blindly: the
 * right delimiter is the one under which the header shows them. Quoting is then
 * the one under which the records that follow make the most sense. Every trial
 * is a run of the real record reader over the sample; there is no second,
 * slightly different scanner of quotes. Only lines to be skipped and "sep=" are
 * looked for here, before any dialect is known.
 */
#include "postgres.h"

#include "dialect.h"
#include "record.h"
#include "utils/memutils.h"

/* How many records may stand before the header. */
#define HEADER_RECORDS 100

static const char delimiters[] = {',', ';', '\t', '|'};

typedef struct Sample
{
	const char *data;
	size_t len;
	size_t pos;
} Sample;

/* One dialect tried on the sample. */
typedef struct Trial
{
	EfDialect dialect;
	int matched; /* required columns that its header has */
	int64 header_line;
	int64 data_line;
	int64 data_offset;
	int ncolumns;
	char **columns;
	bool padded;  /* header names have blanks inside their quotes */
	int records;  /* after the header */
	int bad;	  /* malformed, or with another number of columns */
	int usual;	  /* number of columns, where none are required */
	int quoted;	  /* values that begin with " (as it shows without quoting) */
	int begun;	  /* values that begin with ' */
	int ended;	  /* values that end with it */
	int enclosed; /* values that do both */
	int doubled;  /* and have two of them within */
	int tabbed;	  /* records with a value that begins with a tab */
} Trial;

/* The question, the same for all trials. */
typedef struct Question
{
	Sample sample;
	bool whole;
	const EfDialectOptions *options;
	const char *const *required;
	int nrequired;
	size_t max_record;
	int64 first_line; /* where reading begins, after skipped lines */
	size_t first_offset;
} Question;

static size_t
read_sample(void *arg, char *buf, size_t len)
{
	Sample *sample = arg;

	len = Min(len, sample->len - sample->pos);
	memcpy(buf, sample->data + sample->pos, len);
	sample->pos += len;
	return len;
}

/* A copy of the field without the blanks around it. */
static char *
trimmed(const EfText *field)
{
	EfText text = EfTrim(*field);

	return pnstrdup(text.data, text.len);
}

static int
count_required(const Question *question, const EfRecord *record)
{
	int matched = 0;

	for (int i = 0; i < question->nrequired; i++)
	{
		for (int j = 0; j < record->nfields; j++)
		{
			char *name = trimmed(&record->fields[j]);
			bool same = pg_strcasecmp(name, question->required[i]) == 0;

			pfree(name);
			if (same)
			{
				matched++;
				break;
			}
		}
	}
	return matched;
}

static void
take_header(Trial *trial, const EfRecord *record, int matched)
{
	trial->matched = matched;
	trial->header_line = record->line;
	trial->ncolumns = record->nfields;
	trial->columns = palloc(sizeof(char *) * (Size) record->nfields);
	trial->padded = false;
	for (int i = 0; i < record->nfields; i++)
	{
		trial->columns[i] = trimmed(&record->fields[i]);
		trial->padded |= strlen(trial->columns[i]) != record->fields[i].len;
	}
}

static EfRecordReader *
begin_trial(const Question *question, Sample *sample, const EfDialect *dialect,
			int64 line, int64 offset)
{
	*sample = question->sample;
	sample->pos = (size_t) offset;
	return EfRecordBegin(CurrentMemoryContext, dialect, read_sample, sample,
						 line, offset, question->max_record);
}

/* The end of the sample may cut records, even long ones: its second half does not count. */
static bool
may_be_cut(const Question *question, const EfRecord *record)
{
	return !question->whole && record->offset > (int64) question->sample.len / 2;
}

/* Looks for the header: the first record that has all the columns, else the most. */
static void
find_header(const Question *question, Trial *trial)
{
	Sample sample;
	EfRecordReader *reader = begin_trial(question, &sample, &trial->dialect,
										 question->first_line,
										 (int64) question->first_offset);
	EfRecord record;
	int looked = 0;

	while (looked++ < HEADER_RECORDS && EfRecordNext(reader, &record))
	{
		int matched;

		if (record.defect != EF_TAKEN)
			continue;
		matched = count_required(question, &record);
		if (matched > trial->matched || trial->header_line == 0)
		{
			take_header(trial, &record, matched);
			EfRecordPosition(reader, &trial->data_line, &trial->data_offset);
		}
		if (matched == question->nrequired || question->options->header_given)
			break;
	}
	EfRecordEnd(reader);
}

/* Fields up to the last one that is not empty: trailing delimiters do not count. */
static int
width(const EfRecord *record)
{
	int n = record->nfields;

	while (n > 0 && record->fields[n - 1].len == 0)
		n--;
	return n;
}

static void
count_apostrophes(Trial *trial, const EfText *field)
{
	bool begins = field->len > 0 && field->data[0] == '\'';
	bool ends = field->len > 1 && field->data[field->len - 1] == '\'';

	trial->begun += begins;
	trial->ended += ends;
	trial->enclosed += begins && ends;
	trial->doubled += begins && ends &&
					  memmem(field->data + 1, field->len - 2, "''", 2) != NULL;
}

/* Reads the records after the header and notes how well they fit. */
static void
try_records(const Question *question, Trial *trial)
{
	Sample sample;
	EfRecordReader *reader = begin_trial(question, &sample, &trial->dialect,
										 trial->data_line, trial->data_offset);
	EfRecord record;
	int expected = trial->ncolumns > 0 ? trial->ncolumns : question->nrequired;
	int widths[64] = {0};
	int usual = 0;

	while (EfRecordNext(reader, &record))
	{
		bool tabbed = false;

		if (may_be_cut(question, &record))
			break;
		trial->records++;
		if (record.defect != EF_TAKEN)
		{
			trial->bad++;
			continue;
		}
		for (int i = 0; i < record.nfields; i++)
		{
			const EfText *field = &record.fields[i];

			trial->quoted += field->len > 0 && field->data[0] == '"';
			count_apostrophes(trial, field);
			tabbed |= field->len > 0 && field->data[0] == '\t';
		}
		trial->tabbed += tabbed;
		if (expected > 0)
			trial->bad += width(&record) > expected || record.nfields < question->nrequired;
		else
			widths[Min(record.nfields, (int) lengthof(widths)) - 1]++;
	}
	EfRecordEnd(reader);

	if (question->required == NULL)
	{
		/* the number of columns that most records have is taken for the right one */
		for (int i = 0; i < (int) lengthof(widths); i++)
			if (widths[i] > widths[usual])
				usual = i;
		trial->usual = usual + 1;
		trial->bad = trial->records - widths[usual];
	}
	else if (trial->ncolumns == 0)
		trial->matched = trial->records - trial->bad;
}

/*
 * Whether b explains the sample better than a, which is preferred where both do
 * equally. A header with more of the columns wins; then fewer bad records. But
 * a quote is not given up for the sake of a few bad records while values begin
 * with it. Single ones are taken up only where values stand in them and without
 * them there would be bad records, or where it shows in every record, or where they
 * are doubled within a value.
 */
static bool
is_better(const Trial *b, const Trial *a)
{
	if (b->matched != a->matched)
		return b->matched > a->matched;
	if ((b->usual > 1) != (a->usual > 1))
		return b->usual > 1;
	if (b->dialect.delimiter == a->dialect.delimiter)
	{
		if (b->dialect.quote == '\'' && a->dialect.quote != '\'')
			return a->begun > 0 && a->ended > 0 &&
				   (b->bad < a->bad ||
					(b->bad == a->bad && (a->enclosed >= a->records || a->doubled > 0)));
		if (b->dialect.quote == '\0' && a->dialect.quote == '"' && b->quoted > 0)
			return false;
	}
	if (b->bad != a->bad)
		return b->bad < a->bad;
	return b->usual > a->usual;
}

/* The line "sep=;" that spreadsheets write says the delimiter. */
static bool
read_sep_line(const char *line, size_t len, char *delimiter)
{
	const char *end = line + len;

	while (end > line && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' '))
		end--;
	if (end - line >= 2 && *line == '"' && end[-1] == '"')
		line++, end--;
	if (end - line != 5 || pg_strncasecmp(line, "sep=", 4) != 0)
		return false;
	if (line[4] == '\0' || strchr(";,|:\t^~#!%&*/ ", line[4]) == NULL)
		return false;
	*delimiter = line[4];
	return true;
}

/* Steps over one physical line; false at the end of the sample. */
static bool
next_line(Question *question)
{
	const char *at = question->sample.data + question->first_offset;
	const char *end = question->sample.data + question->sample.len;
	EfNewline newline = question->options->newline;

	if (at == end)
		return false;
	while (at < end && !((*at == '\n' && newline != EF_NEWLINE_CR) ||
						 (*at == '\r' && newline != EF_NEWLINE_LF)))
		at++;
	if (at + 1 < end && at[0] == '\r' && at[1] == '\n' && newline == EF_NEWLINE_ANY)
		at++;
	if (at < end)
		at++;
	question->first_offset = (size_t) (at - question->sample.data);
	question->first_line++;
	return true;
}

/* Finds where to begin reading, and the delimiter if a line says it. */
static void
skip_lines(Question *question, char *delimiter)
{
	for (int64 i = 0; i < question->options->skip; i++)
		if (!next_line(question))
			return;

	/* sep= stands on the first line that is not blank */
	for (;;)
	{
		int64 line = question->first_line;
		size_t before = question->first_offset;
		const char *start = question->sample.data + before;
		size_t len;

		if (!next_line(question))
			return;
		len = question->first_offset - before;
		if (read_sep_line(start, len, delimiter))
			return;
		if (!EfIsBlankLine(start, len))
		{
			question->first_offset = before;
			question->first_line = line;
			return;
		}
	}
}

static bool
contains_escaped(const Sample *sample, char escape, char quote)
{
	for (size_t i = 0; i + 1 < sample->len; i++)
		if (sample->data[i] == escape && sample->data[i + 1] == quote)
			return true;
	return false;
}

/* Tries one dialect and keeps it if it is better than the best so far. */
static void
try_dialect(const Question *question, char delimiter, char quote, char escape, Trial *best)
{
	const EfDialectOptions *options = question->options;
	bool first = best->dialect.delimiter == '\0';
	Trial trial;

	memset(&trial, 0, sizeof(trial));
	trial.dialect.delimiter = delimiter;
	trial.dialect.quote = quote;
	trial.dialect.escape = escape;
	trial.dialect.padding = options->padding == EF_PADDING_AUTO ? EF_PADDING_TRIM : options->padding;
	trial.dialect.newline = options->newline;
	trial.data_line = question->first_line;
	trial.data_offset = (int64) question->first_offset;

	if (question->required != NULL && !(options->header_given && !options->header))
	{
		find_header(question, &trial);
		if (!first && trial.matched < best->matched)
			return;
	}
	try_records(question, &trial);
	if (first || is_better(&trial, best))
		*best = trial;
}

/* Tries one delimiter with every quote and escape that the options leave open. */
static void
try_quotings(const Question *question, char delimiter, Trial *best)
{
	const EfDialectOptions *options = question->options;
	const Sample *sample = &question->sample;
	char quotes[] = {'"', '\0', '\''}; /* in order of preference */
	int nquotes = lengthof(quotes);

	if (options->quote_given)
	{
		quotes[0] = options->quote;
		nquotes = 1;
	}
	for (int i = 0; i < nquotes; i++)
	{
		char quote = quotes[i];

		if (quote == delimiter || (options->escape_given && options->escape == delimiter))
			continue;
		if (quote == '\'' && nquotes > 1 && memchr(sample->data, quote, sample->len) == NULL)
			continue;
		if (options->escape_given)
		{
			try_dialect(question, delimiter, quote, options->escape, best);
			continue;
		}
		try_dialect(question, delimiter, quote, quote, best);
		if (quote != '\0' && contains_escaped(sample, '\\', quote))
			try_dialect(question, delimiter, quote, '\\', best);
	}
}

/* True where padding shows inside quotes: in the header, or in every record. */
static bool
is_padded_inside(const Trial *trial)
{
	return trial->padded ||
		   (trial->records > trial->bad && trial->tabbed == trial->records - trial->bad);
}

void
EfDialectDetect(const char *sample, size_t len, bool whole, const EfDialectOptions *options,
				const char *const *required, int nrequired, size_t max_record,
				EfDetected *found)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "eikon_features dialect",
												  ALLOCSET_DEFAULT_SIZES);
	Question question = {{sample, len, 0}, whole, options, required, nrequired, max_record, 1, 0};
	Trial best;
	char sep_delimiter = '\0';

	MemoryContextSwitchTo(context);
	memset(&best, 0, sizeof(best));
	skip_lines(&question, &sep_delimiter);

	if (options->delimiter_given)
		try_quotings(&question, options->delimiter, &best);
	else if (sep_delimiter != '\0' && !(options->quote_given && sep_delimiter == options->quote) &&
			 !(options->escape_given && sep_delimiter == options->escape))
		try_quotings(&question, sep_delimiter, &best);
	else
		for (size_t i = 0; i < lengthof(delimiters); i++)
			try_quotings(&question, delimiters[i], &best);

	MemoryContextSwitchTo(caller);
	memset(found, 0, sizeof(*found));
	found->dialect = best.dialect;
	if (options->padding == EF_PADDING_AUTO && required != NULL && is_padded_inside(&best))
		found->dialect.padding = EF_PADDING_TRIM_QUOTED;
	found->complete = required != NULL && best.ncolumns > 0 && best.matched == nrequired;
	found->first_line = question.first_line;
	found->first_offset = question.first_offset;
	found->header_line = best.header_line;
	found->data_line = best.data_line;
	found->data_offset = (size_t) best.data_offset;
	found->ncolumns = best.ncolumns;
	found->columns = palloc(sizeof(char *) * (Size) Max(best.ncolumns, 1));
	for (int i = 0; i < best.ncolumns; i++)
		found->columns[i] = pstrdup(best.columns[i]);
	MemoryContextDelete(context);
}
