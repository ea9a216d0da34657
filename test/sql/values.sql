-- Values: what is taken, and as what.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- Ids are whole numbers of 64 bits, with a sign or without. Of equal ones, however
-- written, the first is kept.
SELECT users_read, users_loaded, users_rejected FROM eikon_run_etl(:'dir' || '/values/ids', on_error => 'ignore');
SELECT user_id, name FROM features ORDER BY user_id;
SELECT line, to_json(value) AS value, error_type, error_message FROM eikon_rejects ORDER BY reject_id;
TRUNCATE eikon_runs, eikon_rejects;

-- Lists of ids are separated by ; , | or blanks, mixed if need be. Empty items are
-- skipped, and one that stands there twice counts twice; a list may be empty. A bad
-- item makes the record a reject.
SELECT experiments_read, experiments_loaded, experiments_rejected, unknown_compounds FROM eikon_run_etl(:'dir' || '/values/lists', on_error => 'ignore');
SELECT user_id, to_json(e.fields[3]) AS list, most_common_compound_count AS count, most_common_compound_ids AS ids, total_experiments AS experiments
FROM features JOIN eikon_read_csv(:'dir' || '/values/lists/user_experiments.csv') AS e ON e.line = user_id + 1
ORDER BY user_id;
SELECT line, column_name, value, error_type, error_message FROM eikon_rejects ORDER BY reject_id;
TRUNCATE eikon_runs, eikon_rejects;

-- Run times are finite numbers that are not negative, rounded to the nearest
-- double; empty is unknown. A minus zero is zero.
SELECT experiments_read, experiments_loaded, experiments_rejected FROM eikon_run_etl(:'dir' || '/values/times', on_error => 'ignore');
SELECT user_id, to_json(e.fields[4]) AS time, total_experiment_run_time AS taken, total_experiments AS experiments
FROM features JOIN eikon_read_csv(:'dir' || '/values/times/user_experiments.csv') AS e ON e.line = user_id + 1
ORDER BY user_id;
SELECT line, column_name, value, error_type, error_message FROM eikon_rejects ORDER BY reject_id;
TRUNCATE eikon_runs, eikon_rejects;

-- Dates are those of ISO 8601, extended or basic, without or with a time and a
-- zone, which are checked but do not move the date; empty is NULL.
SELECT users_read, users_loaded, users_rejected FROM eikon_run_etl(:'dir' || '/values/dates', on_error => 'ignore');
SELECT user_id, to_json(u.fields[4]) AS date, signup_date AS taken
FROM features JOIN eikon_read_csv(:'dir' || '/values/dates/users.csv') AS u ON u.line = user_id + 1
ORDER BY user_id;
SELECT line, column_name, value, error_message FROM eikon_rejects WHERE kind = 'users' ORDER BY reject_id;
-- The server's own idea of a date does not matter.
SET datestyle = German, DMY;
SET timezone = 'Pacific/Kiritimati';
SELECT count(*) FROM (
    SELECT signup_date FROM features EXCEPT ALL
    SELECT signup_date FROM eikon_derive_features(:'dir' || '/values/dates', on_error => 'ignore')) AS differing;
SET datestyle = ISO, YMD;
SET timezone = 'UTC';
TRUNCATE eikon_runs, eikon_rejects;

-- Texts are taken as they are; only blanks outside of quotes are left out, and an
-- empty one, quoted or not, is NULL.
SELECT user_id, to_json(name) AS name FROM eikon_derive_features(:'dir' || '/values/texts');

-- Rejected values name column and value also where the run stops.
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.run_error('values/' || directory) FROM (VALUES ('ids'), ('lists'), ('times'), ('dates')) AS directories (directory);
\pset format aligned
\pset tuples_only off

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
