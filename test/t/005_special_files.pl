
# What pg_regress can't show: files that are no files (pipes, devices, sockets,
# directories), files that the server may not read, and files that somebody
# changes while a run is reading them. None of them may hang or bring down the
# server, and none may pass for data.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use IO::Socket::UNIX;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('special_files');
my $root = $node->basedir . '/files';

# =============================================================================
# Not regular files
# =============================================================================

write_source("$root/good");
run_summary($node, "'$root/good'");

my $before = rows_of($node, 'features');

sub make_socket
{
	my ($path) = @_;

	# the address of a socket must be short
	my $short = PostgreSQL::Test::Utils::tempdir_short();
	my $socket = IO::Socket::UNIX->new(Local => "$short/s", Listen => 1)
	  or die "could not make socket: $!";
	rename("$short/s", $path) or die "could not move socket: $!";
	return $socket;
}

sub make_link
{
	my ($to, $path) = @_;

	return symlink($to, $path) || die "could not make link: $!";
}

my $not_regular = qr/^42809: "[^"]*users\.csv" is not a regular file\nHINT: /;
my $is_link = qr/^42809: could not open file "[^"]*users\.csv": it is a symbolic link\nHINT: /;

# what users.csv is, how to make it, what a run says
my @cases = (
	[ 'a pipe that nobody writes to', sub { mkfifo($_[0], 0600) || die "could not make pipe: $!" }, $not_regular ],
	[ 'a directory', sub { mkdir($_[0]) || die "could not make directory: $!" }, $not_regular ],
	[ 'a socket', \&make_socket, $not_regular ],
	[ 'a link to a device', sub { make_link('/dev/zero', $_[0]) }, $is_link ],
	[ 'a link to a file', sub { make_link("$root/good/users.csv", $_[0]) }, $is_link ],
	[ 'a link to itself', sub { make_link('users.csv', $_[0]) }, $is_link ],
	[ 'a link that leads nowhere', sub { make_link('nowhere', $_[0]) }, $is_link ],
	[ 'a file that the server may not read',
		sub { write_file($_[0], ''); chmod(0, $_[0]) },
		qr/^42501: could not open file "[^"]*users\.csv": Permission denied\nHINT: / ],);

foreach my $i (0 .. $#cases)
{
	my ($what, $make, $expected) = @{ $cases[$i] };
	my $dir = write_source("$root/case$i");

	unlink("$dir/users.csv");
	my $made = $make->("$dir/users.csv");
	like( failure($node, "SET statement_timeout = '60s'; SELECT * FROM eikon_run_etl('$dir')"),
		$expected, "$what: a run says so");
	like( failure($node, "SET statement_timeout = '60s'; SELECT * FROM eikon_read_csv('$dir/users.csv')"),
		$expected, "$what: so does a preview");
	chmod(0600, "$dir/users.csv") if $what =~ /may not read/;
}

foreach my $device ('/dev/zero', '/dev/null', '/dev/random')
{
	like( failure($node, "SET statement_timeout = '60s'; SELECT * FROM eikon_read_csv('$device')"),
		qr/^42809: "$device" is not a regular file\nHINT: /,
		"$device is no file to read");
}

# --- Directories
write_source("$root/closed");
chmod(0, "$root/closed") or die "could not close directory: $!";
like( failure($node, "SELECT * FROM eikon_run_etl('$root/closed')"),
	qr/^42501: could not open directory ".*": Permission denied\nHINT: /,
	'a directory that the server may not read');
chmod(0700, "$root/closed");

write_source("$root/search_only");
chmod(0100, "$root/search_only") or die "could not close directory: $!";
like( failure($node, "SELECT * FROM eikon_run_etl('$root/search_only')"),
	qr/^42501: could not open directory /, 'a directory whose names it may not read');
chmod(0700, "$root/search_only");

like( failure($node, "SELECT * FROM eikon_run_etl('/" . 'x' x 300 . "')"),
	qr/^(?!XX)\w{5}: could not open directory /,
	'a name too long for the system is no internal error');

# --- An empty file, one of nothing but a hole, and names that only resemble ours
write_source("$root/empty", users => '');
like(failure($node, "SELECT * FROM eikon_run_etl('$root/empty')"), qr/^22P04: users file is empty/, 'an empty file');

write_source("$root/hole", users => '');
truncate("$root/hole/users.csv", 2**20) or die "could not extend file: $!";
like(failure($node, "SELECT * FROM eikon_run_etl('$root/hole')"), qr/^22021: users file is not text in UTF8: it contains NUL bytes\n/,
	'a file of nothing but zeros');

write_source("$root/resembling");
write_file("$root/resembling/$_", "nonsense\n")
  foreach ('.users.csv.swp', 'users.csv~', '#users.csv#', 'users.csv.part', 'users.parquet', 'xusers.csv', '.users.csv');
mkdir("$root/resembling/archive") or die "could not make directory: $!";
is( run_summary($node, "'$root/resembling'"),
	'succeeded: inserted 0, updated 0, deleted 0, unchanged 3',
	'what editors and transfers leave beside the files is not read');

is(rows_of($node, 'features'), $before, 'none of these changed anything');

# =============================================================================
# Files that change while they are read
# =============================================================================

# Calls change while a run is in the middle of the file; returns what the run
# said. The file is long, most of it a hole, and the run is stopped meanwhile, so
# that it cannot end before. A run that was too fast for that is tried again with
# a file twice as long.
sub run_while
{
	my ($change) = @_;

	for (my $size = 2**28;; $size *= 2)
	{
		my $dir = write_source("$root/changing");
		my $path = "$dir/users.csv";
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		my $pid = pid_of($session);
		my $position;
		my $said;

		truncate($path, $size) or die "could not extend file: $!";
		start_query($session, "SELECT * FROM eikon_run_etl('$dir', on_error => 'ignore')");
		wait_until(sub {
			$position = open_files($pid, $dir)->{$path};
			return (defined $position && $position > 2**20) || $session->{stderr} =~ /query is over/
			  || !$session->{run}->pump_nb;
		});
		kill('STOP', $pid);
		$position = open_files($pid, $dir)->{$path};
		my $caught = defined $position && $position > 0 && $position < $size;

		$change->($path, $size) if $caught;
		kill('CONT', $pid);
		$said = finish_query($session);
		$session->quit;
		return $said if $caught;
		die 'reading is too fast to be met' if $size > 2**36;
	}
}

sub append_byte
{
	my ($path) = @_;

	open(my $file, '>>:raw', $path) or die "could not open file: $!";
	print $file "\n";
	return close($file);
}

sub replace_with
{
	my ($path, $bytes) = @_;

	write_file("$path.new", $bytes);
	return rename("$path.new", $path) || die "could not rename file: $!";
}

my $changed = qr/ERROR:  file "users\.csv" changed while it was read\nHINT: /;

like(run_while(\&append_byte), $changed, 'a file that grows');
like(run_while(sub { truncate($_[0], $_[1] - 1) }), $changed, 'a file that is cut short by a byte');
like(run_while(sub { truncate($_[0], 0) }), $changed, 'a file that is cut to nothing');
like(run_while(sub { utime(1, 1, $_[0]) }), $changed, 'a file that is only touched');
like(run_while(sub { truncate($_[0], 1); truncate($_[0], $_[1]) }), $changed, 'a file that has its old size again');
is(rows_of($node, 'features'), $before, 'none of these changed anything');

# A file that is replaced or removed is read to its end by whoever has it open. A worker
# opens it by its name, and may find another one, or none: then that is said, and nothing
# is done. Either way nothing of the new file is taken for the old one's.
my $new = "user_id,name,email,signup_date\n1,Alicia,,\n2,Bob,,\n3,Carol,,\n";

like(run_while(sub { replace_with($_[0], $new) }), qr/\A\z|$changed/, 'a file that is replaced by another one');
is( $node->safe_psql('postgres', 'SELECT name FROM features WHERE user_id = 1'),
	'Alice', 'the run has not read the new one');
run_summary($node, "'$root/changing'");
is( $node->safe_psql('postgres', 'SELECT name FROM features WHERE user_id = 1'),
	'Alicia', 'the next run reads the new one');
like(run_while(sub { unlink($_[0]) }),
	qr/\A\z|ERROR:  could not open file "users\.csv": No such file or directory/, 'a file that is removed');

is( $node->safe_psql('postgres', 'SELECT count(*) FROM features'), 3, 'the server has lived through it all');

$node->stop;
done_testing();
