
# What pg_regress can't show: a database that was made with a released version and has been
# worked with, updated to this one. Nothing of it is lost, everything works, and what
# the extensions are made of is what a new installation is made of. The install scripts of
# the released versions are in test/upgrade.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @extensions = qw(eikon_features eikon_api);
my $checkout = "$FindBin::RealBin/../..";

# =============================================================================
# Versions
# =============================================================================

sub sorted { return join(' ', sort @_) }

my %frozen;
foreach my $extension (@extensions)
{
	$frozen{$extension} = [ map { /--(.*)\.sql$/ } glob("$checkout/test/upgrade/${extension}--*.sql") ];
}
my @released = sort @{ $frozen{eikon_features} };
my ($version) = slurp_file("$checkout/eikon_features.control") =~ /^default_version *= *'([^']*)'/m;
my @headings = slurp_file("$checkout/CHANGELOG.md") =~ /^## (.*)$/mg;
my @dated = map { /^(\S+) \(\d{4}-\d\d-\d\d\)$/ } @headings;

cmp_ok(scalar(@released), '>', 0, 'there are scripts of released versions in test/upgrade');
is(sorted(@{ $frozen{eikon_api} }), sorted(@released), 'of both extensions');
is(sorted(@released), sorted(@dated), 'of the versions that have a date in CHANGELOG.md, and of no other');
is((split(/ /, $headings[0]))[0], $version, 'the first version there is that of the control file');
like(slurp_file("$checkout/eikon_api.control"), qr/^default_version = '\Q$version\E'$/m, 'both control files have it');

# =============================================================================
# An installation with the scripts of all versions
# =============================================================================

my $installation = installation_of_releases(PostgreSQL::Test::Utils::tempdir_short());
my $node = PostgreSQL::Test::Cluster->new('upgrade', install_path => $installation);
my $root = $node->basedir . '/files';

write_source($root);
write_source("$root/first", users => [ '1,"Alice, ""A""",alice@example.com,2023-01-01', "2,Bob\tB\\N,,", '3,Carol,,', 'x,Nobody,,' ]);
write_source("$root/bad", users => [ '1,Alice,,', 'x,Nobody,,', 'y,Nobody,,' ]);

# What is submitted here stays queued: there is no room for a worker.
$node->init;
$node->append_conf('postgresql.conf', "eikon_features.data_directory = '$root'\nmax_worker_processes = 0\n");
$node->start;

sub value
{
	my ($database, $sql) = @_;

	return $node->safe_psql($database, $sql);
}

# =============================================================================
# What is compared
# =============================================================================

# name(classid, objid) and lines(text) are made in each database that is looked into.
my $helpers = q{
	CREATE FUNCTION pg_temp.name(classid oid, objid oid, objsubid integer DEFAULT 0) RETURNS text LANGUAGE sql
		AS 'SELECT type || '' '' || identity FROM pg_catalog.pg_identify_object(classid, objid, objsubid)';
	CREATE FUNCTION pg_temp.rights(acl aclitem[]) RETURNS SETOF text LANGUAGE sql
		AS 'SELECT pg_catalog.format(''%s may %s%s, says %s'', CASE grantee WHEN 0 THEN ''everybody'' ELSE grantee::regrole::text END,
				privilege_type, CASE WHEN is_grantable THEN '' and grant it'' END, grantor::regrole)
			FROM pg_catalog.aclexplode(acl)';
	CREATE TEMP VIEW member AS
		SELECT extname, classid, objid FROM pg_depend d JOIN pg_extension e ON e.oid = refobjid
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND extname LIKE 'eikon\_%';
	CREATE TEMP VIEW relation AS
		SELECT c.* FROM pg_class c
		WHERE EXISTS (SELECT FROM member WHERE classid = 'pg_class'::regclass AND objid = c.oid
			OR classid = 'pg_type'::regclass AND objid = c.reltype);
	CREATE TEMP VIEW object AS
		SELECT extname, classid, objid FROM member
		UNION ALL SELECT NULL, 'pg_class'::regclass, indexrelid FROM pg_index JOIN relation r ON r.oid = indrelid
		UNION ALL SELECT NULL, 'pg_constraint'::regclass, n.oid FROM pg_constraint n JOIN relation r ON r.oid = conrelid
		UNION ALL SELECT NULL, 'pg_constraint'::regclass, n.oid FROM pg_constraint n JOIN member ON classid = 'pg_type'::regclass AND objid = contypid
		UNION ALL SELECT NULL, 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN relation r ON r.oid = tgrelid WHERE NOT tgisinternal
		UNION ALL SELECT NULL, 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN relation r ON r.oid = polrelid
		UNION ALL SELECT NULL, 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w JOIN relation r ON r.oid = ev_class
		UNION ALL SELECT NULL, 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext s JOIN relation r ON r.oid = stxrelid;
	CREATE TEMP VIEW definition AS
		SELECT classid, objid, line, place
		FROM object, pg_temp.name(classid, objid), LATERAL regexp_split_to_table(CASE classid
				WHEN 'pg_proc'::regclass THEN pg_get_functiondef(objid)
				WHEN 'pg_rewrite'::regclass THEN pg_get_ruledef(objid)
				WHEN 'pg_constraint'::regclass THEN pg_get_constraintdef(objid)
				WHEN 'pg_trigger'::regclass THEN pg_get_triggerdef(objid)
				WHEN 'pg_statistic_ext'::regclass THEN pg_get_statisticsobjdef(objid)
				WHEN 'pg_class'::regclass THEN pg_get_indexdef(objid) END, E'\n') WITH ORDINALITY AS t (line, place);
};
my $definitions = q{SELECT pg_temp.name(classid, objid) || ': ' || line FROM definition WHERE classid = '%s'::regclass ORDER BY pg_temp.name(classid, objid), place};

