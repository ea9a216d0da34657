/*
 * store_form.h
 *		The columns of the table features. Its rows are formed by EfStoreForm(),
 *		which store.h offers to everybody.
 */
#ifndef EF_STORE_FORM_H
#define EF_STORE_FORM_H

#include "access/tupdesc.h"

typedef struct EfColumn
{
	const char *name;
	Oid type;
} EfColumn;

#define EF_FEATURES_COLUMNS 14

/* The table features, as the install script creates it. */
extern const EfColumn EfFeaturesColumns[EF_FEATURES_COLUMNS];

extern TupleDesc EfMakeDesc(const EfColumn *columns, int n);

/*
 * Whether rows of desc are laid out as those of EfStoreDesc(): these columns, no
 * others, in this order. Throws as EfStoreIsColumn() does.
 */
extern bool EfIsCanonical(TupleDesc desc);

#endif /* EF_STORE_FORM_H */
