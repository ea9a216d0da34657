/*
 * derive_pack.h
 *		Rows in few bytes, to be handed from one process to another or to a file.
 *
 * Only the build that packed them reads them. Bounds say how many bytes a row
 * takes at most. Unpacked texts point into the packed bytes.
 */
#ifndef EF_DERIVE_PACK_H
#define EF_DERIVE_PACK_H

#include "eikon_features.h"
#include "varint.h"

/* What of a text file packed experiments take, roughly. */
#define EF_PACKED_PART 0.6

#define EF_PACKED_TEXT_BOUND(text) (EF_VARINT_SIZE + (size_t) (text).len)
#define EF_PACKED_USER_BOUND(user) \
	(2 * EF_VARINT_SIZE + EF_PACKED_TEXT_BOUND((user)->name) + EF_PACKED_TEXT_BOUND((user)->email))
#define EF_PACKED_COMPOUND_BOUND(compound) \
	(EF_VARINT_SIZE + EF_PACKED_TEXT_BOUND((compound)->name) + EF_PACKED_TEXT_BOUND((compound)->structure))
#define EF_PACKED_EXPERIMENT_BOUND(ncompounds) \
	(2 * EF_VARINT_SIZE + sizeof(double) + EF_VARINT_SIZE * (size_t) (ncompounds))

static inline char *
EfPackText(char *to, EfText text)
{
	if (text.data == NULL)
		return EfPutVarint(to, 0);
	to = EfPutVarint(to, (uint64) text.len + 1);
	memcpy(to, text.data, text.len);
	return to + text.len;
}

static inline const char *
EfUnpackText(const char *from, EfText *text)
{
	uint64 len;

	from = EfGetVarint(from, &len);
	text->data = len == 0 ? NULL : from;
	text->len = len == 0 ? 0 : (uint32) (len - 1);
	return from + text->len;
}

static inline char *
EfPackUser(char *to, const EfUser *user)
{
	to = EfPutVarint(to, EfZigzag(user->user_id));
	to = EfPutVarint(to, user->has_signup_date ? EfZigzag(user->signup_date) + 1 : 0);
	to = EfPackText(to, user->name);
	return EfPackText(to, user->email);
}

static inline const char *
EfUnpackUser(const char *from, EfUser *user)
{
	uint64 value;

	from = EfGetVarint(from, &value);
	user->user_id = EfUnzigzag(value);
	from = EfGetVarint(from, &value);
	user->has_signup_date = value > 0;
	user->signup_date = value > 0 ? (int32) EfUnzigzag(value - 1) : 0;
	from = EfUnpackText(from, &user->name);
	return EfUnpackText(from, &user->email);
}

static inline char *
EfPackCompound(char *to, const EfCompound *compound)
{
	to = EfPutVarint(to, EfZigzag(compound->compound_id));
	to = EfPackText(to, compound->name);
	return EfPackText(to, compound->structure);
}

static inline const char *
EfUnpackCompound(const char *from, EfCompound *compound)
{
	uint64 value;

	from = EfGetVarint(from, &value);
	compound->compound_id = EfUnzigzag(value);
	from = EfUnpackText(from, &compound->name);
	return EfUnpackText(from, &compound->structure);
}

/* The bits below the number of compounds. */
#define EF_PACKED_TIMED 1 /* a run time follows, then the compounds ... */
#define EF_PACKED_SHORT 2 /* ... in two bytes each, else in a varint */
#define EF_PACKED_BITS 2

/* The experiment of the user with that number; its own id is left out. */
static inline char *
EfPackExperiment(char *to, uint32 user, const EfExperiment *experiment)
{
	uint64 bits = experiment->has_run_time ? EF_PACKED_TIMED : 0;
	uint64 any = 0;

	for (int i = 0; i < experiment->ncompounds; i++)
		any |= (uint64) experiment->compound_ids[i];
	if (any <= PG_UINT16_MAX)
		bits |= EF_PACKED_SHORT;
	to = EfPutVarint(to, user);
	to = EfPutVarint(to, (uint64) experiment->ncompounds << EF_PACKED_BITS | bits);
	if (experiment->has_run_time)
	{
		memcpy(to, &experiment->run_time, sizeof(double));
		to += sizeof(double);
	}
	if (any > PG_UINT16_MAX)
	{
		for (int i = 0; i < experiment->ncompounds; i++)
			to = EfPutVarint(to, EfZigzag(experiment->compound_ids[i]));
		return to;
	}
	for (int i = 0; i < experiment->ncompounds; i++)
	{
		uint16 id = (uint16) experiment->compound_ids[i];

		memcpy(to, &id, sizeof(id));
		to += sizeof(id);
	}
	return to;
}

#endif /* EF_DERIVE_PACK_H */
