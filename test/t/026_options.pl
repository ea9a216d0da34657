
# What pg_regress can't show: that the library's table of options (src/options.c), the
# arguments of the SQL functions and the README's table all have the same options.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my %sql_type = (TEXTOID => 'text', INT8OID => 'bigint', BOOLOID => 'boolean');

# The options of the library: [ name, type, default ] as SQL writes it, in order.
my @known;
{
	my ($table) = slurp_file("$root/src/options.c") =~ /^static const Option known\[\] = \{\n(.*?)^\};/ms
	  or die 'found no table of options';

	foreach my $line (split(/\n/, $table))
	{
		my ($name, $type, $default) = $line =~ /^\t\{"(\w+)", (\w+), (NULL|"\w*"), set_\w+(?:, [^{}]+)?\},$/
		  or die "could not read an option: $line";

		$type = $sql_type{$type} // die "type of option: $line";
		$default = $default eq 'NULL' ? "NULL::$type" : $type eq 'text' ? "'" . $default =~ s/"//gr . "'::text" : $default =~ s/"//gr;
		push @known, [ $name, $type, $default ];
	}
}

# Those of some, as pg_get_function_arguments shows them; without defaults where all are NULL.
sub arguments
{
	my ($without, $optional) = @_;

	return join(', ',
		map { ($_->[0] eq 'null' ? '"null"' : $_->[0]) . " $_->[1] DEFAULT " . ($optional ? "NULL::$_->[1]" : $_->[2]) }
		grep { my $name = $_->[0]; !grep { $_ eq $name } @$without } @known);
}

my $node = new_server('options');
$node->safe_psql('postgres', 'CREATE EXTENSION eikon_api');

# --- Functions: what stands before the options, which of them are not there, what stands after them
my $source = 'source text DEFAULT NULL::text, ';
my @no_run = ('dry_run', 'skip_unchanged');
my @cases = (
	[ 'eikon_run_etl', $source . arguments([]) ],
	[ 'eikon_try_etl', $source . arguments(['dry_run']) ],
	[ 'eikon_submit_etl', $source . arguments(['dry_run']) ],
	[ 'eikon_etl', 'IN ' . join(', IN ', split(/, /, $source . arguments(['dry_run']))) . ', IN timeout interval DEFAULT NULL::interval' ],
	[ 'eikon_derive_features', $source . arguments(\@no_run) ],
	[ 'eikon_read_csv', 'path text, ' . arguments([ 'on_error', 'reject_limit', @no_run ], 1) . ', OUT line bigint, OUT fields text[], OUT error_type text' ],
	[ 'eikon_api.run_etl', $source . arguments([], 1) ],
	[ 'eikon_api.submit_etl', $source . arguments(['dry_run'], 1) ]);

foreach my $case (@cases)
{
	is($node->safe_psql('postgres', "SELECT pg_get_function_arguments('$case->[0]'::regproc)"), $case->[1], "$case->[0] has the library's options");
}

# To whoever adds a function that takes options: it belongs into the list above.
is( $node->safe_psql(
		'postgres', q{
		SELECT string_agg(oid::regproc::text, ' ' ORDER BY oid::regproc::text COLLATE "C") FROM pg_proc
		WHERE 'delimiter' = ANY (proargnames) AND oid IN (SELECT objid FROM pg_depend WHERE deptype = 'e')}),
	join(' ', sort map { $_->[0] } @cases),
	'no other function has options');

# --- From HTTP to the library: a request's options reach the ledger as they are
{
	my %values = (
		on_error => 'ignore', reject_limit => 7, delimiter => ',', quote => '"', escape => '"', encoding => 'UTF8', null => 'none',
		header => 'true', skip => 0, padding => 'trim', newline => 'any', dry_run => 'false', skip_unchanged => 'true');
	my %given = map { $_->[0] => $values{ $_->[0] } // die "a value for option $_->[0]" } @known;
	my $dir = write_source($node->basedir . '/source');
	my $words = join(', ', map { qq{"$_" => '$given{$_}'} } sort keys %given);
	my $expected;

	# as by default, so that it is left out
	delete $given{dry_run};
	$expected = join(',', map { "$_=$given{$_}" } sort keys %given);
	configure($node, 'eikon_features.data_directory' => $dir);
	$node->reload;
	like($node->safe_psql('postgres', "SELECT eikon_api.run_etl(source => '$dir', $words)"),
		qr/"status":"succeeded"/, 'a run with all options');
	$words =~ s/"dry_run" => 'false', //;
	$node->safe_psql('postgres', "SELECT eikon_api.submit_etl(source => '$dir', $words)");
	is( $node->safe_psql(
			'postgres', q{SELECT (SELECT string_agg(key || '=' || value, ',' ORDER BY key COLLATE "C") FROM jsonb_each_text(options)) FROM eikon_runs ORDER BY run_id}),
		"$expected\n$expected",
		'the ledger has them, of a direct run and of a submitted one');
}

# --- The README
my ($section) = slurp_file("$root/README.md") =~ /^## Options\n(.*?)^(?:##|Settings,)/ms or die 'found no section on options';
is( join(', ', map { s/"//gr } $section =~ /^\| `("?\w+"?)` \| (?:text|bigint|boolean) \|/mg),
	join(', ', map { $_->[0] } @known),
	"the README's table lists them");
is( join(', ', $section =~ /^\| `"?\w+"?` \| (\w+) \|/mg),
	join(', ', map { $_->[1] } @known),
	'with their types');

$node->stop;
done_testing();
