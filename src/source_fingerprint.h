/*
 * source_fingerprint.h
 *		Tells one content of a source from another: XXH3 of 128 bits, as libxxhash has it.
 *
 * It is not meant to withstand somebody who wants two contents to look the same.
 */
#ifndef EF_SOURCE_FINGERPRINT_H
#define EF_SOURCE_FINGERPRINT_H

#include "eikon_features.h"

/* As 32 hexadecimal digits and a terminator. */
#define EF_FINGERPRINT_SIZE 33

typedef struct EfFingerprint EfFingerprint;

/* In the current memory context. */
extern EfFingerprint *EfFingerprintBegin(void);

/* Adds something whose length does not vary, or is added before it. */
extern void EfFingerprintAdd(EfFingerprint *fingerprint, const void *data, size_t len);

/* Adds a string, its terminator included. */
extern void EfFingerprintAddText(EfFingerprint *fingerprint, const char *text);

extern void EfFingerprintEnd(EfFingerprint *fingerprint, char *digits);

#endif /* EF_SOURCE_FINGERPRINT_H */
