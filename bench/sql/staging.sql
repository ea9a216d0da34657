-- Tables for the comparisons: those that COPY fills from the files, one like the table of
-- the extension, the totals that go with it, and one for rows that are whole already.
CREATE TABLE staged_users (user_id bigint, name text, email text, signup_date date);
CREATE TABLE staged_experiments (experiment_id bigint, user_id bigint, compound_ids text, run_time float8);
CREATE TABLE staged_compounds (compound_id bigint, compound_name text, compound_structure text);
CREATE TABLE answer (LIKE eikon_user_features INCLUDING ALL);
CREATE TABLE answer_totals (users bigint NOT NULL, experiments bigint NOT NULL);
CREATE TABLE answer_rows (LIKE features);

-- What "features" is to the extension's tables.
CREATE VIEW answer_features AS
SELECT user_id, name, email, signup_date, total_experiments,
    (SELECT experiments / users::float8 FROM answer_totals) AS avg_experiments,
    (SELECT total_experiments / experiments::float8 FROM answer_totals) AS experiments_pct,
    avg_experiment_run_time, total_experiment_run_time, most_common_compound_id, most_common_compound_name,
    most_common_compound_structure, most_common_compound_count, most_common_compound_ids
FROM answer;

-- Two numbers are the same but for the order in which they were summed.
CREATE FUNCTION differ(a float8, b float8) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN coalesce(abs(a - b) > 1e-9 * greatest(abs(a), abs(b)), a IS DISTINCT FROM b);

