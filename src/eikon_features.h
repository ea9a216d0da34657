/*
 * eikon_features.h
 *		The words that every stage uses. It includes nothing of ours.
 *
 *	bytes - source -> record -> row -> derive -> store -> features
 *	               (dialect)  (reject)
 *
 * source	the directory that a run reads
 * kind		which of the three kinds of file: users, compounds, user_experiments
 * dialect	delimiter, quote, padding, newline, header position of one file
 * record	one CSV record; it may span physical lines
 * row		the typed user, compound or experiment made from a record
 * reject	a record that could not be taken, with place and reason
 * run		one execution, with its counts and timings
 */
#ifndef EIKON_FEATURES_H
#define EIKON_FEATURES_H

/* In the order in which a run reads them: experiments refer to the others. */
typedef enum EfKind
{
	EF_USERS,
	EF_COMPOUNDS,
	EF_EXPERIMENTS
} EfKind;

#define EF_KINDS 3

/* "users" and so on, which their files are named by. */
extern const char *const EfKindNames[EF_KINDS];

/* Why a record could not be taken; reject.c holds the words for each. */
typedef enum EfReason
{
	EF_TAKEN,
	EF_CAST,
	EF_MISSING_COLUMNS,
	EF_TOO_MANY_COLUMNS,
	EF_UNQUOTED_VALUE,
	EF_UNTERMINATED_QUOTE,
	EF_LINE_SIZE,
	EF_INVALID_ENCODING,
	EF_DUPLICATE_KEY,
	EF_UNKNOWN_USER
} EfReason;

#define EF_REASONS (EF_UNKNOWN_USER + 1)

/* A piece of text, not terminated, not owned. data is NULL for SQL NULL. */
typedef struct EfText
{
	const char *data;
	uint32 len;
} EfText;

/* Blanks: what padding is made of. */
static inline bool
EfIsBlank(char c)
{
	return c == ' ' || c == '\t';
}

/* The text without the blanks around it. */
static inline EfText
EfTrim(EfText text)
{
	while (text.len > 0 && EfIsBlank(*text.data))
		text.data++, text.len--;
	while (text.len > 0 && EfIsBlank(text.data[text.len - 1]))
		text.len--;
	return text;
}

/* Whether nothing but blanks and newlines stands there. */
static inline bool
EfIsBlankLine(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!EfIsBlank(line[i]) && line[i] != '\n' && line[i] != '\r')
			return false;
	return true;
}

/* Which blanks (space, tab) around a value are padding rather than data. */
typedef enum EfPadding
{
	EF_PADDING_AUTO,		/* option only: to be detected */
	EF_PADDING_TRIM,		/* those outside quotes */
	EF_PADDING_TRIM_QUOTED, /* those inside quotes too */
	EF_PADDING_KEEP			/* none */
} EfPadding;

/* Which bytes end a line. */
typedef enum EfNewline
{
	EF_NEWLINE_ANY, /* LF, CRLF and CR, mixed as they come */
	EF_NEWLINE_LF,	/* LF alone; a CR before it is padding */
	EF_NEWLINE_CR	/* CR alone */
} EfNewline;

/*
 * A dialect, complete. escape equals quote where quotes are doubled. Where
 * there is no quote, quote is 0, and escape too unless an option named one.
 */
typedef struct EfDialect
{
	char delimiter;
	char quote;
	char escape;
	EfPadding padding;
	EfNewline newline;
} EfDialect;

/* Rows, one type for each kind. */
typedef struct EfUser
{
	int64 user_id;
	EfText name; /* data NULL: unknown, as below */
	EfText email;
	bool has_signup_date;
	int32 signup_date; /* days since 2000-01-01 */
} EfUser;

typedef struct EfCompound
{
	int64 compound_id;
	EfText name;
	EfText structure;
} EfCompound;

typedef struct EfExperiment
{
	int64 experiment_id;
	int64 user_id;
	const int64 *compound_ids;
	int ncompounds;
	bool has_run_time;
	double run_time; /* finite, >= 0 */
} EfExperiment;

/* The features of one user. */
typedef struct EfFeatures
{
	EfUser user;
	int64 experiments;
	double avg_experiments; /* all experiments / all users */
	double experiments_pct; /* experiments / all experiments; 0 if there are none */
	bool has_run_time;		/* any run time is known */
	double total_run_time;	/* exact sum, rounded once; inf if out of range */
	double avg_run_time;
	int ntied;					/* compounds listed most often; 0 if none is listed */
	const int64 *tied;			/* ascending; valid until the next call */
	int64 count;				/* how often each of them is */
	const EfCompound *compound; /* tied[0]; its texts are NULL where unknown */
} EfFeatures;

/* What the features of every user refer to. */
typedef struct EfTotals
{
	int64 users;
	int64 experiments;
} EfTotals;

/*
 * Where bytes come from: fills buf with up to len bytes and returns how many,
 * 0 at the end. Errors are thrown.
 */
typedef size_t (*EfReadFn)(void *arg, char *buf, size_t len);

#endif /* EIKON_FEATURES_H */
