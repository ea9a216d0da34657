-- eikon_try_etl: a run whose failure is a row, not an error.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

\pset null (null)

-- What the ledger says of a run, without what differs from time to time.
CREATE VIEW pg_temp.told AS
SELECT run_id, status, background, replace(source, current_setting('test.dir'), '$dir') AS source, options, attempts, skipped, is_current
FROM lab.eikon_runs ORDER BY run_id;

--
-- One that succeeds
--

-- It is what eikon_run_etl does.
SELECT status, rows_inserted, rows_unchanged, error_code FROM eikon_try_etl(:'dir' || '/store/1');
SELECT status, skipped FROM eikon_try_etl(:'dir' || '/store/1', skip_unchanged => true);
SELECT status, skipped FROM eikon_try_etl(:'dir' || '/store/1', skip_unchanged => true);
SELECT status, users_rejected + compounds_rejected + experiments_rejected AS rejected FROM eikon_try_etl(:'dir' || '/rejects/mixed', on_error => 'ignore');
SELECT run_id, count(*) FROM eikon_rejects GROUP BY run_id;
SELECT * FROM pg_temp.told;
TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;
SELECT rows_inserted FROM eikon_run_etl(:'dir' || '/store/1');
CREATE TEMP TABLE before AS SELECT user_id, xmin::text AS writer, ctid::text AS place FROM eikon_user_features;

--
-- One that fails
--

-- Its row says all that the error said, and is in the ledger, with the reject that ended it.
\x on
SELECT r.*, requested_by = current_user AS mine, requested_at = started_at AND started_at <= finished_at AS in_order
FROM (SELECT status, background, replace(source, current_setting('test.dir'), '$dir') AS source, options, attempts, skipped, is_current, bytes_read, users_read, rows_inserted,
    timings, notes, error_code, error_message, error_detail, error_hint, error_context, requested_by, requested_at, started_at, finished_at
    FROM eikon_try_etl(:'dir' || '/rejects/cast', delimiter => ',')) AS t,
    LATERAL (SELECT t.status, t.background, t.source, t.options, t.attempts, t.skipped, t.is_current, t.bytes_read, t.users_read, t.rows_inserted, t.timings, t.notes,
    t.error_code, t.error_message, t.error_detail, t.error_hint, t.error_context) AS r;
SELECT * FROM eikon_rejects;
\x off
SELECT r.run_id, r::text AS row FROM eikon_try_etl(:'dir' || '/rejects/cast') AS r \gset
SELECT r::text = :'row' AS same, eikon_wait_etl(run_id, '0') = r AS same_again FROM eikon_runs r WHERE run_id = :run_id;

-- Whatever it is that is wrong with the source.
SELECT path, replace(source, current_setting('test.dir'), '$dir') AS source, error_code, replace(error_message, current_setting('test.dir'), '$dir') AS message, error_context
FROM (VALUES (1, '/files/nowhere'), (2, '/files/no_experiments'), (3, '/files/missing_column'), (4, '/files/workbook'), (5, '/rejects/duplicate_user'),
    (6, '/rejects/unknown_user'), (7, '/compressed/gz_cut')) AS sources (n, path),
    LATERAL eikon_try_etl(:'dir' || path) ORDER BY n;
SELECT source, error_code, error_message FROM eikon_try_etl();
SELECT source, error_code, error_message FROM eikon_try_etl('lab/data');
SELECT source, error_code, error_message FROM eikon_try_etl('uploads:');

-- Rejects up to the limit are kept.
SELECT status, error_code, error_message FROM eikon_try_etl(:'dir' || '/rejects/mixed', on_error => 'ignore', reject_limit => 2);
SELECT file, line, error_type FROM eikon_rejects JOIN eikon_runs r USING (run_id) WHERE r.options ? 'reject_limit' ORDER BY reject_id;

-- Constraints and triggers of the table, rights on it.
ALTER TABLE eikon_user_features ADD CONSTRAINT nobody CHECK (false) NOT VALID;
SELECT error_code, error_message FROM eikon_try_etl(:'dir' || '/store/2');
ALTER TABLE eikon_user_features DROP CONSTRAINT nobody;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = 'ZX042', DETAIL = 'a "detail"', HINT = 'a hint'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT error_code, error_message, error_detail, error_hint, split_part(error_context, ' at ', 1) AS context FROM eikon_try_etl(:'dir' || '/store/2');
DROP TRIGGER refuse ON eikon_user_features;

-- All of them left features, and the current run, as they were.
SELECT count(*) FILTER (WHERE b.writer = f.xmin::text AND b.place = f.ctid::text) AS untouched, count(*)
FROM eikon_user_features f FULL JOIN before b USING (user_id);
SELECT run_id FROM eikon_runs WHERE is_current;
SELECT running, (SELECT count(*) FROM eikon_progress) AS progress FROM eikon_health();

--
-- Within transactions
--

TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;

-- The transaction goes on, and may run again.
BEGIN;
SELECT status FROM eikon_try_etl(:'dir' || '/rejects/cast');
SELECT count(*) FROM features;
SELECT status FROM eikon_try_etl(:'dir' || '/store/2');
SELECT status FROM eikon_try_etl(:'dir' || '/files/nowhere');
COMMIT;
SELECT run_id, status, is_current FROM pg_temp.told;
SELECT count(*) FROM eikon_rejects;

-- A rollback takes the failure back, too.
BEGIN;
SELECT status FROM eikon_try_etl(:'dir' || '/rejects/cast');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT status FROM eikon_try_etl(:'dir' || '/rejects/cast');
ROLLBACK TO s;
SELECT status FROM eikon_try_etl(:'dir' || '/files/nowhere');
RELEASE s;
COMMIT;
SELECT count(*) FROM eikon_runs;

