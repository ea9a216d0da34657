-- eikon_api: install script. Edit this file; the versioned one is generated from it,
-- the list of options in options.txt and the page in web/.
\echo Use "CREATE EXTENSION eikon_api" to load this file. \quit

--
-- What PostgREST serves is the schema eikon_api, and nothing else. What that is made of
-- is in eikon_web.
--
-- Names that are not qualified are those of eikon_features: the search_path is pg_catalog
-- and its schema. Views and functions with a parsed body are bound to the objects of eikon_features here
-- and now; all others name everything in full, since they run with other rights than
-- their caller's.
--

CREATE SCHEMA eikon_api;
COMMENT ON SCHEMA eikon_api IS
$$eikon_features

Per-user experiment features, derived from CSV files. Read `/features`; bring them up to date with `POST /rpc/run_etl`, or in the background with `POST /rpc/submit_etl`. The gateway's other paths (`/trigger-etl`, `/etl-results`, `/uploads/users` and more) are described in the second document of this page's list.$$;

CREATE SCHEMA eikon_web;
COMMENT ON SCHEMA eikon_web IS 'what the HTTP API in eikon_api is made of; not served';

--
-- Roles. They belong to the server, not to this database: those that are there are taken
-- as they are, and none is dropped with the extension.
--
--	authenticator		logs in, and can do nothing but become one of the next three
--	eikon_anonymous		who brings no token: reads, and triggers the default directory
--	eikon_reader		reads
--	eikon_operator		reads, triggers, uploads, cancels
--	eikon_etl		nobody becomes it: runs asked for by HTTP have its rights
--

DO $$
DECLARE
	role text;
	timeout text;
BEGIN
	-- A client that goes away does not end its query; the timeout does. PostgREST applies it.
	FOR role, timeout IN VALUES ('eikon_anonymous', '60s'), ('eikon_reader', '60s'), ('eikon_operator', '5min'), ('eikon_etl', NULL) LOOP
		-- roles are the server's: another database may have made them already
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
			IF timeout IS NOT NULL THEN
				EXECUTE pg_catalog.format('ALTER ROLE %I SET statement_timeout = %L', role, timeout);
			END IF;
		ELSIF pg_catalog.pg_has_role(role, 'pg_read_server_files', 'MEMBER') THEN
			RAISE EXCEPTION 'role "%" may read any file of the server', role
				USING ERRCODE = 'invalid_grant_operation',
					HINT = 'Callers of the HTTP API must not: take SUPERUSER or pg_read_server_files from it.';
		END IF;
	END LOOP;
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'authenticator') THEN
		CREATE ROLE authenticator LOGIN NOINHERIT;
	ELSIF EXISTS (
		SELECT FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) AS setting
		WHERE s.setrole = 'authenticator'::pg_catalog.regrole AND setting LIKE 'pgrst.%'
			AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
	) THEN
		RAISE EXCEPTION 'role "authenticator" has settings of another PostgREST'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'They count more than postgrest.conf: what is served, and who nobody is.',
				HINT = 'Keep them to its database: ALTER ROLE authenticator IN DATABASE ... SET, and RESET them without.';
	END IF;
END
$$;
GRANT eikon_anonymous, eikon_reader, eikon_operator TO authenticator;

--
-- What is read
--

-- A view of more than one relation is not updatable, and so described as what it is: for
-- reading. With the rights of the reader, so that policies on eikon_user_features hold.
CREATE VIEW eikon_api.features WITH (security_invoker = true) AS SELECT t.* FROM features AS t, (SELECT) AS read_only;
CREATE VIEW eikon_api.compounds WITH (security_invoker = true) AS SELECT t.* FROM eikon_compounds AS t, (SELECT) AS read_only;
CREATE VIEW eikon_api.etl_results WITH (security_invoker = true) AS SELECT t.* FROM etl_results AS t, (SELECT) AS read_only;
CREATE VIEW eikon_api.derived_exp_data WITH (security_invoker = true) AS SELECT t.* FROM derived_exp_data AS t, (SELECT) AS read_only;
CREATE VIEW eikon_api.feature_derivation WITH (security_invoker = true) AS SELECT t.* FROM feature_derivation AS t, (SELECT) AS read_only;
CREATE VIEW eikon_api.rejects AS SELECT t.* FROM eikon_rejects AS t, (SELECT) AS read_only;
CREATE VIEW eikon_api.runs AS
SELECT
	run_id, status, background, source, options, requested_at, attempts, started_at, finished_at,
	skipped, is_current, bytes_read, users_read, users_loaded, users_rejected, compounds_read,
	compounds_loaded, compounds_rejected, experiments_read, experiments_loaded,
	experiments_rejected, unknown_compounds, rows_inserted, rows_updated, rows_deleted,
	rows_unchanged, timings, notes, error_code, error_message, error_detail, error_hint,
	error_context
FROM eikon_runs, (SELECT) AS read_only;
CREATE VIEW eikon_api.progress AS
SELECT
	run_id, source, phase, bytes_done, bytes_total, records, rejects, rows_done, rows_total,
	started_at, bytes_per_second, estimated_left
FROM eikon_progress;
CREATE VIEW eikon_api.uploads AS
SELECT kind, file_name, bytes, records, rejected, uploaded_at
FROM eikon_uploads;

-- The time of day that pandas wrote for a date: milliseconds since 1970.
CREATE VIEW eikon_api.etl_results_epoch WITH (security_invoker = true) AS
SELECT
	user_id, name, email,
	(pg_catalog.date_part('epoch', signup_date) * 1000)::pg_catalog.int8 AS signup_date,
	experiment_count, avg_experiment_run_time, compound_id, compound_name, compound_structure
