-- Installing and removing the extension.
SET client_min_messages = warning;

-- By default it goes where the search_path says.
CREATE EXTENSION eikon_features;
SELECT n.nspname AS schema, e.extversion = v.default_version AS default_version
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace JOIN pg_available_extensions v ON v.name = e.extname
WHERE extname = 'eikon_features';

-- What it consists of; row types and indexes go with their tables.
CREATE VIEW pg_temp.members AS
SELECT d.classid, d.objid, d.classid::regclass AS catalog, pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE d.deptype = 'e' AND e.extname = 'eikon_features';
SELECT object FROM pg_temp.members
WHERE catalog <> 'pg_type'::regclass ORDER BY object COLLATE "C";

-- Everything has a comment: no object is listed that has none, and no column of
-- a table or view.
SELECT object FROM pg_temp.members
WHERE catalog NOT IN ('pg_type'::regclass, 'pg_rewrite'::regclass)
    AND obj_description(objid, catalog::text) IS NULL;
SELECT c.relname, a.attname
FROM pg_temp.members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'v')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE col_description(c.oid, a.attnum) IS NULL
ORDER BY c.relname COLLATE "C", a.attnum;

-- Nobody but its owner may call a function, or touch a table.
SELECT object FROM pg_temp.members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
WHERE has_function_privilege('public', p.oid, 'EXECUTE');
SELECT object FROM pg_temp.members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'v')
WHERE has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');
SELECT object, p.prosecdef AS security_definer FROM pg_temp.members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
WHERE p.prosecdef;

-- pg_dump carries the rows of every table, and where the sequence stands.
SELECT c.relname, c.relkind, config.condition = '' AS all_rows
FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS config (oid, condition) JOIN pg_class c ON c.oid = config.oid
WHERE e.extname = 'eikon_features' ORDER BY c.relname COLLATE "C";
SELECT count(*) FROM pg_temp.members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'S')
WHERE c.oid <> ALL ((SELECT extconfig FROM pg_extension WHERE extname = 'eikon_features')::oid[]);

-- Once it is there it cannot be moved, since its functions know their tables by the schema.
ALTER EXTENSION eikon_features SET SCHEMA pg_catalog;

-- DROP EXTENSION leaves nothing.
DROP EXTENSION eikon_features;
SELECT count(*) FROM pg_temp.members;
SELECT relname FROM pg_class WHERE relname LIKE 'eikon%' OR relname IN ('features', 'etl_results', 'derived_exp_data', 'feature_derivation');
SELECT proname FROM pg_proc WHERE proname LIKE 'eikon%' OR proname = 'days_since_signup';
SELECT typname FROM pg_type WHERE typname LIKE '%eikon%';

-- Any schema will do, whatever its name and the search_path.
\getenv abs_srcdir PG_ABS_SRCDIR
CREATE SCHEMA "Lab 7.b ""new""; 'x' é%s";
CREATE EXTENSION eikon_features SCHEMA "Lab 7.b ""new""; 'x' é%s";
SELECT rows_inserted, rows_unchanged, users_rejected
FROM "Lab 7.b ""new""; 'x' é%s".eikon_run_etl(:'abs_srcdir' || '/data/rejects/cast', on_error => 'ignore');
SET search_path = pg_temp;
SELECT rows_inserted, rows_unchanged, experiments_rejected
FROM "Lab 7.b ""new""; 'x' é%s".eikon_run_etl(:'abs_srcdir' || '/data/rejects/cast', on_error => 'ignore');
SELECT count(*) FROM "Lab 7.b ""new""; 'x' é%s".eikon_rejects;
SELECT user_id, name, f.total_experiments FROM "Lab 7.b ""new""; 'x' é%s".features AS f ORDER BY user_id;
SELECT count(*) FROM "Lab 7.b ""new""; 'x' é%s".etl_results;
SELECT count(*) FROM "Lab 7.b ""new""; 'x' é%s".eikon_derive_features(:'abs_srcdir' || '/data/small');
RESET search_path;

-- Objects of the same names in the path of the caller are not mistaken for its own.
CREATE SCHEMA decoy;
CREATE TABLE decoy.features (user_id text);
CREATE TABLE decoy.eikon_compounds (x text);
CREATE TABLE decoy.eikon_runs (run_id text);
CREATE TABLE decoy.eikon_new_features (x text);
CREATE FUNCTION decoy.always_equal(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR decoy.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = decoy.always_equal);
CREATE FUNCTION decoy.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT -1';
SET search_path = decoy, pg_catalog;
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged
FROM "Lab 7.b ""new""; 'x' é%s".eikon_run_etl(:'abs_srcdir' || '/data/store/1');
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged
FROM "Lab 7.b ""new""; 'x' é%s".eikon_run_etl(:'abs_srcdir' || '/data/store/2', dry_run => true);
SELECT (SELECT count(*) FROM decoy.features) + (SELECT count(*) FROM decoy.eikon_compounds) + (SELECT count(*) FROM decoy.eikon_runs) AS decoyed;
RESET search_path;
DROP SCHEMA decoy CASCADE;

-- The schema stays, and is empty.
DROP EXTENSION eikon_features;
DROP SCHEMA "Lab 7.b ""new""; 'x' é%s";
DROP VIEW pg_temp.members;
