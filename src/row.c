/*
 * row.c
 *		Records -> typed rows.
 */
#include "postgres.h"

#include "encoding.h"
#include "grow.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "reject.h"
#include "row.h"
#include "row_cast.h"
#include "row_digits.h"
#include "utils/memutils.h"

typedef enum Type
{
	TYPE_ID, /* bigint, not null */
	TYPE_TEXT,
	TYPE_DATE,
	TYPE_RUN_TIME, /* float8, finite, >= 0 */
	TYPE_LIST	   /* ids */
} Type;

typedef struct Column
{
	const char *name;
	Type type;
	size_t target;	/* offset in EfRow */
	size_t present; /* offset in EfRow of a bool, where there is one */
} Column;

#define TARGET(member) offsetof(EfRow, member)

static const Column columns[EF_KINDS][EF_COLUMNS] = {
	[EF_USERS] = {
		{"user_id", TYPE_ID, TARGET(user.user_id), 0},
		{"name", TYPE_TEXT, TARGET(user.name), 0},
		{"email", TYPE_TEXT, TARGET(user.email), 0},
		{"signup_date", TYPE_DATE, TARGET(user.signup_date), TARGET(user.has_signup_date)},
	},
	[EF_COMPOUNDS] = {
		{"compound_id", TYPE_ID, TARGET(compound.compound_id), 0},
		{"compound_name", TYPE_TEXT, TARGET(compound.name), 0},
		{"compound_structure", TYPE_TEXT, TARGET(compound.structure), 0},
	},
	[EF_EXPERIMENTS] = {
		{"experiment_id", TYPE_ID, TARGET(experiment.experiment_id), 0},
		{"user_id", TYPE_ID, TARGET(experiment.user_id), 0},
		{"experiment_compound_ids", TYPE_LIST, TARGET(experiment.compound_ids), 0},
		{"experiment_run_time", TYPE_RUN_TIME, TARGET(experiment.run_time), TARGET(experiment.has_run_time)},
	},
};

const char *const *
EfKindColumns(EfKind kind, int *n)
{
	static const char *names[EF_KINDS][EF_COLUMNS];

	*n = 0;
	for (int i = 0; i < EF_COLUMNS && columns[kind][i].name != NULL; i++)
		names[kind][(*n)++] = columns[kind][i].name;
	return names[kind];
}

/* The names found, for an error's detail. */
static char *
list_names(char **names, int n)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n && list.len < 500; i++)
	{
		EfText name = {names[i], (uint32) strlen(names[i])};

		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "",
						 EfShowText(name, EF_REJECT_VALUE, true, NULL));
		if (i + 1 < n && list.len >= 500)
			appendStringInfoString(&list, ", ...");
	}
	return list.data;
}

static bool
is_required(EfKind kind, const char *name)
{
	for (int i = 0; i < EF_COLUMNS && columns[kind][i].name != NULL; i++)
		if (pg_strcasecmp(columns[kind][i].name, name) == 0)
			return true;
	return false;
}

void
EfRowMapColumns(EfRowMap *map, EfKind kind, char **names, int n, int64 line, List **ignored)
{
	map->kind = kind;
	map->least = 0;
	for (map->ncolumns = 0; map->ncolumns < EF_COLUMNS; map->ncolumns++)
	{
		const char *name = columns[kind][map->ncolumns].name;
		int at = -1;

		if (name == NULL)
			break;
		if (n == 0)
			at = map->ncolumns;
		for (int i = 0; i < n; i++)
		{
			if (pg_strcasecmp(names[i], name) != 0)
				continue;
			if (at >= 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("column \"%s\" stands twice in the header of a %s file",
								name, EfKindNames[kind]),
						 errdetail("Line " INT64_FORMAT " holds the columns %s.", line,
								   list_names(names, n)),
						 errhint("Remove or rename one of the two columns.")));
			at = i;
		}
		if (at < 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" is missing from the header of a %s file",
							name, EfKindNames[kind]),
					 errdetail("Line " INT64_FORMAT " holds the columns %s.", line,
							   list_names(names, n)),
					 errhint("Name the columns in the first line. If the file has no header, use header => false; if its delimiter, quote or encoding is unusual, name it with those options.")));
		map->at[map->ncolumns] = at;
		map->least = Max(map->least, at + 1);
	}
	map->most = Max(n, map->ncolumns);

	for (int i = 0; i < n; i++)
	{
		if (names[i][0] == '\0')
			continue;
		map->least = Max(map->least, i + 1);
		if (!is_required(kind, names[i]))
			*ignored = lappend(*ignored, names[i]);
	}
}

