
# What pg_regress can't show: who may read which file. That takes a setting of
# postgresql.conf, directories on both sides of its border, links across it, and
# sessions of roles that are no superuser and have not loaded the library yet.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('permissions');
my $root = $node->basedir . '/files';
my $data = "$root/data";
my $secret = "$root/data-secret";

# --- The directory, and what lies around it
write_source($data);
write_source("$data/lab");
write_source("$data/lab/deep er");
write_source("$data/..lab");
write_source($secret);
write_source("$data/linked_file");
unlink("$data/linked_file/users.csv");

# a directory that may be passed and not listed, like many a home directory
write_source("$data/unlisted/lab");
chmod(0100, "$data/unlisted") or die "could not close directory: $!";
END { chmod(0700, "$data/unlisted") if defined $data; }

my %links = (
	"$data/linked_outside" => $secret,
	"$data/linked_inside" => "$data/lab",
	"$data/linked_up" => '..',
	"$data/linked_nowhere" => "$root/nowhere",
	"$data/linked_file/users.csv" => "$secret/users.csv",
	"$data/secret.csv" => "$secret/users.csv",
	"$root/data-link" => $data);
foreach my $link (keys %links)
{
	symlink($links{$link}, $link) or die "could not make link $link: $!";
}

configure($node, 'eikon_features.data_directory' => $data);
$node->restart;

# --- Roles
$node->safe_psql('postgres', q{
	CREATE ROLE stranger LOGIN;
	CREATE ROLE operator LOGIN;
	CREATE ROLE file_reader LOGIN IN ROLE pg_read_server_files;
	GRANT EXECUTE ON FUNCTION eikon_run_etl, eikon_derive_features, eikon_read_csv TO operator, file_reader;
});

# =============================================================================
# Without a grant nothing can be called
# =============================================================================

foreach my $call ('eikon_run_etl()', 'eikon_run_etl(dry_run => true)', 'eikon_try_etl()', "eikon_upload('users', '')", 'eikon_derive_features()',
	"eikon_read_csv('users.csv')")
{
	my ($name) = $call =~ /^(\w+)/;

	is( failure($node, "SELECT * FROM $call", user => 'stranger'),
		"42501: permission denied for function $name",
		"a role without grants cannot call $call");
}
foreach my $table (qw(features eikon_user_features eikon_totals eikon_compounds eikon_runs eikon_rejects eikon_uploads etl_results derived_exp_data feature_derivation))
{
	like( failure($node, "SELECT * FROM $table", user => 'stranger'),
		qr/^42501: permission denied for (?:table|view) $table$/,
		"nor read $table");
}

# =============================================================================
# What a role without pg_read_server_files can reach
# =============================================================================

# Says what happens when a role derives from a source, given as SQL: 'works', or the error.
sub derive
{
	my ($role, $source) = @_;

	return failure($node, "SELECT * FROM eikon_derive_features($source)", user => $role) || 'works';
}

sub preview
{
	my ($role, $path) = @_;

	return failure($node, "SELECT * FROM eikon_read_csv('$path')", user => $role) || 'works';
}

my $upwards = qr/^42501: path "[^"]*" must not contain "\.\."/;
my $link = qr/^42809: could not open directory /;

# what, source, what it gives: 'works', 'outside' or the error
my @sources = (
	[ 'no source', 'NULL', 'works' ],
	[ 'a relative one', "'lab'", 'works' ],
	[ 'a relative one, written oddly', "'./lab//deep er/.'", 'works' ],
	[ 'a name that begins with dots', "'..lab'", 'works' ],
	[ 'the directory itself', "'$data'", 'works' ],
	[ 'the directory itself, written oddly', "'$data/./'", 'works' ],
	[ 'an absolute one beneath it', "'$data/lab'", 'works' ],
	[ 'an absolute one far beneath it', "'$data/lab/deep er/'", 'works' ],
	[ 'one beneath a directory that cannot be listed', "'unlisted/lab'", 'works' ],
	[ 'one elsewhere', "'/etc'", 'outside' ],
	[ 'the root directory', "'/'", 'outside' ],
	[ 'the directory above', "'$root'", 'outside' ],
	[ 'one whose name only begins the same', "'$secret'", 'outside' ],
	[ 'one elsewhere that does not exist', "'$root/nowhere'", 'outside' ],
	[ 'another name for the directory', "'$root/data-link'", 'outside' ],
	[ 'a relative one upwards', "'..'", $upwards ],
	[ 'a relative one up and down', "'../data-secret'", $upwards ],
	[ 'a relative one down and up', "'lab/../../data-secret'", $upwards ],
	[ 'a relative one down and up that stays inside', "'lab/..'", $upwards ],
	[ 'an absolute one upwards', "'$data/../data-secret'", $upwards ],
	[ 'an absolute one upwards that stays inside', "'$data/lab/../lab'", $upwards ],
	[ 'a link that leads out', "'linked_outside'", $link ],
	[ 'the same, absolute', "'$data/linked_outside'", $link ],
	[ 'the same with a slash at its end', "'linked_outside/'", $link ],
	[ 'a link that leads elsewhere inside', "'linked_inside'", $link ],
	[ 'a link that leads up', "'linked_up/data-secret'", $link ],
	[ 'a link that leads nowhere', "'linked_nowhere'", $link ],
	[ 'a directory with a linked file', "'linked_file'",
		qr/^42809: could not open file "users\.csv": it is a symbolic link/ ],
	[ 'a file', "'lab/users.csv'", qr/^42809: could not open directory .*Not a directory/ ],
	[ 'nothing', "'lab/nothing'", qr/^58P01: could not open directory .*No such file/ ],);

