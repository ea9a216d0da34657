
# What pg_regress can't show: that a dump of the database carries the rows of the
# extension's tables into another one, that runs are numbered on from there, and
# that this holds in whatever schema the extension is.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @tables = qw(features eikon_user_features eikon_totals eikon_compounds eikon_runs eikon_rejects eikon_uploads);

my $node = new_server('dump');
my $dir = $node->basedir . '/source';
my $dumps = $node->basedir . '/dumps';

mkdir($dumps) or die "could not create directory: $!";
write_source("$dir/first",
	users => [ '1,"Alice, ""A""",alice@example.com,2023-01-01', "2,Bob\tB\\N,,", 'x,Nobody,,' ]);
write_source("$dir/second", users => [ '1,Alicia,,', '2,Bob,,', '4,Dave,,' ]);

sub contents
{
	my ($database, $schema) = @_;

	return join("\n--\n", map { rows_of($node, "$schema.$_", $database) } @tables);
}

sub dump_into
{
	my ($format, $from, $to) = @_;
	my $file = "$dumps/$to";

	$node->safe_psql('postgres', "CREATE DATABASE $to TEMPLATE template0");
	$node->command_ok([ 'pg_dump', "-F$format", '-f', $file, '-d', $node->connstr($from) ],
		"$from is dumped in format $format");
	if ($format eq 'p')
	{
		$node->command_ok(
			[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($to), '-f', $file ],
			"and restored into $to");
	}
	else
	{
		$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr($to), $file ],
			"and restored into $to");
	}
	return;
}

sub last_run
{
	my ($database, $schema) = @_;

	return $node->safe_psql($database, "SELECT max(run_id) FROM $schema.eikon_runs");
}

foreach my $schema ('public', 'lab "1"')
{
	my $quoted = $schema eq 'public' ? $schema : '"lab ""1"""';
	my $database = $schema eq 'public' ? 'default_schema' : 'other_schema';

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE SCHEMA IF NOT EXISTS $quoted");
	$node->safe_psql($database, "CREATE EXTENSION eikon_features SCHEMA $quoted");
	$node->safe_psql($database, "SELECT $quoted.eikon_run_etl('$dir/$_', on_error => 'ignore')")
	  foreach qw(first second first);
	# bytes that are no text, under the numbers 2 and 3
	$node->safe_psql($database,
		"SELECT $quoted.eikon_upload('users', pg_read_binary_file('$dir/second/users.csv') || '\\xff0a00', 'users \"1\".csv', 'ignore') FROM generate_series(1, 2)");
	$node->safe_psql($database, "SELECT $quoted.eikon_upload('compounds', pg_read_binary_file('$dir/second/compounds.csv'))");
	# what runs left is not all that there may be
	$node->safe_psql($database,
		"UPDATE $quoted.features SET name = 'by hand' WHERE user_id = 2; DELETE FROM $quoted.eikon_runs WHERE run_id = 1");

	my $before = contents($database, $quoted);
	like($before, qr/by hand.*Nobody/s, "$database: rows in features and in eikon_rejects");

	foreach my $format ('p', 'c', 'd')
	{
		my $copy = "${database}_$format";

		dump_into($format, $database, $copy);
		is(contents($copy, $quoted), $before, "$copy: all rows are there");
		is(last_run($copy, $quoted), 3, "$copy: so is the last run");
		is( $node->safe_psql($copy,
				"SELECT run_id FROM $quoted.eikon_run_etl('$dir/second')"),
			4, "$copy: the next run has the next number");
		cmp_ok($node->safe_psql($copy, "SELECT upload_id FROM $quoted.eikon_upload('compounds', 'compound_id,compound_name,compound_structure')"),
			'>', 3, "$copy: and so has the next upload");
		is( $node->safe_psql($copy,
				"SELECT extname || ' in ' || extnamespace::regnamespace FROM pg_extension WHERE extname = 'eikon_features'"),
			"eikon_features in $quoted",
			"$copy: the extension is in its schema");
	}

	# a copy of the copy before anything ran there is the same dump
	dump_into('p', "${database}", "${database}_again");
	dump_into('p', "${database}_again", "${database}_twice");
	is( without_tokens("$dumps/${database}_twice"),
		without_tokens("$dumps/${database}_again"),
		"$database: a dump of the restored database is the same dump");
}

# pg_dump opens and closes its scripts with a random token.
sub without_tokens
{
	my $script = slurp_file($_[0]);

	$script =~ s/^\\(?:un)?restrict .*$//mg;
	return $script;
}

# --- The structure alone: no rows, and runs are numbered from 1
$node->safe_psql('postgres', 'CREATE DATABASE structure TEMPLATE template0');
$node->command_ok(
	[ 'pg_dump', '-s', '-f', "$dumps/structure", '-d', $node->connstr('default_schema') ],
	'a dump of the structure alone');
$node->command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('structure'), '-f', "$dumps/structure" ],
	'can be restored');
is( $node->safe_psql('structure',
		"SELECT count(*), (SELECT run_id FROM eikon_run_etl('$dir/second')) FROM features"),
	'0|1', 'it holds no rows');

$node->stop;
done_testing();
