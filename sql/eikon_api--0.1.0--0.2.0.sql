\echo Use "ALTER EXTENSION eikon_api UPDATE" to load this file. \quit

-- The views read with the rights of the reader, so that policies on eikon_user_features hold.
-- They keep the columns that they have.
DO $$
DECLARE
	view text;
	relation text;
BEGIN
	FOR view, relation IN VALUES ('features', 'features'), ('compounds', 'eikon_compounds'), ('etl_results', 'etl_results'),
		('derived_exp_data', 'derived_exp_data'), ('feature_derivation', 'feature_derivation')
	LOOP
		EXECUTE pg_catalog.format('CREATE OR REPLACE VIEW eikon_api.%I WITH (security_invoker = true) AS SELECT %s FROM %I AS t, (SELECT) AS read_only',
			view,
			(SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', attname), ', ' ORDER BY attnum)
				FROM pg_catalog.pg_attribute WHERE attrelid = ('eikon_api.' || view)::pg_catalog.regclass AND attnum > 0),
			relation);
	END LOOP;
END
$$;
CREATE OR REPLACE VIEW eikon_api.etl_results_epoch WITH (security_invoker = true) AS
SELECT
	user_id, name, email,
	(pg_catalog.date_part('epoch', signup_date) * 1000)::pg_catalog.int8 AS signup_date,
	experiment_count, avg_experiment_run_time, compound_id, compound_name, compound_structure
FROM etl_results
ORDER BY user_id, compound_id;

-- By name: eikon_features may be of an older version, where features is the table.
CREATE OR REPLACE FUNCTION eikon_web.has_table()
RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (SELECT FROM pg_catalog.pg_class AS c
	JOIN pg_catalog.pg_extension AS e ON e.extname = 'eikon_features' AND e.extnamespace = c.relnamespace
	WHERE c.relname IN ('eikon_user_features', 'features') AND c.relkind IN ('r', 'p'));
COMMENT ON FUNCTION eikon_web.has_table IS 'whether the table eikon_user_features is there';

-- Those on objects of eikon_features. What a script grants on objects of another extension
-- is taken for part of that, with all that was granted on them before, and pg_dump leaves it
-- out. So they are granted as if by a user: see eikon_outside_extension() in src/sql_api.c.
CREATE FUNCTION eikon_web.outside_extension(statement text, role oid DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT
AS '$libdir/eikon_features', 'eikon_outside_extension';
DO $$
DECLARE
	schema text := (SELECT extnamespace::pg_catalog.regnamespace FROM pg_catalog.pg_extension WHERE extname = 'eikon_features');
	web text := 'eikon_anonymous, eikon_reader, eikon_operator';
	rights text;
	roles text;
	names text[];
	name text;
BEGIN
	-- C functions name the tables, and views read them as the caller.
	PERFORM eikon_web.outside_extension(pg_catalog.format('GRANT USAGE ON SCHEMA %s TO eikon_etl, %s', schema, web));
	FOR rights, roles, names IN VALUES
		('SELECT, INSERT, UPDATE, DELETE', 'eikon_etl', '{features,eikon_user_features,eikon_totals,eikon_compounds,eikon_uploads}'::text[]),
		('SELECT', 'eikon_etl', '{eikon_runs,eikon_rejects,etl_results}'),
		('SELECT', web, '{features,eikon_user_features,eikon_totals,eikon_compounds,etl_results,derived_exp_data,feature_derivation}')
	LOOP
		FOREACH name IN ARRAY names LOOP
			-- of an older version of eikon_features, where it does not have all of them
			IF pg_catalog.to_regclass(schema || '.' || name) IS NOT NULL THEN
				PERFORM eikon_web.outside_extension(pg_catalog.format('GRANT %s ON %s.%I TO %s', rights, schema, name, roles));
			END IF;
		END LOOP;
	END LOOP;
	FOREACH name IN ARRAY '{eikon_run_etl,eikon_try_etl,eikon_submit_etl,eikon_cancel_etl,eikon_upload,eikon_health,eikon_running}'::text[] LOOP
		PERFORM eikon_web.outside_extension(pg_catalog.format('GRANT EXECUTE ON FUNCTION %s.%I TO eikon_etl', schema, name));
	END LOOP;
	PERFORM eikon_web.outside_extension(pg_catalog.format('GRANT EXECUTE ON FUNCTION %s.eikon_running TO %s', schema, web));
END
$$;
DROP FUNCTION eikon_web.outside_extension;

-- A running PostgREST sees what is new.
NOTIFY pgrst, 'reload schema';
