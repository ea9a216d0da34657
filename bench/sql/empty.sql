-- As before the first load by COPY and SQL: no rows, and no keys on the tables that COPY fills.
TRUNCATE answer, answer_totals, staged_users, staged_compounds, staged_experiments;
ALTER TABLE staged_users DROP CONSTRAINT IF EXISTS staged_users_pkey;
ALTER TABLE staged_compounds DROP CONSTRAINT IF EXISTS staged_compounds_pkey;
ALTER TABLE staged_experiments DROP CONSTRAINT IF EXISTS staged_experiments_pkey;
DROP INDEX IF EXISTS staged_experiments_user_id_idx;