FROM etl_results
ORDER BY user_id, compound_id;

CREATE FUNCTION eikon_api.days_since_signup(eikon_api.features)
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CURRENT_DATE - ($1).signup_date;

COMMENT ON VIEW eikon_api.features IS
$$Features, one row per user

What the last run derived from the files. Filter, order and page with PostgREST's operators, for instance `/features?total_experiments=gte.2&order=user_id&limit=10`; count with `Prefer: count=exact`; take CSV with `Accept: text/csv`. `select=*,days_since_signup` adds the days since the signup.$$;
COMMENT ON VIEW eikon_api.compounds IS
$$Compounds of the last run

Names and structures for every id in `most_common_compound_ids`. For instance `/compounds?compound_id=in.(1,2)`.$$;
COMMENT ON VIEW eikon_api.etl_results IS
$$Features, one row per tied compound

As `/etl-results`, with dates as dates. For instance `/etl_results?user_id=eq.4`.$$;
COMMENT ON VIEW eikon_api.etl_results_epoch IS
$$What /etl-results serves

As `/etl_results`, with dates in milliseconds since 1970. For instance `/etl-results?user_id=eq.4`.$$;
COMMENT ON VIEW eikon_api.derived_exp_data IS
$$Features in the shape of the table derived_exp_data

Averages are rounded to two places. For instance `/derived_exp_data?total_exp_per_user=gte.2`.$$;
COMMENT ON VIEW eikon_api.feature_derivation IS
$$Features in the shape of the table feature_derivation

Counts, sums and days since the signup. For instance `/feature_derivation?order=days_since_signup.desc&limit=10`.$$;
COMMENT ON VIEW eikon_api.rejects IS
$$Records that could not be taken, and why

Of runs with `on_error=ignore`, and of failed ones what they met. For instance `/rejects?run_id=eq.3&order=reject_id`.$$;
COMMENT ON VIEW eikon_api.runs IS
$$Ledger of the runs

Who, when, what and how it ended. For instance the latest one: `/runs?order=run_id.desc&limit=1`.$$;
COMMENT ON VIEW eikon_api.progress IS
$$Runs that are going on now

Empty when none is. For instance `/progress?select=run_id,phase,estimated_left`.$$;
COMMENT ON VIEW eikon_api.uploads IS
$$Uploaded files that no run has used yet

At most one of each kind. Put them there with `POST /uploads/{kind}`; take them back with, for instance, `DELETE /uploads?kind=eq.users`.$$;
COMMENT ON FUNCTION eikon_api.days_since_signup IS 'Days from the user''s signup to today';

-- What is known of a column is said once, in eikon_features; an example is added.
DO $$
DECLARE
	name text;
	column_name text;
	text text;
	examples jsonb := '{
		"user_id": 4, "name": "Dave", "email": "dave@example.com", "signup_date": "2023-04-01",
		"total_experiments": 1, "avg_experiments": 1.1, "experiments_pct": 0.0909,
		"avg_experiment_run_time": 30, "total_experiment_run_time": 30,
		"most_common_compound_id": 1, "most_common_compound_name": "Compound A",
		"most_common_compound_structure": "C20H25N3O", "most_common_compound_count": 1,
		"most_common_compound_ids": [1, 2, 3], "compound_id": 1, "compound_name": "Compound A",
		"compound_structure": "C20H25N3O", "experiment_count": 1, "total_exp_per_user": 1,
		"avg_experiment_count": 1.1, "avg_exp_time_per_user": 30, "most_consumed_compound": 1,
		"most_consumed_compound_name": "Compound A", "number_of_experiments": 1,
		"total_run_time": 30, "days_since_signup": 1000, "run_id": 3, "reject_id": 1,
		"kind": "users", "file": "users.csv", "line": 13, "byte_offset": 431,
		"column_name": "signup_date", "value": "01/11/2023", "error_type": "CAST",
		"error_message": "invalid input syntax for type date (ISO 8601): \"01/11/2023\"",
		"raw": "11,Ken,ken@example.com,01/11/2023", "raw_truncated": false,
		"status": "succeeded", "background": true, "source": "/srv/lab/drop",
		"options": {"on_error": "ignore"}, "requested_at": "2026-01-31T06:00:00+00:00",
		"attempts": 1, "started_at": "2026-01-31T06:00:00+00:00",
		"finished_at": "2026-01-31T06:00:01+00:00", "skipped": false, "is_current": true,
		"bytes_read": 1234, "users_read": 11, "users_loaded": 10, "users_rejected": 1,
		"compounds_read": 3, "compounds_loaded": 3, "compounds_rejected": 0,
		"experiments_read": 11, "experiments_loaded": 11, "experiments_rejected": 0,
		"unknown_compounds": 0, "rows_inserted": 10, "rows_updated": 0, "rows_deleted": 0,
		"rows_unchanged": 0, "timings": {"users": 0.001}, "notes": [{"file": "users.csv"}],
		"error_code": "22P04", "error_detail": "", "error_hint": "Look for a missing delimiter.",
		"error_context": "compounds.csv, line 6", "phase": "reading experiments",
		"bytes_done": 1048576, "bytes_total": 4194304, "records": 40000, "rejects": 0,
		"rows_done": 0, "rows_total": 0, "bytes_per_second": 400000000,
		"estimated_left": "00:00:01", "file_name": "users.csv.gz", "bytes": 1234,
		"rejected": 0, "uploaded_at": "2026-01-31T06:00:00+00:00"}';