# Each gives lines, which begin with what they are about. (pg_attver: some builds of
# PostgreSQL stamp each column with when its table was made, which differs of course. A
# user's own column, which is called mine, may stand before one that an update brought.)
my @aspects = (
	[ 'extensions' => q{
		SELECT format('extension %s: version %s, schema %s, owner %s, relocatable %s', extname, extversion, extnamespace::regnamespace, extowner::regrole, extrelocatable)
			FROM pg_extension WHERE extname LIKE 'eikon\_%'
		UNION ALL SELECT format('extension %s: requires %s', e.extname, r.extname)
			FROM pg_extension e JOIN pg_depend ON classid = 'pg_extension'::regclass AND objid = e.oid AND refclassid = 'pg_extension'::regclass
				JOIN pg_extension r ON r.oid = refobjid
		ORDER BY 1} ],
	[ 'what pg_dump takes' => q{
		SELECT format('extension %s: rows of %s %s', extname, c.oid::regclass, c.condition)
		FROM pg_extension, unnest(extconfig, extcondition) AS c (oid, condition) WHERE extname LIKE 'eikon\_%' ORDER BY 1} ],
	[ 'objects' => q{SELECT coalesce('extension ' || extname, 'part of a table') || ': ' || pg_temp.name(classid, objid) FROM object ORDER BY 1} ],
	[ 'owners' => q{
		SELECT pg_temp.name(classid, objid) || ': owner ' || coalesce(
				(SELECT proowner FROM pg_proc WHERE classid = 'pg_proc'::regclass AND oid = objid),
				(SELECT relowner FROM pg_class WHERE classid = 'pg_class'::regclass AND oid = objid),
				(SELECT nspowner FROM pg_namespace WHERE classid = 'pg_namespace'::regclass AND oid = objid),
				(SELECT typowner FROM pg_type WHERE classid = 'pg_type'::regclass AND oid = objid))::regrole
		FROM object WHERE classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass, 'pg_type'::regclass) ORDER BY 1} ],
	[ 'functions' => sprintf($definitions, 'pg_proc') ],
	# which are rounded there
	[ 'costs of functions' => q{
		SELECT pg_temp.name(classid, objid) || format(': cost %s, rows %s', procost, prorows)
		FROM member JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass ORDER BY 1} ],
	[ 'tables' => q{
		SELECT format('%s: kind %s, persistence %s, row security %s %s, replica identity %s, access method %s, tablespace %s, options %s',
			pg_temp.name('pg_class'::regclass, oid), relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident,
			(SELECT amname FROM pg_am a WHERE a.oid = relam), reltablespace, reloptions)
		FROM relation ORDER BY 1} ],
	[ 'columns' => q{
		SELECT format('%s: column %s %s: %s, collation %s, not null %s, default %s, identity %s, generated %s, storage %s, compression %s, options %s',
			pg_temp.name('pg_class'::regclass, r.oid), place, attname, format_type(atttypid, atttypmod),
			attcollation::regcollation, attnotnull, pg_get_expr(adbin, adrelid), attidentity, attgenerated, attstorage, attcompression,
			ARRAY(SELECT o FROM unnest(attoptions) AS o WHERE o NOT LIKE 'pg\_attver=%'))
		FROM relation r JOIN pg_attribute a ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped
			LEFT JOIN pg_attrdef ON adrelid = r.oid AND adnum = attnum,
			LATERAL (SELECT count(*) FROM pg_attribute b WHERE b.attrelid = r.oid AND b.attnum BETWEEN 1 AND a.attnum
				AND NOT b.attisdropped AND (b.attname = 'mine') = (a.attname = 'mine')) AS p (place)
		ORDER BY pg_temp.name('pg_class'::regclass, r.oid), attname = 'mine', attnum} ],
	[ 'sequences' => q{
		SELECT format('%s: %s from %s by %s, %s to %s, cache %s, cycle %s', pg_temp.name('pg_class'::regclass, seqrelid), seqtypid::regtype,
			seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle)
		FROM pg_sequence JOIN relation r ON r.oid = seqrelid ORDER BY 1} ],
	[ 'types' => q{
		SELECT format('%s: kind %s, base %s, not null %s, default %s', pg_temp.name(classid, objid), typtype,
			format_type(typbasetype, typtypmod), typnotnull, typdefault)
		FROM member JOIN pg_type t ON t.oid = objid WHERE classid = 'pg_type'::regclass ORDER BY 1} ],
	[ 'views' => sprintf($definitions, 'pg_rewrite') ],
	[ 'constraints' => sprintf($definitions, 'pg_constraint') ],
	[ 'indexes' => sprintf($definitions, 'pg_class') ],
	[ 'triggers' => sprintf($definitions, 'pg_trigger') ],
	[ 'enabled triggers' => q{
		SELECT pg_temp.name(classid, objid) || ': enabled ' || tgenabled::text
		FROM object JOIN pg_trigger t ON t.oid = objid WHERE classid = 'pg_trigger'::regclass ORDER BY 1} ],
	[ 'comments' => q{
		SELECT pg_temp.name(classid, objid, d.objsubid) || ': comment: ' || line
		FROM (SELECT DISTINCT classid, objid FROM object) o JOIN pg_description d ON (d.classoid, d.objoid) = (classid, objid),
			regexp_split_to_table(description, E'\n') WITH ORDINALITY AS t (line, place)
		ORDER BY pg_temp.name(classid, objid, d.objsubid), place} ],
	[ 'rights' => q{
		SELECT name || ': ' || pg_temp.rights(acl)
		FROM (
			SELECT pg_temp.name(classid, objid), coalesce(proacl, acldefault('f', proowner)) FROM member JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass
			UNION ALL SELECT pg_temp.name(classid, objid), coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) FROM member JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass
			UNION ALL SELECT pg_temp.name('pg_class'::regclass, attrelid, attnum), attacl FROM relation r JOIN pg_attribute ON attrelid = r.oid
			UNION ALL SELECT pg_temp.name(classid, objid), coalesce(typacl, acldefault('T', typowner)) FROM member JOIN pg_type t ON t.oid = objid WHERE classid = 'pg_type'::regclass
			UNION ALL SELECT pg_temp.name('pg_namespace'::regclass, n.oid), coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace n
				WHERE n.oid IN (SELECT objid FROM member WHERE classid = 'pg_namespace'::regclass UNION SELECT extnamespace FROM pg_extension)
		) AS a (name, acl)
		ORDER BY 1} ],
	[ 'rights that pg_dump takes for part of the extensions' => q{
		SELECT pg_temp.name(classoid, objoid, objsubid) || ': ' || pg_temp.rights(initprivs) FROM pg_init_privs WHERE privtype = 'e' ORDER BY 1} ]);

