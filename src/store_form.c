/*
 * store_form.c
 *		Features -> heap tuples.
 *
 * The layout is known, so a tuple is written in one go, without a Datum or a
 * palloc in between. It is what heap_form_tuple would have made, to the last byte
 * of padding, since rows are compared with those of the table as they lie there;
 * but it has neither the header of a Datum nor that of a row in a table, which
 * both begin where the transactions are.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "store_form.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define COLUMNS_OF_ONE_USER                \
	{"user_id", INT8OID, true},            \
		{"name", TEXTOID, false},          \
		{"email", TEXTOID, false},         \
		{"signup_date", DATEOID, false},   \
	{                                      \
		"total_experiments", INT8OID, true \
	}

#define COLUMNS_OF_ONE_USER_MORE                            \
	{"avg_experiment_run_time", FLOAT8OID, false},          \
		{"total_experiment_run_time", FLOAT8OID, false},    \
		{"most_common_compound_id", INT8OID, false},        \
		{"most_common_compound_name", TEXTOID, false},      \
		{"most_common_compound_structure", TEXTOID, false}, \
		{"most_common_compound_count", INT8OID, false},     \
	{                                                       \
		"most_common_compound_ids", INT8ARRAYOID, false     \
	}

static const EfColumn user_features_columns[] = {
	COLUMNS_OF_ONE_USER,
	COLUMNS_OF_ONE_USER_MORE,
};

static const EfColumn features_columns[] = {
	COLUMNS_OF_ONE_USER,
	{"avg_experiments", FLOAT8OID, false},
	{"experiments_pct", FLOAT8OID, false},
	COLUMNS_OF_ONE_USER_MORE,
};

const EfRelation EfUserFeatures = {"eikon_user_features", user_features_columns,
								   lengthof(user_features_columns)};
const EfRelation EfFeaturesView = {"features", features_columns, lengthof(features_columns)};

static const EfColumn compounds_columns[] = {
	{"compound_id", INT8OID, true},
	{"compound_name", TEXTOID, false},
	{"compound_structure", TEXTOID, false},
};

const EfRelation EfCompoundsTable = {"eikon_compounds", compounds_columns,
									 lengthof(compounds_columns)};

static const EfColumn totals_columns[] = {
	{"users", INT8OID, true},
	{"experiments", INT8OID, true},
	{"run_id", INT8OID, true},
};

const EfRelation EfTotalsTable = {"eikon_totals", totals_columns, lengthof(totals_columns)};

static const EfColumn rejects_columns[] = {
	{"reject_id", INT8OID},
	{"kind", TEXTOID},
	{"file", TEXTOID},
	{"line", INT8OID},
	{"byte_offset", INT8OID},
	{"column_name", TEXTOID},
	{"value", TEXTOID},
	{"error_type", TEXTOID},
	{"error_message", TEXTOID},
	{"raw", TEXTOID},
	{"raw_truncated", BOOLOID},
};

/* Without run_id, which is not known until the end. */
const EfRelation EfRejectsTable = {"eikon_rejects", rejects_columns, lengthof(rejects_columns)};

TupleDesc
EfMakeDesc(const EfColumn *columns, int n)
{
	TupleDesc desc = CreateTemplateTupleDesc(n);

	for (int i = 0; i < n; i++)
		TupleDescInitEntry(desc, (AttrNumber) (i + 1), columns[i].name, columns[i].type, -1, 0);
	return desc;
}

TupleDesc
EfRelationDesc(const EfRelation *relation)
{
	return EfMakeDesc(relation->columns, relation->ncolumns);
}

char *
EfListColumns(const EfColumn *columns, int n, const char *before)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s%s", i > 0 ? ", " : "", before, columns[i].name);
	return list.data;
}

bool
EfIsColumn(TupleDesc desc, int i, const char *name, Oid type)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, i);

	if (attribute->attisdropped || strcmp(NameStr(attribute->attname), name) != 0)
		return false;
	if (attribute->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s, expected %s", name,
						format_type_be(attribute->atttypid), format_type_be(type)),
				 errhint("The columns of the extension's tables must keep their types; cast them in a view instead.")));
	return true;
}

bool
EfIsCanonical(TupleDesc desc, const EfRelation *relation)
{
	if (desc->natts != relation->ncolumns)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		if (!EfIsColumn(desc, i, relation->columns[i].name, relation->columns[i].type))
			return false;
		/* short values have short headers, but not with SET STORAGE PLAIN */
		if (TupleDescAttr(desc, i)->attlen == -1 &&
			TupleDescAttr(desc, i)->attstorage == TYPSTORAGE_PLAIN)
			return false;
	}
	return true;
}

