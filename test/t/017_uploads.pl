
# What pg_regress can't show: that an upload and a run over uploads keep to
# bounded memory, read the same features as from a directory, and leave none of
# the copies that they read, however they end.
#
# EIKON_SMALL_DISK names a directory on a file system of its own, of 24 MB or so.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use File::Path qw(remove_tree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $small_disk = $ENV{EIKON_SMALL_DISK} // '';
BAIL_OUT('EIKON_SMALL_DISK must name a directory on a small file system of its own')
  unless -d $small_disk && (stat($small_disk))[0] != (stat("$small_disk/.."))[0];

my $node = new_server(
	'uploads', conf => q{
	autovacuum = off
	restart_after_crash = on
	max_worker_processes = 16
	max_parallel_workers = 8
});
my $dir = $node->basedir . '/files';
my $mb = 1024;

# =============================================================================
# 50 MB of experiments
# =============================================================================

my $users = 1000;
my $experiments = 2_600_000;

write_source(
	$dir,
	users => [ map { "$_,User $_,user$_\@example.com,2023-01-01" } 1 .. $users ],
	compounds => [ map { "$_,Compound $_,C$_" } 1 .. 40 ]);
{
	open(my $file, '>:raw', "$dir/user_experiments.csv") or die "could not open file: $!";
	print $file "experiment_id,user_id,experiment_compound_ids,experiment_run_time\n";
	print $file $_, ',', 1 + $_ * 7919 % $users, ',', 1 + $_ % 43, ';', 1 + $_ % 7, ',', ($_ % 1000) / 10, "\n" foreach 1 .. $experiments;
	close($file) or die "could not close file: $!";
}
my $size = -s "$dir/user_experiments.csv";
cmp_ok($size, '>', 50 * 2**20, 'a file of many megabytes');

sub anonymous
{
	my ($pid) = @_;

	open(my $status, '<', "/proc/$pid/status") or return 0;
	while (<$status>)
	{
		return $1 if /^RssAnon:\s*(\d+) kB/;
	}
	return 0;
}

# The most kilobytes of its own that a session takes for a statement, beyond what it had.
sub peak_of
{
	my ($set, $statement) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = pid_of($session);
	my $peak = 0;
	my $words;

	$session->query_safe("LOAD 'eikon_features'; $set");
	my $first = anonymous($pid);
	start_query($session, $statement);
	until ($session->{stderr} =~ /query is over/)
	{
		my $now = anonymous($pid);

		$peak = $now if $now > $peak;
		usleep(500);
		$session->{run}->pump_nb;
	}
	$words = finish_query($session);
	die $words if $words =~ /ERROR/;
	$session->quit;
	note(sprintf('%.1f MB', ($peak - $first) / 1024));
	return $peak - $first;
}

sub upload
{
	my ($kind) = @_;

	return "SELECT records, rejected FROM eikon_upload('$kind', pg_read_binary_file('$dir/$kind.csv'), '$kind of today.csv')";
}

# To a user: an upload takes the file itself and what the table needs to store it, no more,
# also where it takes the place of another one.
my $file = $size / 1024;
foreach my $what ('first', 'second')
{
	cmp_ok(peak_of('', upload('user_experiments')), '<', 2 * $file + 12 * $mb, "the $what upload's memory");
}
is($node->safe_psql('postgres', upload($_)), ($_ eq 'users' ? $users : 40) . '|0', "$_ are uploaded") foreach qw(users compounds);
is($node->safe_psql('postgres', "SELECT records, bytes FROM eikon_uploads WHERE kind = 'user_experiments'"), "$experiments|$size", 'it is all there');

# To a user: a run over uploads takes no more memory than one over a directory.
foreach my $workers (0, 2)
{
	cmp_ok(peak_of("SET eikon_features.parallel_workers = $workers", "SELECT count(*) FROM eikon_derive_features('uploads:')"),
		'<', 16 * $mb, "a derivation's memory, $workers workers");
}
is(left_behind($node), '', 'the copies are gone');

# =============================================================================
# However it ends
# =============================================================================

# A run stops at the table until it gets the lock.
$node->safe_psql('postgres', q{
	CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
	CREATE TRIGGER dawdle AFTER INSERT ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION dawdle()});

sub pending
{
	return $node->safe_psql('postgres', "SELECT string_agg(kind, ' ' ORDER BY upload_id) FROM eikon_uploads");
}

my $pending = pending();
my $waiting = q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted};

# To a user: a run that is cut off leaves no copy, and the uploads as they were.
foreach my $call ('eikon_run_etl', 'eikon_try_etl')
{
	foreach my $end ('cancel', 'terminate', 'crash', 'immediate')
	{
		my $holder = $node->background_psql('postgres', on_error_stop => 0);
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		my $pid = pid_of($session);

		$holder->query_safe('SELECT pg_advisory_lock(42)');
		start_query($session, "SELECT * FROM $call('uploads:')");
		ok($node->poll_query_until('postgres', $waiting), "$call is writing");
		like(left_behind($node), qr/\.fileset$/m, 'from its copies');
		$node->safe_psql('postgres', "SELECT pg_${end}_backend($pid)") if $end =~ /cancel|terminate/;
		kill('KILL', $pid) if $end eq 'crash';
		$node->stop('immediate') if $end eq 'immediate';
		if ($end eq 'cancel')
		{
			like(finish_query($session), qr/ERROR:  canceling statement due to user request/, 'cancelled');
			is(left_behind($node), '', "$end: nothing is left");
		}
		eval { $session->quit };
		eval { $holder->quit };
		$node->start if $end eq 'immediate';
		ok($node->poll_query_until('postgres', 'SELECT true'), "$end: the server is there") if $end eq 'crash';
		ok(wait_until(sub { left_behind($node) eq '' }), "$end: nothing is left");
		is(pending(), $pending, "$end: the uploads are still there");
		is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM features), (SELECT count(*) FROM eikon_runs)'), '0|0', "$end: nothing was written");
	}
}
$node->safe_psql('postgres', 'DROP TRIGGER dawdle ON eikon_user_features');

