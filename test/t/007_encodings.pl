
# What pg_regress can't show: databases in other encodings than UTF-8. Files say
# what they say in their own encoding; what the database's encoding has no
# character for is rejected, never stored as something else.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use Encode qw(encode);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('encodings', init => [ extra => [ '--no-locale', '--encoding=UTF8' ] ]);
my $root = $node->basedir . '/files';

foreach my $encoding (qw(UTF8 LATIN1 WIN1252 EUC_JP SQL_ASCII))
{
	my $database = lc $encoding;

	$node->safe_psql('postgres',
		"CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION eikon_features');
}

# =============================================================================
# One name, in a file of one encoding, in a database of another
# =============================================================================

# Perl's name of each encoding
my %perl = (UTF8 => 'UTF-8', LATIN1 => 'latin1', WIN1252 => 'cp1252', SJIS => 'cp932', EUC_JP => 'euc-jp',
	'UTF-16LE' => 'UTF-16LE', 'UTF-16BE' => 'UTF-16BE');

my $asa = "\x{C5}sa";                     # in LATIN1, too
my $lukasz = "\x{141}ukasz";              # not in LATIN1, nor WIN1252
my $euro = "5 \x{20AC}";                  # in WIN1252, not in LATIN1
my $hyoji = "\x{8868}\x{793A}";           # SJIS: 95 5C 8E A6, 5C being the backslash
my $paul = "\x{30DD}\x{30FC}\x{30EB}";    # SJIS: 83 7C 81 5B 83 8B, 7C being the bar
my $soft = "\x{30BD}\x{30D5}\x{30C8}";    # SJIS: 83 5C 83 74 83 67
my $smile = "\x{1F600}";                  # four bytes in UTF-8, two units in UTF-16

# database, encoding of the file, name, whether it can be stored
my @names = (
	[ 'utf8', 'UTF8', $asa, 1 ],
	[ 'utf8', 'UTF8', $smile, 1 ],
	[ 'utf8', 'LATIN1', $asa, 1 ],
	[ 'utf8', 'WIN1252', $euro, 1 ],
	[ 'utf8', 'SJIS', $hyoji, 1 ],
	[ 'utf8', 'SJIS', $paul, 1 ],
	[ 'utf8', 'SJIS', $soft, 1 ],
	[ 'utf8', 'EUC_JP', $hyoji, 1 ],
	[ 'utf8', 'UTF-16LE', $smile, 1 ],
	[ 'utf8', 'UTF-16BE', $hyoji, 1 ],
	[ 'latin1', 'UTF8', $asa, 1 ],
	[ 'latin1', 'UTF8', $lukasz, 0 ],
	[ 'latin1', 'UTF8', $euro, 0 ],
	[ 'latin1', 'UTF8', $smile, 0 ],
	[ 'latin1', 'LATIN1', $asa, 1 ],
	[ 'latin1', 'WIN1252', $asa, 1 ],
	[ 'latin1', 'WIN1252', $euro, 0 ],
	[ 'latin1', 'SJIS', $hyoji, 0 ],
	[ 'latin1', 'UTF-16LE', $asa, 1 ],
	[ 'latin1', 'UTF-16BE', $lukasz, 0 ],
	[ 'win1252', 'UTF8', $euro, 1 ],
	[ 'win1252', 'UTF8', $lukasz, 0 ],
	[ 'win1252', 'LATIN1', $asa, 1 ],
	[ 'euc_jp', 'UTF8', $hyoji, 1 ],
	[ 'euc_jp', 'UTF8', $smile, 0 ],
	[ 'euc_jp', 'SJIS', $hyoji, 1 ],
	[ 'euc_jp', 'SJIS', $paul, 1 ],
	[ 'euc_jp', 'SJIS', $soft, 1 ],
	[ 'euc_jp', 'EUC_JP', $soft, 1 ],
	[ 'euc_jp', 'UTF-16LE', $soft, 1 ],
	# SQL_ASCII has no opinion: what is text in the file is stored as UTF-8
	[ 'sql_ascii', 'UTF8', $lukasz, 1 ],
	[ 'sql_ascii', 'LATIN1', $asa, 1 ],
	[ 'sql_ascii', 'SJIS', $hyoji, 1 ],);

sub show
{
	return join(' ', map { $_ > 0x7E ? sprintf('U+%04X', $_) : chr($_) } unpack('W*', $_[0]));
}

# The users that a run takes, a line for each: name in UTF-8, in hexadecimal, or
# the reject's type. The users file is given as bytes.
sub names_in
{
	my ($database, $encoding, $users, $options) = @_;
	my $dir = write_source(
		"$root/source",
		users => $users,
		user_experiments => encode($encoding, "experiment_id,user_id,experiment_compound_ids,experiment_run_time\n"),
		compounds => encode($encoding, "compound_id,compound_name,compound_structure\n"));

	$node->safe_psql($database,
		"DELETE FROM eikon_runs; SELECT eikon_run_etl('$dir', on_error => 'ignore'" . ($options // '') . ')');
	return $node->safe_psql($database, q{
		SELECT coalesce(encode(convert_to(name, 'UTF8'), 'hex'), 'NULL') FROM features ORDER BY user_id
	}) . $node->safe_psql($database, q{
		SELECT coalesce(column_name || ': ', '') || error_type FROM eikon_rejects ORDER BY reject_id
	});
}

my $header = "user_id,name,email,signup_date\n";

foreach my $case (@names)
{
	my ($database, $encoding, $name, $stored) = @$case;
	my $expected = $stored ? unpack('H*', encode('UTF-8', $name)) : 'name: INVALID ENCODING';
	my $what = sprintf('%s from a %s file in a database in %s', show($name), $encoding, $database);

	# the name alone, and quoted beside characters that mean something
	is( names_in($database, $perl{$encoding}, encode($perl{$encoding}, "${header}1,$name,,\n"), ", encoding => '$encoding'"),
		$expected, $what);
	is( names_in($database, $perl{$encoding}, encode($perl{$encoding}, "${header}1,\"$name,\"\"$name\",,\n"), ", encoding => '$encoding'"),
		$stored ? unpack('H*', encode('UTF-8', "$name,\"$name")) : $expected,
		"$what, quoted");
}

# --- A delimiter that is the second byte of a character in SJIS is none there
foreach my $database (qw(utf8 euc_jp))
{
	my $bytes = encode('cp932', "user_id|name|email|signup_date\n1|$paul||\n2|\"$soft|$paul\"||\n");

	like($bytes, qr/\x83\x7C/, 'the file has a bar within a character');
	is( names_in($database, 'cp932', $bytes, ", encoding => 'SJIS'"),
		join("\n", map { unpack('H*', encode('UTF-8', $_)) } $paul, "$soft|$paul"),
		"a character that ends in the byte of the delimiter, in a database in $database");
	is( names_in($database, 'cp932', encode('cp932', "${header}1,\"$hyoji\",,\n2,\"a\\\"$soft\",,\n"),
			", encoding => 'SJIS', quote => '\"', escape => '\\'"),
		join("\n", map { unpack('H*', encode('UTF-8', $_)) } $hyoji, "a\"$soft"),
		"and of the escape, in a database in $database");
}

# =============================================================================
# What is no text in the file's own encoding
# =============================================================================

# database, encoding of the file, bytes of the name
my @invalid = (
	map({ my $database = $_; map { [ $database, 'UTF8', $_ ] } "a\xC5", "\xFF", "\xC0\x80", "\xED\xA0\x80", "a\0b" }
		qw(utf8 latin1 euc_jp sql_ascii)),
	[ 'utf8', 'LATIN1', "a\0b" ],
	[ 'utf8', 'WIN1252', "a\x81" ],
	[ 'latin1', 'WIN1252', "a\x81" ],
	[ 'latin1', 'LATIN1', "a\0b" ],
	[ 'sql_ascii', 'LATIN1', "a\0b" ],
	[ 'utf8', 'SJIS', "\x95" ],
	[ 'euc_jp', 'SJIS', "\xFD\xFD" ],
	[ 'euc_jp', 'EUC_JP', "\xA1" ],);

foreach my $case (@invalid)
{
	my ($database, $encoding, $bytes) = @$case;
	my $result = names_in($database, 'ascii', "${header}1,$bytes,,\n2,Bob,,\n", ", encoding => '$encoding'");

	is( $result, "426f62name: INVALID ENCODING",
		sprintf('bytes %s in a %s file, in a database in %s', uc unpack('H*', $bytes), $encoding, $database));
}
is( names_in('latin1', 'UTF-8', encode('UTF-16LE', "\x{FEFF}${header}1,a\0b,,\n2,$asa,,\n")),
	unpack('H*', encode('UTF-8', $asa)) . 'name: INVALID ENCODING',
	'a NUL in UTF-16');

# --- What a reject and an error show of it
names_in('latin1', 'UTF-8', encode('UTF-8', "${header}1,$asa $lukasz,$asa,\n"));
is( $node->safe_psql('latin1', q{SELECT value || ' ' || raw FROM eikon_rejects}),
	encode('latin1', "$asa \\xC5\\x81ukasz 1,$asa \\xC5\\x81ukasz,$asa,"),
	'rejects show the characters that there are, and the bytes of the others');
my $dir = write_source("$root/source", users => encode('UTF-8', "${header}1,$lukasz,,\n"));
like( failure($node, "SELECT eikon_run_etl('$dir')", database => 'latin1'),
	qr/^22021: .*\nHINT: .*\nCONTEXT:  users\.csv, line 2, column name: "\\xC5\\x81ukasz"/s,
	'so do errors');
$dir = write_source("$root/source", users => encode('UTF-8', "user_id,$hyoji,email\n1,,\n"));
like( failure($node, "SELECT eikon_run_etl('$dir')", database => 'latin1'),
	qr/^42703: column "name" is missing .*\\xE8\\xA1\\xA8/s,
	'and errors about headers');
is( $node->safe_psql('latin1',
		"SELECT array_to_string(fields, ',') FROM eikon_read_csv('$dir/users.csv') WHERE line = 1"),
	'user_id,\\xE8\\xA1\\xA8\\xE7\\xA4\\xBA,email', 'and previews');

# --- Columns that are ignored are named in the notes, whatever they are called
$dir = write_source("$root/source", users => encode('UTF-8', "user_id,name,email,signup_date,$asa,$hyoji\n1,A,,,,\n"), user_experiments => []);
is( $node->safe_psql('latin1',
		"SELECT notes -> 0 ->> 'ignored_columns' FROM eikon_run_etl('$dir')"),
	encode('latin1', "[\"$asa\", \"\\\\xE8\\\\xA1\\\\xA8\\\\xE7\\\\xA4\\\\xBA\"]"),
	'ignored columns in the notes');

# =============================================================================
# Options are in the database's encoding, fields in the file's
# =============================================================================

foreach my $database (qw(utf8 latin1))
{
	is( names_in($database, 'UTF-8', encode('UTF-8', "${header}1,$asa,,\n2,Bob,,\n"), ", \"null\" => U&'\\00C5sa'"),
		"NULL\n426f62", "the option null, in a database in $database");
}
is( $node->safe_psql('latin1',
		"SELECT fields[2] IS NULL FROM eikon_read_csv('$root/source/users.csv', \"null\" => U&'\\00C5sa') WHERE line = 2"),
	't', 'the option null of a preview');

foreach my $encoding ('nonsense', 'SQL_ASCII', 'MULE_INTERNAL', '')
{
	like( failure($node, "SELECT eikon_run_etl('$dir', encoding => '$encoding')", database => 'latin1'),
		qr/^22023: argument to option "encoding" must be a valid encoding name/,
		"there is no encoding \"$encoding\"");
}

$node->stop;
done_testing();
