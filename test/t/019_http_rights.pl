
# What pg_regress can't show: what the HTTP API refuses, to whom, and in which words; and
# that nothing a caller sends is taken for a path, for SQL, for HTML or for a header.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonHttp;
use EikonTest;
use IO::Select;
use IO::Socket::INET;
use IPC::Run qw(run);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;

my $base = PostgreSQL::Test::Utils::tempdir();
my $dir = "$base/drop";
write_source($dir);
write_source("$dir/good");

my $stack = EikonHttp->start('rights', source => $dir);
my $node = $stack->node;
my $addresses = 0;
my $html = 'Accept: text/html';
my $reply;

# Each request comes from an address of its own, so that the gateway's limits, which are
# per address, are not what is tested here.
sub address
{
	$addresses++;
	return sprintf('127.1.%d.%d', $addresses / 250, 1 + $addresses % 250);
}

# ask('METHOD PATH' or 'METHOD PATH JSON', token => TOKEN, headers => [...], body => BYTES)
sub ask
{
	my ($request, %params) = @_;
	my ($method, $path, $json) = split(/ /, $request, 3);
	my @arguments = ('--interface', address(), $method eq 'HEAD' ? '-I' : ('-X', $method));

	$params{body} = $json if defined $json;
	push @arguments, '-H', "Authorization: Bearer $params{token}" if defined $params{token};
	push @arguments, '-H', $_ foreach @{ $params{headers} // [] };
	push @arguments, '-H', 'Content-Type: application/json' if defined $json;
	if (defined $params{body})
	{
		write_file("$base/body", $params{body});
		push @arguments, '--data-binary', "\@$base/body";
	}
	return $stack->curl($path, eager => 1, @arguments);
}

# A reply in a word or two: its status, what a 401 asks for, and how an error is told.
sub in_short
{
	my ($reply, $method) = @_;
	my @words = ($reply->{status});

	push @words, $reply->{headers}{'www-authenticate'} if exists $reply->{headers}{'www-authenticate'};
	push @words, 'without JSON'
	  if $reply->{status} >= 400 && ($method // '') ne 'HEAD'
	  && (ref $reply->{json} ne 'HASH' || grep { !exists $reply->{json}{$_} } qw(code message details hint));
	return join(' ', @words);
}

# Bytes as they are to the gateway; all that it answers.
sub raw
{
	my ($bytes) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $stack->port, LocalAddr => address())
	  or die "could not connect: $!";
	my $answer = '';

	syswrite($socket, $bytes);
	while (IO::Select->new($socket)->can_read($PostgreSQL::Test::Utils::timeout_default))
	{
		last unless sysread($socket, $answer, 65536, length $answer);
	}
	return $answer;
}

sub value { return $node->safe_psql('eikon', $_[0]) }

sub encoded { return $_[0] =~ s/([^A-Za-z0-9_.-])/sprintf('%%%02X', ord $1)/ger }

# Everything that a request could have changed.
sub everything
{
	return value(q{
		SELECT (SELECT md5(string_agg(f::text, ',' ORDER BY user_id)) FROM features AS f),
			(SELECT count(*) FROM eikon_runs), (SELECT count(*) FROM eikon_rejects),
			(SELECT string_agg(kind || upload_id, ',') FROM eikon_uploads),
			(SELECT count(*) FROM pg_class)});
}

# =============================================================================
# Who may do what
# =============================================================================

my $users = "user_id,name,email,signup_date\n1,Ann,,\n";
my %token = map { $_ => $stack->token("eikon_$_") } qw(reader operator);

is(ask('POST /etl')->{status}, 200, 'a run, so that there is something to lose');
is(ask('POST /uploads/users', token => $token{operator}, body => $users)->{status}, 201, 'and an upload');

# What is asked for; the replies to who brings no token, to eikon_reader, to eikon_operator.
my ($login, $no) = ('401 Bearer', '403');
my @matrix = (
	(map { [ "GET $_", 200, 200, 200 ] } qw(/features /compounds /runs /rejects /progress /etl_results /etl_results_epoch
		  /etl-results /derived_exp_data /feature_derivation /health /rpc/health /check/table /check/feature_derivation
		  /openapi.json)),
	[ 'HEAD /features', 200, 200, 200 ],
	[ 'POST /rpc/health', 200, 200, 200 ],
	[ 'GET /uploads', $login, $no, 200 ],
	[ 'POST /rpc/run_etl {"source":"good"}', $login, $no, 200 ],
	[ 'POST /rpc/run_etl {"skip_unchanged":true}', $login, $no, '409' ],
	[ 'POST /rpc/submit_etl {"on_error":"ignore"}', $login, $no, '409' ],
	[ 'POST /experiments {"path_to_data":"good"}', '404', $no, 200 ],
	[ 'POST /rpc/cancel_etl {"run_id":1}', $login, $no, '409' ],
	(map { [ "POST $_ $users", $login, $no, 201 ] } qw(/uploads/users /rpc/upload_users)),
	[ "PUT /uploads/users $users", $login, $no, 201 ],
	[ 'DELETE /uploads', $login, $no, 204 ],
	(map { [ "POST $_", 200, $no, 200 ] } qw(/rpc/run_etl /trigger_etl /etl /experiments /rpc/etl /rpc/trigger_etl_and_wait /rpc/experiments
		  /rpc/trigger_etl_page)),
	[ 'GET /etl', 200, $no, 200 ],
	(map { [ "$_", 200, $no, 200 ] } 'GET /trigger-etl', 'POST /trigger-etl', 'POST /rpc/trigger_etl'),
	[ 'POST /rpc/submit_etl', 202, $no, 202 ]);

# Tokens that are none, and the reply to each, wherever it is brought.
my $other = "$base/other.jwk";
run([ 'jose', 'jwk', 'gen', '-i', '{"alg":"HS256"}', '-o', $other ]) or die 'jose could not make a key';
my $claims = encode_base64url('{"role":"eikon_operator"}');
my @bad = (
	[ 'expired', $stack->token('eikon_operator', expires => -3600), $login ],
	[ 'not valid yet', $stack->token('eikon_operator', claims => { nbf => time() + 3000 }), $login ],
	[ 'of another key', $stack->token('eikon_operator', key => $other), $login ],
	[ 'of no algorithm', encode_base64url('{"alg":"none"}') . ".$claims.", $login ],
	[ 'whose claims were changed', join('.', (split(/\./, $token{reader}))[0], $claims, (split(/\./, $token{reader}))[2]), $login ],
	[ 'garbage', 'x.y.z', $login ],
	[ 'of a role that does not exist', $stack->token('nobody'), '400' ],
	[ 'of a superuser', $stack->token('postgres'), $no ],
	[ 'of the role that runs have', $stack->token('eikon_etl'), $no ]);

my $before = everything();
foreach my $case (@matrix)
{
	my ($request, @expected) = @$case;
	my ($name) = $request =~ /^([^\n]*)/;

	foreach my $who ([ 'nobody', undef, $expected[0] ], [ 'eikon_reader', $token{reader}, $expected[1] ],
		[ 'eikon_operator', $token{operator}, $expected[2] ], map { [ "a token $_->[0]", @$_[1, 2] ] } @bad)
	{
		my ($caller, $token, $answer) = @$who;

		next if $answer =~ /^2/;
		is(in_short(ask($request, token => $token), $request =~ s/ .*//sr), $answer, "$name by $caller: $answer");
	}
}
is(everything(), $before, 'nothing of that has changed anything');

foreach my $case (@matrix)
{
	my ($request, @expected) = @$case;

	foreach my $who ([ 'nobody', undef, $expected[0] ], [ 'an empty token', '', $expected[0] ],
		[ 'a token without a role', $stack->token(undef), $expected[0] ],
		[ 'eikon_reader', $token{reader}, $expected[1] ], [ 'eikon_operator', $token{operator}, $expected[2] ])
	{
		my ($caller, $token, $answer) = @$who;

		next unless $answer =~ /^2/;
		is(ask($request, token => $token)->{status}, $answer, ($request =~ s/\n.*//sr) . " by $caller: $answer");
		$stack->settle if $request =~ /submit|trigger/;
	}
}

# A token that is not as it must be opens not even what needs none; pages are files.
is(ask('GET /', token => 'x')->{status}, 200, 'the first page is for all');
is(in_short(ask('GET /features', headers => ['Authorization: Basic eDp5'])), 200, 'a password is no token');
is(in_short(ask('POST /uploads/users', headers => ['Authorization: Basic eDp5'], body => $users)), $login, 'and does not help');

# =============================================================================
# What is served: eikon_api, and nothing else
# =============================================================================

$before = everything();
foreach my $case (
	(map { [ "GET /$_", '404' ] } qw(eikon_runs eikon_rejects eikon_uploads pg_authid pg_catalog.pg_class public.features eikon_api.features)),
	(map { [ "POST /rpc/$_ {}", '404' ] } qw(eikon_run_etl eikon_cancel_etl attempt caller respond set_config pg_read_file pg_sleep eikon_web.attempt)),
	(map { [ 'GET /features', '406', "Accept-Profile: $_" ] } qw(public pg_catalog eikon_web information_schema EIKON_API)),
	(map { [ 'POST /rpc/attempt {}', '406', "Content-Profile: $_" ] } qw(public eikon_web)),
	[ 'POST /rpc/eikon_run_etl {}', '406', 'Content-Profile: public' ],
	(map { [ "GET /features?select=$_", '400' ] } 'version()', 'pg_read_file(x)', '*,eikon_runs(*)', '*,runs(*)', 'tableoid::regclass::oid::x', 'user_id.sum()'))
{
	my ($request, $answer, @headers) = @$case;

	is(in_short(ask($request, token => $token{operator}, headers => \@headers)), $answer, "$request @headers: $answer");
}
is(everything(), $before, 'nothing of that has changed anything');

# Views are for reading. The gateway says so, and the database would not allow it either.
foreach my $view (qw(features compounds etl_results etl_results_epoch derived_exp_data feature_derivation rejects runs progress uploads))
{
	foreach my $method (qw(POST PUT PATCH DELETE))
	{
		next if "$method $view" eq 'DELETE uploads';
		$reply = ask("$method /$view {}", token => $token{operator});
		is(in_short($reply), 405, "$method /$view: 405");
		is($reply->{headers}{allow}, $view eq 'uploads' ? 'GET, HEAD, DELETE' : 'GET, HEAD', 'and what there is');
	}
	foreach my $role (qw(eikon_anonymous eikon_reader eikon_operator))
	{
		is(value("SELECT string_agg(p, ' ') FROM unnest('{INSERT,UPDATE,DELETE,TRUNCATE,TRIGGER}'::text[]) AS p WHERE has_table_privilege('$role', 'eikon_api.$view', p)"),
			"$role $view" eq 'eikon_operator uploads' ? 'DELETE' : '', "$role has no right to write to $view");
	}
}
is(everything(), $before, 'nothing of that has changed anything');

# A client's own header is not what the gateway sends.
my $broken = "user_id,name,email,signup_date\nx,Ann,,\n";
foreach my $path (qw(/uploads/users /rpc/upload_users /uploads/users?on_error=))
{
	foreach my $header ('X-On-Error: ignore', 'x_on_error: ignore')
	{
		is(ask("POST $path", token => $token{operator}, body => $broken, headers => [ $header ])->{status}, 422, "$path: $header is not heeded");
	}
}

# =============================================================================
# Row security
# =============================================================================

# The policies of who asks hold in whatever is served, as they do in SQL. Those of eikon_etl are
# about what runs may write.
my @read = qw(/features /etl_results /etl_results_epoch /etl-results /derived_exp_data /feature_derivation);

# The users in each reply; several, joined by "or", where replies differ.
sub users_in_each
{
	my ($token) = @_;
	my %seen = map { $_ => 1 } map {
		my $path = $_;
		my %users = map { $_->{user_id} => 1 } @{ ask("GET $path", token => $token)->{json} };

		join(' ', sort keys %users);
	} @read;

	return join(' or ', sort keys %seen);
}

is(users_in_each($token{reader}), '1 2 3', 'without row security, everybody sees all rows');
value('ALTER TABLE eikon_user_features ENABLE ROW LEVEL SECURITY;
	CREATE POLICY readers ON eikon_user_features FOR SELECT TO eikon_reader USING (user_id = 2);
	CREATE POLICY runs ON eikon_user_features TO eikon_etl USING (true)');
is(users_in_each($token{reader}), '2', 'with it, what a policy gives, on each path');
is(users_in_each($token{operator}), '', 'without a policy, nothing');
is(users_in_each(undef), '', 'and so it is without a token');
is(ask('POST /etl')->{status}, 200, 'a run goes on');
is(ask('GET /check/feature_derivation')->{status}, 200, 'and what it wrote is there');

# A policy may depend on a token's claims.
value(q{CREATE POLICY claims ON eikon_user_features FOR SELECT TO eikon_operator
	USING (email = current_setting('request.jwt.claims', true)::json ->> 'email')});
is(users_in_each($stack->token('eikon_operator', claims => { email => 'alice@example.com' })), '1', 'a policy that depends on a claim');
is(users_in_each($token{operator}), '', 'gives nothing without');
value('DROP POLICY readers ON eikon_user_features; DROP POLICY runs ON eikon_user_features; DROP POLICY claims ON eikon_user_features;
	ALTER TABLE eikon_user_features DISABLE ROW LEVEL SECURITY');

# =============================================================================
# Paths
# =============================================================================

my $outside = "$base/outside";
write_source($outside, users => ['1,CANARY,,']);
symlink($outside, "$dir/link") or die "could not link: $!";
mkdir("$dir/linked");
symlink("$outside/$_.csv", "$dir/linked/$_.csv") foreach qw(users user_experiments compounds);

my $before_runs = value('SELECT md5(string_agg(f::text, $$,$$ ORDER BY user_id)) FROM features AS f');
foreach my $path (
	'..', '../outside', 'good/../../outside', 'good/..//../outside', '/../outside', '//', "/$outside", $outside,
	"$dir/../outside", "$dir/link", 'link', 'link/', 'link/.', './link', 'linked', '%2e%2e/outside', '..%2foutside',
	'..\\outside', '\\', "..\0/outside", "../outside\0.csv", 'a/' x 2500, 'a' x 5000, '~', '~postgres', "file://$outside",
	'uploads:', 'uploads:/', "uploads:$outside", 'UPLOADS:', "\x{2025}/outside", "\x{ff0e}\x{ff0e}/outside", "..\x{2215}outside",
	"..\n", ' ..', '.. ', '/proc/self/cwd', '/proc/self/root', '/dev/stdin', '/etc/passwd', 'users.csv', '$HOME', '`id`', '| id', '*')
{
	my $shown = length $path > 40 ? substr($path, 0, 40) . ' ...' : $path;

	$shown =~ s/([^ -~])/sprintf('\\x{%x}', ord $1)/ge;
	foreach my $case ([ '/experiments', 'path_to_data' ], [ '/rpc/run_etl', 'source' ], [ '/rpc/submit_etl', 'source' ])
	{
		my ($url, $name) = @$case;
		my $json = encode_json({ $name => $path });

		foreach my $token ($token{operator}, undef)
		{
			my $reply = ask("POST $url", token => $token, body => $json, headers => ['Content-Type: application/json']);

			next if "$url $path" eq '/rpc/submit_etl linked' && $reply->{status} == 202;
			like(in_short($reply), defined $token ? qr/^(?:400|403|404|409|422)$/ : qr/^(?:400|401 Bearer|404)$/,
				"$url $shown" . (defined $token ? '' : ' by nobody') . " is refused: $reply->{status}");
			unlike($reply->{body}, qr/CANARY|root:/, 'and nothing of what is there is told');
		}
	}
}
$reply = ask('POST /experiments', token => $token{operator}, body => "{\"path_to_data\":\"\xc0\xae\xc0\xae/outside\"}",
	headers => ['Content-Type: application/json']);
is(in_short($reply), 400, 'dots in UTF-8 that is none are refused');
$stack->settle;
is(value('SELECT md5(string_agg(f::text, $$,$$ ORDER BY user_id)) FROM features AS f'), $before_runs, 'none of them was read');

# A directory that may be named, whose files are links, is found out when they are read.
is(value(q{SELECT string_agg(DISTINCT coalesce(error_code, status), ' ') FROM eikon_runs WHERE source LIKE '%linked'}), '42809', 'none of the links was followed');

# Files beside the pages: configuration, key, logs. "/" is what lies between the parts.
foreach my $path (
	'/../jwt.jwk', '/docs/../../jwt.jwk', '/%2e%2e/jwt.jwk', '/docs/%2e%2e/%2e%2e/jwt.jwk', '/docs/..%2f..%2fjwt.jwk', '/docs../jwt.jwk',
	'/docs/..%5c..%5cjwt.jwk', '/..%252fjwt.jwk', '//../jwt.jwk', '/./../jwt.jwk', '/docs/%00', '/docs/index.html%00.css', '/%c0%ae%c0%ae/jwt.jwk',
	'/docs/..;/jwt.jwk', '/docs/../../http/postgrest.conf', '/http/postgrest.conf', '/jwt.jwk', '//etc/passwd', '/docs//etc/passwd',
	'/result.html', '/problems/400.json', '/problems/../result.html', '/docs/../result.html',
	'/x/../rpc/run_etl', '/rpc%2frun_etl', '/rpc//run_etl', '/rpc/run_etl/', '/rpc/health/../run_etl', '/features/', '/features%2f', '/rpc/', '/rpc')
{
	my $answer = raw("GET $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

	like($answer, qr{^HTTP/1.1 (?:400|403|404|405) .*application/json.*\r\n\r\n.*"code"}s, "GET $path: no such thing");
	unlike($answer, qr/kty|root:|db-uri|\{\{/, 'nor its content');
}

# =============================================================================
# Text is text, in every parameter
# =============================================================================

my @hostile = (
	[ 'SQL', "'; DROP TABLE features; --" ],
	[ 'dollars', '$$; DROP TABLE features; $$' ],
	[ 'a backslash', "\\'; DROP TABLE features; --" ],
	[ 'a double quote', '"; DROP TABLE features; --' ],
	[ 'NUL', "a\0b" ],
	[ 'an emoji', "\x{1F600}" ],
	[ 'HTML', '<script>alert(1)</script>{{hint}}' ],
	[ 'a new line', "a\r\nX-Injected: 1\r\n\r\n" ],
	[ 'formats', '%s%n%1$s%I' ],
	[ '10 kB', 'x' x 10_000 ]);

sub is_harmless
{
	my ($reply, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($reply->{status} >= 200 && $reply->{status} < 500 && in_short($reply) !~ /without/, "$name: $reply->{status}")
	  or diag "$reply->{error}$reply->{body}";
	ok(!exists $reply->{headers}{'x-injected'}, 'with no header but its own');
	return;
}

my @parameters = split(/ /, value("SELECT array_to_string(proargnames, ' ') FROM pg_proc WHERE oid = 'eikon_api.run_etl'::regproc"));
ok(@parameters > 10, 'run_etl has parameters');

$before = everything();
foreach my $case (@hostile)
{
	my ($what, $text) = @$case;
	my $bytes = $text;

	utf8::encode($bytes);
	foreach my $parameter (@parameters)
	{
		is_harmless(ask('POST /rpc/run_etl', token => $token{operator}, headers => ['Content-Type: application/json'],
				body => encode_json({ source => 'good', dry_run => JSON::PP::true, $parameter => $text })),
			"$what as $parameter");
	}
	is_harmless(ask('POST /rpc/cancel_etl', token => $token{operator}, body => encode_json({ run_id => $text }),
			headers => ['Content-Type: application/json']), "$what as run_id");
	is_harmless(ask('POST /rpc/run_etl', token => $token{operator}, body => encode_json({ $text => 1 }),
			headers => ['Content-Type: application/json']), "$what as the name of a parameter");
	foreach my $query ('name=eq.%s', 'name=like.%s', 'name=match.%s', 'name=in.(%s)', 'name=%s', '%s=eq.1', 'select=%s', 'select=name::%s', 'order=%s', 'limit=%s',
		'offset=%s', 'and=(%s)', 'or=(name.eq.%s)', 'columns=%s', 'on_conflict=%s')
	{
		is_harmless(ask('GET /features?' . sprintf($query, encoded($bytes)), token => $token{operator}), "$what in ?$query");
	}
	is_harmless(ask('GET /' . encoded($bytes)), "$what as a path");
	is_harmless(ask('POST /rpc/' . encoded($bytes) . ' {}'), "$what as a function");
	is_harmless(ask('DELETE /uploads?kind=eq.' . encoded($bytes), token => $token{operator}), "$what as a kind");
	is_harmless(ask('POST /uploads/users?on_error=' . encoded("x$bytes"), token => $token{operator}, body => $users), "$what as on_error of an upload");
	next if $bytes =~ /[\0\r\n]/;
	foreach my $header ('Prefer: %s', 'Prefer: count=%s', 'Range: %s', 'Range-Unit: %s', 'Accept: %s', 'Accept-Profile: %s', 'Origin: %s', 'X-On-Error: %s', 'Host: %s',
		'Authorization: %s', 'Authorization: Bearer %s', 'Cookie: %s', 'X-Forwarded-For: %s')
	{
		is_harmless(ask('GET /features', headers => [ sprintf($header, $bytes) ]), "$what in $header");
	}
}
is(everything(), $before, 'nothing of that has changed anything');

# A name is told as it was given, or left out.
foreach my $case (@hostile)
{
	my ($what, $text) = @$case;
	my $bytes = $text;

	utf8::encode($bytes);
	next if $bytes =~ /[\0\r\n]/;
	$reply = ask('POST /uploads/users', token => $token{operator}, body => $broken, headers => [ "Content-Disposition: attachment; filename=$bytes" ]);
	is_harmless($reply, "$what as the name of an upload that can't be taken");
	$reply = ask('POST /uploads/users', token => $token{operator}, body => $users, headers => [ "Content-Disposition: attachment; filename=$bytes" ]);
	is_harmless($reply, "$what as the name of one that can");
	next if $reply->{status} != 201;
	my ($name) = $text =~ /^"?([^";]+)/;
	is($reply->{json}{file_name}, $name, 'which has that name') if $text !~ /^"/;
}
is(ask('DELETE /uploads', token => $token{operator})->{status}, 204, 'they can be taken back');

# On the page, a value is neither a tag nor one of the page's own names.
write_source($dir, users => [ q{1,Ann,,"<script>alert('1')</script>{{hint}}&amp;"} ]);
$reply = ask('GET /trigger-etl', headers => [$html]);
is($reply->{status}, 422, 'a file that holds HTML, on the page: 422');
like($reply->{body}, qr/&lt;script&gt;alert\(&#39;1&#39;\)&lt;\/script&gt;&#123;&#123;hint}}&amp;amp;/, 'shows it as it is');
unlike($reply->{body}, qr/<script>alert|\{\{/, 'and as nothing else');
$reply = ask('POST /trigger_etl');
like($reply->{json}{result}, qr/<script>alert/, 'in JSON, it is text');
is($reply->{headers}{'x-content-type-options'}, 'nosniff', 'and never a page');
write_source($dir);

# =============================================================================
# Requests that are not as they should be
# =============================================================================

my $get = "Host: x\r\nConnection: close\r\n";
foreach my $case (
	[ 'Content-Length and Transfer-Encoding', "POST /rpc/run_etl HTTP/1.1\r\n${get}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n", 400 ],
	[ 'two lengths', "POST /rpc/run_etl HTTP/1.1\r\n${get}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400 ],
	[ 'a length that is none', "POST /rpc/run_etl HTTP/1.1\r\n${get}Content-Length: +2\r\n\r\n{}", 400 ],
	[ 'a negative length', "POST /rpc/run_etl HTTP/1.1\r\n${get}Content-Length: -2\r\n\r\n{}", 400 ],
	[ 'chunks that are none', "POST /rpc/run_etl HTTP/1.1\r\n${get}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}", 400 ],
	[ 'an encoding that is not known', "POST /rpc/run_etl HTTP/1.1\r\n${get}Transfer-Encoding: gzip\r\n\r\n", 400 ],
	[ 'two hosts', "GET /features HTTP/1.1\r\n${get}Host: y\r\n\r\n", 400 ],
	[ 'no host', "GET /features HTTP/1.1\r\nConnection: close\r\n\r\n", 400 ],
	[ 'a host with a path', "GET /features HTTP/1.1\r\nHost: x/../y\r\nConnection: close\r\n\r\n", 400 ],
	[ 'another machine\'s URL', "GET http://example.com/rpc/health HTTP/1.1\r\n$get\r\n", 200 ],
	[ 'another machine to connect to', "CONNECT example.com:443 HTTP/1.1\r\n$get\r\n", '400|405' ],
	[ 'a version that there is not', "GET /features HTTP/7.0\r\n$get\r\n", 400 ],
	[ 'a method that is none', "get /features HTTP/1.1\r\n$get\r\n", '400|405' ],
	[ 'a blank in a header\'s name', "GET /features HTTP/1.1\r\n${get}X-On-Error : ignore\r\n\r\n", 400 ],
	[ 'NUL in a header', "GET /features HTTP/1.1\r\n${get}X-A: a\0b\r\n\r\n", 400 ],
	[ 'a new line in a path', "GET /features\r\nX-Injected: 1 HTTP/1.1\r\n$get\r\n", '' ],
	[ 'an encoded one', "GET /features%0d%0aX-Injected:%201 HTTP/1.1\r\n$get\r\n", 404 ],
	[ 'one in a run\'s number', "GET /runs?run_id=eq.1%0d%0aX-Injected:%201 HTTP/1.1\r\n$get\r\n", 400 ],
	[ 'one in a name', "POST /uploads/users HTTP/1.1\r\n${get}Authorization: Bearer $token{operator}\r\nContent-Disposition: attachment; filename=\"a%0d%0aX-Injected: 1\"\r\nContent-Length: "
		  . length($users) . "\r\n\r\n$users", 201 ],
	[ 'a large header', "GET /features HTTP/1.1\r\n${get}X-A: " . 'a' x 9000 . "\r\n\r\n", 400 ],
	[ 'many headers', "GET /features HTTP/1.1\r\n$get" . join('', map { "X-$_: " . 'a' x 900 . "\r\n" } 1 .. 100) . "\r\n", 400 ],
	[ 'a long URL', 'GET /features?name=eq.' . 'a' x 9000 . " HTTP/1.1\r\n$get\r\n", 414 ],
	[ 'chunks', "PUT /uploads/users HTTP/1.1\r\n${get}Authorization: Bearer $token{operator}\r\nTransfer-Encoding: chunked\r\n\r\n"
		  . join('', map { sprintf("%x\r\n%s\r\n", length $_, $_) } $users =~ /(.{1,7})/sg) . "0\r\n\r\n", 201 ])
{
	my ($what, $bytes, $status) = @$case;
	my $answer = raw($bytes);

	like($answer, qr{^HTTP/1.1 (?:$status) }, "$what: $status") if $status ne '';
	like($answer, qr/\r\nContent-Type: application\/json.*"code"/s, 'as JSON') if $status =~ /^4/;
	unlike($answer, qr/^X-Injected/mi, 'no header but our own');
	is(scalar(() = $answer =~ m{^HTTP/1.1 }mg), 1, 'and one answer') if $status ne '';
}
is(ask('GET /uploads', token => $token{operator})->{json}[0]{bytes}, length $users, 'the chunked upload is there as a whole');
ask('DELETE /uploads', token => $token{operator});

# =============================================================================
# Keys, and a gateway that nobody passes without one
# =============================================================================

# Both ways to give a key, and a set of two, each named by its tokens.
my $secret = 'a secret of more than 32 characters, with "quotes"';
my $secret_jwk = "$base/secret.jwk";
my $set = "$base/keys.jwk";
write_file($secret_jwk, encode_json({ kty => 'oct', alg => 'HS256', k => encode_base64url($secret) }));
my @keys = map { { %{ decode_json(slurp_file($_->[0])) }, kid => $_->[1] } } [ $other, 'new' ], [ $secret_jwk, 'old' ];
write_file($set, encode_json({ keys => \@keys }));
my %signed_by = (
	"$base/new.jwk" => { header => '{"protected":{"alg":"HS256","kid":"new"}}' },
	"$base/old.jwk" => { header => '{"protected":{"alg":"HS256","kid":"old"}}' });
write_file("$base/new.jwk", encode_json($keys[0]));
write_file("$base/old.jwk", encode_json($keys[1]));
write_file("$base/secret", $secret);

foreach my $case (
	[ 'EIKON_JWT_SECRET, a text', { EIKON_JWT_SECRET => $secret }, 1, 0 ],
	[ 'EIKON_JWT_SECRET_FILE', { EIKON_JWT_SECRET => '', EIKON_JWT_SECRET_FILE => "$base/secret" }, 1, 0 ],
	[ 'EIKON_JWT_SECRET_FILE, a set of keys', { EIKON_JWT_SECRET_FILE => $set }, 1, 1 ],
	[ 'EIKON_JWT_SECRET, a set of keys', { EIKON_JWT_SECRET => slurp_file($set), EIKON_JWT_SECRET_FILE => '' }, 1, 1 ])
{
	my ($name, $environment, $old, $new) = @$case;

	$stack->start_http(%$environment);
	foreach my $key ([ 'old', $old ], [ 'new', $new ])
	{
		is(ask('GET /uploads', token => $stack->token('eikon_operator', key => "$base/$key->[0].jwk", %{ $signed_by{"$base/$key->[0].jwk"} }))->{status},
			$key->[1] ? 200 : 401, "$name: the $key->[0] key's tokens are " . ($key->[1] ? 'taken' : 'refused'));
	}
	is(in_short(ask('GET /uploads', token => $token{operator})), $login, 'those of the key that "make run" makes no longer');
}
foreach my $case (
	[ { EIKON_JWT_SECRET => 'short' }, qr/32 characters/, 'a key that is too short' ],
	[ { EIKON_JWT_SECRET => '', EIKON_JWT_SECRET_FILE => "$base/nothing" }, qr/cannot read EIKON_JWT_SECRET_FILE: \Q$base\E\/nothing/, 'a file that is not there' ])
{
	my ($environment, $words, $name) = @$case;

	ok(!eval { $stack->start_http(%$environment); 1 }, "$name: it does not start");
	like($@, $words, 'and says why');
}

$stack->start_http(EIKON_JWT_SECRET => '', EIKON_JWT_SECRET_FILE => '', EIKON_ANONYMOUS => 'no');
foreach my $case (@matrix)
{
	is(in_short(ask($case->[0]), $case->[0] =~ s/ .*//sr), $login, 'EIKON_ANONYMOUS=no: ' . ($case->[0] =~ s/\n.*//sr) . ' needs a token');
}
is(ask('GET /health', token => $stack->token('eikon_reader'))->{status}, 200, 'with one, all is as it was');
is(ask("GET $_")->{status}, 200, "$_ is for all") foreach qw(/ /style.css /gateway.json /docs/);
$stack->start_http_without('EIKON_ANONYMOUS');
$stack->start_http;
is(in_short(ask('GET /features')), $login, 'it is remembered');
$stack->start_http(EIKON_ANONYMOUS => 'yes');
is(ask('GET /features')->{status}, 200, 'until it is taken back');

done_testing();
