
# What pg_regress can't show: the extension on a server that preloads it and on
# one that does not, its settings in postgresql.conf, their reload, and its files.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('installation');
my $root = $node->basedir . '/files';

write_source("$root/one");
write_source("$root/two", users => [ '1,Alicia,,', '2,Bob,,', '3,Carol,,', '4,Dave,,' ]);

sub value_of
{
	my ($setting, $session) = @_;
	my $query = "SELECT current_setting('eikon_features.$setting', true)";

	return $session->query_safe($query) if defined $session;
	return $node->safe_psql('postgres', "LOAD 'eikon_features'; $query");
}

# =============================================================================
# Loaded when it is needed
# =============================================================================

is(value_of('data_directory'), '', 'no data directory unless one is set');
is(value_of('max_line_size'), '2MB', 'the longest record unless it is set');
is(value_of('max_decompressed_size'), '64GB', 'the largest expansion unless it is set');

configure($node, 'eikon_features.data_directory' => "$root/one/", 'eikon_features.max_line_size' => '1MB');
$node->restart;
is(value_of('data_directory'), "$root/one", 'a data directory of postgresql.conf, tidied');
is(value_of('max_line_size'), '1MB', 'a size of postgresql.conf');
is( run_summary($node, ''),
	'succeeded: inserted 3, updated 0, deleted 0, unchanged 0',
	'a run without a source reads it');

# --- A reload reaches sessions that have loaded the library, and those that have not
my $loaded = $node->background_psql('postgres', on_error_stop => 0);
my $fresh = $node->background_psql('postgres', on_error_stop => 0);

value_of('data_directory', $_) foreach $loaded, $fresh;
is($loaded->query_safe('SELECT count(*) FROM eikon_derive_features()'), 3, 'a session loads the library');

configure($node, 'eikon_features.data_directory' => "$root/two");
$node->reload;
foreach my $session ($loaded, $fresh)
{
	my $which = $session == $loaded ? 'with the library' : 'without the library';

	ok( wait_until(sub { value_of('data_directory', $session) eq "$root/two" }),
		"reload: a session $which has the new value");
	is($session->query_safe('SELECT count(*) FROM eikon_derive_features()'),
		4, "reload: a session $which reads the new directory");
}

# --- What can't be is not taken; the other setting tells when the reload has arrived
configure($node, 'eikon_features.data_directory' => 'relative/path', 'eikon_features.max_line_size' => '3MB');
$node->reload;
ok(wait_until(sub { value_of('max_line_size', $loaded) eq '3MB' }), 'reload: a size');
is(value_of('data_directory', $loaded), "$root/two", 'reload: a relative path is refused, the value of before stays');
like( failure($node, 'SELECT * FROM eikon_derive_features()'),
	qr/^22023: no source directory given/m, 'a new session has none');

configure($node, 'eikon_features.data_directory' => undef);
$node->reload;
ok(wait_until(sub { value_of('data_directory', $loaded) eq '' }), 'reload: none any more');
like( failure($node, 'SELECT * FROM eikon_derive_features()'),
	qr/^22023: no source directory given/, 'a run without a source says so');
$_->quit foreach $loaded, $fresh;

like( failure($node, "LOAD 'eikon_features'; SET eikon_features.nonsense = 1"),
	qr/^42602: invalid configuration parameter name "eikon_features\.nonsense"/,
	'settings that do not exist are an error');

# =============================================================================
# Loaded at the start
# =============================================================================

configure($node,
	'shared_preload_libraries' => 'eikon_features',
	'eikon_features.data_directory' => "$root/two",
	'eikon_features.max_line_size' => undef);
$node->restart;
is( $node->safe_psql('postgres',
		"SELECT string_agg(name || ' ' || context, ', ' ORDER BY name) FROM pg_settings WHERE name IN ('eikon_features.data_directory', 'eikon_features.max_decompressed_size', 'eikon_features.max_line_size')"),
	'eikon_features.data_directory sighup, eikon_features.max_decompressed_size superuser, eikon_features.max_line_size user',
	'every session knows the settings');
is( $node->safe_psql('postgres', "SELECT count(*) FROM pg_settings WHERE name LIKE 'eikon\\_features.%' AND short_desc = ''"),
	0, 'all of them are explained');
is( run_summary($node, ''),
	'succeeded: inserted 1, updated 3, deleted 0, unchanged 0',
	'a run on a server that preloads');
