
# What pg_regress can't show: that a run can be ended at any moment, by its
# caller, a timeout, the administrator or the loss of the client, and that ended
# and failed runs leave nothing behind: no rows, locks, temporary files, open
# files or memory.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Seconds: far more than it takes, far less than the runs below would.
my $soon = 5;

# small shared buffers, so that they hide nothing in the measurements of memory
my $node = new_server('cancel', conf => q{
	shared_buffers = 8MB
	client_connection_check_interval = 100ms
	eikon_features.max_decompressed_size = 0
});
my $root = $node->basedir . '/files';

# =============================================================================
# Sources that take far longer to read than anybody waits here
# =============================================================================

# A header, and a terabyte of zeros: one record too long, in various disguises.
sub write_hole
{
	my ($name, $start) = @_;
	my $dir = write_source("$root/$name", users => $start);

	truncate("$dir/users.csv", 2**40) or die "could not extend file: $!";
	return;
}

# A file that expands to very many gigabytes: what is compressed can be repeated,
# and reads as the text repeated.
sub write_bomb
{
	my ($name, $command, $kind, $text) = @_;
	my $dir = write_source("$root/$name");
	my $block = "$root/block";
	my ($header) = slurp_file("$dir/$kind.csv") =~ /^(.*\n)/;
	my ($suffix, $times) = $command eq 'zstd' ? ('zst', 20_000) : ('gz', 2000);

	unlink("$dir/$kind.csv");
	write_file("$dir/$kind.csv", $header);
	write_file($block, $text);
	system_or_bail($command, '-q', "$dir/$kind.csv");
	system_or_bail($command, '-q', $block);
	append_to_file("$dir/$kind.csv.$suffix", slurp_file("$block.$suffix") x $times);
	unlink("$block.$suffix", $block, "$dir/$kind.csv");
	return;
}

my $users = "user_id,name,email,signup_date\n";
my $size = 2**24;

write_hole('long_line', "${users}1,Alice,,\n");
write_hole('open_quote', "${users}1,Alice,,\n2,\"");
write_hole('utf16', pack('v*', 0xFEFF, unpack('C*', "${users}1,Alice,,\n")));
write_bomb('zstd_lines', 'zstd', 'users', "\n" x $size);
write_bomb('zstd_records', 'zstd', 'user_experiments', "1,1,1;2,10\n" x ($size / 11));
write_bomb('zstd_list', 'zstd', 'user_experiments', '1;' x ($size / 2));
write_bomb('gzip_lines', 'gzip', 'compounds', "\n" x $size);
write_bomb('gzip_padding', 'gzip', 'compounds', ' ' x $size);
write_source("$root/small");
write_source("$root/other", users => [ '1,Alicia,,', '2,Bob,,', '4,Dave,,', '3,Carol,,' ]);

run_summary($node, "'$root/small'");
my $before = rows_of($node, 'features');

# =============================================================================
# Ways to end them
# =============================================================================

sub begin_session
{
	return $node->background_psql('postgres', on_error_stop => 0);
}

# Begins a run; returns its session and process once it has a file of its source open.
sub begin_run
{
	my ($name, $set) = @_;
	my $session = begin_session();
	my $pid = pid_of($session);

	$session->query_safe($set) if defined $set;
	start_query($session, "SELECT * FROM eikon_run_etl('$root/$name', on_error => 'ignore')");
	wait_until(sub {
		return %{ open_files($pid, "$root/$name") } > 0;
	}) or die 'the run does not begin';
	return ($session, $pid);
}

sub seconds_of
{
	my ($action) = @_;
	my $start = time();

	$action->();
	return time() - $start;
}

