-- Options: what each is for, and what it refuses.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

\pset null (null)

-- delimiter: any one-byte character; a tab may be written \t.
SELECT user_id, name, total_experiment_run_time AS time FROM eikon_derive_features(:'dir' || '/options/delimiter', delimiter => '~');
SELECT user_id, name, total_experiment_run_time AS time FROM eikon_derive_features(:'dir' || '/options/space', delimiter => ' ');
SELECT count(*) FROM eikon_derive_features(:'dir' || '/shapes/tab', delimiter => '\t');
SELECT count(*) FROM eikon_derive_features(:'dir' || '/shapes/tab', delimiter => E'\t');

-- The wrong one makes one column of all.
SELECT split_part(pg_temp.run_error('small', 'delimiter => '';'''), E'\n', 2) AS wrong_delimiter;

-- quote: another one, or '' for a file that has the usual ones in its texts.
SELECT user_id, name, total_experiment_run_time AS time FROM eikon_derive_features(:'dir' || '/options/quote', quote => '^');
SELECT split_part(pg_temp.run_error('options/stray_quotes'), E'\n', 1) AS by_default;
SELECT user_id, name, email FROM eikon_derive_features(:'dir' || '/options/stray_quotes', quote => '');

-- escape: what makes a quote part of its value; without a quote, a delimiter.
-- Before any other character it means nothing.
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/options/escape', escape => '!');
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/options/backslash_delimiter', quote => '', escape => '\');

-- encoding: PostgreSQL's names, and UTF-16 without a mark.
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/options/latin1', encoding => 'WIN1252');
SELECT user_id, to_json(name) AS name, length(name) FROM eikon_derive_features(:'dir' || '/options/latin1', encoding => 'latin1');
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/options/utf16', encoding => 'UTF-16LE');
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/shapes/utf16be', encoding => 'utf16be') LIMIT 1;

-- A byte order mark counts more: it is the file's own, the option is for all.
SELECT pg_temp.compare('shapes/utf8_bom', 'shapes/plain') AS compared, n->>'encoding' AS encoding
FROM jsonb_array_elements((eikon_run_etl(:'dir' || '/shapes/utf8_bom', encoding => 'LATIN1', dry_run => true)).notes) AS n;

-- null: what stands for NULL, quoted or not. By default that is the empty string; where it is
-- another, the empty string is one, except in columns that cannot hold it.
SELECT user_id, name, email, signup_date, avg_experiment_run_time, most_common_compound_ids
FROM eikon_derive_features(:'dir' || '/options/null', "null" => 'NA');

-- header: false for files without one, whose columns then stand in their
-- documented order; true for the first record, whatever it looks like.
SELECT user_id, name, total_experiment_run_time AS time FROM eikon_derive_features(:'dir' || '/options/header', header => false);
SELECT split_part(pg_temp.run_error('options/header'), E'\n', 1) AS without_option;
SELECT split_part(pg_temp.run_error('shapes/preamble', 'header => true'), E'\n', 2) AS with_preamble;
SELECT count(*) FROM eikon_derive_features(:'dir' || '/shapes/plain', header => true);

-- skip: lines before the header that would be taken for it, or for a quote.
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/options/skip', skip => 2);
SELECT n->>'file' AS file, n->>'header_line' AS header_line
FROM jsonb_array_elements((eikon_run_etl(:'dir' || '/options/skip', skip => 2, dry_run => true)).notes) AS n;
SELECT user_id, name FROM eikon_derive_features(:'dir' || '/small', skip => 1, header => false);

SELECT split_part(pg_temp.run_error('small', 'skip => 100'), E'\n', 1) AS all_skipped;

-- padding: blanks outside of quotes are no part of a value, those inside are,
-- unless the header has them too. In ids, times and dates they never count.
SELECT padding, user_id, to_json(name) AS name, to_json(email) AS email, signup_date
FROM (VALUES (NULL), ('trim'), ('trim_quoted')) AS paddings (padding),
    LATERAL eikon_derive_features(:'dir' || '/options/padding', padding => padding);
SELECT padding, user_id, to_json(name) AS name, to_json(email) AS email, signup_date
FROM (VALUES ('trim'), ('keep')) AS paddings (padding),
    LATERAL eikon_derive_features(:'dir' || '/options/keep', padding => padding);

-- newline: all three forms by default; one of them makes the others data.
SELECT newline, to_json(name) AS name
FROM (VALUES ('lf'), ('crlf')) AS newlines (newline),
    LATERAL eikon_derive_features(:'dir' || '/options/newline', newline => newline);
SELECT split_part(pg_temp.run_error('options/newline'), E'\n', 1) AS by_default;
SELECT newline, user_id, name
FROM (VALUES ('cr'), ('any')) AS newlines (newline),
    LATERAL eikon_derive_features(:'dir' || '/options/newline_cr', newline => newline);
SELECT count(*) FROM eikon_derive_features(:'dir' || '/shapes/quoted_crlf', newline => 'crlf');

-- NULL is as good as not given, for every option.
SELECT options FROM eikon_run_etl(:'dir' || '/small', on_error => NULL, reject_limit => NULL, delimiter => NULL, quote => NULL,
    escape => NULL, encoding => NULL, "null" => NULL, header => NULL, skip => NULL, padding => NULL, newline => NULL, dry_run => NULL);

-- What is refused, and before any file is looked at.
\pset format unaligned
\pset tuples_only on
SELECT '-- ' || options || E'\n' || pg_temp.run_error('nowhere', options)
FROM (VALUES
    ($$on_error => 'continue'$$),
    ($$on_error => 'STOP'$$),
    ($$reject_limit => 5$$),
    ($$on_error => 'ignore', reject_limit => 0$$),
    ($$on_error => 'ignore', reject_limit => -1$$),
    ($$delimiter => ''$$),
    ($$delimiter => ',,'$$),
    ($$delimiter => 'é'$$),
    ($$delimiter => E'\n'$$),
    ($$delimiter => E'\r'$$),
    ($$delimiter => '"', quote => '"'$$),
    ($$delimiter => '\', escape => '\'$$),
    ($$delimiter => ',', "null" => 'a,b'$$),
    ($$quote => '""'$$),
    ($$quote => E'\n'$$),
    ($$escape => ''$$),
    ($$escape => 'ab'$$),
    ($$encoding => 'UTF-7'$$),
    ($$encoding => 'SQL_ASCII'$$),
    ($$encoding => ''$$),
    ($$"null" => E'a\nb'$$),
    ($$skip => -1$$),
    ($$padding => 'both'$$),
    ($$newline => 'unix'$$)
) AS cases (options);

-- The other two functions refuse them alike.
SELECT pg_temp.error_of($$SELECT eikon_derive_features('/', on_error => 'continue')$$);
SELECT pg_temp.error_of($$SELECT eikon_read_csv('/x', delimiter => '')$$);

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
