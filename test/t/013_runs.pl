
# What pg_regress can't show of runs in the background: what is told of them while they
# go on, to listeners, in the log and in views; that they have the rights and settings of
# the role that asked, whatever its triggers try; and what becomes of them where
# there is no room for a worker.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('runs', conf => "shared_preload_libraries = 'eikon_features'\neikon_features.max_decompressed_size = 0\n");
my $root = $node->basedir . '/files';
my $super = $node->safe_psql('postgres', 'SELECT current_user');

write_source("$root/first");
write_source("$root/second", users => [ '1,Alicia,,', '2,Bob,,', '3,Carol,,', '4,Dave,,' ]);
write_source("$root/bad", users => [ '1,Alice,,', 'x,Nobody,,' ]);

# A source that takes far longer to read than anybody waits here: a few users, one of them
# no user, and then a file that expands to very many empty lines.
write_source("$root/endless", users => [ '1,Alice,,', 'x,Nobody,,', '2,Bob,,', '3,Carol,,' ], compounds => []);
{
	my $path = "$root/endless/compounds.csv";

	write_file("$root/block", "\n" x 2**24);
	system_or_bail('gzip', '-q', $path);
	system_or_bail('gzip', '-q', "$root/block");
	append_to_file("$path.gz", slurp_file("$root/block.gz") x 2000);
}
my $bytes = 0;
$bytes += -s $_ foreach glob("$root/endless/*");

sub query
{
	my ($sql, $database) = @_;

	return $node->safe_psql($database // 'postgres', $sql);
}

sub submit
{
	my ($arguments, $database) = @_;

	return query("SELECT eikon_submit_etl($arguments)", $database);
}

# What the ledger says of it when it has ended.
sub outcome
{
	my ($run_id, $columns, $database) = @_;

	$columns //= 'status, error_code, error_message';
	return query("SELECT $columns FROM eikon_wait_etl($run_id)", $database);
}

# Polls until the query gives t.
sub await
{
	my ($what, $sql) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('postgres', $sql), $what);
}

# =============================================================================
# An idle server
# =============================================================================

my $processes = "SELECT string_agg(backend_type, ' ') FROM pg_stat_activity WHERE backend_type LIKE 'eikon%'";

