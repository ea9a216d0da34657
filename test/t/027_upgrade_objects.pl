
# What pg_regress can't show: what users of eikon_features 0.1.0 have granted on the table features,
# put on it and made of it, after an update. All of it is there and works, is in a dump, or
# was refused by name, and then nothing has changed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $installation = installation_of_releases(PostgreSQL::Test::Utils::tempdir_short());
my $node = PostgreSQL::Test::Cluster->new('objects', install_path => $installation);
my $source = $node->basedir . '/source';

write_source($source);
$node->init;
$node->append_conf('postgresql.conf', 'wal_level = logical');
$node->start;

sub value
{
	my ($database, $sql) = @_;

	return $node->safe_psql($database, $sql);
}

# A database of 0.1.0 whose features are those that a run left there.
sub create
{
	my ($database) = @_;

	value('postgres', "CREATE DATABASE $database");
	value($database, q{
		CREATE SCHEMA "Lab 1";
		CREATE EXTENSION eikon_features SCHEMA "Lab 1" VERSION '0.1.0';
		CREATE EXTENSION eikon_api VERSION '0.1.0';
		ALTER DATABASE } . $database . q{ SET search_path = "Lab 1", pg_catalog;
		GRANT USAGE ON SCHEMA "Lab 1" TO public;
		GRANT CREATE ON SCHEMA "Lab 1" TO lab_author;
		SET search_path = "Lab 1";
		INSERT INTO features VALUES
			(1, 'Alice', 'alice@example.com', '2023-01-01', 2, 1, 2 / 3.0::float8, 12.5, 25, 1, 'Compound A', 'C20H25N3O', 2, '{1}'),
			(2, 'Bob', 'bob@example.com', '2023-02-01', 1, 1, 1 / 3.0::float8, 20.5, 20.5, 1, 'Compound A', 'C20H25N3O', 1, '{1,3}'),
			(4, 'Dave', NULL, NULL, 0, 1, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
		INSERT INTO eikon_compounds VALUES (1, 'Compound A', 'C20H25N3O')});
	return;
}

# What psql says of it, all lines, without the name of the schema.
sub said
{
	my ($database, $sql) = @_;
	my $stderr = '';

	$node->psql($database, $sql, stderr => \$stderr, on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $stderr =~ s/^psql:<stdin>:\d+: |"Lab 1"\.|^LOCATION:.*\n?//mgr;
}

sub update
{
	my ($database) = @_;

	return said($database, 'ALTER EXTENSION eikon_features UPDATE');
}

# As a role; the error, where there is one.
sub seen
{
	my ($database, $role, $sql) = @_;
	my ($stdout, $stderr) = ('', '');

	$node->psql($database, "SET ROLE $role; $sql", stdout => \$stdout, stderr => \$stderr);
	return $stderr =~ /ERROR:\s+(.*)/ ? $1 : $stdout;
}

value('postgres', "CREATE ROLE $_") foreach qw(lab_runner lab_reader lab_head lab_member lab_partner lab_author lab_guest lab_owner);

# =============================================================================
# Rights
# =============================================================================

create('granted');
value('granted', q{
	GRANT SELECT, INSERT, UPDATE, DELETE ON features, eikon_compounds TO lab_runner;
	GRANT EXECUTE ON FUNCTION eikon_run_etl, eikon_derive_features TO lab_runner;
	GRANT pg_read_server_files TO lab_runner;
	GRANT SELECT ON features TO lab_head WITH GRANT OPTION;
	GRANT EXECUTE ON FUNCTION days_since_signup TO lab_head WITH GRANT OPTION;
	SET ROLE lab_head;
	GRANT SELECT ON features TO lab_member;
	GRANT EXECUTE ON FUNCTION days_since_signup TO lab_member;
	RESET ROLE;
	GRANT SELECT ON etl_results, derived_exp_data, feature_derivation TO lab_reader;
	GRANT SELECT ON etl_results TO lab_partner WITH GRANT OPTION;
	GRANT SELECT (user_id, experiments_pct), UPDATE (name) ON features TO lab_guest;
	GRANT SELECT ON feature_derivation TO public;
	COMMENT ON FUNCTION days_since_signup IS 'mine';
	COMMENT ON TABLE features IS 'mine, too'});
like(update('granted'), qr/^WARNING:  01000: roles with rights on some columns of "features" cannot read it any more: lab_guest\nHINT:  [^\n]*\n?\z/,
	'who has rights on some columns is told of');

# Who has which rights on a relation, or on a column of it: all but the owner and the web's roles.
sub rights
{
	my ($database, $relation, $column) = @_;
	my $acl = defined $column
	  ? "SELECT attacl FROM pg_attribute WHERE attrelid = '$relation'::regclass AND attname = '$column'"
	  : "SELECT relacl FROM pg_class WHERE oid = '$relation'::regclass";

	return value($database, "
		SELECT format('%s %s%s by %s', CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END,
			string_agg(privilege_type, ' ' ORDER BY privilege_type), CASE WHEN is_grantable THEN ' with grant option' END, grantor::regrole)
		FROM ($acl) AS a (acl), aclexplode(acl)
		WHERE grantee NOT IN (SELECT oid FROM pg_roles WHERE rolname ~ '^(eikon_|postgres)')
		GROUP BY grantee, grantor, is_grantable ORDER BY 1");
}

my $on_features = "lab_head SELECT with grant option by postgres\nlab_member SELECT by lab_head\nlab_runner DELETE INSERT SELECT UPDATE by postgres";
is(rights('granted', 'features'), $on_features, 'rights on features are rights on the view');
is(rights('granted', 'eikon_user_features'), $on_features, 'and on the table');
is( rights('granted', 'eikon_totals'),
	"lab_guest SELECT by postgres\n" . ($on_features =~ s/\nlab_runner.*//r) . "\nlab_reader SELECT by postgres\nlab_runner DELETE INSERT SELECT UPDATE by postgres",
	'and on the totals, for readers and runners');
is( rights('granted', 'eikon_compounds'),
	"lab_partner SELECT with grant option by postgres\nlab_reader SELECT by postgres\nlab_runner DELETE INSERT SELECT UPDATE by postgres",
	'what etl_results shows besides');
is(rights('granted', 'features', 'experiments_pct'), 'lab_guest SELECT by postgres', 'rights on a column');
is(rights('granted', 'features', 'name'), 'lab_guest UPDATE by postgres', 'and on another one');
is( rights('granted', 'eikon_user_features', 'signup_date'),
	"lab_partner SELECT with grant option by postgres\nlab_reader SELECT by postgres\npublic SELECT by postgres",
	'readers of the older shapes may read the columns that these show');
is(rights('granted', 'eikon_user_features', 'most_common_compound_structure'), '', 'and no others');
is(value('granted', "SELECT count(*) FROM pg_init_privs WHERE privtype = 'e' AND objoid IN ('features'::regclass, 'eikon_user_features'::regclass, 'eikon_totals'::regclass, 'eikon_compounds'::regclass)"),
	0, 'none of them is taken for part of the extension');
is(value('granted', "SELECT obj_description('days_since_signup(features)'::regprocedure) || ', ' || obj_description('features'::regclass) || ', ' || obj_description('eikon_user_features'::regclass)"),
	'mine, mine, too, mine, too', 'comments are there');

is(seen('granted', 'lab_member', 'SELECT user_id, days_since_signup(f) > 0 FROM features f ORDER BY 1'), "1|t\n2|t\n4|", 'who read features reads them');
is(seen('granted', 'lab_reader', 'SELECT count(*) FROM etl_results'), 4, 'who read etl_results reads them');
is(seen('granted', 'lab_reader', 'SELECT DISTINCT avg_experiment_count FROM derived_exp_data'), 1, 'and derived_exp_data');
is(seen('granted', 'lab_guest', 'SELECT count(*) FROM feature_derivation'), 3, 'and feature_derivation');
like(seen('granted', 'lab_reader', 'SELECT count(*) FROM features'), qr/^permission denied/, 'who did not read features does not');
like(seen('granted', 'lab_partner', 'SELECT most_common_compound_name FROM eikon_user_features'), qr/^permission denied/, 'nor more of them than before');
is(seen('granted', 'lab_runner', "SELECT status, rows_inserted, rows_updated, rows_deleted, rows_unchanged FROM eikon_run_etl('$source')"),
	'succeeded|1|1|1|1', 'who ran runs');
is(seen('granted', 'lab_runner', "SELECT count(*) FROM eikon_derive_features('$source')"), 3, 'and derives');

# --- In a dump

my $all_rights = q{
	SELECT string_agg(r, E'\n' ORDER BY r)
	FROM (
		SELECT oid::regclass || ' ' || unnest(relacl)::text FROM pg_class WHERE relnamespace = '"Lab 1"'::regnamespace
		UNION ALL SELECT attrelid::regclass || ' ' || attname || ' ' || unnest(attacl)::text FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid > 16000 AND NOT attisdropped
		UNION ALL SELECT oid::regprocedure || ' ' || unnest(proacl)::text FROM pg_proc WHERE pronamespace = '"Lab 1"'::regnamespace
	) AS r (r)};
value('granted', 'ALTER EXTENSION eikon_api UPDATE');
$node->command_ok([ 'pg_dump', '-f', $node->basedir . '/dump.sql', $node->connstr('granted') ], 'the database is dumped');
value('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/dump.sql', $node->connstr('restored') ], 'and restored');
is(value('restored', qq{SET search_path = "Lab 1"; $all_rights}), value('granted', $all_rights), 'with all rights');
is(rows_of($node, '"Lab 1".features', 'restored'), rows_of($node, 'features', 'granted'), 'and features');

# --- To another owner

create('owned');
value('owned', q{
	ALTER TABLE features OWNER TO lab_owner;
	GRANT SELECT ON features TO lab_reader;
	GRANT SELECT ON features TO lab_head WITH GRANT OPTION;
	SET ROLE lab_head;
	GRANT SELECT ON features TO lab_member;
	RESET ROLE;
	REVOKE USAGE ON SCHEMA "Lab 1" FROM public;
	GRANT USAGE ON SCHEMA "Lab 1" TO lab_reader});
is(update('owned'), '', 'features that belong to another role are updated');
is(value('owned', "SELECT string_agg(relname || ' ' || relowner::regrole, ', ' ORDER BY relname) FROM pg_class WHERE relnamespace = '\"Lab 1\"'::regnamespace AND relname IN ('features', 'eikon_user_features', 'eikon_totals')"),
	'eikon_totals lab_owner, eikon_user_features lab_owner, features lab_owner', 'and still belong to it');
is(seen('owned', 'lab_reader', 'SELECT count(*) FROM features'), 3, 'its grants hold');
like(rights('owned', 'features'), qr/^lab_member SELECT by lab_owner$/m, 'and those of a grantor who may not use the schema any more');

# =============================================================================
# What is on the table, and reads it
# =============================================================================

create('used');
value('used', q{
	ALTER TABLE features ADD COLUMN mine text NOT NULL DEFAULT '-', ADD COLUMN "a\1 ""b""" integer;
	COMMENT ON COLUMN features.mine IS 'what I think of it';
	CREATE INDEX by_email ON features (email);
	ALTER TABLE features ADD CONSTRAINT positive CHECK (user_id > 0);
	CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.mine := new.mine || ''!''; RETURN new; END';
	CREATE TRIGGER noted BEFORE UPDATE ON features FOR EACH ROW EXECUTE FUNCTION noted();
	CREATE TABLE notes (user_id bigint REFERENCES features ON DELETE CASCADE);
	INSERT INTO notes VALUES (1), (4);
	CREATE PUBLICATION lab FOR TABLE features;
	ALTER TABLE features ENABLE ROW LEVEL SECURITY;
	CREATE POLICY low ON features FOR SELECT TO lab_reader USING (user_id < 2);
	CREATE POLICY author ON features FOR SELECT TO lab_author USING (user_id < 4);
	GRANT SELECT ON features, etl_results, derived_exp_data TO lab_author;
	GRANT SELECT ON features TO lab_reader;
	GRANT EXECUTE ON FUNCTION days_since_signup TO lab_reader;
	CREATE FUNCTION total() RETURNS float8 LANGUAGE sql BEGIN ATOMIC SELECT sum(experiments_pct) FROM features; END;
	CREATE FUNCTION late() RETURNS float8 LANGUAGE plpgsql AS 'DECLARE r features; BEGIN SELECT * INTO r FROM features LIMIT 1; RETURN r.avg_experiments; END';

	SET ROLE lab_author;
	CREATE VIEW all_columns AS SELECT * FROM features;
	CREATE VIEW shares WITH (security_barrier) AS
		SELECT f.user_id, f.experiments_pct * 100 AS percent FROM features f
		WHERE f.avg_experiments > 0 AND experiments_pct <= (SELECT max(experiments_pct) FROM features);
	CREATE VIEW counted AS SELECT avg_experiments, count(*) FROM features GROUP BY avg_experiments;
	CREATE VIEW names AS SELECT name FROM features WHERE user_id > 0 WITH LOCAL CHECK OPTION;
	CREATE VIEW shapes AS SELECT e.name, d.avg_experiment_count, etl_results.user_id FROM etl_results e JOIN derived_exp_data d USING (user_id) CROSS JOIN etl_results;
	CREATE VIEW of_reader WITH (security_invoker) AS SELECT user_id, avg_experiments FROM features;
	CREATE VIEW ages AS SELECT user_id, days_since_signup(f) > 0 AS old, experiments_pct FROM features f;
	CREATE VIEW derived AS SELECT user_id, avg_experiments FROM eikon_derive_features('nowhere');
	GRANT SELECT ON all_columns, shares, counted, names, shapes, of_reader, ages TO lab_reader;
	GRANT SELECT ON all_columns, shares, counted, names, shapes TO lab_guest});
my @views = qw(all_columns shares counted names shapes of_reader ages);
my %expected = map { $_ => seen('used', 'lab_reader', "SELECT v::text FROM $_ v ORDER BY 1") } @views;
my $columns = 'user_id, name, email, signup_date, total_experiments, avg_experiments, experiments_pct, avg_experiment_run_time, total_experiment_run_time, most_common_compound_ids, mine';
my $before = rows_of($node, "(SELECT $columns FROM features)", 'used');

like(update('used'), qr/^WARNING:  01000: publication "lab" does not publish table "eikon_totals"\nHINT:  [^\n]*\n?\z/,
	'all of it is updated, and what to do is said');
is(rows_of($node, "(SELECT $columns FROM features)", 'used'), $before, 'rows are there');
is(value('used', q{SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'features'::regclass AND attnum > 14}),
	q{mine, a\1 "b"}, 'columns are there, in the view as well');
is(value('used', q{SELECT col_description('features'::regclass, 15)}), 'what I think of it', 'with their comments');

# Views that reached the rows with the rights of their owner go on to do so: lab_reader sees
# what lab_author's policy gives, and lab_guest, who has no right on features, too.
foreach my $view (@views)
{
	next if $view =~ /^(ages|shapes)$/;
	is(seen('used', 'lab_reader', "SELECT v::text FROM $view v ORDER BY 1"), $expected{$view}, "view $view shows what it showed");
	is(seen('used', 'lab_guest', "SELECT v::text FROM $view v ORDER BY 1"), $expected{$view}, 'also to who has no other right')
	  unless $view eq 'of_reader';
}
is(seen('used', 'lab_guest', 'SELECT DISTINCT user_id FROM shapes ORDER BY 1'), "1\n2", 'now also through the views of older shapes, which were above policies');
is($expected{of_reader}, '(1,1)', 'as it was under the policy of the reader');
is(seen('used', 'lab_reader', 'SELECT * FROM ages'), '1|t|0.6666666666666666', 'one that needs the row type reads features with the rights of its reader');
is(value('used', "SELECT string_agg(relname || ' ' || reloptions::text, ', ' ORDER BY relname) FROM pg_class WHERE relname IN ('shares', 'names', 'of_reader')"),
	'names {check_option=local}, of_reader {security_invoker=true}, shares {security_barrier=true}', 'with its options');
is(value('used', 'SELECT total(), late()'), '1|1', 'functions work');

like(failure($node, 'INSERT INTO notes VALUES (77)', database => 'used'), qr/^23503: .*\nDETAIL:  Key \(user_id\)=\(77\) is not present in table "eikon_user_features"/, 'foreign keys hold');
is(value('used', "SELECT string_agg(indexrelid::regclass::text, ', ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = 'eikon_user_features'::regclass"),
	'by_email, eikon_user_features_pkey', 'indexes are there');
is( run_summary($node, "'$source'", database => 'used'), 'succeeded: inserted 1, updated 1, deleted 1, unchanged 1', 'a run works');
is(value('used', 'SELECT user_id, name, mine, avg_experiments FROM features ORDER BY 1'), "1|Alice|-!|1\n2|Bob|-|1\n3|Carol|-|1", 'the trigger is called');
is(value('used', 'SELECT string_agg(user_id::text, $$,$$) FROM notes'), 1, 'and so is that of the foreign key');
is(seen('used', 'lab_reader', 'SELECT user_id FROM features'), 1, 'policies hold');

# =============================================================================
# What is refused
# =============================================================================

create('refused');
value('refused', 'CREATE FUNCTION unchanged() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$');
my $table = qr/table features/;
my @refused = (
	[ 'CREATE INDEX i ON features (avg_experiments)', qr/index i/ ],
	[ 'CREATE INDEX i ON features (user_id) WHERE experiments_pct > 0', qr/index i/ ],
	[ 'ALTER TABLE features ADD CONSTRAINT c CHECK (experiments_pct <= 1)', qr/constraint c on $table/ ],
	[ 'ALTER TABLE features ADD COLUMN g float8 GENERATED ALWAYS AS (avg_experiments * 2) STORED', qr/default value for column g of $table/ ],
	[ 'CREATE POLICY p ON features USING (avg_experiments > 0)', qr/policy p on $table/ ],
	[ 'CREATE TRIGGER t BEFORE UPDATE OF experiments_pct ON features FOR EACH ROW EXECUTE FUNCTION unchanged()', qr/trigger t on $table/ ],
	[ 'CREATE TRIGGER t BEFORE UPDATE ON features FOR EACH ROW WHEN (new.avg_experiments > 1) EXECUTE FUNCTION unchanged()', qr/trigger t on $table/ ],
	[ 'CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.avg_experiments := 1; RETURN new; END$$;
		CREATE TRIGGER t BEFORE UPDATE ON features FOR EACH ROW EXECUTE FUNCTION tf()', qr/function tf\(\) of trigger t on $table/ ],
	[ 'CREATE STATISTICS s ON avg_experiments, user_id FROM features', qr/statistics object s/ ],
	[ 'CREATE PUBLICATION p FOR TABLE features (user_id, avg_experiments)', qr/publication of $table in publication p/ ],
	[ 'CREATE PUBLICATION p FOR TABLE features WHERE (experiments_pct > 0)', qr/publication of $table in publication p/ ],
	[ 'CREATE MATERIALIZED VIEW m AS SELECT avg(avg_experiments) FROM features', qr/materialized view m/ ],
	[ 'CREATE MATERIALIZED VIEW m AS SELECT to_jsonb(f) FROM features f', qr/materialized view m/ ],
	[ q{CREATE MATERIALIZED VIEW m AS SELECT * FROM eikon_derive_features('x') WITH NO DATA}, qr/materialized view m/ ],
	[ 'CREATE RULE r AS ON INSERT TO features DO ALSO DELETE FROM eikon_uploads WHERE bytes = new.avg_experiments', qr/rule r on $table/ ],
	[ 'CREATE RULE r AS ON DELETE TO eikon_uploads DO ALSO UPDATE features SET experiments_pct = 0', qr/rule r on table eikon_uploads/ ],
	[ 'CREATE SEQUENCE s OWNED BY features.avg_experiments', qr/sequence s/ ],
	[ 'CREATE FUNCTION f(features) RETURNS integer LANGUAGE sql AS $$SELECT 1$$', qr/function f\(features\)/ ],
	[ 'CREATE FUNCTION f() RETURNS SETOF features LANGUAGE sql AS $$SELECT * FROM features$$', qr/function f\(\)/ ],
	[ 'CREATE FUNCTION f(features) RETURNS integer LANGUAGE sql RETURN days_since_signup($1)', qr/function f\(features\)/ ],
	[ 'CREATE TABLE t (a features, b features[])', qr/column a of table t\ncolumn b of table t/ ],
	[ 'CREATE VIEW v AS SELECT f FROM features f', qr/column f of view v/ ],
	[ 'CREATE DOMAIN d AS features', qr/type d/ ],
	[ 'CREATE CAST (features AS bigint) WITH INOUT AS ASSIGNMENT', qr/cast from features to bigint/ ],
	[ 'CREATE TABLE child () INHERITS (features)', qr/table child, which inherits from it/ ],
	[ 'CREATE TABLE parent (avg_experiments float8); ALTER TABLE features INHERIT parent', qr/table parent, from which it inherits/ ],
	[ 'CREATE VIEW v AS SELECT to_jsonb(f) FROM features f; GRANT SELECT ON v TO lab_guest; CREATE VIEW w AS SELECT * FROM v; GRANT SELECT ON w TO public',
		qr/view v, which role lab_guest may read\nview w, which role public may read/ ],
	[ 'CREATE VIEW v AS SELECT e.user_id, to_jsonb(e) FROM etl_results e; GRANT SELECT (user_id) ON v TO lab_guest', qr/view v, which role lab_guest may read/ ],
	[ 'CREATE VIEW v AS SELECT a.user_id FROM features a JOIN features b USING (experiments_pct)', qr/view v: it joins by columns that table "eikon_user_features" no longer has/ ],
	[ 'CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM features TABLESAMPLE system (10); END', qr/function f\(\)/ ]);
foreach my $case (@refused)
{
	my ($sql, $detail) = @$case;

	like(said('refused', "BEGIN; $sql; ALTER EXTENSION eikon_features UPDATE"),
		qr/^ERROR:  2BP01: cannot update extension "eikon_features" because other objects depend on table "features"\nDETAIL:  $detail(?:: [^\n]*)?\n(?:HINT|CONTEXT):/,
		$sql =~ s/\s+/ /gr);
}
like(failure($node, 'BEGIN; ALTER TABLE features RENAME TO other; ALTER EXTENSION eikon_features UPDATE', database => 'refused'),
	qr/^42P01: table "features" is missing from schema "Lab 1"/, 'a table of another name');
like(failure($node, 'BEGIN; CREATE TABLE eikon_totals (); ALTER EXTENSION eikon_features UPDATE', database => 'refused'),
	qr/^42P07: relation "eikon_totals" already exists/, 'a table in its place');

# What was there stays, without BEGIN as well.
value('refused', 'CREATE INDEX i ON features (avg_experiments); CREATE VIEW v AS SELECT * FROM features');
my $definition = q{SELECT extversion, pg_get_viewdef('v'), relkind, (SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = c.oid) FROM pg_extension, pg_class c WHERE extname = 'eikon_features' AND relname = 'features'};
$before = value('refused', $definition);
like(update('refused'), qr/^ERROR:  2BP01:/, 'what is refused');
is(value('refused', $definition), $before, 'has changed nothing');
value('refused', 'DROP INDEX i');
is(update('refused'), '', 'until the index is dropped');

# --- The function that scripts use is for scripts

value('postgres', q{CREATE FUNCTION outside(text, oid) RETURNS void LANGUAGE c AS '$libdir/eikon_features', 'eikon_outside_extension'});
like(failure($node, "SELECT outside('SELECT 1', NULL)"), qr/^55000: eikon_outside_extension\(\) can only be called from an extension script$/, 'nobody else may call it');

# Runs that were queued before stay queued until then, and are done right after.
create('queued');
my $log = -s $node->logfile;
my $run_id = value('queued', "SELECT eikon_submit_etl('$source')");
ok($node->wait_for_log(qr/ETL runs stay queued until extension "eikon_features" is updated/, $log), 'a run that comes before the update waits for it');
is(value('queued', "SELECT status FROM eikon_runs WHERE run_id = $run_id"), 'queued', 'and is not lost');
is(update('queued'), '', 'after the update');
is(value('queued', "SELECT status FROM eikon_wait_etl($run_id)"), 'succeeded', 'it is done without being asked for again');

$node->stop;

done_testing();