foreach my $case (@sources)
{
	my ($what, $source, $expected) = @$case;

	if ($expected eq 'works')
	{
		is(derive('operator', $source), 'works', "$what can be read");
		next;
	}
	if ($expected eq 'outside')
	{
		my ($path) = $source =~ /'(.*)'/;

		$expected = qr/^42501: permission denied to read "\Q$path\E"\nDETAIL: .*pg_read_server_files/;
	}
	like(derive('operator', $source), $expected, "$what can't");
}

# Nothing is learnt about what lies outside: not even whether it is there.
is( derive('operator', "'linked_nowhere'") =~ s/nowhere/outside/gr,
	derive('operator', "'linked_outside'"),
	'a link that leads nowhere and one that leads out look the same');

my @files = (
	[ 'a relative file', 'users.csv', 'works' ],
	[ 'a relative file further down', 'lab/users.csv', 'works' ],
	[ 'an absolute file', "$data/lab/users.csv", 'works' ],
	[ 'a file elsewhere', '/etc/passwd', qr/^42501: permission denied to read / ],
	[ 'a file in the root directory', '/users.csv', qr/^42501: permission denied to read / ],
	[ 'a file of the neighbour', "$secret/users.csv", qr/^42501: permission denied to read / ],
	[ 'the same upwards', '../data-secret/users.csv', $upwards ],
	[ 'the same upwards, absolute', "$data/../data-secret/users.csv", $upwards ],
	[ 'a linked file', 'linked_file/users.csv', qr/^42809: could not open file .*symbolic link/ ],
	[ 'a linked file, absolute', "$data/secret.csv", qr/^42809: could not open file .*symbolic link/ ],
	[ 'a file in a linked directory', 'linked_outside/users.csv', $link ],
	[ 'the directory above as a file', '..', qr/^42(?:501|809): / ],
	[ 'the directory as a file', "$data", qr/^42(?:501|809): / ],
	[ 'an empty name', "$data/", qr/^22023: "[^"]*" does not name a file/ ],
	[ 'a file of the server itself', $node->data_dir . '/PG_VERSION', qr/^42501: permission denied to read / ],);

foreach my $case (@files)
{
	my ($what, $path, $expected) = @$case;

	if ($expected eq 'works') { is(preview('operator', $path), 'works', "preview: $what can be read"); }
	else { like(preview('operator', $path), $expected, "preview: $what can't"); }
}

# A superuser who acts as somebody else can do no more than that one.
like( failure($node, "SET ROLE operator; SELECT * FROM eikon_derive_features('$secret')"),
	qr/^42501: permission denied to read /,
	'SET ROLE counts');
is( failure($node, qq{
		CREATE FUNCTION read_secret() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
			RETURN (SELECT pg_catalog.count(*) FROM public.eikon_derive_features('$secret'));
		SET ROLE operator;
		SELECT read_secret();
	}),
	'', 'a SECURITY DEFINER function reads as its owner');

# =============================================================================
# What a role with pg_read_server_files can reach
# =============================================================================

is(derive('file_reader', $_), 'works', "with pg_read_server_files: $_")
  foreach ('NULL', "'lab'", "'$data/lab'", "'$secret'", "'$data/../data-secret'", "'$data/linked_outside'");