# Tests that there is the launcher and nothing else, and that it sleeps.
sub idle
{
	my ($when) = @_;
	my ($pid, @before, @after);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	await("$when: a launcher, no worker", "SELECT ($processes) = 'eikon_features launcher'");
	$pid = query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'eikon_features launcher'");
	foreach my $numbers (\@before, \@after)
	{
		# utime and stime, and how often it gave up the processor of its own accord
		push @$numbers, (split(/ /, slurp_file("/proc/$pid/stat") =~ s/^.*\) //sr))[ 11, 12 ];
		push @$numbers, slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m;
		sleep(3) if $numbers == \@before; # the span that is looked at
	}
	is("@after", "@before", "$when: the launcher does nothing");
	return;
}

idle('after the start');

# =============================================================================
# LISTEN
# =============================================================================

my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN eikon_runs');

# The states told since the last time, when there are as many as that.
sub heard
{
	my ($n) = @_;
	my @payloads;

	wait_until(sub {
		push @payloads, $listener->query_safe('SELECT') =~ /notification "eikon_runs" with payload "(.*)" received/g;
		return @payloads >= $n;
	});
	return join(' ', map { query("SELECT r->>'run_id' || (r->>'status') FROM (SELECT '$_'::jsonb) AS t (r)") } @payloads);
}

my $id = submit("'$root/first'");
is(outcome($id), 'succeeded||', 'a run');
is(heard(3), "${id}queued ${id}running ${id}succeeded", 'is told of thrice');
$id = submit("'$root/bad'");
like(outcome($id), qr/^failed\|22P02\|/, 'a failure');
is(heard(3), "${id}queued ${id}running ${id}failed", 'is told of thrice');
$id = query("BEGIN; SELECT eikon_cancel_etl(eikon_submit_etl('$root/first')); COMMIT; SELECT max(run_id) FROM eikon_runs") =~ s/^t\n//r;
is(heard(2), "${id}queued ${id}cancelled", 'a cancel of what is queued is told of');
query("BEGIN; SELECT eikon_submit_etl('$root/first'); ROLLBACK");
query("BEGIN; SELECT eikon_run_etl('$root/first'); ROLLBACK");
failure($node, "SELECT eikon_run_etl('$root/bad')");
query("SELECT eikon_run_etl('$root/first', dry_run => true)");
$id = query("SELECT run_id FROM eikon_run_etl('$root/second')");
is(heard(1), "${id}succeeded", 'a direct run is told of when it is committed, and nothing of what was not');
query("BEGIN; SELECT eikon_try_etl('$root/bad'); ROLLBACK");
$id = query("SELECT run_id FROM eikon_try_etl('$root/bad')");
is(heard(1), "${id}failed", 'nor of a failure');
$id = submit("'$root/second', skip_unchanged => true");
outcome($id);
heard(3);
$id = submit("'$root/second', skip_unchanged => true");
is(outcome($id, 'status, skipped'), 'succeeded|t', 'one that skips');
is(heard(3), "${id}queued ${id}running ${id}succeeded", 'is told of as any other');

query("SELECT eikon_run_etl('$root/first')");
my ($payload) = do {
	my $words = '';
	wait_until(sub { ($words = $listener->query_safe('SELECT')) =~ /payload/ });
	$words =~ /with payload "(.*)" received/;
};
is( query("SELECT string_agg(key || ':' || jsonb_typeof(value), ' ' ORDER BY key) FROM jsonb_each('$payload')"),
	'requested_by:string run_id:number status:string',
	'each time with these keys');
is(query("SELECT '$payload'::jsonb->>'requested_by'"), $super, 'and who asked for it');

# =============================================================================
# The log
# =============================================================================

# What the log has of runs and their errors since the action began.
sub logged
{
	my ($action) = @_;
	my $position = -s $node->logfile;
	my @lines;

	$action->();
	push @lines, grep { /ETL run / && !/statement:/ } split(/\n/, slurp_file($node->logfile, $position));
	s/^.*?(LOG|WARNING|ERROR): +/$1 /, s/run \d+/run N/, s/\d+\.\d+ s/T s/ foreach @lines;
	return join("\n", @lines);
}

my $runs = sub {
	outcome(submit("'$root/first'"));
	outcome(submit("'$root/bad'"));
	query("SELECT eikon_run_etl('$root/second')");
	failure($node, "SELECT eikon_run_etl('$root/bad')");
	query("SELECT eikon_try_etl('$root/bad')");
};
my $counts = '3 compounds, 3 experiments loaded, 0 records rejected; rows:';
my $failed = qq{WARNING ETL run N of "$root/bad" failed after T s: invalid input syntax for type bigint: "x"};
my $tried = $failed =~ s/^WARNING/LOG/r;
my %log = ('none' => qr/\A\z/, 'failed' => qr/\A\Q$failed\E\n\Q$tried\E\z/, 'all' => qr{
	\A LOG\ ETL\ run\ N\ of\ "\Q$root\E/first"\ succeeded:\ 3\ users,\ 2\ compounds,\ 3\ experiments\ loaded,\ 0\ records\ rejected;
		\ rows:\ \d\ inserted,\ \d\ updated,\ \d\ deleted,\ \d\ unchanged;\ T\ s
	\n\Q$failed\E
	\nLOG\ ETL\ run\ N\ of\ "\Q$root\E/second"\ succeeded:\ 4\ users,.*;\ T\ s
	\n\Q$tried\E\z}x);
foreach my $choice ('none', 'failed', 'all')
{
	# of the role: sessions and workers have it at once
	query("ALTER ROLE \"$super\" SET eikon_features.log_runs = '$choice'");
	like(logged($runs), $log{$choice}, "log_runs = $choice");
}
like( logged(sub { outcome(submit("'$root/second', skip_unchanged => true")) foreach 1 .. 2 }),
	qr{\nLOG ETL run N of "\Q$root\E/second" succeeded: nothing has changed, \d+ bytes compared; T s\z},
	'one that skips');
query("ALTER ROLE \"$super\" RESET eikon_features.log_runs");

# To an operator: the log says that a run succeeded only if it did.
query(q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not so'; END $$;
	CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON eikon_user_features DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
});
is( logged(sub { outcome(submit("'$root/first'")) }),
	qq{WARNING ETL run N of "$root/first" failed after T s: not so},
	'what the commit refuses has not succeeded');