BEGIN
	FOR name, column_name, text IN
		SELECT c.relname, a.attname, pg_catalog.col_description(d.refobjid, b.attnum)
		FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
			AND d.objid = r.oid AND d.refobjid <> c.oid AND d.refobjsubid > 0
		JOIN pg_catalog.pg_attribute b ON b.attrelid = d.refobjid AND b.attnum = d.refobjsubid
			AND b.attname = a.attname
		WHERE c.relnamespace = 'eikon_api'::pg_catalog.regnamespace
	LOOP
		-- a user's own column has no example
		text := text || coalesce(' (for example ' || (examples -> column_name)::text || ')', '');
		EXECUTE pg_catalog.format('COMMENT ON COLUMN eikon_api.%I.%I IS %L', name, column_name, text);
	END LOOP;
END
$$;
COMMENT ON COLUMN eikon_api.etl_results_epoch.signup_date IS
	'the day on which the user signed up, in milliseconds since 1970 (for example 1680307200000)';

--
-- Who asks, and what is answered
--

-- The functions of the API run as eikon_etl; this is who called them.
CREATE FUNCTION eikon_web.caller()
RETURNS pg_catalog.name
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(pg_catalog.current_setting('role'), 'none'), session_user)::pg_catalog.name;
COMMENT ON FUNCTION eikon_web.caller IS 'the role that the request has become';

CREATE FUNCTION eikon_web.is_operator()
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.pg_has_role(eikon_web.caller(), 'eikon_operator', 'MEMBER');
COMMENT ON FUNCTION eikon_web.is_operator IS 'whether the caller may do more than trigger the default directory';

CREATE FUNCTION eikon_web.header(name text)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN pg_catalog.current_setting('request.headers', true)::json ->> name;
COMMENT ON FUNCTION eikon_web.header IS 'a header of the request, by its name in lower case';

CREATE FUNCTION eikon_web.respond(status integer, VARIADIC headers text[] DEFAULT '{}')
RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT pg_catalog.set_config('response.status', status::text, true),
		pg_catalog.set_config('response.headers',
			(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
				pg_catalog.split_part(h, ': ', 1), pg_catalog.substr(h, pg_catalog.strpos(h, ': ') + 2))), '[]')
			 FROM pg_catalog.unnest(headers) AS h)::text, true);
END;
COMMENT ON FUNCTION eikon_web.respond IS 'gives the response its status, and headers of the form "Name: value"';

-- How an attempt to do something ended: status is HTTP's, the next four are what went
-- wrong, run is a row of eikon_runs without what is of no use to clients.
CREATE TYPE eikon_web.outcome AS (
	status integer,
	code text,
	message text,
	details text,
	hint text,
	run jsonb
);
COMMENT ON TYPE eikon_web.outcome IS 'how an attempt to do what a request asks for ended';

-- PostgREST would call most of these 500, which is for what callers are not to blame for.
CREATE FUNCTION eikon_web.status_of(code text)
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
	WHEN code ~ '^PT[45]\d\d$' THEN pg_catalog.substr(code, 3)::integer
	WHEN code = '42501' THEN 403										-- insufficient privilege
	WHEN code IN ('58P01', '42809', '42602') THEN 404					-- no such file, or a link, or no name
	WHEN code = '42704' THEN 404										-- no such run
	WHEN code IN ('55P03', '55000', '55006', '57P03', '40001', '40P01') THEN 409	-- another run, not yet, in use
	WHEN code IN ('22023', '22004') THEN 400							-- an option's value
	WHEN code ~ '^(2[23]|54)' OR code IN ('42703', '42701', 'XX001') THEN 422	-- what is in the files
	WHEN code = '25006' AND pg_catalog.pg_is_in_recovery() THEN 503		-- a standby
	WHEN code = '25006' THEN 405										-- GET of what writes
	WHEN code ~ '^53' THEN 503											-- disk, memory, connections
	WHEN code = '57014' THEN 504										-- statement_timeout
	ELSE 500
END;
COMMENT ON FUNCTION eikon_web.status_of IS 'the HTTP status for an SQLSTATE';

-- The context of an error is told as far as it says where in which file.
CREATE FUNCTION eikon_web.caught(code text, message text, details text, hint text, context text)
RETURNS eikon_web.outcome
LANGUAGE sql STABLE PARALLEL SAFE
RETURN ROW(
	eikon_web.status_of(code),
	code,
	message,
	nullif(pg_catalog.concat_ws(E'\n', nullif(details, ''), CASE WHEN context ~ '^[^\n]+, line \d|^[^\n ]+($|\n)'
		THEN pg_catalog.split_part(context, E'\n', 1) END), ''),
	coalesce(nullif(hint, ''), CASE code WHEN '57014' THEN
		'It took longer than this role''s statement_timeout: POST /rpc/submit_etl runs it in the background.' END),
	NULL)::eikon_web.outcome;
COMMENT ON FUNCTION eikon_web.caught IS 'the outcome that an error is';

CREATE FUNCTION eikon_web.rejects_of(id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
RETURN (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(r) - 'run_id' ORDER BY r.reject_id), '[]')
	FROM (SELECT * FROM eikon_rejects WHERE run_id = id ORDER BY reject_id LIMIT 100) AS r);
COMMENT ON FUNCTION eikon_web.rejects_of IS 'the first 100 rejects of a run';

