-- eikon_features: install script. Edit this file; the versioned one is generated from it
-- and from the list of options in options.txt.
\echo Use "CREATE EXTENSION eikon_features" to load this file. \quit

--
-- Tables. All of them hold user data, so pg_dump carries their rows.
--

-- What is known of a user and depends on nobody else, so that a new experiment changes one row.
CREATE TABLE eikon_user_features (
	user_id bigint NOT NULL,
	name text,
	email text,
	signup_date date,
	total_experiments bigint NOT NULL,
	avg_experiment_run_time float8,
	total_experiment_run_time float8,
	most_common_compound_id bigint,
	most_common_compound_name text,
	most_common_compound_structure text,
	most_common_compound_count bigint,
	most_common_compound_ids bigint[],
	CONSTRAINT eikon_user_features_pkey PRIMARY KEY (user_id)
);
COMMENT ON TABLE eikon_user_features IS 'one row per user: the features that the last ETL run derived from the source files and that depend on this user alone; read the view features';
COMMENT ON COLUMN eikon_user_features.user_id IS 'the user''s id in the users file';
COMMENT ON COLUMN eikon_user_features.name IS 'the user''s name';
COMMENT ON COLUMN eikon_user_features.email IS 'the user''s e-mail address';
COMMENT ON COLUMN eikon_user_features.signup_date IS 'the day on which the user signed up';
COMMENT ON COLUMN eikon_user_features.total_experiments IS 'number of experiments that the user ran';
COMMENT ON COLUMN eikon_user_features.avg_experiment_run_time IS 'average run time of the user''s experiments whose run time is known';
COMMENT ON COLUMN eikon_user_features.total_experiment_run_time IS 'sum of the run times of the user''s experiments';
COMMENT ON COLUMN eikon_user_features.most_common_compound_id IS 'the compound that the user''s experiments list most often; of tied ones the lowest id';
COMMENT ON COLUMN eikon_user_features.most_common_compound_name IS 'name of most_common_compound_id; NULL when no compounds file holds it';
COMMENT ON COLUMN eikon_user_features.most_common_compound_structure IS 'structure of most_common_compound_id; NULL when no compounds file holds it';
COMMENT ON COLUMN eikon_user_features.most_common_compound_count IS 'how often the user''s experiments list most_common_compound_id';
COMMENT ON COLUMN eikon_user_features.most_common_compound_ids IS 'all compounds listed that often, ascending';

-- Empty until the first run, so that a dump or a subscription can fill it.
CREATE TABLE eikon_totals (
	users bigint NOT NULL,
	experiments bigint NOT NULL,
	run_id bigint NOT NULL
);
CREATE UNIQUE INDEX eikon_totals_one_row ON eikon_totals ((true));
ALTER TABLE eikon_totals REPLICA IDENTITY FULL;
COMMENT ON TABLE eikon_totals IS 'one row, from the first ETL run on: the totals that the features of every user depend on';
COMMENT ON COLUMN eikon_totals.users IS 'number of users';
COMMENT ON COLUMN eikon_totals.experiments IS 'number of experiments of all users';
COMMENT ON COLUMN eikon_totals.run_id IS 'the last run that changed eikon_user_features, eikon_compounds or these totals';
COMMENT ON INDEX eikon_totals_one_row IS 'allows one row only';

-- Each total is a subquery and not a join: rows are neither lost nor doubled with those of
-- eikon_totals. Without its row the two columns are NULL.
CREATE VIEW features WITH (security_invoker = true) AS
SELECT
	u.user_id,
	u.name,
	u.email,
	u.signup_date,
	u.total_experiments,
	(SELECT t.experiments::pg_catalog.float8
			OPERATOR(pg_catalog./) CASE WHEN t.users OPERATOR(pg_catalog.>) 0 THEN t.users ELSE 1 END::pg_catalog.float8
		FROM ONLY eikon_totals t) AS avg_experiments,
	u.total_experiments::pg_catalog.float8
		OPERATOR(pg_catalog./) (SELECT CASE WHEN t.experiments OPERATOR(pg_catalog.>) 0 THEN t.experiments ELSE 1 END::pg_catalog.float8
			FROM ONLY eikon_totals t) AS experiments_pct,
	u.avg_experiment_run_time,
	u.total_experiment_run_time,
	u.most_common_compound_id,
	u.most_common_compound_name,
	u.most_common_compound_structure,
	u.most_common_compound_count,
	u.most_common_compound_ids
