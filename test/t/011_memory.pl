
# What pg_regress can't show: that a derivation keeps to the memory that it may
# use, whatever its source's size, puts the rest into temporary files, comes to
# the same features, and leaves none of those files, however it ends.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# small shared buffers, so that they hide nothing in the measurements of memory
my $node = new_server(
	'memory', conf => q{
	fsync = off
	autovacuum = off
	shared_buffers = 8MB
	max_worker_processes = 16
	max_parallel_workers = 8
	work_mem = 1MB
});
my $root = $node->basedir . '/files';

srand(20240229);

# =============================================================================
# A million experiments
# =============================================================================

my %header = (
	users => "user_id,name,email,signup_date\n",
	compounds => "compound_id,compound_name,compound_structure\n",
	user_experiments => "experiment_id,user_id,experiment_compound_ids,experiment_run_time\n");
my $users = 20_000;
my $experiments = 1_000_000;
my $dir = "$root/large";

write_source(
	$dir,
	users => [ map { "$_,User $_,user$_\@example.com,2023-01-01" } 1 .. $users ],
	compounds => [ map { "$_,Compound $_,C$_" } 1 .. 40 ]);
{
	open(my $file, '>:raw', "$dir/user_experiments.csv") or die "could not open file: $!";
	print $file $header{user_experiments};
	foreach my $i (1 .. $experiments)
	{
		print $file 1_000_000 + $i, ',', 1 + $i * 7919 % $users, ',', 1 + $i % 43, ';', 1 + $i % 7, ',', ($i % 1000) / 10, "\n";
	}
	close($file) or die "could not close file: $!";
}

sub settings
{
	my ($workers, $memory) = @_;

	return "SET eikon_features.parallel_workers = $workers; SET eikon_features.work_mem = '$memory'; ";
}