/* --- forming --- */

/*
 * Where the next byte goes. Buffers are MAXALIGNed and so is what comes before the
 * values, so an address is aligned where its offset in the tuple is.
 */
typedef struct Writer
{
	char *next;
	bits8 *nulls; /* NULL: there are none */
	int column;
	bool varlena; /* there is one */
} Writer;

/* What a value may take beyond its bytes: padding before it, and a long header. */
#define VALUE_OVERHEAD (MAXIMUM_ALIGNOF + VARHDRSZ)

/* The bytes of an array of one dimension before its elements. */
#define IDS_HEADER ARR_OVERHEAD_NONULLS(1)

static void
align(Writer *writer, Size alignment)
{
	memset(writer->next, 0, MAXIMUM_ALIGNOF); /* the padding; values overwrite the rest */
	writer->next = (char *) TYPEALIGN(alignment, writer->next);
}

/* Begins the next column: false where it is NULL and there is no more to it. */
static bool
begin(Writer *writer, bool present)
{
	int i = writer->column++;

	if (present && writer->nulls != NULL)
		writer->nulls[i / BITS_PER_BYTE] |= (bits8) (1 << (i % BITS_PER_BYTE));
	return present;
}

static void
put_int64(Writer *writer, bool present, int64 value)
{
	if (!begin(writer, present))
		return;
	align(writer, ALIGNOF_DOUBLE); /* typalign of int8 and float8 is "d" */
	memcpy(writer->next, &value, sizeof(value));
	writer->next += sizeof(value);
}

static void
put_float8(Writer *writer, bool present, double value)
{
	int64 bits;

	memcpy(&bits, &value, sizeof(bits));
	put_int64(writer, present, bits);
}

static void
put_int32(Writer *writer, bool present, int32 value)
{
	if (!begin(writer, present))
		return;
	align(writer, ALIGNOF_INT);
	memcpy(writer->next, &value, sizeof(value));
	writer->next += sizeof(value);
}

