-- The settings eikon_features.*.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

LOAD 'eikon_features';

-- These are they, with who may set them and the values they start with.
SELECT name, setting, unit, vartype, context, min_val, max_val, short_desc <> '' AS described
FROM pg_settings WHERE name LIKE 'eikon_features.%' ORDER BY name COLLATE "C";
SHOW eikon_features.data_directory;
SHOW eikon_features.max_line_size;
SHOW eikon_features.max_decompressed_size;

-- A name that is none of them is refused, and so are values out of range.
\set VERBOSITY terse
SET eikon_features.foo = 1;
SELECT value, left(pg_temp.error_of('SET eikon_features.' || value), 11) AS set
FROM (VALUES ('max_line_size = 0'), ('max_line_size = ''129MB'''), ('max_line_size = ''long'''), ('max_line_size = ''128MB'''),
    ('max_decompressed_size = -1')) AS settings (value);
RESET eikon_features.max_line_size;
SET eikon_features.data_directory = '/tmp';
\set VERBOSITY default

-- max_line_size: longer records are rejected; what it is when the run begins counts.
SELECT users_loaded, users_rejected FROM eikon_run_etl(:'dir' || '/rejects/line_size', on_error => 'ignore');
SET eikon_features.max_line_size = '1kB';
SELECT users_loaded, users_rejected FROM eikon_run_etl(:'dir' || '/rejects/line_size', on_error => 'ignore');
SELECT error_type, octet_length(raw) AS bytes, raw_truncated FROM eikon_rejects WHERE kind = 'users';
SET eikon_features.max_line_size = '128MB';
SELECT users_loaded, users_rejected FROM eikon_run_etl(:'dir' || '/rejects/line_size', on_error => 'ignore');
RESET eikon_features.max_line_size;

-- max_decompressed_size: in megabytes; 0 means no limit.
SELECT max, split_part(pg_temp.error_of(format('SET eikon_features.max_decompressed_size = %L; SELECT * FROM lab.eikon_read_csv(%L) LIMIT 1', max,
    :'dir' || '/compressed/bomb/users.csv.gz')), E'\n', 1) AS read
FROM (VALUES ('1MB'), ('2MB'), ('0')) AS limits (max);
RESET eikon_features.max_decompressed_size;

-- Anybody may set max_line_size, not the limit that protects the server.
CREATE ROLE regress_eikon_nobody;
SET ROLE regress_eikon_nobody;
SET eikon_features.max_line_size = '4MB';
SET eikon_features.max_decompressed_size = 0;
RESET ROLE;
DROP ROLE regress_eikon_nobody;

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