-- Many in one session, with parallel workers and temporary files.
SET eikon_features.work_mem = '64kB';
SELECT count(*), count(DISTINCT r.error_message) FROM generate_series(1, 200) AS i, LATERAL eikon_try_etl(:'dir' || '/rejects/mixed', on_error => 'ignore', reject_limit => 1 + i % 10) AS r;
RESET eikon_features.work_mem;
SELECT status, rows_unchanged FROM eikon_try_etl(:'dir' || '/store/2');

-- In a block that catches errors, which is a subtransaction.
DO $$
DECLARE
    r lab.eikon_runs;
BEGIN
    FOR i IN 1 .. 3 LOOP
        BEGIN
            r := lab.eikon_try_etl(current_setting('test.dir') || '/rejects/cast');
            RAISE WARNING '% % (%)', r.status, r.error_code, r.error_context;
            IF i = 2 THEN RAISE division_by_zero; END IF;
        EXCEPTION WHEN division_by_zero THEN
            RAISE WARNING 'caught';
        END;
    END LOOP;
    r := lab.eikon_try_etl(current_setting('test.dir') || '/store/1');
    RAISE WARNING '% %', r.status, r.rows_inserted;
END $$;
SELECT count(*) FROM eikon_runs WHERE error_code = '22P02' AND options = '{}';

-- As a function's owner, who has rights on the tables but not on the ledger.
CREATE ROLE regress_eikon_owner IN ROLE pg_read_server_files;
CREATE ROLE regress_eikon_caller;
GRANT USAGE ON SCHEMA lab TO regress_eikon_owner, regress_eikon_caller;
GRANT EXECUTE ON FUNCTION eikon_try_etl TO regress_eikon_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON eikon_user_features, eikon_totals, eikon_compounds TO regress_eikon_owner;
CREATE FUNCTION lab.load(path text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r lab.eikon_runs := lab.eikon_try_etl(path);
BEGIN
    RETURN concat_ws(' ', r.status, r.requested_by, r.error_code, current_user);
END $$;
ALTER FUNCTION lab.load OWNER TO regress_eikon_owner;
SET ROLE regress_eikon_caller;
SELECT lab.load(:'dir' || '/rejects/cast'), current_user;
SELECT lab.load(:'dir' || '/store/2'), current_user;
RESET ROLE;
REVOKE INSERT ON eikon_user_features FROM regress_eikon_owner;
SET ROLE regress_eikon_caller;
SELECT lab.load(:'dir' || '/store/1'), current_user;
RESET ROLE;
SELECT requested_by, status, error_message FROM eikon_runs WHERE requested_by = 'regress_eikon_owner' ORDER BY run_id;

--
-- What is thrown all the same
--

TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;
\pset format unaligned
\pset tuples_only on

-- Options, rights to call it, a transaction that only reads.
SELECT pg_temp.error_of($$SELECT eikon_try_etl(on_error => 'perhaps')$$);
SET ROLE regress_eikon_caller;
SELECT pg_temp.error_of($$SELECT lab.eikon_try_etl()$$);
RESET ROLE;
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT eikon_try_etl()$$);
ROLLBACK;

-- A run within a run, which has a row to put right.
UPDATE eikon_user_features SET name = 'someone else' WHERE user_id = 1;
CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM lab.eikon_try_etl(current_setting('test.dir') || '/store/1'); RETURN NULL; END $$;
CREATE TRIGGER nest AFTER INSERT OR UPDATE OR DELETE ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION nest();
SELECT pg_temp.error_of(format('SELECT eikon_run_etl(%L)', :'dir' || '/store/1'));
-- The inner one is thrown, and so the outer one has failed.
SELECT error_code || ' ' || error_message FROM eikon_try_etl(:'dir' || '/store/1');
DROP TRIGGER nest ON eikon_user_features;

-- A cancel, here by a timeout; the next run works.
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
CREATE TRIGGER dawdle AFTER INSERT OR UPDATE OR DELETE ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION dawdle();
\set VERBOSITY terse
SET statement_timeout = '100ms';
SELECT eikon_try_etl(:'dir' || '/store/1');
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
-- Also where a block around it goes on.
SET statement_timeout = '100ms';
DO $$ BEGIN
    PERFORM lab.eikon_try_etl(current_setting('test.dir') || '/store/1');
EXCEPTION WHEN query_canceled THEN
    RAISE WARNING 'caught %', SQLSTATE;
END $$;
RESET statement_timeout;
DROP TRIGGER dawdle ON eikon_user_features;
SELECT status, error_code FROM eikon_runs ORDER BY run_id;
SELECT status FROM eikon_try_etl(:'dir' || '/store/1');
SELECT count(*) FROM eikon_progress;

-- A ledger that cannot be written to.
CREATE TRIGGER refuse BEFORE INSERT ON eikon_runs FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT pg_temp.error_of(format('SELECT eikon_try_etl(%L)', :'dir' || '/store/2'));
DROP TRIGGER refuse ON eikon_runs;

-- What a deferred constraint finds is an error of the commit.
\set VERBOSITY terse
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON eikon_user_features DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT status FROM eikon_try_etl(:'dir' || '/store/2');
DROP TRIGGER refuse ON eikon_user_features;
\set VERBOSITY default
SELECT count(*) FROM eikon_runs;

DROP OWNED BY regress_eikon_owner, regress_eikon_caller;
DROP ROLE regress_eikon_owner, regress_eikon_caller;
DROP EXTENSION eikon_features CASCADE;
DROP FUNCTION refuse, nest, dawdle;
DROP SCHEMA lab;
