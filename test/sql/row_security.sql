-- Row security on eikon_user_features: whoever reads, through whichever view, sees the rows that
-- the reader's own policies give.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql
SELECT rows_inserted FROM eikon_run_etl(:'dir' || '/features');

CREATE ROLE regress_eikon_reader;
CREATE ROLE regress_eikon_other;
GRANT USAGE ON SCHEMA lab TO regress_eikon_reader, regress_eikon_other;

-- The one line that lets a role read all of it.
GRANT SELECT ON features, eikon_user_features, eikon_totals, eikon_compounds, etl_results, derived_exp_data, feature_derivation
    TO regress_eikon_reader, regress_eikon_other;

CREATE FUNCTION pg_temp.seen(role name) RETURNS TABLE (relation text, users bigint[]) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    FOR relation IN VALUES ('eikon_user_features'), ('features'), ('etl_results'), ('derived_exp_data'), ('feature_derivation') LOOP
        EXECUTE format('SELECT array_agg(DISTINCT user_id ORDER BY user_id) FROM %I', relation) INTO users;
        RETURN NEXT;
    END LOOP;
    FOR relation IN SELECT 'eikon_api.' || v FROM unnest('{features,etl_results,etl_results_epoch,derived_exp_data,feature_derivation}'::text[]) AS v
        WHERE has_schema_privilege('eikon_api', 'USAGE') LOOP
        EXECUTE format('SELECT array_agg(DISTINCT user_id ORDER BY user_id) FROM %s', relation) INTO users;
        RETURN NEXT;
    END LOOP;
    RESET ROLE;
END
$$;

-- It is no part of this test to make the roles of eikon_api for good.
BEGIN;
CREATE EXTENSION eikon_api;
GRANT USAGE ON SCHEMA eikon_api TO regress_eikon_reader, regress_eikon_other;
GRANT SELECT ON ALL TABLES IN SCHEMA eikon_api TO regress_eikon_reader, regress_eikon_other;

-- Without row security, all rows.
SELECT * FROM pg_temp.seen('regress_eikon_reader');

-- With it and without a policy, none.
ALTER TABLE eikon_user_features ENABLE ROW LEVEL SECURITY;
SELECT relation FROM pg_temp.seen('regress_eikon_reader') WHERE users IS NOT NULL;

-- With a policy, the rows that it gives to that role. The totals are those of all users.
CREATE POLICY low_ids ON eikon_user_features FOR SELECT TO regress_eikon_reader USING (user_id < 30);
SELECT * FROM pg_temp.seen('regress_eikon_reader');
SELECT relation FROM pg_temp.seen('regress_eikon_other') WHERE users IS NOT NULL;
SET ROLE regress_eikon_reader;
SELECT user_id, avg_experiments, round(experiments_pct::numeric, 4) AS experiments_pct FROM features ORDER BY user_id;
RESET ROLE;

-- Whoever calls the API brings the policies of the web role.
CREATE POLICY operators ON eikon_user_features FOR SELECT TO eikon_operator USING (user_id = 50);
SELECT DISTINCT users FROM pg_temp.seen('eikon_operator');
SELECT DISTINCT users FROM pg_temp.seen('eikon_anonymous');

-- The owner is above policies, as long as they are not forced.
SELECT count(*) FROM features;
ROLLBACK;

-- A view of one's own reads with the rights of its owner the tables that it names, but
-- through features with those of its reader.
ALTER TABLE eikon_user_features ENABLE ROW LEVEL SECURITY;
CREATE VIEW of_table AS SELECT user_id FROM eikon_user_features;
CREATE VIEW of_view AS SELECT user_id FROM features;
GRANT SELECT ON of_table, of_view TO regress_eikon_reader;
SET ROLE regress_eikon_reader;
SELECT (SELECT count(*) FROM of_table) AS of_table, (SELECT count(*) FROM of_view) AS of_view;
RESET ROLE;

-- Rights on some columns suffice for the table, not for the view.
REVOKE ALL ON eikon_user_features, features FROM regress_eikon_other;
GRANT SELECT (user_id, name) ON eikon_user_features, features TO regress_eikon_other;
SET ROLE regress_eikon_other;
SELECT user_id, name FROM eikon_user_features;
SELECT user_id, name FROM features;
RESET ROLE;

DROP EXTENSION eikon_features CASCADE;
DROP OWNED BY regress_eikon_reader, regress_eikon_other;
DROP ROLE regress_eikon_reader, regress_eikon_other;
DROP SCHEMA lab CASCADE;