query('DROP FUNCTION refuse CASCADE');

# =============================================================================
# In the middle
# =============================================================================

# Tests what is told of a run over the endless source that goes on.
sub in_the_middle
{
	my ($what, $id, $pid, $source) = @_;
	my $columns = "bytes_total, records, rejects, requested_by, phase, source, rate > 0, estimated_left > '0', started_at <= clock_timestamp(), rows_done, rows_total"
	  =~ s/rate/bytes_per_second/r;
	my $before;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	await("$what: it reads", "SELECT phase = 'reading compounds' AND bytes_done > 0 FROM eikon_progress WHERE run_id = $id");
	is( query("SELECT $columns FROM eikon_progress WHERE run_id = $id AND pid = $pid"),
		"$bytes|4|1|$super|reading compounds|$source|t|t|t|0|0",
		"$what: eikon_progress");
	await("$what: a parallel worker reads", "SELECT count(*) > 0 FROM pg_stat_activity WHERE leader_pid = $pid AND backend_type = 'parallel worker'");
	$before = query("SELECT bytes_done FROM eikon_progress WHERE run_id = $id");
	await("$what: its progress moves", "SELECT bytes_done > $before FROM eikon_progress WHERE run_id = $id");
	is(query('SELECT count(*) FROM pg_stat_progress_copy'), 0, "$what: pg_stat_progress_copy shows nothing");
	like( failure($node, "SELECT eikon_run_etl('$root/first')"),
		qr/^55P03: another ETL run is going on for table "eikon_user_features"\nDETAIL: +It is run $id\./,
		"$what: a direct run is refused");
	return;
}

# --- A direct run
my $options = "'$root/endless', on_error => 'ignore'";
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('SET eikon_features.parallel_workers = 2; SET track_activities = off');
start_query($session, "SELECT eikon_run_etl($options)");
await('a direct run begins', 'SELECT count(*) = 1 FROM eikon_progress');
$id = query('SELECT run_id FROM eikon_progress');
in_the_middle('direct', $id, pid_of_run(), '');
is(query("SELECT count(*) FROM eikon_runs WHERE run_id = $id"), 0, 'it is not in the ledger yet');
is(query("SELECT eikon_cancel_etl($id)"), 't', 'it can be cancelled by its number');
like(finish_query($session), qr/ERROR:  canceling statement due to user request/, 'it is');
$session->quit;

sub pid_of_run
{
	return query('SELECT pid FROM eikon_progress');
}

