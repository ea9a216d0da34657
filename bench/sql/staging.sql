-- Tables for the comparisons: those that COPY fills from the files, and one that is like features.
CREATE TABLE staged_users (user_id bigint, name text, email text, signup_date date);
CREATE TABLE staged_experiments (experiment_id bigint, user_id bigint, compound_ids text, run_time float8);
CREATE TABLE staged_compounds (compound_id bigint, compound_name text, compound_structure text);
CREATE TABLE answer (LIKE features INCLUDING ALL);

-- Two numbers are the same but for the order in which they were summed.
CREATE FUNCTION differ(a float8, b float8) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN coalesce(abs(a - b) > 1e-9 * greatest(abs(a), abs(b)), a IS DISTINCT FROM b);

-- How many users have other features in "answer" than in "features", or are in one of them only.
CREATE VIEW differences AS
SELECT count(*)
FROM features f FULL JOIN answer a USING (user_id)
WHERE (f.name, f.email, f.signup_date, f.total_experiments,
       f.most_common_compound_id, f.most_common_compound_name, f.most_common_compound_structure,
       f.most_common_compound_count, f.most_common_compound_ids)
      IS DISTINCT FROM
      (a.name, a.email, a.signup_date, a.total_experiments,
       a.most_common_compound_id, a.most_common_compound_name, a.most_common_compound_structure,
       a.most_common_compound_count, a.most_common_compound_ids)
   OR differ(f.avg_experiments, a.avg_experiments)
   OR differ(f.experiments_pct, a.experiments_pct)
   OR differ(f.avg_experiment_run_time, a.avg_experiment_run_time)
   OR differ(f.total_experiment_run_time, a.total_experiment_run_time);