sub digest_of
{
	my ($source, $options) = @_;

	return "SELECT count(*) || ' ' || md5(string_agg(t::text, E'\\n')) FROM eikon_derive_features('$source'" . ($options // '') . ') t; ';
}

# The bytes of temporary files that the server has counted; its sessions tell it
# of them at their end.
sub temporary_bytes
{
	return $node->safe_psql('postgres', "SELECT temp_bytes FROM pg_stat_database WHERE datname = 'postgres'");
}

# To a user: a small work_mem makes it slower and changes nothing.
my $before = temporary_bytes();
my $digest = $node->safe_psql('postgres', settings(0, '512MB') . digest_of($dir));
like($digest, qr/^$users /, 'a million experiments');
is($node->safe_psql('postgres', settings(2, '512MB') . digest_of($dir)), $digest, 'with workers');
cmp_ok(temporary_bytes() - $before, '<', 20 * 2**20, 'where there is memory, next to nothing goes to files');

foreach my $memory ('1MB', '64kB')
{
	foreach my $workers (0, 2)
	{
		$before = temporary_bytes();
		is($node->safe_psql('postgres', settings($workers, $memory) . digest_of($dir)), $digest, "$workers workers, $memory: the same features");
		ok(wait_until(sub { temporary_bytes() - $before > 8 * 2**20 }), "$workers workers, $memory: by way of files");
		is(left_behind($node), '', "$workers workers, $memory: which are gone");
	}
}

# --- They are where the administrator wants them
# To a user: temp_tablespaces counts for these files, too.
mkdir("$root/space") or die "could not create directory: $!";
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$root/space'");

# Begins derivations without an end, and waits until they have files.
sub endless
{
	my ($set, $call) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = pid_of($session);

	$session->query_safe(settings(2, '64kB') . $set);
	start_query($session, "SELECT count(*) FROM generate_series(1, 1000000) AS g, LATERAL $call");
	return ($session, $pid);
}

my $derive = "eikon_derive_features('$dir', on_error => 'ignore', reject_limit => g)";
foreach my $case ([ '', 'base/pgsql_tmp' ], [ "SET temp_tablespaces = 'space'", 'pg_tblspc/*/*/pgsql_tmp' ])
{
	my ($set, $where) = @$case;
	my ($session, $pid) = endless($set, $derive);

	ok(wait_until(sub { my @found = glob($node->data_dir . "/$where/*.fileset/*"); return @found > 0 }), "temporary files are in $where");
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	like(finish_query($session), qr/ERROR:  canceling statement due to user request/, 'cancelled');
	is(left_behind($node), '', 'they are gone before the session is');
	$session->quit;
}

# --- Whatever ends it
# To a user: an error leaves no file that fills the disk.
foreach my $end ('pg_cancel_backend', 'pg_terminate_backend')
{
	foreach (1 .. 4)
	{
		my ($session, $pid) = endless('', $_ % 2 ? $derive : $derive =~ s/derive_features/run_etl/r);

		wait_until(sub { left_behind($node) =~ /fileset/ });
		usleep(rand(200_000));
		$node->safe_psql('postgres', "SELECT $end($pid)");
		ok(wait_until(sub { left_behind($node) eq '' }), "$end: nothing is left");
		eval { $session->quit };
	}
}

my $bad = "$root/bad";
write_source($bad);
foreach my $file ('users.csv', 'compounds.csv')
{
	unlink("$bad/$file");
	link("$dir/$file", "$bad/$file") or die "could not make link: $!";
}
write_file("$bad/user_experiments.csv", slurp_file("$dir/user_experiments.csv") . "1,1,x,\n");
foreach my $workers (0, 2)
{
	foreach my $function ('eikon_derive_features', 'eikon_run_etl')
	{
		like( failure($node, settings($workers, '64kB') . "SELECT * FROM $function('$bad')"),
			qr/^22P02: .*\n.*\nCONTEXT:  user_experiments\.csv, line @{[ $experiments + 2 ]}\b/,
			"$function, $workers workers: an error in the last line");
		is(left_behind($node), '', "$function, $workers workers: leaves no file");
	}
}

# To a user: temp_file_limit holds, and says so.
foreach my $workers (0, 2)
{
	is( failure($node, settings($workers, '64kB') . "SET temp_file_limit = '2MB'; SELECT * FROM eikon_derive_features('$dir')") =~ s/\nCONTEXT.*//sr,
		'53400: temporary file size exceeds temp_file_limit (2048kB)',
		"$workers workers: too many temporary files");
	is(left_behind($node), '', "$workers workers: which are gone");
	is( $node->safe_psql('postgres', "SET temp_file_limit = '200MB'; " . settings($workers, '64kB') . digest_of($dir)),
		$digest, "$workers workers: not too many");
}

# =============================================================================
# How much memory
# =============================================================================

sub kilobytes_of
{
	my ($pid, $file, $what) = @_;

	open(my $status, '<', "/proc/$pid/$file") or return 0;
	while (<$status>)
	{
		return $1 if /^$what:\s*(\d+) kB/;
	}
	return 0;
}

sub workers_of
{
	my ($pid) = @_;

	my @workers;

	foreach my $cmdline (glob('/proc/[0-9]*/cmdline'))
	{
		open(my $file, '<', $cmdline) or next;
		push @workers, $cmdline =~ /(\d+)/ if (<$file> // '') =~ /parallel worker for PID $pid\b/;
		close($file);
	}
	return @workers;
}

# The most megabytes that a statement takes in all of its processes, beyond what
# the session had before.
sub peak_of
{
	my ($set, $warm, $statement) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = pid_of($session);
	my ($first, $workers) = (0, 0);
	my $words;

	$session->query_safe("$set; $warm");
	$first = kilobytes_of($pid, 'status', 'VmHWM');
	start_query($session, $statement);
	until ($session->{stderr} =~ /query is over/)
	{
		my $sum = 0;

		$sum += kilobytes_of($_, 'smaps_rollup', 'Pss') foreach workers_of($pid);
		$workers = $sum if $sum > $workers;
		usleep(2000);
		$session->{run}->pump_nb;
	}
	$words = finish_query($session);
	die $words if $words =~ /ERROR/;
	my $leader = kilobytes_of($pid, 'status', 'VmHWM') - $first;
	$session->quit;
	note(sprintf('leader %.1f MB, workers %.1f MB', $leader / 1024, $workers / 1024));
	return int(($leader + $workers) / 1024);
}

write_source("$root/small");
my $warm = "SELECT count(*) FROM eikon_derive_features('$root/small')";

# To a user: memory does not grow with the number of experiments, users or texts.
write_source(
	"$root/texts",
	users => [ map { "$_," . 'n' x (500 + $_ % 500) . ',' . 'e' x 200 . ',' } 1 .. 60_000 ],
	user_experiments => [ map { "$_,$_,1,1" } 1 .. 60_000 ]);
write_source(
	"$root/compounds",
	compounds => [ map { "$_," . 'n' x (500 + $_ % 500) . ',' . 's' x 200 } 1 .. 60_000 ]);
foreach my $case ([ 'experiments', $dir ], [ 'texts', "$root/texts" ], [ 'compounds', "$root/compounds" ])
{
	my ($what, $source) = @$case;

	foreach my $workers (0, 2)
	{
		foreach my $function ('eikon_derive_features', 'eikon_run_etl')
		{
			# every process has a copy of all compounds
			my $copies = $what eq 'compounds' ? $workers + 1 : 0;

			cmp_ok(
				peak_of(settings($workers, '1MB'), $warm, "SELECT count(*) FROM $function('$source')"),
				'<', 1 + 64 + 64 * $copies, "$what, $function, $workers workers: memory");
		}
	}
}
cmp_ok(peak_of(settings(0, '512MB'), $warm, "SELECT count(*) FROM eikon_derive_features('$root/texts')"),
	'>', 40, 'where it may, it takes more');

# To a user: nor does it grow with the square of the number of unknown compounds.
write_source("$root/unknown", user_experiments => [ map { join(',', $_, 1, join(';', map { 1_000_000 + $_ } $_ * 4 .. $_ * 4 + 3), 1) } 1 .. 60_000 ]);
cmp_ok(peak_of(settings(0, '512MB'), $warm, "SELECT count(*) FROM eikon_derive_features('$root/unknown')"),
	'<', 128, 'unknown compounds: memory');

# =============================================================================
# Ids that come in no order
# =============================================================================

# To a user: an id that occurs twice is found wherever its places are, with however little memory.
my %ids;
$ids{ unpack('q', pack('LL', int(rand(2**32)), int(rand(2**32)))) } = 1 while keys %ids < 150_000;
my @ids = keys %ids;
my (%seen, @expected);
@ids[ map { int(rand(@ids)) } 1 .. 20 ] = @ids[ map { int(rand(@ids)) } 1 .. 20 ];
@ids[ 10, 149_990 ] = (0, 0);
@ids[ 11, 70_000, 149_999 ] = ('-9223372036854775808') x 3;
@ids[ 12, 13 ] = ('9223372036854775807') x 2;
foreach my $i (0 .. $#ids)
{
	push @expected, join('|', $i + 2, $ids[$i]) if $seen{ $ids[$i] }++;
}
write_source(
	"$root/random",
	users => [ map { "$_,,," } 1 .. 10 ],
	user_experiments => [ map { $_ . ',5,' . '1;' x 20 . ',0.1' } @ids ]);
foreach my $memory ('512MB', '1MB', '64kB')
{
	foreach my $workers (0, 2)
	{
		is( $node->safe_psql('postgres',
				settings($workers, $memory)
				  . "BEGIN; SELECT experiments_read, experiments_loaded FROM eikon_run_etl('$root/random', on_error => 'ignore'); "
				  . "SELECT line, value FROM eikon_rejects WHERE error_type = 'DUPLICATE KEY' AND column_name = 'experiment_id' ORDER BY reject_id; ROLLBACK"),
			join("\n", join('|', scalar @ids, @ids - @expected), @expected),
			"$memory, $workers workers: repeated ids are found");
	}
}

is(left_behind($node), '', 'nothing is left');
is(join("\n", grep { /WARNING: .*leak|TRAP:|PANIC:/ } split(/\n/, slurp_file($node->logfile))), '', 'the server complains of nothing');
$node->stop;
done_testing();
