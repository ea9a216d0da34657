-- Runs that are submitted: what the queue, the worker and the ledger make of them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

\pset null (null)

-- What the ledger says of a run, without what differs from time to time.
CREATE VIEW pg_temp.told AS
SELECT run_id, status, background, replace(source, current_setting('test.dir'), '$dir') AS source, options, attempts, skipped, is_current
FROM lab.eikon_runs;

-- Sources that the tests write themselves.
SELECT current_setting('data_directory') || '/eikon_runs' AS own \gset
SELECT set_config('test.own', :'own', false) AS unused \gset
CREATE PROCEDURE pg_temp.write(file text, text text, encoding text DEFAULT 'UTF8') LANGUAGE plpgsql AS $$
DECLARE
    path text := current_setting('test.own') || '/' || file;
    lo oid := lo_from_bytea(0, convert_to(text, encoding));
BEGIN
    EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', format('mkdir -p "%s"', regexp_replace(path, '/[^/]*$', '')));
    PERFORM lo_export(lo, path), lo_unlink(lo);
END $$;
CREATE PROCEDURE pg_temp.shell(command text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', format('cd "%s" && %s', current_setting('test.own'), command));
END $$;

--
-- One run
--

-- It begins when its transaction commits, and tells what it did as a direct run does.
SELECT eikon_submit_etl(:'dir' || '/store/1') AS run_id \gset
SELECT :run_id AS run_id;
SELECT status, background, rows_inserted, rows_updated, rows_deleted, rows_unchanged, users_read, compounds_loaded, experiments_loaded
FROM eikon_wait_etl(:run_id);
SELECT * FROM pg_temp.told;
SELECT requested_by = current_user AS mine, requested_at <= started_at AND started_at <= finished_at AS in_order, fingerprint,
    bytes_read > 0 AS read, num_nonnulls(error_code, error_message, error_detail, error_hint, error_context) AS errors,
    jsonb_array_length(notes) AS notes, (SELECT string_agg(key, ' ' ORDER BY key) FROM jsonb_object_keys(timings) AS key) AS timings
FROM eikon_runs;
SELECT count(*) AS differing FROM (
    (SELECT * FROM features EXCEPT ALL SELECT * FROM eikon_derive_features(:'dir' || '/store/1'))
    UNION ALL (SELECT * FROM eikon_derive_features(:'dir' || '/store/1') EXCEPT ALL SELECT * FROM features)) AS f;

-- Waiting for what has ended takes no time, and gives the same.
SELECT eikon_wait_etl(:run_id) = r AS same, eikon_wait_etl(:run_id, '0') = r AS same_at_once,
    eikon_wait_etl(:run_id, timeout => '1 month 1 day 1 second') = r AS same_soon,
    eikon_wait_etl(:run_id, '178000000 years') = r AS same_in_time
FROM eikon_runs r WHERE run_id = :run_id;

-- A row that did not change is not written.
CREATE TEMP TABLE before AS SELECT user_id, xmin::text AS writer, ctid::text AS place FROM eikon_user_features;
SELECT eikon_submit_etl(:'dir' || '/store/1_again') AS run_id \gset
SELECT status, rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_wait_etl(:run_id);
SELECT count(*) FILTER (WHERE b.writer = f.xmin::text AND b.place = f.ctid::text) AS untouched, count(*)
FROM eikon_user_features f LEFT JOIN before b USING (user_id);

-- Its number follows those of direct runs, and theirs follow it; one run is the current one.
SELECT run_id FROM eikon_run_etl(:'dir' || '/store/2');
SELECT eikon_submit_etl(:'dir' || '/store/1') AS run_id \gset
SELECT run_id, rows_inserted, rows_updated, rows_deleted FROM eikon_wait_etl(:run_id);
SELECT run_id FROM eikon_run_etl(:'dir' || '/store/2');
SELECT run_id, background, is_current FROM pg_temp.told ORDER BY run_id;

-- Whoever has waited finds nothing in the way of a direct run.
CREATE PROCEDURE pg_temp.take_turns(times integer, path text) LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    FOR i IN 1 .. times LOOP
        n := lab.eikon_submit_etl(path || '/store/1');
        COMMIT;
        PERFORM lab.eikon_wait_etl(n);
        ASSERT (SELECT running = 0 FROM lab.eikon_health()), 'it has not ended';
        PERFORM lab.eikon_run_etl(path || '/store/2');
        COMMIT;
    END LOOP;
END $$;
CALL pg_temp.take_turns(50, :'dir');
SELECT count(*), bool_and(status = 'succeeded') AS succeeded FROM eikon_runs;
TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;

-- Nor is it of any account how many direct runs a transaction has.
SELECT count(*) AS runs, sum(r.rows_unchanged) AS unchanged
FROM generate_series(1, 200) AS i, LATERAL eikon_run_etl(:'dir' || '/store/2', on_error => 'ignore', reject_limit => i) AS r;
SELECT running, (SELECT count(*) FROM eikon_progress) AS progress FROM eikon_health();
-- One that is done and not committed is waited for by nobody, least of all by its own transaction.
BEGIN;
SELECT run_id AS direct FROM eikon_run_etl(:'dir' || '/store/2') \gset
SET LOCAL statement_timeout = '5s';
SELECT status FROM eikon_wait_etl(:direct);
SELECT eikon_submit_etl(:'dir' || '/store/2') AS queued, eikon_cancel_etl(lastval()) \gset
SELECT status FROM eikon_wait_etl(:queued);
ROLLBACK;
TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;

-- A queue: in the order submitted.
BEGIN;
SELECT eikon_submit_etl(:'dir' || '/store/1') AS a, eikon_submit_etl(:'dir' || '/store/2') AS b, eikon_submit_etl(:'dir' || '/store/1_again') AS c \gset
SELECT run_id, status, background, source, attempts FROM pg_temp.told ORDER BY run_id;
COMMIT;
SELECT run_id, status FROM eikon_wait_etl(:c);
SELECT run_id, status, rows_inserted, rows_deleted, started_at >= lag(finished_at) OVER (ORDER BY run_id) AS after_the_other
FROM eikon_runs ORDER BY run_id;

--
-- The same is queued once
--

CREATE ROLE regress_eikon_a IN ROLE pg_read_server_files;
CREATE ROLE regress_eikon_b IN ROLE pg_read_server_files;
CREATE ROLE regress_eikon_friend IN ROLE regress_eikon_a;
CREATE ROLE regress_eikon_nobody;
GRANT USAGE ON SCHEMA lab TO regress_eikon_a, regress_eikon_b, regress_eikon_nobody;
GRANT EXECUTE ON FUNCTION eikon_submit_etl, eikon_wait_etl, eikon_cancel_etl TO regress_eikon_a, regress_eikon_b;
GRANT SELECT, INSERT, UPDATE, DELETE ON eikon_user_features, eikon_totals, eikon_compounds TO regress_eikon_a;
TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;

-- Other options, another source or another role make it another.
BEGIN;
SELECT what, eikon_submit_etl(:'dir' || '/' || source, on_error => on_error, reject_limit => reject_limit, "null" => nil, skip_unchanged => skip) AS run_id
FROM (VALUES ('first', 'store/1', 'stop', NULL::bigint, '', false), ('same', 'store/1', 'stop', NULL, '', false), ('same, written oddly', 'store/./1/', 'stop', NULL, '', false),
    ('defaults', 'store/1', NULL, NULL, NULL, NULL), ('source', 'store/2', 'stop', NULL, '', false), ('on_error', 'store/1', 'ignore', NULL, '', false),
    ('reject_limit', 'store/1', 'ignore', 7, '', false), ('other limit', 'store/1', 'ignore', 8, '', false), ('same limit', 'store/1', 'ignore', 7, '', false),
    ('null', 'store/1', 'stop', NULL, 'NA', false), ('skip_unchanged', 'store/1', 'stop', NULL, '', true), ('first again', 'store/1', 'stop', NULL, '', false))
    AS submissions (what, source, on_error, reject_limit, nil, skip);
SET ROLE regress_eikon_a;
SELECT lab.eikon_submit_etl(:'dir' || '/store/1') AS a, lab.eikon_submit_etl(:'dir' || '/store/1') AS a_again \gset
SET ROLE regress_eikon_b;
SELECT lab.eikon_submit_etl(:'dir' || '/store/1') AS b \gset
RESET ROLE;
SELECT :a AS a, :a_again AS a_again, :b AS b;
SELECT t.*, replace(requested_by, current_user, '(me)') AS requested_by FROM pg_temp.told t JOIN eikon_runs USING (run_id) ORDER BY run_id;
SELECT running, queued, oldest_queued_age >= '0' AS waiting FROM eikon_health();
ROLLBACK;

-- A rollback withdraws them all; so does that of a savepoint.
SELECT count(*) FROM eikon_runs;
SELECT pg_temp.error_of(format('SELECT lab.eikon_wait_etl(%s)', :a));
BEGIN;
SELECT eikon_submit_etl(:'dir' || '/store/2') AS kept \gset
SAVEPOINT s;
SELECT eikon_submit_etl(:'dir' || '/store/1') AS gone \gset
ROLLBACK TO s;
COMMIT;
SELECT status FROM eikon_wait_etl(:kept);
SELECT run_id = :kept AS kept FROM eikon_runs;

--
-- A failed one
--

SELECT eikon_submit_etl(:'dir' || '/store/1') AS run_id \gset
SELECT status FROM eikon_wait_etl(:run_id);
TRUNCATE before;
INSERT INTO before SELECT user_id, xmin::text, ctid::text FROM eikon_user_features;

-- Its row stays, and says all that its error said; its reject is the one that ended it.
SELECT eikon_submit_etl(:'dir' || '/rejects/cast') AS run_id \gset
\x on
SELECT status, error_code, error_message, error_detail, error_hint, error_context, is_current, attempts, users_read, rows_inserted, timings, notes,
    started_at <= finished_at AS in_order
FROM eikon_wait_etl(:run_id);
SELECT reject_id, kind, file, line, byte_offset, column_name, value, error_type, error_message, raw FROM eikon_rejects WHERE run_id = :run_id;

-- Each column of the direct run's error is there.
SELECT pg_temp.run_error('rejects/cast');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no % here', NEW.name USING ERRCODE = 'ZX042', DETAIL = 'a "detail"', HINT = E'a hint\nof 100%'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT eikon_submit_etl(:'dir' || '/store/2') AS run_id \gset
SELECT status, error_code, error_message, error_detail, error_hint, error_context LIKE 'PL/pgSQL function %refuse() line 2 at RAISE%' AS context FROM eikon_wait_etl(:run_id);
SELECT count(*) FROM eikon_rejects WHERE run_id = :run_id;
DROP TRIGGER refuse ON eikon_user_features;

-- One that the commit refuses has failed as well.
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON eikon_user_features DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT eikon_submit_etl(:'dir' || '/store/2') AS run_id \gset
SELECT status, error_code, error_message, error_detail, error_hint FROM eikon_wait_etl(:run_id);
DROP TRIGGER refuse ON eikon_user_features;
DROP FUNCTION refuse;
\x off

-- Where on_error => 'ignore' came to its limit: what it met.
SELECT eikon_submit_etl(:'dir' || '/rejects/mixed', on_error => 'ignore', reject_limit => 2) AS run_id \gset
SELECT status, error_code, error_message, error_hint FROM eikon_wait_etl(:run_id);
SELECT reject_id, file, line, error_type FROM eikon_rejects WHERE run_id = :run_id ORDER BY reject_id;

-- A directory that is gone when the run begins.
CALL pg_temp.write('gone/users.csv', E'user_id,name,email,signup_date\n');
CALL pg_temp.write('gone/compounds.csv', E'compound_id,compound_name,compound_structure\n');
CALL pg_temp.write('gone/user_experiments.csv', E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n');
BEGIN;
SELECT eikon_submit_etl(:'own' || '/gone') AS run_id \gset
CALL pg_temp.shell('rm -r gone');
COMMIT;
SELECT status, error_code, replace(error_message, :'own', '$own') AS message FROM eikon_wait_etl(:run_id);

-- All of them left the table and the current run as they were.
SELECT count(*) FILTER (WHERE b.writer = f.xmin::text AND b.place = f.ctid::text) AS untouched, count(*)
FROM eikon_user_features f FULL JOIN before b USING (user_id);
SELECT source FROM pg_temp.told WHERE is_current;

-- Rejects of a run that went on are kept, like a direct run's.
SELECT eikon_submit_etl(:'dir' || '/rejects/mixed', on_error => 'ignore') AS run_id \gset
SELECT status, users_rejected, compounds_rejected, experiments_rejected FROM eikon_wait_etl(:run_id);
SELECT run_id AS direct FROM eikon_run_etl(:'dir' || '/rejects/mixed', on_error => 'ignore') \gset
SELECT count(*) FILTER (WHERE run_id = :run_id) AS rejects, count(DISTINCT to_jsonb(r) - 'run_id') AS different
FROM eikon_rejects r WHERE run_id IN (:run_id, :direct);

-- A ledger that takes no row is an error, not a matter of patience.
CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER forget BEFORE INSERT ON eikon_runs FOR EACH ROW EXECUTE FUNCTION forget();
SET statement_timeout = '5s';
SELECT left(pg_temp.error_of(format('SELECT lab.eikon_submit_etl(%L)', :'dir' || '/store/1')), 62) AS error;
RESET statement_timeout;
DROP TRIGGER forget ON eikon_runs;
DROP FUNCTION forget;

--
-- The procedure
--

TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;
CALL eikon_etl(:'dir' || '/store/1');
SELECT status, source, options, is_current, background FROM pg_temp.told ORDER BY run_id DESC LIMIT 1;
CALL eikon_etl(:'dir' || '/store/2', on_error => 'ignore', timeout => '1 hour');
SELECT status, source, options, is_current FROM pg_temp.told ORDER BY run_id DESC LIMIT 1;

-- The failure of the run is one of the call; what was wrong is said in the same words.
SELECT max(run_id) + 1 AS next FROM eikon_runs \gset
DO $$ BEGIN
    CALL lab.eikon_etl(current_setting('test.dir') || '/rejects/cast');
EXCEPTION WHEN invalid_transaction_termination THEN
    RAISE WARNING '% %', SQLSTATE, SQLERRM; -- a block that catches errors is a subtransaction
END $$;
\set SHOW_CONTEXT always
\set VERBOSITY default
CALL eikon_etl(:'dir' || '/rejects/cast');
\echo :LAST_ERROR_SQLSTATE
\set SHOW_CONTEXT errors
SELECT run_id - :next AS run, status, error_code, (SELECT count(*) FROM eikon_rejects WHERE run_id = r.run_id) AS rejects
FROM eikon_runs r ORDER BY run_id DESC LIMIT 1;

-- It commits, so it cannot be part of a transaction.
BEGIN;
CALL eikon_etl(:'dir' || '/store/1');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE FUNCTION lab.call() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL lab.eikon_etl(current_setting('test.dir') || '/store/1'); END $$;
SELECT lab.call();
CREATE PROCEDURE lab.call_atomic() LANGUAGE plpgsql SET datestyle = ISO AS $$ BEGIN CALL lab.eikon_etl(current_setting('test.dir') || '/store/1'); END $$;
CALL lab.call_atomic();
DROP FUNCTION lab.call;
DROP PROCEDURE lab.call_atomic;
-- A DO block or a procedure outside of one is none.
DO $$ BEGIN
    CALL lab.eikon_etl(current_setting('test.dir') || '/store/1');
    CALL lab.eikon_etl(current_setting('test.dir') || '/store/2');
END $$;
SELECT status, source, is_current FROM pg_temp.told ORDER BY run_id DESC LIMIT 2;

-- What is wrong with its arguments.
CALL eikon_etl(:'dir' || '/store/1', timeout => '-1 second');
CALL eikon_etl(:'dir' || '/store/1', on_error => 'perhaps');
\set VERBOSITY sqlstate
CALL eikon_etl(:'dir' || '/nowhere');
\set VERBOSITY default

--
-- skip_unchanged
--

TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;
CREATE PROCEDURE pg_temp.write_source(directory text, users text DEFAULT E'1,Ann,,\n', part text DEFAULT 'users.csv') LANGUAGE plpgsql AS $$
BEGIN
    CALL pg_temp.write(directory || '/' || part, E'user_id,name,email,signup_date\n' || users);
    CALL pg_temp.write(directory || '/compounds.csv', E'compound_id,compound_name,compound_structure\n1,Water,H2O\n');
    CALL pg_temp.write(directory || '/user_experiments.csv', E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,1,1,10\n');
END $$;
CALL pg_temp.write_source('same');
CALL pg_temp.write_source('elsewhere/same');

-- Runs with skip_unchanged, in turn submitted and directly: both ways know of each other.
CREATE PROCEDURE pg_temp.run(what text, directory text, VARIADIC options text[] DEFAULT '{}') LANGUAGE plpgsql AS $$
DECLARE
    arguments text := array_to_string(ARRAY[quote_literal(current_setting('test.own') || '/' || directory), 'skip_unchanged => true'] || options, ', ');
    direct boolean := what LIKE 'direct%';
    n bigint;
    r lab.eikon_runs;
BEGIN
    IF direct THEN
        EXECUTE 'SELECT * FROM lab.eikon_run_etl(' || arguments || ')' INTO r;
    ELSE
        EXECUTE 'SELECT lab.eikon_submit_etl(' || arguments || ')' INTO n;
        COMMIT;
        r := lab.eikon_wait_etl(n);
    END IF;
    COMMIT;
    RAISE WARNING '%', format('%s: %s, %s, current %s, read %s, unchanged %s, timings %s', what, r.status,
        CASE WHEN r.skipped THEN 'skipped' ELSE 'done' END, r.is_current, r.users_read, r.rows_unchanged,
        (SELECT string_agg(key, ' ' ORDER BY key) FROM jsonb_object_keys(r.timings) AS key));
END $$;
\set VERBOSITY terse
CALL pg_temp.run('the first', 'same');
CALL pg_temp.run('the same', 'same');
CALL pg_temp.run('direct, the same', 'same');
SELECT fingerprint ~ '^[0-9a-f]{32}$' AS fingerprint, count(*) AS runs, count(*) FILTER (WHERE is_current) AS current, min(run_id) FILTER (WHERE is_current) AS current_run,
    count(*) FILTER (WHERE bytes_read = (SELECT sum(size) FROM unnest('{users,compounds,user_experiments}'::text[]) AS kind, pg_stat_file(:'own' || '/same/' || kind || '.csv'))) AS bytes
FROM eikon_runs GROUP BY fingerprint;
SELECT run_id, users_read, users_loaded, rows_inserted, rows_updated, rows_deleted, rows_unchanged, notes IS NULL AS no_notes FROM eikon_runs WHERE run_id = 2;
CALL pg_temp.run('under another directory', 'elsewhere/same');
CALL pg_temp.shell('touch -d 2001-01-01 same/users.csv');
CALL pg_temp.run('with another time', 'same');
CALL pg_temp.shell('echo > same/README');
CALL pg_temp.run('beside a file that is no part', 'same');

-- Any byte makes a difference, also one that makes none to features.
CALL pg_temp.write_source('same', E'1,Anna,,\n');
CALL pg_temp.run('a changed byte', 'same');
CALL pg_temp.run('the same again', 'same');
CALL pg_temp.write_source('same', E'1,Anna,, \n');
CALL pg_temp.run('a blank', 'same');
CALL pg_temp.shell('mv same/users.csv same/users_1.csv');
CALL pg_temp.run('direct, a renamed part', 'same');
CALL pg_temp.run('the same again', 'same');
CALL pg_temp.write_source('same', '', 'users_2.csv');
CALL pg_temp.run('one more part', 'same');
CALL pg_temp.shell('rm same/users_2.csv');
CALL pg_temp.run('direct, one less', 'same');
CALL pg_temp.shell('gzip same/compounds.csv');
CALL pg_temp.run('compressed', 'same');
CALL pg_temp.run('the same again', 'same');
CALL pg_temp.shell('gunzip same/compounds.csv.gz && mv same/users_1.csv same/users.csv');
CALL pg_temp.run('direct, as before', 'same');

-- So do options, but for the two that only say how to run.
CALL pg_temp.run('other options', 'same', $$on_error => 'ignore'$$);
CALL pg_temp.run('direct, the same options', 'same', $$on_error => 'ignore'$$);
CALL pg_temp.run('a default of another', 'same', $$on_error => 'ignore'$$, $$"null" => ''$$);
CALL pg_temp.run('without them', 'same');
CALL pg_temp.run('direct, a dry run', 'same', 'dry_run => true');
CALL pg_temp.write_source('same', E'1,Annika,,\n');
CALL pg_temp.run('direct, a dry run over other content', 'same', 'dry_run => true');
CALL pg_temp.run('which is done then', 'same');
CALL pg_temp.run('direct, a dry run over the same', 'same', 'dry_run => true');
SET eikon_features.max_line_size = '3MB';
CALL pg_temp.run('direct, with another maximum', 'same');
CALL pg_temp.run('direct, the same', 'same');
RESET eikon_features.max_line_size;
CALL pg_temp.run('with the usual one', 'same');

-- What counts is the run that features comes from.
CALL pg_temp.run('other content', 'elsewhere/same');
CALL pg_temp.run('the first one again', 'same');
SELECT status, skipped, fingerprint FROM eikon_run_etl(:'own' || '/same');
CALL pg_temp.run('after a run without fingerprint', 'same');
CALL pg_temp.run('the same again', 'same');
BEGIN;
SELECT skipped FROM eikon_run_etl(:'own' || '/elsewhere/same', skip_unchanged => true);
ROLLBACK;
CALL pg_temp.run('after a run that was rolled back', 'same');
CALL pg_temp.write_source('same', E'x,Nobody,,\n');
CALL pg_temp.run('a failure', 'same');
CALL pg_temp.run('the same failure', 'same');
CALL pg_temp.write_source('same', E'1,Annika,,\n');
CALL pg_temp.run('after a failure', 'same');
DELETE FROM eikon_runs WHERE is_current;
CALL pg_temp.run('after its row was deleted', 'same');
CALL pg_temp.run('the same again', 'same');
\set VERBOSITY default

--
-- Options on their way through the queue
--

-- Each run has every option; what it leaves in the table is what a derivation gives with the same.
CALL pg_temp.write('every/users.csv', E'about users\r\nuser_id~name~email~signup_date\r\n1~^A!^n~n^~NA~2024-01-01\r\n2~ Ren\u00e9 ~NA~NA\r\nx~^nobody^~~\r\n3~^C\nD^~~\r\n', 'LATIN1');
CALL pg_temp.write('every/compounds.csv', E'about compounds\r\ncompound_id~compound_name~compound_structure\r\n1~^ Water^~H2O\r\n', 'LATIN1');
CALL pg_temp.write('every/user_experiments.csv', E'about experiments\r\nexperiment_id~user_id~experiment_compound_ids~experiment_run_time\r\n1~1~1~10\r\n2~2~1~NA\r\n', 'LATIN1');
CALL pg_temp.write('special/users.csv', E'1\t"A\\"n\tn"\t"\u00f1\\N\\""\t\r2\t Bo \t\t2024-01-01\r', 'UTF8');
CALL pg_temp.write('special/compounds.csv', E'1\t"Wa\\\\ter"\tH2O\r', 'UTF8');
CALL pg_temp.write('special/user_experiments.csv', E'1\t1\t1\t10\r', 'UTF8');
CREATE PROCEDURE pg_temp.both_ways(directory text, options text) LANGUAGE plpgsql AS $$
DECLARE
    source text := quote_literal(current_setting('test.own') || '/' || directory);
    n bigint;
    r lab.eikon_runs;
    direct jsonb;
    differing bigint;
BEGIN
    EXECUTE format('SELECT lab.eikon_submit_etl(%s, %s)', source, options) INTO n;
    COMMIT;
    r := lab.eikon_wait_etl(n);
    EXECUTE format('SELECT options FROM lab.eikon_run_etl(%s, %s, dry_run => true)', source, options) INTO direct;
    EXECUTE format('SELECT count(*) FROM (
        (SELECT * FROM lab.features EXCEPT ALL SELECT * FROM lab.eikon_derive_features(%1$s, %2$s))
        UNION ALL (SELECT * FROM lab.eikon_derive_features(%1$s, %2$s) EXCEPT ALL SELECT * FROM lab.features)) AS f', source, options) INTO differing;
    RAISE WARNING '%', format('%s, %s rejected, %s differ, options %s %s', r.status, r.users_rejected, differing, r.options,
        CASE WHEN r.options || '{"dry_run": true}' = direct THEN 'are the same' ELSE 'differ' END);
END $$;
\set VERBOSITY terse
CALL pg_temp.both_ways('every', $$on_error => 'ignore', reject_limit => 9223372036854775807, delimiter => '~', quote => '^', escape => '!', encoding => 'latin1',
    "null" => 'NA', header => true, skip => 1, padding => 'keep', newline => 'crlf'$$);
SELECT user_id, to_json(name) AS name, email, signup_date, avg_experiment_run_time AS time, most_common_compound_name AS compound FROM features ORDER BY user_id;
CALL pg_temp.both_ways('special', $$on_error => 'ignore', reject_limit => 1, delimiter => E'\t', quote => '"', escape => '\', encoding => 'UTF8',
    "null" => E'\u00f1\\N"', header => false, skip => 0, padding => 'trim_quoted', newline => 'cr'$$);
SELECT user_id, to_json(name) AS name, email, signup_date, avg_experiment_run_time AS time, most_common_compound_name AS compound FROM features ORDER BY user_id;
\set VERBOSITY default

--
-- Cancelling
--

-- One that is queued has been cancelled once that is committed.
TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;
BEGIN;
SELECT eikon_submit_etl(:'dir' || '/store/1') AS run_id \gset
SELECT eikon_cancel_etl(:run_id);
SELECT eikon_submit_etl(:'dir' || '/store/1') = :run_id AS the_same;
COMMIT;
\x on
SELECT status, error_code, error_message, error_detail, error_hint, error_context, attempts, started_at, finished_at >= requested_at AS finished
FROM eikon_wait_etl(:run_id);
\x off
SELECT pg_temp.error_of(format('SELECT lab.eikon_cancel_etl(%s)', :run_id));
SELECT status FROM eikon_wait_etl(:run_id + 1);
SELECT pg_temp.error_of(format('SELECT lab.eikon_cancel_etl(%s)', :run_id + 1));

-- Who may do so: the role that asked for it, its members and superusers.
BEGIN;
SET LOCAL ROLE regress_eikon_a;
SELECT lab.eikon_submit_etl(:'dir' || '/store/1') AS first, lab.eikon_submit_etl(:'dir' || '/store/2') AS second \gset
SET LOCAL ROLE regress_eikon_b;
SELECT pg_temp.error_of(format('SELECT lab.eikon_cancel_etl(%s)', :first));
SELECT pg_temp.error_of(format('SELECT lab.eikon_wait_etl(%s, %L)', :first, '0'));
SET LOCAL ROLE regress_eikon_friend;
SELECT lab.eikon_cancel_etl(:first);
SET LOCAL ROLE regress_eikon_a;
SELECT lab.eikon_cancel_etl(:second);
RESET ROLE;
SELECT eikon_cancel_etl(eikon_submit_etl(:'dir' || '/store/1'));
SELECT replace(requested_by, current_user, '(me)') AS requested_by, status FROM eikon_runs WHERE run_id >= :first ORDER BY run_id;
COMMIT;

-- It runs as the role that asked for it.
CREATE FUNCTION show_role() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := format('%s for %s', NEW.name, current_user); RETURN NEW; END $$;
CREATE TRIGGER show_role BEFORE INSERT OR UPDATE ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION show_role();
SET ROLE regress_eikon_a;
SELECT lab.eikon_submit_etl(:'dir' || '/store/1') AS run_id \gset
SELECT status, requested_by FROM lab.eikon_wait_etl(:run_id);
RESET ROLE;
SELECT user_id, name FROM features ORDER BY user_id;
DROP TRIGGER show_role ON eikon_user_features;
DROP FUNCTION show_role;

-- Without rights on the table it fails, as a direct run does.
SET ROLE regress_eikon_b;
SELECT lab.eikon_submit_etl(:'dir' || '/store/1') AS run_id \gset
SELECT status, error_code, error_message FROM lab.eikon_wait_etl(:run_id);
SELECT run_id FROM lab.eikon_runs;
RESET ROLE;

-- So it does when it may submit no more by the time that it begins, or is no more.
CREATE ROLE regress_eikon_gone IN ROLE pg_read_server_files;
GRANT USAGE ON SCHEMA lab TO regress_eikon_gone;
GRANT EXECUTE ON FUNCTION eikon_submit_etl TO regress_eikon_gone;
BEGIN;
SET LOCAL ROLE regress_eikon_gone;
SELECT lab.eikon_submit_etl(:'dir' || '/store/1') AS gone \gset
SET LOCAL ROLE regress_eikon_b;
SELECT lab.eikon_submit_etl(:'dir' || '/store/1') AS b \gset
RESET ROLE;
REVOKE EXECUTE ON FUNCTION eikon_submit_etl FROM regress_eikon_gone, regress_eikon_b;
REVOKE USAGE ON SCHEMA lab FROM regress_eikon_gone;
DROP ROLE regress_eikon_gone;
COMMIT;
SELECT status, error_code, error_message, attempts FROM eikon_wait_etl(:gone);
SELECT status, error_code, error_message, attempts FROM eikon_wait_etl(:b);

--
-- What cannot be asked for
--

CREATE FUNCTION pg_temp.refused(call text, role text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF role IS NOT NULL THEN PERFORM set_config('role', role, true); END IF;
    call := pg_temp.error_of(replace(call, '$dir', current_setting('test.dir')));
    RESET ROLE;
    RETURN call;
END $$;
\pset format unaligned
\pset tuples_only on
SELECT '-- ' || call || E'\n' || pg_temp.refused(call)
FROM (VALUES ($$SELECT lab.eikon_wait_etl(1000000)$$), ($$SELECT lab.eikon_wait_etl(-1, '0')$$), ($$SELECT lab.eikon_wait_etl(NULL)$$),
    ($$SELECT lab.eikon_wait_etl(1, '-1 microsecond')$$), ($$SELECT lab.eikon_wait_etl(1, '1 day -25 hours')$$), ($$SELECT lab.eikon_wait_etl(1, '-178000000 years')$$),
    ($$SELECT lab.eikon_cancel_etl(1000000)$$), ($$SELECT lab.eikon_cancel_etl(NULL)$$),
    ($$SELECT lab.eikon_wait_etl(lab.eikon_submit_etl('$dir/store/1'))$$),
    ($$SELECT lab.eikon_submit_etl('$dir/nowhere')$$), ($$SELECT lab.eikon_submit_etl('$dir/store/1/users.csv')$$),
    ($$SELECT lab.eikon_submit_etl('$dir/store/1', on_error => 'perhaps')$$), ($$SELECT lab.eikon_submit_etl('$dir/store/1', reject_limit => 1)$$),
    ($$SELECT lab.eikon_submit_etl('$dir/store/1', on_error => 'ignore', reject_limit => 0)$$), ($$SELECT lab.eikon_submit_etl('$dir/store/1', delimiter => ';;')$$),
    ($$SELECT lab.eikon_submit_etl('$dir/store/1', quote => 'ab')$$), ($$SELECT lab.eikon_submit_etl('$dir/store/1', escape => '')$$),
    ($$SELECT lab.eikon_submit_etl('$dir/store/1', encoding => 'klingon')$$), ($$SELECT lab.eikon_submit_etl('$dir/store/1', "null" => E'a\n')$$),
    ($$SELECT lab.eikon_submit_etl('$dir/store/1', skip => -1)$$), ($$SELECT lab.eikon_submit_etl('$dir/store/1', padding => 'none')$$),
    ($$SELECT lab.eikon_submit_etl('$dir/store/1', newline => 'nl')$$), ($$SELECT lab.eikon_submit_etl('$dir/store/1', delimiter => ',', quote => ',')$$),
    ($$SELECT lab.eikon_submit_etl('$dir/store/1', dry_run => true)$$),
    ($$SELECT lab.eikon_purge_runs(NULL)$$), ($$SELECT lab.eikon_purge_runs('-1 second')$$), ($$SELECT lab.eikon_purge_runs('-178000000 years')$$),
    ($$SELECT lab.eikon_runs_guard()$$), ($$SELECT * FROM lab.eikon_runs_guard()$$)) AS calls (call);
\pset format aligned
\pset tuples_only off

-- Nothing of these is queued.
SELECT queued FROM eikon_health();

-- Where nothing can be written.
BEGIN READ ONLY;
SELECT eikon_submit_etl(:'dir' || '/store/1');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT eikon_cancel_etl(1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT eikon_purge_runs('0');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT running, queued, oldest_queued_age FROM eikon_health();
SELECT count(*) FROM eikon_progress;
ROLLBACK;

-- Who has no right to call them.
SELECT call, split_part(pg_temp.refused(call, 'regress_eikon_nobody'), E'\n', 1) AS refused
FROM (VALUES ('SELECT lab.eikon_run_etl()'), ('SELECT lab.eikon_submit_etl()'), ('SELECT lab.eikon_wait_etl(1)'), ('SELECT lab.eikon_cancel_etl(1)'),
    ('CALL lab.eikon_etl()'), ('SELECT lab.eikon_purge_runs(''0'')'), ('SELECT lab.eikon_health()'), ('SELECT lab.eikon_running()'),
    ('SELECT lab.eikon_runs_guard()'), ('SELECT FROM lab.eikon_progress'), ('SELECT FROM lab.eikon_runs'), ('SELECT FROM lab.eikon_rejects'),
    ('CREATE TEMP TABLE t (); CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION lab.eikon_runs_guard()'))
    AS calls (call);

--
-- The guard
--

-- No right on the table makes a run of it.
GRANT ALL ON eikon_runs TO regress_eikon_b;
GRANT USAGE ON SEQUENCE eikon_runs_run_id_seq TO regress_eikon_b;
GRANT EXECUTE ON FUNCTION eikon_submit_etl TO regress_eikon_b;
CREATE TABLE mine AS SELECT * FROM eikon_runs ORDER BY run_id LIMIT 1;
UPDATE mine SET run_id = 2000, status = 'queued', background = true, requested_by = current_user, finished_at = NULL, error_code = NULL;
GRANT SELECT ON mine TO regress_eikon_b;
\pset format unaligned
\pset tuples_only on
SELECT '-- ' || call || E'\n' || split_part(pg_temp.refused(call, 'regress_eikon_b'), E'\n', 1)
FROM (VALUES ($$INSERT INTO lab.eikon_runs SELECT * FROM lab.mine$$),
    ($$INSERT INTO lab.eikon_runs (status, background, source, options, requested_by, requester, requested_at, attempts) VALUES ('queued', true, '/', '{}', 'regress_eikon_b', 'regress_eikon_b'::regrole, now(), 0)$$),
    ($$INSERT INTO lab.eikon_runs (status, background, source, options, requested_by, requester, requested_at, attempts) VALUES ('running', true, '/', '{}', 'regress_eikon_b', 'regress_eikon_b'::regrole, now(), 0)$$),
    ($$INSERT INTO lab.eikon_runs SELECT * FROM lab.mine ON CONFLICT (run_id) DO UPDATE SET status = 'queued', finished_at = NULL, error_code = NULL$$),
    ($$INSERT INTO lab.eikon_runs (run_id, status, background, source, options, requested_by, requester, requested_at, attempts, finished_at)
        VALUES (1, 'succeeded', true, '/', '{}', 'regress_eikon_b', 'regress_eikon_b'::regrole, now(), 0, now()) ON CONFLICT (run_id) DO UPDATE SET status = 'queued', finished_at = NULL, error_code = NULL$$),
    ($$UPDATE lab.eikon_runs SET status = 'queued', finished_at = NULL, error_code = NULL$$),
    ($$UPDATE lab.eikon_runs SET status = 'running', finished_at = NULL, error_code = NULL$$),
    ($$UPDATE lab.eikon_runs SET status = 'queued'$$),
    ($$MERGE INTO lab.eikon_runs r USING lab.mine m ON r.run_id = 1 WHEN MATCHED THEN UPDATE SET status = 'queued', finished_at = NULL, error_code = NULL$$),
    ($$DO 'BEGIN PERFORM lab.eikon_submit_etl(''$dir/store/1''); UPDATE lab.eikon_runs SET requested_by = (SELECT requested_by FROM lab.mine) WHERE status = ''queued''; END'$$),
    ($$DO 'BEGIN PERFORM lab.eikon_submit_etl(''$dir/store/1''); UPDATE lab.eikon_runs SET source = ''/'' WHERE status = ''queued''; END'$$),
    ($$SET session_replication_role = replica$$),
    ($$ALTER TABLE lab.eikon_runs DISABLE TRIGGER eikon_runs_guard$$),
    ($$INSERT INTO lab.eikon_runs (status, background, source, options, requested_by, requester, requested_at, attempts, finished_at)
        VALUES ('succeeded', true, '/', '{}', 'regress_eikon_b', 'regress_eikon_b'::regrole, now(), 0, now())$$),
    ($$UPDATE lab.eikon_runs SET source = '/a' WHERE source = '/'$$),
    ($$DELETE FROM lab.eikon_runs WHERE source = '/a'$$)) AS calls (call);
\pset format aligned
\pset tuples_only off
SELECT count(*) AS unended FROM eikon_runs WHERE finished_at IS NULL;

-- Not even where triggers are off for replication; but a superuser may.
BEGIN;
SET LOCAL session_replication_role = replica;
SET LOCAL ROLE regress_eikon_b;
SELECT pg_temp.error_of('INSERT INTO lab.eikon_runs SELECT * FROM lab.mine');
RESET ROLE;
INSERT INTO eikon_runs SELECT * FROM mine;
SELECT status FROM eikon_runs WHERE run_id = 2000;
ROLLBACK;

-- Nor does a right to create triggers there make a superuser of anybody.
CREATE SCHEMA regress_eikon_own AUTHORIZATION regress_eikon_b;
GRANT ALL ON eikon_rejects TO regress_eikon_b;
GRANT EXECUTE ON FUNCTION eikon_run_etl, eikon_purge_runs TO regress_eikon_b;
GRANT ALL ON eikon_user_features, eikon_totals, eikon_compounds TO regress_eikon_b;
CREATE FUNCTION pg_temp.try_trigger(tab text, event text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told text := 'no error';
BEGIN
    SET LOCAL ROLE regress_eikon_b;
    CREATE FUNCTION regress_eikon_own.rise() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ALTER ROLE regress_eikon_b SUPERUSER; RETURN NEW; END';
    EXECUTE format('CREATE TRIGGER rise %s ON lab.%I FOR EACH ROW EXECUTE FUNCTION regress_eikon_own.rise()', event, tab);
    BEGIN
        EXECUTE call;
    EXCEPTION WHEN OTHERS THEN
        told := SQLSTATE || ' ' || SQLERRM;
    END;
    RESET ROLE;
    EXECUTE format('DROP TRIGGER rise ON lab.%I', tab);
    DROP FUNCTION regress_eikon_own.rise();
    RETURN told || CASE WHEN rolsuper THEN ', superuser' ELSE '' END FROM pg_roles WHERE rolname = 'regress_eikon_b';
END $$;
SELECT split_part(call, '(', 1) AS call, pg_temp.try_trigger(tab, event, 'SELECT lab.' || replace(call, '$dir', :'dir'))
FROM (VALUES ('eikon_submit_etl(''$dir/store/1'')', 'eikon_runs', 'BEFORE INSERT'),
    ('eikon_run_etl(''$dir/store/1'')', 'eikon_runs', 'BEFORE UPDATE'),
    ('eikon_run_etl(''$dir/rejects/cast'', on_error => ''ignore'')', 'eikon_rejects', 'AFTER INSERT'),
    ('eikon_purge_runs(''0'')', 'eikon_runs', 'BEFORE DELETE'),
    ('eikon_purge_runs(''0'')', 'eikon_rejects', 'BEFORE DELETE')) AS calls (call, tab, event);

-- The owner's own ones are run.
BEGIN;
CREATE FUNCTION pg_temp.welcome() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'run %', NEW.status; RETURN NEW; END$$;
CREATE TRIGGER welcome BEFORE INSERT ON eikon_runs FOR EACH ROW EXECUTE FUNCTION pg_temp.welcome();
SELECT pg_temp.refused('SELECT lab.eikon_submit_etl(' || quote_literal(:'dir' || '/store/1') || ')', 'regress_eikon_b') AS refused;
ROLLBACK;
DROP SCHEMA regress_eikon_own;

-- As a trigger of another table it does no harm, nor good.
CREATE TABLE guarded (n integer);
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON guarded FOR EACH ROW EXECUTE FUNCTION eikon_runs_guard();
CREATE TRIGGER before_statement BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON guarded FOR EACH STATEMENT EXECUTE FUNCTION eikon_runs_guard();
CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON guarded FOR EACH ROW EXECUTE FUNCTION eikon_runs_guard();
CREATE TRIGGER after_statement AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON guarded FOR EACH STATEMENT EXECUTE FUNCTION eikon_runs_guard();
GRANT ALL ON guarded TO regress_eikon_b;
INSERT INTO guarded VALUES (1), (2);
UPDATE guarded SET n = 3 WHERE n = 1 RETURNING n;
DELETE FROM guarded WHERE n = 2 RETURNING n;
SELECT n FROM guarded;
TRUNCATE guarded;
SELECT pg_temp.refused('INSERT INTO lab.guarded VALUES (1)', 'regress_eikon_b');
DROP TABLE guarded, mine;

--
-- Health and purge
--

TRUNCATE eikon_runs, eikon_rejects RESTART IDENTITY;
SELECT last_success, last_success_age, last_failure, running, queued, oldest_queued_age, workers BETWEEN 0 AND 1 AS workers, launcher IS NOT NULL AS launcher
FROM eikon_health();
SELECT eikon_purge_runs('0');
SELECT run_id AS a FROM eikon_run_etl(:'dir' || '/rejects/cast', on_error => 'ignore') \gset
SELECT run_id AS b FROM eikon_run_etl(:'dir' || '/rejects/mixed', on_error => 'ignore') \gset
SELECT eikon_submit_etl(:'dir' || '/rejects/cast') AS c \gset
SELECT status FROM eikon_wait_etl(:c);
SELECT last_success = (SELECT finished_at FROM eikon_runs WHERE run_id = :b) AS last_success, last_success_age BETWEEN '0' AND '1 hour' AS age,
    last_failure = (SELECT finished_at FROM eikon_runs WHERE run_id = :c) AS last_failure, running, queued, oldest_queued_age
FROM eikon_health();

-- Nothing is that old yet. Then they go, with their rejects: but not the current one.
SELECT run_id, count(*) > 0 AS rejects FROM eikon_rejects GROUP BY run_id ORDER BY run_id;
SELECT eikon_purge_runs('1 hour'), eikon_purge_runs('1 month'), eikon_purge_runs('2000 years');
SELECT count(*) FROM eikon_runs;
UPDATE eikon_runs SET finished_at = finished_at - interval '2 hours' WHERE run_id IN (:a, :b);
SELECT eikon_purge_runs('1 hour');
SELECT run_id, is_current FROM eikon_runs ORDER BY run_id;
SELECT DISTINCT run_id FROM eikon_rejects ORDER BY run_id;
-- Nor one that has not ended.
BEGIN;
SELECT eikon_submit_etl(:'dir' || '/store/1') AS queued \gset
UPDATE eikon_runs SET requested_at = requested_at - interval '1 year' WHERE run_id = :queued;
INSERT INTO eikon_runs (run_id, status, background, source, options, requested_by, requester, requested_at, started_at, attempts)
VALUES (1000, 'running', true, '/', '{}', 'nobody', 0, now() - interval '1 year', now() - interval '1 year', 1);
SELECT eikon_purge_runs('0');
SELECT run_id, status FROM eikon_runs ORDER BY run_id;
ROLLBACK;
-- Roles that may do so need no more.
GRANT EXECUTE ON FUNCTION eikon_purge_runs, eikon_health TO regress_eikon_a;
SET ROLE regress_eikon_a;
SELECT running, queued, last_failure IS NOT NULL AS failed FROM lab.eikon_health();
SELECT lab.eikon_purge_runs('0 seconds');
RESET ROLE;
SELECT run_id, is_current FROM eikon_runs ORDER BY run_id;

CALL pg_temp.shell('rm -r ../eikon_runs');
DROP VIEW pg_temp.told;
DROP OWNED BY regress_eikon_a, regress_eikon_b, regress_eikon_nobody;
DROP ROLE regress_eikon_a, regress_eikon_b, regress_eikon_friend, regress_eikon_nobody;

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
