-- How a run reads and writes the table eikon_user_features: directly, or by SQL statements where
-- users have put something on the table that asks for them. The outcome is the same.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- The sources are too large to be kept as files: 2500 users with even ids. There
-- are short, long and very long values, unknown ones, and lists of ids of any
-- length. Each has 3000 experiments and 2500 users; "more" has one experiment more.
SELECT set_config('test.sources', current_setting('data_directory') || '/eikon_direct/', false) AS unused \gset
CREATE FUNCTION pg_temp.source(name text) RETURNS text LANGUAGE sql
RETURN current_setting('test.sources') || name;
CREATE FUNCTION pg_temp.long_text(seed bigint, length int) RETURNS text LANGUAGE sql
RETURN (SELECT left(string_agg(md5(seed || '.' || i), ''), length) FROM generate_series(0, length / 32) AS i);
CREATE PROCEDURE pg_temp.write_source(name text, users text, extra_experiments int DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', format('mkdir -p "%s"', pg_temp.source(name)));
    EXECUTE format('COPY (%s) TO %L (FORMAT csv, HEADER)', users, pg_temp.source(name) || '/users.csv');
    EXECUTE format($sql$COPY (
        SELECT i AS compound_id, CASE WHEN i %% 10 <> 3 THEN 'Compound ' || i END AS compound_name,
            CASE WHEN i %% 7 <> 5 THEN repeat('C', i) END AS compound_structure
        FROM generate_series(1, 150) AS i) TO %L (FORMAT csv, HEADER)$sql$, pg_temp.source(name) || '/compounds.csv');
    -- each 4th user has none; user 2000 lists 150 compounds, user 2004 so many that they are stored elsewhere
    EXECUTE format($sql$COPY (
        SELECT i AS experiment_id, 8 * (1 + i %% 500) + 2 * (i %% 3) AS user_id,
            CASE 8 * (1 + i %% 500) + 2 * (i %% 3)
                WHEN 2000 THEN (SELECT string_agg(c::text, ';') FROM generate_series(1, 150) AS c)
                WHEN 2004 THEN (SELECT string_agg((c * 7919 + 1000000000)::text, ';') FROM generate_series(1, 3000) AS c)
                ELSE (SELECT string_agg(c::text, ';') FROM generate_series(1, i %% 15) AS c) END AS experiment_compound_ids,
            CASE WHEN i %% 5 <> 0 THEN i / 8.0 END AS experiment_run_time
        FROM generate_series(1, 3000 + %s) AS i) TO %L (FORMAT csv, HEADER)$sql$,
        extra_experiments, pg_temp.source(name) || '/user_experiments.csv');
END $$;
CREATE TEMP VIEW people AS
SELECT 2 * i::bigint AS user_id,
    CASE i WHEN 50 THEN pg_temp.long_text(i, 20000) WHEN 51 THEN repeat('again and ', 2000) WHEN 52 THEN pg_temp.long_text(i, 1500)
        ELSE CASE WHEN i % 7 <> 0 THEN repeat('n', i % 140) || i END END AS name,
    CASE WHEN i % 11 <> 0 THEN 'user' || i || '@example.org' END AS email,
    CASE WHEN i % 13 <> 0 THEN date '2020-01-01' + i END AS signup_date
FROM generate_series(1, 2500) AS i;
CALL pg_temp.write_source('first', 'TABLE people');
CALL pg_temp.write_source('more', 'TABLE people', 1);
-- each 20th has another name, 125 of those without experiments are gone, as many are new, between them and after them
CALL pg_temp.write_source('second', $$
    SELECT user_id, CASE WHEN user_id % 40 = 6 THEN 'now another' ELSE name END AS name, email, signup_date FROM people WHERE user_id <= 4060 OR user_id > 4310
    UNION ALL SELECT 4001 + 2 * i, 'new ' || i, NULL, NULL FROM generate_series(0, 99) AS i
    UNION ALL SELECT 9001 + i, pg_temp.long_text(i, 300 * i), 'new' || i || '@example.org', NULL FROM generate_series(0, 24) AS i$$);
-- only a few are left, and none of the others' values has changed
CALL pg_temp.write_source('few', 'SELECT * FROM people WHERE user_id BETWEEN 90 AND 110', -3000);
CALL pg_temp.write_source('nobody', 'SELECT * FROM people WHERE false', -3000);

-- Runs, and tells how: SQL must use sequential scans here, and the direct way reads by
-- an index. Rows that are inserted by SQL are those of a subtransaction. stats: whether
-- the statistics have what was written. differing: rows of the table that are not those of the derivation, to the byte.
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
CREATE FUNCTION pg_temp.run(source text, OUT way text, OUT inserted bigint, OUT updated bigint, OUT deleted bigint, OUT unchanged bigint,
    OUT stats text, OUT differing bigint) LANGUAGE plpgsql AS $$
DECLARE
    before record;
    after record;
    command bigint := coalesce((SELECT max(cmin::text::bigint) FROM lab.eikon_user_features WHERE xmin = pg_current_xact_id()::xid), -1);
BEGIN
    SELECT * INTO before FROM pg_stat_xact_user_tables WHERE relid = 'lab.eikon_user_features'::regclass;
    SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged INTO inserted, updated, deleted, unchanged
    FROM lab.eikon_run_etl(pg_temp.source(source));
    SELECT * INTO after FROM pg_stat_xact_user_tables WHERE relid = 'lab.eikon_user_features'::regclass;
    way := CASE WHEN after.idx_scan > coalesce(before.idx_scan, 0) THEN 'direct' ELSE 'SQL' END
        || CASE WHEN inserted > 0 AND NOT EXISTS (SELECT FROM lab.eikon_user_features
            WHERE xmin = pg_current_xact_id()::xid AND cmin::text::bigint > command) THEN ', inserts by SQL' ELSE '' END;
    stats := CASE WHEN (after.n_tup_ins - coalesce(before.n_tup_ins, 0), after.n_tup_upd - coalesce(before.n_tup_upd, 0),
        after.n_tup_del - coalesce(before.n_tup_del, 0)) = (inserted, updated, deleted) THEN 'right' ELSE 'wrong' END;
    WITH stored AS (
        SELECT user_id, record_send(ROW(user_id, name, email, signup_date, total_experiments, avg_experiment_run_time,
            total_experiment_run_time, most_common_compound_id, most_common_compound_name, most_common_compound_structure,
            most_common_compound_count, most_common_compound_ids)) AS image
        FROM ONLY lab.eikon_user_features),
    derived AS (
        SELECT user_id, record_send(ROW(user_id, name, email, signup_date, total_experiments, avg_experiment_run_time,
            total_experiment_run_time, most_common_compound_id, most_common_compound_name, most_common_compound_structure,
            most_common_compound_count, most_common_compound_ids)) AS image
        FROM lab.eikon_derive_features(pg_temp.source(source)))
    SELECT count(*) INTO differing FROM stored FULL JOIN derived USING (user_id) WHERE stored.image IS DISTINCT FROM derived.image;
END $$;

-- Every kind of change, in either way: first load, nothing, some rows, back, one
-- row, back, most gone, all gone, first load into a table that once had rows.
CREATE TEMP TABLE steps (n int, source text);
INSERT INTO steps VALUES (1, 'first'), (2, 'first'), (3, 'second'), (4, 'second'), (5, 'first'), (6, 'more'), (7, 'first'), (8, 'few'), (9, 'nobody'), (10, 'first');
SELECT source, r.* FROM steps, pg_temp.run(source) AS r ORDER BY n;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
TRUNCATE eikon_user_features;
CREATE TRIGGER nothing AFTER INSERT ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION nothing();
SELECT source, r.* FROM steps, pg_temp.run(source) AS r ORDER BY n;
DROP TRIGGER nothing ON eikon_user_features;

-- What one way wrote, the other one finds unchanged.
SELECT * FROM pg_temp.run('first');
SELECT * FROM pg_temp.run('second');
CREATE TRIGGER nothing AFTER INSERT ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION nothing();
SELECT * FROM pg_temp.run('second');
DROP TRIGGER nothing ON eikon_user_features;

-- Rows that did not change stay where they are, also those with long values.
CREATE TEMP TABLE before AS SELECT user_id, xmin::text AS writer, ctid AS place FROM eikon_user_features;
SELECT * FROM pg_temp.run('first');
SELECT count(*) FILTER (WHERE b.place = f.ctid AND b.writer = f.xmin::text) AS untouched,
    count(*) FILTER (WHERE b.place = f.ctid AND b.writer = f.xmin::text AND octet_length(name) >= 20000) AS long
FROM eikon_user_features f JOIN before b USING (user_id);
DROP TABLE before;

-- A dry run counts the same and writes nothing.
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(pg_temp.source('second'), dry_run => true);
SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl(pg_temp.source('first'), dry_run => true);

-- The physical order of the rows does not matter.
CREATE TEMP TABLE shuffled AS SELECT * FROM eikon_user_features ORDER BY md5(user_id::text);
TRUNCATE eikon_user_features;
INSERT INTO eikon_user_features TABLE shuffled;
SELECT source, r.* FROM (VALUES (1, 'first'), (2, 'second'), (3, 'first')) AS s (n, source), pg_temp.run(source) AS r ORDER BY n;
DROP TABLE shuffled;

-- Values that are stored in other ways than a run would: compressed beforehand,
-- elsewhere though short, here though long.
ALTER TABLE eikon_user_features ALTER name SET STORAGE EXTERNAL;
UPDATE eikon_user_features SET name = name || '' WHERE user_id BETWEEN 90 AND 110;
ALTER TABLE eikon_user_features ALTER name SET STORAGE MAIN;
UPDATE eikon_user_features SET email = email || '' WHERE user_id BETWEEN 90 AND 110;
SELECT * FROM pg_temp.run('first');
SELECT * FROM pg_temp.run('more');
ALTER TABLE eikon_user_features ALTER name SET STORAGE EXTENDED;
SELECT * FROM pg_temp.run('first');

-- A row that another hand changed is put right, by a byte or by a NULL.
UPDATE eikon_user_features SET name = name || ' ' WHERE user_id IN (2, 100, 104);
UPDATE eikon_user_features SET name = '' WHERE user_id = 14;
UPDATE eikon_user_features SET email = NULL, most_common_compound_ids = '{}' WHERE user_id = 16;
UPDATE eikon_user_features SET total_experiment_run_time = -0.0, avg_experiment_run_time = 'NaN' WHERE user_id = 18;
DELETE FROM eikon_user_features WHERE user_id IN (4, 5000);
INSERT INTO eikon_user_features (user_id, total_experiments) VALUES (-1, 0), (7, 0), (9223372036854775807, 0), (-9223372036854775808, 0);
SELECT * FROM pg_temp.run('first');

-- Runs in one transaction see what they wrote; a rollback takes it back.
BEGIN;
SELECT * FROM pg_temp.run('second');
SELECT * FROM pg_temp.run('second');
SAVEPOINT s;
SELECT * FROM pg_temp.run('more');
ROLLBACK TO SAVEPOINT s;
SELECT * FROM pg_temp.run('second');
ROLLBACK;
SELECT * FROM pg_temp.run('first');

-- A cursor keeps the rows that there were when it was opened.
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT count(*), count(*) FILTER (WHERE name = 'now another') AS renamed FROM eikon_user_features;
SELECT * FROM pg_temp.run('second');
FETCH c;
SELECT count(*), count(*) FILTER (WHERE name = 'now another') AS renamed FROM eikon_user_features;
ROLLBACK;

-- Indexes of any kind are kept, whatever they are on. Each is asked for all rows.
CREATE INDEX by_email ON eikon_user_features (email) INCLUDE (signup_date);
CREATE INDEX by_lower_name ON eikon_user_features (lower(left(name, 100)));
CREATE INDEX few_experiments ON eikon_user_features (user_id DESC) WHERE total_experiments < 2;
CREATE INDEX by_date ON eikon_user_features USING brin (signup_date);
CREATE INDEX by_total ON eikon_user_features USING hash (total_experiments);
CREATE INDEX by_compound ON eikon_user_features USING gin (most_common_compound_ids);
CREATE FUNCTION pg_temp.by_indexes(OUT by_email bigint, OUT by_lower_name bigint, OUT few_experiments bigint, OUT by_date bigint, OUT by_total bigint,
    OUT by_compound bigint) LANGUAGE plpgsql SET enable_seqscan = off SET enable_indexscan = on SET enable_bitmapscan = on AS $$
BEGIN
    SELECT count(*) INTO by_email FROM lab.eikon_user_features WHERE email >= '';
    SELECT count(*) INTO by_lower_name FROM lab.eikon_user_features WHERE lower(left(name, 100)) >= '';
    SELECT count(*) INTO few_experiments FROM lab.eikon_user_features WHERE total_experiments < 2;
    SELECT count(*) INTO by_date FROM lab.eikon_user_features WHERE signup_date >= '2020-01-01';
    SELECT sum(n) INTO by_total FROM (SELECT DISTINCT total_experiments AS total FROM lab.eikon_user_features) AS p,
        LATERAL (SELECT count(*) AS n FROM lab.eikon_user_features WHERE total_experiments = p.total OFFSET 0) AS f;
    SELECT count(*) INTO by_compound FROM lab.eikon_user_features WHERE most_common_compound_ids @> '{1}';
END $$;
CREATE FUNCTION pg_temp.without_indexes(OUT by_email bigint, OUT by_lower_name bigint, OUT few_experiments bigint, OUT by_date bigint, OUT by_total bigint,
    OUT by_compound bigint) LANGUAGE sql
RETURN (SELECT (count(email), count(lower(name)), count(*) FILTER (WHERE total_experiments < 2), count(signup_date), count(*),
    count(*) FILTER (WHERE most_common_compound_ids @> '{1}')) FROM lab.eikon_user_features);
SELECT * FROM pg_temp.by_indexes();
SELECT source, r.*, pg_temp.by_indexes() = pg_temp.without_indexes() AS indexes
FROM (VALUES (1, 'first'), (2, 'second'), (3, 'more'), (4, 'few'), (5, 'first')) AS s (n, source), pg_temp.run(source) AS r ORDER BY n;
TRUNCATE eikon_user_features;
SELECT r.*, pg_temp.by_indexes() = pg_temp.without_indexes() AS indexes FROM pg_temp.run('first') AS r;
SELECT * FROM pg_temp.by_indexes();

-- A value that must be unique may go from a user who is gone, or who has another
-- now, to one before, as with statements; the way back, to one after, is a violation.
-- That is the usual error, in a first load and later.
CREATE UNIQUE INDEX one_email ON eikon_user_features (lower(email));
CREATE UNIQUE INDEX one_name ON eikon_user_features (name) WHERE user_id < 100 AND name <> 'now another';
SELECT * FROM pg_temp.run('second');
SELECT * FROM pg_temp.run('first');
CALL pg_temp.write_source('passed_on', $$
    SELECT CASE WHEN user_id = 4996 THEN 1 ELSE user_id END AS user_id, name,
        'user' || CASE user_id WHEN 4992 THEN 2500 WHEN 4994 THEN 2496 WHEN 4996 THEN 2498 ELSE user_id / 2 END || '@example.org' AS email, signup_date
    FROM people WHERE user_id <> 5000$$);
SELECT * FROM pg_temp.run('passed_on');
SELECT user_id, email FROM eikon_user_features WHERE user_id = 1 OR user_id > 4990 ORDER BY user_id;
SELECT pg_temp.error_of($$SELECT eikon_run_etl(pg_temp.source('first'))$$);
UPDATE eikon_user_features SET email = NULL WHERE user_id > 4990;
SELECT * FROM pg_temp.run('first');
CALL pg_temp.write_source('twice', $$SELECT user_id, name, CASE user_id WHEN 4998 THEN 'User1@example.org' ELSE email END AS email, signup_date FROM people$$);
SELECT pg_temp.error_of($$SELECT eikon_run_etl(pg_temp.source('twice'))$$);
SELECT * FROM pg_temp.run('first');
TRUNCATE eikon_user_features;
SELECT pg_temp.error_of($$SELECT eikon_run_etl(pg_temp.source('twice'))$$);
SELECT count(*) FROM eikon_user_features;
SELECT * FROM pg_temp.run('first');
DROP INDEX by_email, by_lower_name, few_experiments, by_date, by_total, by_compound, one_email, one_name;

-- An index that only looks like the primary key is none: the run finds another way.
ALTER TABLE eikon_user_features DROP CONSTRAINT eikon_user_features_pkey;
SELECT * FROM pg_temp.run('second');
CREATE UNIQUE INDEX descending ON eikon_user_features (user_id DESC);
SELECT * FROM pg_temp.run('first');
CREATE UNIQUE INDEX part ON eikon_user_features (user_id) WHERE user_id > 100;
SELECT * FROM pg_temp.run('second');
CREATE INDEX not_unique ON eikon_user_features (user_id);
SELECT * FROM pg_temp.run('first');
CREATE UNIQUE INDEX included ON eikon_user_features (user_id) INCLUDE (email);
SELECT * FROM pg_temp.run('second');
DROP INDEX descending, part, not_unique;
ALTER TABLE eikon_user_features ADD CONSTRAINT eikon_user_features_pkey PRIMARY KEY USING INDEX included;
SELECT * FROM pg_temp.run('first');
ALTER TABLE eikon_user_features DROP CONSTRAINT eikon_user_features_pkey, ADD CONSTRAINT eikon_user_features_pkey PRIMARY KEY (user_id, total_experiments);
SELECT * FROM pg_temp.run('second');
ALTER TABLE eikon_user_features DROP CONSTRAINT eikon_user_features_pkey, ADD CONSTRAINT eikon_user_features_pkey PRIMARY KEY (user_id) DEFERRABLE;
SELECT * FROM pg_temp.run('first');
ALTER TABLE eikon_user_features DROP CONSTRAINT eikon_user_features_pkey, ADD CONSTRAINT eikon_user_features_pkey PRIMARY KEY (user_id);

-- It may be unlogged, and be filled to any degree.
ALTER TABLE eikon_user_features SET UNLOGGED, SET (fillfactor = 50);
TRUNCATE eikon_user_features;
SELECT source, r.* FROM (VALUES (1, 'first'), (2, 'second'), (3, 'more')) AS s (n, source), pg_temp.run(source) AS r ORDER BY n;
ALTER TABLE eikon_user_features SET LOGGED, RESET (fillfactor);

-- Whatever has a say in what statements do to the table brings them back. Each is
-- put on the table, two runs are done, and it is taken off again. Tables that inherit
-- have none, since the statements are about ONLY this one.
CREATE ROLE regress_eikon_writer IN ROLE pg_read_server_files;
GRANT USAGE ON SCHEMA lab TO regress_eikon_writer;
GRANT ALL ON ALL TABLES IN SCHEMA lab TO regress_eikon_writer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA lab TO regress_eikon_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA lab TO regress_eikon_writer;
CREATE TABLE visits (user_id bigint);
CREATE TABLE heir_of (LIKE eikon_user_features);
CREATE TEMP TABLE obstacles (n int GENERATED ALWAYS AS IDENTITY, what text, put text, taken text);
INSERT INTO obstacles (what, put, taken) VALUES
    ('nothing', 'SELECT', 'SELECT'),
    ('row trigger', 'CREATE TRIGGER t AFTER UPDATE ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION nothing()', 'DROP TRIGGER t ON eikon_user_features'),
    ('rule', 'CREATE RULE r AS ON UPDATE TO eikon_user_features WHERE false DO ALSO NOTHING', 'DROP RULE r ON eikon_user_features'),
    ('CHECK', 'ALTER TABLE eikon_user_features ADD CONSTRAINT c CHECK (total_experiments >= 0)', 'ALTER TABLE eikon_user_features DROP CONSTRAINT c'),
    ('exclusion', 'ALTER TABLE eikon_user_features ADD CONSTRAINT e EXCLUDE (user_id WITH =)', 'ALTER TABLE eikon_user_features DROP CONSTRAINT e'),
    ('deferrable', 'ALTER TABLE eikon_user_features ADD CONSTRAINT d UNIQUE (user_id, email) DEFERRABLE', 'ALTER TABLE eikon_user_features DROP CONSTRAINT d'),
    ('referenced', 'ALTER TABLE visits ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES eikon_user_features', 'ALTER TABLE visits DROP CONSTRAINT f'),
    ('referencing', 'ALTER TABLE eikon_user_features ADD CONSTRAINT f FOREIGN KEY (most_common_compound_id) REFERENCES eikon_compounds NOT VALID',
        'ALTER TABLE eikon_user_features DROP CONSTRAINT f'),
    ('nothing any more', 'SELECT', 'SELECT'),
    ('generated column', 'ALTER TABLE eikon_user_features ADD g bigint GENERATED ALWAYS AS (user_id + 1) STORED', 'SELECT'),
    ('dropped column', 'ALTER TABLE eikon_user_features DROP g', 'SELECT'),
    ('dropped column, first load', 'TRUNCATE eikon_user_features', 'SELECT'),
    ('operators of others', 'CREATE INDEX o ON eikon_user_features (total_experiments counting_ops)', 'DROP INDEX o'),
    ('operators of others, first load', 'TRUNCATE eikon_user_features; CREATE INDEX o ON eikon_user_features (total_experiments counting_ops)', 'DROP INDEX o');
-- Such operators may do what is not allowed while workers are at work.
CREATE SEQUENCE compared;
CREATE FUNCTION compare_and_count(bigint, bigint) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM nextval(''lab.compared''); RETURN btint8cmp($1, $2); END';
CREATE OPERATOR CLASS counting_ops FOR TYPE bigint USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare_and_count(bigint, bigint);
CREATE FUNCTION pg_temp.with_obstacle(put text, taken text, OUT first text, OUT second text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE put;
    SELECT concat_ws(' ', way, inserted, updated, deleted, unchanged, stats, differing) INTO first FROM pg_temp.run('first');
    SELECT concat_ws(' ', way, inserted, updated, deleted, unchanged, stats, differing) INTO second FROM pg_temp.run('second');
    EXECUTE taken;
END $$;
SELECT * FROM pg_temp.run('second');
SELECT what, o.* FROM obstacles, pg_temp.with_obstacle(put, taken) AS o ORDER BY n;

-- The table anew, since a dropped column leaves a trace.
DROP EXTENSION eikon_features CASCADE;
CREATE EXTENSION eikon_features SCHEMA lab;
GRANT ALL ON ALL TABLES IN SCHEMA lab TO regress_eikon_writer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA lab TO regress_eikon_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA lab TO regress_eikon_writer;
TRUNCATE obstacles;
INSERT INTO obstacles (what, put, taken) VALUES
    ('nothing', 'SELECT', 'SELECT'),
    ('plain storage', 'ALTER TABLE eikon_user_features ALTER email SET STORAGE PLAIN', 'ALTER TABLE eikon_user_features ALTER email SET STORAGE EXTENDED'),
    ('identity', 'ALTER TABLE eikon_user_features ALTER user_id ADD GENERATED BY DEFAULT AS IDENTITY', 'ALTER TABLE eikon_user_features ALTER user_id DROP IDENTITY'),
    ('heir', 'ALTER TABLE heir_of INHERIT eikon_user_features', 'ALTER TABLE heir_of NO INHERIT eikon_user_features'),
    ('role with rights', 'SET ROLE regress_eikon_writer', 'RESET ROLE'),
    ('role with rights in columns', 'REVOKE ALL ON eikon_user_features FROM regress_eikon_writer; GRANT SELECT, DELETE ON eikon_user_features TO regress_eikon_writer;
        GRANT UPDATE (name, email, signup_date, total_experiments, avg_experiment_run_time, total_experiment_run_time,
            most_common_compound_id, most_common_compound_name, most_common_compound_structure, most_common_compound_count, most_common_compound_ids),
        INSERT (user_id, name, email, signup_date, total_experiments, avg_experiment_run_time, total_experiment_run_time,
            most_common_compound_id, most_common_compound_name, most_common_compound_structure, most_common_compound_count, most_common_compound_ids)
        ON eikon_user_features TO regress_eikon_writer; SET ROLE regress_eikon_writer', 'RESET ROLE; GRANT ALL ON eikon_user_features TO regress_eikon_writer'),
    ('row security', 'ALTER TABLE eikon_user_features ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON eikon_user_features USING (true); SET ROLE regress_eikon_writer', 'RESET ROLE'),
    ('row security of others', 'SELECT', 'DROP POLICY p ON eikon_user_features; ALTER TABLE eikon_user_features DISABLE ROW LEVEL SECURITY'),
    ('column of a user', 'ALTER TABLE eikon_user_features ADD note text DEFAULT ''new''', 'SELECT');
SELECT what, o.* FROM obstacles, pg_temp.with_obstacle(put, taken) AS o ORDER BY n;

-- A transaction with one snapshot does not, and a constraint that a row breaks is named.
DROP EXTENSION eikon_features CASCADE;
CREATE EXTENSION eikon_features SCHEMA lab;
SELECT * FROM pg_temp.run('first');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pg_temp.run('second');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM pg_temp.run('first');
COMMIT;
DELETE FROM eikon_user_features WHERE email IS NULL;
ALTER TABLE eikon_user_features ALTER email SET NOT NULL;
SELECT regexp_replace(pg_temp.error_of($$SELECT eikon_run_etl(pg_temp.source('first'))$$), E'\n.*', '') AS error;

-- One may ask why a run takes statements.
DO $$ BEGIN PERFORM eikon_run_etl(pg_temp.source('nobody')); END $$;
SET client_min_messages = debug1;
DO $$ BEGIN PERFORM eikon_run_etl(pg_temp.source('nobody')); END $$;
SET client_min_messages = warning;

DO $$ BEGIN EXECUTE format('COPY (SELECT WHERE false) TO PROGRAM %L', format('rm -r "%s"', pg_temp.source(''))); END $$;
DROP OWNED BY regress_eikon_writer;
DROP ROLE regress_eikon_writer;
DROP EXTENSION eikon_features;
SET client_min_messages = error;
DROP SCHEMA lab CASCADE;
