
# What pg_regress can't show: the HTTP API, by a real curl through the real gateway and
# PostgREST: each path, its methods, statuses, bodies and types.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonHttp;
use EikonTest;
use PostgreSQL::Test::Utils;
use Test::More;

# The sample, and beneath it directories that an operator can name.
my $dir = PostgreSQL::Test::Utils::tempdir();
foreach my $kind (qw(users user_experiments compounds))
{
	write_file("$dir/$kind.csv", slurp_file("data/$kind.csv"));
}
write_source("$dir/good");
write_source("$dir/bad", users => [ '1,Alice,,2023-01-01', '2,Bob,,01/02/2023', '3,Carol,,x' ]);
mkdir("$dir/empty");

my $stack = EikonHttp->start('http', source => $dir);
my $node = $stack->node;
my $operator = 'eikon_operator';
my @html = ('-H', 'Accept: text/html,application/xhtml+xml,*/*;q=0.8');

sub is_problem
{
	my ($reply, $status, $code, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($reply->{status}, $status, "$name: $status");
	like($reply->{headers}{'content-type'}, qr{^application/json}, "$name: as JSON");
	is_deeply([ grep { !exists $reply->{json}{$_} } qw(code message details hint) ], [], "$name: with its four keys")
	  or diag $reply->{body};
	is($reply->{json}{code}, $code, "$name: code $code");
	return;
}

sub header_is
{
	my ($reply, $header, $value, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($reply->{headers}{$header}, $value, $name);
	return;
}

sub value { return $node->safe_psql('eikon', $_[0]) }

# --- Before the first run

my $reply = $stack->curl('/check/table');
is($reply->{status}, 200, '/check/table: the table is there');
is($reply->{body}, '{"message":"Table created"}', 'and says so');
$reply = $stack->curl('/check/feature_derivation');
is($reply->{status}, 500, '/check/feature_derivation: nothing was derived yet');
is($reply->{body}, '{"message":"Feature Derivation insert failed"}', 'and says so');
is($stack->curl('/etl-results')->{body}, '[]', '/etl-results: no rows');

# --- /trigger-etl

$reply = $stack->curl('/trigger-etl');
is($reply->{status}, 200, '/trigger-etl: 200');
like($reply->{body}, qr/^\{"message":"ETL process started","run_id":\d+\}$/, 'starts a run');
like($reply->{headers}{'content-type'}, qr{^application/json}, 'as JSON');
$stack->settle;
is(value("SELECT status, background FROM eikon_runs WHERE run_id = $reply->{json}{run_id}"),
	'succeeded|t', 'in the background');
is($stack->curl('/trigger-etl', '-X', 'POST')->{json}{message}, 'ETL process started', 'POST does the same');
$stack->settle;

foreach my $method (qw(GET POST))
{
	$reply = $stack->curl('/trigger-etl', '-X', $method, @html);
	is($reply->{status}, 200, "$method /trigger-etl of a browser: 200");
	like($reply->{headers}{'content-type'}, qr{^text/html}, 'a page');
	like($reply->{body}, qr/>\s*ETL Process Successful\s*</, 'with its heading');
	like($reply->{body}, qr/Status Code: 200/, 'the status');
	like($reply->{body}, qr/Message: ETL process completed for 20 rows/, 'and the rows of etl_results');
}

# One that is going on: it waits to write.
my $session = $node->background_psql('eikon', on_error_stop => 1);
my $runner = $node->background_psql('eikon', on_error_stop => 1);
$session->query_safe('BEGIN');
$session->query_safe('LOCK TABLE eikon_user_features IN SHARE MODE');
start_query($runner, 'SELECT run_id FROM eikon_run_etl()');
wait_until(sub { value('SELECT count(*) FROM eikon_progress') eq '1' }) or die 'no run began';
$reply = $stack->curl('/trigger-etl');
is($reply->{status}, 400, '/trigger-etl while a run is going on: 400');
is($reply->{body}, '{"message":"Trigger the API frequently, please try again later."}', 'in the words of old');
$reply = $stack->curl('/trigger-etl', @html);
is($reply->{status}, 409, 'for a browser: 409');
like($reply->{body}, qr/ETL Process Failed.*Status Code: 409.*another ETL run is going on/s, 'on a page');
$reply = $stack->curl('/trigger_etl');
is($reply->{status}, 409, '/trigger_etl: 409');
like($reply->{json}{result}, qr/another ETL run is going on/, 'and the error in result');
is_problem($stack->curl('/etl'), 409, '55P03', '/etl while a run is going on');
$reply = $stack->curl('/rpc/run_etl', '-X', 'POST');
is_problem($reply, 409, '55P03', '/rpc/run_etl while a run is going on');
header_is($reply, 'retry-after', 1, 'which says when to come again');
is_problem($stack->post('/experiments', {}), 409, '55P03', '/experiments while a run is going on');
$reply = $stack->curl('/progress');
is(scalar @{ $reply->{json} }, 1, '/progress has the run that is going on');
$session->query_safe('ROLLBACK');
$session->quit;
is(finish_query($runner), '', 'which then ends');
$runner->quit;
is($stack->curl('/progress')->{body}, '[]', '/progress: none');

# --- /trigger_etl, /etl

foreach my $method (qw(GET POST))
{
	$reply = $stack->curl('/trigger_etl', '-X', $method);
	is($reply->{status}, 200, "$method /trigger_etl: 200");
	like($reply->{body}, qr/^\{"message":"ETL process started","result":"successfully inserted into database",/, 'in the words of old');
	is($reply->{json}{run}{rows_unchanged}, 10, 'and with what the run did');
	$reply = $stack->curl('/etl', '-X', $method);
	is($reply->{status}, 200, "$method /etl: 200");
	is($reply->{json}{message}, 'ETL process completed successfully', 'success');
	is($reply->{json}{rows}, 20, 'and the rows');
}

# --- /experiments

foreach my $path ('', '.', $dir, "$dir/")
{
	is($stack->post('/experiments', { path_to_data => $path })->{body}, '{"Success":true}', "/experiments: \"$path\" is the default directory");
}
is($stack->curl('/experiments', '-d', '{"path_to_data":""}')->{body}, '{"Success":true}', 'whatever type curl says it is');
foreach my $path ('/nonexistent', 'good', '/etc')
{
	$reply = $stack->post('/experiments', { path_to_data => $path });
	is($reply->{status}, 404, "/experiments: $path is not for everybody: 404");
	like($reply->{body}, qr{^\{"Bad path to data":"$path",}, 'in the words of old');
}
foreach my $path ('nonexistent', '../..', '/etc', 'empty', 'users.csv', "good\nx", '%2e%2e', 'good/../..')
{
	$reply = $stack->post('/experiments', { path_to_data => $path }, as => $operator);
	is($reply->{status}, 404, "/experiments of an operator: $path: 404");
	is($reply->{json}{'Bad path to data'}, $path, 'names it');
}
is($stack->post('/experiments', { path_to_data => 'good' }, as => $operator)->{body}, '{"Success":true}', 'an operator names a directory');
is(value('SELECT count(*) FROM features'), 3, 'and has its features');
$reply = $stack->post('/experiments', { path_to_data => 'bad' }, as => $operator);
is_problem($reply, 422, '22007', 'a directory with a broken file');
like($reply->{json}{details}, qr/users\.csv, line 3, column signup_date: "01\/02\/2023"/, 'says where');
is_problem($stack->post('/experiments', '{'), 400, 'PGRST102', 'a body that is no JSON');
is_problem($stack->post('/experiments', '{"path": "x"}'), 404, 'PGRST202', 'a key that is not known');

# --- /etl-results

$stack->curl('/etl');
$reply = $stack->curl('/etl-results');
is($reply->{status}, 200, '/etl-results: 200');
is(scalar @{ $reply->{json} }, 20, 'a row for each tied compound');
is_deeply([ sort keys %{ $reply->{json}[0] } ],
	[qw(avg_experiment_run_time compound_id compound_name compound_structure email experiment_count name signup_date user_id)],
	'with the columns of old');
is($reply->{json}[0]{signup_date}, 1672531200000, 'dates in milliseconds');
is_deeply([ map { $_->{compound_id} } grep { $_->{name} eq 'Dave' } @{ $reply->{json} } ], [ 1, 2, 3 ], 'Dave has three');
header_is($reply, 'access-control-allow-origin', '*', 'any page may read it');
$reply = $stack->curl('/etl-results', '-H', 'Origin: https://example.com');
header_is($reply, 'access-control-allow-origin', '*', 'also one that says which it is');
is(scalar @{ $stack->curl('/etl-results?user_id=eq.4')->{json} }, 3, 'it can be filtered');

# --- /check

is($stack->curl('/check/feature_derivation')->{body}, '{"message":"Feature Derivation inserted"}', '/check/feature_derivation: derived');
value('ALTER TABLE eikon_user_features RENAME TO renamed');
$reply = $stack->curl('/check/table');
is($reply->{status}, 500, '/check/table: the table is gone');
is($reply->{body}, '{"message":"Table creation failed"}', 'and says so');
value('ALTER TABLE renamed RENAME TO eikon_user_features');

# --- Reading

$reply = $stack->curl('/features?order=user_id&limit=2&select=*,days_since_signup');
is($reply->{status}, 200, '/features: 200');
is(scalar @{ $reply->{json} }, 2, 'two of them');
is($reply->{json}[0]{most_common_compound_name}, 'Compound B', 'Alice');
is($reply->{json}[0]{days_since_signup}, value("SELECT current_date - '2023-01-01'::date"), 'a computed column');
is($stack->curl('/features?total_experiments=gte.2')->{json}[0]{name}, 'Alice', 'a filter');
$reply = $stack->curl('/features?limit=3&offset=3&order=user_id', '-H', 'Prefer: count=exact');
is($reply->{status}, 206, 'a page: 206');
header_is($reply, 'content-range', '3-5/10', 'of how many');
$reply = $stack->curl('/features?select=user_id,name&order=user_id&limit=1', '-H', 'Accept: text/csv');
like($reply->{headers}{'content-type'}, qr{^text/csv}, 'CSV');
is($reply->{body}, "user_id,name\n1,Alice", 'with a header');
$reply = $stack->curl('/features?user_id=eq.1', '-H', 'Accept: application/vnd.pgrst.object+json');
is($reply->{json} // $reply->{body} =~ /^\{/, 1, 'one object');
$reply = $stack->curl('/features', '-I');
is($reply->{status}, 200, 'HEAD');
foreach my $view (qw(compounds etl_results derived_exp_data feature_derivation runs rejects progress))
{
	$reply = $stack->curl("/$view?limit=1");
	is($reply->{status}, 200, "/$view: 200");
	is(ref $reply->{json}, 'ARRAY', 'an array');
}
is($stack->curl('/runs?order=run_id.desc&limit=1')->{json}[0]{status}, 'succeeded', 'the latest run');

# --- Runs by the native API

$reply = $stack->curl('/rpc/run_etl', '-X', 'POST');
is($reply->{status}, 200, '/rpc/run_etl: 200');
is($reply->{json}{status}, 'succeeded', 'the run');
ok(!exists $reply->{json}{requester}, 'without what is of no use');
$reply = $stack->post('/rpc/run_etl', { source => 'bad' }, as => $operator);
is_problem($reply, 422, '22007', '/rpc/run_etl of a broken file');
is($reply->{json}{rejects}[0]{line}, 3, 'has the reject, with its line');
is($reply->{json}{rejects}[0]{column_name}, 'signup_date', 'and column');
is(scalar @{ $stack->curl("/rejects?run_id=eq.$reply->{json}{run_id}")->{json} }, 1, 'which is kept');
is($stack->curl("/runs?run_id=eq.$reply->{json}{run_id}")->{json}[0]{status}, 'failed', 'as the run is');
is(value('SELECT count(*) FROM features'), 10, 'and features are what they were');
$reply = $stack->post('/rpc/run_etl', { source => 'bad', on_error => 'ignore' }, as => $operator);
is($reply->{json}{users_rejected}, 2, 'options are passed on');
$reply = $stack->post('/rpc/run_etl', { source => 'good', dry_run => JSON::PP::true }, as => $operator);
is($reply->{json}{status}, 'dry_run', 'a dry run');
is($reply->{json}{run_id}, undef, 'is not recorded');
is_problem($stack->post('/rpc/run_etl', { source => 'bad', dry_run => JSON::PP::true }, as => $operator), 422, '22007', 'a dry run that fails');
is_problem($stack->post('/rpc/run_etl', { source => 'none' }, as => $operator), 404, '58P01', 'a directory that is not there');
is_problem($stack->post('/rpc/run_etl', { source => '/etc' }, as => $operator), 403, '42501', 'one that is not for the API');
is_problem($stack->post('/rpc/run_etl', { on_error => 'x' }, as => $operator), 400, '22023', 'an option that is not known');
is_problem($stack->post('/rpc/run_etl', { nothing => 1 }, as => $operator), 404, 'PGRST202', 'a parameter that is not known');
is_problem($stack->post('/rpc/run_etl', { skip => 'x' }, as => $operator), 400, '22P02', 'a value of another type');

foreach my $form ([ '/rpc/submit_etl' ], [ '/rpc/run_etl', '-H', 'Prefer: respond-async' ], [ '/rpc/run_etl', '-H', 'Prefer: wait=5, respond-async' ])
{
	my ($path, @prefer) = @$form;

	$reply = $stack->post($path, '{}', @prefer);
	is($reply->{status}, 202, "$path @prefer: 202");
	is($reply->{json}{status}, 'queued', 'queued');
	header_is($reply, 'location', "/runs?run_id=eq.$reply->{json}{run_id}", 'and where to see what becomes of it');
	header_is($reply, 'preference-applied', @prefer ? 'respond-async' : undef, 'as was preferred');
	$stack->settle;
	is($stack->curl($reply->{headers}{location})->{json}[0]{status}, 'succeeded', 'which is this');
}
is_problem($stack->post('/rpc/submit_etl', { source => 'none' }, as => $operator), 404, '58P01', 'a directory that is not there is told at once');

is_problem($stack->post('/rpc/cancel_etl', { run_id => 4711 }, as => $operator), 404, '42704', '/rpc/cancel_etl of a run that is not there');
is_problem($stack->post('/rpc/cancel_etl', { run_id => 1 }, as => $operator), 409, '55000', 'of one that has ended');
is_problem($stack->post('/rpc/cancel_etl', { run_id => 'x' }, as => $operator), 400, '22P02', 'of what is no number');
$session = $node->background_psql('eikon', on_error_stop => 1);
$session->query_safe('BEGIN');
$session->query_safe('LOCK TABLE eikon_user_features IN SHARE MODE');
my $run_id = $stack->post('/rpc/submit_etl', '{}')->{json}{run_id};
$reply = $stack->post('/rpc/cancel_etl', { run_id => $run_id }, as => $operator);
is($reply->{status}, 200, '/rpc/cancel_etl: 200');
is($reply->{json}{run_id}, $run_id, 'the run');
$session->query_safe('COMMIT');
$session->quit;
$stack->settle;
is(value("SELECT status FROM eikon_runs WHERE run_id = $run_id"), 'cancelled', 'it was cancelled');
$run_id = value('SELECT eikon_submit_etl()');
$stack->settle;

$reply = $stack->curl('/health');
is($reply->{status}, 200, '/health: 200');
is($reply->{json}{status}, 'ok', 'is well');
ok(defined $reply->{json}{last_success}, 'and says when the last run succeeded');

# --- Uploads

sub upload
{
	my ($kind, @arguments) = @_;

	return $stack->curl("/uploads/$kind", as => $operator, @arguments);
}

$reply = upload('users', '--data-binary', '@data/users.csv', '-H', 'Content-Disposition: attachment; filename="people.csv"');
is($reply->{status}, 201, '/uploads/users: 201');
is($reply->{json}{file_name}, 'people.csv', 'its name');
is($reply->{json}{records}, 10, 'its records');
is_deeply($reply->{json}{missing}, [ 'user_experiments', 'compounds' ], 'and what is missing');
header_is($reply, 'location', '/uploads?kind=eq.users', 'and where it is listed');
foreach my $path ('/etl', '/trigger_etl', '/rpc/run_etl', '/rpc/submit_etl', '/trigger-etl')
{
	$reply = $stack->curl($path, as => $operator, '-X', 'POST');
	is($reply->{status}, 409, "$path with an upload that is not complete: 409");
	like($reply->{json}{result} // $reply->{json}{message}, qr/user_experiments, compounds missing/, 'says what is missing');
}
is($stack->curl('/etl')->{status}, 200, 'to others, the default directory is what it was');
is($stack->post('/rpc/run_etl', { source => '.' }, as => $operator)->{status}, 200, 'an operator can still name it');
is(scalar @{ $stack->curl('/uploads', as => $operator)->{json} }, 1, '/uploads lists it');
is($stack->curl('/uploads?kind=eq.users', as => $operator, '-X', 'DELETE')->{status}, 204, 'and takes it back');

# all the dialects, compressed or not, by PUT and POST
my $tmp = PostgreSQL::Test::Utils::tempdir();
write_file("$tmp/users.tsv", "user_id\tname\temail\tsignup_date\r\n1\tAnn\ta\@example.com\t2024-01-01\r\n2\tBen\t\t\r\n");
write_file("$tmp/experiments.csv", "experiment_id;user_id;experiment_compound_ids;experiment_run_time\n1;1;\"7;8;7\";2.5\n");
write_file("$tmp/compounds.csv", "compound_id,\tcompound_name,\tcompound_structure\n7,\tSeven,\tC7\n8,\tEight,\tC8");
system_or_bail('gzip', '-k', "$tmp/experiments.csv");
system_or_bail('zstd', '-q', "$tmp/compounds.csv");
is(upload('users', '-T', "$tmp/users.tsv")->{status}, 201, 'TSV, by PUT');
is(upload('user_experiments', '--data-binary', "\@$tmp/experiments.csv.gz")->{status}, 201, 'gzip');
$reply = upload('compounds', '--data-binary', "\@$tmp/compounds.csv.zst", '-H', 'Content-Type: text/csv');
is($reply->{status}, 201, 'Zstandard, whatever type it is said to be');
is_deeply($reply->{json}{missing}, [], 'nothing is missing');
$reply = $stack->curl('/etl', as => $operator);
is($reply->{status}, 200, 'a trigger without a directory runs on them');
is($reply->{json}{run}{source}, 'uploads:', 'and says so');
is(value("SELECT string_agg(format('%s %s %s', name, total_experiments, most_common_compound_name), ', ' ORDER BY user_id) FROM features"),
	'Ann 1 Seven, Ben 0 ', 'their features');
is($stack->curl('/uploads', as => $operator)->{body}, '[]', 'they are used up');
is($stack->curl('/etl', as => $operator)->{json}{run}{rows_inserted}, 8, 'the next one runs the default directory');

# in the background
upload('users', '-T', "$tmp/users.tsv");
upload('user_experiments', '-T', "$tmp/experiments.csv");
upload('compounds', '-T', "$tmp/compounds.csv");
is($stack->curl('/rpc/submit_etl', as => $operator, '-X', 'POST')->{status}, 202, 'in the background too');
$stack->settle;
is(value('SELECT count(*) FROM features'), 2, 'their features');

# what can't be taken
write_file("$tmp/broken.csv", "user_id,name,email,signup_date\n1,Ann,,2024-13-01\nx,Ben,,\n3,Cat,,\n");
$reply = upload('users', '-T', "$tmp/broken.csv");
is_problem($reply, 422, '22P04', 'a broken file');
is($reply->{json}{message}, "2 of 3 records of the file can't be taken", 'how much of it');
is_deeply([ map { "$_->{line} $_->{column_name} $_->{value}" } @{ $reply->{json}{rejects} } ],
	[ '2 signup_date 2024-13-01', '3 user_id x' ], 'each with line and column');
is($stack->curl('/uploads', as => $operator)->{body}, '[]', 'nothing is stored');
$reply = $stack->curl('/uploads/users?on_error=ignore', as => $operator, '-T', "$tmp/broken.csv");
is($reply->{status}, 201, 'unless the rest is wanted');
is("$reply->{json}{records} $reply->{json}{rejected}", '3 2', 'with what is left out');
$reply = $stack->curl('/uploads/users?on_error=x', as => $operator, '-T', "$tmp/broken.csv");
is_problem($reply, 400, '22023', 'a choice that there is not');
write_file("$tmp/other.csv", "a,b\n1,2\n");
$reply = upload('compounds', '-T', "$tmp/other.csv", '-H', 'Content-Disposition: attachment; filename=other.csv');
is($reply->{status}, 422, 'a file of something else: 422');
like("$reply->{json}{message} $reply->{json}{details}", qr/compound_id.*other\.csv/s, 'says what is missing from which file');
write_file("$tmp/book.xlsx", "PK\x03\x04xxxxxxxxxxx");
is(upload('users', '-T', "$tmp/book.xlsx")->{status}, 422, 'a workbook');
write_file("$tmp/cut.gz", substr(slurp_file("$tmp/experiments.csv.gz"), 0, 60));
is(upload('user_experiments', '-T', "$tmp/cut.gz")->{status}, 422, 'a damaged archive');
is(upload('users', '--data-binary', '')->{status}, 422, 'an empty file');
is_problem(upload('users', '-F', "file=\@$tmp/users.tsv"), 415, '415', 'a form');
is_problem(upload('user', '-T', "$tmp/users.tsv"), 404, '404', 'a kind that there is not');
is_problem($stack->curl('/uploads/users', as => $operator), 405, '405', 'GET of an upload');
$stack->curl('/uploads', as => $operator, '-X', 'DELETE');

# the database's own limit
value("ALTER SYSTEM SET eikon_features.max_upload_size = '1kB'");
$node->reload;
write_file("$tmp/large.csv", "user_id,name,email,signup_date\n" . join('', map { "$_,,,\n" } 1 .. 1000));
is_problem(upload('users', '-T', "$tmp/large.csv"), 413, '54000', 'larger than eikon_features.max_upload_size');
value('ALTER SYSTEM RESET eikon_features.max_upload_size');
$node->reload;

# --- Methods

foreach my $case (
	[ 'GET, POST', qw(/trigger-etl /trigger_etl /etl) ],
	[ 'POST', qw(/experiments) ],
	[ 'POST, PUT', qw(/uploads/users) ],
	[ 'GET, HEAD, DELETE', qw(/uploads) ],
	[ 'GET, HEAD', qw(/ /features /runs /rejects /progress /etl_results /etl-results /check/table /check/feature_derivation /health) ])
{
	my ($allow, @paths) = @$case;

	foreach my $path (@paths)
	{
		foreach my $method (grep { $allow !~ /\b$_\b/ } qw(GET POST PUT PATCH DELETE))
		{
			$reply = $stack->curl($path, '-X', $method);
			is_problem($reply, 405, '405', "$method $path");
			header_is($reply, 'allow', $allow, 'which says what there is');
		}
	}
}
foreach my $path (qw(/trigger-etl /trigger_etl /etl))
{
	my $before = value('SELECT count(*) FROM eikon_runs');

	is($stack->curl($path, '-I')->{status}, 405, "HEAD $path runs nothing");
	is(value('SELECT count(*) FROM eikon_runs'), $before, 'indeed');
}
is_problem($stack->curl('/rpc/run_etl'), 405, '25006', 'GET of a function that writes');

# --- Paths and parameters that there are not

is_problem($stack->curl('/nothing'), 404, '42P01', 'a path that there is not');
is_problem($stack->curl('/a/b/c'), 404, '404', 'nor this');
is_problem($stack->curl('/rpc/nothing', '-X', 'POST'), 404, 'PGRST202', 'nor this function');
is_problem($stack->curl('/features?nothing=eq.1'), 400, '42703', 'a column that there is not');
is_problem($stack->curl('/features?user_id=4'), 400, 'PGRST100', 'a filter without operator');
is_problem($stack->curl('/features?user_id=eq.x'), 400, '22P02', 'a value that is no number');
is_problem($stack->curl('/features', '-H', 'Accept: image/png'), 415, 'PGRST107', 'a type that there is not')
  if $stack->curl('/features', '-H', 'Accept: image/png')->{status} == 415;
is($stack->curl('/problems/404.json')->{status}, 404, 'what is the gateway\'s own');

# --- Pages and the description

$reply = $stack->curl('/');
is($reply->{status}, 200, '/: 200');
like($reply->{headers}{'content-type'}, qr{^text/html}, 'a page');
like($reply->{headers}{'content-security-policy'}, qr/default-src 'self'/, 'that loads nothing from elsewhere');
is($stack->curl('/', @html)->{body}, $reply->{body}, 'for browsers too');
foreach my $type (qw(application/json application/openapi+json))
{
	$reply = $stack->curl('/', '-H', "Accept: $type");
	is($reply->{json}{swagger}, '2.0', "$type: the description");
}
my $api = $stack->curl('/openapi.json')->{json};
is($api->{info}{title}, 'eikon_features', '/openapi.json: the description');
my @undescribed;
foreach my $path (grep { $_ ne '/' } sort keys %{ $api->{paths} })
{
	foreach my $method (sort keys %{ $api->{paths}{$path} })
	{
		my $operation = $api->{paths}{$path}{$method};

		next if $method eq 'parameters';
		push @undescribed, "$method $path"
		  unless $operation->{summary} && ($operation->{description} // '') =~ /\bfor (?:example|instance)\b/i;
	}
}
is_deeply(\@undescribed, [], 'each path has a summary, a description and an example');
foreach my $table (sort keys %{ $api->{definitions} })
{
	my $columns = $api->{definitions}{$table}{properties};

	push @undescribed, grep { ($columns->{$_}{description} // '') !~ /\(for example/ } map { $_ } sort keys %$columns;
}
is_deeply(\@undescribed, [], 'and each column a description with an example');
my $gateway = $stack->curl('/gateway.json')->{json};
foreach my $path (qw(/trigger-etl /trigger_etl /etl /experiments /etl-results /check/table /check/feature_derivation /health))
{
	ok($gateway->{paths}{$path}, "/gateway.json describes $path");
}
is($stack->curl('/docs/')->{status}, 200, '/docs/: a page');
is($stack->curl("/docs/$_")->{status}, 200, "/docs/$_") foreach qw(swagger-ui.css swagger-ui-bundle.js swagger-ui-standalone-preset.js);

# --- Headers of every reply

foreach my $path ('/', '/features', '/nothing', '/a/b', '/etl', '/rpc/upload_users')
{
	$reply = $stack->curl($path);
	header_is($reply, 'x-content-type-options', 'nosniff', "$path: no sniffing");
	header_is($reply, 'referrer-policy', 'no-referrer', 'no referrer');
	header_is($reply, 'server', 'nginx', 'no version');
	unlike(join(' ', %{ $reply->{headers} }), qr/postgrest|12\.\d/i, 'nor anybody else\'s');
}
is($stack->curl('/features', '-H', 'Origin: https://example.com')->{headers}{'access-control-allow-origin'}, undef, 'pages of others read /etl-results only');
header_is($stack->curl('/features', '--compressed'), 'content-encoding', 'gzip', 'replies are compressed');

done_testing();
