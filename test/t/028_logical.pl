
# What pg_regress can't show: logical replication of the tables that the view features reads, to a
# server that has the extension too.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = new_server('publisher', init => [ allows_streaming => 'logical' ]);
my $subscriber = new_server('subscriber', init => [ allows_streaming => 'logical' ]);
my $dir = $publisher->basedir . '/source';
my @tables = qw(eikon_user_features eikon_totals eikon_compounds);

write_source("$dir/first");
write_source("$dir/second",
	users => [ '1,Alicia,,', '2,Bob,bob@example.com,2023-02-01', '4,Dave,,' ],
	user_experiments => [ '1,1,1;2,10', '2,1,2,15', '3,2,1;3,20.5', '4,4,1,1' ]);

sub same
{
	my ($what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$publisher->wait_for_catchup('lab');
	is(rows_of($subscriber, $_), rows_of($publisher, $_), "$what: $_") foreach qw(features etl_results derived_exp_data), @tables;
	return;
}

is(run_summary($publisher, "'$dir/first'"), 'succeeded: inserted 3, updated 0, deleted 0, unchanged 0', 'a run');
$publisher->safe_psql('postgres', 'CREATE PUBLICATION lab FOR TABLE ' . join(', ', @tables));
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION lab CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION lab");
$subscriber->wait_for_subscription_sync($publisher, 'lab');
same('what was there');

# More users and more experiments: the totals change, and rows of all sorts.
is(run_summary($publisher, "'$dir/second'"), 'succeeded: inserted 1, updated 1, deleted 1, unchanged 1', 'a run that changes some rows');
same('what has changed');
is($subscriber->safe_psql('postgres', 'SELECT users, experiments FROM eikon_totals'), '3|4', 'the totals are one row');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM features WHERE avg_experiments = 4 / 3.0::float8'), 3, 'which features shows');
is(run_summary($publisher, "'$dir/second'"), 'succeeded: inserted 0, updated 0, deleted 0, unchanged 3', 'a run that changes none');
same('what has not changed');

# Whatever was done to the totals by hand.
$publisher->safe_psql('postgres', 'DELETE FROM eikon_totals');
same('without totals');
run_summary($publisher, "'$dir/second'");
same('and with those of the next run');

$subscriber->stop;
$publisher->stop;
done_testing();
