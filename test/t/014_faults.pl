
# What pg_regress can't show: that a run which is submitted is carried out, or
# said to have failed, whatever comes between: the server stops or crashes, its
# worker or launcher is ended, the disk is full, the files change, the role loses
# its rights, the database goes. After each of these the tables hold the old set
# or the new one and never a mixture, the ledger tells the truth, nothing is left
# behind, and the next run works.
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
use Time::HiRes qw(time);

my $small_disk = $ENV{EIKON_SMALL_DISK} // '';
BAIL_OUT('EIKON_SMALL_DISK must name a directory on a small file system of its own')
  unless -d $small_disk && (stat($small_disk))[0] != (stat("$small_disk/.."))[0];

# prepared transactions hold locks through restarts and crashes
my $conf = q{
	restart_after_crash = on
	max_prepared_transactions = 4
	max_connections = 40
	max_worker_processes = 16
	max_parallel_workers = 2
	autovacuum = off
	log_line_prefix = '%m [%p] %b %e '
};
my $preloaded = new_server(
	'preloaded',
	init => [ allows_streaming => 1 ],
	conf => "$conf\nshared_preload_libraries = 'eikon_features'");
my $plain = new_server('plain', conf => $conf);
my $root = $preloaded->basedir . '/files';

# =============================================================================
# Two sets of features, and what the tables hold of each
# =============================================================================

my %sets = (
	old => {},
	new => {
		users => [ '1,Alicia,,2023-01-01', '2,Bob,bob@example.com,', '4,Dave,,', '5,Eve,,' ],
		user_experiments => [ '1,1,7,', '2,2,7;2,1.5', '3,2,2,', '4,5,9,4' ],
		compounds => [ '2,Compound B changed,C2', '7,Compound G,C7' ]
	});
my %contents;
my %now; # the set that is in a server's database, by its address

sub contents
{
	my ($node, $database) = @_;

	return join("\n--\n", map { rows_of($node, $_, $database) } qw(features eikon_compounds));
}

