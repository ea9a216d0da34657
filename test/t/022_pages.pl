
# What curl can't show: the pages in a real Chromium.

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

# playwright-core drives Debian's Chromium, and brings none
my $work = PostgreSQL::Test::Utils::tempdir();
system_or_bail('cp', glob('test/http/*'), $work);
{
	local %ENV = (%ENV, npm_config_cache => "$work/cache", npm_config_update_notifier => 'false', HOME => $work);
	$ENV{NODE_EXTRA_CA_CERTS} //= '/etc/ssl/certs/ca-certificates.crt' if -r '/etc/ssl/certs/ca-certificates.crt';
	my $output = '';

	run([ 'npm', 'ci', '--ignore-scripts', '--prefix', $work ], '>', \$output, '2>&1')
	  or die "npm could not fetch playwright-core: $output";

	# its own TAP becomes ours
	sub check_pages
	{
		my ($name, %environment) = @_;
		my $tap = '';
		local %ENV = (%ENV, %environment);

		my $ok = run([ 'node', "$work/pages.mjs", $stack->url ], '>', \$tap, '2>&1');
		foreach my $line (split(/\n/, $tap))
		{
			ok($1 eq 'ok', "$name: $2") if $line =~ /^(ok|not ok) \d+ -? ?(.*)/;
		}
		ok($ok, "$name: all of it") or diag $tap;
		return;
	}
	check_pages('success');
	write_file("$dir/users.csv", "user_id,name,email,signup_date\n1,<b>Ann</b>,,<script>alert(1)</script>{{hint}}\n");
	check_pages('failure', EXPECT_FAILURE => '<script>');
}

done_testing();
