/*
 * json.c
 *		A jsonb value in the making.
 */
#include "postgres.h"

#include "json.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

void
EfJsonKey(JsonbParseState **state, const char *key)
{
	EfJsonString(state, WJB_KEY, key);
}

void
EfJsonString(JsonbParseState **state, JsonbIteratorToken token, const char *s)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = unconstify(char *, s);
	value.val.string.len = (int) strlen(s);
	pushJsonbValue(state, token, &value);
}

void
EfJsonText(JsonbParseState **state, const char *key, const char *s)
{
	JsonbValue null = {.type = jbvNull};

	EfJsonKey(state, key);
	if (s == NULL)
		pushJsonbValue(state, WJB_VALUE, &null);
	else
		EfJsonString(state, WJB_VALUE, s);
}

void
EfJsonNumeric(JsonbParseState **state, const char *key, Datum numeric)
{
	JsonbValue value = {.type = jbvNumeric};

	EfJsonKey(state, key);
	value.val.numeric = DatumGetNumeric(numeric);
	pushJsonbValue(state, WJB_VALUE, &value);
}

void
EfJsonInt(JsonbParseState **state, const char *key, int64 n)
{
	EfJsonNumeric(state, key, DirectFunctionCall1(int8_numeric, Int64GetDatum(n)));
}

void
EfJsonBool(JsonbParseState **state, const char *key, bool b)
{
	JsonbValue value = {.type = jbvBool};

	EfJsonKey(state, key);
	value.val.boolean = b;
	pushJsonbValue(state, WJB_VALUE, &value);
}
