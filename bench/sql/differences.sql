-- How many users have other features in :answer than in "features", or are in one of them only.
SELECT count(*)
FROM features f FULL JOIN :answer a USING (user_id)
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
