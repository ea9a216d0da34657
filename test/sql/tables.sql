-- What people make of eikon_user_features: partitions, tables of other kinds, rows that
-- something on the table objects to. A run is right on it, or refuses it by name before it
-- reads any file.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- The table in place of eikon_user_features, and the views that read it.
CREATE TEMP TABLE views AS
SELECT name::text, pg_get_viewdef(name) AS definition
FROM unnest('{lab.features,lab.etl_results,lab.feature_derivation,lab.derived_exp_data}'::regclass[]) AS name;
CREATE PROCEDURE pg_temp.replace_views() LANGUAGE plpgsql AS $$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT * FROM views LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %s WITH (security_invoker = true) AS %s', v.name, v.definition);
    END LOOP;
END $$;

-- A view that reads the table which was there before shows what is no longer brought up to date.
ALTER TABLE eikon_user_features RENAME TO plain_features;
CREATE TABLE eikon_user_features (LIKE plain_features INCLUDING ALL) PARTITION BY RANGE (user_id);
CREATE TABLE low PARTITION OF eikon_user_features FOR VALUES FROM (MINVALUE) TO (3);
CREATE TABLE high PARTITION OF eikon_user_features FOR VALUES FROM (3) TO (MAXVALUE) PARTITION BY HASH (user_id);
CREATE TABLE high_0 PARTITION OF high FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE high_1 PARTITION OF high FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT pg_temp.run_error('store/nowhere');
CREATE OR REPLACE VIEW features AS SELECT user_id, name, email, signup_date, total_experiments,
    (SELECT experiments FROM eikon_totals)::float8 AS avg_experiments, 1::float8 AS experiments_pct, avg_experiment_run_time, total_experiment_run_time,
    most_common_compound_id, most_common_compound_name, most_common_compound_structure, most_common_compound_count, most_common_compound_ids
FROM eikon_user_features;
SELECT pg_temp.run_error('store/nowhere');
CALL pg_temp.replace_views();