FROM eikon_user_features u;
COMMENT ON VIEW features IS 'one row per user: what the last ETL run derived from the source files';
COMMENT ON COLUMN features.user_id IS 'the user''s id in the users file';
COMMENT ON COLUMN features.name IS 'the user''s name';
COMMENT ON COLUMN features.email IS 'the user''s e-mail address';
COMMENT ON COLUMN features.signup_date IS 'the day on which the user signed up';
COMMENT ON COLUMN features.total_experiments IS 'number of experiments that the user ran';
COMMENT ON COLUMN features.avg_experiments IS 'average number of experiments of a user: all experiments / all users, the same in every row';
COMMENT ON COLUMN features.experiments_pct IS 'this user''s share of all experiments, from 0 to 1';
COMMENT ON COLUMN features.avg_experiment_run_time IS 'average run time of the user''s experiments whose run time is known';
COMMENT ON COLUMN features.total_experiment_run_time IS 'sum of the run times of the user''s experiments';
COMMENT ON COLUMN features.most_common_compound_id IS 'the compound that the user''s experiments list most often; of tied ones the lowest id';
COMMENT ON COLUMN features.most_common_compound_name IS 'name of most_common_compound_id; NULL when no compounds file holds it';
COMMENT ON COLUMN features.most_common_compound_structure IS 'structure of most_common_compound_id; NULL when no compounds file holds it';
COMMENT ON COLUMN features.most_common_compound_count IS 'how often the user''s experiments list most_common_compound_id';
COMMENT ON COLUMN features.most_common_compound_ids IS 'all compounds listed that often, ascending';

CREATE TABLE eikon_compounds (
	compound_id bigint NOT NULL,
	compound_name text,
	compound_structure text,
	CONSTRAINT eikon_compounds_pkey PRIMARY KEY (compound_id)
);
COMMENT ON TABLE eikon_compounds IS 'the compounds of the last ETL run: names for every id in features.most_common_compound_ids';
COMMENT ON COLUMN eikon_compounds.compound_id IS 'the compound''s id in the compounds file';
COMMENT ON COLUMN eikon_compounds.compound_name IS 'the compound''s name';
COMMENT ON COLUMN eikon_compounds.compound_structure IS 'the compound''s structure, e.g. its molecular formula';