-- Bodies are json, not jsonb: they keep the order in which they are written.
CREATE FUNCTION eikon_web.problem(outcome eikon_web.outcome)
RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	run_id bigint := outcome.run -> 'run_id';
BEGIN
	PERFORM eikon_web.respond(outcome.status,
		VARIADIC CASE WHEN outcome.code = '55P03' THEN '{Retry-After: 1}' ELSE '{}' END::text[]);
	IF run_id IS NULL THEN
		RETURN (SELECT row_to_json(b) FROM (SELECT outcome.code, outcome.message, outcome.details, outcome.hint) AS b);
	END IF;
	RETURN (SELECT row_to_json(b) FROM (SELECT outcome.code, outcome.message, outcome.details, outcome.hint,
		run_id, eikon_web.rejects_of(run_id) AS rejects) AS b);
END
$$;
COMMENT ON FUNCTION eikon_web.problem IS 'answers with what went wrong';

--
-- Runs
--

CREATE FUNCTION eikon_web.shown(run jsonb)
RETURNS json
LANGUAGE sql STABLE
RETURN pg_catalog.row_to_json(pg_catalog.jsonb_populate_record(NULL::eikon_api.runs, run));
COMMENT ON FUNCTION eikon_web.shown IS 'a run, in the order of the view''s columns';

CREATE FUNCTION eikon_web.run_etl(o jsonb)
RETURNS jsonb
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT pg_catalog.to_jsonb(r) FROM eikon_run_etl(
		source => o ->> 'source', @from_jsonb rejects dialect dry_run run@) AS r;
END;
COMMENT ON FUNCTION eikon_web.run_etl IS 'eikon_run_etl, for dry runs: a failure is an error';

CREATE FUNCTION eikon_web.try_etl(o jsonb)
RETURNS jsonb
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT pg_catalog.to_jsonb(r) FROM eikon_try_etl(
		source => o ->> 'source', @from_jsonb rejects dialect run@) AS r;
END;
COMMENT ON FUNCTION eikon_web.try_etl IS 'eikon_try_etl: a failure is a row';

CREATE FUNCTION eikon_web.submit_etl(o jsonb)
RETURNS bigint
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT eikon_submit_etl(
		source => o ->> 'source', @from_jsonb rejects dialect run@);
END;
COMMENT ON FUNCTION eikon_web.submit_etl IS 'eikon_submit_etl';

CREATE FUNCTION eikon_web.uploaded()
RETURNS text[]
LANGUAGE sql STABLE
RETURN (SELECT coalesce(pg_catalog.array_agg(kind), '{}') FROM eikon_uploads);
COMMENT ON FUNCTION eikon_web.uploaded IS 'the kinds of which a file was uploaded and not used yet';

CREATE FUNCTION eikon_web.missing()
RETURNS text
LANGUAGE sql STABLE
RETURN (SELECT pg_catalog.string_agg(kind, ', ')
	FROM pg_catalog.unnest('{users,user_experiments,compounds}'::text[]) AS kind
	WHERE kind <> ALL (eikon_web.uploaded()));
COMMENT ON FUNCTION eikon_web.missing IS 'the kinds of which none was';

CREATE FUNCTION eikon_web.pending()
RETURNS bigint
LANGUAGE sql STABLE
RETURN coalesce(
	(SELECT min(run_id) FROM eikon_runs WHERE status IN ('queued', 'running')),
	(SELECT min(run_id) FROM eikon_running() WHERE run_id IS NOT NULL));
COMMENT ON FUNCTION eikon_web.pending IS 'a run that waits or is going on; NULL: none';

