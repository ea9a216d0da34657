/*
 * plain.h
 *		The reader of records, once more, with libcsv alone.
 */
#ifndef EF_TEST_PLAIN_H
#define EF_TEST_PLAIN_H

#include "record.h"

extern __typeof__(EfRecordBegin) PlainRecordBegin;
extern __typeof__(EfRecordNext) PlainRecordNext;
extern __typeof__(EfRecordLimit) PlainRecordLimit;
extern __typeof__(EfRecordSkipLine) PlainRecordSkipLine;
extern __typeof__(EfRecordPosition) PlainRecordPosition;
extern __typeof__(EfRecordNewlines) PlainRecordNewlines;
extern __typeof__(EfRecordEnd) PlainRecordEnd;

#endif /* EF_TEST_PLAIN_H */