-- First load, nothing new, another source, back: counts and rows are right, in dry runs too.
CREATE FUNCTION pg_temp.steps(OUT source text, OUT dry text, OUT done text, OUT differing bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    path text;
BEGIN
    FOREACH source IN ARRAY '{store/1,store/1,store/2,store/2,store/1}'::text[] LOOP
        path := current_setting('test.dir') || '/' || source;
        SELECT concat_ws(' ', rows_inserted, rows_updated, rows_deleted, rows_unchanged) INTO dry FROM lab.eikon_run_etl(path, dry_run => true);
        SELECT concat_ws(' ', rows_inserted, rows_updated, rows_deleted, rows_unchanged) INTO done FROM lab.eikon_run_etl(path);
        SELECT count(*) INTO differing FROM (TABLE lab.features) AS f FULL JOIN lab.eikon_derive_features(path) AS d USING (user_id)
        WHERE f IS DISTINCT FROM d AND f::text IS DISTINCT FROM d::text;
        RETURN NEXT;
    END LOOP;
END $$;
SELECT * FROM pg_temp.steps();
SELECT tableoid::regclass, user_id FROM eikon_user_features ORDER BY user_id;
SELECT count(*) FROM etl_results;

-- Partitioned by another column: a user whose value changes moves.
ALTER TABLE eikon_user_features RENAME TO by_id;
CREATE TABLE eikon_user_features (LIKE plain_features) PARTITION BY LIST (total_experiment_run_time);
CREATE TABLE part_20 PARTITION OF eikon_user_features FOR VALUES IN (20);
CREATE TABLE rest PARTITION OF eikon_user_features DEFAULT;
CALL pg_temp.replace_views();
DROP TABLE by_id;
SELECT * FROM pg_temp.steps();

-- A row trigger of one partition, and a policy.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no % here', NEW.name; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON rest FOR EACH ROW WHEN (new.user_id = 5) EXECUTE FUNCTION refuse();
DO $$ BEGIN PERFORM lab.eikon_run_etl(current_setting('test.dir') || '/store/2'); END $$;
DROP TRIGGER refuse ON rest;

-- No key keeps two rows of one user out; then a run refuses to choose.
INSERT INTO eikon_user_features (user_id, total_experiments) VALUES (2, 0);
SELECT pg_temp.run_error('store/1');
SELECT pg_temp.run_error('store/1', 'dry_run => true');
DELETE FROM eikon_user_features WHERE user_id = 2 AND total_experiments = 0;
SELECT * FROM pg_temp.steps() LIMIT 1;

-- Foreign tables and other access methods, also as partitions; what is no table at all.
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler;
CREATE FUNCTION pg_temp.refused() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN NEXT pg_temp.run_error('store/nowhere');
    RETURN NEXT pg_temp.run_error('store/nowhere', 'dry_run => true');
END $$;
CREATE FOREIGN TABLE far PARTITION OF eikon_user_features FOR VALUES IN (77) SERVER nowhere;
SELECT * FROM pg_temp.refused();
DROP FOREIGN TABLE far;
CREATE TABLE other PARTITION OF eikon_user_features FOR VALUES IN (77) USING another;
SELECT * FROM pg_temp.refused();
ALTER TABLE eikon_user_features RENAME TO by_time;
CREATE TABLE eikon_user_features (LIKE plain_features INCLUDING ALL) USING another;
SELECT * FROM pg_temp.refused();
DROP TABLE eikon_user_features;
CREATE FOREIGN TABLE eikon_user_features (user_id bigint NOT NULL, name text, email text, signup_date date, total_experiments bigint NOT NULL,
    avg_experiment_run_time float8, total_experiment_run_time float8, most_common_compound_id bigint, most_common_compound_name text,
    most_common_compound_structure text, most_common_compound_count bigint, most_common_compound_ids bigint[]) SERVER nowhere;
SELECT * FROM pg_temp.refused();
DROP FOREIGN TABLE eikon_user_features;
CREATE VIEW eikon_user_features AS SELECT * FROM plain_features;
SELECT * FROM pg_temp.refused();
DROP VIEW eikon_user_features;

-- Citus lists in a catalog of its own what it has distributed.
ALTER TABLE plain_features RENAME TO eikon_user_features;
CALL pg_temp.replace_views();
DROP TABLE by_time;
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass);
SELECT pg_temp.run_error('store/nowhere');
INSERT INTO pg_catalog.pg_dist_partition VALUES ('eikon_user_features');
SELECT * FROM pg_temp.refused();
UPDATE pg_catalog.pg_dist_partition SET logicalrelid = 'eikon_compounds';
SELECT * FROM pg_temp.refused();
DROP TABLE pg_catalog.pg_dist_partition;
RESET allow_system_table_mods;

-- Unlogged, or with rules in any isolation level: as right as an ordinary one.
TRUNCATE eikon_user_features;
ALTER TABLE eikon_user_features SET UNLOGGED;
SELECT * FROM pg_temp.steps();
CREATE TABLE log (what text);
CREATE RULE log AS ON UPDATE TO eikon_user_features DO ALSO INSERT INTO log VALUES ('update');
CREATE RULE log_insert AS ON INSERT TO eikon_user_features DO ALSO INSERT INTO log VALUES ('insert');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pg_temp.steps();
COMMIT;
SELECT what, count(*) > 0 AS logged FROM log GROUP BY what ORDER BY what;
DROP RULE log ON eikon_user_features;
DROP RULE log_insert ON eikon_user_features;

ALTER TABLE eikon_user_features SET LOGGED;