# Tests that nothing is left of what has been ended.
sub nothing_left
{
	my ($what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok( $node->poll_query_until('postgres',
			q{SELECT (SELECT count(*) FROM pg_ls_tmpdir()) + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') = 0}),
		"$what: no temporary files, no lock");
	is(rows_of($node, 'features'), $before, "$what: the old rows");
	return;
}

# --- The caller, in every way of reading
foreach my $name (qw(long_line open_quote utf16 zstd_lines zstd_records zstd_list gzip_lines gzip_padding))
{
	my ($session, $pid) = begin_run($name);
	my $words;
	my $seconds = seconds_of(sub {
		$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
		$words = finish_query($session);
	});

	note(sprintf('%s: %.2f s', $name, $seconds));
	like($words, qr/ERROR:  canceling statement due to user request/, "$name: cancelled");
	cmp_ok($seconds, '<=', $soon, "$name: soon");
	is($session->query_safe('SELECT 1'), 1, "$name: the session goes on");
	is_deeply(open_files($pid, $root), {}, "$name: and has no file open");
	$session->quit;
	nothing_left($name);
}

# --- A preview of the same
foreach my $path ('long_line/users.csv', 'zstd_lines/users.csv.zst')
{
	my $words;
	my $seconds = seconds_of(sub {
		$words = failure($node, "SET statement_timeout = '1s'; SELECT count(*) FROM eikon_read_csv('$root/$path')");
	});

	like($words, qr/^57014: canceling statement due to statement timeout/, "preview of $path: timed out");
	cmp_ok($seconds, '<=', 1 + $soon, "preview of $path: soon");
}

# --- A timeout
foreach my $name (qw(long_line zstd_lines))
{
	my $words;
	my $seconds = seconds_of(sub {
		$words = failure($node, "SET statement_timeout = '1s'; SELECT * FROM eikon_run_etl('$root/$name', on_error => 'ignore')");
	});

	like($words, qr/^57014: canceling statement due to statement timeout/, "$name: timed out");
	cmp_ok($seconds, '<=', 1 + $soon, "$name: soon");
	nothing_left("$name, timeout");
}

# --- The administrator, and the loss of the client
my %ends = (
	'terminated' => sub {
		my ($session, $pid) = @_;
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	},
	'client killed' => sub {
		my ($session, $pid) = @_;
		$session->{run}->signal('KILL');
	});

foreach my $how (sort keys %ends)
{
	foreach my $name (qw(long_line zstd_lines))
	{
		my ($session, $pid) = begin_run($name);
		my $seconds = seconds_of(sub {
			$ends{$how}->($session, $pid);
			$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
		});

		cmp_ok($seconds, '<=', $soon, "$name, $how: its process ends soon");
		eval { $session->quit };
		nothing_left("$name, $how");
	}
}

# --- A run that waits for a writer
my $writer = begin_session();
my $session = begin_session();
my $pid = pid_of($session);

$writer->query_safe('BEGIN; UPDATE features SET name = NULL');
start_query($session, "SELECT * FROM eikon_run_etl('$root/other')");
ok( $node->poll_query_until('postgres',
		"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid"),
	'a run waits for a writer');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
like(finish_query($session), qr/ERROR:  canceling statement due to user request/, 'waiting: cancelled');
$writer->query_safe('ROLLBACK');
$writer->quit;
nothing_left('waiting');

# --- A run that is writing: a trigger makes it linger over a row
$node->safe_psql('postgres', q{
	CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$;
	CREATE TRIGGER linger BEFORE INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION linger();
});
start_query($session, "SELECT * FROM eikon_run_etl('$root/other')");
ok( $node->poll_query_until('postgres',
		"SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid"),
	'a run is writing');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
like(finish_query($session), qr/ERROR:  canceling statement due to user request/, 'writing: cancelled');
$node->safe_psql('postgres', 'DROP TRIGGER linger ON eikon_user_features; DROP FUNCTION linger()');
nothing_left('writing');
$session->quit;

# --- At any moment of a whole run: whatever it does then, it ends, and soon
write_source(
	"$root/large",
	users => [ map { "$_,User $_,," } reverse 1 .. 100_000 ],
	user_experiments => [ map { "$_,$_,1;2,$_" } 1 .. 100_000 ]);
foreach my $milliseconds (10, 30, 60, 100, 200, 400, 800)
{
	my $words;
	my $seconds = seconds_of(sub {
		$words = failure($node,
			"SET statement_timeout = '${milliseconds}ms'; BEGIN; SELECT status FROM eikon_run_etl('$root/large'); ROLLBACK");
	});

	note(sprintf('%d ms: %.2f s, %s', $milliseconds, $seconds, $words || 'through'));
	# a machine may be fast enough to be through
	like($words, qr/^(?:57014: canceling statement due to statement timeout.*)?\z/s, "after $milliseconds ms: timed out");
	cmp_ok($seconds, '<=', $milliseconds / 1000 + $soon, "after $milliseconds ms: soon");
}
nothing_left('at any moment');

# =============================================================================
# What many failed runs leave in one session
# =============================================================================

write_source("$root/bad_record", users => [ '1,Alice,,', 'x,Bob,,' ]);
write_source("$root/bad_header", users => "nonsense\n1\n");
write_source("$root/bad_link");
unlink("$root/bad_link/compounds.csv");
symlink('users.csv', "$root/bad_link/compounds.csv") or die "could not make link: $!";
write_source("$root/missing_kind");
unlink("$root/missing_kind/compounds.csv");

# cut in the middle: what is there is fine
my @cut = ([ zstd => 'zst' ], [ gzip => 'gz' ]);
foreach my $cut (@cut)
{
	my ($command, $suffix) = @$cut;
	my $dir = write_source("$root/cut_$command", users => [ map { $_ . ',' . rand() . ',,' } 1 .. 20_000 ]);

	system_or_bail($command, '-q', "$dir/users.csv");
	unlink("$dir/users.csv");
	truncate("$dir/users.csv.$suffix", (-s "$dir/users.csv.$suffix") / 2) or die "could not cut file: $!";
}

my @failing = map { "PERFORM eikon_run_etl('$root/$_')" }
  qw(bad_record bad_header bad_link missing_kind nowhere cut_zstd cut_gzip);
push @failing,
  "PERFORM * FROM eikon_read_csv('$root/cut_zstd/users.csv.zst')",
  "PERFORM * FROM eikon_derive_features('$root/bad_record')",
  # one row is taken, the others are never asked for
  "PERFORM eikon_derive_features('$root/small') LIMIT 1";

$session = begin_session();
$pid = pid_of($session);
$session->query_safe('SELECT status FROM eikon_run_etl(\'' . "$root/small')");

# All of them a number of times, each in a transaction of its own.
sub fail_often
{
	my ($times) = @_;

	foreach (1 .. $times)
	{
		$session->query("DO \$\$ BEGIN $_; END \$\$") foreach @failing;
		$session->{stderr} = '';
	}
	return;
}

# The same within one transaction, as a function does that catches errors.
sub fail_caught
{
	my ($times) = @_;

	$session->query_safe("DO \$\$ BEGIN FOR i IN 1 .. $times LOOP "
		. join(' ', map { "BEGIN $_; EXCEPTION WHEN OTHERS THEN NULL; END;" } @failing)
		. ' END LOOP; END $$');
	return;
}

# Files and sockets other than the server's own tables, of which it keeps some open.
sub count_open
{
	my $own = $node->data_dir;

	return scalar grep { index(readlink($_) // $own, $own) != 0 } glob("/proc/$pid/fd/*");
}

# Bytes of the process that are its own.
sub memory_of
{
	my ($of, $what) = @_;
	my ($kilobytes) = slurp_file("/proc/$of/status") =~ /^$what:\s*(\d+) kB/m;

	return $kilobytes * 1024;
}

fail_often(1);
fail_caught(1);
my $open = count_open();
my $contexts = $session->query_safe('SELECT sum(total_bytes) FROM pg_backend_memory_contexts');
my $memory = memory_of($pid, 'RssAnon');

fail_often(20);
fail_caught(50);
is_deeply(open_files($pid, $root), {}, 'failed runs leave no file of the source open');
note("memory before $memory, after " . memory_of($pid, 'RssAnon'));
is(count_open(), $open, 'nor anything else');
cmp_ok(
	$session->query_safe('SELECT sum(total_bytes) FROM pg_backend_memory_contexts'),
	'<=', $contexts + 2**20, 'nor memory in the server\'s books');
cmp_ok(memory_of($pid, 'RssAnon'), '<=', $memory + 16 * 2**20, 'nor any beside them');

# A hundred in one transaction keep no file open until its end.
$session->query_safe('BEGIN');
fail_caught(10);
$session->query_safe("SELECT count(*) FROM eikon_derive_features('$root/small')");
$session->query_safe("SELECT status FROM eikon_run_etl('$root/small')");
is_deeply(open_files($pid, $root), {}, 'nor do they or others until the transaction ends');
$session->query_safe('COMMIT');
$session->quit;
nothing_left('failures');

# =============================================================================
# Memory does not grow with the number of rejects
# =============================================================================

# The most memory that a process ever had, for a run with that many rejects.
sub peak_of_rejects
{
	my ($n) = @_;
	my $dir = write_source("$root/rejects_$n", user_experiments => [ map { "$_,1,1;x,10" } 1 .. $n ]);
	my $runner = begin_session();
	my $peak;

	is( $runner->query_safe("SELECT experiments_rejected, experiments_loaded, rows_unchanged FROM eikon_run_etl('$dir', on_error => 'ignore')") =~
		  s/\|.*//r,
		$n, "a run with $n rejects");
	$peak = memory_of(pid_of($runner), 'VmHWM');
	$runner->quit;
	return $peak;
}

my $few = peak_of_rejects(3000);
my $many = peak_of_rejects(300_000);

note("peak with few rejects $few, with many $many");
cmp_ok($many - $few, '<', 100 * 2**20, 'a hundred times the rejects do not take a hundred times the memory');
is( $node->safe_psql('postgres', 'SELECT count(*) FROM eikon_rejects'), 303_000, 'all of them are kept');

# =============================================================================
# After all this, it works
# =============================================================================

is( run_summary($node, "'$root/other'"),
	'succeeded: inserted 1, updated 3, deleted 0, unchanged 0',
	'the next run works');

$node->stop;
done_testing();
