/*
 * scan.h
 *		Finds the bytes that give text its structure: delimiters, quotes, newlines.
 */
#ifndef EF_SCAN_H
#define EF_SCAN_H

#define EF_SCAN_BYTES 4

/*
 * Finds the len (up to 4 GB) bytes at data that are one of the four in wanted, of
 * which some may be the same. Their positions, counted from data, are written to
 * positions, ascending; it has room for len of them. Returns how many there are.
 */
extern size_t EfScan(const char wanted[EF_SCAN_BYTES], const char *data, size_t len,
					 uint32 *positions);

/* Names of the ways of doing it on this machine, the best one first. */
typedef size_t (*EfScanFn)(const char wanted[EF_SCAN_BYTES], const char *data, size_t len,
						   uint32 *positions);

typedef struct EfScanWay
{
	const char *name;
	EfScanFn scan;
} EfScanWay;

extern const EfScanWay *EfScanWays(int *n);

#endif /* EF_SCAN_H */