# Dry runs have no number, and there can be several.
my @dry = map { $node->background_psql('postgres', on_error_stop => 0) } 1, 2;
my @pids = map { pid_of($_) } @dry;
start_query($_, "SELECT eikon_run_etl($options, dry_run => true)") foreach @dry;
await('dry runs are shown too, each with its process',
	"SELECT array_agg(pid ORDER BY pid) = (SELECT array_agg(i ORDER BY i) FROM unnest('{$pids[0],$pids[1]}'::int[]) AS i)
		AND bool_and(run_id IS NULL AND bytes_done > 0) FROM eikon_progress");
query('CREATE DATABASE other');
query('CREATE EXTENSION eikon_features', 'other');
is(query('SELECT count(*) FROM eikon_progress', 'other'), 0, 'but not in another database');
query('DROP DATABASE other');
query("SELECT pg_cancel_backend($pids[0])");
finish_query($dry[0]);
is(query('SELECT pid FROM eikon_progress'), $pids[1], 'one that is cancelled is gone');
query("SELECT pg_terminate_backend($pids[1])");
await('and so is one whose process is terminated', 'SELECT count(*) = 0 FROM eikon_progress');
$dry[0]->quit;
eval { $dry[1]->quit };

# --- What a trigger does is none of the run's progress
query(qq{
	CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
		COPY (SELECT g FROM generate_series(1, 1000) AS g) TO '/dev/null';
		PERFORM FROM eikon_derive_features('$root/second');
		BEGIN
			PERFORM eikon_run_etl('$root/second', dry_run => true);
		EXCEPTION WHEN object_in_use THEN
			-- one run cannot start another; this is the end of a subtransaction
		END;
		PERFORM pg_advisory_xact_lock(1);
		RETURN NULL;
	END \$\$;
	CREATE TRIGGER meddle AFTER INSERT ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION meddle();
	DELETE FROM features;
});
my $size = 0;
$size += -s $_ foreach glob("$root/first/*");
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(1)');
$id = submit("'$root/first'");
await('a trigger has copied, derived and failed', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
is( query('SELECT run_id, phase, bytes_done > 0, bytes_total, records, rejects, rows_done, rows_total FROM eikon_progress'),
	"$id|finishing|t|$size|8|0|3|3",
	"the run's progress is as it was");
$holder->quit;
is(outcome($id), 'succeeded||', 'it succeeds');
await('and is not shown any more', 'SELECT count(*) = 0 FROM eikon_progress');
query('DROP FUNCTION meddle CASCADE');

# --- A submitted run, and others that wait for it
query("ALTER ROLE \"$super\" SET eikon_features.parallel_workers = 2");
$id = submit($options);
await('a submitted run begins', "SELECT count(*) = 1 FROM eikon_progress WHERE run_id = $id");
in_the_middle('submitted', $id, pid_of_run(), "$root/endless");
is( query('SELECT a.backend_type, a.query, a.state, a.datname FROM pg_stat_activity a JOIN eikon_progress USING (pid)'),
	qq{eikon_features worker|ETL run $id of "$root/endless" for $super|active|postgres},
	'pg_stat_activity says what the worker does');
is(outcome("$id, '0'", 'status, started_at IS NOT NULL, finished_at'), 'running|t|', 'the ledger has it');
isnt(submit($options), $id, 'the same may be queued while it goes on');
my $next = submit("'$root/second'");
is( query("SELECT running, queued, oldest_queued_age >= '0', workers, launcher, last_failure IS NOT NULL FROM eikon_health()"),
	'1|2|t|1|t|t', 'eikon_health');
like(failure($node, "CALL eikon_etl($options, timeout => '10 ms')"), qr/\A\z/, 'the procedure joins the one that goes on, and comes back');
is(query('SELECT queued FROM eikon_health()'), 2, 'it has not submitted another');
query("SELECT eikon_cancel_etl(run_id) FROM eikon_runs WHERE status = 'queued' AND run_id < $next");
is(query("SELECT eikon_cancel_etl($id)"), 't', 'cancelled');
is(outcome($id), 'cancelled|57014|canceling statement due to user request', 'it is');
is(query("SELECT count(*) FROM eikon_rejects WHERE run_id = $id"), 1, 'what it met is kept');
is(outcome($next), 'succeeded||', 'the one that waited is done then');
query("ALTER ROLE \"$super\" RESET eikon_features.parallel_workers");

# =============================================================================
# As whom it runs
# =============================================================================

query(qq{
	CREATE ROLE a LOGIN IN ROLE pg_read_server_files;
	CREATE ROLE b NOLOGIN IN ROLE pg_read_server_files;
	GRANT EXECUTE ON FUNCTION eikon_submit_etl, eikon_wait_etl TO a, b;
	GRANT SELECT, INSERT, UPDATE, DELETE ON eikon_user_features, eikon_totals, eikon_compounds TO a, b;
	CREATE TABLE tried (way text, what text, outcome text, is_user text, setting text);
	GRANT SELECT, INSERT ON tried TO a, b;
	CREATE FUNCTION try() RETURNS trigger LANGUAGE plpgsql AS \$\$
	DECLARE
		what text;
		outcome text;
	BEGIN
		FOREACH what IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'SET ROLE "$super"', 'SET LOCAL ROLE "$super"', 'SET SESSION AUTHORIZATION "$super"',
			'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT', 'SELECT set_config(''role'', ''$super'', false)',
			'RESET ALL', 'DISCARD ALL', 'ALTER ROLE a SUPERUSER', 'SET session_replication_role = replica',
			'SELECT count(*) FROM pg_authid', 'COPY (SELECT) TO PROGRAM ''true''', 'SET default_transaction_read_only = on'] LOOP
			BEGIN
				EXECUTE what;
				outcome := 'done';
			EXCEPTION WHEN OTHERS THEN
				outcome := SQLSTATE;
			END;
			INSERT INTO public.tried VALUES (TG_ARGV[0], what, outcome, current_user, current_setting('eikon_features.parallel_workers'));
		END LOOP;
		RETURN NEW;
	END \$\$;
	CREATE TRIGGER try BEFORE INSERT ON eikon_user_features FOR EACH ROW EXECUTE FUNCTION try('row');
	CREATE CONSTRAINT TRIGGER try_deferred AFTER INSERT ON eikon_user_features DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION try('deferred');
	ALTER ROLE a SET eikon_features.parallel_workers = 3;
});
query('DELETE FROM features');
foreach my $role ('a', 'b')
{
	query("TRUNCATE tried; DELETE FROM features");
	$id = query("SET ROLE $role; SELECT eikon_submit_etl('$root/first')");
	is(query("SET ROLE $role; SELECT status, requested_by, error_message FROM eikon_wait_etl($id)"), "succeeded|$role|", "role $role: a run with such triggers");
	is( query('SELECT way, is_user, setting, count(DISTINCT what) FROM tried GROUP BY 1, 2, 3 ORDER BY 1'),
		join("\n", map { "$_|$role|" . ($role eq 'a' ? 3 : query('SHOW eikon_features.parallel_workers')) . '|15' } 'deferred', 'row'),
		"role $role: they run as that role, with its settings, whatever they try");
	is( query("SELECT DISTINCT what || ': ' || outcome FROM tried WHERE outcome <> '42501' ORDER BY 1"),
		"DISCARD ALL: 25001\nRESET ALL: done\nSET default_transaction_read_only = on: done",
		"role $role: and may not become another one");
}
is(query("SELECT rolsuper FROM pg_roles WHERE rolname = 'a'"), 'f', 'nobody has become superuser');

# Nor does what one of them has set matter to the next run, of this role or another.
query('DELETE FROM features');
my @ids = map { query("SET ROLE $_->[0]; SELECT eikon_submit_etl('$root/$_->[1]')") } [ 'a', 'first' ], [ 'a', 'second' ], [ 'b', 'first' ], [ 'a', 'first' ];
is(outcome($_, 'status, error_message'), 'succeeded|', 'one after another') foreach @ids;
query('DROP FUNCTION try CASCADE; DROP TABLE tried');

# --- Settings of the role end a run, too
query("ALTER ROLE a SET statement_timeout = '300ms'");
$id = query("SET ROLE a; SELECT eikon_submit_etl($options)");
is(outcome($id), 'failed|57014|canceling statement due to statement timeout', 'a timeout of the role is heeded');
query('ALTER ROLE a RESET statement_timeout');
is(outcome(query("SET ROLE a; SELECT eikon_submit_etl('$root/first')")), 'succeeded||', 'the next run works');

# --- A forged row
query(qq{
	CREATE ROLE forger LOGIN;
	GRANT EXECUTE ON FUNCTION eikon_wait_etl TO forger;
	ALTER TABLE eikon_runs OWNER TO forger;
});
$id = $node->safe_psql('postgres', qq{
	ALTER TABLE eikon_runs DISABLE TRIGGER eikon_runs_guard;
	INSERT INTO eikon_runs (status, background, source, options, requested_by, requester, requested_at, attempts)
		VALUES ('queued', true, '$root/second', '{}', '$super', '"$super"'::regrole, now(), 0) RETURNING run_id},
	extra_params => [ '-U', 'forger' ]);
is( outcome($id),
	qq{failed|42501|the owner of table "eikon_runs" may not act as role "$super"},
	'who owns the ledger cannot have runs in the name of a superuser');
query(qq{ALTER TABLE eikon_runs OWNER TO "$super"; ALTER TABLE eikon_runs ENABLE ALWAYS TRIGGER eikon_runs_guard});
is(outcome(submit("'$root/first'")), 'succeeded||', 'all is as before');

# =============================================================================
# Room for workers
# =============================================================================

# --- One worker, two databases: by turns
configure($node, 'eikon_features.max_workers' => 1);
$node->restart;
query('CREATE DATABASE other');
query('CREATE EXTENSION eikon_features', 'other');
foreach my $turn (1 .. 3)
{
	my @pairs = map { [ $_, submit("'$root/first'", $_) ] } 'postgres', 'other';

	is(outcome($_->[1], undef, $_->[0]), 'succeeded||', "one worker for all: database $_->[0]") foreach @pairs;
}
idle('after many runs');
query('DROP DATABASE other');
configure($node, 'eikon_features.max_workers' => undef);

# --- No room for a worker: the replication launcher and this one take what there is
configure($node, max_worker_processes => 2);
my $position = -s $node->logfile;
$node->restart;
$id = submit("'$root/second'");
ok(wait_until(sub { slurp_file($node->logfile, $position) =~ /LOG:  no background worker could be started, so runs stay queued for now/ }), 'the launcher says that there is no room');
is(outcome("$id, '0'", 'status'), 'queued', 'a run stays queued');
configure($node, max_worker_processes => 8);
$node->restart;
await('and is done without being asked for when there is', "SELECT status = 'succeeded' FROM eikon_runs WHERE run_id = $id");

# --- The same without preloading: whoever submits is told
configure($node, shared_preload_libraries => undef, max_worker_processes => 1);
$node->restart;
{
	my ($stdout, $stderr) = ('', '');

	$node->psql('postgres', "SELECT eikon_submit_etl('$root/first')", stdout => \$stdout, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($stdout, qr/^\d+$/, 'not preloaded, no room: a run is submitted');
	like($stderr, qr/WARNING:  53000: no background worker could be started, so runs stay queued\nHINT:  Raise max_worker_processes/, 'with a warning');
	$id = $stdout;
}
is(query("SELECT status, launcher, workers FROM eikon_wait_etl($id, '0'), eikon_health()"), 'queued|f|0', 'it stays queued');
configure($node, max_worker_processes => 8);
$node->restart;
is(outcome($id), 'succeeded||', 'whoever waits for it when there is room has it begun');
await('then the launcher goes', "SELECT ($processes) IS NULL");

is(join("\n", grep { /TRAP:|PANIC:|terminated by signal|leak/ } split(/\n/, slurp_file($node->logfile))), '', 'the server complains of nothing');

$node->stop;
done_testing();
