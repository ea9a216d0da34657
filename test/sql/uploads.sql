-- Files that are uploaded, and runs over them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

\pset null (null)

-- Uploads a text as a file; what came of it.
CREATE FUNCTION pg_temp.upload(kind text, lines text, file_name text DEFAULT NULL, on_error text DEFAULT 'stop') RETURNS text
LANGUAGE sql
RETURN (SELECT format('upload %s: %s records, %s rejected', u.upload_id, u.records, u.rejected)
    FROM lab.eikon_upload(kind, pg_catalog.convert_to(lines, 'UTF8'), file_name, on_error) AS u);
CREATE FUNCTION pg_temp.upload_error(kind text, lines text, file_name text DEFAULT NULL) RETURNS text
LANGUAGE sql
RETURN pg_temp.error_of(format('SELECT pg_temp.upload(%L, %L, %L)', kind, lines, file_name));

-- A file of the directory of fixtures.
CREATE FUNCTION pg_temp.fixture(path text) RETURNS bytea
LANGUAGE sql
RETURN pg_catalog.pg_read_binary_file(pg_catalog.current_setting('test.dir') || '/' || path);

-- One small file of each kind.
CREATE FUNCTION pg_temp.upload_set(name text DEFAULT 'Ann') RETURNS text
LANGUAGE sql
RETURN concat_ws(E'\n', pg_temp.upload('users', E'user_id,name,email,signup_date\n1,' || name || E',,\n', 'people.csv'),
    pg_temp.upload('compounds', E'compound_id,compound_name,compound_structure\n1,Water,H2O\n', 'lab.csv'),
    pg_temp.upload('user_experiments', E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,1,1,10\n', 'lab.csv'));

CREATE VIEW pg_temp.pending AS
SELECT kind, upload_id, file_name, bytes, records, rejected, uploaded_by = current_user AS mine, uploaded_at <= clock_timestamp() AS past
FROM lab.eikon_uploads ORDER BY upload_id;

--
-- Uploading
--

-- A file that is as it should be is kept, byte for byte.
SELECT * FROM eikon_upload('users', pg_temp.fixture('small/users.csv'), 'users of lab 7.csv');
SELECT * FROM eikon_upload('compounds', pg_temp.fixture('small/compounds.csv'));
SELECT * FROM pg_temp.pending;
-- It can be read in pieces, since it is stored as it is.
SELECT attstorage FROM pg_attribute WHERE attrelid = 'eikon_uploads'::regclass AND attname = 'content';
SELECT content = pg_temp.fixture('small/' || kind || '.csv') AS same FROM eikon_uploads;

-- A new one takes the place of the one of its kind, under a new number.
SELECT pg_temp.upload('users', E'user_id,name,email,signup_date\n1,Ann,,\n2,Bob,,');
SELECT * FROM pg_temp.pending;

-- One with rejects is not, and the one before stays; they are told of.
SELECT upload_id, records, rejected, jsonb_pretty(rejects) AS rejects
FROM eikon_upload('users', E'user_id,name,email,signup_date\n1,Ann,,2023-01-32\n2,"Bob,,\n3,Carol\n4,Dave,,\n');
SELECT * FROM pg_temp.pending;

-- Unless they are to be left out.
SELECT pg_temp.upload('users', E'user_id,name,email,signup_date\n1,Ann,,\nx,Bob,,\n', on_error => 'ignore');
SELECT * FROM pg_temp.pending WHERE kind = 'users';

-- The first 100 are told of, all are counted; a long record is cut off.
SELECT u.upload_id, u.records, u.rejected, jsonb_array_length(u.rejects) AS told, u.rejects->99->>'line' AS last
FROM eikon_upload('users', convert_to(E'user_id,name,email,signup_date\n' || repeat(E'x,,,\n', 12345), 'UTF8')) AS u;
SELECT r->>'raw_truncated' AS truncated, octet_length(r->>'raw') AS raw, octet_length(r->>'value') AS value
FROM eikon_upload('users', convert_to(E'user_id,name,email,signup_date\n' || repeat('x', 10000) || E',,,\n', 'UTF8')) AS u, jsonb_array_elements(u.rejects) AS r;

-- What takes all ids or other files to see is left to the run.
SELECT pg_temp.upload('users', E'user_id,name,email,signup_date\n1,Ann,,\n1,Ann,,\n');
SELECT pg_temp.upload('user_experiments', E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,7,1,10\n1,8,1,10\n');

-- A header alone will do.
SELECT pg_temp.upload('compounds', 'compound_id,compound_name,compound_structure');

-- Every shape that a run reads.
SELECT path, u.records, u.rejected FROM (VALUES ('compressed/gz'), ('compressed/zst'), ('compressed/utf16_gz')) AS shapes (directory),
    LATERAL (SELECT directory || '/' || f AS path FROM pg_ls_dir(:'dir' || '/' || directory) AS f WHERE f LIKE 'users%') AS files,
    LATERAL eikon_upload('users', pg_temp.fixture(path)) AS u ORDER BY path COLLATE "C";

-- A check finds what a run does, at the same places.
SELECT kind, u.rejected, jsonb_agg(r - '{hint}'::text[] ORDER BY n) = (
    SELECT jsonb_agg(to_jsonb(e) - '{run_id,reject_id,kind,file}'::text[] ORDER BY reject_id) FROM eikon_rejects e
    WHERE e.kind = k.kind AND error_type NOT IN ('DUPLICATE KEY', 'UNKNOWN USER')) AS same
FROM (SELECT r.run_id FROM eikon_run_etl(:'dir' || '/rejects/mixed', on_error => 'ignore') AS r) AS run,
    (VALUES ('users'), ('compounds'), ('user_experiments')) AS k (kind),
    LATERAL eikon_upload(kind, pg_temp.fixture('rejects/mixed/' || kind || '.csv')) AS u,
    LATERAL jsonb_array_elements(u.rejects) WITH ORDINALITY AS e (r, n)
GROUP BY kind, u.rejected ORDER BY kind;
TRUNCATE eikon_runs, eikon_rejects, eikon_user_features, eikon_totals, eikon_compounds RESTART IDENTITY;

--
-- What is refused
--

TRUNCATE eikon_uploads RESTART IDENTITY;
\pset format unaligned
\pset tuples_only on

-- Each mistake is told in the words of a run, and nothing is kept.
SELECT '-- ' || what || E'\n' || pg_temp.upload_error(kind, lines, file_name)
FROM (VALUES
    ('an empty file', 'users', '', NULL),
    ('a column is missing', 'users', E'user_id,name\n1,Ann\n', 'people.csv'),
    ('a file of another kind', 'compounds', E'user_id,name,email,signup_date\n', 'people.csv'),
    ('a workbook', 'users', E'PK\003\004', 'people.xlsx'),
    ('no such kind', 'user', E'user_id,name,email,signup_date\n', NULL)
) AS cases (what, kind, lines, file_name);
SELECT pg_temp.error_of($$SELECT eikon_upload('users', '\x1f8b0800', 'people.csv.gz')$$);
SELECT pg_temp.error_of($$SELECT eikon_upload(NULL, '')$$);
SELECT pg_temp.error_of($$SELECT eikon_upload('users', NULL)$$);
SELECT pg_temp.error_of($$SELECT eikon_upload('users', 'x', on_error => 'perhaps')$$);
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT eikon_upload('users', 'x')$$);
ROLLBACK;
SELECT count(*) FROM eikon_uploads;

-- A file is called by the last component of its name, if that can be shown.
SELECT coalesce(to_json(file_name)::text, 'none') || ': ' || substring(pg_temp.upload_error('users', '', file_name), 'CONTEXT: (.*)')
FROM (VALUES ('lab7.tsv.gz'), ('/home/ann/lab 7.csv'), ('C:\data\lab7.csv'), ('Größe.csv'), (''), ('lab/'), ('  '), (E'a\nb.csv'), ('..'), (NULL)) AS names (file_name);
SELECT octet_length(substring(pg_temp.upload_error('users', '', repeat('é', 90) || repeat('x', 19) || repeat('é', 90)), 'CONTEXT: (.*)'));

-- max_upload_size counts the bytes that are sent, not what they expand to.
SET eikon_features.max_upload_size = '1kB';
SELECT pg_temp.upload_error('users', E'user_id,name,email,signup_date\n' || repeat(' ', 1024 - 31));
SELECT pg_temp.upload_error('users', E'user_id,name,email,signup_date\n' || repeat(' ', 1025 - 31));
-- (of its limits PostgreSQL 17 says the unit)
SELECT replace(pg_temp.error_of('SET eikon_features.max_upload_size = ''1GB'''), '(1 kB .. 512000 kB)', '(1 .. 512000)');
RESET eikon_features.max_upload_size;

\pset format aligned
\pset tuples_only off

--
-- Runs
--

-- All three kinds must be there; a submission says so at once.
TRUNCATE eikon_uploads RESTART IDENTITY;
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.error_of($$SELECT eikon_run_etl('uploads:')$$);
SELECT pg_temp.upload('compounds', 'compound_id,compound_name,compound_structure');
SELECT pg_temp.error_of($$SELECT eikon_run_etl('uploads:')$$);
SELECT pg_temp.error_of($$SELECT eikon_submit_etl('uploads:')$$);
SELECT pg_temp.error_of($$SELECT * FROM eikon_derive_features('uploads:')$$);
SELECT left(pg_temp.error_of($$SELECT eikon_run_etl('uploads:x')$$), 60);
\pset format aligned
\pset tuples_only off
SELECT status, source, error_code FROM eikon_try_etl('uploads:');
SELECT count(*) FROM eikon_runs;

-- What a derivation and a dry run read stays; what a run has read is gone.
SELECT pg_temp.upload_set();
SELECT user_id, name, total_experiments, most_common_compound_name FROM eikon_derive_features('uploads:');
SELECT status, source, rows_inserted FROM eikon_run_etl('uploads:', dry_run => true);
SELECT count(*) FROM eikon_uploads;
SELECT status, source, rows_inserted, experiments_loaded, bytes_read FROM eikon_run_etl('uploads:');
SELECT count(*) FROM eikon_uploads;
SELECT source, n->>'kind' AS kind, n->>'file' AS file FROM eikon_runs, jsonb_array_elements(notes) AS n WHERE status = 'succeeded';
SELECT user_id, name FROM features;

-- One that fails keeps them; errors and rejects are told of by the names of the files.
SELECT pg_temp.upload_set('Anna');
SELECT pg_temp.upload('user_experiments', E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,1,1,10\n2,9,1,10\n', '/tmp/day 2.csv');
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.error_of($$SELECT eikon_run_etl('uploads:')$$);
\pset format aligned
\pset tuples_only off
SELECT count(*) FROM eikon_uploads;
SELECT status, error_code, error_context FROM eikon_try_etl('uploads:');
SELECT count(*) FROM eikon_uploads;
SELECT status, experiments_rejected, rows_updated FROM eikon_run_etl('uploads:', on_error => 'ignore');
SELECT run_id, kind, file, line, error_type FROM eikon_rejects ORDER BY run_id;
SELECT count(*) FROM eikon_uploads;

-- In the background; skip_unchanged knows files by their names and bytes.
SELECT pg_temp.upload_set('Annie');
SELECT eikon_submit_etl('uploads:', skip_unchanged => true) AS run_id \gset
SELECT status, source, skipped, rows_updated FROM eikon_wait_etl(:run_id);
SELECT count(*) FROM eikon_uploads;
SELECT pg_temp.upload_set('Annie');
CALL eikon_etl('uploads:', skip_unchanged => true);
SELECT status, source, skipped FROM eikon_runs ORDER BY run_id DESC LIMIT 1;
SELECT count(*) FROM eikon_uploads;
SELECT pg_temp.upload_set('Anne');
SELECT status, skipped FROM eikon_run_etl('uploads:', skip_unchanged => true);

-- A background run that fails keeps them, and its rejects.
SELECT pg_temp.upload_set();
SELECT pg_temp.upload('users', E'user_id,name,email,signup_date\n1,Ann,,\n1,Bob,,\n', 'twice.csv');
SELECT eikon_submit_etl('uploads:') AS run_id \gset
SELECT status, error_code, error_context FROM eikon_wait_etl(:run_id);
SELECT file, line, error_type FROM eikon_rejects WHERE run_id = :run_id;
SELECT count(*) FROM eikon_uploads;

-- One that is withdrawn before it begins finds none.
BEGIN;
SELECT eikon_submit_etl('uploads:') AS run_id \gset
TRUNCATE eikon_uploads;
COMMIT;
SELECT status, error_code, error_message FROM eikon_wait_etl(:run_id);

-- Uploads and run in one transaction, and a rollback that takes both back.
SELECT name FROM features;
BEGIN;
SELECT pg_temp.upload_set('Zoe');
SELECT status, rows_updated FROM eikon_run_etl('uploads:');
SELECT pg_temp.upload_set('Zoey');
SELECT status, rows_updated FROM eikon_run_etl('uploads:');
SELECT count(*) FROM eikon_uploads;
ROLLBACK;
SELECT name FROM features;
SELECT count(*) FROM eikon_uploads;

-- One that is copied in several pieces, and read by several processes; a compressed one.
SELECT pg_temp.upload_set();
SELECT pg_temp.upload('user_experiments', (SELECT E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n' || string_agg(i || E',1,1;2,1.5\n', '' ORDER BY i)
    FROM generate_series(1, 1000000) AS i)) AS uploaded;
SELECT workers, r.total_experiments, r.total_experiment_run_time
FROM (VALUES (0), (2)) AS w (workers), LATERAL (SELECT set_config('eikon_features.parallel_workers', workers::text, false) AS unused) AS s,
    LATERAL eikon_derive_features('uploads:') AS r WHERE unused IS NOT NULL;
RESET eikon_features.parallel_workers;
SELECT experiments_loaded FROM eikon_run_etl('uploads:');
SELECT count(*) FROM eikon_uploads;
SELECT * FROM eikon_upload('users', pg_temp.fixture('compressed/gz/users.csv.gz'), 'lab7.tsv.gz');
SELECT pg_temp.upload('compounds', 'compound_id,compound_name,compound_structure');
SELECT pg_temp.upload('user_experiments', E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n');
SELECT n->>'file' AS file, n->>'compression' AS compression FROM eikon_run_etl('uploads:') AS r, jsonb_array_elements(r.notes) AS n;

--
-- Rights
--

CREATE ROLE regress_eikon_lab;
GRANT USAGE ON SCHEMA lab TO regress_eikon_lab;
GRANT EXECUTE ON FUNCTION eikon_upload, eikon_run_etl, eikon_try_etl, eikon_submit_etl, eikon_derive_features TO regress_eikon_lab;
GRANT SELECT, INSERT, UPDATE, DELETE ON eikon_user_features, eikon_totals, eikon_compounds TO regress_eikon_lab;

-- Rights on the table are all that it takes, and each is asked for where it is needed.
SELECT pg_temp.upload_set();
CREATE FUNCTION pg_temp.try_all() RETURNS TABLE (what text, outcome text) LANGUAGE sql AS $$
SELECT what, split_part(pg_temp.error_of(call), E'\n', 1) || coalesce(substring(pg_temp.error_of(call), '\nHINT: It takes .*'), '')
FROM (VALUES ('derive', 'SELECT * FROM lab.eikon_derive_features(''uploads:'')'),
    ('dry run', 'SELECT lab.eikon_run_etl(''uploads:'', dry_run => true)'),
    ('upload', 'SELECT lab.eikon_upload(''users'', convert_to(E''user_id,name,email,signup_date\n1,Bea,,'', ''UTF8''))'),
    ('submit', 'DO ''BEGIN PERFORM lab.eikon_submit_etl(''''uploads:''''); RAISE division_by_zero; END'''),
    ('run', 'DO ''BEGIN PERFORM lab.eikon_run_etl(''''uploads:''''); RAISE division_by_zero; END''')) AS calls (what, call)
$$;
SET ROLE regress_eikon_lab;
SELECT * FROM pg_temp.try_all();
RESET ROLE;
GRANT SELECT ON eikon_uploads TO regress_eikon_lab;
SET ROLE regress_eikon_lab;
SELECT * FROM pg_temp.try_all();
RESET ROLE;
GRANT INSERT, UPDATE, DELETE ON eikon_uploads TO regress_eikon_lab;
SET ROLE regress_eikon_lab;
SELECT * FROM pg_temp.try_all();
SELECT status, rows_updated FROM lab.eikon_run_etl('uploads:');
RESET ROLE;
SELECT count(*) FROM eikon_uploads;

-- No path leads to where the copies are.
SELECT format('SELECT lab.eikon_run_etl(%L)', current_setting('data_directory') || '/base/pgsql_tmp') AS call \gset
SET ROLE regress_eikon_lab;
SELECT split_part(pg_temp.error_of(:'call'), ':', 1) AS error;
RESET ROLE;

DROP OWNED BY regress_eikon_lab;
DROP ROLE regress_eikon_lab;
DROP EXTENSION eikon_features CASCADE;
DROP SCHEMA lab;
