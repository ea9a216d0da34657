-- What a run writes: what changed, all of it or nothing.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- The first run inserts everybody.
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');

-- The next one over the same data writes nothing: every row is the one that was
-- there before, though the files are in another order and shape.
CREATE TEMP TABLE before AS SELECT user_id, xmin::text AS writer, ctid::text AS place FROM eikon_user_features;
CREATE TEMP TABLE compounds_before AS SELECT compound_id, xmin::text AS writer, ctid::text AS place FROM eikon_compounds;
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1_again');
SELECT count(*) FILTER (WHERE b.writer = f.xmin::text AND b.place = f.ctid::text) AS untouched, count(*)
FROM eikon_user_features f LEFT JOIN before b USING (user_id);
SELECT count(*) FILTER (WHERE b.writer = c.xmin::text AND b.place = c.ctid::text) AS untouched, count(*)
FROM eikon_compounds c LEFT JOIN compounds_before b USING (compound_id);

-- A dry run counts the same and writes nothing, not even its row in the ledger.
SELECT run_id, status, options, rows_inserted, rows_updated, rows_deleted, rows_unchanged
FROM eikon_run_etl(:'dir' || '/store/2', dry_run => true);
SELECT count(*) AS runs, max(run_id) AS last FROM eikon_runs;

-- Three of the four users there stay: 1 has a compound whose formula is another
-- now, 2 a longer run time, 4 another address. 3 is gone and 5 is new.
SELECT run_id, status, rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/2');
SELECT user_id, name, email, total_experiment_run_time AS time, most_common_compound_structure AS structure, b.user_id IS NULL AS is_new,
    b.place IS DISTINCT FROM f.ctid::text AS written
FROM eikon_user_features f LEFT JOIN before b USING (user_id) ORDER BY user_id;
SELECT * FROM eikon_compounds ORDER BY compound_id;

-- A row that someone else changed or removed is put right.
UPDATE eikon_user_features SET name = 'someone else' WHERE user_id = 1;
DELETE FROM eikon_user_features WHERE user_id = 2;
INSERT INTO eikon_user_features (user_id, total_experiments) VALUES (-7, 0);
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/2');
SELECT user_id, name FROM eikon_user_features ORDER BY user_id;

-- A rollback leaves the table as it was, and so does an error.
BEGIN;
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/1');
SELECT user_id, name FROM eikon_user_features ORDER BY user_id;
ROLLBACK;
SELECT pg_temp.run_error('rejects/cast');
SELECT user_id, name FROM eikon_user_features ORDER BY user_id;
SELECT max(run_id) AS last FROM eikon_runs;

-- Rows of rejects come and go with the run too.
BEGIN;
SELECT experiments_rejected FROM eikon_run_etl(:'dir' || '/rejects/cast', on_error => 'ignore');
SELECT count(*) FROM eikon_rejects;
ROLLBACK;
SELECT count(*) FROM eikon_rejects;

-- Two runs fit into one transaction; the second sees what the first wrote.
BEGIN;
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/2');
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/2');
COMMIT;

