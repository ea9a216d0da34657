/*
 * run_upload.c
 *		Files that come by SQL: checked and kept until a run has read them.
 *
 *	eikon_upload	content -> EfCheckFile -> eikon_uploads
 *	a run			eikon_uploads -> spool -> pipeline -> store -> used ones removed
 *
 * All of it is done with the rights of the role that calls. Contents are never taken out
 * of the table as a whole.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "derive_check.h"
#include "json.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "query.h"
#include "run_upload.h"
#include "store_check.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* So many rejects are told of. */
#define REJECTS_SHOWN 100

/* What is taken out of the table at a time. */
#define SLICE (1024 * 1024)

static int max_upload_size = 256 * 1024;

void
EfUploadInit(void)
{
	/*
	 * Lower it where strangers may upload: a file is held in memory while it is checked,
	 * and about twice while it is stored. Raise it where memory is to spare; pg_dump, which
	 * writes two characters for a byte, takes no more than the maximum.
	 */
	DefineCustomIntVariable("eikon_features.max_upload_size",
							"Largest file that eikon_upload() takes, as it is sent.",
							"Compressed files may be larger when they are decompressed, up to eikon_features.max_decompressed_size.",
							&max_upload_size, 256 * 1024, 1, 500 * 1024,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
}

static char *
uploads_table(Oid schema)
{
	return psprintf("%s.eikon_uploads", quote_identifier(get_namespace_name(schema)));
}

/* So that it is said before much has been read. */
static void
check_rights(Oid schema, AclMode rights, const char *words)
{
	Oid table = get_relname_relid("eikon_uploads", schema);

	if (!OidIsValid(table))
		EfStoreMissing(schema, "eikon_uploads");
	if (pg_class_aclmask(table, GetUserId(), rights, ACLMASK_ALL) != rights)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table %s", "eikon_uploads"),
				 errhint("It takes %s on it.", words)));
}

/*
 * What to call a file: the last component of the name that its uploader gave, of
 * whichever system's paths, where that is fit to be shown.
 */
static char *
make_name(EfKind kind, const char *file_name)
{
	const char *last;
	size_t len;

	if (file_name == NULL)
		file_name = "";
	last = file_name + strlen(file_name);
	while (last > file_name && last[-1] != '/' && last[-1] != '\\')
		last--;
	len = strlen(last);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) last[i] < ' ' || last[i] == 0x7F)
			len = 0;
	if (EfIsBlankLine(last, len))
		return psprintf("%s.csv", EfKindNames[kind]);
	return pnstrdup(last, (Size) pg_mbcliplen(last, (int) len, EF_SPOOL_NAME - 1));
}

/* --- uploading --- */

static EfKind
find_kind(const char *name)
{
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		if (strcmp(name, EfKindNames[kind]) == 0)
			return kind;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no kind of file \"%s\"", name),
			 errhint("Use one of: %s, %s, %s.", EfKindNames[EF_USERS], EfKindNames[EF_COMPOUNDS],
					 EfKindNames[EF_EXPERIMENTS])));
}

static void
check_size(Datum content)
{
	size_t size = toast_raw_datum_size(content) - VARHDRSZ;

	if (size > (size_t) max_upload_size * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a file of %zu bytes is larger than eikon_features.max_upload_size", size),
				 errdetail("The limit is %d kB.", max_upload_size),
				 errhint("Compress it with gzip or Zstandard, raise the limit, or have the server read it from a directory.")));
}

typedef struct Collected
{
	MemoryContext context;
	JsonbParseState *rejects;
	int n;
} Collected;

/* An EfRejectFn. */
static void
collect(void *arg, const EfReject *reject)
{
	Collected *collected = arg;
	JsonbParseState **rejects = &collected->rejects;
	bool value = reject->value.data != NULL;
	MemoryContext old;
	bool truncated;
	char *raw;

	if (collected->n == REJECTS_SHOWN)
		return;
	collected->n++;
	old = MemoryContextSwitchTo(collected->context);
	raw = EfShowText(reject->raw, EF_REJECT_RAW, false, &truncated);
	pushJsonbValue(rejects, WJB_BEGIN_OBJECT, NULL);
	EfJsonInt(rejects, "line", reject->line);
	EfJsonInt(rejects, "byte_offset", reject->offset);
	EfJsonText(rejects, "column_name", reject->column == NULL ? NULL : pstrdup(reject->column));
	EfJsonText(rejects, "value", value ? EfShowText(reject->value, EF_REJECT_VALUE, true, NULL) : NULL);
	EfJsonText(rejects, "error_type", EfReasonName(reject->reason));
	EfJsonText(rejects, "error_message", pstrdup(reject->message));
	EfJsonText(rejects, "hint", EfReasonHint(reject->reason));
	EfJsonText(rejects, "raw", raw);
	EfJsonBool(rejects, "raw_truncated", truncated || reject->raw_partial);
	pushJsonbValue(rejects, WJB_END_OBJECT, NULL);
	MemoryContextSwitchTo(old);
}

