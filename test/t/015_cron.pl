
# What pg_regress can't show: runs on a schedule, by the real pg_cron. Its shortest
# interval is a minute, so this test takes two of them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# pg_cron connects by libpq, so it must be told where the socket is.
my $node = PostgreSQL::Test::Cluster->new('cron');
$node->init;
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'pg_cron, eikon_features'\ncron.database_name = 'postgres'\ncron.host = '"
	  . $node->host . "'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron; CREATE EXTENSION eikon_features');

my $dir = $node->basedir . '/source';
my $good = write_source("$dir/good");
my $bad = write_source("$dir/bad", compounds => ['x,A,']);
my $slow = write_source("$dir/slow");

# What the README has, with every minute for every hour, and a directory that is bad.
my %jobs = (
	submit => "SELECT eikon_submit_etl('$good', skip_unchanged => true)",
	call => "CALL eikon_etl('$good', on_error => 'ignore', skip_unchanged => true, timeout => '50 s')",
	failing => "CALL eikon_etl('$bad', timeout => '50 s')",
	slow => "CALL eikon_etl('$slow', timeout => '5 s')",
	purge => "SELECT eikon_purge_runs('90 days')");

foreach my $job (sort keys %jobs)
{
	$node->safe_psql('postgres',
		"SELECT cron.schedule('$job', '* * * * *', \$\$$jobs{$job}\$\$)");
}

# A job's runs that have ended, as 'status: message' in the order of their starts.
sub details
{
	my ($job) = @_;

	return split(/\n/,
		$node->safe_psql('postgres',
			"SELECT d.status || ': ' || split_part(coalesce(d.return_message, ''), E'\\n', 1) FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE jobname = '$job' AND d.end_time IS NOT NULL ORDER BY d.start_time"
		));
}

# The states of the runs of a source, in order.
sub states
{
	my ($source, $condition) = @_;
	$condition //= 'true';

	return $node->safe_psql('postgres',
		"SELECT string_agg(status || CASE WHEN skipped THEN ' (skipped)' ELSE '' END, ', ' ORDER BY started_at) FROM eikon_runs WHERE source = '$source' AND $condition"
	);
}

sub wait_for
{
	my ($what, $condition) = @_;
	my $end = time() + 200;

	until ($condition->())
	{
		return fail($what) if time() > $end;
		usleep(200_000);
	}
	return pass($what);
}

# --- The first minute
wait_for('every job was started', sub { !grep { !details($_) } keys %jobs });

is((details('submit'))[0], 'succeeded: 1 row', 'submitting succeeds for pg_cron, whatever becomes of the run');
is((details('call'))[0], 'succeeded: CALL', 'a call that waits succeeds when its run does');
like((details('failing'))[0], qr/^failed: ERROR: +invalid input syntax for type bigint: "x"/,
	'a call that waits fails when its run does, with the words of the run');
is(states($bad, 'true'), 'failed', 'which is in the ledger, too');
is( $node->safe_psql('postgres', "SELECT error_code, error_context FROM eikon_runs WHERE source = '$bad' LIMIT 1"),
	'22P02|compounds.csv, line 2, column compound_id: "x"',
	'with the place of the error');
is((details('purge'))[0], 'succeeded: 1 row', 'the ledger is purged');

# --- The second minute, for which a run that is going on holds up all others
my $blocker = $node->background_psql('postgres', on_error_stop => 0);

wait_for('nothing is left of the first minute',
	sub { $node->safe_psql('postgres', 'SELECT count(*) FROM eikon_runs WHERE finished_at IS NULL') eq '0' });
$blocker->query_safe("BEGIN; SELECT run_id FROM eikon_run_etl('$good')");
my %before = map { $_ => scalar(details($_)) } keys %jobs;

wait_for('jobs go on being started while no run can begin',
	sub { details('submit') > $before{submit} && details('slow') > $before{slow} });
like((details('slow'))[-1], qr/^succeeded: /, 'a call whose timeout is over leaves its run to the worker');
wait_for('what is submitted again and again is queued once for each source and its options',
	sub {
		$node->safe_psql('postgres',
			"SELECT count(*) = 4 AND count(DISTINCT (source, options)) = 4 FROM eikon_runs WHERE status = 'queued'") eq 't';
	});
is($node->safe_psql('postgres', 'SELECT queued, running FROM eikon_health()'), '4|1', 'so says eikon_health');
$blocker->query_safe('COMMIT');
$blocker->quit;
wait_for('all that waited is done then',
	sub { $node->safe_psql('postgres', 'SELECT count(*) FROM eikon_runs WHERE finished_at IS NULL') eq '0' });

foreach my $job (keys %jobs)
{
	$node->safe_psql('postgres', "SELECT cron.unschedule('$job')");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM eikon_runs WHERE status NOT IN ('succeeded', 'failed')"),
	'0', 'no run ended in another way');
$node->stop;
done_testing();
