/*
 * derive_units.c
 *		Cuts files into units.
 *
 * Where a unit begins is found by looking for a newline, which is wrong where that
 * stands within quotes. The place where the unit before ended shows it; such a file
 * is cut again, at places where records begin.
 */
#include "postgres.h"

#include "derive_units.h"
#include "grow.h"
#include "miscadmin.h"

/* How much text a unit has. */
#define UNIT_SIZE (2 * 1024 * 1024)

static EfUnit *
add_unit(EfUnits *units, uint32 file, int64 begin, int64 end)
{
	EfUnit *unit;

	if (units->n == units->capacity)
	{
		units->capacity = Max(64, units->capacity * 2);
		units->units = EfGrow(CurrentMemoryContext, units->units, sizeof(EfUnit) * units->capacity);
	}
	unit = &units->units[units->n++];
	memset(unit, 0, sizeof(*unit));
	unit->file = file;
	unit->begin = begin;
	unit->end = end;
	return unit;
}

/* Cuts a file anywhere; lines are looked for later. */
static void
cut_file(EfUnits *units, uint32 number, const EfFileInfo *file)
{
	int64 begin = file->data_offset;
	EfUnit *unit = add_unit(units, number, begin, PG_INT64_MAX);

	unit->exact = true;
	unit->line = file->data_line;
	while (file->plain && file->stamp.size - begin > UNIT_SIZE * 3 / 2)
	{
		begin += UNIT_SIZE;
		unit->end = begin;
		unit = add_unit(units, number, begin, PG_INT64_MAX);
	}
}

/* Cuts a file where records begin, for which it is read. */
static void
cut_file_exactly(EfUnits *units, uint32 number, const EfFiles *files, const EfFileInfo *file)
{
	EfFile *opened = EfFilesOpen(files, file);
	EfUnit *unit = add_unit(units, number, file->data_offset, PG_INT64_MAX);
	EfRecordReader *reader;
	EfRecord record;

	unit->exact = true;
	unit->line = file->data_line;
	EfFileSeek(opened, unit->begin);
	reader = EfRecordBegin(CurrentMemoryContext, &file->dialect, EfFileRead, opened, unit->line,
						   unit->begin, EfMaxRecord());
	while (EfRecordNext(reader, &record))
	{
		int64 line;
		int64 offset;

		CHECK_FOR_INTERRUPTS();
		EfRecordPosition(reader, &line, &offset);
		if (record.defect == EF_LINE_SIZE || offset - unit->begin < UNIT_SIZE)
			continue;
		unit->end = offset;
		unit = add_unit(units, number, offset, PG_INT64_MAX);
		unit->exact = true;
		unit->line = line;
	}
	EfRecordEnd(reader);
	EfFileClose(opened);
}

void
EfUnitsCut(EfUnits *units, const EfFiles *files, EfKind kind, const bool *exactly)
{
	units->n = 0;
	for (int i = 0; i < files->n[kind]; i++)
	{
		const EfFileInfo *file = &files->infos[kind][i];

		if (exactly[i])
			cut_file_exactly(units, (uint32) i, files, file);
		else
			cut_file(units, (uint32) i, file);
	}
}

bool
EfUnitsFit(const EfUnits *units, bool *exactly)
{
	bool fit = true;

	for (uint32 i = 1; i < units->n; i++)
	{
		const EfUnit *unit = &units->units[i];

		if (unit->file != unit[-1].file || unit->first == unit[-1].next)
			continue;
		exactly[unit->file] = true;
		fit = false;
	}
	return fit;
}

EfIdRun *
EfUnitsIds(const EfUnits *units)
{
	EfIdRun *runs = palloc_extended(sizeof(EfIdRun) * ((size_t) units->n + 1), MCXT_ALLOC_HUGE);

	for (uint32 i = 0; i < units->n; i++)
		runs[i] = units->units[i].ids;
	return runs;
}
