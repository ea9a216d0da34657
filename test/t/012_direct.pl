
# What pg_regress can't show of how features are written, directly and by SQL: that
# everything is in the log of the server, so that it is there, in the table and in its
# indexes, after a crash and on a standby.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# the standby compares each page that it changes with the primary's
my $primary = new_server(
	'primary',
	init => [ allows_streaming => 1 ],
	conf => q{
	wal_consistency_checking = 'heap,heap2,btree'
	autovacuum = off
	wal_keep_size = 2GB
});
my $dir = $primary->basedir . '/source';
my $has_amcheck = $primary->safe_psql('postgres',
	"SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'");

$primary->safe_psql('postgres', 'CREATE EXTENSION amcheck') if $has_amcheck;
$primary->safe_psql('postgres', 'CREATE INDEX by_email ON eikon_user_features (email)');
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# 2000 users. Each 500th has a name that does not fit into a row, even compressed.
sub users
{
	my ($from, $to, $name) = @_;

	srand(1);
	return map {
		my $id = $_;
		my $more = $id % 500 == 0 ? join('', map { chr(97 + int(rand(26))) } 1 .. 12000) : '';

		sprintf('%d,%s %d%s,%s,2024-01-%02d', $id, $name, $id, $more, $id % 3 == 0 ? '' : "u$id\@example.org", 1 + $id % 28)
	} $from .. $to;
}

sub experiments
{
	my ($n) = @_;

	return map { sprintf('%d,%d,%d;%d,%d', $_, 1 + $_ % 1600, 1 + $_ % 2, 1 + $_ % 7, $_ % 100) } 1 .. $n;
}

write_source("$dir/first", users => [ users(1, 2000, 'Name') ], user_experiments => [ experiments(2400) ]);
write_source("$dir/second",
	users => [ users(1, 400, 'Name'), users(401, 480, 'Another'), users(481, 1800, 'Name'), users(6001, 6200, 'New') ],
	user_experiments => [ experiments(2400) ]);
write_source("$dir/third", users => [ users(1, 2000, 'Name') ], user_experiments => [ experiments(4000) ]);

# Each index has exactly the rows of the table, and their values are whole.
sub intact
{
	my ($node, $name) = @_;

  SKIP:
	{
		skip 'amcheck is not installed', 2 unless $has_amcheck;
		succeeds($node,
			"SELECT bt_index_check(indexrelid, true) FROM pg_index WHERE indrelid = 'eikon_user_features'::regclass",
			"indexes $name");
		is( succeeds($node, "SELECT msg FROM verify_heapam('eikon_user_features', check_toast => true)", "table $name"),
			'', 'nothing is wrong with it');
	}
	return;
}

# The table is what the derivation of that source gives.
sub holds
{
	my ($node, $source, $name) = @_;

	is( $node->safe_psql('postgres',
			"SELECT count(*) FROM features f FULL JOIN eikon_derive_features('$dir/$source') d USING (user_id) WHERE f.*::text IS DISTINCT FROM d.*::text"),
		0, $name);
	return;
}

# Why new rows are inserted by SQL; '' where they are not.
sub obstacle
{
	my ($source) = @_;
	my $stderr;

	$primary->psql('postgres',
		"SET client_min_messages = debug1; BEGIN; SELECT FROM eikon_run_etl('$dir/$source'); ROLLBACK",
		stderr => \$stderr);
	return $stderr =~ /new rows of table "eikon_user_features" are inserted by SQL, which is slower: (.*)/ ? $1 : '';
}

is(obstacle('first'), '', 'the table is one that is written directly');

my @runs = (
	[ 'first', 'inserted 2000, updated 0, deleted 0, unchanged 0' ],
	[ 'first', 'inserted 0, updated 0, deleted 0, unchanged 2000' ],
	[ 'second', 'inserted 200, updated 80, deleted 200, unchanged 1720' ],
	[ 'third', 'inserted 200, updated 1600, deleted 200, unchanged 200' ]);

foreach my $run (@runs)
{
	my ($source, $counts) = @$run;

	is(run_summary($primary, "'$dir/$source'"), "succeeded: $counts", "run of $source");
	$primary->wait_for_catchup($standby);
	holds($standby, $source, 'its rows arrive at the standby');
	intact($standby, 'on the standby');

	# again, from its beginning, by a run that is lost with the server
	$primary->safe_psql('postgres', 'CHECKPOINT');
	my $session = $primary->background_psql('postgres', on_error_stop => 0);
	$session->query_safe('BEGIN');
	$session->query_safe("SELECT rows_updated FROM eikon_run_etl('$dir/" . ($source eq 'third' ? 'second' : 'third') . "')");
	$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
	$primary->stop('immediate');
	eval { $session->quit };
	$primary->start;
	holds($primary, $source, 'nothing of a run stays that a crash has ended');
	intact($primary, 'after the crash');
}

# --- A crash right after a run has committed
foreach my $source (qw(second third first))
{
	$primary->safe_psql('postgres', 'TRUNCATE eikon_user_features') if $source eq 'first';
	run_summary($primary, "'$dir/$source'");
	$primary->stop('immediate');
	$primary->start;
	holds($primary, $source, "the rows of $source are there after a crash");
	intact($primary, 'after it');
}

# --- The room of what is gone can be used again
$primary->safe_psql('postgres', 'VACUUM eikon_user_features');
run_summary($primary, "'$dir/$_'") foreach qw(second first);
$primary->safe_psql('postgres', 'VACUUM eikon_user_features');
intact($primary, 'after vacuum');
holds($primary, 'first', 'its rows are there');
$primary->wait_for_catchup($standby);
holds($standby, 'first', 'on the standby, too');
intact($standby, 'there');

# --- By SQL, as an index asks for
$primary->safe_psql('postgres', 'CREATE INDEX by_name ON eikon_user_features (lower(left(name, 50)))');
is(obstacle('second'), 'it has an index that calls functions', 'now the table is written by SQL');
run_summary($primary, "'$dir/second'");
$primary->wait_for_catchup($standby);
holds($standby, 'second', 'its rows arrive at the standby');
intact($standby, 'by SQL');
unlike(slurp_file($standby->logfile), qr/inconsistent page found/, 'each page of the standby was that of the primary');

$standby->stop;
$primary->stop;
done_testing();