is(preview('file_reader', $_), 'works', "preview with pg_read_server_files: $_")
  foreach ('lab/users.csv', "$secret/users.csv", "$data/linked_outside/users.csv");
like(derive('file_reader', "'../data-secret'"), $upwards, 'a relative path stays beneath the directory');
like(derive('file_reader', "'linked_file'"), qr/^42809: .*symbolic link/, 'linked files are refused to everybody');

# =============================================================================
# The setting is the administrator's
# =============================================================================

my $steal = "SELECT * FROM eikon_derive_features('$secret')";
my $denied = qr/^42501: permission denied to read "\Q$secret\E"/m;

# the library is not loaded in a new session: the server does not know the setting yet
like( failure($node, "SET eikon_features.data_directory = '$secret'; $steal", user => 'operator'),
	$denied, 'SET before the library is loaded does not help');
is( $node->safe_psql('postgres',
		"SET eikon_features.data_directory = '$secret'; SELECT count(*) FROM eikon_derive_features(); SHOW eikon_features.data_directory",
		extra_params => [ '-U', 'operator' ]),
	"3\n$data", 'the value is that of postgresql.conf again once it is');
like( failure($node, "SELECT set_config('eikon_features.data_directory', '$secret', false); $steal", user => 'operator'),
	$denied, 'nor does set_config()');
like( failure($node, $steal, user => 'operator', options => "-c eikon_features.data_directory=$secret"),
	$denied, 'nor PGOPTIONS');
like( failure($node, "ALTER ROLE operator SET eikon_features.data_directory = '$secret'; $steal", user => 'operator'),
	$denied, 'nor ALTER ROLE');
like(failure($node, $steal, user => 'operator'), $denied, 'nor in the next session');
like( failure($node, "SELECT * FROM eikon_derive_features(); SET eikon_features.data_directory = '$secret'", user => 'operator'),
	qr/^55P02: parameter "eikon_features\.data_directory" cannot be changed now$/,
	'SET after the library is loaded is an error');
like( failure($node, "SELECT * FROM eikon_derive_features(); SET eikon_features.data_directory = '$secret'"),
	qr/^55P02: /, 'for a superuser too: it belongs in postgresql.conf');

# limits that protect the server are the administrator's too
write_source("$data/bomb", users => [ map { "$_,,," } 1 .. 200_000 ]);
system_or_bail('gzip', "$data/bomb/users.csv");
configure($node, 'eikon_features.max_decompressed_size' => '1MB');
$node->restart;
my $expand = "SELECT count(*) FROM eikon_derive_features('bomb')";

like(failure($node, $expand, user => 'operator'), qr/^54000: file "users\.csv\.gz" expands to more than 1 MB/,
	'a limit of postgresql.conf');
like( failure($node, "SET eikon_features.max_decompressed_size = 0; $expand", user => 'operator'),
	qr/^54000: /m, 'SET before the library is loaded does not lift it');
like( failure($node, "SELECT * FROM eikon_derive_features(); SET eikon_features.max_decompressed_size = 0", user => 'operator'),
	qr/^42501: permission denied to set parameter/, 'SET afterwards is an error');
is(failure($node, "SET eikon_features.max_decompressed_size = 0; $expand"), '', 'a superuser can lift it');

# =============================================================================
# What it takes to run
# =============================================================================

sub contents
{
	return join("\n--\n", map { rows_of($node, $_) } qw(features eikon_totals eikon_compounds eikon_runs eikon_rejects));
}

# With users that come, change and go, and a reject; the other is the same with others.
write_source("$data/one", users => [ '1,Alice,,', '2,Bob,,', 'x,Nobody,,', '3,Carol,,' ]);
write_source(
	"$data/two",
	users => [ '1,Alicia,,', '3,Carol,,', 'x,Nobody,,', '4,Dave,,' ],
	user_experiments => ['1,1,1,1'],
	compounds => [ '1,Compound A,C21', '3,Compound C,C22' ]);
$node->safe_psql('postgres', "SELECT eikon_run_etl('$data/one', on_error => 'ignore')");

my $run_two = q{SELECT rows_inserted, rows_updated, rows_deleted FROM eikon_run_etl('two', on_error => 'ignore')};
my $before = contents();

like(failure($node, $run_two, user => 'operator'), qr/^42501: permission denied for table /,
	'EXECUTE alone is not enough');
is(contents(), $before, 'and nothing has changed');

# A dry run needs to read the tables that it compares with, no more.
my $dry_run = $run_two =~ s/'ignore'/'ignore', dry_run => true/r;