sub catalog
{
	my ($database) = @_;
	my $sql = "SET client_min_messages = warning; SET search_path = pg_catalog; $helpers;";

	$sql .= "SELECT '--- $_->[0]'; $_->[1];" foreach @aspects;
	my (undef, @parts) = split(/^--- (.*)\n/m, value($database, $sql) . "\n");
	return {@parts};
}

sub difference
{
	my ($expected, $got) = @_;
	my ($file, $diff) = ($node->basedir . '/compared', '');

	write_file("$file.1", $expected);
	write_file("$file.2", $got);
	IPC::Run::run([ 'diff', '-U0', '--label', 'expected', '--label', 'found', "$file.1", "$file.2" ], '>', \$diff);
	$diff =~ s/^@@.*\n//mg;
	return $diff;
}

# Tests that two databases have the same extensions, to the last right.
sub same_catalog
{
	my ($expected, $database, $name) = @_;
	my ($first, $second) = (catalog($expected), catalog($database));

	foreach my $aspect (map { $_->[0] } @aspects)
	{
		is(difference($first->{$aspect}, $second->{$aspect}), '', "$name: $aspect");
	}
	return;
}

# --- The rows

# relation => its columns, of all tables, views and sequences of eikon_features
sub shapes
{
	my ($database) = @_;

	return {
		map { split(/:/) } split(
			/\n/,
			value($database,
				"SELECT c.oid::regclass || ':' || string_agg(quote_ident(attname), ', ' ORDER BY attnum)
				FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
					JOIN pg_depend d ON classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'
					JOIN pg_extension e ON e.oid = refobjid AND extname = 'eikon_features'
				WHERE relname <> 'eikon_progress' AND (relkind <> 'S' OR attname <> 'log_cnt') GROUP BY c.oid")) };
}

# What was there before an update must be there after it; columns may have come.
sub contents
{
	my ($database, $shapes) = @_;

	return join("\n", map { "$_:\n" . rows_of($node, "(SELECT $shapes->{$_} FROM $_)", $database) } sort keys %$shapes);
}

# =============================================================================
# A database that is worked with
# =============================================================================

my @variants = (
	{ name => 'public', schema => 'public' },
	# With objects of the user's own on the tables; which pg_dump does not dump.
	{ name => 'lab', schema => '"Lab 1"', own => 1 });

value('postgres', 'CREATE ROLE lab_operator LOGIN; CREATE ROLE lab_reader; CREATE ROLE lab_forger');

# Tests that both can be made there.
sub create
{
	my ($database, $variant, $name, $of) = @_;
	my $at = defined $of ? "VERSION '$of'" : '';

	value('postgres', "CREATE DATABASE $database");
	return is(
		failure(
			$node,
			"CREATE SCHEMA IF NOT EXISTS $variant->{schema};
			CREATE EXTENSION eikon_features SCHEMA $variant->{schema} $at; CREATE EXTENSION eikon_api $at;
			ALTER DATABASE $database SET search_path = $variant->{schema}, pg_catalog",
			database => $database),
		'',
		"$name: both extensions are made, with this library");
}

# As the README says, and what may be put on the table. Until 0.1.0 that was features.
sub grant_and_extend
{
	my ($database, $variant) = @_;
	my $is_view = value($database, "SELECT relkind FROM pg_class WHERE oid = 'features'::regclass") eq 'v';
	my $table = $is_view ? 'eikon_user_features' : 'features';
	my $tables = $is_view ? 'features, eikon_user_features, eikon_totals' : 'features';

	value($database, "
		GRANT USAGE ON SCHEMA $variant->{schema} TO lab_operator, lab_reader, lab_forger;
		GRANT EXECUTE ON FUNCTION eikon_run_etl, eikon_try_etl, eikon_derive_features, eikon_read_csv, eikon_upload,
			eikon_submit_etl, eikon_wait_etl, eikon_cancel_etl TO lab_operator;
		GRANT EXECUTE ON PROCEDURE eikon_etl TO lab_operator;
		GRANT SELECT, INSERT, UPDATE, DELETE ON $tables, eikon_compounds, eikon_uploads TO lab_operator;
		GRANT SELECT ON $tables, eikon_compounds, eikon_runs, eikon_rejects, etl_results, derived_exp_data, feature_derivation TO lab_operator, lab_reader;
		GRANT SELECT, INSERT ON eikon_runs TO lab_forger;
		GRANT EXECUTE ON FUNCTION days_since_signup TO lab_reader WITH GRANT OPTION;
		GRANT SELECT ON eikon_api.features TO lab_reader");
	return unless $variant->{own};
	value($database, "
		ALTER TABLE $table ADD COLUMN mine text NOT NULL DEFAULT '-';
		COMMENT ON COLUMN $table.mine IS 'what I think of it';
		CREATE INDEX features_email_of_mine ON $table (email);
		ALTER TABLE $table ADD CONSTRAINT features_of_mine CHECK (user_id > 0);
		CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.mine := new.mine || ''!''; RETURN new; END';
		CREATE TRIGGER features_of_mine BEFORE INSERT OR UPDATE ON $table FOR EACH ROW EXECUTE FUNCTION noted()");
	if ($is_view)
	{
		show_column($node, $database, 'mine');
		value($database, "COMMENT ON COLUMN features.mine IS 'what I think of it'");
	}
	value($database, 'CREATE VIEW mine AS SELECT f.*, days_since_signup(f) FROM features f');
	return;
}

my $upload = q{eikon_upload('compounds', E'compound_id,compound_name,compound_structure\n1,A,\\\\377\n2,B,C', 'c "1".csv', 'ignore')};

# Rows in every table; returns the run that is queued.
sub work
{
	my ($database) = @_;

	value($database, "SET ROLE lab_operator;
		SELECT eikon_run_etl('first', on_error => 'ignore', skip_unchanged => true);
		SELECT eikon_try_etl('bad');
		SELECT eikon_run_etl('first', on_error => 'ignore');
		SELECT $upload; SELECT $upload");
	value($database, "SET ROLE eikon_anonymous; SELECT eikon_api.experiments()");
	# the rows of the first source, some of them changed by hand
	value($database, "SET ROLE lab_operator; SELECT eikon_run_etl('first', on_error => 'ignore'); UPDATE features SET name = 'by hand' WHERE user_id = 2");
	return value($database, "SET client_min_messages = error; SET ROLE lab_operator; SELECT eikon_submit_etl('first', on_error => 'ignore')");
}

# Gives a database of any version the rows of another one, of this version: what the library
# of that version left there. This one's does not run with the scripts of all of them.
sub fill
{
	my ($from, $database) = @_;
	my $shapes = shapes($database);
	my $file = $node->basedir . '/rows';

	foreach my $table (
		sort { ($b eq 'eikon_runs') <=> ($a eq 'eikon_runs') || $a cmp $b }
		grep { value($database, "SELECT relkind FROM pg_class WHERE oid = '$_'::regclass") eq 'r' } keys %$shapes)
	{
		my $columns = join(', ', grep { $_ ne 'mine' } split(/, /, $shapes->{$table}));

		value($from, "COPY (SELECT $columns FROM $table) TO '$file'");
		value($database, "COPY $table ($columns) FROM '$file'");
	}
	value($database, "SELECT setval('eikon_runs_run_id_seq', (SELECT max(run_id) FROM eikon_runs)),
		setval('eikon_uploads_upload_id_seq', (SELECT max(upload_id) FROM eikon_uploads))");
	return;
}

# Updates both, or only the ones named.
sub update
{
	my ($database, $name, @which) = @_;

	foreach my $extension (@which ? @which : @extensions)
	{
		is(failure($node, "ALTER EXTENSION $extension UPDATE", database => $database), '', "$name: $extension is updated");
	}
	return;
}

# --- Every function and every view

my $etl = 'eikon_etl';
my $operator = 'eikon_operator';
my $anonymous = 'eikon_anonymous';
my $first = q{source => 'first', on_error => 'ignore'};
my $first_json = q{'{"source": "first", "on_error": "ignore"}'};
my $users = q{E'user_id,name,email,signup_date\n1,Alice,,2023-01-01'::bytea};
my $experiments = q{E'experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,1,1,2'::bytea};
my $compounds = q{E'compound_id,compound_name,compound_structure\n1,A,C'::bytea};

# function, role, statement, what it gives or the error. In this order: uploads last,
# which an operator's run takes.
my @calls = (
	[ 'eikon_run_etl', 'lab_operator', "SELECT status FROM eikon_run_etl('first', on_error => 'ignore')", qr/^succeeded$/ ],
	[ 'eikon_try_etl', 'lab_operator', "SELECT status, error_code FROM eikon_try_etl('bad')", qr/^failed\|22P02$/ ],
	[ 'eikon_derive_features', 'lab_operator', "SELECT count(*) FROM eikon_derive_features($first)", qr/^3$/ ],
	[ 'eikon_read_csv', 'lab_operator', "SELECT count(*) FROM eikon_read_csv('first/users.csv')", qr/^5$/ ],
	[ 'eikon_upload', 'lab_operator', "SELECT records, rejected FROM $upload", qr/^2\|1$/ ],
	[ 'eikon_submit_etl', 'lab_operator', "SELECT eikon_submit_etl($first)", qr/^\d+$/ ],
	[ 'eikon_wait_etl', 'lab_operator', 'SELECT status FROM eikon_wait_etl((SELECT max(run_id) FROM eikon_runs))', qr/^succeeded$/ ],
	[ 'eikon_etl', 'lab_operator', "CALL eikon_etl($first)", qr/^$/ ],
	[ 'eikon_cancel_etl', 'lab_operator', 'SELECT eikon_cancel_etl(1)', qr/^55000: run 1 has already ended/ ],
	[ 'eikon_purge_runs', undef, "SELECT eikon_purge_runs('100 years')", qr/^0$/ ],
	[ 'eikon_health', undef, 'SELECT launcher, last_success IS NOT NULL FROM eikon_health()', qr/^t\|t$/ ],
	[ 'eikon_running', undef, 'SELECT count(*) FROM eikon_running()', qr/^0$/ ],
	[ 'eikon_runs_guard', 'lab_forger',
		"INSERT INTO eikon_runs (status, background, source, options, requested_by, requester, requested_at, attempts)
		VALUES ('queued', true, '/', '{}', 'postgres', 10, now(), 0)", qr/^42501: permission denied to queue a run/ ],
	[ 'days_since_signup', 'lab_reader', 'SELECT days_since_signup(f) > 0 FROM features f WHERE user_id = 1', qr/^t$/ ],

	[ 'eikon_api.health', $anonymous, "SELECT eikon_api.health() ->> 'status'", qr/^ok$/ ],
	[ 'eikon_api.check_table', $anonymous, 'SELECT eikon_api.check_table()', qr/Table created/ ],
	[ 'eikon_api.check_feature_derivation', $anonymous, 'SELECT eikon_api.check_feature_derivation()', qr/Derivation inserted/ ],
	[ 'eikon_api.days_since_signup', 'eikon_reader', 'SELECT eikon_api.days_since_signup(f) > 0 FROM eikon_api.features f WHERE user_id = 1', qr/^t$/ ],
	[ 'eikon_api.trigger_etl', $anonymous, 'SELECT eikon_api.trigger_etl()', qr/ETL process started/ ],
	[ 'eikon_api.trigger_etl_page', $anonymous, 'SELECT eikon_api.trigger_etl_page()', qr/ETL Process Successful/ ],
	[ 'eikon_api.trigger_etl_and_wait', $anonymous, 'SELECT eikon_api.trigger_etl_and_wait()', qr/successfully inserted/ ],
	[ 'eikon_api.etl', $anonymous, 'SELECT eikon_api.etl()', qr/completed successfully/ ],
	[ 'eikon_api.experiments', $anonymous, 'SELECT eikon_api.experiments()', qr/"Success":true/ ],
	[ 'eikon_api.cancel_etl', $operator, "SELECT eikon_api.cancel_etl(1) ->> 'message'", qr/^permission denied to cancel run 1|has already ended/ ],
	[ 'eikon_api.submit_etl', $operator, "SELECT eikon_api.submit_etl($first) ->> 'status'", qr/^queued$/ ],
	[ 'eikon_api.run_etl', $operator, "SELECT eikon_api.run_etl($first) ->> 'status'", qr/^succeeded$/ ],
	[ 'eikon_api.upload_users', $operator, "SELECT eikon_api.upload_users($users) ->> 'records'", qr/^1$/ ],
	[ 'eikon_api.upload_user_experiments', $operator, "SELECT eikon_api.upload_user_experiments($experiments) ->> 'records'", qr/^1$/ ],
	[ 'eikon_api.upload_compounds', $operator, "SELECT eikon_api.upload_compounds($compounds) ->> 'missing'", qr/^\[\]$/ ],

	[ 'eikon_web.caller', $etl, 'SELECT eikon_web.caller()', qr/^eikon_etl$/ ],
	[ 'eikon_web.is_operator', $etl, 'SELECT eikon_web.is_operator()', qr/^f$/ ],
	[ 'eikon_web.header', $etl, "SET request.headers = '{\"a\": \"b\"}'; SELECT eikon_web.header('a')", qr/^b$/ ],
	[ 'eikon_web.respond', $etl, "BEGIN; SELECT eikon_web.respond(418, 'A: b'); SHOW response.status; SHOW response.headers", qr/418\n\[\{"A" : "b"\}\]$/ ],
	[ 'eikon_web.status_of', $etl, "SELECT eikon_web.status_of('42501')", qr/^403$/ ],
	[ 'eikon_web.caught', $etl, "SELECT eikon_web.caught('42704', 'm', 'd', 'h', '')", qr/^\(404,42704,m,d,h,\)$/ ],
	[ 'eikon_web.rejects_of', $etl, "SELECT jsonb_array_length(eikon_web.rejects_of((SELECT min(run_id) FROM eikon_runs)))", qr/^1$/ ],
	[ 'eikon_web.problem', $etl, "SELECT eikon_web.problem((404, '42704', 'm', 'd', 'h', '{\"run_id\": 1}')::eikon_web.outcome)", qr/"run_id":1/ ],
	[ 'eikon_web.shown', $etl, "SELECT eikon_web.shown('{\"run_id\": 7}')", qr/^\{"run_id":7/ ],
	[ 'eikon_web.run_etl', $etl, "SELECT eikon_web.run_etl($first_json) ->> 'status'", qr/^succeeded$/ ],
	[ 'eikon_web.try_etl', $etl, "SELECT eikon_web.try_etl('{\"source\": \"bad\"}') ->> 'status'", qr/^failed$/ ],
	[ 'eikon_web.submit_etl', $etl, "SELECT eikon_web.submit_etl($first_json)", qr/^\d+$/ ],
	[ 'eikon_web.uploaded', $etl, 'SELECT array_length(eikon_web.uploaded(), 1)', qr/^3$/ ],
	[ 'eikon_web.missing', $etl, 'SELECT eikon_web.missing() IS NULL', qr/^t$/ ],
	[ 'eikon_web.pending', $etl, 'SELECT eikon_web.pending() IS NULL', qr/^t$/ ],
	[ 'eikon_web.meant', $etl, "SELECT eikon_web.meant('{}')", qr/^\{\}$/ ],
	[ 'eikon_web.is_over_time', $etl, 'SELECT eikon_web.is_over_time()', qr/^f$/ ],
	[ 'eikon_web.attempt', $etl, 'SELECT status FROM eikon_web.attempt()', qr/^200$/ ],
	[ 'eikon_web.attempt_to_submit', $etl, 'SELECT status FROM eikon_web.attempt_to_submit()', qr/^202$/ ],
	[ 'eikon_web.accept', $etl, "SELECT eikon_web.accept((202, NULL, NULL, NULL, NULL, '{\"run_id\": 1}')::eikon_web.outcome)", qr/^\{"run_id":1/ ],
	[ 'eikon_web.cancel_etl', $etl, 'SELECT eikon_web.cancel_etl(1)', qr/^42501|^55000/ ],
	[ 'eikon_web.health', $etl, "SELECT eikon_web.health() ->> 'launcher'", qr/^true$/ ],
	[ 'eikon_web.upload', $etl, "SELECT eikon_web.upload('users', $users, 'u', 'stop') ->> 'records'", qr/^1$/ ],
	[ 'eikon_web.attempt_upload', $etl, "SELECT eikon_web.attempt_upload('users', $users) ->> 'records'", qr/^1$/ ],
	[ 'eikon_web.template', $etl, 'SELECT eikon_web.template()', qr/\{\{message\}\}/ ],
	[ 'eikon_web.escape_html', $etl, "SELECT eikon_web.escape_html('<')", qr/^&lt;$/ ],
	[ 'eikon_web.page', $etl, "SELECT eikon_web.page('t', 200, 'm', '', '')", qr/<title>t/ ],
	[ 'eikon_web.count_results', $etl, 'SELECT eikon_web.count_results()', qr/^[1-9]/ ],
	[ 'eikon_web.is_empty', $etl, 'SELECT eikon_web.is_empty()', qr/^f$/ ],
	[ 'eikon_web.has_table', $etl, 'SELECT eikon_web.has_table()', qr/^t$/ ],
	[ 'eikon_web.check_that', $etl, "SELECT eikon_web.check_that(true, 'yes', 'no')", qr/yes/ ]);

my @views = (
	[ 'features', 'lab_reader', qr/^[1-9]/ ],
	[ 'etl_results', 'lab_reader', qr/^[1-9]/ ],
	[ 'derived_exp_data', 'lab_reader', qr/^[1-9]/ ],
	[ 'feature_derivation', 'lab_reader', qr/^[1-9]/ ],
	[ 'eikon_progress', undef, qr/^0$/ ],
	[ 'eikon_api.progress', 'eikon_reader', qr/^0$/ ],
	[ 'eikon_api.uploads', $operator, qr/^3$/ ],
	map { [ "eikon_api.$_", 'eikon_reader', qr/^[1-9]/ ] }
	  qw(features compounds etl_results etl_results_epoch derived_exp_data feature_derivation rejects runs));

sub members
{
	my ($database, $sql) = @_;

	return join("\n", sort split(/\n/, value($database,
		"SELECT DISTINCT CASE WHEN n.nspname ~ '^eikon_' THEN n.nspname || '.' ELSE '' END || name
		FROM ($sql) AS o (classid, objid, schema, name) JOIN pg_namespace n ON n.oid = schema
			JOIN pg_depend d ON (d.classid, d.objid, deptype) = (o.classid, o.objid, 'e')
			JOIN pg_extension e ON e.oid = refobjid AND extname LIKE 'eikon\\_%'")));
}

sub names { return join("\n", sort map { $_->[0] } @_) }

# Runs that are going on would be in the way of the next call.
sub settle
{
	my ($database) = @_;

	$node->poll_query_until($database, "SELECT NOT EXISTS (SELECT FROM eikon_runs WHERE finished_at IS NULL)")
	  or die 'runs do not end';
	return;
}

sub everything_works
{
	my ($database, $name) = @_;
	my @bad;
	my $try = sub {
		my ($what, $role, $sql, $expected) = @_;
		my ($stdout, $stderr);
		my $as = defined $role ? "SET ROLE $role;" : '';

		settle($database);
		$node->psql($database, "$as $sql", stdout => \$stdout, stderr => \$stderr, on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
		$stdout = $1 if $stderr =~ /ERROR:\s+(.*)/;
		push @bad, "$what: $stdout" unless $stdout =~ $expected;
	};

	foreach my $call (@calls)
	{
		$try->(@$call);
		# while all three are there
		next unless $call->[0] eq 'eikon_api.upload_compounds';
		$try->("view $_->[0]", $_->[1], "SELECT count(*) FROM (SELECT * FROM $_->[0]) AS v", $_->[2]) foreach @views;
	}
	$try->('what was uploaded', $operator, q{SELECT eikon_api.run_etl() ->> 'source'}, qr/^uploads:$/);
	settle($database);
	is(join("\n", @bad), '', "$name: all functions, procedures and views work");
	return;
}

# =============================================================================
# Updates
# =============================================================================

foreach my $variant (@variants)
{
	create("fresh_$variant->{name}", $variant, "$version, $variant->{name}") or die 'nothing to compare with';
	grant_and_extend("fresh_$variant->{name}", $variant);
}
is( names(@calls),
	members('fresh_public', "SELECT 'pg_proc'::regclass, oid, pronamespace, proname FROM pg_proc"),
	'this test calls every function and procedure');
is( names(@views),
	members('fresh_public', "SELECT 'pg_class'::regclass, oid, relnamespace, relname FROM pg_class WHERE relkind = 'v'"),
	'and reads every view');
my $fresh = catalog('fresh_lab');
is(join(', ', grep { ($fresh->{$_} // '') !~ /\S/ } map { $_->[0] } @aspects), '', 'there is something to compare in all that is compared');

create('seed', $variants[0], 'what is worked with');
grant_and_extend('seed', $variants[0]);
my $queued = work('seed');

my @updated;
foreach my $old (@released)
{
	foreach my $extension (@extensions)
	{
		isnt( value('postgres', "SELECT path FROM pg_extension_update_paths('$extension') WHERE source = '$old' AND target = '$version'"),
			'', "there is a way from $extension $old to $version") unless $old eq $version;
	}
	foreach my $variant (@variants)
	{
		my $database = "from_${old}_$variant->{name}" =~ s/\W/_/gr;
		my $name = "$old, $variant->{name}";

		create($database, $variant, $name, $old) or next;
		is(value($database, "SELECT string_agg(DISTINCT extversion, ' ') FROM pg_extension WHERE extname ~ '^eikon'"), $old, "$name: of that version");
		grant_and_extend($database, $variant);
		fill('seed', $database);
		my $shapes = shapes($database);
		my $before = contents($database, $shapes);

		like($before, qr/by hand/, "$name: there are features");
		like($before, qr/22P02.*queued/s, "$name: a failed run and a queued one");
		update($database, $name);
		is(difference($before, contents($database, $shapes)), '', "$name: all rows are there");
		same_catalog("fresh_$variant->{name}", $database, $name);
		push @updated, { database => $database, name => $name, variant => $variant, queued => $queued };
	}

	# --- One of them is updated, and the other only later
	foreach my $first (@extensions)
	{
		my ($second) = grep { $_ ne $first } @extensions;
		my $database = "${first}_first_$old" =~ s/\W/_/gr;
		my $name = "$old, $first first";

		create($database, $variants[0], $name, $old) or next;
		grant_and_extend($database, $variants[0]);
		fill('seed', $database);
		update($database, $name, $first);
		is( value($database, "SELECT string_agg(extversion, ' ' ORDER BY extname = '$second') FROM pg_extension WHERE extname ~ '^eikon'"),
			"$version $old", "$name: $second is as before");
		is( value($database, "SET ROLE eikon_anonymous; SELECT count(*) FROM eikon_api.features; SELECT count(*) FROM eikon_api.etl_results_epoch;
				SELECT eikon_api.check_table() ->> 'message'; SELECT eikon_api.check_feature_derivation() ->> 'message'"),
			"3\n" . value('seed', 'SELECT count(*) FROM etl_results') . "\nTable created\nFeature Derivation inserted", "$name: all can be read");
		if ($first eq 'eikon_features')
		{
			is( value($database, "SELECT status FROM eikon_run_etl(); SET ROLE eikon_anonymous; SELECT eikon_api.etl() ->> 'message'; SELECT count(*) FROM eikon_api.features"),
				"succeeded\nETL process completed successfully\n3", "$name: both work together");
		}
		elsif ($old eq '0.1.0')
		{
			like(failure($node, 'SELECT eikon_run_etl()', database => $database),
				qr/^42P01: table "eikon_user_features" is missing.*\nHINT: .*ALTER EXTENSION eikon_features UPDATE/, "$name: a run says what to do");
		}
		update($database, $name, $second);
		same_catalog('fresh_public', $database, $name);
	}
}

# =============================================================================
# Afterwards
# =============================================================================

# An administrator restarts a server that preloads the library, to have the new one.
configure($node, 'max_worker_processes' => 8, 'shared_preload_libraries' => 'eikon_features');
$node->restart;
foreach my $case (@updated)
{
	my ($database, $name) = @$case{qw(database name)};

	is( value($database, "SELECT status, rows_unchanged, attempts, background FROM eikon_wait_etl($case->{queued}, '3 minutes')"),
		'succeeded|2|1|t', "$name: the queued run goes through");
	if (!$case->{variant}{own})
	{
		my $dump = $node->basedir . "/$database.sql";
		my $restored = "restored_$database";
		$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr($database) ], "$name: is dumped");
		value('postgres', "CREATE DATABASE $restored TEMPLATE template0; ALTER DATABASE $restored SET search_path = public, pg_catalog");
		$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr($restored) ], "$name: and restored");
		my $shapes = shapes($restored);
		is(difference(contents($database, $shapes), contents($restored, $shapes)), '', "$name: with all rows");
		same_catalog($database, $restored, "$name, restored");
		everything_works($restored, "$name, restored");
	}
	everything_works($database, $name);
}

$node->stop;
done_testing();