CREATE TABLE eikon_runs (
	run_id bigint GENERATED BY DEFAULT AS IDENTITY,
	status text NOT NULL,
	background boolean NOT NULL,
	source text NOT NULL,
	options jsonb NOT NULL,
	requested_by name NOT NULL,
	requester oid NOT NULL,
	requested_at timestamptz NOT NULL,
	attempts integer NOT NULL,
	started_at timestamptz,
	finished_at timestamptz,
	skipped boolean NOT NULL DEFAULT false,
	is_current boolean NOT NULL DEFAULT false,
	fingerprint text,
	bytes_read bigint,
	users_read bigint,
	users_loaded bigint,
	users_rejected bigint,
	compounds_read bigint,
	compounds_loaded bigint,
	compounds_rejected bigint,
	experiments_read bigint,
	experiments_loaded bigint,
	experiments_rejected bigint,
	unknown_compounds bigint,
	rows_inserted bigint,
	rows_updated bigint,
	rows_deleted bigint,
	rows_unchanged bigint,
	timings jsonb,
	notes jsonb,
	error_code text,
	error_message text,
	error_detail text,
	error_hint text,
	error_context text,
	CONSTRAINT eikon_runs_pkey PRIMARY KEY (run_id),
	CONSTRAINT eikon_runs_status_check CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
	CONSTRAINT eikon_runs_ended_check CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL)),
	CONSTRAINT eikon_runs_error_check CHECK ((status IN ('failed', 'cancelled')) = (error_code IS NOT NULL)),
	CONSTRAINT eikon_runs_records_add_up CHECK (
		users_read = users_loaded + users_rejected
		AND compounds_read = compounds_loaded + compounds_rejected
		AND experiments_read = experiments_loaded + experiments_rejected)
);
COMMENT ON TABLE eikon_runs IS 'ledger of the ETL runs, and the queue of those that wait; written by the extension''s functions';
COMMENT ON COLUMN eikon_runs.run_id IS 'the run''s number; NULL in the answer of a dry run, which is not recorded';
COMMENT ON COLUMN eikon_runs.status IS 'queued, running, succeeded, failed or cancelled; dry_run in the answer of a dry run, which is not recorded';
COMMENT ON COLUMN eikon_runs.background IS 'whether it was submitted, to be run by a background worker; else it ran in its caller''s transaction';
COMMENT ON COLUMN eikon_runs.source IS 'the directory that is read, or uploads:';
COMMENT ON COLUMN eikon_runs.options IS 'the options given with the call, defaults left out';
COMMENT ON COLUMN eikon_runs.requested_by IS 'the role that asked for it, with whose rights it runs';
COMMENT ON COLUMN eikon_runs.requester IS 'the id of that role, which outlives its name, and which nobody else gets';
COMMENT ON COLUMN eikon_runs.requested_at IS 'when it was asked for';
COMMENT ON COLUMN eikon_runs.attempts IS 'how often it was begun; 2 where the first attempt was cut off by a crash, a shutdown or the end of its worker';
COMMENT ON COLUMN eikon_runs.started_at IS 'when the run began, at its last attempt';
COMMENT ON COLUMN eikon_runs.finished_at IS 'when the run had written its rows, or failed';
COMMENT ON COLUMN eikon_runs.skipped IS 'whether skip_unchanged found that there is nothing to do: files and options are those of the run that features comes from';
COMMENT ON COLUMN eikon_runs.is_current IS 'whether features comes from this run';
COMMENT ON COLUMN eikon_runs.fingerprint IS 'XXH3 (128 bits) of the names and bytes of the files, with skip_unchanged';
COMMENT ON COLUMN eikon_runs.bytes_read IS 'bytes read from the source files, compressed ones as they lie on disk';
COMMENT ON COLUMN eikon_runs.users_read IS 'records in the users files, headers not counted';
COMMENT ON COLUMN eikon_runs.users_loaded IS 'users taken';
COMMENT ON COLUMN eikon_runs.users_rejected IS 'records of the users files that could not be taken';
COMMENT ON COLUMN eikon_runs.compounds_read IS 'records in the compounds files, headers not counted';
COMMENT ON COLUMN eikon_runs.compounds_loaded IS 'compounds taken';
COMMENT ON COLUMN eikon_runs.compounds_rejected IS 'records of the compounds files that could not be taken';
COMMENT ON COLUMN eikon_runs.experiments_read IS 'records in the user_experiments files, headers not counted';
COMMENT ON COLUMN eikon_runs.experiments_loaded IS 'experiments taken';
COMMENT ON COLUMN eikon_runs.experiments_rejected IS 'records of the user_experiments files that could not be taken';
COMMENT ON COLUMN eikon_runs.unknown_compounds IS 'distinct compound ids that experiments list and no compounds file holds';
COMMENT ON COLUMN eikon_runs.rows_inserted IS 'rows inserted into features';
COMMENT ON COLUMN eikon_runs.rows_updated IS 'rows of features whose values changed';
COMMENT ON COLUMN eikon_runs.rows_deleted IS 'rows of features whose user is gone';
COMMENT ON COLUMN eikon_runs.rows_unchanged IS 'rows of features left as they were';
COMMENT ON COLUMN eikon_runs.timings IS 'seconds spent per stage: users, compounds, user_experiments (reading each kind), store (deriving and writing)';
COMMENT ON COLUMN eikon_runs.notes IS 'per file: size, records, the dialect detected, columns ignored';
COMMENT ON COLUMN eikon_runs.error_code IS 'SQLSTATE of the error that ended the run; NULL unless it failed or was cancelled, and so the next columns';
COMMENT ON COLUMN eikon_runs.error_message IS 'what was wrong';
COMMENT ON COLUMN eikon_runs.error_detail IS 'more about it';
COMMENT ON COLUMN eikon_runs.error_hint IS 'what to do about it';
COMMENT ON COLUMN eikon_runs.error_context IS 'where it happened: file, line, column and value, as far as they are known';

