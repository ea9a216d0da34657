
# What pg_regress can't show with small files: that parallel workers, and too
# little memory, change nothing of what comes out: not a bit of a sum, no
# reject's line, no error's words; and that whatever ends a derivation in which
# workers take part, nothing of it stays.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use EikonTest;
use Encode qw(encode);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

# Seconds: far more than it takes.
my $soon = 5;

# Workers load what the leader has loaded. That takes so long with the JIT compiler, which
# very many derivations in one statement seem to be worth, that nothing is left for them to do.
my $node = new_server(
	'parallel',
	init => [ allows_streaming => 1 ],
	conf => q{
	jit = off
	fsync = off
	autovacuum = off
	max_worker_processes = 16
	max_parallel_workers = 8
	log_min_messages = debug1
	restart_after_crash = on
});
my $root = $node->basedir . '/files';
mkdir($root) or die "could not create directory: $!";

srand(20240229);

my %header = (
	users => 'user_id,name,email,signup_date',
	compounds => 'compound_id,compound_name,compound_structure',
	user_experiments => 'experiment_id,user_id,experiment_compound_ids,experiment_run_time');

# =============================================================================
# Sources
# =============================================================================

# A unit of reading is 2 MB of text, and a worker is asked for for every 8 MB. To
# have four of them, every source holds, beside what is looked at, a file of users
# whose size is in a column that is ignored.
my $unit = 2**21;
my $padding = "$root/padding";
my $npadding = 4200;

write_file($padding,
	join("\n", "$header{users},extra", map({ -1_000_000 - $_ . ',Nobody,,,' . 'x' x 8000 } 1 .. $npadding), ''));

sub new_source
{
	my ($name, %files) = @_;
	my $dir = "$root/$name";

	mkdir($dir) or die "could not create directory: $!";
	link($padding, "$dir/users_padding.csv") or die "could not make link: $!";
	write_file("$dir/$_", $files{$_}) foreach keys %files;
	return $dir;
}

# --- One derivation, as a digest of its rows in their order

my @every = (map({ [ $_, '512MB' ] } 0, 1, 2, 4), map({ [ $_, '64kB' ] } 0, 2, 4));
my @some = ([ 0, '512MB' ], [ 2, '512MB' ], [ 2, '64kB' ]);

