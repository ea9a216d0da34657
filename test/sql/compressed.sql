-- Compressed files: .gz and .zst, whole or damaged.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- Compressed or not, the features are the same.
SELECT directory, what, pg_temp.compare('compressed/' || directory, 'shapes/plain') AS compared
FROM (VALUES
    ('gz', 'gzip'),
    ('zst', 'Zstandard'),
    ('gz_members', 'gzip in many members, the last of nothing'),
    ('gz_padded', 'gzip and zeros after it, as on tapes'),
    ('zst_frames', 'many frames, and some to be skipped'),
    ('utf16_gz', 'UTF-16 inside gzip'),
    ('misnamed', 'gzip under the name .csv'),
    ('plain_named_gz', 'plain text under the name .csv.gz')
) AS directories (directory, what);

-- The notes of a run say how each file is compressed and how long it is on disk.
SELECT directory, n->>'file' AS file, n->>'compression' AS compression,
    (n->>'bytes')::bigint = size AS size_on_disk, n->>'records' AS records
FROM (VALUES ('gz'), ('zst'), ('misnamed'), ('plain_named_gz')) AS directories (directory),
    jsonb_array_elements((eikon_run_etl(:'dir' || '/compressed/' || directory, dry_run => true)).notes) AS n,
    pg_stat_file(:'dir' || '/compressed/' || directory || '/' || (n->>'file'))
WHERE n->>'kind' = 'users';

-- A damaged file ends the run, even one of which only the check sum is missing,
-- and on_error does not help: what came out of it cannot be trusted. Words of
-- the library are left out here, they differ by version.
\pset format unaligned
\pset tuples_only on
SELECT '-- ' || what || E'\n' || regexp_replace(pg_temp.run_error('compressed/' || directory, options), 'file "([^"]*)": [^\n]*', 'file "\1": ...')
FROM (VALUES
    ('gz_cut', 'gzip, cut off', NULL),
    ('gz_without_sum', 'gzip, only the check sum cut off', NULL),
    ('gz_wrong_sum', 'gzip, wrong check sum', NULL),
    ('gz_wrong_sum', 'the same with on_error => ignore', $$on_error => 'ignore'$$),
    ('gz_then_garbage', 'gzip, something else after it', NULL),
    ('gz_second_cut', 'gzip, second member cut off', NULL),
    ('zst_cut', 'Zstandard, cut off', NULL),
    ('zst_corrupt', 'Zstandard, impossible block', NULL),
    ('gz_of_nothing', 'gzip of an empty file', NULL)
) AS directories (directory, what, options);

-- A file that expands to more than is allowed is not read on. (The line depends
-- on how much is read at a time.)
SET eikon_features.max_decompressed_size = 1;
SELECT regexp_replace(pg_temp.run_error('compressed/bomb', $$on_error => 'ignore'$$), 'line \d+', 'line ...');
RESET eikon_features.max_decompressed_size;
\pset format aligned
\pset tuples_only off

-- None of them wrote anything.
SELECT count(*) FROM features;
SELECT count(*) FROM eikon_runs;

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
