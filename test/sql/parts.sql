-- A kind may come in several files, each with a header and a dialect of its own.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- Parts are read by name, byte by byte; names that do not fit are passed over.
SELECT n->>'kind' AS kind, n->>'file' AS file, n->>'records' AS records, n->>'delimiter' AS delimiter,
    n->>'encoding' AS encoding, n->>'compression' AS compression, n->>'newline' AS newline
FROM eikon_run_etl(:'dir' || '/parts', on_error => 'ignore') AS r,
    jsonb_array_elements(r.notes) WITH ORDINALITY AS notes (n, i)
ORDER BY i;

-- Of an id that stands in several parts the first one is kept.
SELECT user_id, name, email, signup_date, total_experiments, most_common_compound_id AS compound, total_experiment_run_time AS time
FROM features ORDER BY user_id;
SELECT file, line, column_name, value, error_type, to_json(raw) AS raw FROM eikon_rejects ORDER BY reject_id;

-- Counts are those of all parts together.
SELECT users_read, users_loaded, users_rejected, experiments_read, experiments_loaded, compounds_read FROM eikon_runs;

-- Without on_error the second of them ends the run.
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.run_error('parts');
\pset format aligned
\pset tuples_only off

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