# To a user: temp_file_limit holds for the copies; a failure that is recorded says so.
is( $node->safe_psql('postgres', "SET temp_file_limit = '1MB'; SELECT status, error_code, error_message FROM eikon_try_etl('uploads:')"),
	'failed|53400|temporary file size exceeds temp_file_limit (1024kB)',
	'too large for temp_file_limit');
is(left_behind($node), '', 'the copies are gone');

# To a user: so it is where the disk is full, be it of copies or of rejects.
my $tablespace = "$small_disk/eikon.$$";
END { remove_tree($tablespace) if defined $tablespace }

mkdir($tablespace, 0700) or die "could not create directory $tablespace: $!";
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$tablespace'");
my $try = "SET temp_tablespaces = 'small'; SELECT run_id, status, error_code, error_message, error_hint FROM eikon_try_etl";
like( $node->safe_psql('postgres', "$try('uploads:')"),
	qr/^\d+\|failed\|53100\|could not write to file "pg_tblspc.*": No space left on device\|Uploaded files are copied to temporary files/,
	'no room for the copies');
is(left_behind($node), '', 'they are gone');
is(pending(), $pending, 'the uploads are still there');

my $rejects = $node->basedir . '/rejects';
write_source($rejects, users => [ map { 'x,' . 'x' x 500 . ',,' } 1 .. 100_000 ], user_experiments => []);
my ($failed) = $node->safe_psql('postgres', "$try('$rejects', on_error => 'ignore')") =~ /^(\d+)\|failed\|53100\|/;
like($failed // '', qr/^\d+$/, 'no room for the rejects');
is( $node->safe_psql('postgres', "SELECT status, (SELECT count(*) FROM eikon_rejects e WHERE e.run_id = r.run_id) FROM eikon_runs r WHERE run_id = $failed"),
	'failed|0', 'the failure is recorded, without them');
is(left_behind($node), '', 'nothing is left');
$node->safe_psql('postgres', 'DROP TABLESPACE small');

# =============================================================================
# In the background, with parallel workers, as a role without files of its own
# =============================================================================

my $expected = $node->safe_psql('postgres', "SELECT count(*) || ' ' || md5(string_agg(t::text, E'\\n')) FROM eikon_derive_features('$dir') t");

$node->safe_psql('postgres', q{
	CREATE ROLE lab LOGIN;
	GRANT SELECT, INSERT, UPDATE, DELETE ON eikon_user_features, eikon_totals, eikon_compounds, eikon_uploads TO lab;
	GRANT EXECUTE ON FUNCTION eikon_upload, eikon_submit_etl, eikon_wait_etl TO lab;
	ALTER ROLE lab SET eikon_features.parallel_workers = 2});
my $run = succeeds($node, "SELECT eikon_submit_etl('uploads:')", 'a role submits', user => 'lab');
is( succeeds($node, "SELECT status, source, requested_by, experiments_loaded FROM eikon_wait_etl($run)", 'and waits', user => 'lab'),
	"succeeded|uploads:|lab|$experiments", 'its run');
is(pending(), '', 'it has used up the uploads');
is( $node->safe_psql('postgres', "SELECT count(*) || ' ' || md5(string_agg(t::text, E'\\n' ORDER BY user_id)) FROM features t"),
	$expected, 'the features are those of the directory');
is(left_behind($node), '', 'nothing is left');

# To a user: a worker that is cut off begins again with the same files.
succeeds($node, "SELECT eikon_upload('users', E'user_id,name,email,signup_date\\n1,Ann,,\\n'), eikon_upload('compounds', 'compound_id,compound_name,compound_structure'), eikon_upload('user_experiments', 'experiment_id,user_id,experiment_compound_ids,experiment_run_time')",
	'the role uploads', user => 'lab');
$node->safe_psql('postgres', 'CREATE TRIGGER dawdle AFTER DELETE ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION dawdle()');
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query_safe('SELECT pg_advisory_lock(42)');
$run = succeeds($node, "SELECT eikon_submit_etl('uploads:')", 'and submits', user => 'lab');
ok($node->poll_query_until('postgres', $waiting), 'its run is writing');
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM eikon_progress');
$holder->quit;
is( $node->safe_psql('postgres', "SELECT status, attempts, users_loaded FROM eikon_wait_etl($run)"),
	'succeeded|2|1', 'the second attempt succeeds');
is(pending(), '', 'and has used up the uploads');
is(left_behind($node), '', 'nothing is left');

is(join("\n", grep { /WARNING: .*leak|TRAP:|PANIC:/ } split(/\n/, slurp_file($node->logfile))), '', 'the server complains of nothing');
$node->stop;
done_testing();
