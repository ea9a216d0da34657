
# What pg_regress can't show on a server that others use: the extension eikon_api, which
# makes roles.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('api');
my @roles = qw(authenticator eikon_anonymous eikon_etl eikon_operator eikon_reader);

sub value { return $node->safe_psql('postgres', $_[0]) }

my $list_roles = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^(eikon_|authenticator)'";

value('CREATE EXTENSION eikon_api');
is(value($list_roles), "@roles", 'it makes its roles');
is(value("SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname ~ '^(eikon_|authenticator)' AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"),
	'', 'none of them can do more than others');
is(value("SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname ~ '^(eikon_|authenticator)' AND rolcanlogin"),
	'authenticator', 'one logs in');
is(value("SELECT rolinherit FROM pg_roles WHERE rolname = 'authenticator'"), 'f', 'and has no rights by that');
is(value("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'authenticator'"), 't', 'nor a password');
is(value("SELECT string_agg(format('%s=%s', rolname, setconfig[1]), ' ' ORDER BY rolname) FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole"),
	'eikon_anonymous=statement_timeout=60s eikon_operator=statement_timeout=5min eikon_reader=statement_timeout=60s',
	'their statements end');

is( value(
		"SELECT string_agg(pg_describe_object(classid, objid, 0), ', ' ORDER BY 1)
		FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eikon_api')
			AND classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
			-- types that come with tables and with other types belong to it too, since PostgreSQL 17
			AND NOT (classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
				WHERE t.oid = objid AND (typelem <> 0 OR relkind <> 'c')))
			AND obj_description(objid, classid::regclass::name) IS NULL"),
	'', 'each object has a comment');
