
# What pg_regress can't show: pg_upgrade of a server, here to the same major version.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_server('old');
my $dir = $old->basedir . '/source';
my @relations = qw(features eikon_user_features eikon_totals eikon_compounds eikon_runs eikon_rejects etl_results derived_exp_data);

write_source("$dir/first", users => [ '1,Alice,,2023-01-01', '2,Bob,,', '3,Carol,,', 'x,Nobody,,' ]);
$old->safe_psql('postgres', "
	CREATE EXTENSION eikon_api;
	CREATE ROLE lab_reader;
	GRANT SELECT ON features, eikon_user_features, eikon_totals TO lab_reader;
	SELECT eikon_run_etl('$dir/first', on_error => 'ignore');
	-- columns and the view are users' to extend, and pg_upgrade takes them along
	ALTER TABLE eikon_user_features ADD COLUMN mine text DEFAULT 'x'");
show_column($old, 'postgres', 'mine');
$old->safe_psql('postgres', 'CREATE VIEW of_mine AS SELECT user_id, avg_experiments, mine FROM features');

my %before = map { $_ => rows_of($old, $_) } @relations, 'of_mine';
my $rights = "SELECT string_agg(oid::regclass || ' ' || relacl::text, E'\\n' ORDER BY oid::regclass::text) FROM pg_class WHERE relacl IS NOT NULL AND relnamespace IN ('public'::regnamespace, 'eikon_api'::regnamespace)";
my $rights_before = $old->safe_psql('postgres', $rights);
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old->config_data('--bindir'),
		'-B', $new->config_data('--bindir'), '-s', $new->host, '-p', $old->port, '-P', $new->port
	],
	'pg_upgrade');
$new->start;
is(rows_of($new, $_), $before{$_}, "$_ is as before") foreach sort keys %before;
is($new->safe_psql('postgres', $rights), $rights_before, 'rights are as before');
is($new->safe_psql('postgres', 'SET ROLE lab_reader; SELECT count(*) FROM features'), 3, 'and hold');
is(run_summary($new, "'$dir/first', on_error => 'ignore'"), 'succeeded: inserted 0, updated 0, deleted 0, unchanged 3', 'a run works');

my $dump = $new->basedir . '/dump.sql';
$new->command_ok([ 'pg_dump', '-s', '-f', $dump, $new->connstr('postgres') ], 'it can be dumped');
like(slurp_file($dump), qr/^GRANT SELECT ON TABLE public\.eikon_totals TO lab_reader;$/m, 'with what was granted');

$new->stop;
done_testing();
