
# What the tests of this directory share: servers with the extension, source
# directories, the words of an error, sessions that go on beside the test.
package EikonTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use File::Basename;
use File::Copy qw(copy);
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  configure
  failure
  finish_query
  installation_of_releases
  left_behind
  new_server
  open_files
  pid_of
  rows_of
  run_summary
  show_column
  start_query
  succeeds
  wait_until
  workers_started
  write_file
  write_source
);

# A small source.
my %small = (
	users => [
		'1,Alice,alice@example.com,2023-01-01', '2,Bob,bob@example.com,2023-02-01',
		'3,Carol,carol@example.com,'
	],
	user_experiments => [ '1,1,1;2,10', '2,1,2,15', '3,2,1;3,20.5' ],
	compounds => [ '1,Compound A,C20H25N3O', '2,Compound B,C21H30O2' ]);

my %header = (
	users => 'user_id,name,email,signup_date',
	user_experiments => 'experiment_id,user_id,experiment_compound_ids,experiment_run_time',
	compounds => 'compound_id,compound_name,compound_structure');

# new_server(NAME, init => [...], conf => '...'): started, with the extension
# in its database postgres.
sub new_server
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(@{ $params{init} // [] });
	$node->append_conf('postgresql.conf', $params{conf}) if defined $params{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION eikon_features');
	return $node;
}

# Makes an installation that has the install scripts of all released versions too, and
# returns where it is. A server looks for its files from where its executable is, so that is
# copied and all else linked. (deploy/prefix.sh does it without what is tested here.)
sub installation_of_releases
{
	my ($prefix) = @_;
	my %dir;

	foreach my $which (qw(bindir pkglibdir sharedir))
	{
		my ($path) = run_command([ 'pg_config', "--$which" ]);

		$dir{$which} = "$prefix$path";
		make_path($dir{$which});
		system_or_bail('cp', $which eq 'bindir' ? '-rL' : '-rs', "$path/.", $dir{$which});
	}
	foreach my $script (glob(dirname(__FILE__) . '/../../upgrade/*.sql'))
	{
		my $installed = "$dir{sharedir}/extension/" . basename($script);

		if (-e $installed)
		{
			is(slurp_file($installed), slurp_file($script), basename($script) . ' is as it was released');
			next;
		}
		copy($script, $installed) or die "could not copy $script: $!";
	}
	return dirname($dir{bindir});
}

# Sets or, with undef, takes out lines of postgresql.conf; they count from the
# next start or reload.
sub configure
{
	my ($node, %settings) = @_;

	foreach my $name (sort keys %settings)
	{
		$node->adjust_conf('postgresql.conf', $name, undef);
		$node->append_conf('postgresql.conf', "$name = '$settings{$name}'")
		  if defined $settings{$name};
	}
	return;
}

sub write_file
{
	my ($path, $bytes) = @_;

	open(my $file, '>:raw', $path) or die "could not open $path: $!";
	print $file $bytes or die "could not write $path: $!";
	close($file) or die "could not close $path: $!";
	return;
}

# write_source(DIRECTORY, KIND => [RECORD...] or bytes of the whole file...):
# kinds not given get the small source's records.
sub write_source
{
	my ($dir, %kinds) = @_;

	make_path($dir);
	foreach my $kind (keys %header)
	{
		my $records = $kinds{$kind} // $small{$kind};

		$records = join("\n", $header{$kind}, @$records, '') if ref $records;
		write_file("$dir/$kind.csv", $records);
	}
	return $dir;
}

# run_etl's counts in a line
sub run_summary
{
	my ($node, $args, %params) = @_;

	return $node->safe_psql(
		$params{database} // 'postgres',
		"SELECT format('%s: inserted %s, updated %s, deleted %s, unchanged %s', status, rows_inserted, rows_updated, rows_deleted, rows_unchanged) FROM eikon_run_etl($args)"
	);
}

# Appends a column that was added to eikon_user_features to the view features.
sub show_column
{
	my ($node, $database, $column) = @_;

	$node->safe_psql($database, qq{
		DO \$\$
		BEGIN
			EXECUTE 'CREATE OR REPLACE VIEW features WITH (security_invoker = true) AS '
				|| replace(pg_get_viewdef('features'), 'FROM eikon_user_features u;', ', u.$column FROM eikon_user_features u');
		END
		\$\$});
	return;
}

# All rows of a table or query, as text, in the order of that text.
sub rows_of
{
	my ($node, $table, $database) = @_;

	return $node->safe_psql($database // 'postgres',
		"SELECT t::text FROM $table t ORDER BY 1");
}

sub _psql
{
	my ($node, $sql, %params) = @_;
	my @extra = ('-v', 'VERBOSITY=verbose');
	my ($stdout, $stderr) = ('', '');

	push @extra, '-U', $params{user} if defined $params{user};
	local $ENV{PGOPTIONS} = $params{options} if defined $params{options};
	$node->psql(
		$params{database} // 'postgres', $sql,
		stdout => \$stdout,
		stderr => \$stderr,
		on_error_stop => 0,
		extra_params => \@extra);
	return ($stdout, $stderr);
}

# The errors of a statement: SQLSTATE and message, detail and hint below it, ''
# when there was none. Options: user, database, options (as in PGOPTIONS).
sub failure
{
	my ($stdout, $stderr) = _psql(@_);
	my @lines = grep { /(?:ERROR|FATAL): |^(?:DETAIL|HINT|CONTEXT): / } split(/\n/, $stderr);

	s/^.*?(?:ERROR|FATAL):\s+// foreach @lines;
	return join("\n", @lines);
}

# Tests that a statement has no error; returns what it printed.
sub succeeds
{
	my ($node, $sql, $name, %params) = @_;
	my ($stdout, $stderr) = _psql($node, $sql, %params);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join("\n", grep { /ERROR|FATAL/ } split(/\n/, $stderr)), '', $name);
	return $stdout;
}

# What a derivation has beside its own process, as lines: parallel workers and
# temporary files. An idle server has none.
sub left_behind
{
	my ($node) = @_;
	my $data = $node->data_dir;

	return join("\n",
		$node->safe_psql('postgres',
			"SELECT backend_type || ' of ' || leader_pid FROM pg_stat_activity WHERE backend_type = 'parallel worker'"),
		glob("$data/base/pgsql_tmp/*"),
		glob("$data/pg_tblspc/*/*/pgsql_tmp/*")) =~ s/^\n//r;
}

# How many parallel workers an action starts, as the server's log shows; it takes
# log_min_messages = debug1.
sub workers_started
{
	my ($node, $action) = @_;
	my $position = -s $node->logfile;

	$action->();
	return scalar(() = slurp_file($node->logfile, $position) =~
		  /DEBUG:  starting background worker process "parallel worker for PID/g);
}

# --- Sessions of $node->background_psql

sub pid_of
{
	my ($session) = @_;

	return $session->query_safe('SELECT pg_backend_pid()');
}

# Sends a statement and does not wait for it.
sub start_query
{
	my ($session, $sql) = @_;

	$session->{stderr} = '';
	$session->query_until(qr/started/, "\\echo started\n$sql;\n\\warn 'query is over'\n");
	return;
}

# Waits for that statement; returns what it wrote to stderr.
sub finish_query
{
	my ($session) = @_;
	my $words;

	pump_until($session->{run}, $session->{timeout}, \$session->{stderr},
		qr/query is over\n/);
	$words = $session->{stderr};
	$words =~ s/query is over\n//;
	$session->{stdout} = '';
	$session->{stderr} = '';
	return $words;
}

# --- Processes

# The files beneath a directory that a process has open: path => position.
sub open_files
{
	my ($pid, $dir) = @_;
	my %found;
	local $_;

	foreach my $fd (glob("/proc/$pid/fd/*"))
	{
		my $path = readlink($fd) // next;
		my ($info, $position) = ($fd);

		next unless index($path, "$dir/") == 0;
		$info =~ s!/fd/!/fdinfo/!;
		open(my $file, '<', $info) or next;
		while (<$file>)
		{
			$position = $1 if /^pos:\s*(\d+)/;
		}
		close($file);
		$found{$path} = $position if defined $position;
	}
	return \%found;
}

# Polls until a condition holds; false when it does not become true in time.
sub wait_until
{
	my ($condition) = @_;
	my $end = time() + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		return 0 if time() > $end;
		usleep(1000);
	}
	return 1;
}

1;