-- Whatever objects to a row: the error names the row and what objected, and nothing has changed.
SELECT rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
CREATE TEMP TABLE before AS TABLE eikon_user_features;
CREATE FUNCTION pg_temp.objection(put text, taken text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE put;
    BEGIN
        PERFORM lab.eikon_run_etl(current_setting('test.dir') || '/store/2');
        RETURN NEXT 'no error';
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        RETURN NEXT SQLSTATE || ' ' || SQLERRM;
        RETURN NEXT coalesce((regexp_match(context, 'row of table[^\n]*'))[1], 'no row');
    END;
    EXECUTE taken;
    RETURN NEXT (SELECT count(*) || ' rows differ' FROM (TABLE lab.eikon_user_features EXCEPT TABLE before) AS d);
END $$;
SELECT pg_temp.objection('CREATE TRIGGER refuse BEFORE UPDATE ON eikon_user_features FOR EACH ROW WHEN (new.user_id = 4) EXECUTE FUNCTION refuse()',
    'DROP TRIGGER refuse ON eikon_user_features');
SELECT pg_temp.objection('CREATE TRIGGER refuse AFTER INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION refuse()',
    'DROP TRIGGER refuse ON eikon_user_features');
SELECT pg_temp.objection('ALTER TABLE eikon_user_features ADD CONSTRAINT no_eve CHECK (name <> ''Eve'')',
    'ALTER TABLE eikon_user_features DROP CONSTRAINT no_eve');
SELECT pg_temp.objection('CREATE INDEX divides ON eikon_user_features ((1 / (user_id - 5)))', 'DROP INDEX divides');
SELECT pg_temp.objection('CREATE TABLE visits (user_id bigint REFERENCES eikon_user_features); INSERT INTO visits VALUES (3)', 'DROP TABLE visits');
SELECT pg_temp.objection('CREATE UNIQUE INDEX one_length ON eikon_user_features (length(name)) WHERE user_id > 3', 'DROP INDEX one_length');
SELECT pg_temp.objection('ALTER TABLE eikon_user_features ADD EXCLUDE (length(name) WITH =) WHERE (user_id > 3)',
    'ALTER TABLE eikon_user_features DROP CONSTRAINT eikon_user_features_length_excl');
-- A key that is taken elsewhere, or by a trigger itself, is none that another transaction has taken.
CREATE TABLE seen (user_id bigint PRIMARY KEY);
INSERT INTO seen VALUES (5);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (new.user_id); RETURN new; END $$;
CREATE FUNCTION insert_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        INSERT INTO eikon_user_features VALUES (new.*);
    END IF;
    RETURN new;
END $$;
SELECT pg_temp.objection('CREATE TRIGGER see BEFORE INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION see()',
    'DROP TRIGGER see ON eikon_user_features');
SELECT pg_temp.objection('CREATE TRIGGER first BEFORE INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION insert_first()',
    'DROP TRIGGER first ON eikon_user_features');
-- The key may be one that others have to leave to a sequence.
ALTER TABLE eikon_user_features ALTER user_id ADD GENERATED ALWAYS AS IDENTITY;
SELECT right(source, 1) AS source, dry, done, differing FROM pg_temp.steps();
ALTER TABLE eikon_user_features ALTER user_id DROP IDENTITY;
-- An objection that is about no single row is reported as it is.
CREATE FUNCTION refuse_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no % today', TG_OP; END $$;
SELECT pg_temp.objection('CREATE TRIGGER refuse BEFORE INSERT ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION refuse_statement()',
    'DROP TRIGGER refuse ON eikon_user_features');
SELECT pg_temp.objection('CREATE TRIGGER refuse AFTER UPDATE ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION refuse_statement()',
    'DROP TRIGGER refuse ON eikon_user_features');
CREATE FUNCTION refuse_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (SELECT count(*) FROM changed) > 1 THEN RAISE EXCEPTION 'not so many'; END IF; RETURN NULL; END $$;
SELECT pg_temp.objection('CREATE TRIGGER refuse AFTER UPDATE ON eikon_user_features REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_all()',
    'DROP TRIGGER refuse ON eikon_user_features');

-- What something on the table deletes or inserts besides, or puts elsewhere, is reported.
CREATE FUNCTION pg_temp.warnings(put text, taken text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    counts text;
BEGIN
    PERFORM lab.eikon_run_etl(current_setting('test.dir') || '/store/2');
    INSERT INTO lab.eikon_user_features (user_id, total_experiments) VALUES (99, 0);
    EXECUTE put;
    SELECT concat_ws(' ', rows_inserted, rows_updated, rows_deleted, rows_unchanged) INTO counts
    FROM lab.eikon_run_etl(current_setting('test.dir') || '/store/2');
    EXECUTE taken;
    RETURN counts || ', ' || (SELECT count(*) || ' rows' FROM lab.eikon_user_features);
END $$;
SELECT pg_temp.warnings('SELECT', 'SELECT');
SELECT pg_temp.warnings('ALTER TABLE eikon_user_features ADD leader bigint REFERENCES eikon_user_features ON DELETE CASCADE;
    UPDATE eikon_user_features SET leader = 99 WHERE user_id = 4', 'ALTER TABLE eikon_user_features DROP leader');
CREATE FUNCTION delete_another() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM lab.eikon_user_features WHERE user_id = 1; RETURN NULL; END $$;
SELECT pg_temp.warnings('CREATE TRIGGER another AFTER DELETE ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION delete_another()',
    'DROP TRIGGER another ON eikon_user_features');
CREATE TABLE elsewhere (LIKE eikon_user_features);
SELECT pg_temp.warnings('DELETE FROM eikon_user_features WHERE user_id = 4;
    CREATE RULE elsewhere AS ON INSERT TO eikon_user_features DO INSTEAD INSERT INTO elsewhere VALUES (new.*)', 'DROP RULE elsewhere ON eikon_user_features');
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SELECT pg_temp.warnings('CREATE TRIGGER keep BEFORE DELETE ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION keep()', 'DROP TRIGGER keep ON eikon_user_features');

-- The totals are in one row. Where it is missing, what depends on it is NULL; a second one
-- is an error, not a doubled row. The next run reports it, and puts it right.
SELECT rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
INSERT INTO eikon_totals VALUES (1, 1, 1);
DELETE FROM eikon_totals;
SELECT user_id, total_experiments, avg_experiments, experiments_pct FROM features ORDER BY user_id;
SELECT rows_updated, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
SELECT users, experiments FROM eikon_totals;
DROP INDEX eikon_totals_one_row;
INSERT INTO eikon_totals VALUES (99, 99, 99);
SELECT user_id FROM features WHERE experiments_pct > 0;
SELECT skipped, rows_updated, rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1', skip_unchanged => true);
SELECT users, experiments FROM eikon_totals;
-- With wrong values too, though rows are as they should be. Nothing else is written.
SELECT skipped FROM eikon_run_etl(:'dir' || '/store/1', skip_unchanged => true);
UPDATE eikon_totals SET experiments = 1;
SELECT skipped, rows_updated FROM eikon_run_etl(:'dir' || '/store/1', skip_unchanged => true);
SELECT users, experiments FROM eikon_totals;
-- Rows of a table that inherits from it are not its own.
CREATE TABLE heir () INHERITS (eikon_user_features);
INSERT INTO heir (user_id, total_experiments) VALUES (1, 0);
TRUNCATE ONLY eikon_user_features;
SELECT skipped, rows_inserted FROM eikon_run_etl(:'dir' || '/store/1', skip_unchanged => true);
DROP TABLE heir;
-- What keeps the totals from being written is no other transaction.
CREATE TRIGGER keep BEFORE UPDATE ON eikon_totals FOR EACH ROW EXECUTE FUNCTION keep();
SELECT pg_temp.run_error('store/2');
DROP TRIGGER keep ON eikon_totals;
-- A run that changes nothing leaves the totals' row where it is.
CREATE TEMP TABLE place AS SELECT ctid AS place FROM eikon_totals;
SELECT rows_unchanged FROM eikon_run_etl(:'dir' || '/store/1');
SELECT count(*) AS untouched FROM eikon_totals t JOIN place p ON t.ctid = p.place;
SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl(:'dir' || '/store/2');
SELECT run_id = (SELECT max(run_id) FROM eikon_runs) AS of_this_run FROM eikon_totals;
-- Another table in its place is not that of the views; they do not read partitions of it.
ALTER TABLE eikon_totals RENAME TO old_totals;
CREATE TABLE eikon_totals (LIKE old_totals);
SELECT pg_temp.run_error('store/nowhere');
DROP TABLE eikon_totals;
CREATE TABLE eikon_totals (LIKE old_totals) PARTITION BY RANGE (users);
SELECT * FROM pg_temp.refused();
DROP TABLE eikon_totals;
ALTER TABLE old_totals RENAME TO eikon_totals;

DROP SERVER nowhere CASCADE;
DROP FOREIGN DATA WRAPPER nowhere;
DROP ACCESS METHOD another CASCADE;
DROP EXTENSION eikon_features CASCADE;
SET client_min_messages = error;
DROP SCHEMA lab CASCADE;
