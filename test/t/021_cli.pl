
# What pg_regress can't show: bin/eikon against a real stack: every command, format,
# exit status and way to fail.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Cwd qw(getcwd);
use EikonHttp;
use EikonTest;
use IPC::Run qw(run start finish);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

# The sample, and beneath it directories to name.
my $dir = PostgreSQL::Test::Utils::tempdir();
foreach my $kind (qw(users user_experiments compounds))
{
	write_file("$dir/$kind.csv", slurp_file("data/$kind.csv"));
}
my $odd = q{it's "50%" & a+b=c; #1};
write_source("$dir/$odd");
write_source("$dir/bad", users => [ '1,Alice,,2023-01-01', '2,Bob,,01/02/2023', 'x,Carol,,' ]);

my $stack = EikonHttp->start('cli', source => $dir);
my $node = $stack->node;

# Called through a link with a blank, in another directory, and with nothing in the
# environment that would tell it where to go.
my $work = PostgreSQL::Test::Utils::tempdir();
my $checkout = getcwd();
symlink("$checkout/bin/eikon", "$work/e k") or die "could not link: $!";
mkdir("$work/tmp") or die "could not make directory: $!";
my %database = $stack->psql_env;

my ($stdout, $stderr);

# eikon(ARGUMENT..., \%environment): the exit status; the output is in $stdout and $stderr
sub eikon
{
	my @arguments = @_;
	my $environment = ref $arguments[-1] ? pop @arguments : {};
	local %ENV = (%ENV, TMPDIR => "$work/tmp", EIKON_STATE_DIR => $stack->state, %database, %$environment);

	delete $ENV{$_} foreach grep { !defined $ENV{$_} } keys %ENV;
	($stdout, $stderr) = ('', '');
	run([ 'sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh', $work, "$work/e k", @arguments ],
		'<', \undef, '>', \$stdout, '2>', \$stderr);
	return $? >> 8;
}

# ends(STATUS, NAME, ARGUMENT...): what it ends with, and that it says what is wrong in a
# line of its own, or nothing
sub ends
{
	my ($status, $name, @arguments) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(eikon(@arguments), $status, "$name: exit status $status") or diag "$stdout$stderr";
	if ($status == 0)
	{
		is($stderr, '', "$name: no complaint");
	}
	else
	{
		like($stderr, qr/^eikon: (?![A-Z][a-z]).*\n/m, "$name: says why");
	}
	return;
}

sub sql { return $node->safe_psql('eikon', $_[0]) }

# =============================================================================
# A user who asks for help gets it, and who errs is told where it is
# =============================================================================

my @commands = qw(up down status trigger results validate runs rejects upload cancel logs token completion help);

ends(0, '--version', '--version');
my ($version) = slurp_file('eikon_features.control') =~ /^default_version = '(.*)'/m;
is($stdout, "eikon $version\n", 'is that of the extension');

ends(0, 'help', 'help');
my $help = $stdout;
eikon('--help');
is($stdout, $help, '--help is the same');
is(eikon(), 2, 'without a command: exit status 2');
is($stderr, $help, 'and help, as an error');
foreach my $command (@commands)
{
	like($help, qr/^  $command\b/m, "help has $command");
	ends(0, "$command --help", $command, '--help');
	like($stdout, qr/\Aeikon $command\b/, 'is about it');
	unlike($stdout, qr/^eikon (?!$command\b)/m, 'and nothing else');
	my $own = $stdout;
	eikon('help', $command);
	is($stdout, $own, "help $command is the same");
}

my @misuses = (
	[ qr/the command is one of up down .*, not "nosuch"/, 'nosuch' ],
	[ qr/not "tri gger"/, 'tri gger' ],
	[ qr/not ""/, '' ],
	[ qr/not "foo"/, 'help', 'foo' ],
	[ qr/invalid option -- 'x'/, '-x' ],
	[ qr/unrecognized option '--nosuch'/, 'trigger', '--nosuch' ],
	[ qr/unrecognized option '--api;id'/, 'runs', '--api;id' ],
	[ qr/"trigger" has no option --limit/, 'trigger', '--limit', '3' ],
	[ qr/"runs" has no option --follow/, 'runs', '-f' ],
	[ qr/'--dry-run' doesn't allow an argument/, 'trigger', '--dry-run=x' ],
	[ qr/'--limit' requires an argument/, 'runs', '--limit' ],
	[ qr/--limit is a number, not "x"/, 'runs', '--limit', 'x' ],
	[ qr/--limit is a number, not "-1"/, 'runs', '--limit=-1' ],
	[ qr/--expires is a number/, 'token', '--expires', '1h' ],
	[ qr/--format is one of table csv json, not "xml"/, 'runs', '--format', 'xml' ],
	[ qr/--api gives csv or json/, 'runs', '--api', '--format', 'table' ],
	[ qr/too many arguments/, 'runs', 'extra' ],
	[ qr/too many arguments/, 'trigger', 'a', 'b' ],
	[ qr/directory is not empty/, 'trigger', '' ],
	[ qr/--on-error is one of ignore stop, not "maybe"/, 'trigger', '--on-error', 'maybe' ],
	[ qr/a run is a number, not "1;x"/, 'rejects', '1;x' ],
	[ qr/a run is a number/, 'cancel', 'last' ],
	[ qr/say which run/, 'cancel' ],
	[ qr/say which files/, 'upload' ],
	[ qr/does not tell its kind/, 'upload', 'nothing.csv' ],
	[ qr/--kind is one of/, 'upload', '--kind', 'foo', 'users.csv' ],
	[ qr/--kind is for one file/, 'upload', '--kind', 'users', 'a', 'b' ],
	[ qr/which shell/, 'completion', 'tcsh' ],
	[ qr/token has characters/, 'trigger', { EIKON_TOKEN => "a\nX: b" } ]);
foreach my $misuse (@misuses)
{
	my ($words, @arguments) = @$misuse;
	my $name = join(' ', map { ref $_ ? 'with an environment' : "\"$_\"" } @arguments);

	ends(2, $name, @arguments);
	like($stderr, qr/$words.*see "eikon help/s, 'and where to look');
	is($stdout, '', 'and nothing else');
}

# =============================================================================
# Before the first run
# =============================================================================

ends(6, 'validate without a run', 'validate');
like($stderr, qr/no run has filled/, 'there is nothing to validate');
ends(0, 'runs', 'runs', '--format', 'json');
is_deeply(decode_json($stdout), [], 'there are none');
ends(0, 'rejects', 'rejects', '--format', 'json');
is_deeply(decode_json($stdout), [], 'there are none either');
ends(1, 'rejects --api', 'rejects', '--api');
ends(0, 'status', 'status', '--format', 'json');
my %status = (postgresql => 'up', postgrest => 'up', gateway => 'up', url => $stack->url, last_success => undef, queued => 0, uploads => []);
is_deeply({ %{ decode_json($stdout) }{ keys %status } }, \%status, 'all is up');

# =============================================================================
# Runs
# =============================================================================

ends(0, 'trigger', 'trigger', '--format', 'table');
like($stdout, qr/\Arun \d+ succeeded: 10 users, 3 compounds, 11 experiments loaded, 0 records rejected\nrows: /,
	'says what was loaded');
ends(0, 'status', 'status', '--format', 'table');
like($stdout, qr/^gateway +up$/m, 'says what is up');
ends(0, 'results', 'results', '--format', 'table');
like($stdout, qr/Alice.*0\.1818.*Compound B/, 'shows them');
ends(0, 'validate', 'validate', '--format', 'table');
is($stdout, "all users are as derived\n", 'all is well');

ends(0, 'trigger as CSV', 'trigger');
like($stdout, qr/\Arun_id,status,skipped,.*\n\d+,"succeeded",false,10,0,3,0,11,0,0,0,0,10\n\z/, 'is a header and a row');
ends(0, 'trigger as JSON', 'trigger', '--format=json');
is(decode_json($stdout)->{experiments_loaded}, 11, 'is the run');
ends(0, 'trigger --quiet', 'trigger', '--quiet');
is($stdout, '', 'says nothing');
ends(0, 'trigger --dry-run', 'trigger', '--dry-run', '--format', 'table', $odd);
like($stdout, qr/\Adry run: 3 users.*\nrows: 0 inserted, 2 updated, 7 deleted, 1 unchanged\n\z/, 'counts, and does nothing');
is(sql('SELECT count(*) FROM features'), '10', 'indeed');
ends(0, 'trigger of a name with every character', 'trigger', $odd);
is(sql('SELECT source FROM eikon_runs WHERE is_current'), "$dir/$odd", 'arrives as it is');
ends(0, 'trigger --', '--quiet', 'trigger', '--skip-unchanged', '--', '.');
ends(0, 'trigger --skip-unchanged', 'trigger', '--skip-unchanged', '--format', 'table', '.');
like($stdout, qr/nothing to do/, 'has nothing to do');

ends(1, 'trigger of no directory', 'trigger', 'nowhere');
like($stderr, qr/could not open directory/, 'says so');
ends(1, 'trigger of a name that curl would read', 'trigger', '@/etc/passwd');
like($stderr, qr{could not open directory ".*/\@/etc/passwd"}, 'is only a name');
ends(1, 'trigger of a name with control characters', 'trigger', "a\e[1m\xc2\x9bb");
like($stderr, qr{/a\?\[1m\?b"}, 'shows none of them');
ends(1, 'trigger of bad files', 'trigger', 'bad');
like($stderr, qr/\Aeikon: invalid input syntax for type date/, 'says what');
like($stderr, qr/^detail: .*users\.csv, line 3, column signup_date/m, 'where');
like($stderr, qr/^hint: .*\nsee: eikon rejects \d+$/m, 'and what to do');
ends(1, 'the same as JSON', 'trigger', '--format', 'json', 'bad');
is(decode_json($stdout)->{code}, '22007', 'is the problem');
ends(0, 'trigger --on-error ignore', 'trigger', '--on-error', 'ignore', '--format', 'table', 'bad');
my ($run) = $stdout =~ /\Arun (\d+) succeeded/;
like($stdout, qr/^see: eikon rejects $run$/m, 'says where the rejects are');
ends(0, 'validate with the options of the run', 'validate');

ends(0, 'rejects', 'rejects');
my $rejects = $stdout;
eikon('rejects', '--format', 'json');
my $reject_rows = decode_json($stdout);
like($rejects, qr/\Arun_id,reject_id,kind,file,line,.*\n$run,1,users,users\.csv,3,/, 'are those of the last run');
eikon('rejects', '--api', '--format', 'json');
is_deeply(decode_json($stdout), $reject_rows, 'over HTTP too');
eikon('rejects', $run, '--limit', 1);
is($stdout, join('', ($rejects =~ /^(.*\n)/mg)[ 0, 1 ]), 'rejects RUN --limit');
ends(0, 'rejects as a table', 'rejects', '--format', 'table', $run);
like($stdout, qr/signup_date +\| 01\/02\/2023/, 'has columns');

ends(0, 'trigger --async', 'trigger', '--async', '--format', 'table');
my ($submitted, $location) = $stdout =~ /\Arun (\d+) is submitted: (\S+)\n\z/;
is($location, $stack->url . "/runs?run_id=eq.$submitted", 'says where to look');
$stack->settle;
ends(5, 'cancel of a run that has ended', 'cancel', $submitted);
ends(1, 'cancel of no run', 'cancel', '999999');

# --- While another run is going on
{
	my $session = $node->background_psql('eikon');

	$session->query_safe('BEGIN; SELECT FROM eikon_run_etl()');
	ends(5, 'trigger while a run is going on', 'trigger');
	like($stderr, qr/another ETL run is going on/, 'says so');
	ends(0, 'trigger --async', 'trigger', '--async', '--quiet', '--format', 'table');
	chomp(my $waiting = $stdout);
	ends(0, 'status', 'status');
	like($stdout, qr/^"queued",1$/m, 'shows what waits');
	ends(0, 'cancel', 'cancel', $waiting);
	$session->query_safe('ROLLBACK');
	$session->quit;
	$stack->settle;
	is(sql("SELECT status FROM eikon_runs WHERE run_id = $waiting"), 'cancelled', 'cancels it');
}

# =============================================================================
# What is read
# =============================================================================

eikon('trigger', '--quiet');
ends(0, 'results', 'results', '--format', 'json');
my $rows = decode_json($stdout);
is(scalar(@$rows), 10, 'has a row per user');
eikon('results', '--api', '--format', 'json');
is_deeply(decode_json($stdout), $rows, 'the same over HTTP');
ends(0, 'results as CSV', 'results');
is(scalar(() = $stdout =~ /\n/g), 11, 'has as many, and a header');
ends(0, 'results --limit', 'results', '--limit', '2', '--api');
like($stdout, qr/\Auser_id,name,email.*\n1,Alice.*\n2,Bob.*\n\z/, 'limits them');
ends(0, 'runs', 'runs', '--format', 'json', '--limit', '2');
my $runs = decode_json($stdout);
is($runs->[0]{run_id}, $runs->[1]{run_id} + 1, 'the last one first');
eikon('runs', '--api', '--format', 'json', '--limit', '2');
is_deeply([ map { $_->{run_id} } @{ decode_json($stdout) } ], [ map { $_->{run_id} } @$runs ], 'the same over HTTP');
ends(0, 'runs as a table', 'runs', '--format', 'table');
like($stdout, qr/^ +\d+ \| failed /m, 'has the failures');

# --- A reader that goes away is no reason to complain
{
	local %ENV = (%ENV, TMPDIR => "$work/tmp", EIKON_STATE_DIR => $stack->state, %database);
	run([ 'bin/eikon', 'results' ], '|', [ 'head', '-n', '1' ], '>', \$stdout, '2>', \$stderr);
	like($stdout, qr/\Auser_id,.*\n\z/, 'results | head');
	is($stderr, '', 'without a complaint');
}

# =============================================================================
# validate
# =============================================================================

$node->safe_psql('eikon', q{
	UPDATE features SET name = 'X', signup_date = NULL WHERE user_id = 1;
	DELETE FROM features WHERE user_id = 2;
	INSERT INTO features (user_id, total_experiments) VALUES (99, 0);
});
ends(1, 'validate of changed features', 'validate');
is($stdout, qq{user_id,difference\n1,"name, signup_date"\n2,missing from features\n99,not in the files\n}, 'says which differ, and how');
like($stderr, qr/not as derived/, 'and what to do');
eikon('validate', '--format', 'json');
is_deeply([ map { $_->{user_id} } @{ decode_json($stdout) } ], [ 1, 2, 99 ], 'as JSON too');
eikon('trigger');
rename("$dir/users.csv", "$dir/gone") or die "could not rename: $!";
ends(1, 'validate without the files', 'validate');
like($stderr, qr/\Aeikon: no users file in/, 'says so');
rename("$dir/gone", "$dir/users.csv") or die "could not rename: $!";

# =============================================================================
# Uploads
# =============================================================================

write_file("$work/users-new.csv", "user_id,name,email,signup_date\n1,A,,2023-01-01\n2,B,,01/02/2023\nx,C,,\n");
write_file(qq{$work/experiments "1\n2" \xc3\xa4.csv}, "experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,1,1,2\n");
write_file("$work/-", "compound_id,compound_name,compound_structure\n1,A,B\n");

ends(1, 'upload of no file', 'upload', 'users-none.csv');
like($stderr, qr/there is no file users-none\.csv/, 'says so');
ends(1, 'upload of a bad file', 'upload', 'users-new.csv');
is($stdout, '', 'stores nothing');
like($stderr, qr/2 of 3 records of .* can't be taken/, 'says how many records are');
like($stderr, qr/^line 3, column signup_date: invalid input syntax/m, 'and why');
ends(0, 'upload --on-error ignore', 'upload', '--on-error', 'ignore', '--format', 'table', 'users-new.csv');
like($stdout, qr/\Ausers-new\.csv: 3 records, 2 rejected; still missing: /, 'leaves them out');
ends(5, 'trigger of an upload that is not complete', 'trigger', '--on-error', 'ignore');
ends(0, 'upload of an odd name', 'upload', qq{experiments "1\n2" \xc3\xa4.csv});
like($stdout, qr/\Akind,file_name,bytes,records,rejected\n"user_experiments","experiments _1_2_ __\.csv",\d+,1,0\n\z/, 'takes it');
ends(0, 'upload --kind', 'upload', '--kind', 'compounds', '-', '--format', 'json');
is(decode_json($stdout)->{records}, 1, 'of a file that is called -');
ends(0, 'status', 'status', '--format', 'json');
is_deeply(decode_json($stdout)->{uploads}, [qw(compounds user_experiments users)], 'shows what was uploaded');
ends(0, 'trigger', 'trigger', '--on-error', 'ignore', '--format', 'table');
like($stdout, qr/1 users, 1 compounds, 1 experiments loaded, 2 records rejected/, 'runs the uploaded files');
ends(6, 'validate of uploaded files', 'validate');
like($stderr, qr/uploaded files, which are not kept/, 'cannot be');

# =============================================================================
# Who asks
# =============================================================================

ends(0, 'trigger without a token', 'trigger', { EIKON_TOKEN => '' });
ends(4, 'trigger of a directory without a token', 'trigger', 'bad', { EIKON_TOKEN => '' });
like($stderr, qr/^hint: No token was sent: set EIKON_TOKEN\.$/m, 'says what to do');
ends(4, 'cancel as a reader', 'cancel', '1', { EIKON_TOKEN => $stack->token('eikon_reader') });
ends(4, 'a token that has expired', 'runs', '--api', { EIKON_TOKEN => $stack->token('eikon_operator', expires => -3600) });
write_file("$work/token", $stack->token('eikon_operator') . "\n");
ends(0, 'EIKON_TOKEN_FILE', 'trigger', $odd, { EIKON_TOKEN_FILE => "$work/token" });
ends(1, 'EIKON_TOKEN_FILE that is not there', 'trigger', { EIKON_TOKEN_FILE => "$work/none" });

foreach my $role (qw(eikon_operator eikon_reader))
{
	ends(0, "token $role", 'token', $role, '--expires', '60');
	chomp(my $token = $stdout);
	ends(0, 'which is good', 'runs', '--api', { EIKON_TOKEN => $token });
}
ends(0, 'token', 'token');
chomp(my $token = $stdout);
ends(0, 'is an operator\'s', 'trigger', $odd, { EIKON_TOKEN => $token });

# What other users of the machine can see of a process
{
	my $seen = '';
	my $session = $node->background_psql('eikon');
	local %ENV = (%ENV, TMPDIR => "$work/tmp", EIKON_STATE_DIR => $stack->state, %database, EIKON_TOKEN => $token);

	$session->query_safe('BEGIN; LOCK TABLE eikon_user_features');
	my $client = start([ 'bin/eikon', 'trigger' ], '>', \$stdout, '2>', \$stderr);
	ok(
		wait_until(
			sub {
				local $/;
				foreach my $file (glob('/proc/*/cmdline'))
				{
					open(my $process, '<', $file) or next;
					my $line = <$process> // '';
					return $seen = $line if $line =~ /\Acurl\0.*\/rpc\/run_etl/s;
				}
				return 0;
			}),
		'curl runs');
	unlike($seen, qr/\Q$token\E|Bearer/, 'and the token is not among its arguments');
	my @files = glob("$work/tmp/*");
	is((stat($files[0]))[2] & 07777, 0700, 'it is in a private directory') or diag "@files";
	$session->query_safe('ROLLBACK');
	$session->quit;
	finish($client);
}

# --- What is not this checkout's is sent no token made with its key
ends(4, 'another URL gets no token', '--url', $stack->url =~ s/127\.0\.0\.1/localhost/r, 'trigger', 'bad');

# --- A key that is named, as on a server without a checkout
{
	my $jwk = $stack->state . '/jwt.jwk';
	my %key = (EIKON_JWT_SECRET_FILE => $jwk, EIKON_STATE_DIR => "$work/none");

	ends(0, 'token of EIKON_JWT_SECRET_FILE', 'token', 'eikon_reader', \%key);
	chomp(my $token = $stdout);
	ends(0, 'which is good', 'runs', '--api', { EIKON_TOKEN => $token });
	ends(1, 'it signs for other URLs of this machine', '--url', $stack->url =~ s/127\.0\.0\.1/localhost/r, 'trigger', 'bad', \%key);
	ends(4, 'which are not all that look so', '--url', $stack->url =~ s/127\.0\.0\.1/x\@localhost/r, 'trigger', 'bad', \%key);
	write_file("$work/secret", 'a secret of thirty-two characters, or more');
	ends(1, 'token of a secret that is no JSON Web Key', 'token', { EIKON_JWT_SECRET_FILE => "$work/secret" });
	like($stderr, qr/secret holds no JSON Web Key/, 'says so');
	ends(0, 'what needs no token does without', 'runs', '--api', { EIKON_JWT_SECRET_FILE => "$work/secret" });
	ends(1, 'token of a file that is not there', 'token', { EIKON_JWT_SECRET_FILE => "$work/nokey" });
	like($stderr, qr/cannot read .*nokey/, 'says so');
}

# =============================================================================
# Installed, without a checkout
# =============================================================================

{
	my $installed = PostgreSQL::Test::Utils::tempdir();
	my $eikon = "$installed/usr/share/eikon_features/bin/eikon";
	local %ENV = (%ENV, TMPDIR => "$work/tmp", EIKON_URL => $stack->url);
	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL PGHOST PGPORT PGUSER PGDATABASE)};

	run([ 'make', '-s', 'install-http', "DESTDIR=$installed" ], '>', \$stdout, '2>', \$stderr) or diag $stderr;
	is(readlink("$installed/usr/bin/eikon"), '/usr/share/eikon_features/bin/eikon', 'a link in /usr/bin');
	run([ $eikon, '--version' ], '>', \$stdout, '2>', \$stderr);
	is($stdout, "eikon $version\n", '--version');
	run([ $eikon, 'help' ], '>', \$stdout, '2>', \$stderr);
	is($stdout, $help, 'help');
	run([ $eikon, 'status', '--format', 'json' ], '>', \$stdout, '2>', \$stderr) or diag $stderr;
	is(decode_json($stdout)->{postgresql}, 'up', 'status');
	run([ $eikon, 'up' ], '>', \$stdout, '2>', \$stderr);
	like($stderr, qr/is no checkout of eikon_features/, 'up takes a checkout');
}

# =============================================================================
# What is not there
# =============================================================================

my %nothing = (EIKON_STATE_DIR => "$work/none", map { $_ => undef } keys %database);
ends(3, 'no server', '--url', 'http://127.0.0.1:1', 'trigger');
like($stderr, qr{cannot reach http://127\.0\.0\.1:1: .*; start it with "eikon up"}, 'says what to do');
ends(3, 'no database', 'results', \%nothing);
like($stderr, qr/say --api/, 'says what to do');
ends(0, 'results --api without a database', 'results', '--api', { %nothing, EIKON_URL => $stack->url . '/' });
ends(3, 'a database that is down', 'results', { PGHOST => "$work/none" });
ends(1, 'a database without the extension', 'results', { PGDATABASE => 'postgres' });
like($stderr, qr/database "postgres" has no extension eikon_features/, 'says so');
mkdir("$work/open") && chmod(0777, "$work/open") or die "could not make directory: $!";
ends(1, 'a state directory that others may write in', 'status', { EIKON_STATE_DIR => "$work/open" });
like($stderr, qr/is not a directory of mode 700 owned by/, 'says so');
is(eikon('status', { PGHOST => "$work/none" }), 3, 'status without a database: exit status 3');
like($stdout, qr/^"postgresql","down"\n"postgrest","up"$/m, 'says what is down');
is(eikon('status', '--format', 'json', { %nothing, EIKON_URL => $stack->url }), 0, 'status from afar');
is(decode_json($stdout)->{postgresql}, 'up', 'by what the API says');
is(eikon('status', '--url', 'http://127.0.0.1:1'), 3, 'status without a gateway: exit status 3');
like($stdout, qr/^"postgresql","up"\n"postgrest","unknown"\n"gateway","down"$/m, 'says what is down');
ends(3, 'logs without a server', 'logs', \%nothing);
ends(1, 'token without a key', 'token', \%nothing);

# --- The database of the checkout, without anything in the environment
$node->safe_psql('postgres', q{
	DO $$ BEGIN
		IF to_regrole('postgres') IS NULL THEN
			CREATE ROLE postgres LOGIN SUPERUSER;
		END IF;
	END $$});
ends(0, 'results from the state directory', 'results', '--limit', '1', { map { $_ => undef } keys %database });

# --- The extension in a schema of its own, and names that would lead astray
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE SCHEMA "My Lab"; CREATE EXTENSION eikon_features SCHEMA "My Lab"; CREATE VIEW public.features AS SELECT 1 AS user_id');
ends(0, 'results of another schema', 'results', '--format', 'json', { PGDATABASE => 'other' });
is_deeply(decode_json($stdout), [], 'are its own');

# =============================================================================
# up and down are make's
# =============================================================================

mkdir("$work/bin") or die "could not make directory: $!";
write_file("$work/bin/make", "#!/bin/sh\necho \"\$*, PORT=\$PORT\"\nexit 7\n");
chmod(0755, "$work/bin/make") or die "could not make executable: $!";
foreach ([ 'up', 'run' ], [ 'down', 'stop' ])
{
	my ($command, $goal) = @$_;

	is(eikon($command, { PATH => "$work/bin:$ENV{PATH}", PORT => 5001 }), 7, "$command ends as make does");
	is($stdout, "--no-print-directory -C $checkout $goal, PORT=5001\n", "$command is make $goal in the checkout");
}

# =============================================================================
# Logs, completion
# =============================================================================

ends(0, 'logs', 'logs');
like($stdout, qr/==> .*server\.log <==.*==> .*postgrest\.log <==/s, 'of each server');

SKIP:
{
	skip 'there is no bash', 2 unless run([ 'bash', '-c', 'true' ]);
	run([ 'bash', '-c', 'eval "$(bin/eikon completion bash)"; complete -p eikon' ], '>', \$stdout);
	my ($words) = $stdout =~ /-W '(.*)'/;
	foreach my $word ('trigger', '--skip-unchanged')
	{
		like($words, qr/(?<!\S)$word(?!\S)/, "bash completes $word");
	}
}
foreach my $other (qw(bash zsh fish))
{
	ends(0, "completion $other", 'completion', $other);
	like($stdout, qr/ trigger .* --async /, 'knows commands and options');
}

# =============================================================================
# Nothing is left behind
# =============================================================================

$stack->settle;
is_deeply([ glob("$work/tmp/*") ], [], 'no temporary files');

done_testing();