-- So do a savepoint, a function and a DO block.
BEGIN;
SAVEPOINT s;
SELECT rows_updated FROM eikon_run_etl(:'dir' || '/store/1');
ROLLBACK TO SAVEPOINT s;
SELECT rows_updated FROM eikon_run_etl(:'dir' || '/store/2');
COMMIT;
CREATE FUNCTION pg_temp.run(directory text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (eikon_run_etl(current_setting('test.dir') || '/' || directory)).rows_unchanged;
END $$;
SELECT pg_temp.run('store/2');
DO $$
DECLARE
    r eikon_runs;
BEGIN
    BEGIN
        PERFORM eikon_run_etl(current_setting('test.dir') || '/rejects/cast');
    EXCEPTION WHEN invalid_text_representation THEN
        r := eikon_run_etl(current_setting('test.dir') || '/store/2');
    END;
    ASSERT r.rows_unchanged = 4, r.rows_unchanged;
END $$;

-- Where nothing can be written, a derivation and a dry run still work.
BEGIN READ ONLY;
SELECT count(*) FROM eikon_derive_features(:'dir' || '/store/1');
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/1', dry_run => true);
SELECT eikon_run_etl(:'dir' || '/store/1');
ROLLBACK;

-- The ledger tells how each run went: only options that were given are listed,
-- times in seconds, and a note per file.
SELECT status, replace(source, :'dir', '$dir') AS source, options, requested_by = CURRENT_USER AS mine,
    started_at <= finished_at AND finished_at <= clock_timestamp() AS in_time,
    bytes_read = (SELECT sum(size) FROM unnest('{users,compounds,user_experiments}'::text[]) AS kind,
        pg_stat_file(:'dir' || '/store/2/' || kind || '.csv')) AS bytes,
    users_read, compounds_read, experiments_read
FROM eikon_runs ORDER BY run_id DESC LIMIT 1;
SELECT options FROM eikon_run_etl(:'dir' || '/store/2', on_error => 'stop', "null" => '', dry_run => false);
SELECT options FROM eikon_run_etl(:'dir' || '/store/2', on_error => 'ignore', reject_limit => 5, delimiter => ',', quote => '"',
    escape => '"', encoding => 'UTF8', "null" => 'NA', header => true, skip => 0, padding => 'trim', newline => 'any');
SELECT key, value::text::float8 BETWEEN 0 AND 100 AS seconds
FROM eikon_runs, jsonb_each(timings) WHERE run_id = (SELECT max(run_id) FROM eikon_runs) ORDER BY key;
SELECT jsonb_pretty(notes->0) FROM eikon_runs WHERE run_id = 1;

-- Constraints, indexes, columns and triggers that others add are respected.
CREATE INDEX ON eikon_user_features (lower(name));
ALTER TABLE eikon_user_features ADD CONSTRAINT one_address UNIQUE (email);
ALTER TABLE eikon_user_features ADD first_letter text GENERATED ALWAYS AS (left(name, 1)) STORED;
ALTER TABLE eikon_user_features ADD note text DEFAULT 'new';
CREATE TABLE written (what text, old bigint, new bigint);
CREATE FUNCTION log_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lab.written VALUES (TG_OP || ' ' || TG_LEVEL, CASE WHEN TG_OP <> 'INSERT' THEN OLD.user_id END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.user_id END);
    RETURN NULL;
END $$;
CREATE FUNCTION log_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO lab.written VALUES (TG_OP || ' ' || TG_LEVEL);
    RETURN NULL;
END $$;
CREATE TRIGGER log_row AFTER INSERT OR UPDATE OR DELETE ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION log_row();
CREATE TRIGGER log_statement AFTER INSERT OR UPDATE OR DELETE ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION log_statement();
UPDATE eikon_user_features SET note = 'kept' WHERE user_id = 2;
TRUNCATE written;
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
SELECT what, old, new FROM written WHERE what LIKE '%ROW' ORDER BY what, old, new;
SELECT what, count(*) <= 1 AS once_at_most FROM written WHERE what LIKE '%STATEMENT' GROUP BY what ORDER BY what;
SELECT user_id, name, email, first_letter, note FROM eikon_user_features ORDER BY user_id;

-- A user may take the address of one who is gone, or of one who has another now.
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/2');
SELECT user_id, email, note FROM eikon_user_features ORDER BY user_id;

-- An exchange of two addresses needs a constraint that can wait, as in any UPDATE.
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/1');
SELECT left(pg_temp.run_error('store/swapped'), 11);
SELECT user_id, email FROM eikon_user_features ORDER BY user_id;
ALTER TABLE eikon_user_features DROP CONSTRAINT one_address, ADD CONSTRAINT one_address UNIQUE (email) DEFERRABLE;
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/swapped');
SELECT user_id, email FROM eikon_user_features ORDER BY user_id;

-- A reference to a user who stays is no obstacle; to one who is gone, an error.
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/1');
CREATE TABLE visits (user_id bigint REFERENCES eikon_user_features);
INSERT INTO visits VALUES (1), (2);
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/2');
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/1');
INSERT INTO visits VALUES (3);
SELECT pg_temp.run_error('store/2');
SELECT user_id FROM eikon_user_features ORDER BY user_id;
DROP TABLE visits;

ALTER TABLE eikon_user_features DROP CONSTRAINT one_address;

-- A trigger that refuses a row ends the run.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no % here', NEW.name; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT split_part(pg_temp.run_error('store/2'), E'\n', 1) AS run_error;
SELECT user_id FROM eikon_user_features ORDER BY user_id;
DROP TRIGGER refuse ON eikon_user_features;
DROP FUNCTION refuse();

-- Row security is the table owner's matter: readers see the rows that a policy
-- shows them, and so do runs. A row that a policy keeps from being written is
-- an error.
CREATE ROLE regress_eikon_reader;
CREATE ROLE regress_eikon_runner IN ROLE pg_read_server_files;
GRANT USAGE ON SCHEMA lab TO regress_eikon_reader, regress_eikon_runner;
GRANT SELECT ON eikon_user_features TO regress_eikon_reader;
GRANT ALL ON ALL TABLES IN SCHEMA lab TO regress_eikon_runner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA lab TO regress_eikon_runner;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA lab TO regress_eikon_runner;
ALTER TABLE eikon_user_features ENABLE ROW LEVEL SECURITY;
CREATE POLICY low_ids ON eikon_user_features USING (user_id < 3);
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
SET ROLE regress_eikon_reader;
SELECT user_id FROM eikon_user_features ORDER BY user_id;
SELECT pg_temp.run_error('store/1');
SET ROLE regress_eikon_runner;
SELECT left(pg_temp.run_error('store/2'), 11) AS run_error;
RESET ROLE;

-- A row that is hidden from a runner is not the runner's: it stays as it is.
ALTER POLICY low_ids ON eikon_user_features USING (user_id <> 3);
SET ROLE regress_eikon_runner;
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/2');
RESET ROLE;
SELECT user_id, total_experiment_run_time FROM eikon_user_features ORDER BY user_id;

-- But a row that it sees must be one that it may bring up to date.
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/1');
CREATE POLICY all_ids ON eikon_user_features FOR SELECT USING (true);
SET ROLE regress_eikon_runner;
SELECT pg_temp.run_error('store/2');
RESET ROLE;
SELECT user_id, total_experiment_run_time FROM eikon_user_features ORDER BY user_id;
ALTER TABLE eikon_user_features DISABLE ROW LEVEL SECURITY;
SET ROLE regress_eikon_runner;
SELECT requested_by, rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/2');
RESET ROLE;

-- A trigger may keep changes from being written, and may not go unnoticed.
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/1');
CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER forget BEFORE INSERT OR DELETE ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION forget();
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/2');
SELECT user_id, total_experiment_run_time FROM eikon_user_features ORDER BY user_id;
DROP TRIGGER forget ON eikon_user_features;
DROP FUNCTION forget;

-- One that starts a run within the run is told so.
CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM lab.eikon_run_etl(current_setting('test.dir') || '/store/2'); RETURN NULL; END $$;
CREATE TRIGGER again AFTER INSERT ON eikon_user_features EXECUTE FUNCTION again();
SELECT pg_temp.run_error('store/2');
DROP TRIGGER again ON eikon_user_features;
DROP FUNCTION again;

-- Tables that inherit from eikon_user_features are their owner's.
CREATE TABLE heir () INHERITS (eikon_user_features);
INSERT INTO heir (user_id, total_experiments) VALUES (100, 0);
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/2');
SELECT tableoid::regclass, user_id FROM eikon_user_features ORDER BY user_id;
DROP TABLE heir;

-- A column whose type was changed, or which has another name, is refused by its name.
ALTER TABLE eikon_user_features RENAME email TO mail;
SELECT pg_temp.run_error('store/2');
ALTER TABLE eikon_user_features RENAME mail TO email;
ALTER TABLE eikon_runs ALTER bytes_read TYPE numeric;
SELECT pg_temp.run_error('store/2');
ALTER TABLE eikon_runs ALTER bytes_read TYPE bigint;
ALTER TABLE eikon_rejects RENAME raw TO text;
SELECT pg_temp.run_error('store/2', 'dry_run => true');
ALTER TABLE eikon_rejects RENAME text TO raw;

-- So is a ledger that does not take the run's row.
CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER forget BEFORE INSERT ON eikon_runs FOR EACH ROW EXECUTE FUNCTION forget();
SELECT left(pg_temp.run_error('store/1'), 82) AS run_error;
DROP TRIGGER forget ON eikon_runs;
DROP FUNCTION forget;
SELECT user_id, total_experiment_run_time FROM eikon_user_features ORDER BY user_id;

DROP FUNCTION log_row, log_statement CASCADE;
DROP TABLE written;
DROP OWNED BY regress_eikon_reader, regress_eikon_runner;
DROP ROLE regress_eikon_reader, regress_eikon_runner;

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
