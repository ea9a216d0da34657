/*
 * source_fingerprint.c
 *		Tells one content of a source from another.
 */
#include "postgres.h"

#include <xxhash.h>

#include "source_fingerprint.h"
#include "utils/memutils.h"

struct EfFingerprint
{
	XXH3_state_t *state;
	MemoryContext context;
};

static void
free_state(void *state)
{
	(void) XXH3_freeState(state);
}

/* The library allocates its state itself; it goes with a context, whatever happens. */
EfFingerprint *
EfFingerprintBegin(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "eikon_features fingerprint",
												  ALLOCSET_SMALL_SIZES);
	EfFingerprint *fingerprint = MemoryContextAlloc(context, sizeof(EfFingerprint));
	MemoryContextCallback *callback = MemoryContextAlloc(context, sizeof(MemoryContextCallback));

	fingerprint->context = context;
	fingerprint->state = XXH3_createState();
	if (fingerprint->state == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	callback->func = free_state;
	callback->arg = fingerprint->state;
	MemoryContextRegisterResetCallback(context, callback);
	(void) XXH3_128bits_reset(fingerprint->state);
	return fingerprint;
}

void
EfFingerprintAdd(EfFingerprint *fingerprint, const void *data, size_t len)
{
	(void) XXH3_128bits_update(fingerprint->state, data, len);
}

void
EfFingerprintAddText(EfFingerprint *fingerprint, const char *text)
{
	EfFingerprintAdd(fingerprint, text, strlen(text) + 1);
}

void
EfFingerprintEnd(EfFingerprint *fingerprint, char *digits)
{
	XXH128_hash_t hash = XXH3_128bits_digest(fingerprint->state);

	snprintf(digits, EF_FINGERPRINT_SIZE, "%016llx%016llx", (unsigned long long) hash.high64,
			 (unsigned long long) hash.low64);
	MemoryContextDelete(fingerprint->context);
}
