/*
 * json.h
 *		A jsonb value in the making.
 */
#ifndef EF_JSON_H
#define EF_JSON_H

#include "utils/jsonb.h"

extern void EfJsonKey(JsonbParseState **state, const char *key);

/* token is WJB_VALUE after a key, WJB_ELEM in an array; s must stay until the value is made */
extern void EfJsonString(JsonbParseState **state, JsonbIteratorToken token, const char *s);

/* A key and its value. */
extern void EfJsonText(JsonbParseState **state, const char *key, const char *s); /* NULL: null */
extern void EfJsonInt(JsonbParseState **state, const char *key, int64 n);
extern void EfJsonNumeric(JsonbParseState **state, const char *key, Datum numeric);
extern void EfJsonBool(JsonbParseState **state, const char *key, bool b);

#endif /* EF_JSON_H */