/* Fills a fault; returns false for the caller to return. */
static bool
set_fault(EfRowFault *fault, EfReason reason, int sqlstate, const char *column,
		  EfText value, const char *message)
{
	fault->reason = reason;
	fault->sqlstate = sqlstate;
	fault->column = column;
	fault->value = value;
	fault->message = message;
	return false;
}

static char *
show(EfText value)
{
	return EfShowText(value, EF_REJECT_VALUE, true, NULL);
}

static bool
set_syntax_fault(EfRowFault *fault, const Column *column, EfText value, const char *type)
{
	return set_fault(fault, EF_CAST,
					 column->type == TYPE_DATE ? ERRCODE_INVALID_DATETIME_FORMAT :
												 ERRCODE_INVALID_TEXT_REPRESENTATION,
					 column->name, value,
					 psprintf("invalid input syntax for type %s: \"%s\"", type, show(value)));
}

static bool
set_range_fault(EfRowFault *fault, const Column *column, EfText value, const char *type)
{
	return set_fault(fault, EF_CAST,
					 column->type == TYPE_DATE ? ERRCODE_DATETIME_FIELD_OVERFLOW :
												 ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					 column->name, value,
					 psprintf("value \"%s\" is out of range for %s", show(value), type));
}

static bool
parse_id(const Column *column, EfText value, bool is_null, int64 *id, EfRowFault *fault)
{
	EfCast cast;

	if (is_null)
		return set_fault(fault, EF_CAST, ERRCODE_NOT_NULL_VIOLATION, column->name, value,
						 psprintf("column \"%s\" must not be empty", column->name));
	cast = EfCastBigint(value.data, value.len, id);
	if (cast == EF_CAST_SYNTAX)
		return set_syntax_fault(fault, column, value, "bigint");
	if (cast == EF_CAST_RANGE)
		return set_range_fault(fault, column, value, "type bigint");
	return true;
}

static bool
parse_text(const Column *column, EfText value, bool is_null, EfText *text, EfRowFault *fault)
{
	text->data = NULL;
	text->len = 0;
	if (is_null)
		return true;
	*text = value;
	if (!EfToServer(text))
		return set_fault(fault, EF_INVALID_ENCODING, 0, column->name, value,
						 EfReasonMessage(EF_INVALID_ENCODING));
	return true;
}

static bool
parse_date(const Column *column, EfText value, bool is_null, int32 *date, bool *present,
		   EfRowFault *fault)
{
	*present = !is_null;
	if (is_null)
		return true;
	switch (EfCastDate(value.data, value.len, date))
	{
		case EF_CAST_SYNTAX:
			return set_syntax_fault(fault, column, value, "date (ISO 8601)");
		case EF_CAST_RANGE:
			return set_range_fault(fault, column, value, "type date");
		case EF_CAST_OK:
			break;
	}
	return true;
}

static bool
parse_run_time(const Column *column, EfText value, bool is_null, double *run_time,
			   bool *present, EfRowFault *fault)
{
	*present = !is_null;
	if (is_null)
		return true;
	switch (EfCastFloat8(value.data, value.len, run_time))
	{
		case EF_CAST_SYNTAX:
			return set_syntax_fault(fault, column, value, "double precision");
		case EF_CAST_RANGE:
			return set_range_fault(fault, column, value, "type double precision");
		case EF_CAST_OK:
			break;
	}
	if (*run_time < 0)
		return set_range_fault(fault, column, value, "a run time, which must not be negative");
	*run_time += 0.0; /* no -0 */
	return true;
}

/* Room for the ids that a list of len bytes can hold; grows, and is not freed. */
static int64 *
list_room(EfRow *row, uint32 len)
{
	size_t most = ((size_t) len + 1) / 2;

	if (most > row->room)
	{
		row->ids = EfGrow(row->context, row->ids, sizeof(int64) * (most + 64));
		row->room = most + 64;
	}
	return row->ids;
}

static bool
parse_list(const Column *column, EfText value, bool is_null, EfRow *row, EfRowFault *fault)
{
	EfExperiment *experiment = &row->experiment;
	int64 *ids;
	EfText bad;
	size_t bad_len;

	experiment->compound_ids = NULL;
	experiment->ncompounds = 0;
	if (is_null)
		return true;
	ids = list_room(row, value.len);
	experiment->compound_ids = ids;
	switch (EfCastList(value.data, value.len, ids, &experiment->ncompounds, &bad.data, &bad_len))
	{
		case EF_CAST_SYNTAX:
			bad.len = (uint32) bad_len;
			return set_fault(fault, EF_CAST, 0, column->name, value,
							 psprintf("invalid compound id in list: \"%s\"", show(bad)));
		case EF_CAST_RANGE:
			bad.len = (uint32) bad_len;
			return set_fault(fault, EF_CAST, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, column->name, value,
							 psprintf("value \"%s\" is out of range for type bigint", show(bad)));
		case EF_CAST_OK:
			break;
	}
	return true;
}

