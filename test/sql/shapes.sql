-- Whatever shape the files have, the features are the same, and no option is needed.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

-- One logical data set, in the simplest of shapes: these are its features.
SELECT user_id, name, email, signup_date
FROM eikon_derive_features(:'dir' || '/shapes/plain');
SELECT user_id, total_experiments, avg_experiments, experiments_pct, avg_experiment_run_time AS avg_time,
    total_experiment_run_time AS total_time
FROM eikon_derive_features(:'dir' || '/shapes/plain');
SELECT user_id, most_common_compound_id AS id, most_common_compound_name AS name,
    most_common_compound_structure AS structure, most_common_compound_count AS count, most_common_compound_ids AS ids
FROM eikon_derive_features(:'dir' || '/shapes/plain');

-- A second one has every special character in some value.
SELECT user_id, to_json(name) AS name, most_common_compound_id AS id, to_json(most_common_compound_name) AS compound_name,
    most_common_compound_structure AS structure
FROM eikon_derive_features(:'dir' || '/shapes/rich');

-- Every shape of the first data set gives the same rows.
SELECT shape, what, pg_temp.compare('shapes/' || shape, 'shapes/plain') AS compared
FROM (VALUES
    ('comma_tab', 'comma and tab between fields, an empty first line, no last newline'),
    ('comma_tab_crlf', 'the same with CRLF'),
    ('quoted_crlf', 'texts quoted, CRLF, no last newline'),
    ('quoted_all', 'all fields quoted, CRLF'),
    ('quoted_tab', 'one file with the tab inside its quotes'),
    ('semicolon', 'semicolon; lists with comma'),
    ('semicolon_quoted_list', 'semicolon; lists with quoted semicolons'),
    ('tab', 'tab, in .tsv files'),
    ('pipe', 'bar, in .txt files'),
    ('comma_quoted_list', 'comma; lists with quoted commas'),
    ('list_of_blanks', 'lists with blanks'),
    ('list_of_bars', 'lists with bars'),
    ('single_quotes', 'all fields in single quotes, doubled in a value'),
    ('tab_in_single_quotes', 'single quotes with a tab inside'),
    ('sep_line', 'a first line sep=;'),
    ('cr', 'lines end with CR'),
    ('cr_unended', 'the same without the last one'),
    ('mixed_newlines', 'lines end with LF, CRLF and CR in turn'),
    ('utf8_bom', 'UTF-8 with byte order mark'),
    ('utf8_bom_quoted', 'the same, with quotes'),
    ('utf16le', 'UTF-16, little-endian, tab'),
    ('utf16be', 'UTF-16, big-endian'),
    ('preamble', 'three other lines before the header'),
    ('preamble_with_quotes', 'two others, with stray quotes'),
    ('blank_lines', 'blank lines before and between records'),
    ('rows_of_delimiters', 'rows of nothing but delimiters'),
    ('trailing_delimiters', 'two delimiters too many in each line'),
    ('trailing_delimiter_of_rows', 'one too many, but in the header'),
    ('padded', 'blanks and tabs around fields'),
    ('padded_quotes', 'blanks and tabs around quotes'),
    ('rearranged', 'columns in another order, in capitals, with blanks, and others between')
) AS shapes (shape, what);

-- So does every shape that can hold the second one.
SELECT shape, what, pg_temp.compare('shapes/' || shape, 'shapes/rich') AS compared
FROM (VALUES
    ('rich_quoted_all', 'all fields quoted'),
    ('rich_crlf', 'CRLF between records, LF inside of values'),
    ('rich_backslash', 'backslash before a quote'),
    ('rich_single_quotes', 'single quotes, doubled'),
    ('rich_single_quotes_backslash', 'single quotes, backslash before them'),
    ('rich_semicolon', 'semicolon'),
    ('rich_tab', 'tab'),
    ('rich_pipe', 'bar, UTF-8 with byte order mark'),
    ('rich_utf16', 'UTF-16'),
    ('rich_padded', 'blanks around quotes')
) AS shapes (shape, what);

-- A file that quotes nothing may have quotes in its texts. (One at the beginning of
-- a value is taken for a quote, see the option.)
SELECT shape, pg_temp.compare('shapes/' || shape, 'shapes/stray') AS compared
FROM (VALUES ('stray_unquoted'), ('stray_unquoted_tab')) AS shapes (shape);
SELECT user_id, name, most_common_compound_name AS compound, most_common_compound_structure AS structure
FROM eikon_derive_features(:'dir' || '/shapes/stray_unquoted');

-- Nothing is lost where a file is longer than what is read of it at a time.
SELECT count(*), sum(total_experiments) AS experiments, count(DISTINCT avg_experiments) AS averages
FROM eikon_derive_features(:'dir' || '/shapes/long');
SELECT count(*) AS differing
FROM eikon_derive_features(:'dir' || '/shapes/long') AS f
FULL JOIN generate_series(1, 5000) AS user_id USING (user_id)
LEFT JOIN (SELECT i % 5000 + 1 AS user_id, sum(i / 4.0)::float8 AS time FROM generate_series(1, 15000) AS i GROUP BY 1) AS e USING (user_id)
LEFT JOIN (
    SELECT user_id, array_agg(id ORDER BY id) AS ids
    FROM (SELECT i % 5000 + 1 AS user_id, id, rank() OVER (PARTITION BY i % 5000 ORDER BY count(*) DESC)
          FROM generate_series(1, 15000) AS i, unnest(ARRAY[i % 7 + 1, i % 11 + 1]::bigint[]) AS id GROUP BY i % 5000, id) AS ranked
    WHERE rank = 1 GROUP BY user_id) AS c USING (user_id)
WHERE (f.name, f.email, f.total_experiments, f.total_experiment_run_time, f.most_common_compound_ids)
    IS DISTINCT FROM (format(E'User %s, "the %s"\nof 5000', user_id, user_id), format('user%s@lab.example', user_id), 3, e.time, c.ids);

-- Comparing finds a difference where there is one.
SELECT pg_temp.compare('shapes/rich', 'shapes/plain') AS compared;

-- What was found out about each file can be read in the notes of a run.
CREATE FUNCTION pg_temp.notes(directory text) RETURNS SETOF jsonb LANGUAGE sql AS $$
    SELECT jsonb_array_elements((eikon_run_etl(current_setting('test.dir') || '/shapes/' || directory, dry_run => true)).notes)
$$;
SELECT shape, n->>'file' AS file, n->>'encoding' AS encoding, (n->'delimiter')::text AS delimiter, n->>'quote' AS quote,
    n->>'escape' AS escape, n->>'padding' AS padding, n->>'newline' AS newline, n->>'header_line' AS header_line
FROM (VALUES ('comma_tab'), ('quoted_crlf'), ('quoted_tab'), ('semicolon'), ('tab'), ('pipe'), ('single_quotes'), ('sep_line'),
    ('cr'), ('mixed_newlines'), ('utf8_bom'), ('utf16le'), ('utf16be'), ('preamble'), ('blank_lines'), ('rich_backslash'))
    AS shapes (shape), pg_temp.notes(shape) AS n
WHERE n->>'kind' = 'users' OR shape = 'quoted_tab';

-- Columns that are of no use are named there; nameless ones are not.
SELECT shape, n->>'file' AS file, n->>'ignored_columns' AS ignored_columns
FROM (VALUES ('rearranged'), ('trailing_delimiters')) AS shapes (shape), pg_temp.notes(shape) AS n
WHERE n->>'kind' = 'users';

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