-- The same is queued once; the one that features comes from is one.
CREATE UNIQUE INDEX eikon_runs_queued_idx ON eikon_runs (requester, pg_catalog.md5(source), pg_catalog.md5(options::text))
	WHERE status = 'queued';
CREATE UNIQUE INDEX eikon_runs_current_idx ON eikon_runs (is_current) WHERE is_current;
CREATE INDEX eikon_runs_pending_idx ON eikon_runs (run_id) WHERE status IN ('queued', 'running');
CREATE INDEX eikon_runs_finished_at_idx ON eikon_runs (finished_at);
COMMENT ON INDEX eikon_runs_queued_idx IS 'keeps what is queued already from being queued again';
COMMENT ON INDEX eikon_runs_current_idx IS 'finds the run that features comes from';
COMMENT ON INDEX eikon_runs_pending_idx IS 'finds the next run to begin';
COMMENT ON INDEX eikon_runs_finished_at_idx IS 'finds the runs to purge, and the last success';

CREATE TABLE eikon_rejects (
	run_id bigint NOT NULL,
	reject_id bigint NOT NULL,
	kind text NOT NULL,
	file text NOT NULL,
	line bigint NOT NULL,
	byte_offset bigint NOT NULL,
	column_name text,
	value text,
	error_type text NOT NULL,
	error_message text NOT NULL,
	raw text NOT NULL,
	raw_truncated boolean NOT NULL,
	CONSTRAINT eikon_rejects_pkey PRIMARY KEY (run_id, reject_id),
	CONSTRAINT eikon_rejects_run_id_fkey FOREIGN KEY (run_id) REFERENCES eikon_runs (run_id) ON DELETE CASCADE
);
COMMENT ON TABLE eikon_rejects IS 'what runs with on_error => ''ignore'' could not take, and why; of failed runs that are on record, what they met';
COMMENT ON COLUMN eikon_rejects.run_id IS 'the run that met it';
COMMENT ON COLUMN eikon_rejects.reject_id IS 'number of the reject within its run, in the order met';
COMMENT ON COLUMN eikon_rejects.kind IS 'users, compounds or user_experiments';
COMMENT ON COLUMN eikon_rejects.file IS 'name of the file in the source; of an uploaded one the name that its uploader gave';
COMMENT ON COLUMN eikon_rejects.line IS 'physical line on which the record starts, from 1';
COMMENT ON COLUMN eikon_rejects.byte_offset IS 'where that line starts: bytes from the start of the file, after decompression and conversion to UTF-8 where there was any';
COMMENT ON COLUMN eikon_rejects.column_name IS 'the column at fault; NULL when it is the whole record';
COMMENT ON COLUMN eikon_rejects.value IS 'the value at fault, shortened when long';
COMMENT ON COLUMN eikon_rejects.error_type IS 'CAST, MISSING COLUMNS, TOO MANY COLUMNS, UNQUOTED VALUE, UNTERMINATED QUOTE, LINE SIZE OVER MAXIMUM, INVALID ENCODING, DUPLICATE KEY or UNKNOWN USER';
COMMENT ON COLUMN eikon_rejects.error_message IS 'what was wrong';
COMMENT ON COLUMN eikon_rejects.raw IS 'the record as it stands in the file; bytes that are not text as \xHH';
COMMENT ON COLUMN eikon_rejects.raw_truncated IS 'whether raw is only the beginning of the record';