/* Keeps the file in place of the one of its kind; returns its number. */
static int64
save_upload(Oid schema, EfKind kind, bytea *content, const char *file_name, const EfUploaded *uploaded)
{
	Oid types[] = {TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID, NAMEOID, TIMESTAMPTZOID, BYTEAOID};
	NameData role;
	Datum args[] = {
		CStringGetTextDatum(EfKindNames[kind]),
		file_name == NULL ? (Datum) 0 : CStringGetTextDatum(file_name),
		Int64GetDatum(VARSIZE_ANY_EXHDR(content)),
		Int64GetDatum(uploaded->records),
		Int64GetDatum(uploaded->rejected),
		NameGetDatum(&role),
		TimestampTzGetDatum(GetCurrentTimestamp()),
		PointerGetDatum(content),
	};
	bool nulls[lengthof(args)] = {false};
	const char *columns = "file_name, bytes, records, rejected, uploaded_by, uploaded_at, content";
	const char *given = "$2, $3, $4, $5, $6, $7, $8";
	char *replace = psprintf("UPDATE %s SET (upload_id, %s) = (DEFAULT, %s) WHERE kind OPERATOR(pg_catalog.=) $1 RETURNING upload_id::pg_catalog.int8",
							 uploads_table(schema), columns, given);
	char *insert = psprintf("INSERT INTO %s (kind, %s) VALUES ($1, %s) ON CONFLICT (kind) DO UPDATE SET"
							" (upload_id, %s) = (excluded.upload_id, %s) RETURNING upload_id::pg_catalog.int8",
							uploads_table(schema), columns, given, columns, given);
	Datum upload_id;
	bool isnull;

	namestrcpy(&role, GetUserNameFromId(GetUserId(), false));
	nulls[1] = file_name == NULL;
	EfQueryBegin();

	/* the latter alone would do, but has one more copy of the content where there is a conflict */
	if (!EfQueryRowLarge(replace, lengthof(args), types, args, nulls, 1, &upload_id, &isnull) &&
		!EfQueryRowLarge(insert, lengthof(args), types, args, nulls, 1, &upload_id, &isnull))
		EfQueryUnexpected(insert);
	EfQueryEnd();
	return DatumGetInt64(upload_id);
}

void
EfUpload(Oid schema, const char *kind_name, Datum content, const char *file_name,
		 const EfOptions *options, EfUploaded *uploaded)
{
	EfKind kind = find_kind(kind_name);
	Collected collected = {.context = CurrentMemoryContext};
	EfKindCounts counts;
	bytea *bytes;

	check_rights(schema, ACL_SELECT | ACL_INSERT | ACL_UPDATE, "SELECT, INSERT and UPDATE");
	check_size(content);
	bytes = DatumGetByteaPP(content);
	pushJsonbValue(&collected.rejects, WJB_BEGIN_ARRAY, NULL);
	EfCheckFile(kind, make_name(kind, file_name),
				(EfText){VARDATA_ANY(bytes), (uint32) VARSIZE_ANY_EXHDR(bytes)}, options,
				collect, &collected, &counts);
	uploaded->rejects = JsonbValueToJsonb(pushJsonbValue(&collected.rejects, WJB_END_ARRAY, NULL));
	uploaded->records = counts.read;
	uploaded->rejected = counts.rejected;
	uploaded->upload_id = 0;
	if (counts.rejected == 0 || options->ignore)
		uploaded->upload_id = save_upload(schema, kind, bytes, file_name, uploaded);
}

/* --- as a source --- */

bool
EfIsUploads(const char *source)
{
	return source != NULL && strcmp(source, EF_UPLOADS) == 0;
}

/* What there is of one kind. */
typedef struct Pending
{
	bool there;
	int64 upload_id;
	int64 bytes;
	char *name;
} Pending;

static void
append_kind(StringInfo kinds, EfKind kind)
{
	appendStringInfo(kinds, "%s%s", kinds->len > 0 ? ", " : "", EfKindNames[kind]);
}

