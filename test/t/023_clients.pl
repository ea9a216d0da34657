
# What curl can't show: the pages in a real Chromium, and the API through a client library.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonHttp;
use EikonTest;
use IPC::Run qw(run);
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
foreach my $kind (qw(users user_experiments compounds))
{
	write_file("$dir/$kind.csv", slurp_file("data/$kind.csv"));
}
my $stack = EikonHttp->start('pages', source => $dir);

$stack->curl('/etl');

# playwright-core drives Debian's Chromium, and brings none.
my $work = PostgreSQL::Test::Utils::tempdir();
system_or_bail('cp', glob('test/http/*'), $work);
$ENV{NODE_EXTRA_CA_CERTS} //= '/etc/ssl/certs/ca-certificates.crt' if -r '/etc/ssl/certs/ca-certificates.crt';
$ENV{npm_config_cache} = "$work/cache";
$ENV{HOME} = $work;
{
	my $output = '';

	run([ 'npm', 'ci', '--ignore-scripts', '--prefix', $work ], '>', \$output, '2>&1')
	  or die "npm could not fetch what these tests take: $output";
}

# The program's TAP becomes ours.
sub check_with
{
	my ($name, $program, @arguments) = @_;
	my $tap = '';
	my $ok = run([ 'node', "$work/$program", $stack->url, @arguments ], '>', \$tap, '2>&1');

	foreach my $line (split(/\n/, $tap))
	{
		ok($1 eq 'ok', "$name: $2") if $line =~ /^(ok|not ok) \d+ -? ?(.*)/;
	}
	ok($ok, "$name: all of it") or diag $tap;
	return;
}

check_with('client library', 'client.mjs', $stack->token('eikon_operator'));
$stack->settle;
check_with('pages', 'pages.mjs');

# a message that is HTML, and names a place of the template
write_file("$dir/users.csv", "user_id,name,email,signup_date\n1,<b>Ann</b>,,<script>alert(1)</script>{{hint}}\n");
$ENV{EXPECT_FAILURE} = '<script>';
check_with('failure page', 'pages.mjs');

done_testing();
