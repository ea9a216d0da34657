
# What pg_regress can't show of VACUUM beside runs: an autovacuum that works on a table of
# the extension is not cancelled by a run that writes to that table, and neither waits
# for the other, so that a table with a dense schedule is vacuumed all the same.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A process that waits for a lock of an autovacuum cancels it after deadlock_timeout.
my $node = new_server(
	'vacuum',
	conf => q{
	autovacuum_naptime = 1
	deadlock_timeout = 10ms
	log_autovacuum_min_duration = 0
	lock_timeout = 10s
});
my $dir = $node->basedir . '/source';

sub query
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

# From one set to the other, a third of the rows goes and comes, and a third changes.
my %sets = (
	first => {
		users => [ map { "$_,User $_,," } 1 .. 3000 ],
		user_experiments => [],
		compounds => [ map { "$_,Compound $_,C$_" } 1 .. 3000 ]
	},
	second => {
		users => [ map { $_ % 3 == 0 ? 10_000 + $_ . ",User,," : $_ % 3 == 1 ? "$_,Renamed,," : "$_,User $_,," } 1 .. 3000 ],
		user_experiments => [],
		compounds => [ map { $_ % 3 == 0 ? 10_000 + $_ . ",Compound,C" : $_ % 3 == 1 ? "$_,Renamed,C$_" : "$_,Compound $_,C$_" } 1 .. 3000 ]
	});
write_source("$dir/$_", %{ $sets{$_} }) foreach keys %sets;

# The pid of the autovacuum that works on a table.
sub vacuum_of
{
	my ($table) = @_;

	return query("SELECT pid FROM pg_stat_progress_vacuum JOIN pg_stat_activity USING (pid)
		WHERE relid = '$table'::regclass AND backend_type = 'autovacuum worker'");
}

# Its vacuum takes a tenth of a second for each page at least.
sub vacuum_slowly
{
	my ($table) = @_;

	query("ALTER TABLE $table SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,
		autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)");
	return;
}

foreach my $table (qw(eikon_user_features eikon_compounds))
{
	my ($pid, $position);

	query("ALTER TABLE $_ SET (autovacuum_enabled = off)") foreach qw(eikon_user_features eikon_compounds);
	query("SELECT 1 FROM eikon_run_etl('$dir/first')");
	query("SELECT 1 FROM eikon_run_etl('$dir/second')");
	vacuum_slowly($table);
	query("ALTER TABLE $table SET (autovacuum_enabled = on)");
	ok(wait_until(sub { ($pid = vacuum_of($table)) ne '' }), "$table: an autovacuum works on it");
	$position = -s $node->logfile;
	is(run_summary($node, "'$dir/first'"), 'succeeded: inserted 1000, updated 1000, deleted 1000, unchanged 1000', 'meanwhile a run inserts, updates and deletes');
	is(run_summary($node, "'$dir/second'"), 'succeeded: inserted 1000, updated 1000, deleted 1000, unchanged 1000', 'and so does another one');
	is(vacuum_of($table), $pid, 'neither has waited for the vacuum to end');
	ok($node->wait_for_log(qr/automatic vacuum of table "postgres\.public\.$table"/, $position), 'which ends in its own time');
	unlike(slurp_file($node->logfile, $position), qr/canceling autovacuum task/, 'and has not been cancelled');
}

$node->stop;

done_testing();
