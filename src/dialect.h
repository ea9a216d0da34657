/*
 * dialect.h
 *		How a file's dialect is found out. What a dialect is, eikon_features.h says.
 */
#ifndef EF_DIALECT_H
#define EF_DIALECT_H

#include "eikon_features.h"

/* What the caller gives of a dialect; the rest is detected. */
typedef struct EfDialectOptions
{
	bool delimiter_given;
	bool quote_given;
	bool escape_given;
	bool header_given;
	char delimiter;
	char quote;	 /* 0: no quoting */
	char escape; /* equal to quote: doubled quotes */
	EfPadding padding;
	EfNewline newline;
	bool header; /* false: no header, columns in their documented order */
	int64 skip;	 /* physical lines before the header or the data */
} EfDialectOptions;

/* What detection found. Texts and arrays live in the caller's context. */
typedef struct EfDetected
{
	EfDialect dialect;
	bool complete;		 /* the header has all the columns required */
	int64 first_line;	 /* where reading starts: after lines to be skipped */
	size_t first_offset; /* byte in the sample where that line begins */
	int64 header_line;	 /* physical line of the header, 0 for none */
	int64 data_line;	 /* physical line after it: where records begin */
	size_t data_offset;	 /* byte in the sample where that line begins */
	int ncolumns;		 /* number of columns of the header */
	char **columns;		 /* their names, trimmed; "" for unnamed ones */
} EfDetected;

/*
 * Finds the dialect of the file that begins with sample. whole says that
 * the sample is the whole file. required lists the columns that must be
 * there; NULL takes the file as it is, without a header, for a preview.
 * The header reported is the first record that has all of them, else the
 * one that has most: whoever maps the columns complains. ncolumns is 0 when
 * the sample holds no record, or no header was to be looked for.
 */
extern void EfDialectDetect(const char *sample, size_t len, bool whole,
							const EfDialectOptions *options,
							const char *const *required, int nrequired,
							size_t max_record, EfDetected *found);

#endif /* EF_DIALECT_H */
