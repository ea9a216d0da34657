/*
 * module.c
 *		Entry of the library: initializes each module that has settings or shared memory.
 */
#include "postgres.h"

#include "compat.h"
#include "derive.h"
#include "fmgr.h"
#include "progress.h"
#include "run.h"
#include "run_shared.h"
#include "run_upload.h"
#include "source.h"
#include "utils/guc.h"
#include "worker.h"

EF_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	EfSourceInit();
	EfDeriveInit();
	EfRunInit();
	EfUploadInit();
	EfSharedInit();
	EfProgressInit();
	EfWorkerInit();
	MarkGUCPrefixReserved("eikon_features");
}
