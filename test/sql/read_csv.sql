-- eikon_read_csv: what the reader makes of any delimited file.
\getenv abs_srcdir PG_ABS_SRCDIR
\set dir :abs_srcdir /data
\i :dir/setup.sql

\pset null (null)

-- A file of ours is read under the dialect that a run would find, header and all.
-- Blank lines are passed over, so numbers are those of the file's lines.
SELECT * FROM eikon_read_csv(:'dir' || '/shapes/comma_tab/users.csv') LIMIT 3;
SELECT * FROM eikon_read_csv(:'dir' || '/shapes/quoted_tab/user_experiments.csv') LIMIT 2;
SELECT * FROM eikon_read_csv(:'dir' || '/shapes/preamble/compounds.csv');
SELECT * FROM eikon_read_csv(:'dir' || '/shapes/utf16le/users.txt') LIMIT 2;
SELECT * FROM eikon_read_csv(:'dir' || '/shapes/sep_line/compounds.csv');

-- So is one that lacks a column: this is how to find out why a run refuses it.
SELECT * FROM eikon_read_csv(:'dir' || '/files/missing_column/users.csv');
SELECT * FROM eikon_read_csv(:'dir' || '/options/header/users.csv');

-- header => true passes over the header, of a foreign file the first record.
SELECT * FROM eikon_read_csv(:'dir' || '/shapes/comma_tab/compounds.csv', header => true);
SELECT * FROM eikon_read_csv(:'dir' || '/csv/ragged.csv', header => true) LIMIT 2;
SELECT * FROM eikon_read_csv(:'dir' || '/files/header_unended/users.csv', header => true);
SELECT * FROM eikon_read_csv(:'dir' || '/options/header/users.csv', header => false);

-- Of a foreign file the delimiter is the one that gives most records the same
-- number of fields.
SELECT line, to_json(fields) AS fields, error_type FROM eikon_read_csv(:'dir' || '/csv/foreign.csv');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/one_column.txt');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/compressed.csv.gz');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/empty.csv');

-- Records may have any number of fields; those that are empty throughout are
-- passed over like blank lines.
SELECT line, fields, cardinality(fields) FROM eikon_read_csv(:'dir' || '/csv/ragged.csv');

-- A malformed record is given whole, with the reason for which a run would
-- reject it; the ones after it are read as usual.
SET eikon_features.max_line_size = '1kB';
SELECT line, error_type, cardinality(fields), left(fields[1], 20) AS first, fields[2] AS second, length(fields[1]) AS length
FROM eikon_read_csv(:'dir' || '/csv/malformed.csv');
RESET eikon_features.max_line_size;

-- Each option does what it does for a run.
SELECT * FROM eikon_read_csv(:'dir' || '/csv/dialect.txt', delimiter => '~', quote => '^', escape => '!', skip => 1);
SELECT * FROM eikon_read_csv(:'dir' || '/csv/dialect.txt', delimiter => '~', quote => '^', escape => '!', skip => 1, padding => 'trim_quoted');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/dialect.txt', delimiter => '~', quote => '^', escape => '!', skip => 1, padding => 'keep');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/dialect.txt', delimiter => '~', quote => '', skip => 1);
SELECT * FROM eikon_read_csv(:'dir' || '/csv/dialect.txt', skip => 3);
SELECT * FROM eikon_read_csv(:'dir' || '/csv/latin1.csv', encoding => 'LATIN1');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/latin1.csv');
SELECT line, to_json(fields) AS fields FROM eikon_read_csv(:'dir' || '/options/newline/users.csv', newline => 'lf') LIMIT 2;
SELECT * FROM eikon_read_csv(:'dir' || '/options/newline/users.csv') LIMIT 3;
SELECT * FROM eikon_read_csv(:'dir' || '/options/newline_cr/compounds.csv', newline => 'cr');

-- Here nothing stands for NULL unless null says so, quoted or not.
SELECT * FROM eikon_read_csv(:'dir' || '/csv/nulls.csv');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/nulls.csv', "null" => '');
SELECT * FROM eikon_read_csv(:'dir' || '/csv/nulls.csv', "null" => 'NA');

-- The records are rows like any others.
SELECT fields[3] AS structure, count(*) FROM eikon_read_csv(:'dir' || '/shapes/plain/compounds.csv')
WHERE line > 1 GROUP BY 1 ORDER BY 1;

DROP EXTENSION eikon_features;
DROP SCHEMA lab;
