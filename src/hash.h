/*
 * hash.h
 *		Spreads ids over a table.
 */
#ifndef EF_HASH_H
#define EF_HASH_H

/*
 * Finalizer of splitmix64 (Steele, Lea, Flood 2014). The seed, another one for
 * each run, keeps ids from being chosen to collide.
 */
static inline uint64
EfHashId(uint64 id, uint64 seed)
{
	id ^= seed;
	id = (id ^ (id >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	id = (id ^ (id >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return id ^ (id >> 31);
}

#endif /* EF_HASH_H */
