
# What pg_regress can't show: that neither triggers of the role whose run it is, nor the
# owner of the ledger, nor an idle session get a background worker to do what it should
# not, or to stand still.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('hostile', conf => "shared_preload_libraries = 'eikon_features'");
my $dir = $node->basedir . '/source';

write_source("$dir/$_") foreach qw(first second);
write_source("$dir/second", users => [ '1,Alicia,,', '2,Bob,,', '3,Carol,,' ]);
$node->safe_psql('postgres', q{
	CREATE ROLE alice LOGIN IN ROLE pg_read_server_files;
	CREATE ROLE bob LOGIN IN ROLE pg_read_server_files;
	GRANT EXECUTE ON FUNCTION eikon_run_etl, eikon_submit_etl, eikon_wait_etl, eikon_cancel_etl TO alice, bob;
	GRANT ALL ON eikon_user_features, eikon_totals, eikon_compounds TO alice, bob;
	GRANT CREATE ON SCHEMA public TO alice, bob;
	CREATE TABLE seen (what text);
	GRANT ALL ON seen TO PUBLIC;
});

# Submits as a role; returns the run's number.
sub submit
{
	my ($role, $source, $options) = @_;

	return $node->safe_psql('postgres',
		"SELECT eikon_submit_etl('$dir/$source'" . ($options // '') . ')',
		extra_params => [ '-U', $role ]);
}

# Waits for a run; returns its state.
sub state_of
{
	my ($run_id) = @_;

	return $node->safe_psql('postgres',
		"SELECT status || coalesce(' ' || error_code, '') || ', attempt ' || attempts FROM eikon_wait_etl($run_id, '$PostgreSQL::Test::Utils::timeout_default s')"
	);
}

# A trigger of alice's on eikon_user_features for the statements of one run, and what it does in PL/pgSQL.
sub with_trigger
{
	my ($body, $action, $when) = @_;
	$when //= 'TRIGGER hostile BEFORE UPDATE ON eikon_user_features FOR EACH STATEMENT';

	$node->safe_psql('postgres',
		"CREATE FUNCTION hostile() RETURNS trigger LANGUAGE plpgsql AS \$f\$ BEGIN $body; RETURN NULL; END \$f\$; CREATE $when EXECUTE FUNCTION hostile();",
		extra_params => [ '-U', $when =~ /ON (eikon_user_features|seen)/ ? 'postgres' : 'bob' ]);
	$action->();
	$node->safe_psql('postgres', 'DROP FUNCTION hostile CASCADE');
	return;
}

sub idle
{
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'eikon_features worker'");
}

is(state_of(submit('alice', 'first')), 'succeeded, attempt 1', 'a run of alice');

# =============================================================================
# Whose run it is
# =============================================================================

# Runs the source that is not there yet, so that there is something to update.
sub run_other
{
	return submit('alice', $node->safe_psql('postgres', "SELECT CASE name WHEN 'Alice' THEN 'second' ELSE 'first' END FROM features WHERE user_id = 1"));
}

with_trigger(
	q{INSERT INTO seen VALUES (format('%s %s %s', session_user, current_user, current_setting('is_superuser')))},
	sub { is(state_of(run_other()), 'succeeded, attempt 1', 'a run with a trigger that looks who it is'); });
is($node->safe_psql('postgres', 'SELECT DISTINCT what FROM seen'),
	'alice alice off', 'it is the role that submitted it, for session_user too');

foreach my $attempt ('RESET ROLE', 'SET ROLE postgres', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres')
{
	foreach my $trigger (
		'TRIGGER hostile BEFORE UPDATE ON eikon_user_features FOR EACH STATEMENT',
		'CONSTRAINT TRIGGER hostile AFTER UPDATE ON eikon_user_features DEFERRABLE INITIALLY DEFERRED FOR EACH ROW')
	{
		my ($kind) = $trigger =~ /^(CONSTRAINT )?/;

		with_trigger($attempt,
			sub { like(state_of(run_other()), qr/^failed (?:42501|0A000|22023), attempt 1$/, ($kind ? 'a deferred' : 'a') . " trigger cannot $attempt"); },
			$trigger);
	}
}

# --- The settings of its role, not of others, and none that a trigger leaves behind
$node->safe_psql('postgres', q{
	TRUNCATE seen;
	ALTER ROLE alice SET eikon_features.max_line_size = '77kB';
	ALTER ROLE postgres SET eikon_features.max_line_size = '99kB';
	ALTER ROLE postgres IN DATABASE postgres SET eikon_features.max_line_size = '98kB';
	ALTER ROLE alice SET role = 'bob';
});
with_trigger(
	q{INSERT INTO seen VALUES (current_user || ' ' || current_setting('eikon_features.max_line_size'));
	SET default_transaction_read_only = on; SET default_transaction_isolation = serializable;
	SET default_transaction_deferrable = on; SET search_path = nowhere; SET lock_timeout = 1},
	sub {
		my @runs = (submit('alice', 'first'), submit('alice', 'second'), submit('alice', 'first', ", on_error => 'ignore'"));

		is(state_of($_), 'succeeded, attempt 1', 'a run whose trigger changes settings') foreach @runs;
	});
is($node->safe_psql('postgres', 'SELECT DISTINCT what FROM seen'),
	'alice 77kB', 'ALTER ROLE of the role is heeded, not that of the superuser, nor another role in it');
$node->safe_psql('postgres', 'ALTER ROLE alice RESET ALL; ALTER ROLE postgres RESET ALL; ALTER ROLE postgres IN DATABASE postgres RESET ALL; TRUNCATE seen');

# --- Another role of the same name does not inherit what is queued
{
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	my ($reused, $renamed);

	$node->safe_psql('postgres', 'CREATE ROLE carol LOGIN IN ROLE alice; CREATE ROLE dave LOGIN IN ROLE alice');
	$holder->query_safe("BEGIN; SELECT run_id FROM eikon_run_etl('$dir/first')");
	$reused = submit('carol', 'second');
	$renamed = submit('dave', 'second');
	$node->safe_psql('postgres', 'DROP ROLE carol; CREATE ROLE carol SUPERUSER; ALTER ROLE dave RENAME TO david');
	$holder->query_safe('COMMIT');
	$holder->quit;
	is(state_of($reused), 'failed 42704, attempt 1', 'a role that is gone has no runs, even if another one has its name');
	is(state_of($renamed), 'succeeded, attempt 1', 'one that was renamed has');
}

# =============================================================================
# The claim of the table
# =============================================================================

with_trigger(
	"PERFORM eikon_run_etl('$dir/first')",
	sub { is(state_of(submit('alice', 'first', ", on_error => 'ignore'")), 'failed 55006, attempt 1', 'a trigger of a background run cannot start another run'); },
	'TRIGGER hostile BEFORE UPDATE OR INSERT ON eikon_user_features FOR EACH STATEMENT');

{
	my $blocker = $node->background_psql('postgres', on_error_stop => 0);
	my $run_id;

	$blocker->query_safe('BEGIN; LOCK TABLE seen');
	with_trigger(
		q{PERFORM pg_advisory_unlock_all(); INSERT INTO seen VALUES ('unlocked')},
		sub {
			$run_id = run_other();
			$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'eikon_features worker' AND wait_event_type = 'Lock'");
			like( failure($node, "SELECT * FROM eikon_run_etl('$dir/first')"),
				qr/^55P03: another ETL run is going on for table "eikon_user_features"\nDETAIL: +It is run $run_id\./,
				'a trigger cannot give up the claim of its run');
			$blocker->query_safe('ROLLBACK');
			is(state_of($run_id), 'succeeded, attempt 1', 'which succeeds');
		});
	$blocker->quit;
}

# =============================================================================
# Cancels that come in numbers
# =============================================================================

foreach my $gap (0, 0.001, 0.003, 0.01, 0.03)
{
	my $blocker = $node->background_psql('postgres', on_error_stop => 0);
	my $run_id;

	$blocker->query_safe('BEGIN; LOCK TABLE eikon_user_features IN SHARE MODE');
	$run_id = run_other();
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'eikon_features worker' AND wait_event_type = 'Lock'");
	$node->psql('postgres',
		"SELECT eikon_cancel_etl($run_id); SELECT pg_sleep($gap); SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'eikon_features worker'; SELECT eikon_cancel_etl($run_id)");
	is(state_of($run_id), 'cancelled 57014, attempt 1', "a run that is cancelled again after $gap s is cancelled once");
	$blocker->query_safe('ROLLBACK');
	$blocker->quit;
}

# --- A failed run's rejects are kept whatever is cancelled meanwhile
{
	my @rejects = map { "x$_,Nobody,," } 1 .. 20000;
	my $run_id;

	write_source("$dir/rejects", users => \@rejects);
	$run_id = submit('alice', 'rejects', ", on_error => 'ignore', reject_limit => 19999");
	$node->psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'eikon_features worker'; SELECT eikon_cancel_etl($run_id)")
	  foreach 1 .. 3;
	like(state_of($run_id), qr/^(?:failed 22P02|cancelled 57014), attempt 1$/, 'a run that is cancelled when it fails has ended one way');
	idle();
}

# =============================================================================
# An idle session
# =============================================================================

{
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	my $canceller = $node->background_psql('postgres', on_error_stop => 0);
	my ($locked, $next);

	$holder->query_safe("BEGIN; SELECT run_id FROM eikon_run_etl('$dir/first')");
	$locked = submit('alice', 'second');
	$canceller->query_safe("BEGIN; SELECT eikon_cancel_etl($locked)");
	$next = submit('bob', 'second');
	$holder->query_safe('COMMIT');
	$holder->quit;
	is(state_of($next), 'succeeded, attempt 1', 'a cancel that is not committed holds up nobody else');
	is( run_summary($node, "'$dir/second'"),
		'succeeded: inserted 0, updated 0, deleted 0, unchanged 3',
		'nor a direct run');
	$canceller->query_safe('ROLLBACK');
	is(state_of($locked), 'succeeded, attempt 1', 'and if it is rolled back, the run is done');
	$canceller->quit;
}

# --- What stands in the way of all that come after it
{
	my $poison = $node->safe_psql('postgres',
		"INSERT INTO eikon_runs (status, background, source, options, requested_by, requester, requested_at, attempts) VALUES ('queued', true, '$dir/first', '{\"gone_option\": true}', 'alice', 'alice'::regrole, now(), 0) RETURNING run_id");
	my $next = submit('alice', 'second');

	is(state_of($next), 'succeeded, attempt 1', 'a run with an option that is not known holds up none');
	is(state_of($poison), 'failed 42P02, attempt 1', 'and has failed');
}

# --- A direct run that has failed is not going on
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query("BEGIN; SELECT eikon_run_etl('$dir/nowhere')");
	is($node->safe_psql('postgres', 'SELECT running FROM eikon_health()'), '0', 'what has failed is not running, even if its transaction is open');
	is( run_summary($node, "'$dir/second'"), 'succeeded: inserted 0, updated 0, deleted 0, unchanged 3', 'and in nobody\'s way');
	$session->query('ROLLBACK');
	$session->{stderr} = '';
	$session->query_safe("BEGIN; SELECT run_id FROM eikon_run_etl('$dir/second')");
	my $run_id = $node->safe_psql('postgres', 'SELECT last_value FROM eikon_runs_run_id_seq');
	like(failure($node, "SELECT eikon_cancel_etl($run_id)"), qr/^55000: run $run_id has already ended: its transaction has not/,
		'one that is over is not cancelled');
	like(failure($node, "SELECT eikon_run_etl('$dir/second')"), qr/^55P03: .*\nDETAIL: +It is run $run_id\./,
		'and in the way until its transaction ends');
	$session->query_safe("SAVEPOINT s; SELECT run_id FROM eikon_run_etl('$dir/first'); ROLLBACK TO s");
	like(failure($node, "SELECT eikon_run_etl('$dir/second')"), qr/^55P03: .*\nDETAIL: +It is run $run_id\./,
		'a later run in it that was rolled back leaves the first');
	my $behind = $node->safe_psql('postgres', "SELECT eikon_submit_etl('$dir/second')");
	$session->query("SELECT eikon_wait_etl($behind)");
	like($session->{stderr}, qr/this transaction has a run of its own/, 'and it cannot wait for what waits for it');
	$session->quit;
}

# =============================================================================
# The owner of the ledger
# =============================================================================

$node->safe_psql('postgres', 'ALTER TABLE eikon_runs OWNER TO bob; ALTER TABLE eikon_rejects OWNER TO bob; ALTER TABLE eikon_runs DISABLE TRIGGER eikon_runs_guard');
with_trigger(
	'ALTER ROLE bob SUPERUSER',
	sub { idle(); submit('bob', 'first'); idle(); },
	'CONSTRAINT TRIGGER hostile AFTER INSERT OR UPDATE ON eikon_runs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.status <> \'queued\')');
is($node->safe_psql('postgres', "SELECT rolsuper FROM pg_roles WHERE rolname = 'bob'"), 'f',
	'deferred triggers on the ledger do not run as the superuser');
{
	my $forged = $node->safe_psql('postgres',
		"INSERT INTO eikon_runs (status, background, source, options, requested_by, requester, requested_at, attempts) VALUES ('queued', true, '$dir/first', '{}', 'postgres', 10, now(), 0) RETURNING run_id",
		extra_params => [ '-U', 'bob' ]);

	is(state_of($forged), 'failed 42501, attempt 1', 'a run that the owner has forged for the superuser is refused');
}
$node->safe_psql('postgres', 'ALTER TABLE eikon_runs OWNER TO postgres; ALTER TABLE eikon_rejects OWNER TO postgres; ALTER TABLE eikon_runs ENABLE ALWAYS TRIGGER eikon_runs_guard');

# =============================================================================
# A trigger that will not be ended
# =============================================================================

idle();
$node->safe_psql('postgres', q{
	CREATE FUNCTION hostile() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		LOOP BEGIN INSERT INTO seen VALUES ('here'); PERFORM pg_sleep(1000); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
	END $$;
	CREATE TRIGGER hostile BEFORE INSERT OR UPDATE OR DELETE ON eikon_user_features FOR EACH STATEMENT EXECUTE FUNCTION hostile();
});
my $last = run_other();
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'eikon_features worker' AND wait_event = 'PgSleep'");
$node->stop('fast');
pass('the server can be stopped while a trigger catches cancels');
$node->start;
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'eikon_features worker' AND wait_event = 'PgSleep'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'eikon_features worker'");
is(state_of($last), 'failed 57P02, attempt 2', 'its run has failed when it was cut off twice');
$node->safe_psql('postgres', 'DROP FUNCTION hostile CASCADE');
is(state_of(submit('alice', 'first')), 'succeeded, attempt 1', 'the next one works');

is(slurp_file($node->logfile) =~ /PANIC|TRAP|terminated by signal/ ? 'crashed' : '', '', 'nothing has crashed');
$node->stop;
done_testing();