sub address
{
	my ($node, $database) = @_;

	return $node->name . '/' . ($database // 'postgres');
}

# The set that is not there.
sub other
{
	my ($node, $database) = @_;

	return $now{ address($node, $database) } eq 'old' ? 'new' : 'old';
}

# A source that holds a set, with perhaps other files of some kinds.
sub source_of
{
	my ($set, $name, %kinds) = @_;

	return write_source("$root/$name", %{ $sets{$set} }, %kinds);
}

# The source of the set that is not there.
sub fresh
{
	my ($node, $name) = @_;

	return source_of(other($node), $name);
}

# The same, but that its users take hours to read, with on_error => 'ignore': a record of
# a terabyte, most of it a hole.
sub endless
{
	my ($node, $name) = @_;
	my $dir = fresh($node, $name);

	truncate("$dir/users.csv", 2**40) or die "could not extend file: $!";
	return $dir;
}

# Replaces those users by what they would be.
sub make_readable
{
	my ($dir, $set) = @_;

	source_of($set, 'replacement');
	rename("$root/replacement/users.csv", "$dir/users.csv") or die "could not rename file: $!";
	return;
}

foreach my $set (qw(new old))
{
	source_of($set, $set);
	foreach my $node ($preloaded, $plain)
	{
		run_summary($node, "'$root/$set'");
		$contents{$set} = contents($node);
		$now{ address($node) } = $set;
	}
}
isnt($contents{new}, $contents{old}, 'there are two sets to tell apart');

# =============================================================================
# Runs
# =============================================================================

# submit(NODE, DIRECTORY, user => ..., database => ..., options => ', ...')
sub submit
{
	my ($node, $dir, %params) = @_;

	return $node->safe_psql(
		$params{database} // 'postgres',
		"SELECT eikon_submit_etl('$dir'" . ($params{options} // '') . ')',
		extra_params => [ defined $params{user} ? ('-U', $params{user}) : () ]);
}

sub submit_endless
{
	my ($node, $dir, %params) = @_;

	return submit($node, $dir, options => ", on_error => 'ignore'", %params);
}

my $verdict = q{status || ' at ' || attempts || coalesce(' with ' || error_code, '')};

# Waits for a run's end; returns it as in 'failed at 2 with 57P01'.
sub finish
{
	my ($node, $run_id, $database) = @_;

	return $node->safe_psql($database // 'postgres',
		"SELECT $verdict FROM eikon_wait_etl($run_id, '$PostgreSQL::Test::Utils::timeout_default s')");
}

sub ledger
{
	my ($node, $run_id, $database) = @_;

	return $node->safe_psql($database // 'postgres', "SELECT $verdict FROM eikon_runs WHERE run_id = $run_id");
}

# Tests that an attempt of a run is at a point, which a condition on eikon_progress p and
# eikon_runs r tells; returns the process.
sub reaches
{
	my ($node, $run_id, $attempt, $condition, $name, $database) = @_;
	my $from = "FROM eikon_progress p JOIN eikon_runs r USING (run_id) WHERE run_id = $run_id"
	  . " AND r.status = 'running' AND r.attempts = $attempt AND $condition";

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$database //= 'postgres';
	ok($node->poll_query_until($database, "SELECT count(*) = 1 $from"), $name)
	  or die "run $run_id is " . ledger($node, $run_id, $database);
	return $node->safe_psql($database, "SELECT p.pid $from");
}

# It is reading the endless users.
sub is_reading
{
	my ($node, $run_id, $attempt) = @_;
	my $pid;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$pid = reaches($node, $run_id, $attempt, "p.phase = 'reading users'", "attempt $attempt is reading");
	wait_until(sub {
		return grep { $_ > 2**20 } values %{ open_files($pid, $root) };
	}) or die 'nothing is read';
	return $pid;
}

# It has written all features and would write the compounds, which hold() keeps it from.
sub is_writing
{
	my ($node, $run_id, $attempt, $database) = @_;
	my $pid;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$pid = reaches(
		$node, $run_id, $attempt,
		q{EXISTS (SELECT FROM pg_locks l WHERE l.pid = p.pid AND NOT granted AND relation = 'eikon_compounds'::regclass)},
		"attempt $attempt is in the middle of writing",
		$database);
	is( contents($node, $database),
		$contents{ $now{ address($node, $database) } },
		'nobody sees anything of that');
	return $pid;
}

sub hold
{
	my ($node, $database) = @_;

	$database //= 'postgres';
	$node->safe_psql($database,
		"BEGIN; LOCK TABLE eikon_compounds IN SHARE MODE; PREPARE TRANSACTION 'hold $database'");
	return;
}

sub release
{
	my ($node, $database) = @_;

	$database //= 'postgres';
	$node->safe_psql($database, "ROLLBACK PREPARED 'hold $database'");
	return;
}

# A session whose direct run is not committed, so that all that is submitted waits. It
# changes nothing.
sub hold_queue
{
	my ($node) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe("BEGIN; SELECT run_id FROM eikon_run_etl('$root/$now{ address($node) }')");
	return $session;
}

sub release_queue
{
	my ($session) = @_;

	$session->query_safe('COMMIT');
	$session->quit;
	return;
}

# --- What is asserted after each fault

my $busy = q{
	SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('eikon_features worker', 'parallel worker')
	UNION ALL SELECT count(*) FROM eikon_runs WHERE status IN ('queued', 'running')
	UNION ALL SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'};

sub is_idle
{
	my ($node, $name, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok( $node->poll_query_until($database // 'postgres', "SELECT sum(count) = 0 FROM ($busy) AS b"),
		"$name: then nobody runs or waits, and no worker stays");
	is(left_behind($node), '', "$name: nor anything else");
	return;
}

# settled(NAME, NODE, runs => { RUN_ID => VERDICT... }, set => that must be there now,
# database => ...): the runs have ended so and the set is there, in full; nothing else is;
# and the next run works.
sub settled
{
	my ($name, $node, %params) = @_;
	my $database = $params{database};
	my $address = address($node, $database);
	my $next;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $run_id (sort { $a <=> $b } keys %{ $params{runs} })
	{
		finish($node, $run_id, $database);
		is(ledger($node, $run_id, $database), $params{runs}{$run_id}, "$name: the ledger says so of run $run_id");
	}
	is_idle($node, $name, $database);
	is(contents($node, $database), $contents{ $params{set} }, "$name: the tables hold the $params{set} set");
	$now{$address} = $params{set};

	$next = submit($node, "$root/" . other($node, $database), database => $database);
	is(finish($node, $next, $database), 'succeeded at 1', "$name: the next run works");
	$now{$address} = other($node, $database);
	is(contents($node, $database), $contents{ $now{$address} }, "$name: and brings its set");
	return;
}

# Ends a process at once, as the system does when memory runs out; returns when the
# server has noticed.
sub kill_process
{
	my ($node, $pid) = @_;

	kill('KILL', $pid) == 1 or die "could not kill process $pid: $!";
	wait_until(sub { return !kill(0, $pid) }) or die "process $pid does not end";
	return;
}

sub launcher
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		"SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type = 'eikon_features launcher'");
}

# =============================================================================
# The server is stopped and started again in the middle of a run
# =============================================================================

# --- In an orderly way, and at once
foreach my $mode (qw(fast immediate))
{
	my $set = other($preloaded);
	my $dir = endless($preloaded, "stop $mode");
	my $run_id = submit_endless($preloaded, $dir);

	is_reading($preloaded, $run_id, 1);
	$preloaded->stop($mode);
	make_readable($dir, $set);
	$preloaded->start;
	settled("stopped ($mode) while reading", $preloaded,
		runs => { $run_id => 'succeeded at 2' }, set => $set);

	$set = other($preloaded);
	$dir = fresh($preloaded, "stop $mode");
	hold($preloaded);
	$run_id = submit($preloaded, $dir);
	is_writing($preloaded, $run_id, 1);
	$preloaded->stop($mode);
	$preloaded->start;
	is_writing($preloaded, $run_id, 2);
	release($preloaded);
	settled("stopped ($mode) while writing", $preloaded,
		runs => { $run_id => 'succeeded at 2' }, set => $set);
}

# --- Without preload nobody begins by himself: somebody has to ask
my $ours = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'eikon\_features %'};

foreach my $mode (qw(fast immediate))
{
	my $set = other($plain);
	my $dir = fresh($plain, "stop $mode");
	my ($run_id, $second);

	hold($plain);
	$run_id = submit($plain, $dir);
	is_writing($plain, $run_id, 1);
	$plain->stop($mode);
	$plain->start;
	is($plain->safe_psql('postgres', $ours), 0, "stopped ($mode) without preload: nobody works by himself");
	is( ledger($plain, $run_id),
		($mode eq 'fast' ? 'queued' : 'running') . ' at 1',
		"stopped ($mode) without preload: the run is still to be done");
	release($plain);
	settled("stopped ($mode) without preload, then waited for",
		$plain, runs => { $run_id => 'succeeded at 2' }, set => $set);

	# what is submitted later comes later
	hold($plain);
	$run_id = submit($plain, fresh($plain, "stop $mode"));
	is_writing($plain, $run_id, 1);
	$plain->stop($mode);
	$plain->start;
	release($plain);
	$set = $now{ address($plain) };
	$second = submit($plain, source_of($set, 'second'));
	ok( $plain->poll_query_until('postgres', "SELECT status = 'succeeded' FROM eikon_runs WHERE run_id = $run_id"),
		"stopped ($mode) without preload: the next submission has it done");
	settled("stopped ($mode) without preload, then submitted another",
		$plain,
		runs => { $run_id => 'succeeded at 2', $second => 'succeeded at 1' },
		set => $set);
}

# =============================================================================
# The worker crashes
# =============================================================================

foreach my $node ($preloaded, $plain)
{
	my $name = $node->name;
	my $set = other($node);
	my $dir = endless($node, 'crash');
	my $run_id = submit_endless($node, $dir);
	my $pid = is_reading($node, $run_id, 1);

	# stopped, it does not notice that its file is another one
	kill('STOP', $pid);
	make_readable($dir, $set);
	kill_process($node, $pid);
	ok( $node->poll_query_until('postgres', "SELECT status = 'succeeded' FROM eikon_runs WHERE run_id = $run_id"),
		"$name: a run is done without anybody asking for it after a crash of its worker");
	settled("$name: crashed while reading", $node, runs => { $run_id => 'succeeded at 2' }, set => $set);

	$set = other($node);
	$dir = fresh($node, 'crash');
	hold($node);
	$run_id = submit($node, $dir);
	kill_process($node, is_writing($node, $run_id, 1));
	is_writing($node, $run_id, 2);
	release($node);
	settled("$name: crashed while writing", $node, runs => { $run_id => 'succeeded at 2' }, set => $set);

	# the launcher, too, takes the run with it
	$set = other($node);
	hold($node);
	$run_id = submit($node, fresh($node, 'crash'));
	is_writing($node, $run_id, 1);
	kill_process($node, launcher($node));
	is_writing($node, $run_id, 2);
	release($node);
	settled("$name: launcher crashed", $node, runs => { $run_id => 'succeeded at 2' }, set => $set);

	# once more is one too many
	$set = $now{ address($node) };
	$run_id = submit_endless($node, endless($node, 'crash'));
	foreach my $attempt (1, 2)
	{
		kill_process($node, is_reading($node, $run_id, $attempt));
	}
	ok( $node->poll_query_until('postgres', "SELECT status = 'failed' FROM eikon_runs WHERE run_id = $run_id"),
		"$name: one whose worker crashes again is given up");
	settled("$name: crashed twice", $node, runs => { $run_id => 'failed at 2 with 57P02' }, set => $set);
}

ok( $plain->poll_query_until('postgres', "SELECT count = 0 FROM ($ours) AS o"),
	'without preload no process stays once there is nothing to do');

# =============================================================================
# Cancelled
# =============================================================================

my $rights = q{
	GRANT EXECUTE ON FUNCTION eikon_run_etl, eikon_submit_etl, eikon_wait_etl, eikon_cancel_etl TO %1$s;
	GRANT EXECUTE ON PROCEDURE eikon_etl TO %1$s;
	GRANT SELECT, INSERT, UPDATE, DELETE ON eikon_user_features, eikon_totals, eikon_compounds TO %1$s;
	GRANT pg_read_server_files TO %1$s;};

sub create_role
{
	my ($node, $role) = @_;

	$node->safe_psql('postgres', "CREATE ROLE $role LOGIN;" . sprintf($rights, $role));
	return;
}

create_role($preloaded, $_) foreach qw(loader rival);

# Cancels a run of loader as that role; tests that it ends.
sub cancel
{
	my ($name, $node, $run_id, $sql) = @_;
	my $start = time();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( failure($node, $sql // "SELECT eikon_cancel_etl($run_id)", user => 'loader'), '', "$name: the cancel has no error");
	is( $node->safe_psql('postgres', "SELECT status FROM eikon_wait_etl($run_id, '10s')"),
		'cancelled', "$name: it ends soon");
	note(sprintf('%s: %.2f s', $name, time() - $start));
	return;
}

my $set = $now{ address($preloaded) };
my $run_id = submit_endless($preloaded, endless($preloaded, 'cancel'), user => 'loader');
is_reading($preloaded, $run_id, 1);
like(
	failure($preloaded, "SELECT eikon_cancel_etl($run_id)", user => 'rival'),
	qr/^42501: permission denied to cancel run $run_id\n/,
	'another role may not cancel it');
is(ledger($preloaded, $run_id), 'running at 1', 'and has not');
cancel('cancelled while reading', $preloaded, $run_id);
settled('cancelled while reading', $preloaded, runs => { $run_id => 'cancelled at 1 with 57014' }, set => $set);

$set = $now{ address($preloaded) };
hold($preloaded);
$run_id = submit($preloaded, fresh($preloaded, 'cancel'), user => 'loader');
is_writing($preloaded, $run_id, 1);
cancel('cancelled while writing', $preloaded, $run_id);
release($preloaded);
settled('cancelled while writing', $preloaded, runs => { $run_id => 'cancelled at 1 with 57014' }, set => $set);

# by the administrator, as any other session
$set = $now{ address($preloaded) };
$run_id = submit_endless($preloaded, endless($preloaded, 'cancel'));
my $pid = is_reading($preloaded, $run_id, 1);
$preloaded->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
settled('cancelled by its process', $preloaded, runs => { $run_id => 'cancelled at 1 with 57014' }, set => $set);

# one that has not begun
$set = $now{ address($preloaded) };
my $holder = hold_queue($preloaded);
$run_id = submit($preloaded, fresh($preloaded, 'cancel'), user => 'loader');
my $behind = submit($preloaded, "$root/$set");
is(ledger($preloaded, $run_id), 'queued at 0', 'a run waits for a direct one');
like(
	failure($preloaded, "SELECT eikon_cancel_etl($run_id)", user => 'rival'),
	qr/^42501: permission denied to cancel run $run_id\n/,
	'another role may not withdraw it');
cancel('cancelled while queued', $preloaded, $run_id);
release_queue($holder);
settled('cancelled while queued', $preloaded,
	runs => { $run_id => 'cancelled at 0 with 57014', $behind => 'succeeded at 1' },
	set => $set);

# over and over, while its end is about to be written down and the ledger is locked for long
$set = $now{ address($preloaded) };
hold($preloaded);
$run_id = submit($preloaded, fresh($preloaded, 'cancel'), user => 'loader');
$pid = is_writing($preloaded, $run_id, 1);
$preloaded->safe_psql('postgres', "BEGIN; LOCK TABLE eikon_runs IN SHARE MODE; PREPARE TRANSACTION 'hold ledger'");
is(failure($preloaded, "SELECT eikon_cancel_etl($run_id)", user => 'loader'), '', 'a run is cancelled');
ok( $preloaded->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_locks WHERE pid = $pid AND NOT granted AND relation = 'eikon_runs'::regclass"),
	'its end is about to be written down');
my $log = -s $preloaded->logfile;
$preloaded->safe_psql('postgres', "SELECT pg_cancel_backend($pid)") foreach 1 .. 10;
ok( wait_until(sub { (() = slurp_file($preloaded->logfile, $log) =~ /canceling statement due to lock timeout/g) >= 2 }),
	'it is tried again');
$preloaded->safe_psql('postgres', "ROLLBACK PREPARED 'hold ledger'");
release($preloaded);
settled('cancelled again and again', $preloaded, runs => { $run_id => 'cancelled at 1 with 57014' }, set => $set);

# by a transaction that does not end: others need not wait for it
foreach my $end (qw(COMMIT ROLLBACK))
{
	my $session = $preloaded->background_psql('postgres', on_error_stop => 0);
	my $same = source_of($now{ address($preloaded) }, 'same');

	$set = $now{ address($preloaded) };
	$holder = hold_queue($preloaded);
	$run_id = submit($preloaded, $same);
	$session->query_safe("BEGIN; SELECT eikon_cancel_etl($run_id)");
	release_queue($holder);
	$behind = submit($preloaded, "$root/$set");
	is( $preloaded->safe_psql('postgres', "SELECT status FROM eikon_wait_etl($behind, '10s')"),
		'succeeded', "a cancel that is not committed holds nobody up, $end");
	is(ledger($preloaded, $run_id), 'queued at 0', "the run that it would cancel waits, $end");
	$session->query_safe($end);
	$session->quit;
	settled("a cancel that was not committed, $end", $preloaded,
		runs => { $run_id => $end eq 'COMMIT' ? 'cancelled at 0 with 57014' : 'succeeded at 1' },
		set => $set);
}

# =============================================================================
# Timed out
# =============================================================================

$set = $now{ address($preloaded) };
my $runs = $preloaded->safe_psql('postgres', 'SELECT count(*) FROM eikon_runs');
like(
	failure($preloaded, "SET statement_timeout = '500ms'; SELECT eikon_run_etl('" . endless($preloaded, 'timeout') . "', on_error => 'ignore')"),
	qr/^57014: canceling statement due to statement timeout/,
	'a direct run that takes too long');
is($preloaded->safe_psql('postgres', 'SELECT count(*) FROM eikon_runs'), $runs, 'is not in the ledger');
settled('direct, timed out', $preloaded, runs => {}, set => $set);

$set = $now{ address($preloaded) };
$preloaded->safe_psql('postgres', "ALTER ROLE loader SET statement_timeout = '500ms'");
$run_id = submit_endless($preloaded, endless($preloaded, 'timeout'), user => 'loader');
settled('submitted, timed out', $preloaded, runs => { $run_id => 'failed at 1 with 57014' }, set => $set);
$preloaded->safe_psql('postgres', 'ALTER ROLE loader RESET statement_timeout');

# =============================================================================
# The administrator ends the worker, or the launcher
# =============================================================================

sub terminate
{
	my ($node, $pid) = @_;

	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	return;
}

$set = other($preloaded);
hold($preloaded);
$run_id = submit($preloaded, fresh($preloaded, 'terminate'));
terminate($preloaded, is_writing($preloaded, $run_id, 1));
is_writing($preloaded, $run_id, 2);
release($preloaded);
settled('worker ended', $preloaded, runs => { $run_id => 'succeeded at 2' }, set => $set);

$set = $now{ address($preloaded) };
$run_id = submit_endless($preloaded, endless($preloaded, 'terminate'));
foreach my $attempt (1, 2)
{
	terminate($preloaded, is_reading($preloaded, $run_id, $attempt));
}
settled('worker ended twice', $preloaded, runs => { $run_id => 'failed at 2 with 57P01' }, set => $set);

# one that waits for a direct run has not begun it
$set = other($preloaded);
$holder = hold_queue($preloaded);
$run_id = submit($preloaded, fresh($preloaded, 'terminate'));
my $waiting = q{FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE l.locktype = 'advisory' AND NOT l.granted AND a.backend_type = 'eikon_features worker'};
ok($preloaded->poll_query_until('postgres', "SELECT count(*) = 1 $waiting"), 'a worker waits for a direct run');
terminate($preloaded, $preloaded->safe_psql('postgres', "SELECT pid $waiting"));
ok($preloaded->poll_query_until('postgres', "SELECT count(*) = 0 $waiting"), 'it ends');
release_queue($holder);
settled('worker ended while it waited', $preloaded, runs => { $run_id => 'succeeded at 1' }, set => $set);

# --- The launcher, while a run goes on and another one is submitted
$set = $now{ address($preloaded) };
hold($preloaded);
$run_id = submit($preloaded, fresh($preloaded, 'launcher'));
is_writing($preloaded, $run_id, 1);
terminate($preloaded, launcher($preloaded));
$behind = submit($preloaded, "$root/$set");
release($preloaded);
settled('launcher ended while there was work',
	$preloaded, runs => { $run_id => 'succeeded at 1', $behind => 'succeeded at 1' }, set => $set);

# --- and while there is none
$pid = launcher($preloaded);
like($pid, qr/^\d+$/, 'there is one launcher');
terminate($preloaded, $pid);
ok( $preloaded->poll_query_until('postgres',
		"SELECT (SELECT launcher FROM eikon_health()) AND count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'eikon_features launcher' AND pid <> $pid"),
	'the launcher comes back by itself, and eikon_health() says so');
settled('launcher ended', $preloaded, runs => {}, set => $now{ address($preloaded) });

# =============================================================================
# The disk is full
# =============================================================================

my $tablespace = "$small_disk/eikon.$$";
END { remove_tree($tablespace) if defined $tablespace }

mkdir($tablespace, 0700) or die "could not create directory $tablespace: $!";
$preloaded->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$tablespace'");
$preloaded->safe_psql('postgres', 'ALTER TABLE eikon_user_features SET TABLESPACE small');

# as many bytes as the names alone take
my $large = source_of('new', 'large', users => [ map { $_ . ',' . 'x' x 250 . ',,' } 1 .. 160_000 ]);

$set = $now{ address($preloaded) };
like(
	failure($preloaded, "SELECT eikon_run_etl('$large')"),
	qr/^53100: could not extend file/,
	'a direct run says that the disk is full');
settled('disk full, direct', $preloaded, runs => {}, set => $set);

$set = $now{ address($preloaded) };
$run_id = submit($preloaded, $large);
settled('disk full, submitted', $preloaded, runs => { $run_id => 'failed at 1 with 53100' }, set => $set);

$preloaded->safe_psql('postgres', 'ALTER TABLE eikon_user_features SET TABLESPACE pg_default');
$preloaded->safe_psql('postgres', 'DROP TABLESPACE small');

# =============================================================================
# Files change while they are read
# =============================================================================

# Calls change while a worker is in the middle of a file of users with a hole at its end,
# and is stopped, as in 005_special_files.pl; returns the run.
sub run_while
{
	my ($change) = @_;

	for (my $size = 2**28;; $size *= 2)
	{
		my $dir = fresh($preloaded, 'changing');
		my $path = "$dir/users.csv";
		my $submitted;
		my $worker;
		my $position;
		my $caught;

		truncate($path, $size) or die "could not extend file: $!";
		$submitted = submit($preloaded, $dir, options => ", on_error => 'ignore'");
		wait_until(sub {
			$worker = $preloaded->safe_psql('postgres', 'SELECT max(pid) FROM eikon_running()');
			return $worker ne '' || ledger($preloaded, $submitted) !~ /^(?:queued|running)/;
		});
		next if $worker eq '';
		wait_until(sub {
			$position = open_files($worker, $dir)->{$path};
			return (defined $position && $position > 2**20) || !kill(0, $worker);
		});
		kill('STOP', $worker) or next;
		$position = open_files($worker, $dir)->{$path};
		$caught = defined $position && $position > 0 && $position < $size;
		$change->($path, $size) if $caught;
		kill('CONT', $worker);
		return $submitted if $caught;
		die 'reading is too fast to be met' if $size > 2**36;
		finish($preloaded, $submitted);
	}
}

my $changed = 'failed at 1 with 55006';

$set = $now{ address($preloaded) };
$run_id = run_while(sub { truncate($_[0], $_[1] - 1) });
settled('a file cut short', $preloaded, runs => { $run_id => $changed }, set => $set);
like(
	$preloaded->safe_psql('postgres', "SELECT error_message FROM eikon_runs WHERE run_id = $run_id"),
	qr/^file "users\.csv" changed while it was read$/,
	'the ledger says what was wrong with the file');

# It may be read to its end, by whoever has it open.
$set = $now{ address($preloaded) };
$run_id = run_while(sub { source_of($set, 'replacement'); rename("$root/replacement/users.csv", $_[0]) || die $! });
my $ended = finish($preloaded, $run_id);
note("replaced: $ended");
settled('a file replaced', $preloaded,
	runs => { $run_id => $ended eq $changed ? $changed : 'succeeded at 1' },
	set => $ended eq $changed ? $set : other($preloaded));

# =============================================================================
# Many submit at once
# =============================================================================

# Runs of the same database that went on at the same time.
my $overlaps = q{
	SELECT count(*) FROM eikon_runs a JOIN eikon_runs b ON a.run_id < b.run_id
	WHERE a.background AND b.background AND a.attempts = 1 AND b.attempts = 1
	AND a.started_at < b.finished_at AND b.started_at < a.finished_at};

# --- Two of the same: the second waits until it is certain that the first is queued
foreach my $end (qw(COMMIT ROLLBACK))
{
	my @sessions = map { $preloaded->background_psql('postgres', on_error_stop => 0) } 1, 2;
	my $dir = fresh($preloaded, 'twice');
	my $pid = pid_of($sessions[1]);
	my $newest;
	my $second;

	$set = other($preloaded);
	$holder = hold_queue($preloaded);
	$run_id = $sessions[0]->query_safe("BEGIN; SELECT eikon_submit_etl('$dir')");
	start_query($sessions[1], "SELECT eikon_submit_etl('$dir')");
	ok( $preloaded->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid"),
		"$end: a second submission of the same waits for the first one's transaction");
	$sessions[0]->query_safe($end);
	is(finish_query($sessions[1]), '', "$end: then it is done");
	$second = $preloaded->safe_psql('postgres', "SELECT string_agg(run_id::text, ' ') FROM eikon_runs WHERE status = 'queued'");
	($end eq 'COMMIT' ? \&is : \&isnt)->($second, $run_id, "$end: what is queued is one run");
	$_->quit foreach @sessions;
	release_queue($holder);
	settled("two submit the same, $end", $preloaded, runs => { $second => 'succeeded at 1' }, set => $set);
}

# --- Two of different sources
$set = $now{ address($preloaded) };
$holder = hold_queue($preloaded);
my @two = (submit($preloaded, fresh($preloaded, 'first')), submit($preloaded, source_of($set, 'second')));
release_queue($holder);
settled('two submit different sources', $preloaded, runs => { map { $_ => 'succeeded at 1' } @two }, set => $set);

# --- Two hundred, by twenty at a time
sub submit_many
{
	my ($name, $sql) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	write_file("$root/many.sql", $sql);
	$preloaded->command_ok(
		[ 'pgbench', '-n', '-c', 20, '-j', 2, '-t', 10, '-D', 'n=0', '-f', "$root/many.sql", 'postgres' ],
		"$name: 200 submissions");
	return;
}

# What became of the runs after one: how many there are, and their verdicts.
sub verdicts_after
{
	my ($after) = @_;

	return $preloaded->safe_psql('postgres',
		"SELECT count(*) || ' ' || v FROM (SELECT $verdict FROM eikon_runs WHERE run_id > $after) AS r (v) GROUP BY v ORDER BY v");
}

my $same = "SELECT eikon_submit_etl('%s');\n";
my $different = "\\set n :n + 1\n\\set limit :client_id * 10 + :n\nSELECT eikon_submit_etl('%s', on_error => 'ignore', reject_limit => :limit);\n";

# while the queue waits
foreach my $case ([ 'the same', $same, 1 ], [ 'different options', $different, 200 ])
{
	my ($name, $sql, $n) = @$case;
	my $direct;

	$set = other($preloaded);
	$holder = hold_queue($preloaded);
	$direct = $preloaded->safe_psql('postgres', 'SELECT last_value FROM eikon_runs_run_id_seq');
	submit_many("$name, held", sprintf($sql, fresh($preloaded, 'many')));
	is($preloaded->safe_psql('postgres', "SELECT count(*) FROM eikon_runs WHERE status = 'queued'"),
		$n, "$name, held: that is $n runs");
	release_queue($holder);
	is_idle($preloaded, "$name, held");
	is(verdicts_after($direct), "$n succeeded at 1", "$name, held: and each of them succeeds");
	settled("$name, held", $preloaded, runs => {}, set => $set);
}

# while it is worked on
foreach my $case ([ 'the same', $same, qr/^\d+ succeeded at 1$/ ], [ 'different options', $different, qr/^200 succeeded at 1$/ ])
{
	my ($name, $sql, $expected) = @$case;
	my $last = $preloaded->safe_psql('postgres', 'SELECT max(run_id) FROM eikon_runs');
	my $verdicts;

	$set = other($preloaded);
	submit_many("$name, at once", sprintf($sql, fresh($preloaded, 'many')));
	is_idle($preloaded, "$name, at once");
	$verdicts = verdicts_after($last);
	note("$name, at once: $verdicts");
	like($verdicts, $expected, "$name, at once: all that were queued have succeeded");
	settled("$name, at once", $preloaded, runs => {}, set => $set);
}

is($preloaded->safe_psql('postgres', $overlaps), 0, 'never two runs at the same time');

# =============================================================================
# A role loses its rights between its submission and the run
# =============================================================================

# role, how, and what the ledger says then; under another name it is the same role
my @losses = (
	[ 'functions', 'REVOKE EXECUTE ON FUNCTION eikon_submit_etl FROM %1$s; REVOKE EXECUTE ON PROCEDURE eikon_etl FROM %1$s', 'failed at 1 with 42501' ],
	[ 'tables', 'REVOKE ALL ON eikon_user_features FROM %s', 'failed at 1 with 42501' ],
	[ 'files', 'REVOKE pg_read_server_files FROM %s', 'failed at 1 with 42501' ],
	[ 'dropped', 'DROP OWNED BY %1$s; DROP ROLE %1$s', 'failed at 1 with 42704' ],
	[ 'renamed', 'ALTER ROLE %1$s RENAME TO %1$s_renamed', 'succeeded at 1' ]);

foreach my $loss (@losses)
{
	my ($role, $sql, $expected) = @$loss;
	my @ids;

	$set = other($preloaded);
	create_role($preloaded, $role);
	$holder = hold_queue($preloaded);
	@ids = map { submit($preloaded, fresh($preloaded, 'loss'), user => $_) } $role, 'rival';
	$preloaded->safe_psql('postgres', sprintf($sql, $role));
	release_queue($holder);
	settled("before its run, a role: $role", $preloaded,
		runs => { $ids[0] => $expected, $ids[1] => 'succeeded at 1' },
		set => $set);
	is( $preloaded->safe_psql('postgres', "SELECT count(*) FROM eikon_runs WHERE is_current AND requested_by = '$role'"),
		0, "before its run, a role: $role: nothing there is of its run");
}

# =============================================================================
# More than one database
# =============================================================================

sub create_database
{
	my ($name) = @_;

	$preloaded->safe_psql('postgres', "CREATE DATABASE $name");
	$preloaded->safe_psql($name, 'CREATE EXTENSION eikon_features');
	run_summary_in($name);
	return;
}

sub run_summary_in
{
	my ($name) = @_;

	run_summary($preloaded, "'$root/old'", database => $name);
	$now{ address($preloaded, $name) } = 'old';
	return;
}

# --- Runs in both at once
create_database('second');
hold($preloaded, $_) foreach qw(postgres second);
my %both = map { $_ => submit($preloaded, "$root/" . other($preloaded, $_), database => $_) } qw(postgres second);
is_writing($preloaded, $both{$_}, 1, $_) foreach qw(postgres second postgres);
release($preloaded, $_) foreach qw(postgres second);
settled("two databases: $_", $preloaded,
	runs => { $both{$_} => 'succeeded at 1' },
	set => other($preloaded, $_),
	database => $_)
  foreach qw(postgres second);

# --- Right after a run a database can be dropped
finish($preloaded, submit($preloaded, "$root/new", database => 'second'), 'second');
is(failure($preloaded, 'DROP DATABASE second'), '', 'a database can be dropped right after a run');

# --- and, by force, in the middle of one
create_database('second');
$run_id = submit_endless($preloaded, endless($preloaded, 'force'), database => 'second');
ok( $preloaded->poll_query_until('second', "SELECT count(*) = 1 FROM eikon_running() WHERE phase = 'reading users'"),
	'a run goes on in a database');
is(failure($preloaded, 'DROP DATABASE second WITH (FORCE)'), '', 'it can be dropped by force');
settled('dropped by force', $preloaded, runs => {}, set => $now{ address($preloaded) });

# --- Where no worker is free, another database's runs stay queued
configure($preloaded, 'eikon_features.max_workers' => 1);
$preloaded->restart;

foreach my $drop ('DROP EXTENSION eikon_features', 'DROP DATABASE second')
{
	my $position;
	my $first;
	my @wrong;

	create_database('second');
	$set = other($preloaded);
	hold($preloaded);
	$first = submit($preloaded, fresh($preloaded, 'busy'));
	is_writing($preloaded, $first, 1);
	$run_id = submit($preloaded, "$root/new", database => 'second');
	is(ledger($preloaded, $run_id, 'second'), 'queued at 0', "$drop: a run is queued");
	$position = -s $preloaded->logfile;
	is(failure($preloaded, $drop, database => $drop =~ /EXTENSION/ ? 'second' : 'postgres'), '', "$drop: it can be done");
	release($preloaded);

	# two more, so that the launcher has had to do with all databases since
	settled($drop, $preloaded, runs => { $first => 'succeeded at 1' }, set => $set);
	settled("$drop, then", $preloaded, runs => {}, set => $now{ address($preloaded) });
	@wrong = grep { /(?:ERROR|FATAL|PANIC|WARNING): |"eikon_features worker" .* exited with exit code [^0]/ }
	  split(/\n/, slurp_file($preloaded->logfile, $position));
	is(join("\n", @wrong), '', "$drop: the log has no error of it");
	$preloaded->safe_psql('postgres', 'DROP DATABASE IF EXISTS second');
}

configure($preloaded, 'eikon_features.max_workers' => undef);
$preloaded->restart;

# --- A copy of a database that has nothing to do
is_idle($preloaded, 'before the copy');
is( failure($preloaded, 'CREATE DATABASE copy TEMPLATE postgres', database => 'template1'),
	'', 'a database with the extension can be copied');
$now{ address($preloaded, 'copy') } = $now{ address($preloaded) };
settled('copy', $preloaded, runs => {}, set => $now{ address($preloaded, 'copy') }, database => 'copy');
is(contents($preloaded), $contents{ $now{ address($preloaded) } }, 'what runs there does not touch the original');
$preloaded->safe_psql('postgres', 'DROP DATABASE copy');

# =============================================================================
# A standby takes over
# =============================================================================

my $standby = PostgreSQL::Test::Cluster->new('standby');

$preloaded->backup('backup');
$standby->init_from_backup($preloaded, 'backup', has_streaming => 1);
$standby->start;
$now{ address($standby) } = $now{ address($preloaded) };

$set = $now{ address($preloaded) };
hold($preloaded);
$run_id = submit($preloaded, fresh($preloaded, 'failover'));
is_writing($preloaded, $run_id, 1);
$behind = submit($preloaded, source_of($set, 'behind'));
$preloaded->wait_for_catchup($standby);
is(ledger($standby, $run_id), 'running at 1', 'the standby knows that a run goes on');
is(ledger($standby, $behind), 'queued at 0', 'and that another one waits');

my %calls = (
	"eikon_submit_etl('$root/old')" => 'eikon_submit_etl',
	"eikon_cancel_etl($behind)" => 'eikon_cancel_etl',
	"eikon_wait_etl($behind, '1s')" => 'eikon_wait_etl',
	"eikon_purge_runs('0')" => 'eikon_purge_runs');
foreach my $call (sort keys %calls)
{
	like(
		failure($standby, "SELECT $call"),
		qr/^25006: cannot execute $calls{$call}\(\) during recovery\nHINT: /,
		"$calls{$call} is refused on the standby");
}
like(
	failure($standby, "CALL eikon_etl('$root/old')"),
	qr/^25006: cannot execute eikon_\w+\(\) during recovery\nHINT: /,
	'and so is eikon_etl');
is($standby->safe_psql('postgres', $ours), 0, 'nobody works on the standby');

$preloaded->stop('immediate');
$standby->promote;
is_writing($standby, $run_id, 2);
release($standby);
settled('promoted', $standby,
	runs => { $run_id => 'succeeded at 2', $behind => 'succeeded at 1' },
	set => $set);

# =============================================================================
# All of this has crashed nothing but what was crashed on purpose
# =============================================================================

foreach my $node ($preloaded, $plain, $standby)
{
	my @wrong = grep {
		/ (?:eikon_features \w+|client backend|parallel worker) XX|could not record the end of run|PANIC: |TRAP: |was terminated by signal (?!9:)/
	} split(/\n/, slurp_file($node->logfile));

	is(join("\n", @wrong), '', $node->name . ': no crash of its own making, no internal error');
}

$standby->stop;
$plain->stop;
done_testing();
