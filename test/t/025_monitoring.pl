
# What pg_regress can't show: that deploy/prometheus fits the extension: its role may ask
# what exporter.yml asks and nothing else, the answers have the values named there and say
# what is the case, and alerts.yml looks at nothing that nobody gives.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('monitoring', conf => "shared_preload_libraries = 'eikon_features'");
my $dir = write_source($node->basedir . '/source');

write_source("$dir/bad", users => [ '1,Alice,,2023-01-01', '2,Bob,,2023-01-01', 'x,Carol,,' ]);

# As much of YAML as the file has: NAME => { values => [...], query => '...' }
sub queries_of
{
	my %queries;
	my ($name, $in) = ('', '');

	foreach my $line (split(/\n/, slurp_file($_[0])))
	{
		if ($line =~ /^  - name: (\w+)$/)
		{
			($name, $in) = ($1, '');
			$queries{$name} = { values => [], query => '' };
		}
		elsif ($line =~ /^    (\w+):(?: [|'].*)?$/)
		{
			$in = $1;
		}
		elsif ($in eq 'values' && $line =~ /^    - (\w+)$/)
		{
			push @{ $queries{$name}{values} }, $1;
		}
		elsif ($in eq 'query' && $line =~ /^      (.*)$/)
		{
			$queries{$name}{query} .= "$1\n";
		}
		elsif ($name ne '')
		{
			die "what is this: $line";
		}
	}
	return \%queries;
}

my $queries = queries_of('deploy/prometheus/exporter.yml');
is_deeply([ sort keys %$queries ], [qw(eikon_health eikon_running eikon_runs eikon_size)], 'there are the queries');

# What the exporter would give: { 'NAME VALUE' => number }
sub scrape
{
	my %metrics;

	foreach my $name (sort keys %$queries)
	{
		my $got = $node->safe_psql('postgres', $queries->{$name}{query},
			extra_params => [ '-U', 'eikon_monitor', '--csv', '-P', 'tuples_only=off' ]);
		my ($header, @rows) = split(/\n/, $got);

		is($header, join(',', @{ $queries->{$name}{values} }), "$name gives the values that it names");
		is(scalar(@rows), 1, 'in a row');
		@metrics{ map { "$name $_" } split(/,/, $header) } = split(/,/, $rows[0], -1);
	}
	is(join(' ', grep { $metrics{$_} !~ /^(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|Infinity)$/ } sort keys %metrics), '', 'and all are numbers');
	return \%metrics;
}

$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', 'deploy/prometheus/role.sql' ],
	'the role is made');

# --- Before the first run
my $metrics = scrape();
is($metrics->{'eikon_health last_success_age'}, 'Infinity', 'there was no success');
is($metrics->{'eikon_health last_failure_age'}, 'Infinity', 'and no failure');
is($metrics->{'eikon_health launcher'}, 1, 'there is a launcher');
is($metrics->{'eikon_runs records_read'}, 0, 'nothing was read');

# --- Runs that went well, and did not
$node->safe_psql('postgres', "SELECT eikon_run_etl('$dir/bad', on_error => 'ignore'); SELECT eikon_try_etl('$dir/bad')");
$metrics = scrape();
cmp_ok($metrics->{'eikon_health last_success_age'}, '<', 300, 'there was a success');
cmp_ok($metrics->{'eikon_health last_failure_age'}, '<', 300, 'and a failure');
is($metrics->{'eikon_runs failed_last_hour'}, 1, 'which is counted');
is($metrics->{'eikon_runs records_read'}, 8, 'records are counted');
is($metrics->{'eikon_runs records_rejected'}, 1, 'and rejects, of the run that features comes from');
cmp_ok($metrics->{'eikon_size rejects'}, '>', 0, 'they take space');
cmp_ok($metrics->{'eikon_size features'}, '>', 0, 'as do features');

# --- One that waits, and one that goes on, as far as the table lets it
is($metrics->{'eikon_running longest'}, 0, 'none goes on');
{
	my $session = $node->background_psql('postgres');

	$session->query_safe("BEGIN; SELECT FROM eikon_run_etl('$dir')");
	$node->safe_psql('postgres', "SELECT eikon_submit_etl('$dir')");
	$metrics = scrape();
	is($metrics->{'eikon_health queued'}, 1, 'one waits');
	cmp_ok($metrics->{'eikon_health oldest_queued_age'}, '>', 0, 'for some time');
	$session->query_safe('ROLLBACK');
	$node->safe_psql('postgres', 'SELECT status FROM eikon_wait_etl((SELECT max(run_id) FROM eikon_runs))');
	$session->query_safe('BEGIN; LOCK eikon_user_features IN SHARE MODE');
	$node->safe_psql('postgres', "SELECT eikon_submit_etl('$dir')");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'eikon_user_features'::regclass AND NOT granted")
	  or die 'the run does not come to the table';
	$metrics = scrape();
	is($metrics->{'eikon_health running'}, 1, 'one goes on');
	cmp_ok($metrics->{'eikon_running longest'}, '>', 0, 'for some time');
	$session->query_safe('ROLLBACK');
	$session->quit;
}

# --- It sees no more than that
foreach my $statement (
	'SELECT * FROM features', 'SELECT * FROM eikon_user_features', 'SELECT * FROM eikon_totals', 'SELECT * FROM eikon_rejects', 'SELECT error_message FROM eikon_runs',
	'SELECT source FROM eikon_runs', 'SELECT content FROM eikon_uploads', 'SELECT eikon_run_etl()',
	'SELECT eikon_submit_etl()', "SELECT eikon_purge_runs('0')", 'SELECT eikon_cancel_etl(1)')
{
	like(failure($node, $statement, user => 'eikon_monitor'), qr/^42501: /, "not allowed: $statement");
}

# --- Alerts are over what there is
my $alerts = slurp_file('deploy/prometheus/alerts.yml');
my @used = $alerts =~ /\b(sql_eikon_\w+\{col=~?"[^"]+")/g;
cmp_ok(scalar(@used), '>=', 8, 'there are alerts');
foreach my $used (@used)
{
	my ($name, $values) = $used =~ /^sql_(\w+)\{col=~?"([^"]+)"/;

	foreach my $value ($name eq 'eikon_size' ? split(/\|/, $values) : $values)
	{
		ok(exists $metrics->{"$name $value"}, "$name $value is given");
	}
}
my @tested = slurp_file('deploy/prometheus/alerts.test.yml') =~ /alertname: (\w+)/g;
my %tested = map { $_ => 1 } @tested;
is(join(' ', grep { !$tested{$_} } $alerts =~ /- alert: (\w+)/g), '', 'and each has a test of its own');

$node->stop;
done_testing();