like( failure($node, "SET eikon_features.data_directory = '/'"),
	qr/^55P02: /, 'SET is refused in a session that has called nothing yet');

$loaded = $node->background_psql('postgres', on_error_stop => 0);
configure($node, 'eikon_features.data_directory' => "$root/one");
$node->reload;
ok(wait_until(sub { value_of('data_directory', $loaded) eq "$root/one" }), 'reload: a session has the new value');
is($loaded->query_safe('SELECT count(*) FROM eikon_derive_features()'), 3, 'and reads the new directory');
$loaded->quit;

$node->safe_psql('postgres', 'DROP EXTENSION eikon_features; CREATE EXTENSION eikon_features');
is( run_summary($node, ''),
	'succeeded: inserted 3, updated 0, deleted 0, unchanged 0',
	'it can be dropped and created there');

configure($node, 'shared_preload_libraries' => undef);
$node->restart;
is( run_summary($node, ''),
	'succeeded: inserted 0, updated 0, deleted 0, unchanged 3',
	'and be used when the server preloads it no more');

# =============================================================================
# Databases and schemas are apart from each other
# =============================================================================

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE SCHEMA lab; CREATE EXTENSION eikon_features SCHEMA lab');
my $runner = $node->background_psql('postgres', on_error_stop => 0);

$runner->query_safe("BEGIN; SELECT eikon_run_etl('$root/two')");
is( failure($node, "SELECT lab.eikon_run_etl('$root/one')", database => 'other'),
	'', 'a run in one database is not in the way of one in another');
$runner->query_safe('ROLLBACK');
$runner->quit;
is( $node->safe_psql('other', 'SET search_path = pg_catalog; SELECT count(*) FROM lab.features; SELECT count(*) FROM lab.etl_results'),
	"3\n4", 'nothing depends on the search path');

# =============================================================================
# Who can install it, and what is left of it
# =============================================================================

$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE DATABASE owned OWNER owner');
like( failure($node, 'CREATE EXTENSION eikon_features', user => 'owner', database => 'owned'),
	qr/^42501: permission denied to create extension "eikon_features"/,
	'who owns a database can\'t install it: it reads files');

my $inventory = q{
	SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
	UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
	UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
	ORDER BY 1};

$node->safe_psql('postgres', 'CREATE DATABASE emptied');
$node->safe_psql('emptied', 'CREATE EXTENSION eikon_features');
$node->safe_psql('emptied', "SELECT eikon_run_etl('$root/two')");
$node->safe_psql('emptied', 'DROP EXTENSION eikon_features');
is($node->safe_psql('emptied', $inventory), '', 'DROP EXTENSION leaves nothing');

# =============================================================================
# Files and versions
# =============================================================================

my ($sharedir) = $node->config_data('--sharedir') =~ /(\S+)/;
my ($version) = slurp_file("$sharedir/extension/eikon_features.control") =~ /^default_version *= *'([^']*)'/m;
my $script = "$sharedir/extension/eikon_features--$version.sql";

is( $node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'eikon_features'"),
	$version, 'the version is the control file\'s');
ok(-f $script, 'there is a script of that version');

# psql is not the way to run it
my ($stdout, $stderr);
$node->psql('owned', "\\i $script", stdout => \$stdout, stderr => \$stderr, on_error_stop => 0);
like($stdout, qr/Use "CREATE EXTENSION eikon_features" to load this file\./, 'the script says how it is used');
is($node->safe_psql('owned', $inventory), '', 'and does nothing else');

# Whatever version one comes from, one arrives at the same.
my $description = q{
	SELECT pg_describe_object(classid, objid, objsubid) || coalesce(': ' || obj_description(objid, classid::regclass::name), '')
	FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
	ORDER BY 1};

foreach my $from (split(/\n/,
		$node->safe_psql('postgres', "SELECT version FROM pg_available_extension_versions WHERE name = 'eikon_features'")))
{
	$node->safe_psql('postgres', 'CREATE DATABASE updated');
	$node->safe_psql('updated', "CREATE EXTENSION eikon_features VERSION '$from'");
	$node->safe_psql('updated', 'ALTER EXTENSION eikon_features UPDATE');
	is( $node->safe_psql('updated', $description),
		$node->safe_psql('postgres', $description),
		"from version $from one arrives at $version");
	is($node->safe_psql('updated', "SELECT rows_inserted FROM eikon_run_etl('$root/two')"), 4, 'where runs work');
	$node->safe_psql('postgres', 'DROP DATABASE updated');
}

$node->stop;
done_testing();
