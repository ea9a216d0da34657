
# What pg_regress can't show: that the table, the ledger of runs and the rejects
# are there after the server stopped, and that a run cut off by a crash, of the
# server or of its own process, leaves what was there before it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @tables = qw(features eikon_user_features eikon_totals eikon_compounds eikon_runs eikon_rejects);

# a crash of one process must be recovered from
my $node = new_server(
	'restart', conf => q{
	restart_after_crash = on
	max_prepared_transactions = 2
});
my $dir = $node->basedir . '/source';

write_source("$dir/first", users => [ '1,Alice,,', '2,Bob,,', 'x,Nobody,,', '3,Carol,,' ]);
write_source("$dir/second", users => [ '1,Alicia,,', '2,Bob,,', '4,Dave,,' ]);

# A file that takes hours to read: a record of a terabyte, most of it a hole.
write_source("$dir/endless");
truncate("$dir/endless/users.csv", 2**40) or die "could not extend file: $!";

my $endless = "SELECT * FROM eikon_run_etl('$dir/endless', on_error => 'ignore')";

sub contents
{
	return join("\n--\n", map { rows_of($node, $_) } @tables);
}

# Starts the endless run; returns its session and process when it is reading.
sub start_endless
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = pid_of($session);

	start_query($session, $endless);
	ok( wait_until(sub { (open_files($pid, $dir)->{"$dir/endless/users.csv"} // 0) > 2**20 }),
		'a run is reading');
	is($node->safe_psql('postgres', 'SELECT pid FROM eikon_progress'), $pid, 'and is shown');
	return ($session, $pid);
}

is( run_summary($node, "'$dir/first', on_error => 'ignore'"),
	'succeeded: inserted 3, updated 0, deleted 0, unchanged 0',
	'first run');
is($node->safe_psql('postgres', 'SELECT count(*) FROM eikon_rejects'), 1, 'it has a reject');

my $before = contents();

# --- Stopped in an orderly way
$node->restart;
is(contents(), $before, 'everything is there after a restart');

# --- Stopped at once, after the last commit
$node->stop('immediate');
$node->start;
is(contents(), $before, 'everything is there after a crash');

# --- Crash while a run's transaction is open: all its rows are written, and not committed
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN');
is($session->query_safe("SELECT rows_updated + rows_deleted > 0 FROM eikon_run_etl('$dir/second')"),
	't', 'a run has written and is not committed');
$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop('immediate');
eval { $session->quit };
$node->start;
is(contents(), $before, 'a crash before the commit leaves the set of before');

# --- Crash while a run is reading
($session) = start_endless();
$node->stop('immediate');
eval { $session->quit };
$node->start;
is(contents(), $before, 'a crash in the middle of reading leaves the set of before');

# --- Only the run's process crashes: the server restarts by itself
($session, my $pid) = start_endless();
kill('KILL', $pid) == 1 or die "could not kill process: $!";
eval { $session->quit };
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back');
is(contents(), $before, 'the end of its process leaves the set of before');
is($node->safe_psql('postgres', 'SELECT count(*) FROM eikon_progress'), 0, 'and the run is not shown any more');

# --- A run cannot be prepared, since it notifies those who listen
is( failure($node, "BEGIN; SELECT eikon_run_etl('$dir/second'); PREPARE TRANSACTION 'run'"),
	'0A000: cannot PREPARE a transaction that has executed LISTEN, UNLISTEN, or NOTIFY',
	'a run cannot be part of a prepared transaction');
is(contents(), $before, 'which has changed nothing');

# --- Nothing of all this is in the way of the next run
is( run_summary($node, "'$dir/second'"),
	'succeeded: inserted 1, updated 1, deleted 1, unchanged 1',
	'the next run works');
is( $node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT run_id), min(status) FROM eikon_runs'),
	'2|2|succeeded',
	'and has its own line in the ledger');

$node->stop;
done_testing();