/* As the active snapshot sees it; throws unless there is one of each kind. */
static void
find_all(Oid schema, Pending *pending)
{
	char *sql = psprintf("SELECT upload_id::pg_catalog.int8, pg_catalog.octet_length(content), file_name::pg_catalog.text FROM %s WHERE kind OPERATOR(pg_catalog.=) $1",
						 uploads_table(schema));
	Oid type = TEXTOID;
	StringInfoData there;
	StringInfoData missing;

	initStringInfo(&there);
	initStringInfo(&missing);
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		Datum arg = CStringGetTextDatum(EfKindNames[kind]);
		Datum values[3];
		bool nulls[3];

		pending[kind].there = EfQueryRowActive(sql, 1, &type, &arg, 3, values, nulls);
		append_kind(pending[kind].there ? &there : &missing, kind);
		if (!pending[kind].there)
			continue;
		pending[kind].upload_id = DatumGetInt64(values[0]);
		pending[kind].bytes = DatumGetInt32(values[1]);
		pending[kind].name = make_name(kind, nulls[2] ? NULL : TextDatumGetCString(values[2]));
	}
	if (missing.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no uploaded file of kind %s", missing.data),
				 there.len > 0 ? errdetail("There is one of kind %s.", there.data) :
								 errdetail("No uploaded file is waiting for a run."),
				 errhint("Upload a file of each kind with eikon_upload(); a run that succeeds removes those that it has read.")));
}

/* Slice by slice, each of which is let go before the next one is fetched. */
static void
copy_content(Oid schema, const Pending *pending, File file)
{
	char *sql = psprintf("SELECT pg_catalog.substr(content, $2, $3) FROM %s WHERE upload_id OPERATOR(pg_catalog.=) $1",
						 uploads_table(schema));
	Oid types[] = {INT8OID, INT4OID, INT4OID};

	for (int64 at = 0; at < pending->bytes; at += SLICE)
	{
		Datum args[] = {Int64GetDatum(pending->upload_id), Int32GetDatum((int32) at + 1),
						Int32GetDatum(SLICE)};
		bytea *slice;
		Datum value;
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		EfQueryBegin();
		if (!EfQueryRowActive(sql, lengthof(args), types, args, 1, &value, &isnull))
			EfQueryUnexpected(sql);
		slice = DatumGetByteaPP(value);
		EfSpoolWrite(file, VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice), at);
		EfQueryEnd();
	}
}

static void
begin_looking(void)
{
	/* what this transaction has uploaded counts, too */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	EfQueryBegin();
}

static void
end_looking(void)
{
	EfQueryEnd();
	PopActiveSnapshot();
}

void
EfUploadsCheck(Oid schema)
{
	Pending pending[EF_KINDS];

	check_rights(schema, ACL_SELECT | ACL_DELETE, "SELECT and DELETE");
	begin_looking();
	find_all(schema, pending);
	end_looking();
}

const EfSpool *
EfUploadsSpool(Oid schema, const char *source, bool remove, EfUploads *uploads)
{
	Pending pending[EF_KINDS];

	if (!EfIsUploads(source))
		return NULL;
	if (remove)
		check_rights(schema, ACL_SELECT | ACL_DELETE, "SELECT and DELETE");
	else
		check_rights(schema, ACL_SELECT, "SELECT");
	EfSpoolBegin(&uploads->spool, CurrentMemoryContext);
	begin_looking();
	find_all(schema, pending);
	for (EfKind kind = 0; kind < EF_KINDS; kind++)
	{
		File file = EfSpoolCreate(&uploads->spool, kind, pending[kind].name);

		copy_content(schema, &pending[kind], file);
		EfSpoolFinish(file);
		uploads->ids[kind] = pending[kind].upload_id;
	}
	end_looking();
	return &uploads->spool;
}

void
EfUploadsRemove(Oid schema, const EfUploads *uploads)
{
	Oid types[] = {INT8OID, INT8OID, INT8OID};
	Datum args[EF_KINDS];

	for (EfKind kind = 0; kind < EF_KINDS; kind++)
		args[kind] = Int64GetDatum(uploads->ids[kind]);
	EfQueryRun(psprintf("DELETE FROM %s WHERE upload_id OPERATOR(pg_catalog.=) ANY (ARRAY[$1, $2, $3])",
						uploads_table(schema)),
			   EF_KINDS, types, args, NULL);
}
