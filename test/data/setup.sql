\set ECHO none
-- What the tests of test/sql have in common; each begins with it. The server
-- reads the fixtures by itself, so it must be able to reach this directory.
SET client_min_messages = warning;
SET datestyle = ISO, YMD;
SET timezone = 'UTC';
CREATE SCHEMA lab;
CREATE EXTENSION eikon_features SCHEMA lab;
SET search_path = lab;
SELECT set_config('test.dir', :'dir', false) AS unused \gset

-- Runs a statement, whose effects stay; 'no error', or what psql would say of
-- the error, with the path of this directory left out.
CREATE FUNCTION pg_temp.error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
    context text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
    -- the frames of this function and of the SQL around it
    context := regexp_replace(context, '(^|\n)(SQL statement|SQL function|PL/pgSQL function) .*', '');
    RETURN replace(concat_ws(E'\n', 'ERROR ' || SQLSTATE || ': ' || message,
        'DETAIL: ' || NULLIF(detail, ''), 'HINT: ' || NULLIF(hint, ''), 'CONTEXT: ' || NULLIF(context, '')),
        current_setting('test.dir'), '$dir');
END $$;

-- The same for a run over a directory beneath this one.
CREATE FUNCTION pg_temp.run_error(directory text, options text DEFAULT '') RETURNS text
LANGUAGE sql
RETURN pg_temp.error_of(format('SELECT lab.eikon_run_etl(%L%s)',
    pg_catalog.current_setting('test.dir') || '/' || directory, ', ' || NULLIF(options, '')));

-- How the features of a directory beneath this one differ from those of another.
CREATE FUNCTION pg_temp.compare(directory text, reference text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    path text := current_setting('test.dir') || '/';
    n bigint;
BEGIN
    SELECT count(*) INTO n FROM (
        (SELECT * FROM lab.eikon_derive_features(path || directory)
         EXCEPT ALL SELECT * FROM lab.eikon_derive_features(path || reference))
        UNION ALL
        (SELECT * FROM lab.eikon_derive_features(path || reference)
         EXCEPT ALL SELECT * FROM lab.eikon_derive_features(path || directory))) AS differing;
    RETURN n || ' rows differ';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

\set ECHO all
