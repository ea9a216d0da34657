/*
 * derive_reject.c
 *		Rejects on their way from the member that read a record to the caller.
 */
#include "postgres.h"

#include "derive_input.h"
#include "derive_reject.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* A reject as it is written to a stream; column, value, message and raw follow. */
typedef struct Packed
{
	EfReason reason;
	int sqlstate;
	int64 line; /* of those of the unit, from 0 */
	int64 offset;
	bool has_column;
	bool has_value;
	bool raw_partial;
	uint32 column;
	uint32 value;
	uint32 message;
	uint32 raw;
} Packed;

static char *
append(char *to, const void *from, size_t len)
{
	if (len > 0)
		memcpy(to, from, len);
	return to + len;
}

void
EfPackReject(EfStreamWriter *writer, const EfRecord *record, const EfRowFault *fault, int64 line)
{
	Packed packed;
	char *to;

	memset(&packed, 0, sizeof(packed));
	packed.reason = fault->reason;
	packed.sqlstate = fault->sqlstate;
	packed.line = line;
	packed.offset = record->offset;
	packed.has_column = fault->column != NULL;
	packed.column = fault->column == NULL ? 0 : (uint32) strlen(fault->column);
	packed.has_value = fault->value.data != NULL;
	packed.value = fault->value.len;
	packed.message = (uint32) strlen(fault->message);

	/* more than is kept, so that it is known to be cut */
	packed.raw = (uint32) Min(record->raw_len, 2 * EF_REJECT_RAW);
	packed.raw_partial = record->raw_partial || packed.raw < record->raw_len;
	packed.value = Min(packed.value, 2 * EF_REJECT_RAW);

	to = EfStreamRoom(writer, 0, sizeof(packed) + packed.column + packed.value + packed.message + packed.raw);
	to = append(to, &packed, sizeof(packed));
	to = append(to, fault->column, packed.column);
	to = append(to, fault->value.data, packed.value);
	to = append(to, fault->message, packed.message);
	EfStreamWrote(writer, 0, append(to, record->raw, packed.raw));
}

/* --- giving out --- */

static void
give_reject(EfRejectSink *sink, EfPlace *place, const EfReject *reject)
{
	place->reject = reject;
	sink->fn(sink->arg, reject);
	if (!sink->options->ignore)
		EfRejectThrow(reject);
	sink->given++;
	if (sink->options->reject_limit > 0 && sink->given > sink->options->reject_limit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg_plural("more than " INT64_FORMAT " record rejected",
							   "more than " INT64_FORMAT " records rejected",
							   (unsigned long) sink->options->reject_limit,
							   sink->options->reject_limit),
				 errdetail("The last one: %s.", reject->message),
				 errhint("Correct the files, or raise reject_limit.")));
	place->reject = NULL;
}

static char *
take_string(const char **from, uint32 len)
{
	char *string = pnstrdup(*from, len);

	*from += len;
	return string;
}

/* Unpacks a reject and gives it out; returns what follows it. */
static const char *
unpack_reject(EfRejectSink *sink, const EfReject *unit, const char *from)
{
	EfPlace place = {.file = unit->file};
	ErrorContextCallback callback = {.callback = EfPlaceContext, .arg = &place};
	EfReject reject = *unit;
	Packed packed;

	memcpy(&packed, from, sizeof(packed));
	from += sizeof(packed);
	reject.reason = packed.reason;
	reject.line = unit->line + packed.line;
	reject.offset = packed.offset;
	reject.column = take_string(&from, packed.column);
	if (!packed.has_column)
		reject.column = NULL;
	reject.value.data = packed.has_value ? from : NULL;
	reject.value.len = packed.value;
	from += packed.value;
	reject.sqlstate = packed.sqlstate;
	reject.message = take_string(&from, packed.message);
	reject.raw.data = from;
	reject.raw.len = packed.raw;
	reject.raw_partial = packed.raw_partial;

	callback.previous = error_context_stack;
	error_context_stack = &callback;
	give_reject(sink, &place, &reject);
	error_context_stack = callback.previous;
	return from + packed.raw;
}

void
EfGiveRejects(EfRejectSink *sink, EfStreamReader *reader, uint32 member, uint32 block, int64 n,
			  const EfReject *unit)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "eikon_features rejects",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (; n > 0; block++)
	{
		size_t len;
		bool copied;
		const char *at = EfStreamBlock(reader, 0, member, block, &len, &copied);
		const char *end = at + len;

		for (; at < end && n > 0; n--)
		{
			CHECK_FOR_INTERRUPTS();
			at = unpack_reject(sink, unit, at);
		}
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
