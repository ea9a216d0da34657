-- What is derived for each user, and the views on it.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- Users come by ascending id, whatever the order of the file. Of tied compounds
-- (user 10: 1 and 3, twice each) the lowest id is named and all are kept; a
-- compound of which the file knows no name has none; user 30's experiments list
-- no compound, user 40 has no experiment; user 50 lists unknown ids.
SELECT unknown_compounds, rows_inserted FROM eikon_run_etl(:'dir' || '/features');
SELECT user_id, name, email, signup_date FROM features ORDER BY user_id;
SELECT user_id, most_common_compound_id AS id, most_common_compound_name AS name,
    most_common_compound_structure AS structure, most_common_compound_count AS count, most_common_compound_ids AS ids
FROM features ORDER BY user_id;

-- Experiments of unknown run time count, but not in sums and averages of times.
-- All experiments / all users is the same in each row; shares add up to 1.
SELECT user_id, total_experiments, avg_experiments, experiments_pct, avg_experiment_run_time AS avg_time,
    total_experiment_run_time AS total_time
FROM features ORDER BY user_id;
SELECT sum(experiments_pct::numeric) FROM features;

-- Nothing is missing, nothing is extra: the derivation gives what the run stored.
SELECT count(*) FROM (TABLE features EXCEPT ALL SELECT * FROM eikon_derive_features(:'dir' || '/features')) AS missing;
SELECT count(*) FROM (SELECT * FROM eikon_derive_features(:'dir' || '/features') EXCEPT ALL TABLE features) AS extra;

-- The derivation is a set like any other.
SELECT f.name, f.total_experiments FROM eikon_derive_features(:'dir' || '/features') AS f
WHERE f.total_experiments > 2 ORDER BY f.name LIMIT 1;

-- It agrees with SQL over the same rows.
CREATE TEMP TABLE experiments AS
SELECT fields[1]::bigint AS experiment_id, fields[2]::bigint AS user_id, fields[3] AS compound_ids, NULLIF(fields[4], '')::float8 AS run_time
FROM eikon_read_csv(:'dir' || '/features/user_experiments.csv') WHERE line > 1;
SELECT count(*) AS differing
FROM features f
LEFT JOIN (SELECT user_id, count(*) AS n, sum(run_time) AS total, avg(run_time) AS mean FROM experiments GROUP BY user_id) AS e USING (user_id)
LEFT JOIN (
    SELECT user_id, array_agg(id ORDER BY id) AS ids, min(n) AS n
    FROM (SELECT user_id, id::bigint, count(*) AS n, rank() OVER (PARTITION BY user_id ORDER BY count(*) DESC)
          FROM experiments, regexp_split_to_table(compound_ids, ';') AS id WHERE id <> '' GROUP BY 1, 2) AS ranked
    WHERE rank = 1 GROUP BY user_id) AS c USING (user_id)
WHERE (f.total_experiments, f.total_experiment_run_time, f.avg_experiment_run_time, f.most_common_compound_ids, f.most_common_compound_count)
    IS DISTINCT FROM (coalesce(e.n, 0), e.total, e.mean, c.ids, c.n);

-- Sums are exact and rounded once, whatever the order of the experiments: 0.1
-- ten times is 1, and small run times count beside large ones. User by user:
--  1  0.1 ten times                     6, 7  2^53 + 1 + 1e-30, above halfway to 2^53 + 2
--  2, 3  1e16 and 1 ten times           8     1e308 + 7e307 + 1e-308
--  4, 5  1e100, 1, 1 and 1e-100         9     the least double twice
SELECT user_id, total_experiment_run_time AS total, avg_experiment_run_time AS average
FROM eikon_derive_features(:'dir' || '/sums');
-- Where float8's own sum differs, it is the one that is wrong.
SELECT sum(x) = 1, sum(x) FROM unnest('{0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1,0.1}'::float8[]) AS x;

-- A sum that no double can hold is an error that names the user.
SELECT pg_temp.run_error('sum_too_large');

-- The view with one row per tied compound, and a row without one for users who
-- have none: 2 ties for user 10, 1 for 20, 2 for 50, and none for 30, 40 and 60.
SELECT user_id, name, email, experiment_count, avg_experiment_run_time AS avg_time, compound_id, compound_name, compound_structure
FROM etl_results ORDER BY user_id, compound_id;

-- Averages of this view are rounded to two places.
SELECT * FROM derived_exp_data ORDER BY user_id;

-- Days since signup are those until today.
SELECT user_id, number_of_experiments, total_run_time, days_since_signup = CURRENT_DATE - signup_date AS is_age
FROM feature_derivation JOIN features USING (user_id) ORDER BY user_id;
SELECT f.user_id, f.days_since_signup = CURRENT_DATE - f.signup_date AS is_age FROM features AS f ORDER BY user_id;
SELECT days_since_signup(f) = CURRENT_DATE - f.signup_date AS is_age
FROM eikon_derive_features(:'dir' || '/features') AS f WHERE user_id = 10;

-- With files like those of the challenge there are 20 rows for 10 users.
SELECT rows_inserted, rows_deleted, rows_updated FROM eikon_run_etl(:'dir' || '/shapes/comma_tab');
SELECT count(*), count(DISTINCT user_id) AS users, count(compound_name) AS named FROM etl_results;
SELECT user_id, name, signup_date, experiment_count, avg_experiment_run_time AS avg_time, compound_id, compound_name
FROM etl_results WHERE user_id IN (1, 4) ORDER BY user_id, compound_id;
SELECT * FROM derived_exp_data WHERE user_id IN (1, 4, 10) ORDER BY user_id;
SELECT user_id, number_of_experiments, total_run_time FROM feature_derivation WHERE user_id IN (1, 4) ORDER BY user_id;

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
