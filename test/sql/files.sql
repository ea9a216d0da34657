-- What a source must hold, and what is said when it does not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

\pset format unaligned
\pset tuples_only on

-- Each mistake is told in words of its own; none of them leaves anything behind.
SELECT '-- ' || what || E'\n' || pg_temp.run_error(directory)
FROM (VALUES
    ('no such directory', 'files/nowhere'),
    ('a file in place of the directory', 'small/users.csv'),
    ('a kind is missing', 'files/no_experiments'),
    ('all kinds are missing', 'files/none'),
    ('an empty file', 'files/empty'),
    ('a file of blank lines', 'files/blank'),
    ('a file of a byte order mark', 'files/only_mark'),
    ('a column is missing', 'files/missing_column'),
    ('a column stands there twice', 'files/repeated_column'),
    ('no header', 'files/no_header'),
    ('a workbook under the name of a CSV file', 'files/workbook'),
    ('UTF-16 without a byte order mark', 'files/utf16_unmarked'),
    ('a directory in place of a file', 'files/is_directory')
) AS cases (what, directory);

-- Where no dialect shows a header at all, the options are what may help.
SELECT pg_temp.run_error('small', $$quote => ','$$);

-- A file whose name is nearly right is not passed over in silence.
SET client_min_messages = notice;
SELECT pg_temp.run_error('files/other_names');
SET client_min_messages = warning;

-- Without a directory to read from by default, the path must be given and absolute.
SHOW eikon_features.data_directory;
SELECT pg_temp.error_of($$SELECT eikon_run_etl()$$);
SELECT pg_temp.error_of($$SELECT eikon_run_etl(NULL)$$);
SELECT pg_temp.error_of($$SELECT eikon_run_etl('lab/data')$$);
SELECT pg_temp.error_of($$SELECT eikon_run_etl('')$$);
SELECT pg_temp.error_of($$SELECT * FROM eikon_derive_features()$$);
SELECT pg_temp.error_of($$SELECT * FROM eikon_read_csv('lab/users.csv')$$);
SELECT pg_temp.error_of($$SELECT * FROM eikon_read_csv(NULL)$$);

-- So it is for the preview of one file.
SELECT pg_temp.error_of(format('SELECT * FROM eikon_read_csv(%L)', :'dir' || '/small/nothing.csv'));
SELECT pg_temp.error_of(format('SELECT * FROM eikon_read_csv(%L)', :'dir' || '/nowhere/users.csv'));
SELECT pg_temp.error_of(format('SELECT * FROM eikon_read_csv(%L)', :'dir' || '/small'));
\pset format aligned
\pset tuples_only off
SELECT count(*) FROM eikon_runs;

-- Files that hold a header alone are fine: there is nothing to count.
SELECT users_read, experiments_read, compounds_read, unknown_compounds FROM eikon_run_etl(:'dir' || '/files/header_only');
SELECT users_read FROM eikon_run_etl(:'dir' || '/files/header_unended');
SELECT count(*) FROM features;
SELECT user_id, total_experiments, avg_experiments, experiments_pct, avg_experiment_run_time, most_common_compound_ids
FROM eikon_derive_features(:'dir' || '/files/no_experiment_rows');

-- Without compounds all ids are unknown, and kept.
SELECT unknown_compounds FROM eikon_run_etl(:'dir' || '/files/no_compound_rows');
SELECT user_id, most_common_compound_id, most_common_compound_name, most_common_compound_ids FROM features ORDER BY user_id;

-- A column that is of no use may stand there twice.
SELECT n->>'ignored_columns' AS ignored_columns
FROM eikon_run_etl(:'dir' || '/files/repeated_other_column') AS r, jsonb_array_elements(r.notes) AS n
WHERE n->>'kind' = 'users';

-- A slash at the end of the path, or two within, make no difference.
SELECT count(*) FROM eikon_derive_features(:'dir' || '//small/./');

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