/* Whether the value stands for NULL; blanks matter in texts alone. */
static inline bool
is_null(const Column *column, EfText value, EfText null)
{
	if (column->type != TYPE_TEXT)
	{
		value = EfTrim(value);
		if (value.len == 0)
			return true;
	}
	return value.len == null.len && memcmp(value.data, null.data, null.len) == 0;
}

static inline bool
parse_column(const Column *column, EfText value, EfText null, EfRow *row, EfRowFault *fault)
{
	char *base = (char *) row;
	void *target = base + column->target;
	bool *present = (bool *) (base + column->present);
	bool missing = is_null(column, value, null);

	switch (column->type)
	{
		case TYPE_ID:
			return parse_id(column, value, missing, target, fault);
		case TYPE_TEXT:
			return parse_text(column, value, missing, target, fault);
		case TYPE_DATE:
			return parse_date(column, value, missing, target, present, fault);
		case TYPE_RUN_TIME:
			return parse_run_time(column, value, missing, target, present, fault);
		case TYPE_LIST:
			return parse_list(column, value, missing, row, fault);
	}
	pg_unreachable();
}

void
EfRowBegin(EfRow *row, MemoryContext context)
{
	memset(row, 0, sizeof(*row));
	row->context = context;
}

/*
 * Makes a row of an experiment whose values are plain digits, as nearly all are;
 * false where one is not, and the row is to be made with more care.
 */
static inline bool
parse_plain_experiment(const EfRowMap *map, const EfText *fields, EfRow *row)
{
	EfExperiment *experiment = &row->experiment;
	EfText list = fields[map->at[2]];
	const char *at = list.data;
	bool plain;

	experiment->compound_ids = list_room(row, list.len);
	plain = EfQuickBigint(fields[map->at[0]], &experiment->experiment_id);
	plain &= EfQuickBigint(fields[map->at[1]], &experiment->user_id);
	plain &= EfQuickFloat8(fields[map->at[3]], &experiment->run_time);
	experiment->has_run_time = true;
	experiment->ncompounds = EfQuickList(&at, list.data + list.len, row->ids);
	return plain && at == list.data + list.len;
}

bool
EfRowParse(const EfRowMap *map, const EfRecord *record, EfText null, EfRow *row,
		   EfRowFault *fault)
{
	int nfields = record->nfields;
	EfText none = {NULL, 0};

	if (record->defect != EF_TAKEN)
		return set_fault(fault, record->defect, 0, NULL, none, EfReasonMessage(record->defect));
	while (nfields > map->most && record->fields[nfields - 1].len == 0)
		nfields--;
	if (nfields > map->most)
		return set_fault(fault, EF_TOO_MANY_COLUMNS, 0, NULL, none,
						 psprintf("record has %d %s where the header has %d",
								  nfields, nfields == 1 ? "field" : "fields", map->most));
	if (nfields < map->least)
		return set_fault(fault, EF_MISSING_COLUMNS, 0, NULL, none,
						 psprintf("record has %d %s where the header has %d",
								  nfields, nfields == 1 ? "field" : "fields", map->least));

	if (map->kind == EF_EXPERIMENTS && null.len == 0 &&
		parse_plain_experiment(map, record->fields, row))
		return true;
	for (int i = 0; i < map->ncolumns; i++)
		if (!parse_column(&columns[map->kind][i], record->fields[map->at[i]], null, row, fault))
			return false;
	return true;
}

void
EfRowRefused(const EfRowMap *map, const EfRecord *record, const EfRow *row, EfReason reason,
			 EfRowFault *fault)
{
	int i = reason == EF_UNKNOWN_USER ? 1 : 0;
	const char *column = columns[map->kind][i].name;
	EfText value = record->fields[map->at[i]];

	if (reason == EF_UNKNOWN_USER)
		(void) set_fault(fault, reason, 0, column, value,
						 psprintf("user " INT64_FORMAT " was not loaded from any users file",
								  row->experiment.user_id));
	else
		(void) set_fault(fault, reason, 0, column, value,
						 psprintf("%s \"%s\" occurs a second time", column, show(value)));
}