like(failure($node, $dry_run, user => 'operator'), qr/^42501: permission denied for table /, 'not even for a dry run');
$node->safe_psql('postgres', 'GRANT SELECT ON eikon_user_features, eikon_totals, eikon_compounds TO operator');
is(failure($node, $dry_run, user => 'operator'), '', 'SELECT on the three tables is enough for a dry run');
like(failure($node, $run_two, user => 'operator'), qr/^42501: permission denied for table /, 'and not for a run');
is(contents(), $before, 'nothing has changed');
$node->safe_psql('postgres', 'REVOKE ALL ON eikon_user_features, eikon_totals, eikon_compounds FROM operator');

my @grants;
foreach my $table (qw(eikon_user_features eikon_totals eikon_compounds))
{
	push @grants, map { [ $table => $_ ] } qw(SELECT INSERT UPDATE DELETE);
}

$node->safe_psql('postgres', join('', map { "GRANT $$_[1] ON $$_[0] TO operator;" } @grants));
foreach my $grant (@grants)
{
	my ($table, $privilege) = @$grant;

	$node->safe_psql('postgres', "REVOKE $privilege ON $table FROM operator");
	like( failure($node, $run_two, user => 'operator'),
		qr/^42501: permission denied for table $table$/m,
		"without $privilege on $table it does not run");
	is(contents(), $before, 'and nothing has changed');
	$node->safe_psql('postgres', "GRANT $privilege ON $table TO operator");
}
is( succeeds($node, $run_two, 'with all of these it does, and needs no right on the ledger', user => 'operator'), '1|1|1', 'its counts');
is( $node->safe_psql('postgres', 'SELECT requested_by FROM eikon_runs ORDER BY run_id DESC LIMIT 1'),
	'operator', 'the ledger names the role');

# =============================================================================
# Nobody without a grant can keep others from running
# =============================================================================

# The advisory locks that a run takes, as the calls with which anybody can take
# them too.
my $locks = $node->safe_psql('postgres', q{
	BEGIN;
	DO $$ BEGIN PERFORM eikon_run_etl('two', on_error => 'ignore'); END $$;
	SELECT CASE objsubid
		WHEN 1 THEN format('pg_advisory_lock(%s)', classid::bigint << 32 | objid::bigint)
		WHEN 2 THEN format('pg_advisory_lock(%s, %s)', classid, objid) END
	FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid IN (1, 2);
	ROLLBACK;
});
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'stranger' ]);

$session->query_safe("SELECT $_") foreach split(/\n/, $locks);
is(failure($node, $run_two, user => 'operator'), '', 'advisory locks of a stranger are in nobody\'s way');
$session->quit;

# =============================================================================
# No directory is set
# =============================================================================

foreach my $unset (undef, '')
{
	configure($node, 'eikon_features.data_directory' => $unset);
	$node->restart;
	my $how = defined $unset ? 'empty' : 'unset';

	foreach my $role ('operator', 'file_reader')
	{
		like( derive($role, 'NULL'),
			qr/^22023: no source directory given\nDETAIL:  eikon_features\.data_directory is not set\.\nHINT: /,
			"$how, no source: $role is told what to set");
		like( derive($role, "'lab'"),
			qr/^22023: "lab" is not an absolute path\nDETAIL:  eikon_features\.data_directory is not set\.\nHINT: /,
			"$how, relative source: $role is told what to set");
	}
	like(derive('operator', "'$data'"), qr/^42501: permission denied to read /, "$how: no path is open to others");
	like(preview('operator', '/etc/passwd'), qr/^42501: permission denied to read /, "$how: nor any file");
	is(derive('file_reader', "'$data'"), 'works', "$how: pg_read_server_files reads any");
}

# --- The directory is a link: that is the administrator's choice
configure($node, 'eikon_features.data_directory' => "$root/data-link/");
$node->restart;
is(derive('operator', $_), 'works', "the directory may be a link: $_")
  foreach ('NULL', "'lab'", "'$root/data-link/lab'");
like(derive('operator', "'linked_outside'"), $link, 'links beneath it are not followed');

# --- The directory is the root: everything is beneath it
configure($node, 'eikon_features.data_directory' => "/");
$node->restart;
is(derive('operator', "'$secret'"), 'works', 'the directory may be the root');
like(derive('operator', "'$data/linked_outside'"), $link, 'links are not followed even then');

$node->stop;
done_testing();