/* The header of len bytes: a short one where it suffices, which needs no padding. */
static void
put_varlena_header(Writer *writer, Size len, Size alignment)
{
	writer->varlena = true;
	if (len + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
	{
		SET_VARSIZE_SHORT(writer->next, len + VARHDRSZ_SHORT);
		writer->next += VARHDRSZ_SHORT;
		return;
	}
	align(writer, alignment);
	SET_VARSIZE(writer->next, len + VARHDRSZ);
	writer->next += VARHDRSZ;
}

static void
put_text(Writer *writer, EfText text)
{
	if (!begin(writer, text.data != NULL))
		return;
	put_varlena_header(writer, text.len, ALIGNOF_INT);
	memcpy(writer->next, text.data, text.len);
	writer->next += text.len;
}

static void
put_ids(Writer *writer, const int64 *ids, int n)
{
	Size len = sizeof(*ids) * (Size) n;
	ArrayType array = {.ndim = 1, .dataoffset = 0, .elemtype = INT8OID};
	int bounds[2] = {n, 1}; /* dimension, lower bound */

	if (!begin(writer, n > 0))
		return;
	put_varlena_header(writer, IDS_HEADER - VARHDRSZ + len, ALIGNOF_DOUBLE);
	memcpy(writer->next, (char *) &array + VARHDRSZ, sizeof(array) - VARHDRSZ);
	memcpy(writer->next + sizeof(array) - VARHDRSZ, bounds, sizeof(bounds));
	writer->next += IDS_HEADER - VARHDRSZ;
	memcpy(writer->next, ids, len);
	writer->next += len;
}

/* An upper bound of what the tuple takes. */
static Size
bound(const EfFeatures *features)
{
	Size size = MAXALIGN(SizeofHeapTupleHeader + BITMAPLEN(EF_COLUMNS_MOST)) +
				EF_COLUMNS_MOST * (VALUE_OVERHEAD + sizeof(int64)) + IDS_HEADER +
				MAXIMUM_ALIGNOF;

	if (features->user.name.data != NULL)
		size += features->user.name.len;
	if (features->user.email.data != NULL)
		size += features->user.email.len;
	if (features->ntied == 0)
		return size;
	size += sizeof(int64) * (Size) features->ntied;
	if (features->compound->name.data != NULL)
		size += features->compound->name.len;
	if (features->compound->structure.data != NULL)
		size += features->compound->structure.len;
	return size;
}

static bool
has_nulls(const EfFeatures *features)
{
	return features->user.name.data == NULL || features->user.email.data == NULL ||
		   !features->user.has_signup_date || !features->has_run_time ||
		   features->ntied == 0 || features->compound->name.data == NULL ||
		   features->compound->structure.data == NULL;
}

/* The values, in the order of the columns. */
static void
put_features(Writer *writer, const EfFeatures *features, bool view)
{
	static const EfCompound none = {0};
	const EfCompound *compound = features->ntied > 0 ? features->compound : &none;
	const EfUser *user = &features->user;

	put_int64(writer, true, user->user_id);
	put_text(writer, user->name);
	put_text(writer, user->email);
	put_int32(writer, user->has_signup_date, user->signup_date);
	put_int64(writer, true, features->experiments);
	if (view)
	{
		put_float8(writer, true, features->avg_experiments);
		put_float8(writer, true, features->experiments_pct);
	}
	put_float8(writer, features->has_run_time, features->avg_run_time);
	put_float8(writer, features->has_run_time, features->total_run_time);
	put_int64(writer, features->ntied > 0, compound->compound_id);
	put_text(writer, compound->name);
	put_text(writer, compound->structure);
	put_int64(writer, features->ntied > 0, features->count);
	put_ids(writer, features->tied, features->ntied);
}

/* That it is what heap_form_tuple makes of the values in it. */
static void
assert_canonical(const HeapTupleData *tuple, const EfRelation *relation)
{
#ifdef USE_ASSERT_CHECKING
	TupleDesc desc = EfRelationDesc(relation);
	Datum values[EF_COLUMNS_MOST];
	bool nulls[EF_COLUMNS_MOST];
	Size hoff = offsetof(HeapTupleHeaderData, t_hoff);
	HeapTuple made;

	heap_deform_tuple(unconstify(HeapTupleData *, tuple), desc, values, nulls);
	made = heap_form_tuple(desc, values, nulls);
	Assert(made->t_len == tuple->t_len);
	Assert(made->t_data->t_infomask2 == tuple->t_data->t_infomask2);
	Assert((made->t_data->t_infomask & ~HEAP_XACT_MASK) == tuple->t_data->t_infomask);
	Assert(memcmp(&made->t_data->t_hoff, &tuple->t_data->t_hoff, made->t_len - hoff) == 0);
	heap_freetuple(made);
	FreeTupleDesc(desc);
#endif
}

bool
EfFormFeatures(const EfFeatures *features, bool view, StringInfo buffer, HeapTupleData *tuple)
{
	const EfRelation *relation = view ? &EfFeaturesView : &EfUserFeatures;
	Size size = bound(features);
	bool nulls = has_nulls(features);
	Size header = MAXALIGN(SizeofHeapTupleHeader +
						   (nulls ? BITMAPLEN(relation->ncolumns) : 0));
	HeapTupleHeader data;
	Writer writer = {0};

	if (features->has_run_time && !isfinite(features->total_run_time))
		return false;
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("row of user " INT64_FORMAT " is too large", features->user.user_id)));
	Assert(buffer->len == (int) MAXALIGN(buffer->len));
	enlargeStringInfo(buffer, (int) size);

	data = (HeapTupleHeader) (buffer->data + buffer->len);
	memset(data, 0, header);
	writer.next = (char *) data + header;
	writer.nulls = nulls ? data->t_bits : NULL;
	put_features(&writer, features, view);
	Assert(writer.column == relation->ncolumns);

	tuple->t_len = (uint32) (writer.next - (char *) data);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	tuple->t_data = data;
	ItemPointerSetInvalid(&data->t_ctid);
	HeapTupleHeaderSetNatts(data, relation->ncolumns);
	data->t_hoff = (uint8) header;
	data->t_infomask = (uint16) ((nulls ? HEAP_HASNULL : 0) |
								 (writer.varlena ? HEAP_HASVARWIDTH : 0));
	align(&writer, MAXIMUM_ALIGNOF);
	buffer->len = (int) (writer.next - buffer->data);
	assert_canonical(tuple, relation);
	return true;
}

void
EfFeaturesOutOfRange(int64 user_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("sum of the run times of user " INT64_FORMAT " is out of range for type double precision",
					user_id),
			 errhint("Look for run times that are far too large.")));
}