sub settings
{
	my ($workers, $memory) = @_;

	return "SET eikon_features.parallel_workers = $workers; SET eikon_features.work_mem = '" . ($memory // '512MB') . "'; ";
}

sub digest_of
{
	my ($query) = @_;

	return "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n')), '') FROM $query t; ";
}

sub digest
{
	my ($dir, $workers, $memory, $options) = @_;

	return $node->safe_psql('postgres',
		settings($workers, $memory) . digest_of("eikon_derive_features('$dir'" . ($options // '') . ')'));
}

# Tests that a source has the same features in all ways; returns their digest.
sub same_in_all
{
	my ($dir, $ways, $what) = @_;
	my %by;

	push @{ $by{ digest($dir, @$_) } }, "$_->[0] workers, $_->[1]" foreach @$ways;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar keys %by, 1, $what) or diag(explain(\%by));
	return (keys %by)[0];
}

# --- The same data in many dialects

# A row is a list of values; style says how they become bytes.
sub text_of
{
	my ($kind, $rows, %style) = @_;
	my $delimiter = $style{delimiter} // ',';
	my $quote = $style{quote} // '';
	my $newline = $style{newline} // "\n";
	my $columns = $header{$kind} =~ s/,/$delimiter/gr;

	return join('', map { "$_$newline" } $columns . ($kind eq 'user_experiments' ? "${delimiter}note" : ''),
		map { join($delimiter, map { "$quote$_$quote" } @$_) } @$rows);
}

my @notes = map { "note $_ " . 'of a technician ' x (3 + $_ % 4) } 0 .. 15;

# Users and experiments by their ids; the last users have no experiments. Run
# times are of a kind whose sums depend on the order, unless they are exact.
sub make_rows
{
	my ($users, $experiments) = @_;
	my $active = @$users - 100;
	my $n = 0;

	return {
		users => [ map { [ $_, 'User ' . $_ % 1000, "u\@example.com", '2023-0' . (1 + $_ % 9) . '-11' ] } @$users ],
		compounds => [ map { [ $_, "Compound $_", "C${_}H" ] } 1 .. 40 ],
		user_experiments => [
			map {
				$n++;
				[
					$_, $users->[ int(rand($active)) ],
					join(';', map { 1 + int(rand(50)) } 1 .. $n % 4),
					$n % 10 == 0 ? '' : $n % 10 == 1 ? '1e15' : ($n % 1000) / 10,
					$notes[ $n % 16 ]
				]
			} @$experiments
		] };
}

sub shuffled
{
	my @list = @_;

	foreach my $i (reverse 1 .. $#list)
	{
		my $j = int(rand($i + 1));
		@list[ $i, $j ] = @list[ $j, $i ];
	}
	return @list;
}

sub random_ids
{
	my ($n) = @_;
	my %ids;

	$ids{ unpack('q', pack('LL', int(rand(2**32)), int(rand(2**32)))) } = 1 while keys %ids < $n;
	return keys %ids;
}

# --- Dense ids, users in no order
# To a user: neither the number of processors nor a file's dialect shows in the features.
my $dense = make_rows([ shuffled(1 .. 8000) ], [ 1 .. 55_000 ]);
my %dialects = (
	plain => {},
	quoted => { quote => '"' },
	crlf => { newline => "\r\n" },
	cr => { newline => "\r" },
	comma_and_tab => { delimiter => ",\t" },
	semicolon => { delimiter => ';', quote => "'" });
my %digests;
my $started = workers_started($node, sub {
	foreach my $name (sort keys %dialects)
	{
		my $dir = new_source($name,
			map { ("$_.csv" => text_of($_, $dense->{$_}, %{ $dialects{$name} })) } keys %$dense);

		cmp_ok(-s "$dir/user_experiments.csv", '>', 2.5 * $unit, "$name: experiments make several units");
		push @{ $digests{ same_in_all($dir, $name eq 'plain' ? \@every : \@some, "$name: the same features in all ways") } }, $name;
	}
});
is($started, 13 + 4 * (keys(%dialects) - 1), 'workers were started, as many as were asked for');

# --- Parts, compressed ones beside plain ones, and encodings that are read in one piece
{
	my @records = @{ $dense->{user_experiments} };
	my $dir = new_source(
		'parts',
		map({ ("$_.csv" => text_of($_, $dense->{$_})) } qw(users compounds)),
		'user_experiments_a.csv' => text_of('user_experiments', [ @records[ 0 .. 9_999 ] ]),
		'user_experiments_b.csv' => text_of('user_experiments', [ @records[ 10_000 .. 19_999 ] ]),
		'user_experiments_c.csv' => text_of('user_experiments', [ @records[ 20_000 .. 29_999 ] ], quote => '"'),
		'user_experiments.csv' => text_of('user_experiments', [ @records[ 30_000 .. $#records ] ]));
	system_or_bail('gzip', '-1', "$dir/user_experiments_a.csv");
	system_or_bail('zstd', '-q', '--rm', "$dir/user_experiments_c.csv");
	push @{ $digests{ same_in_all($dir, \@some, 'parts: the same features in all ways') } }, 'parts';

	$dir = new_source('utf16',
		map { ("$_.csv" => encode('UTF-16LE', "\x{FEFF}" . text_of($_, $dense->{$_}))) } keys %$dense);
	push @{ $digests{ same_in_all($dir, \@some, 'UTF-16: the same features in all ways') } }, 'utf16';
}
is(scalar keys %digests, 1, 'all dialects have the same features') or diag(explain(\%digests));
my ($plain_digest) = grep { grep { $_ eq 'plain' } @{ $digests{$_} } } keys %digests;
my $plain = "$root/plain";

# --- Ids of 64 bits, in no order
# To a user: the ids of other systems do as well as small ones.
my @ids = random_ids(8000);
my $sparse = make_rows([@ids], [ random_ids(55_000) ]);
my $sparse_dir = new_source('sparse', map { ("$_.csv" => text_of($_, $sparse->{$_})) } keys %$sparse);
my $sparse_digest = same_in_all($sparse_dir, \@every, 'sparse ids: the same features in all ways');

my $sorted = make_rows([ sort { $a <=> $b } @ids ], [ shuffled(-27_500 .. 27_499) ]);
same_in_all(new_source('sorted', map { ("$_.csv" => text_of($_, $sorted->{$_})) } keys %$sorted),
	\@every, 'sorted sparse users, shuffled experiments: the same features in all ways');

# To a user: nor do few users with ids that are far apart take longer than others.
{
	my ($least, $most) = ('-9223372036854775808', '9223372036854775807');

	foreach my $users ([ $most, $least ], [ $least, 0, $most ], [ '5000000000000000000', '-5000000000000000000', 1 ], [ 2, $most, $least, -2, 1 ], [$least])
	{
		my $n = @$users;
		my $dir = write_source(
			"$root/apart$n$users->[0]",
			users => [ map { $_ . ',,,' } @$users ],
			user_experiments => [ "$most,$users->[0],,1", "$least,$users->[-1],,2", "0,$users->[-1],,2", "$most,$users->[0],,1" ]);

		# should it never end, not even a timeout may help
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		my $pid = pid_of($session);
		my $end = time() + 20;

		start_query($session, "CREATE TEMP TABLE answer AS SELECT string_agg(user_id::text, ' '), sum(total_experiments) FROM eikon_derive_features('$dir', on_error => 'ignore')");
		while ($session->{stderr} !~ /query is over/ && time() < $end)
		{
			usleep(1000);
			$session->{run}->pump_nb;
		}
		if ($session->{stderr} =~ /query is over/)
		{
			finish_query($session);
			is($session->query_safe('SELECT * FROM answer'), join(' ', sort { $a <=> $b } @$users) . '|3', "$n users with ids far apart");
			$session->quit;
			next;
		}
		fail("$n users with ids far apart");
		kill('KILL', $pid);
		eval { $session->quit };
		$node->poll_query_until('postgres', 'SELECT true');
	}
}

# --- And these are the features that plain SQL finds

# A sum that is rounded once (Shewchuk).
sub exact_sum
{
	my @partials;

	foreach my $x (@_)
	{
		my ($n, $value) = (0, $x);

		foreach my $partial (@partials)
		{
			my ($large, $small) = abs($value) < abs($partial) ? ($partial, $value) : ($value, $partial);
			my $high = $large + $small;
			my $low = $small - ($high - $large);

			$partials[ $n++ ] = $low if $low != 0;
			$value = $high;
		}
		splice(@partials, $n, @partials - $n, $value);
	}
	my $high = pop(@partials) // 0;
	my $low = 0;
	while (@partials)
	{
		my $large = $high;
		my $small = pop(@partials);

		$high = $large + $small;
		$low = $small - ($high - $large);
		last if $low != 0;
	}
	if (@partials && ($low < 0) == ($partials[-1] < 0))
	{
		my $twice = $low * 2;

		$high += $twice if $twice == ($high + $twice) - $high;
	}
	return $high;
}

my %run_times;
foreach my $row (@{ $sparse->{user_experiments} })
{
	push @{ $run_times{ $row->[1] } }, $row->[3] if $row->[3] ne '';
}
write_file("$root/sums",
	join('', map { sprintf("%s,%.17g,%d\n", $_, exact_sum(@{ $run_times{$_} }), scalar @{ $run_times{$_} }) } keys %run_times));

# To a user: the features are what the documentation defines, to the last bit.
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE users (user_id bigint, name text, email text, signup_date date);
CREATE TABLE compounds (compound_id bigint, compound_name text, compound_structure text);
CREATE TABLE experiments (experiment_id bigint, user_id bigint, ids text, run_time text, note text);
CREATE TABLE sums (user_id bigint, total float8, timed bigint);
COPY users FROM '$sparse_dir/users.csv' (FORMAT csv, HEADER);
COPY compounds FROM '$sparse_dir/compounds.csv' (FORMAT csv, HEADER);
COPY experiments FROM '$sparse_dir/user_experiments.csv' (FORMAT csv, HEADER);
COPY sums FROM '$root/sums' (FORMAT csv);
INSERT INTO users SELECT -1000000 - i, 'Nobody' FROM generate_series(1, $npadding) AS i;
ANALYZE;
CREATE VIEW expected AS
WITH per_user AS (
    SELECT user_id, count(experiment_id) AS n FROM users LEFT JOIN experiments USING (user_id) GROUP BY 1
), listed AS (
    SELECT user_id, id::bigint AS id, count(*) AS n FROM experiments, string_to_table(ids, ';') AS id WHERE id <> '' GROUP BY 1, 2
), most AS (
    SELECT user_id, n, array_agg(id ORDER BY id) AS ids
    FROM (SELECT *, rank() OVER (PARTITION BY user_id ORDER BY n DESC) AS r FROM listed) AS ranked
    WHERE r = 1 GROUP BY 1, 2
)
SELECT user_id, name, email, signup_date, p.n AS total_experiments,
    (SELECT count(*) FROM experiments)::float8 / (SELECT count(*) FROM users) AS avg_experiments,
    p.n::float8 / (SELECT count(*) FROM experiments) AS experiments_pct,
    total / timed AS avg_experiment_run_time, total AS total_experiment_run_time,
    ids[1] AS most_common_compound_id, compound_name, compound_structure, m.n AS count, ids
FROM users JOIN per_user p USING (user_id) LEFT JOIN sums USING (user_id) LEFT JOIN most m USING (user_id)
    LEFT JOIN compounds ON compound_id = ids[1]
ORDER BY user_id;
SQL
is($sparse_digest, $node->safe_psql('postgres', digest_of('(SELECT * FROM expected)')),
	'sparse ids: the features are those that SQL finds, by ascending user_id');

# =============================================================================
# Where one unit ends and the next begins
# =============================================================================

# --- The boundary at every byte of a line's end
# To a user: no record is lost or read twice, wherever the file happens to be cut.
{
	my %at;

	foreach my $newline ("\n", "\r\n", "\r")
	{
		foreach my $shift (0 .. 3)
		{
			my $record = sprintf('%s,,%s', 5, '0.1,' . 'n' x 240);
			my $n = 13_000;
			my $name = 'boundary' . unpack('H*', $newline) . $shift;
			my $dir = write_source(
				"$root/$name",
				users => [ map { "$_,,," } 1 .. 10 ],
				user_experiments => join($newline,
					"$header{user_experiments},note",
					'1,5,,0.1,' . 'n' x ($shift + 20),
					map({ sprintf('%06d,%s', $_, $record) } 2 .. $n), ''));

			push @{ $at{ $node->safe_psql('postgres',
					settings(0) . digest_of("eikon_derive_features('$dir')")) } }, $name;
			unlink("$dir/user_experiments.csv");
		}
	}
	is(scalar keys %at, 1, 'a boundary at every byte of a line') or diag(explain(\%at));
}

# What a run rejects: counts, then a line for each reject.
my $reject_columns = 'file, line, byte_offset, column_name, value, error_type, raw';

sub rejects
{
	my ($dir, $workers, $memory, $options) = @_;

	return $node->safe_psql('postgres',
		settings($workers, $memory)
		  . "BEGIN; SELECT users_read, users_loaded, users_rejected, compounds_read, compounds_loaded, compounds_rejected, experiments_read, experiments_loaded, experiments_rejected FROM eikon_run_etl('$dir', on_error => 'ignore'"
		  . ($options // '')
		  . "); SELECT $reject_columns FROM eikon_rejects WHERE run_id = (SELECT max(run_id) FROM eikon_runs) ORDER BY reject_id; ROLLBACK;");
}

# --- Newlines in quotes, between which stands what looks like records
# To a user: a text of several lines is one value, wherever the file happens to be cut.
foreach my $newline ("\n", "\r\n")
{
	my $what = $newline eq "\n" ? 'LF' : 'CRLF';
	my $name = 'User' . join($newline, '', '7000001,Mallory,m@example.com,2023-01-01', '"",""', '7000002,Mallory,,', 'x' x 100, '');
	my @users = map { "$_,\"$name\",\"a${newline}b\",2023-01-01" } 1 .. 24_000;
	my %in;

	# and some records that are none
	$users[$_] = "x$users[$_]" foreach 100, 11_000, 23_000;
	$users[$_] =~ s/"a/a"a/ foreach 5000, 17_000;
	my $dir = new_source(
		"lines_$what",
		'users.csv' => join($newline, $header{users}, @users, ''),
		'compounds.csv' => "$header{compounds}\n",
		'user_experiments.csv' => "$header{user_experiments}\n1,1,,\n2,23999,,\n");

	cmp_ok(-s "$dir/users.csv", '>', 2 * $unit, "lines in quotes, $what: several units");
	$in{'no workers'} = rejects($dir, 0);
	$in{'two workers'} = rejects($dir, 2);
	$in{'two workers, little memory'} = rejects($dir, 2, '64kB');
	my $digest = digest($dir, 2, '512MB', ", on_error => 'ignore'");

	# compressed, it is read in one piece
	system_or_bail('gzip', '-1', "$dir/users.csv");
	my $expected = rejects($dir, 0) =~ s/^users\.csv\.gz/users.csv/mgr;
	is($in{$_}, $expected, "lines in quotes, $what, $_: the rejects are those of a file read in one piece")
	  foreach sort keys %in;
	is($digest, digest($dir, 0, '512MB', ", on_error => 'ignore'"), "lines in quotes, $what: and the same features");
	like($expected, qr/^28\d\d\d\|/, "lines in quotes, $what: no record is made of what stands in quotes");
}

# =============================================================================
# Rejects in many units
# =============================================================================

# Records of 128 bytes, so that any of them can be replaced in the file; exactly
# 16384 are in a unit.
my $size = 128;
my $per_unit = $unit / $size;
my $count = 90_000;

sub fixed_record
{
	my ($id, $user, $newline) = @_;
	my $record = sprintf('%09d,%07d,1;2,%d.1,', $id, $user, $id % 100);

	return $record . 'n' x ($size - length($record) - 1) . "\n";
}

# A source whose experiments are numbered from 0; ids by number.
sub fixed_source
{
	my ($name, $id_of) = @_;

	return new_source(
		$name,
		'users.csv' => text_of('users', [ map { [ $_, "User $_", '', '' ] } 1 .. 1000 ]),
		'compounds.csv' => text_of('compounds', [ [ 1, 'A', '' ], [ 2, 'B', '' ] ]),
		'user_experiments.csv' => join('', "$header{user_experiments},note\n",
			map { fixed_record($id_of->($_), 1 + $_ % 1000) } 0 .. $count - 1));
}

my $begin = length("$header{user_experiments},note\n");

sub replace_record
{
	my ($dir, $number, $record) = @_;

	die "record of " . length($record) . ' bytes' if length($record) != $size;
	open(my $file, '+<:raw', "$dir/user_experiments.csv") or die "could not open file: $!";
	seek($file, $begin + $number * $size, 0) or die "could not seek: $!";
	print $file $record or die "could not write: $!";
	close($file) or die "could not close file: $!";
	return;
}

# What is wrong with a record: how it is made of a good one, column, value
my %wrong = (
	'CAST' => sub { my $r = shift; substr($r, 0, 1) = 'x'; return ($r, 'experiment_id', substr($r, 0, 9)); },
	'MISSING COLUMNS' => sub { my $r = shift; substr($r, 10) =~ tr/,/./; return ($r, '', ''); },
	'TOO MANY COLUMNS' => sub { my $r = shift; substr($r, 100, 2) = ',n'; return ($r, '', ''); },
	'UNKNOWN USER' => sub { my $r = shift; substr($r, 10, 7) = '7654321'; return ($r, 'user_id', '7654321'); },
	'UNQUOTED VALUE' => sub { my $r = shift; substr($r, 100, 1) = '"'; return ($r, '', ''); },
	'UNTERMINATED QUOTE' => sub { my $r = shift; substr($r, 0, 1) = '"'; return ($r, '', ''); },
	# the record is given the id of another one
	'DUPLICATE KEY' => sub { my ($r, $id) = @_; substr($r, 0, 9) = sprintf('%09d', $id); return ($r, 'experiment_id', substr($r, 0, 9)); });

# What eikon_rejects is to have of a record that was made wrong.
sub expected_reject
{
	my ($number, $type, $record, $column, $value) = @_;

	return join('|', 'user_experiments.csv', $number + 2, $begin + $number * $size, $column, $value, $type, $record =~ s/\n//r);
}

sub make_wrong
{
	my ($dir, $good, $number, $type, @more) = @_;
	my ($record, $column, $value) = $wrong{$type}->($good, @more);

	replace_record($dir, $number, $record);
	return expected_reject($number, $type, $record, $column, $value);
}

# To a user: whatever is wrong is told of the line where it stands, in the order of the files.
foreach my $order ('ascending', 'descending')
{
	my $id_of = $order eq 'ascending' ? sub { 100 + $_[0] } : sub { 500_000 - $_[0] };
	my $good = sub { fixed_record($id_of->($_[0]), 1 + $_[0] % 1000) };
	my $dir = fixed_source("rejects_$order", $id_of);
	my %expected;

	# in every unit, and on both sides of where they meet
	foreach my $n (0, 1, 777, map({ ($per_unit * $_ - 1, $per_unit * $_, $per_unit * $_ + 1) } 1 .. 4), $count - 1)
	{
		my $type = (sort grep { $_ ne 'DUPLICATE KEY' } keys %wrong)[ $n % 6 ];

		$expected{$n} = make_wrong($dir, $good->($n), $n, $type);
	}

	# within a unit; far apart; beside each other in two units; a third time
	my %again = (
		105 => 50, 60_000 => 3, 2 * $per_unit + 10 => 2 * $per_unit - 10,
		70_000 => 3, 70_001 => 3, 89_990 => 45_000);
	$expected{$_} = make_wrong($dir, $good->($_), $_, 'DUPLICATE KEY', $id_of->($again{$_})) foreach keys %again;

	# the first one is kept, and it may be the one out of place
	replace_record($dir, 20, ($wrong{'DUPLICATE KEY'}->($good->(20), $id_of->(80_000)))[0]);
	$expected{80_000} = expected_reject(80_000, 'DUPLICATE KEY', $good->(80_000), 'experiment_id', sprintf('%09d', $id_of->(80_000)));

	# what was itself rejected is no first one
	$expected{30_000} = make_wrong($dir, $good->(30_000), 30_000, 'UNKNOWN USER');
	replace_record($dir, 31_000, ($wrong{'DUPLICATE KEY'}->($good->(31_000), $id_of->(30_000)))[0]);

	# in other part files and of other kinds
	append_to_file("$dir/users.csv", "5,Again,,\n1,Again,,\n,Nobody,,\n");
	append_to_file("$dir/users_2.csv", "$header{users}\n2001,New,,\n2001,Again,,\n7,Again,,\n");
	append_to_file("$dir/users_q.csv", "$header{users}\n-1000001,Again,,\n");
	append_to_file("$dir/compounds.csv", "2,Again,\n");
	my @part = (fixed_record($id_of->(12), 5), fixed_record(900_000_000, 5), fixed_record(900_000_000, 5), fixed_record($id_of->(89_000), 5));
	append_to_file("$dir/user_experiments_2.csv", join('', "$header{user_experiments},note\n", @part));

	my $users = -s "$dir/users.csv";
	my $first_again = $users - length("5,Again,,\n1,Again,,\n,Nobody,,\n");
	my $again = sub {
		my ($file, $line, $offset, $column, $record) = @_;
		my ($value) = $record =~ /^([^,\n]*)/;

		return join('|', $file, $line, $offset, $column, $value, $value eq '' ? 'CAST' : 'DUPLICATE KEY', $record =~ s/\n//r);
	};
	my $part_begin = length("$header{user_experiments},note\n");
	my $users_begin = length("$header{users}\n");
	my $expected = join("\n",
		join('|', 1000 + 3 + 3 + 1 + $npadding, 1000 + 1 + $npadding, 6, 3, 2, 1,
			$count + 4, $count + 4 - keys(%expected) - 3, keys(%expected) + 3),
		$again->('users.csv', 1002, $first_again, 'user_id', "5,Again,,\n"),
		$again->('users.csv', 1003, $first_again + 10, 'user_id', "1,Again,,\n"),
		$again->('users.csv', 1004, $first_again + 20, 'user_id', ",Nobody,,\n"),
		$again->('users_2.csv', 3, $users_begin + 11, 'user_id', "2001,Again,,\n"),
		$again->('users_2.csv', 4, $users_begin + 24, 'user_id', "7,Again,,\n"),
		$again->('users_q.csv', 2, $users_begin, 'user_id', "-1000001,Again,,\n"),
		$again->('compounds.csv', 4, (-s "$dir/compounds.csv") - 9, 'compound_id', "2,Again,\n"),
		map({ $expected{$_} } sort { $a <=> $b } keys %expected),
		map({ $again->('user_experiments_2.csv', $_ + 2, $part_begin + $_ * $size, 'experiment_id', $part[$_]) } 0, 2, 3));

	is(rejects($dir, @$_), $expected, "rejects in $order ids, $_->[0] workers, $_->[1]: all are told of where they stand")
	  foreach @some, [ 4, '64kB' ];

	# --- Too many of them
	# To a user: the limit holds for all together, and names the record that goes beyond it.
	my $n = 7 + keys(%expected) + 3;
	my @last = split(/\|/, (split(/\n/, $expected))[15]);
	foreach my $workers (0, 2, 4)
	{
		like( failure($node, settings($workers) . "SELECT * FROM eikon_run_etl('$dir', on_error => 'ignore', reject_limit => 14)"),
			qr/^22P02: more than 14 records rejected\nDETAIL: .*\nHINT: .*\nCONTEXT:  user_experiments\.csv, line $last[1]\b/,
			"$order, $workers workers: a limit that is reached in the middle");
		is( failure($node, settings($workers) . "SELECT * FROM eikon_derive_features('$dir', on_error => 'ignore', reject_limit => " . ($n - 1) . ')') =~ s/\n.*//sr,
			'22P02: more than ' . ($n - 1) . ' records rejected',
			"$order, $workers workers: one that is exceeded by the last one");
		is( failure($node, settings($workers) . "SELECT * FROM eikon_run_etl('$dir', on_error => 'ignore', reject_limit => $n, dry_run => true)"),
			'', "$order, $workers workers: one that is just enough");
	}
	is( failure($node, settings(2) . "SELECT * FROM eikon_derive_features('$dir', on_error => 'ignore', reject_limit => 14)"),
		failure($node, settings(0) . "SELECT * FROM eikon_derive_features('$dir', on_error => 'ignore', reject_limit => 14)"),
		"$order: its words do not depend on workers");
}

# --- The first one in the order of the files ends the run
# To a user: on_error => 'stop' names the record that is to be mended first.
my $ascending = sub { 100 + $_[0] };
my $stop = fixed_source('stop', $ascending);
my @first = (
	[ 'CAST', 40_000 ],
	[ 'DUPLICATE KEY', 40_000, 7 ],
	[ 'CAST', 40_000, undef, 'DUPLICATE KEY', 85_000, 8 ],
	[ 'DUPLICATE KEY', 40_000, 7, 'CAST', 85_000 ],
	[ 'DUPLICATE KEY', $per_unit, $per_unit - 1, 'UNTERMINATED QUOTE', $per_unit + 1 ],
	[ 'UNKNOWN USER', 3, undef, 'DUPLICATE KEY', 5, 4 ],
	[ 'DUPLICATE KEY', 5, 4, 'UNKNOWN USER', 6 ],
	[ 'TOO MANY COLUMNS', $count - 2, undef, 'DUPLICATE KEY', $count - 1, 0 ],
	[ 'DUPLICATE KEY', $count - 1, 0 ],
	# the CAST is of the record that the duplicate would be one of
	[ 'CAST', 9, undef, 'DUPLICATE KEY', 85_000, 9 ]);
foreach my $case (@first)
{
	my ($type, $number, $of, $second, $second_number, $second_of) = @$case;
	my $good = fixed_record($ascending->($number), 1 + $number % 1000);
	my $good_second = fixed_record($ascending->($second_number // 0), 1 + ($second_number // 0) % 1000);
	my $what = "$type in unit " . int($number / $per_unit) . (defined $second ? ", $second in unit " . int($second_number / $per_unit) : '');
	my @words;

	make_wrong($stop, $good, $number, $type, defined $of ? $ascending->($of) : ());
	make_wrong($stop, $good_second, $second_number, $second, defined $second_of ? $ascending->($second_of) : ()) if defined $second;
	push @words, failure($node, settings(@$_) . "SELECT * FROM eikon_run_etl('$stop')") foreach @some, [ 4, '64kB' ];
	like($words[0], qr/^CONTEXT:  user_experiments\.csv, line @{[ $number + 2 ]}\b/m, "$what: the first one is named");
	is_deeply([@words], [ ($words[0]) x @words ], "$what: in the same words in all ways");
	replace_record($stop, $number, $good);
	replace_record($stop, $second_number, $good_second) if defined $second;
}
is(failure($node, settings(2) . "SELECT * FROM eikon_run_etl('$stop', dry_run => true)"), '', 'mended, it runs');

# --- A quote that is not closed, in the middle of a large file
# To a user: it costs the line in which it stands, not the rest of the file.
{
	my $number = 2 * $per_unit - 1;
	my $good = fixed_record($ascending->($number), 1 + $number % 1000);
	my $reject = make_wrong($stop, $good, $number, 'UNTERMINATED QUOTE');

	is(rejects($stop, @$_), join("\n", join('|', ($npadding + 1000) x 2, 0, 2, 2, 0, $count, $count - 1, 1), $reject),
		"a stray quote, $_->[0] workers, $_->[1]: one line is given up") foreach @some;
	replace_record($stop, $number, $good);
}

# =============================================================================
# Wherever a statement may stand
# =============================================================================

# To a user: a derivation may be part of any query, and an error that is caught leaves the session as it was.
my $bad = "$root/bad";
mkdir($bad) or die "could not create directory: $!";
foreach my $file ('users.csv', 'users_padding.csv', 'compounds.csv')
{
	link("$stop/$file", "$bad/$file") or die "could not make link: $!";
}
write_file("$bad/user_experiments.csv", slurp_file("$stop/user_experiments.csv") . "x,1,,,\n");

my $digest = digest($stop, 0);
my $derive = "eikon_derive_features('$stop')";
my ($rows) = $digest =~ /^(\d+) /;
my %places = (
	'within a block that catches the error of another one' => [
		qq{DO \$\$ BEGIN
			FOR i IN 1 .. 10 LOOP
				BEGIN PERFORM * FROM eikon_derive_features('$bad'); EXCEPTION WHEN invalid_text_representation THEN NULL; END;
			END LOOP; END \$\$; } . digest_of($derive),
		$digest ],
	'beside savepoints' => [
		"BEGIN; SAVEPOINT a; CREATE TEMP TABLE t (i int); SELECT count(*) FROM $derive; SAVEPOINT b; "
		  . digest_of($derive)
		  . 'ROLLBACK TO a; RELEASE a; '
		  . digest_of($derive)
		  . 'COMMIT',
		"$rows\n$digest\n$digest" ],
	'in a serializable transaction' =>
	  [ 'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM features; ' . digest_of($derive) . 'COMMIT', "0\n$digest" ],
	'in a read-only transaction' => [ 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ' . digest_of($derive) . 'COMMIT', $digest ],
	'by a cursor, and another one meanwhile' => [
		"BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT user_id, total_experiments FROM $derive; FETCH 1 FROM c; "
		  . digest_of($derive)
		  . 'FETCH 1 FROM c; COMMIT; MOVE FORWARD 4198 FROM c; FETCH 1 FROM c; CLOSE c',
		"-1004200|0\n$digest\n-1004199|0\n1|90" ],
	'twice in a query' => [ "SELECT count(*) FROM $derive a JOIN $derive b USING (user_id, total_experiments)", $rows ],
	'once for each row' => [
		"SELECT count(*), count(DISTINCT x) FROM generate_series(1, 5) AS g, LATERAL (SELECT md5(string_agg(f::text, ',')) AS x FROM eikon_derive_features('$stop', on_error => 'ignore', reject_limit => g) AS f) AS f",
		'5|1' ],
	'of which one row is asked for' => [ "SELECT (eikon_derive_features('$stop')).user_id LIMIT 1", -1_004_200 ],
	'of which a function takes a few rows' => [
		"CREATE FUNCTION few() RETURNS bigint LANGUAGE plpgsql AS \$\$ DECLARE r record; BEGIN FOR r IN SELECT * FROM $derive WHERE user_id > 0 LOOP IF r.user_id = 3 THEN RETURN r.user_id; END IF; END LOOP; END \$\$; SELECT few(); SELECT few() + few()",
		"3\n6" ],
	'into a table' => [ "BEGIN; CREATE TABLE copied AS SELECT * FROM $derive; INSERT INTO copied SELECT * FROM $derive; SELECT count(*) FROM copied; ROLLBACK", 2 * $rows ]);
foreach my $what (sort keys %places)
{
	my ($query, $expected) = @{ $places{$what} };

	is($node->safe_psql('postgres', settings(2) . $query), $expected, "a derivation $what");
	is($node->safe_psql('postgres', settings(2, '64kB') . $query =~ s/few/fewer/gr), $expected, "a derivation $what, with little memory");
}
is(left_behind($node), '', 'nothing of these is left');

# To a user: a run writes the same by itself and with workers, and again nothing.
{
	my %written;

	foreach my $way (@some)
	{
		my $summary = $node->safe_psql('postgres',
			settings(@$way)
			  . "BEGIN; SELECT rows_inserted FROM eikon_run_etl('$stop'); SELECT rows_unchanged FROM eikon_run_etl('$stop');"
			  . "UPDATE features SET name = NULL WHERE user_id % 3 = 0; DELETE FROM features WHERE user_id % 5 = 0; INSERT INTO features (user_id, total_experiments) VALUES (5000, 0);"
			  . "SELECT rows_inserted > 0, rows_updated > 0, rows_deleted FROM eikon_run_etl('$stop');"
			  . digest_of('(SELECT * FROM features ORDER BY user_id)')
			  . 'ROLLBACK');

		$written{$summary} .= " @$way";
	}
	is_deeply([ keys %written ], ["$rows\n$rows\nt|t|1\n$digest"], 'runs write what derivations show') or diag(explain(\%written));
}

# To a user: functions in indexes of mine may do what they do with any other writer.
foreach my $workers (0, 2)
{
	is( failure($node, settings($workers) . qq{
		BEGIN;
		CREATE FUNCTION caught(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
			\$\$ BEGIN RETURN upper(\$1); EXCEPTION WHEN OTHERS THEN RETURN NULL; END \$\$;
		CREATE INDEX ON eikon_user_features (caught(name));
		SELECT * FROM eikon_run_etl('$stop');
		ROLLBACK}),
		'', "an index on a function that catches errors, $workers workers");
}

# To a user: sessions share the workers that there are, and none is in the way of another one.
{
	my @sessions = map { $node->background_psql('postgres') } 1 .. 4;

	$_->query_safe(settings(4, '1MB')) foreach @sessions;
	start_query($_, 'CREATE TEMP TABLE answer AS ' . digest_of($derive)) foreach @sessions;
	foreach my $session (@sessions)
	{
		is(finish_query($session), '', 'several at a time');
		is($session->query_safe('SELECT * FROM answer'), $digest, 'and the same from each');
		$session->quit;
	}
}

# To a user: a wrapper that claims to be parallel safe does not harm the server.
$node->safe_psql('postgres', qq{
	CREATE FUNCTION wrapper(bigint) RETURNS bigint LANGUAGE sql PARALLEL SAFE
		AS \$\$ SELECT count(*) FROM eikon_derive_features('$stop', on_error => 'ignore', reject_limit => \$1 + 1) \$\$;
	CREATE TABLE many AS SELECT i FROM generate_series(0, 99999) AS i;
	ANALYZE many});
foreach my $participation ('on', 'off')
{
	my $workers = workers_started($node, sub {
		is( $node->safe_psql('postgres', settings(2) . qq{
				LOAD 'eikon_features';
				SET parallel_setup_cost = 0;
				SET parallel_tuple_cost = 0;
				SET min_parallel_table_scan_size = 0;
				SET max_parallel_workers_per_gather = 2;
				SET parallel_leader_participation = $participation;
				SELECT sum(wrapper(i)) FROM many WHERE i % 25000 = 1}),
			4 * $rows, "derivations within parallel workers, leader participating $participation");
	});

	is($workers, 2, 'which start no workers themselves') if $participation eq 'off';
}
is(digest($stop, 2), $digest, 'and the next one');

# =============================================================================
# Whoever calls
# =============================================================================

# To a user: workers read what the caller may read, no more and no less.
configure($node, 'eikon_features.data_directory' => $root);
$node->reload;
$node->safe_psql('postgres', qq{
	CREATE ROLE lab LOGIN CONNECTION LIMIT 1;
	GRANT EXECUTE ON FUNCTION eikon_run_etl, eikon_derive_features TO lab;
	GRANT SELECT, INSERT, UPDATE, DELETE ON eikon_user_features, eikon_totals, eikon_compounds TO lab;
	GRANT SELECT, INSERT ON eikon_runs, eikon_rejects TO lab;
	CREATE FUNCTION read_elsewhere() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
		AS \$\$ SELECT pg_catalog.count(*) FROM public.eikon_derive_features('${\ $node->basedir }/elsewhere') \$\$});
mkdir($node->basedir . '/elsewhere') or die "could not create directory: $!";
link("$stop/$_", $node->basedir . "/elsewhere/$_") foreach qw(users.csv users_padding.csv compounds.csv user_experiments.csv);
is( workers_started($node, sub {
		is( succeeds($node, settings(2) . digest_of("eikon_derive_features('stop')"), 'a role with the data directory alone', user => 'lab'),
			$digest, 'its rows');
	}),
	2, 'its workers');
is( workers_started($node, sub {
		like( failure($node, settings(2) . "SELECT * FROM eikon_derive_features('${\ $node->basedir }/elsewhere')", user => 'lab'),
			qr/^42501: permission denied to read /,
			'it can read nothing else');
	}),
	0, 'for which no worker is started');
is( workers_started($node, sub {
		is( succeeds($node, settings(2) . 'SELECT read_elsewhere()', 'but by a function that has the right', user => 'lab'),
			$rows, 'its rows');
	}),
	2, 'its workers');
is( succeeds($node, "SET SESSION AUTHORIZATION lab; " . settings(2) . "BEGIN; SELECT rows_inserted FROM eikon_run_etl('stop'); ROLLBACK", 'a run of that role'),
	$rows, 'its rows');
is(succeeds($node, 'SET ROLE lab; ' . settings(2) . digest_of("eikon_derive_features('stop')"), 'a role that is set'), $digest, 'its rows');

# --- A standby
# To a user: a replica derives as fast as its primary.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('parallel_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is( workers_started($standby, sub {
		is($standby->safe_psql('postgres', settings(2, '64kB') . digest_of("eikon_derive_features('stop')")), $digest, 'a standby has the same features');
	}),
	2, 'its workers');
is(left_behind($standby), '', 'and keeps nothing of it');
$standby->stop;

# =============================================================================
# Files that change meanwhile
# =============================================================================

# To a user: a file that changes is an error, or was read as it was before or after; never anything else.
my $changing = "$root/changing";
mkdir($changing) or die "could not create directory: $!";
my %changes = (
	'that is appended to' => q{
		my $n = 10_000_000;
		while (1) { open(my $f, '>>', $path); print $f $n++ . ",5,,\n"; close($f); select(undef, undef, undef, 0.02 * rand()); } },
	'that is cut' => q{
		while (1) { truncate($path, $size * rand()); select(undef, undef, undef, 0.02 * rand()); truncate($path, $size); select(undef, undef, undef, 0.1 * rand()); } },
	'that is replaced' => q{
		while (1) { foreach (qw(other keep)) { link("$path.$_", "$path.new"); rename("$path.new", $path); select(undef, undef, undef, 0.1 * rand()); } } });
foreach my $change (sort keys %changes)
{
	my $path = "$changing/user_experiments.csv";
	my ($through, $refused) = (0, 0);
	my @other;

	write_source($changing, users => [ map { "$_,,," } 1 .. 1000 ], user_experiments => slurp_file("$stop/user_experiments.csv"));
	unlink(glob("$path.*"));
	write_file("$path.$_", slurp_file($path)) foreach qw(other keep);

	# beside the derivations, until it is killed
	my $process = IPC::Run::start([ $^X, '-e', 'my ($path) = @ARGV; my $size = -s $path; ' . $changes{$change}, $path ]);
	foreach my $i (1 .. 12)
	{
		my $words = failure($node,
			settings($i % 3, $i % 2 ? '64kB' : undef) . "SELECT * FROM eikon_run_etl('$changing', on_error => 'ignore', dry_run => true)");

		if ($words eq '') { $through++; }
		elsif ($words =~ /^55006: file "user_experiments\.csv" changed while it was read/) { $refused++; }
		else { push @other, $words; }
	}
	$process->signal('KILL');
	eval { $process->finish };
	is_deeply(\@other, [], "a file $change: nothing but what is documented");
	note("a file $change: $through times through, $refused times refused");
}
is(left_behind($node), '', 'nothing is left of these');

# =============================================================================
# Where no worker is to be had
# =============================================================================

# To a user: it takes longer, and gives the same.
is( workers_started($node, sub {
		is($node->safe_psql('postgres', 'SET max_parallel_workers = 0; ' . settings(4) . digest_of($derive)), $digest, 'no worker allowed');
	}),
	0, 'none is started');
configure($node, max_worker_processes => 1);
$node->restart;
is( workers_started($node, sub { is(digest($stop, 4, '64kB'), $digest, 'no worker left'); }), 0, 'none is started');

# =============================================================================
# Whatever ends it
# =============================================================================

# As files, dynamic shared memory can be seen.
configure($node, max_worker_processes => 16, dynamic_shared_memory_type => 'mmap');
$node->restart;

sub count_segments
{
	return scalar(my @segments = glob($node->data_dir . '/pg_dynshmem/mmap.*'));
}

my $segments = count_segments();
$node->safe_psql('postgres', "SELECT FROM eikon_run_etl('$sparse_dir')");
my $before = rows_of($node, 'features');

# Tests that nothing is left, and that the next one is right.
sub nothing_left
{
	my ($what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach (1 .. 100)
	{
		last if left_behind($node) eq '' && count_segments() <= $segments;
		usleep(20_000);
	}
	is(left_behind($node), '', "$what: no worker, no temporary file");
	cmp_ok(count_segments(), '<=', $segments, "$what: no shared memory");
	is(rows_of($node, 'features'), $before, "$what: the old rows");
	is(digest($stop, 2, '64kB'), $digest, "$what: the next one is right");
	return;
}

# Teams without an end: one derivation, or run, after the other in a single
# statement, so that what ends it does so at any moment of one.
sub endless
{
	my ($function, $memory) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = pid_of($session);

	$session->query_safe(settings(2, $memory));
	start_query($session,
		"SELECT count(*) FROM generate_series(1, 1000000) AS g, LATERAL $function('$stop', on_error => 'ignore', reject_limit => g)");
	return ($session, $pid);
}

# To a user: a derivation can be cancelled at any moment, and costs nothing afterwards.
foreach my $function ('eikon_derive_features', 'eikon_run_etl')
{
	foreach my $memory ('512MB', '64kB')
	{
		my $longest = 0;
		my @words;
		my $what = "$function, $memory";

		foreach (1 .. 6)
		{
			my $milliseconds = 1 + int(rand(300));
			my $start = time();

			push @words, failure($node,
				settings(2, $memory)
				  . "SET statement_timeout = '${milliseconds}ms'; SELECT count(*) FROM generate_series(1, 1000000) AS g, LATERAL $function('$stop', on_error => 'ignore', reject_limit => g)") =~ s/\n.*//sr;
			$longest = time() - $start - $milliseconds / 1000 if $longest < time() - $start - $milliseconds / 1000;
		}
		foreach (1 .. 4)
		{
			my ($session, $pid) = endless($function, $memory);

			usleep(rand(300_000));
			my $start = time();
			$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
			push @words, finish_query($session) =~ /ERROR:  (.*)/;
			$longest = time() - $start if $longest < time() - $start;
			is($session->query_safe(digest_of($derive)), $digest, "$what: the session goes on") if $_ == 4;
			$session->quit;
		}
		is_deeply(
			[@words],
			[ ('57014: canceling statement due to statement timeout') x 6, ('canceling statement due to user request') x 4 ],
			"$what: cancelled at any moment");
		note(sprintf('%s: %.2f s', $what, $longest));
		cmp_ok($longest, '<=', $soon, "$what: soon");
		nothing_left($what);
	}
}

# To a user: nor does it matter when the session is ended, or one of its workers.
foreach my $memory ('512MB', '64kB')
{
	foreach (1 .. 3)
	{
		my ($session, $pid) = endless('eikon_run_etl', $memory);

		usleep(rand(300_000));
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
		ok(wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") == 0 }), "leader terminated, $memory");
		eval { $session->quit };
	}
	nothing_left("leader terminated, $memory");

	foreach (1 .. 3)
	{
		my ($session, $pid) = endless('eikon_derive_features', $memory);
		my $idle = "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND state <> 'active'";

		usleep(rand(200_000));
		ok( wait_until(sub {
				$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE leader_pid = $pid AND backend_type = 'parallel worker' LIMIT 1");
				return $node->safe_psql('postgres', $idle) == 1;
			}),
			"worker terminated, $memory");
		like(finish_query($session), qr/ERROR:  (?:terminating .* due to administrator command|lost connection to parallel worker)/, "worker terminated, $memory: an error");
		is($session->query_safe(digest_of($derive)), $digest, "worker terminated, $memory: the session goes on");
		$session->quit;
	}
	nothing_left("worker terminated, $memory");
}

is(join("\n", grep { /WARNING: .*leak|TRAP:|PANIC:/ } split(/\n/, slurp_file($node->logfile))), '', 'the server complains of nothing');

# To a user: the crash of a worker is one of the server, which recovers as from any other.
{
	my ($session, $pid) = endless('eikon_run_etl', '64kB');
	my $position = -s $node->logfile;

	# one that has just ended by itself can't be killed, but there are always more
	wait_until(sub {
		my $worker = eval { $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE leader_pid = $pid AND backend_type = 'parallel worker' LIMIT 1") } // '';

		kill('KILL', $worker) if $worker ne '';
		return slurp_file($node->logfile, $position) =~ /was terminated by signal 9/;
	}) or die 'no worker was killed';
	eval { $session->quit };
	ok($node->poll_query_until('postgres', 'SELECT true'), 'worker killed: the server is back');
	nothing_left('worker killed');
}

$node->stop;
done_testing();
