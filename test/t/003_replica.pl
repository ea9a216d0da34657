
# What pg_regress can't show: that on a standby, where nothing can be written,
# everything that only reads works, and a run says why it does not.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', init => [ allows_streaming => 1 ]);
my $dir = $primary->basedir . '/source';

write_source("$dir/first");
write_source("$dir/second", users => [ '1,Alicia,,', '2,Bob,,', '3,Carol,,', 'x,Nobody,,' ]);
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

run_summary($primary, "'$dir/first'");
$primary->safe_psql('postgres', "SELECT eikon_upload('$_', pg_read_binary_file('$dir/first/$_.csv'))") foreach qw(users compounds user_experiments);
$primary->wait_for_catchup($standby);

is(rows_of($standby, $_), rows_of($primary, $_), "a run's $_ arrive at the standby")
  foreach qw(features eikon_user_features eikon_totals eikon_compounds eikon_runs eikon_rejects etl_results derived_exp_data);
is($standby->safe_psql('postgres', 'SELECT count(*) FROM features WHERE avg_experiments = 1'), 3, 'the view shows the totals there');

# --- What only reads
is( succeeds($standby, "SELECT user_id, name FROM eikon_derive_features('$dir/second', on_error => 'ignore') ORDER BY 1",
		'eikon_derive_features works on the standby'),
	"1|Alicia\n2|Bob\n3|Carol", 'its rows');
is( succeeds($standby, "SELECT f.name FROM eikon_derive_features('$dir/first') d JOIN features f USING (user_id) ORDER BY user_id",
		'and can be joined with the table'),
	"Alice\nBob\nCarol", 'its rows');
is( succeeds($standby, "SELECT line, fields[1] FROM eikon_read_csv('$dir/second/users.csv') WHERE line > 3",
		'eikon_read_csv works on the standby'),
	"4|3\n5|x", 'its rows');
is( succeeds($standby,
		"SELECT status, run_id, rows_inserted, rows_updated, rows_deleted, rows_unchanged, users_rejected FROM eikon_run_etl('$dir/second', on_error => 'ignore', dry_run => true)",
		'a dry run works on the standby'),
	'dry_run||0|3|0|0|1',
	'its counts');
is( succeeds($standby,
		"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT status FROM eikon_run_etl('$dir/second', on_error => 'ignore', dry_run => true); COMMIT",
		'a dry run works in a REPEATABLE READ transaction'),
	'dry_run', 'its status');

is( succeeds($standby, "SELECT name FROM eikon_derive_features('uploads:') ORDER BY user_id", 'uploads can be read on the standby'),
	"Alice\nBob\nCarol", 'their rows');
is( succeeds($standby, "SELECT status, rows_unchanged FROM eikon_run_etl('uploads:', dry_run => true)", 'also by a dry run'),
	'dry_run|3', 'its counts');

# --- What writes
like(failure($standby, "SELECT * FROM eikon_try_etl('$dir/second')"), qr/^25006: cannot execute eikon_try_etl\(\) /, 'no run is tried');
like(failure($standby, "SELECT eikon_upload('users', '')"), qr/^25006: cannot execute eikon_upload\(\) /, 'and nothing uploaded');
like( failure($standby, "SELECT * FROM eikon_run_etl('$dir/second')"),
	qr/^25006: cannot execute eikon_run_etl\(\) in a read-only transaction$/,
	'a run is refused on the standby');
like( failure($standby, "SELECT * FROM eikon_run_etl('$dir/nowhere')"),
	qr/^25006: /,
	'before it looks at any file');
like( failure($primary, "SELECT * FROM eikon_run_etl('$dir/second')", options => '-c default_transaction_read_only=on'),
	qr/^25006: /,
	'and so it is in a read-only transaction of the primary');

# --- The standby takes over
$primary->stop;
$standby->promote;
is( run_summary($standby, "'$dir/second', on_error => 'ignore'"),
	'succeeded: inserted 0, updated 3, deleted 0, unchanged 0',
	'after a promotion it runs there');
cmp_ok(
	$standby->safe_psql('postgres', 'SELECT max(run_id) - min(run_id) FROM eikon_runs'),
	'>', 0, 'with a higher number');

$standby->stop;
done_testing();