COMMENT ON SEQUENCE eikon_runs_run_id_seq IS 'numbers the runs';

CREATE TABLE eikon_uploads (
	kind text NOT NULL,
	upload_id bigint GENERATED BY DEFAULT AS IDENTITY,
	file_name text,
	bytes bigint NOT NULL,
	records bigint NOT NULL,
	rejected bigint NOT NULL,
	uploaded_by name NOT NULL,
	uploaded_at timestamptz NOT NULL,
	content bytea NOT NULL,
	CONSTRAINT eikon_uploads_pkey PRIMARY KEY (kind),
	CONSTRAINT eikon_uploads_kind_check CHECK (kind IN ('users', 'compounds', 'user_experiments'))
);
-- A run reads it in slices, which compression would not let it.
ALTER TABLE eikon_uploads ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE eikon_uploads IS 'files that were uploaded and that no run has read yet, one of each kind: the source uploads:. eikon_upload() takes SELECT, INSERT and UPDATE here, a run SELECT and DELETE';
COMMENT ON COLUMN eikon_uploads.kind IS 'users, compounds or user_experiments';
COMMENT ON COLUMN eikon_uploads.upload_id IS 'the upload''s number; one that takes the place of another has a new one';
COMMENT ON COLUMN eikon_uploads.file_name IS 'the file''s name as its uploader called it, by which it is told of; NULL where he did not';
COMMENT ON COLUMN eikon_uploads.bytes IS 'the file''s size, compressed as it is';
COMMENT ON COLUMN eikon_uploads.records IS 'records in the file, header not counted';
COMMENT ON COLUMN eikon_uploads.rejected IS 'how many of them were rejected, and will be by a run';
COMMENT ON COLUMN eikon_uploads.uploaded_by IS 'the role that uploaded it';
COMMENT ON COLUMN eikon_uploads.uploaded_at IS 'when it was uploaded';
COMMENT ON COLUMN eikon_uploads.content IS 'the file';

COMMENT ON SEQUENCE eikon_uploads_upload_id_seq IS 'numbers the uploads';

