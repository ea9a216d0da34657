
# What pg_regress can't show without committing large files: a million
# experiments, whose features are those that plain SQL finds over the same rows.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('million', conf => "fsync = off\nwork_mem = '64MB'\n");
my $dir = $node->basedir . '/source';

# Users of any number of experiments, none included; ties, unknown compounds,
# unknown run times, a value of decimals that doubles cannot hold.
make_path($dir);
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE users AS
SELECT i * 7919 % 1000003 - 500000 AS user_id, 'User "' || i || '", the' AS name,
    'user' || i || '\@example.com' AS email, date '2020-01-01' + i % 1000 AS signup_date
FROM generate_series(1, 100000) AS i;
CREATE TABLE compounds AS
SELECT i AS compound_id, 'Compound ' || i AS compound_name, 'C' || i AS compound_structure
FROM generate_series(1, 40) AS i;
CREATE TABLE user_experiments AS
SELECT (i * 15485863) % 1000000007 AS experiment_id,
    ((i % 317) * (i % 311) % 100000 + 1) * 7919 % 1000003 - 500000 AS user_id,
    CASE i % 4
        WHEN 0 THEN ''
        WHEN 1 THEN (i % 50)::text
        WHEN 2 THEN i % 7 || ';' || i % 11
        ELSE i % 5 || ';' || i % 5 || ';' || i % 50
    END AS experiment_compound_ids,
    CASE WHEN i % 10 > 0 THEN (i % 100000)::numeric / 1000 END AS experiment_run_time
FROM generate_series(1::bigint, 1000000) AS i;
COPY users TO '$dir/users.csv' (FORMAT csv, HEADER, FORCE_QUOTE (name));
COPY compounds TO '$dir/compounds.csv' (FORMAT csv, HEADER, DELIMITER ';');
COPY user_experiments TO '$dir/user_experiments.csv' (FORMAT csv, HEADER);
SQL

is( $node->safe_psql('postgres', "SELECT users_loaded, experiments_loaded, compounds_loaded, unknown_compounds, rows_inserted FROM eikon_run_etl('$dir')"),
	'100000|1000000|40|6|100000', 'everything is loaded');

# Sums in numeric are exact, as ours are before they are rounded once.
$node->safe_psql('postgres', <<'SQL');
CREATE VIEW expected AS
WITH per_user AS (
    SELECT u.user_id, count(e.experiment_id) AS n, sum(e.experiment_run_time) AS total,
        count(e.experiment_run_time) AS timed
    FROM users u LEFT JOIN user_experiments e USING (user_id)
    GROUP BY u.user_id
), listed AS (
    SELECT user_id, id::bigint AS compound_id, count(*) AS n
    FROM user_experiments, string_to_table(experiment_compound_ids, ';') AS id
    WHERE id <> ''
    GROUP BY 1, 2
), most AS (
    SELECT user_id, n, array_agg(compound_id ORDER BY compound_id) AS ids
    FROM (SELECT *, rank() OVER (PARTITION BY user_id ORDER BY n DESC) AS r FROM listed) AS ranked
    WHERE r = 1
    GROUP BY 1, 2
)
SELECT u.user_id, u.name, u.email, u.signup_date, p.n AS total_experiments,
    1000000::float8 / 100000 AS avg_experiments, p.n::float8 / 1000000 AS experiments_pct,
    p.total::float8 / p.timed AS avg_experiment_run_time, p.total::float8 AS total_experiment_run_time,
    m.ids[1] AS most_common_compound_id, c.compound_name AS most_common_compound_name,
    c.compound_structure AS most_common_compound_structure, m.n AS most_common_compound_count,
    m.ids AS most_common_compound_ids
FROM users u JOIN per_user p USING (user_id) LEFT JOIN most m USING (user_id)
    LEFT JOIN compounds c ON c.compound_id = m.ids[1];
SQL

my $exact = 'user_id, name, email, signup_date, total_experiments, avg_experiments, experiments_pct,
    most_common_compound_id, most_common_compound_name, most_common_compound_structure,
    most_common_compound_count, most_common_compound_ids';

is( $node->safe_psql('postgres', "SELECT count(*) FROM (SELECT $exact FROM features EXCEPT SELECT $exact FROM expected) AS differing"),
	'0', 'counts, shares, ties and names are those that SQL finds');
is( $node->safe_psql('postgres', <<'SQL'), '0', 'and so are sums and averages, but for the rounding of each value read');
SELECT count(*) FROM features f JOIN expected e USING (user_id)
WHERE abs(f.total_experiment_run_time - e.total_experiment_run_time) > e.total_experiment_run_time * 1e-15
    OR abs(f.avg_experiment_run_time - e.avg_experiment_run_time) > e.avg_experiment_run_time * 1e-15
    OR (f.total_experiment_run_time IS NULL) <> (e.total_experiment_run_time IS NULL)
SQL
is( $node->safe_psql('postgres', "SELECT rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl('$dir')"),
	'0|0|0|100000', 'the same again writes nothing');
isnt($node->safe_psql('postgres', 'SELECT count(*) FROM features WHERE total_experiments = 0'),
	'0', 'there are users without experiments among them');
isnt($node->safe_psql('postgres', 'SELECT count(*) FROM features WHERE cardinality(most_common_compound_ids) > 1'),
	'0', 'and ties');

$node->stop;
done_testing();
