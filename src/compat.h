/*
 * compat.h
 *		Differences between the versions of PostgreSQL that are supported; no
 *		other file tests PG_VERSION_NUM.
 */
#ifndef EF_COMPAT_H
#define EF_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "eikon_features needs PostgreSQL 15 or later"
#endif

/* 18 can report the version of a module, pg_get_loaded_modules() */
#if PG_VERSION_NUM >= 180000
#define EF_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "eikon_features", .version = EF_VERSION)
#else
#define EF_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* a word before the declaration since 18 */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 16 can tell it to add entries to summarizing indexes only; for files that include executor/executor.h */
#if PG_VERSION_NUM >= 160000
#define EfInsertIndexTuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)
#else
#define EfInsertIndexTuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#endif

/* 18 counts the searches of an index scan, if asked */
#if PG_VERSION_NUM >= 180000
#define EfBeginIndexScan(table, index, snapshot) index_beginscan(table, index, snapshot, NULL, 0, 0)
#else
#define EfBeginIndexScan(table, index, snapshot) index_beginscan(table, index, snapshot, 0, 0)
#endif

#endif /* EF_COMPAT_H */