SELECT pg_catalog.pg_extension_config_dump('eikon_user_features', '');
SELECT pg_catalog.pg_extension_config_dump('eikon_totals', '');
SELECT pg_catalog.pg_extension_config_dump('eikon_compounds', '');
-- What waits is left to the server that it waits on: a restored copy does not begin it again.
SELECT pg_catalog.pg_extension_config_dump('eikon_runs', 'WHERE finished_at IS NOT NULL');
SELECT pg_catalog.pg_extension_config_dump('eikon_runs_run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('eikon_rejects', '');
SELECT pg_catalog.pg_extension_config_dump('eikon_uploads', '');
SELECT pg_catalog.pg_extension_config_dump('eikon_uploads_upload_id_seq', '');

--
-- Functions
--

CREATE FUNCTION eikon_run_etl(
	source text DEFAULT NULL,
	@arguments rejects dialect dry_run run@)
RETURNS eikon_runs
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_run_etl';
COMMENT ON FUNCTION eikon_run_etl IS 'reads the CSV files of a directory and brings features up to date, in the caller''s transaction';

CREATE FUNCTION eikon_try_etl(
	source text DEFAULT NULL,
	@arguments rejects dialect run@)
RETURNS eikon_runs
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_try_etl';
COMMENT ON FUNCTION eikon_try_etl IS 'the same, but a run that fails is recorded with its rejects and returned, not thrown; what it did is undone, and the transaction goes on';

CREATE FUNCTION eikon_derive_features(
	source text DEFAULT NULL,
	@arguments rejects dialect@)
RETURNS SETOF features
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT ROWS 100000 COST 1000000
AS 'MODULE_PATHNAME', 'eikon_derive_features';
COMMENT ON FUNCTION eikon_derive_features IS 'the rows that eikon_run_etl would put into features; writes nothing';

CREATE FUNCTION eikon_read_csv(
	path text,
	@optional dialect@,
	OUT line bigint,
	OUT fields text[],
	OUT error_type text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT ROWS 100000 COST 1000000
AS 'MODULE_PATHNAME', 'eikon_read_csv';
COMMENT ON FUNCTION eikon_read_csv IS 'the records of any delimited text file as the reader sees them, for preview and debugging';

CREATE FUNCTION eikon_upload(
	kind text,
	content bytea,
	file_name text DEFAULT NULL,
	on_error text DEFAULT 'stop',
	OUT upload_id bigint,
	OUT records bigint,
	OUT rejected bigint,
	OUT rejects jsonb)
RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_upload';
COMMENT ON FUNCTION eikon_upload IS 'checks a file and keeps it for a run over the source uploads:, in place of the one of its kind; if records are rejected, only with on_error ''ignore''. rejects are the first 100';

-- Runs in the background
--
-- These read and write the ledger as its owner does, whoever calls them, so that no
-- role needs to be let near it.

CREATE FUNCTION eikon_submit_etl(
	source text DEFAULT NULL,
	@arguments rejects dialect run@)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_submit_etl';
COMMENT ON FUNCTION eikon_submit_etl IS 'queues a run for a background worker, once this transaction commits; returns its run_id';

CREATE FUNCTION eikon_wait_etl(run_id bigint, timeout interval DEFAULT NULL)
RETURNS eikon_runs
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_wait_etl';
COMMENT ON FUNCTION eikon_wait_etl IS 'waits until a run has ended, or the time is over, and returns what the ledger says of it then';

CREATE FUNCTION eikon_cancel_etl(run_id bigint)
RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_cancel_etl';
COMMENT ON FUNCTION eikon_cancel_etl IS 'withdraws a queued run, once this transaction commits, or tells a running one to stop; true';

CREATE PROCEDURE eikon_etl(
	source text DEFAULT NULL,
	@arguments rejects dialect run@,
	timeout interval DEFAULT NULL)
LANGUAGE c
AS 'MODULE_PATHNAME', 'eikon_etl';
COMMENT ON PROCEDURE eikon_etl IS 'submits a run, unless the same is under way, and waits for it; its failure is an error here too. For schedules and scripts';

CREATE FUNCTION eikon_purge_runs(older_than interval)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT
AS 'MODULE_PATHNAME', 'eikon_purge_runs';
COMMENT ON FUNCTION eikon_purge_runs IS 'deletes the runs that ended so long ago, with their rejects; the one that features comes from stays';

CREATE FUNCTION eikon_health(
	OUT last_success timestamptz,
	OUT last_success_age interval,
	OUT last_failure timestamptz,
	OUT running bigint,
	OUT queued bigint,
	OUT oldest_queued_age interval,
	OUT workers integer,
	OUT launcher boolean)
RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'eikon_health';
COMMENT ON FUNCTION eikon_health IS 'for monitors: when the last run succeeded and failed, how many run and wait and how long, how many workers are alive in this database, and whether the launcher is';

CREATE FUNCTION eikon_running(
	OUT run_id bigint,
	OUT pid integer,
	OUT requested_by name,
	OUT phase text,
	OUT bytes_done bigint,
	OUT bytes_total bigint,
	OUT records bigint,
	OUT rejects bigint,
	OUT rows_done bigint,
	OUT rows_total bigint,
	OUT started_at timestamptz,
	OUT bytes_per_second float8,
	OUT estimated_left interval)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT ROWS 1
AS 'MODULE_PATHNAME', 'eikon_running';
COMMENT ON FUNCTION eikon_running IS 'what eikon_progress shows, but for what the ledger knows';

CREATE FUNCTION eikon_runs_guard()
RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'eikon_runs_guard';
COMMENT ON FUNCTION eikon_runs_guard IS 'keeps roles that may write eikon_runs from queueing runs in the name of others';

-- A worker runs what is queued with the rights of the role that the row names.
CREATE TRIGGER eikon_runs_guard BEFORE INSERT OR UPDATE ON eikon_runs
	FOR EACH ROW WHEN (new.finished_at IS NULL) EXECUTE FUNCTION eikon_runs_guard();
ALTER TABLE eikon_runs ENABLE ALWAYS TRIGGER eikon_runs_guard;
COMMENT ON TRIGGER eikon_runs_guard ON eikon_runs IS 'runs are queued by eikon_submit_etl() and nobody else';

-- Its body is a string: a parsed one would depend on the columns of features.
CREATE FUNCTION days_since_signup(features)
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT CURRENT_DATE OPERATOR(pg_catalog.-) ($1).signup_date';
COMMENT ON FUNCTION days_since_signup(features) IS 'days from the user''s signup to today; usable as f.days_since_signup';

REVOKE ALL ON FUNCTION eikon_run_etl FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_try_etl FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_derive_features FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_read_csv FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_upload FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_submit_etl FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_wait_etl FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_cancel_etl FROM PUBLIC;
REVOKE ALL ON PROCEDURE eikon_etl FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_purge_runs FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_health FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_running FROM PUBLIC;
REVOKE ALL ON FUNCTION eikon_runs_guard FROM PUBLIC;
REVOKE ALL ON FUNCTION days_since_signup(features) FROM PUBLIC;

--
-- Views
--

CREATE VIEW eikon_progress AS
SELECT
	p.run_id,
	p.pid,
	p.requested_by,
	r.source,
	p.phase,
	p.bytes_done,
	p.bytes_total,
	p.records,
	p.rejects,
	p.rows_done,
	p.rows_total,
	p.started_at,
	p.bytes_per_second,
	p.estimated_left
FROM eikon_running() p
LEFT JOIN eikon_runs r ON r.run_id OPERATOR(pg_catalog.=) p.run_id;
COMMENT ON VIEW eikon_progress IS 'the runs that are going on now in this database, and how far they are';
COMMENT ON COLUMN eikon_progress.run_id IS 'the run''s number; NULL for a dry run';
COMMENT ON COLUMN eikon_progress.pid IS 'process id of the session or background worker that runs it';
COMMENT ON COLUMN eikon_progress.requested_by IS 'the role that asked for it';
COMMENT ON COLUMN eikon_progress.source IS 'the directory that is read; NULL where the run is part of a transaction that has not committed';
COMMENT ON COLUMN eikon_progress.phase IS 'starting, comparing (with skip_unchanged), reading users, reading compounds, reading experiments, writing, finishing';
COMMENT ON COLUMN eikon_progress.bytes_done IS 'bytes of the source files read in this phase or, from reading users on, in all';
COMMENT ON COLUMN eikon_progress.bytes_total IS 'bytes of all source files, compressed ones as they lie on disk';
COMMENT ON COLUMN eikon_progress.records IS 'records read';
COMMENT ON COLUMN eikon_progress.rejects IS 'records rejected';
COMMENT ON COLUMN eikon_progress.rows_done IS 'rows of features derived, and compared or written';
COMMENT ON COLUMN eikon_progress.rows_total IS 'rows that there will be';
COMMENT ON COLUMN eikon_progress.started_at IS 'when the run began';
COMMENT ON COLUMN eikon_progress.bytes_per_second IS 'average rate of reading so far; NULL in other phases';
COMMENT ON COLUMN eikon_progress.estimated_left IS 'time that the run will still take, roughly; NULL while nothing can be said';

-- The shapes that earlier systems published

-- As features, they show a reader the rows that the policies on eikon_user_features let this
-- reader see. They are views of the tables, not of that view, so that their readers need rights
-- on no other columns than they show.

CREATE VIEW etl_results WITH (security_invoker = true) AS
SELECT
	f.user_id,
	f.name,
	f.email,
	f.signup_date,
	f.total_experiments AS experiment_count,
	f.avg_experiment_run_time,
	t.compound_id,
	c.compound_name,
	c.compound_structure
FROM eikon_user_features f
LEFT JOIN LATERAL pg_catalog.unnest(f.most_common_compound_ids) AS t (compound_id) ON true
LEFT JOIN eikon_compounds c ON c.compound_id OPERATOR(pg_catalog.=) t.compound_id;
COMMENT ON VIEW etl_results IS 'features with one row per tied most common compound; one row without compound for a user who has none';
COMMENT ON COLUMN etl_results.user_id IS 'the user''s id';
COMMENT ON COLUMN etl_results.name IS 'the user''s name';
COMMENT ON COLUMN etl_results.email IS 'the user''s e-mail address';
COMMENT ON COLUMN etl_results.signup_date IS 'the day on which the user signed up';
COMMENT ON COLUMN etl_results.experiment_count IS 'number of experiments that the user ran';
COMMENT ON COLUMN etl_results.avg_experiment_run_time IS 'average run time of the user''s experiments whose run time is known';
COMMENT ON COLUMN etl_results.compound_id IS 'a compound that the user''s experiments list most often';
COMMENT ON COLUMN etl_results.compound_name IS 'the compound''s name; NULL when no compounds file holds it';
COMMENT ON COLUMN etl_results.compound_structure IS 'the compound''s structure; NULL when no compounds file holds it';

CREATE VIEW derived_exp_data WITH (security_invoker = true) AS
SELECT
	f.user_id,
	f.total_experiments AS total_exp_per_user,
	pg_catalog.round((SELECT t.experiments::pg_catalog.float8
			OPERATOR(pg_catalog./) CASE WHEN t.users OPERATOR(pg_catalog.>) 0 THEN t.users ELSE 1 END::pg_catalog.float8
		FROM ONLY eikon_totals t)::pg_catalog.numeric, 2)::pg_catalog.float8 AS avg_experiment_count,
	pg_catalog.round(f.avg_experiment_run_time::pg_catalog.numeric, 2)::pg_catalog.float8 AS avg_exp_time_per_user,
	f.most_common_compound_id AS most_consumed_compound,
	f.most_common_compound_name AS most_consumed_compound_name
FROM eikon_user_features f;
COMMENT ON VIEW derived_exp_data IS 'features in the shape of the table derived_exp_data, averages rounded to two places';
COMMENT ON COLUMN derived_exp_data.user_id IS 'the user''s id';
COMMENT ON COLUMN derived_exp_data.total_exp_per_user IS 'number of experiments that the user ran';
COMMENT ON COLUMN derived_exp_data.avg_experiment_count IS 'average number of experiments of a user, the same in every row';
COMMENT ON COLUMN derived_exp_data.avg_exp_time_per_user IS 'average run time of the user''s experiments whose run time is known';
COMMENT ON COLUMN derived_exp_data.most_consumed_compound IS 'the compound that the user''s experiments list most often; of tied ones the lowest id';
COMMENT ON COLUMN derived_exp_data.most_consumed_compound_name IS 'that compound''s name';

CREATE VIEW feature_derivation WITH (security_invoker = true) AS
SELECT
	f.user_id,
	f.total_experiments AS number_of_experiments,
	f.total_experiment_run_time AS total_run_time,
	CURRENT_DATE OPERATOR(pg_catalog.-) f.signup_date AS days_since_signup
FROM eikon_user_features f;
COMMENT ON VIEW feature_derivation IS 'features in the shape of the table feature_derivation';
COMMENT ON COLUMN feature_derivation.user_id IS 'the user''s id';
COMMENT ON COLUMN feature_derivation.number_of_experiments IS 'number of experiments that the user ran';
COMMENT ON COLUMN feature_derivation.total_run_time IS 'sum of the run times of the user''s experiments';
COMMENT ON COLUMN feature_derivation.days_since_signup IS 'days from the user''s signup to today';
