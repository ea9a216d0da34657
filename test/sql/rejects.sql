-- Records that cannot be taken: the nine reasons, and what becomes of them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- By default the first one ends the run: the error says what, the context where.
SET eikon_features.max_line_size = '1kB';
\pset format unaligned
\pset tuples_only on
SELECT '-- ' || directory || E'\n' || pg_temp.run_error('rejects/' || directory)
FROM (VALUES ('cast'), ('missing_columns'), ('too_many_columns'), ('unquoted_value'), ('unterminated_quote'), ('line_size'),
    ('invalid_encoding'), ('duplicate_user'), ('duplicate_compound'), ('duplicate_experiment'), ('unknown_user'))
    AS directories (directory);
\pset format aligned
\pset tuples_only off

-- psql shows the same, here with its own words for the parts.
\set SHOW_CONTEXT always
SELECT * FROM eikon_derive_features(:'dir' || '/rejects/cast');
\echo :LAST_ERROR_SQLSTATE
\set SHOW_CONTEXT errors

-- Nothing is left behind.
SELECT (SELECT count(*) FROM features) AS features, (SELECT count(*) FROM eikon_compounds) AS compounds,
    (SELECT count(*) FROM eikon_runs) AS runs, (SELECT count(*) FROM eikon_rejects) AS rejects;

-- With on_error => 'ignore' they are kept aside, and the run goes on.
SELECT directory, r.run_id, users_rejected, compounds_rejected, experiments_rejected
FROM (VALUES (1, 'cast'), (2, 'missing_columns'), (3, 'too_many_columns'), (4, 'unquoted_value'), (5, 'unterminated_quote'), (6, 'line_size'),
    (7, 'invalid_encoding'), (8, 'duplicate_user'), (9, 'duplicate_compound'), (10, 'duplicate_experiment'), (11, 'unknown_user'))
    AS directories (i, directory), LATERAL eikon_run_etl(:'dir' || '/rejects/' || directory, on_error => 'ignore') AS r
ORDER BY i;
SELECT run_id, reject_id, kind, file, line, byte_offset, column_name, value, error_type, left(raw, 50) AS raw, raw_truncated
FROM eikon_rejects ORDER BY run_id, reject_id;
SELECT run_id, error_type, error_message FROM eikon_rejects ORDER BY run_id, reject_id;
TRUNCATE eikon_runs, eikon_rejects;

-- All of them in one source: each is told by its first line, also after a record
-- over several lines, and what stands after a bad record is not lost.
SELECT status, users_read, users_loaded, users_rejected, compounds_read, compounds_loaded, compounds_rejected,
    experiments_read, experiments_loaded, experiments_rejected
FROM eikon_run_etl(:'dir' || '/rejects/mixed', on_error => 'ignore');
SELECT file, line, byte_offset, column_name, left(value, 20) AS value, error_type, left(raw, 60) AS raw, raw_truncated AS truncated
FROM eikon_rejects ORDER BY reject_id;
SELECT user_id, name, total_experiments, most_common_compound_ids FROM features ORDER BY user_id;

-- byte_offset leads to the record: what stands there in the file is what raw
-- shows, also after a byte order mark, with CRLF and CR, and in each part.
TRUNCATE eikon_runs, eikon_rejects;
SELECT i, directory, r.users_rejected
FROM (VALUES (1, 'mixed'), (2, 'offsets_bom'), (3, 'offsets_crlf'), (4, 'offsets_cr'), (5, 'in_parts')) AS directories (i, directory),
    LATERAL eikon_run_etl(:'dir' || '/rejects/' || directory, on_error => 'ignore') AS r
ORDER BY i;
SELECT regexp_replace(source, '.*/', '') AS directory, file, line, byte_offset, left(raw, 20) AS raw,
    substr(pg_read_binary_file(source || '/' || file), byte_offset::integer + 1, octet_length(raw)) = convert_to(raw, 'UTF8') AS is_raw
FROM eikon_runs JOIN eikon_rejects USING (run_id)
WHERE kind = 'users' AND error_type <> 'INVALID ENCODING'
ORDER BY run_id, reject_id;
TRUNCATE eikon_runs, eikon_rejects;

-- Of long records the beginning is kept, cut between two characters; so of values.
RESET eikon_features.max_line_size;
SELECT users_rejected FROM eikon_run_etl(:'dir' || '/rejects/long', on_error => 'ignore');
SELECT line, error_type, column_name, left(raw, 10) AS raw, octet_length(raw) AS raw_bytes, raw_truncated,
    left(value, 10) AS value, octet_length(value) AS value_bytes, right(value, 5) AS value_end, length(error_message) AS message
FROM eikon_rejects WHERE kind = 'users' ORDER BY reject_id;
TRUNCATE eikon_runs, eikon_rejects;

-- Bytes that are no text are shown by their value, control characters too where
-- a value is quoted. A backslash in the file is left as it is.
SELECT users_read, users_loaded, users_rejected FROM eikon_run_etl(:'dir' || '/rejects/bytes', on_error => 'ignore');
SELECT line, error_type, column_name, value, to_json(raw) AS raw, error_message FROM eikon_rejects WHERE kind = 'users' ORDER BY reject_id;
SELECT user_id, to_json(name) AS name FROM features;
TRUNCATE eikon_runs, eikon_rejects;

-- reject_limit is the number of rejects that a run may have.
SET eikon_features.max_line_size = '1kB';
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.run_error('rejects/mixed', $$on_error => 'ignore', reject_limit => 15$$);
SELECT pg_temp.run_error('rejects/mixed', $$on_error => 'ignore', reject_limit => 2$$);
\pset format aligned
\pset tuples_only off
SELECT count(*) FROM eikon_runs;
SELECT users_rejected + compounds_rejected + experiments_rejected AS rejected
FROM eikon_run_etl(:'dir' || '/rejects/mixed', on_error => 'ignore', reject_limit => 16);

-- A derivation says how many it left out, and keeps none.
SET client_min_messages = notice;
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/rejects/mixed', on_error => 'ignore');
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/rejects/cast', on_error => 'ignore');
SET client_min_messages = warning;

-- Rejects go with their run.
SELECT count(*) > 0 AS some FROM eikon_rejects;
DELETE FROM eikon_runs;
SELECT count(*) FROM eikon_rejects;

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