-- What a request means to run. Those who are no operators get the default directory and
-- the defaults; of operators, one that names no directory means the uploaded files, if
-- there are any.
CREATE FUNCTION eikon_web.meant(options jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT eikon_web.is_operator() THEN
		IF options <> '{}' THEN
			RAISE EXCEPTION 'permission denied to choose a directory or options'
				USING ERRCODE = CASE eikon_web.caller() WHEN 'eikon_anonymous' THEN 'PT401' ELSE 'PT403' END,
					DETAIL = format('Role "%s" may run the default directory with the defaults.', eikon_web.caller()),
					HINT = 'Send a token of the role "eikon_operator": Authorization: Bearer ...';
		END IF;
	ELSIF NOT options ? 'source' AND eikon_web.uploaded() <> '{}' THEN
		IF eikon_web.missing() IS NOT NULL THEN
			RAISE EXCEPTION 'the upload is not complete: % missing', eikon_web.missing()
				USING ERRCODE = 'PT409',
					DETAIL = format('Uploaded so far: %s.', array_to_string(eikon_web.uploaded(), ', ')),
					HINT = format('POST /uploads/%s, or DELETE /uploads to run the default directory.', split_part(eikon_web.missing(), ',', 1));
		END IF;
		RETURN options || '{"source": "uploads:"}';
	END IF;
	RETURN options;
END
$$;
COMMENT ON FUNCTION eikon_web.meant IS 'the options of the run that a request asks for';

-- A statement that is cancelled and one that takes too long end with the same SQLSTATE.
CREATE FUNCTION eikon_web.is_over_time()
RETURNS boolean
LANGUAGE sql VOLATILE
RETURN pg_catalog.current_setting('statement_timeout')::pg_catalog.interval BETWEEN '1 ms'
	AND pg_catalog.clock_timestamp() - pg_catalog.statement_timestamp();
COMMENT ON FUNCTION eikon_web.is_over_time IS 'whether the statement''s time is over';

-- Runs, and tells how it ended, whatever went wrong.
CREATE FUNCTION eikon_web.attempt(options jsonb DEFAULT '{}')
RETURNS eikon_web.outcome
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome eikon_web.outcome;
	run jsonb;
	place text;
BEGIN
	BEGIN
		options := eikon_web.meant(options);
		IF options ->> 'dry_run' = 'true' THEN
			outcome.run := eikon_web.run_etl(options);
		ELSE
			outcome.run := eikon_web.try_etl(options);
		END IF;
		outcome.status := 200;
		IF outcome.run ->> 'status' = 'failed' THEN
			run := outcome.run;
			outcome := eikon_web.caught(run ->> 'error_code', run ->> 'error_message', run ->> 'error_detail',
				run ->> 'error_hint', run ->> 'error_context');
			outcome.run := run;
		END IF;
	EXCEPTION
		WHEN query_canceled OR OTHERS THEN
			GET STACKED DIAGNOSTICS outcome.code = RETURNED_SQLSTATE, outcome.message = MESSAGE_TEXT,
				outcome.details = PG_EXCEPTION_DETAIL, outcome.hint = PG_EXCEPTION_HINT, place = PG_EXCEPTION_CONTEXT;
			outcome := eikon_web.caught(outcome.code, outcome.message, outcome.details, outcome.hint, place);
			IF outcome.code = '57014' AND NOT eikon_web.is_over_time() THEN
				outcome := (409, '57014', 'the run was cancelled', NULL, NULL, NULL)::eikon_web.outcome;
			END IF;
	END;
	RETURN outcome;
END
$$;
COMMENT ON FUNCTION eikon_web.attempt IS 'runs, and tells how it ended';

CREATE FUNCTION eikon_web.attempt_to_submit(options jsonb DEFAULT '{}', alone boolean DEFAULT false)
RETURNS eikon_web.outcome
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome eikon_web.outcome;
	run_id bigint;
BEGIN
	-- of two at the same moment, the second sees the first one's
	IF alone AND NOT pg_try_advisory_xact_lock(hashtext('eikon_web.attempt_to_submit')) THEN
		RETURN (409, '55P03', 'another run is just being submitted', NULL, NULL, NULL)::eikon_web.outcome;
	END IF;
	run_id := CASE WHEN alone THEN eikon_web.pending() END;
	IF run_id IS NOT NULL THEN
		RETURN (409, '55P03', 'another run is going on', format('It is run %s.', run_id), NULL, NULL)::eikon_web.outcome;
	END IF;
	BEGIN
		run_id := eikon_web.submit_etl(eikon_web.meant(options));
		outcome.status := 202;
		outcome.run := jsonb_build_object('run_id', run_id, 'status', 'queued');
	EXCEPTION
		WHEN query_canceled OR OTHERS THEN
			GET STACKED DIAGNOSTICS outcome.code = RETURNED_SQLSTATE, outcome.message = MESSAGE_TEXT,
				outcome.details = PG_EXCEPTION_DETAIL, outcome.hint = PG_EXCEPTION_HINT;
			outcome := eikon_web.caught(outcome.code, outcome.message, outcome.details, outcome.hint, NULL);
	END;
	RETURN outcome;
END
$$;
COMMENT ON FUNCTION eikon_web.attempt_to_submit IS 'queues a run; with alone, unless one waits or is going on';

CREATE FUNCTION eikon_web.accept(outcome eikon_web.outcome, VARIADIC headers text[] DEFAULT '{}')
RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF outcome.status <> 202 THEN
		RETURN eikon_web.problem(outcome);
	END IF;
	PERFORM eikon_web.respond(202,
		VARIADIC format('Location: /runs?run_id=eq.%s', outcome.run ->> 'run_id') || headers);
	RETURN (SELECT row_to_json(b) FROM (SELECT outcome.run -> 'run_id' AS run_id, outcome.run ->> 'status' AS status) AS b);
END
$$;
COMMENT ON FUNCTION eikon_web.accept IS 'answers that a run is queued, and where to see what becomes of it';

CREATE FUNCTION eikon_api.run_etl(
	source text DEFAULT NULL,
	@optional rejects dialect dry_run run@)
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	options jsonb := jsonb_strip_nulls(jsonb_build_object('source', source, @values rejects dialect dry_run run@));
	outcome eikon_web.outcome;
BEGIN
	IF eikon_web.header('prefer') ~* '(^|[,;\s])respond-async($|[,;\s])' AND dry_run IS NOT TRUE THEN
		RETURN eikon_web.accept(eikon_web.attempt_to_submit(options - 'dry_run'), 'Preference-Applied: respond-async');
	END IF;
	outcome := eikon_web.attempt(options);
	RETURN CASE outcome.status WHEN 200 THEN eikon_web.shown(outcome.run) ELSE eikon_web.problem(outcome) END;
END
$$;
COMMENT ON FUNCTION eikon_api.run_etl IS
$$Run now, and wait

Reads the files of a directory and brings the features up to date. Without `source`: the uploaded files if there are any, else the default directory; with it, a directory beneath that. The options are those of `eikon_run_etl`. For example `{"source": "2024-06", "on_error": "ignore"}`; the answer is the run, for example `{"run_id": 3, "status": "succeeded", "rows_inserted": 10}`. 409 when a run is going on; 422 with the rejects when the files can't be taken. With the header `Prefer: respond-async`, as `/rpc/submit_etl`.$$;

CREATE FUNCTION eikon_api.submit_etl(
	source text DEFAULT NULL,
	@optional rejects dialect run@)
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN eikon_web.accept(eikon_web.attempt_to_submit(jsonb_strip_nulls(jsonb_build_object(
		'source', source, @values rejects dialect run@))));
END
$$;
COMMENT ON FUNCTION eikon_api.submit_etl IS
$$Run in the background

Queues a run and answers 202 at once, with the header `Location` naming where to see what becomes of it, and for example `{"run_id": 3, "status": "queued"}`. Parameters are those of `/rpc/run_etl`.$$;

CREATE FUNCTION eikon_web.cancel_etl(run_id bigint)
RETURNS boolean
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT eikon_cancel_etl(run_id);
END;
COMMENT ON FUNCTION eikon_web.cancel_etl IS 'eikon_cancel_etl';

CREATE FUNCTION eikon_api.cancel_etl(run_id bigint)
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome eikon_web.outcome;
BEGIN
	PERFORM eikon_web.cancel_etl(run_id);
	RETURN (SELECT row_to_json(b) FROM (SELECT run_id, 'the run is withdrawn, or told to stop' AS message) AS b);
EXCEPTION
	WHEN query_canceled OR OTHERS THEN
		GET STACKED DIAGNOSTICS outcome.code = RETURNED_SQLSTATE, outcome.message = MESSAGE_TEXT,
			outcome.details = PG_EXCEPTION_DETAIL, outcome.hint = PG_EXCEPTION_HINT;
		RETURN eikon_web.problem(eikon_web.caught(outcome.code, outcome.message, outcome.details, outcome.hint, NULL));
END
$$;
COMMENT ON FUNCTION eikon_api.cancel_etl IS
$$Cancel a run

For example `{"run_id": 3}`: withdraws it if it waits, has it stopped if it is going on. Runs asked for otherwise than by HTTP are not to be cancelled here (403). 404 for a run that does not exist, 409 for one that has ended.$$;

CREATE FUNCTION eikon_web.health()
RETURNS json
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT pg_catalog.row_to_json(b) FROM (SELECT 'ok' AS status, h.* FROM eikon_health() AS h) AS b;
END;
COMMENT ON FUNCTION eikon_web.health IS 'eikon_health';

CREATE FUNCTION eikon_api.health()
RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN eikon_web.health();
END
$$;
COMMENT ON FUNCTION eikon_api.health IS
$$For monitors

When the last run succeeded and failed, how many run and wait and how long. For example `{"status": "ok", "running": 0, "queued": 0, "launcher": true}`. The gateway answers 503 when the database can't be reached.$$;

--
-- Uploads
--

CREATE FUNCTION eikon_web.upload(kind text, content bytea, file_name text, on_error text)
RETURNS jsonb
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT pg_catalog.to_jsonb(u) FROM eikon_upload(kind, content, file_name, on_error) AS u;
END;
COMMENT ON FUNCTION eikon_web.upload IS 'eikon_upload';

CREATE FUNCTION eikon_web.attempt_upload(kind text, content bytea)
RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name text := substring(eikon_web.header('content-disposition') FROM '(?i)filename="?([^";]+)');
	outcome eikon_web.outcome;
	upload jsonb;
	place text;
BEGIN
	upload := eikon_web.upload(kind, content, name, coalesce(nullif(eikon_web.header('x-on-error'), ''), 'stop'));
	IF upload ->> 'upload_id' IS NOT NULL THEN
		PERFORM eikon_web.respond(201, format('Location: /uploads?kind=eq.%s', kind));
		RETURN (SELECT row_to_json(b) FROM (SELECT kind, name AS file_name, length(content) AS bytes,
			upload -> 'records' AS records, upload -> 'rejected' AS rejected, upload -> 'rejects' AS rejects,
			coalesce(string_to_array(eikon_web.missing(), ', '), '{}') AS missing) AS b);
	END IF;
	PERFORM eikon_web.respond(422);
	RETURN (SELECT row_to_json(b) FROM (SELECT '22P04' AS code,
		format('%s of %s records of %s can''t be taken', upload ->> 'rejected', upload ->> 'records', coalesce(name, 'the file')) AS message,
		'Nothing was stored.' AS details, 'Correct them, or leave them out with ?on_error=ignore.' AS hint,
		upload -> 'rejects' AS rejects) AS b);
EXCEPTION
	WHEN query_canceled OR OTHERS THEN
		GET STACKED DIAGNOSTICS outcome.code = RETURNED_SQLSTATE, outcome.message = MESSAGE_TEXT,
			outcome.details = PG_EXCEPTION_DETAIL, outcome.hint = PG_EXCEPTION_HINT, place = PG_EXCEPTION_CONTEXT;
		outcome := eikon_web.caught(outcome.code, outcome.message, outcome.details, outcome.hint, place);
		IF outcome.code = '54000' THEN
			outcome.status := 413;
		END IF;
		RETURN eikon_web.problem(outcome);
END
$$;
COMMENT ON FUNCTION eikon_web.attempt_upload IS 'checks and keeps an uploaded file, and answers what became of it';

CREATE FUNCTION eikon_api.upload_users(bytea)
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RETURN eikon_web.attempt_upload('users', $1); END $$;

CREATE FUNCTION eikon_api.upload_user_experiments(bytea)
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RETURN eikon_web.attempt_upload('user_experiments', $1); END $$;

CREATE FUNCTION eikon_api.upload_compounds(bytea)
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RETURN eikon_web.attempt_upload('compounds', $1); END $$;

COMMENT ON FUNCTION eikon_api.upload_users IS
$$What POST /uploads/users calls

The body is the file, for example `user_id,name,email,signup_date` and a line for each user.$$;
COMMENT ON FUNCTION eikon_api.upload_user_experiments IS
$$What POST /uploads/user_experiments calls

The body is the file, for example `experiment_id,user_id,experiment_compound_ids,experiment_run_time` and a line for each experiment.$$;
COMMENT ON FUNCTION eikon_api.upload_compounds IS
$$What POST /uploads/compounds calls

The body is the file, for example `compound_id,compound_name,compound_structure` and a line for each compound.$$;

--
-- The paths that earlier systems had. The gateway calls these, and says what path is which.
--

CREATE DOMAIN eikon_api."text/html" AS text;
COMMENT ON DOMAIN eikon_api."text/html" IS 'a page; PostgREST serves it under its name';

CREATE FUNCTION eikon_web.template()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN $page$
@web/result.html@
$page$;
COMMENT ON FUNCTION eikon_web.template IS 'web/result.html: {{name}} stands for a value';

-- A brace is escaped too, so that no value can name another one.
CREATE FUNCTION eikon_web.escape_html(text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	escaped text := replace(coalesce($1, ''), '&', '&amp;');
	character text[];
BEGIN
	FOREACH character SLICE 1 IN ARRAY '{{<,&lt;},{>,&gt;},{\",&quot;},{'',&#39;},{"{","&#123;"}}'::text[] LOOP
		escaped := replace(escaped, character[1], character[2]);
	END LOOP;
	RETURN escaped;
END
$$;
COMMENT ON FUNCTION eikon_web.escape_html IS 'text as it must stand in a page';

CREATE FUNCTION eikon_web.page(title text, status integer, message text, details text, hint text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	page text := ltrim(eikon_web.template(), E'\n');
	value text[];
BEGIN
	FOREACH value SLICE 1 IN ARRAY ARRAY[['title', title], ['status', status::text], ['message', message],
			['class', CASE WHEN status < 400 THEN 'success' ELSE 'failure' END],
			['details', details], ['hint', hint]] LOOP
		page := replace(page, '{{' || value[1] || '}}', eikon_web.escape_html(value[2]));
	END LOOP;
	RETURN page;
END
$$;
COMMENT ON FUNCTION eikon_web.page IS 'the page that tells how a run ended';

CREATE FUNCTION eikon_web.count_results()
RETURNS bigint
LANGUAGE sql STABLE
RETURN (SELECT count(*) FROM etl_results);
COMMENT ON FUNCTION eikon_web.count_results IS 'rows of etl_results';

CREATE FUNCTION eikon_web.is_empty()
RETURNS boolean
LANGUAGE sql STABLE
RETURN NOT EXISTS (SELECT FROM features);
COMMENT ON FUNCTION eikon_web.is_empty IS 'whether features has no row';

-- By name: eikon_features may be of an older version, where features is the table.
CREATE FUNCTION eikon_web.has_table()
RETURNS boolean
LANGUAGE sql STABLE
RETURN EXISTS (SELECT FROM pg_catalog.pg_class AS c
	JOIN pg_catalog.pg_extension AS e ON e.extname = 'eikon_features' AND e.extnamespace = c.relnamespace
	WHERE c.relname IN ('eikon_user_features', 'features') AND c.relkind IN ('r', 'p'));
COMMENT ON FUNCTION eikon_web.has_table IS 'whether the table eikon_user_features is there';

CREATE FUNCTION eikon_api.trigger_etl()
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome eikon_web.outcome := eikon_web.attempt_to_submit(alone => true);
BEGIN
	IF outcome.status = 202 THEN
		RETURN (SELECT row_to_json(b) FROM (SELECT 'ETL process started' AS message, outcome.run -> 'run_id' AS run_id) AS b);
	ELSIF outcome.code = '55P03' THEN
		PERFORM eikon_web.respond(400, 'Retry-After: 1');
		RETURN '{"message":"Trigger the API frequently, please try again later."}';
	ELSIF outcome.code = '25006' AND pg_is_in_recovery() THEN
		PERFORM eikon_web.respond(400, 'Retry-After: 5');
		RETURN '{"message":"Dag is loading, please try again later."}';
	END IF;
	RETURN eikon_web.problem(outcome);
END
$$;
COMMENT ON FUNCTION eikon_api.trigger_etl IS
$$What /trigger-etl calls

Queues a run, for example `{"message": "ETL process started", "run_id": 3}`; 400 when one is going on.$$;

CREATE FUNCTION eikon_api.trigger_etl_page()
RETURNS eikon_api."text/html"
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome eikon_web.outcome := eikon_web.attempt();
BEGIN
	PERFORM eikon_web.respond(outcome.status);
	IF outcome.status = 200 THEN
		RETURN eikon_web.page('ETL Process Successful', 200,
			format('ETL process completed for %s rows', eikon_web.count_results()), '', '');
	END IF;
	RETURN eikon_web.page('ETL Process Failed', outcome.status, outcome.message, outcome.details, outcome.hint);
END
$$;
COMMENT ON FUNCTION eikon_api.trigger_etl_page IS
$$What /trigger-etl calls for a browser

Runs, and answers with a page, for example `Message: ETL process completed for 20 rows`.$$;

CREATE FUNCTION eikon_api.trigger_etl_and_wait()
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome eikon_web.outcome := eikon_web.attempt();
	problem json;
BEGIN
	IF outcome.status = 200 THEN
		RETURN (SELECT row_to_json(b) FROM (SELECT 'ETL process started' AS message,
			'successfully inserted into database' AS result, eikon_web.count_results() AS rows, eikon_web.shown(outcome.run) AS run) AS b);
	END IF;
	problem := eikon_web.problem(outcome);
	RETURN (SELECT row_to_json(b) FROM (SELECT 'ETL process started' AS message,
		concat_ws(': ', outcome.message, outcome.details) AS result, outcome.code, outcome.details, outcome.hint,
		problem -> 'run_id' AS run_id, problem -> 'rejects' AS rejects) AS b);
END
$$;
COMMENT ON FUNCTION eikon_api.trigger_etl_and_wait IS
$$What /trigger_etl calls

Runs and waits, for example `{"message": "ETL process started", "result": "successfully inserted into database"}`, or what went wrong in `result`.$$;

CREATE FUNCTION eikon_api.etl()
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	outcome eikon_web.outcome := eikon_web.attempt();
BEGIN
	IF outcome.status = 200 THEN
		RETURN (SELECT row_to_json(b) FROM (SELECT 'ETL process completed successfully' AS message,
			eikon_web.count_results() AS rows, eikon_web.shown(outcome.run) AS run) AS b);
	END IF;
	RETURN eikon_web.problem(outcome);
END
$$;
COMMENT ON FUNCTION eikon_api.etl IS
$$What /etl calls

Runs and waits, for example `{"message": "ETL process completed successfully", "rows": 20}`.$$;

-- The default directory under its own name is what anybody may run. What is not for the
-- caller to name is as good as not there.
CREATE FUNCTION eikon_api.experiments(path_to_data text DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_default boolean := path_to_data = '' OR rtrim(path_to_data, '/') IN ('.',
		coalesce(nullif(rtrim(current_setting('eikon_features.data_directory', true), '/'), ''), '.'));
	outcome eikon_web.outcome;
BEGIN
	outcome := eikon_web.attempt(CASE WHEN is_default IS NOT FALSE AND NOT eikon_web.is_operator() THEN '{}'
		ELSE jsonb_strip_nulls(jsonb_build_object('source', path_to_data)) END);
	IF outcome.status = 200 THEN
		RETURN '{"Success":true}';
	ELSIF outcome.status IN (401, 403, 404) THEN
		PERFORM eikon_web.respond(404);
		RETURN (SELECT row_to_json(b) FROM (SELECT path_to_data AS "Bad path to data", outcome.code, outcome.message,
			outcome.details, outcome.hint) AS b);
	END IF;
	RETURN eikon_web.problem(outcome);
END
$$;
COMMENT ON FUNCTION eikon_api.experiments IS
$$What /experiments calls

Runs a directory, for example `{"path_to_data": "2024-06"}`, and answers `{"Success": true}`; 404 with `Bad path to data` when there is none.$$;

CREATE FUNCTION eikon_web.check_that(holds boolean, yes text, no text)
RETURNS json
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM eikon_web.respond(CASE WHEN holds THEN 200 ELSE 500 END);
	RETURN (SELECT row_to_json(b) FROM (SELECT CASE WHEN holds THEN yes ELSE no END AS message) AS b);
END
$$;
COMMENT ON FUNCTION eikon_web.check_that IS 'answers 200 or 500, in the words given';

CREATE FUNCTION eikon_api.check_table()
RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RETURN eikon_web.check_that(eikon_web.has_table(), 'Table created', 'Table creation failed'); END $$;
COMMENT ON FUNCTION eikon_api.check_table IS
$$What /check/table calls

For example `{"message": "Table created"}`, or 500.$$;

CREATE FUNCTION eikon_api.check_feature_derivation()
RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RETURN eikon_web.check_that(NOT eikon_web.is_empty(), 'Feature Derivation inserted', 'Feature Derivation insert failed'); END $$;
COMMENT ON FUNCTION eikon_api.check_feature_derivation IS
$$What /check/feature_derivation calls

For example `{"message": "Feature Derivation inserted"}`, or 500 while `features` is empty.$$;

--
-- Rights
--

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

DO $$
DECLARE
	routine pg_catalog.regprocedure;
BEGIN
	FOR routine IN
		SELECT oid FROM pg_catalog.pg_proc
		WHERE pronamespace IN ('eikon_api'::pg_catalog.regnamespace, 'eikon_web'::pg_catalog.regnamespace)
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
		EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO eikon_etl', routine);
	END LOOP;

	-- What runs as somebody else runs as one who can do only this.
	FOR routine IN
		SELECT oid FROM pg_catalog.pg_proc
		WHERE pronamespace = 'eikon_api'::pg_catalog.regnamespace AND prosecdef
	LOOP
		EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO eikon_etl', routine);
	END LOOP;
END
$$;
GRANT USAGE ON SCHEMA eikon_web TO eikon_etl;

GRANT USAGE ON SCHEMA eikon_api TO eikon_anonymous, eikon_reader, eikon_operator;
GRANT SELECT ON ALL TABLES IN SCHEMA eikon_api TO eikon_anonymous, eikon_reader, eikon_operator;
GRANT EXECUTE ON FUNCTION eikon_api.days_since_signup, eikon_api.health, eikon_api.check_table,
	eikon_api.check_feature_derivation TO eikon_anonymous, eikon_reader, eikon_operator;
GRANT EXECUTE ON FUNCTION eikon_api.run_etl, eikon_api.submit_etl, eikon_api.trigger_etl,
	eikon_api.trigger_etl_page, eikon_api.trigger_etl_and_wait, eikon_api.etl, eikon_api.experiments
	TO eikon_anonymous, eikon_operator;
GRANT EXECUTE ON FUNCTION eikon_api.cancel_etl, eikon_api.upload_users, eikon_api.upload_user_experiments,
	eikon_api.upload_compounds TO eikon_operator;
REVOKE SELECT ON eikon_api.uploads FROM eikon_anonymous, eikon_reader;
GRANT DELETE ON eikon_api.uploads TO eikon_operator;

-- A running PostgREST sees what is new.
NOTIFY pgrst, 'reload config';
NOTIFY pgrst, 'reload schema';
