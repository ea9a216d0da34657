/*
 * plain.c
 *		The reader of records, once more, with libcsv alone.
 *
 * This is record.c under other names, and without record_regular.c: what stands
 * below finds no dialect that it could handle.
 */
#include "server.h"

#define EfRecordBegin PlainRecordBegin
#define EfRecordNext PlainRecordNext
#define EfRecordLimit PlainRecordLimit
#define EfRecordSkipLine PlainRecordSkipLine
#define EfRecordPosition PlainRecordPosition
#define EfRecordNewlines PlainRecordNewlines
#define EfRecordEnd PlainRecordEnd
#define EfRegularBegin PlainRegularBegin
#define EfRegularNext PlainRegularNext
#define EfRegularMoved PlainRegularMoved

#include "record.c"

void
EfRegularBegin(EfRegular *regular, const EfDialect *dialect, MemoryContext context)
{
	memset(regular, 0, sizeof(*regular));
	regular->enabled = false;
}

EfRegularity
EfRegularNext(EfRegular *regular, const char *begin, const char *end)
{
	fail();
	return EF_IRREGULAR;
}

void
EfRegularMoved(EfRegular *regular)
{
}