is( value(
		"SELECT string_agg(format('%s.%s', attrelid::regclass, attname), ', ')
		FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		WHERE relnamespace = 'eikon_api'::regnamespace AND attnum > 0 AND col_description(attrelid, attnum) IS NULL"),
	'', 'and each column');

is(value("SELECT string_agg(table_name, ' ') FROM information_schema.tables WHERE table_schema = 'eikon_api' AND is_insertable_into = 'YES'"),
	'uploads', 'and can only be read, but for what may be taken back');

my $functions = "pg_proc WHERE pronamespace IN ('eikon_api'::regnamespace, 'eikon_web'::regnamespace)";
is(value("SELECT string_agg(proname, ' ') FROM $functions AND has_function_privilege('public', oid, 'EXECUTE')"),
	'', 'nobody may call a function unless told so');
is(value("SELECT string_agg(proname, ' ') FROM $functions AND prosecdef AND proowner <> 'eikon_etl'::regrole"),
	'', 'what runs as another than its caller runs as eikon_etl');
is(value("SELECT string_agg(proname, ' ') FROM $functions AND prosqlbody IS NULL AND proconfig IS DISTINCT FROM '{\"search_path=pg_catalog, pg_temp\"}'"),
	'', 'and names everything in full, or is bound to it');
is( value(
		"SELECT string_agg(format('%s %s', grantee, privilege_type), ', ')
		FROM information_schema.table_privileges
		WHERE table_schema = 'eikon_api' AND privilege_type <> 'SELECT' AND grantee <> 'postgres'"),
	'eikon_operator DELETE', 'web roles only read, but for uploads');
is( value(
		"SELECT string_agg(DISTINCT table_name || ' ' || privilege_type, ', ' ORDER BY table_name || ' ' || privilege_type)
		FROM information_schema.table_privileges
		WHERE table_schema = 'public' AND grantee IN ('eikon_anonymous', 'eikon_reader', 'eikon_operator', 'authenticator')"),
	join(', ', map { "$_ SELECT" } qw(derived_exp_data eikon_compounds eikon_totals eikon_user_features etl_results feature_derivation features)),
	'and outside of eikon_api only what its views read with their rights');

# --- Elsewhere, again, and gone

value('DROP EXTENSION eikon_api');
is(value("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^eikon_'"), 0, 'it goes with its schemas');
is(value($list_roles), "@roles", 'the roles stay');
value('CREATE EXTENSION eikon_api');
value('CREATE DATABASE second');
$node->safe_psql('second', 'CREATE SCHEMA "Lab"; CREATE EXTENSION eikon_features SCHEMA "Lab"; CREATE EXTENSION eikon_api');
$node->safe_psql('postgres', 'CREATE DATABASE third');
$node->safe_psql('third', 'CREATE EXTENSION eikon_features; ALTER TABLE eikon_user_features ADD COLUMN mine int');
show_column($node, 'third', 'mine');
$node->safe_psql('third', 'CREATE EXTENSION eikon_api');
is($node->safe_psql('third', "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'eikon_api' AND column_name = 'mine'"),
	'1', "a user's own column is served too");
$node->safe_psql('postgres', 'DROP DATABASE third');
is($node->safe_psql('second', "SELECT count(*) FROM eikon_api.features"), 0, 'it is made in a second database, where eikon_features is in another schema');
write_source($node->basedir . '/source');
configure($node, 'eikon_features.data_directory' => $node->basedir . '/source');
$node->reload;
is($node->safe_psql('second', "SET ROLE eikon_anonymous; SELECT eikon_api.etl() ->> 'message'"),
	'ETL process completed successfully', 'and works there');
is($node->safe_psql('second', 'SELECT count(*) FROM "Lab".features'), 3, 'on its tables');
like(failure($node, "SET ROLE eikon_anonymous; SELECT * FROM eikon_runs"), qr/permission denied/, 'of which web roles read no others');
value('DROP EXTENSION eikon_features CASCADE');
is(value("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^eikon_'"), 0, 'it goes with eikon_features');

# --- What a dump carries

$node->command_ok([ 'pg_dump', '-f', $node->basedir . '/dump.sql', $node->connstr('second') ], 'a database with it is dumped');
value('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/dump.sql', $node->connstr('restored') ],
	'and restored');
is($node->safe_psql('restored', "SET ROLE eikon_reader; SELECT count(*) FROM eikon_api.features"), 3, 'with its rights');

# What was granted before, and what it grants itself, is in a dump as well.
my $list_rights = q{
	SELECT string_agg(r::text, ' ' ORDER BY r::text)
	FROM (
		SELECT nspname || unnest(nspacl)::text FROM pg_namespace WHERE nspname ~ '^(f|eikon)'
		UNION ALL
		SELECT oid::regclass || unnest(relacl)::text FROM pg_class WHERE relnamespace::regnamespace::text ~ '^(f|eikon)'
		UNION ALL
		SELECT oid::regprocedure || unnest(proacl)::text FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^(f|eikon)'
	) AS r (r)};
value('CREATE ROLE alice');
value('CREATE DATABASE granted');
$node->safe_psql('granted', 'CREATE SCHEMA f; CREATE EXTENSION eikon_features SCHEMA f;
	GRANT USAGE ON SCHEMA f TO alice; GRANT SELECT ON f.features TO alice; GRANT EXECUTE ON FUNCTION f.eikon_health TO alice;
	CREATE EXTENSION eikon_api');
my $rights = $node->safe_psql('granted', $list_rights);
$node->command_ok([ 'pg_dump', '-f', $node->basedir . '/granted.sql', $node->connstr('granted') ], 'rights granted before are dumped');
value('CREATE DATABASE granted_again');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/granted.sql', $node->connstr('granted_again') ], 'and restored');
is($node->safe_psql('granted_again', "SELECT has_schema_privilege('alice', 'f', 'USAGE') AND has_table_privilege('alice', 'f.features', 'SELECT') AND has_function_privilege('alice', 'f.eikon_health()', 'EXECUTE')"),
	't', 'as they were');
is($node->safe_psql('granted_again', $list_rights), $rights, 'and so are all others');

# --- Roles that are there already

value("ALTER ROLE eikon_etl SUPERUSER");
like(failure($node, 'CREATE EXTENSION eikon_api CASCADE'),
	qr/^0LP01: role "eikon_etl" may read any file of the server\nHINT:  Callers of the HTTP API must not/, 'one that could do too much is refused');
value("ALTER ROLE eikon_etl NOSUPERUSER; GRANT pg_read_server_files TO eikon_anonymous");
like(failure($node, 'CREATE EXTENSION eikon_api CASCADE'),
	qr/^0LP01: role "eikon_anonymous" may read/, 'as is one with that right');
value("REVOKE pg_read_server_files FROM eikon_anonymous");
value("ALTER ROLE authenticator PASSWORD 'secret'");
value("ALTER ROLE eikon_operator SET statement_timeout = '1h'");
value("ALTER ROLE authenticator SET pgrst.db_schemas = 'public'");
like(failure($node, 'CREATE EXTENSION eikon_api CASCADE'),
	qr/^55000: role "authenticator" has settings of another PostgREST\nDETAIL:  .*\nHINT:  /, 'settings that would count more than postgrest.conf are refused');
value("ALTER ROLE authenticator RESET pgrst.db_schemas; ALTER ROLE authenticator IN DATABASE second SET pgrst.db_schemas = 'public'");
value('CREATE EXTENSION eikon_api CASCADE');
is(value("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'authenticator'"), 't', 'authenticator is taken as it is');

is(value("SELECT setconfig[1] FROM pg_db_role_setting WHERE setrole = 'eikon_operator'::regrole"), 'statement_timeout=1h', 'and so are timeouts');

done_testing();
