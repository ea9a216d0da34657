#!/usr/bin/perl
#
# generate.pl [DIRECTORY]: writes the fixtures of test/sql, beneath the directory
# in which it lies unless told otherwise. Its output is committed; README.md says
# what each directory shows. Needs nothing but perl.
use strict;
use warnings;
use utf8;

use Encode qw(encode);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use IO::Compress::Gzip qw(gzip $GzipError);

my $top = @ARGV ? $ARGV[0] : dirname(__FILE__);

# --- Writing

# Writes bytes.
sub put
{
	my ($path, $bytes) = @_;
	make_path(dirname("$top/$path"));
	open(my $file, '>:raw', "$top/$path") or die "$path: $!";
	print $file $bytes;
	close($file) or die "$path: $!";
	return;
}

sub utf8
{
	return encode('UTF-8', $_[0]);
}

sub gzipped
{
	my ($bytes) = @_;
	gzip(\$bytes => \my $out, -Minimal => 1) or die $GzipError;
	return $out;
}

# A Zstandard frame of raw blocks: header with a content size of four bytes.
sub zstd
{
	my ($bytes) = @_;
	my $block = pack('V', length($bytes) << 3 | 1);
	return pack('VCV', 0xFD2FB528, 0xA0, length $bytes) . substr($block, 0, 3) . $bytes;
}

# --- One logical data set in many shapes

my %header = (
	users => [qw(user_id name email signup_date)],
	compounds => [qw(compound_id compound_name compound_structure)],
	user_experiments => [qw(experiment_id user_id experiment_compound_ids experiment_run_time)]);

# Nothing in it needs a quote. Lists are arrays, so that each shape can choose
# their separator.
my %plain = (
	users => [
		[ 1, 'Amara Okafor', 'amara@lab.example', '2022-11-03' ],
		[ 2, 'Bruno Costa', 'bruno@lab.example', '2022-11-17' ],
		[ 3, "Niamh O'Neil", 'niamh@lab.example', '2023-01-09' ],
		[ 4, 'Zoë Müller', 'zoe@lab.example', '2023-02-28' ],
		[ 5, 'Chen 晨', 'chen@lab.example', '2023-05-05' ],
		[ 6, 'Elif Şahin', 'elif@lab.example', '2023-06-30' ],
		[ 7, 'Farid Haddad', 'farid@lab.example', '2023-08-15' ],
		[ 8, 'Greta Lind', 'greta@lab.example', '2023-10-01' ],
		[ 9, 'Hana Sato', 'hana@lab.example', '2024-02-29' ],
		[ 10, 'Ivo Horvat', 'ivo@lab.example', '2024-03-01' ],
	],
	compounds => [
		[ 1, 'Caffeine', 'C8H10N4O2' ],
		[ 2, 'Aspirin', 'C9H8O4' ],
		[ 3, 'Glucose', 'C6H12O6' ],
	],
	user_experiments => [
		[ 101, 1, [ 1, 2 ], '12.5' ],
		[ 102, 1, [ 2, 3 ], '17.5' ],
		[ 103, 2, [ 1, 3 ], '20' ],
		[ 104, 3, [ 2, 3 ], '25.25' ],
		[ 105, 4, [ 1, 2, 3 ], '30' ],
		[ 106, 5, [ 3, 2 ], '0.5' ],
		[ 107, 6, [ 1, 3 ], '1e2' ],
		[ 108, 7, [ 2, 3 ], '45' ],
		[ 109, 8, [ 2, 1 ], '50' ],
		[ 110, 9, [ 2, 3 ], '55' ],
		[ 111, 10, [ 1, 3 ], '60.125' ],
	]);

# Every special character stands in some value.
my %rich = (
	users => [
		[ 1, 'Okafor, Amara', 'amara@lab.example', '2022-11-03' ],
		[ 2, 'Bruno "Bru" Costa', 'bruno@lab.example', '2022-11-17' ],
		[ 3, "Niamh O'Neil; PhD | MSc", 'niamh@lab.example', '2023-01-09' ],
		[ 4, "Zoë\nMüller", 'zoe@lab.example', '2023-02-28' ],
		[ 5, "Chen\t晨 😀", 'chen@lab.example', '2023-05-05' ],
		[ 6, 'Elif\Şahin', 'elif@lab.example', '2023-06-30' ],
	],
	compounds => [
		[ 1, '1,2-dichloroethane', 'C2H4Cl2' ],
		[ 2, "5'-AMP", 'C10H14N5O7P' ],
		[ 3, '"so-called"', 'C6H12O6' ],
		[ 4, "line 1\n\nline 3", 'a;b' ],
		[ 5, 'one \ two', "''" ],
		[ 6, 'x', 'x' ],
	],
	user_experiments => [ map { [ 100 + $_, $_, [ $_, 7 - $_, $_ ], "$_.5" ] } 1 .. 6 ]);

# A value as it stands in the file.
sub field
{
	my ($value, $o) = @_;
	$value = join($o->{list}, @$value) if ref $value;
	my $quote = $o->{quote};
	my $wanted =
	    $o->{when} eq 'all' ? 1
	  : $o->{when} eq 'texts' ? $value !~ /^[0-9.]+$/
	  : $o->{when} eq 'needed' ? $value =~ /[\Q$o->{delimiter}$quote\E\r\n]/
	  :                           0;
	return $o->{pad} . $value . $o->{pad_after} unless $wanted;
	if ($o->{escape} eq 'doubled') { $value =~ s/\Q$quote\E/$quote$quote/g; }
	else                           { $value =~ s/([\\$quote])/\\$1/g; }
	return $o->{pad} . $quote . $o->{inside} . $value . $quote . $o->{pad_after};
}

# The text of a file.
sub text
{
	my ($header, $rows, $o) = @_;
	my @newlines = @{ $o->{newlines} };
	my $text = $o->{before};
	my $n = 0;
	for my $row ($header, @$rows)
	{
		my $first = field($row->[0], { %$o, pad => $o->{pad_first}, inside => '', when => $o->{when_first} // $o->{when} });
		my $line = join($o->{delimiter}, $first, map { field($_, $o) } @$row[ 1 .. $#$row ]);
		$line .= $o->{trailing} if $n > 0 || $o->{trailing_header};
		$text .= $line . $newlines[ $n++ % @newlines ];
		$text .= $o->{between};
	}
	$text =~ s/[\r\n]+\z// unless $o->{last_newline};
	return $text;
}

my %defaults = (
	delimiter => ',', quote => '"', when => 'needed', escape => 'doubled',
	list => ';', newlines => ["\n"], last_newline => 1,
	pad => '', pad_first => '', pad_after => '', inside => '',
	before => '', between => '', trailing => '', trailing_header => 0,
	ext => 'csv', encoding => 'UTF-8', bom => '');

# shape DIRECTORY SET OPTION => VALUE...: writes the three files. Options whose
# value is a hash differ by kind.
sub shape
{
	my ($dir, $set, %options) = @_;
	for my $kind (sort keys %header)
	{
		my %o = (%defaults, map { $_ => ref $options{$_} eq 'HASH' ? $options{$_}{$kind} // $defaults{$_} : $options{$_} } keys %options);
		my $text = text($o{header} // $header{$kind}, $o{rows} // $set->{$kind}, \%o);
		put("$dir/$kind.$o{ext}", encode($o{encoding}, $o{bom} . $text));
	}
	return;
}

my $crlf = ["\r\n"];
my $bom = "\x{FEFF}";

# The shapes in which the files of the original challenge go about.
shape('shapes/plain', \%plain);
shape('shapes/comma_tab', \%plain, pad => "\t", last_newline => 0, before => { users => "\n" });
shape('shapes/quoted_crlf', \%plain, when => { users => 'texts', compounds => 'texts', user_experiments => 'none' }, newlines => $crlf, last_newline => 0);
shape('shapes/quoted_all', \%plain, when => 'all', newlines => $crlf);
shape('shapes/quoted_tab', \%plain, when => { users => 'texts', compounds => 'texts', user_experiments => 'all' }, newlines => $crlf,
	when_first => { user_experiments => 'none' }, inside => { user_experiments => "\t" });
shape('shapes/comma_tab_crlf', \%plain, pad => "\t", newlines => $crlf);

# Delimiters, quotes, escapes.
shape('shapes/semicolon', \%plain, delimiter => ';', list => ',');
shape('shapes/semicolon_quoted_list', \%plain, delimiter => ';');
shape('shapes/tab', \%plain, delimiter => "\t", ext => 'tsv');
shape('shapes/pipe', \%plain, delimiter => '|', ext => 'txt');
shape('shapes/comma_quoted_list', \%plain, list => ',');
shape('shapes/list_of_blanks', \%plain, list => ' ');
shape('shapes/list_of_bars', \%plain, list => '|');
shape('shapes/single_quotes', \%plain, quote => "'", when => 'all');
shape('shapes/tab_in_single_quotes', \%plain, quote => "'", when => 'all', inside => "\t");
shape('shapes/sep_line', \%plain, delimiter => ';', before => "sep=;\r\n", newlines => $crlf);

# Line ends and encodings.
shape('shapes/cr', \%plain, newlines => ["\r"]);
shape('shapes/cr_unended', \%plain, newlines => ["\r"], last_newline => 0);
shape('shapes/mixed_newlines', \%plain, newlines => [ "\n", "\r\n", "\r" ]);
shape('shapes/utf8_bom', \%plain, bom => $bom, newlines => $crlf);
shape('shapes/utf16le', \%plain, encoding => 'UTF-16LE', bom => $bom, delimiter => "\t", newlines => $crlf, ext => 'txt');
shape('shapes/utf16be', \%plain, encoding => 'UTF-16BE', bom => $bom);

# What stands around the records and the values.
shape('shapes/utf8_bom_quoted', \%plain, bom => $bom, when => 'all');
shape('shapes/preamble_with_quotes', \%plain, before => qq{"Export, not closed\nNiamh's 5" list;\n});
shape('shapes/preamble', \%plain, before => "Export of the lab notebook\nLab: 7, floor: 2\n\n");
shape('shapes/blank_lines', \%plain, before => "\n \n\t\n", between => "\n  \t\n");
shape('shapes/rows_of_delimiters', \%plain, between => ",,,\n");
shape('shapes/trailing_delimiters', \%plain, trailing => ',,', trailing_header => 1);
shape('shapes/trailing_delimiter_of_rows', \%plain, trailing => ',');
shape('shapes/padded', \%plain, pad => "  \t", pad_first => ' ', pad_after => ' ');
shape('shapes/padded_quotes', \%plain, pad => "  \t", pad_first => ' ', pad_after => ' ', when => 'all');

# Columns in another order, in capitals, with blanks, and more of them.
sub rearranged
{
	my ($kind, $row) = @_;
	return [ 'z', $row->[3], $row->[1], '', $row->[0], $row->[2] ] if $kind ne 'compounds';
	return [ 'z', $row->[2], $row->[1], '', $row->[0] ];
}
shape('shapes/rearranged', \%plain,
	header => { map { $_ => [ 'zone', map { $_ eq '' ? 'comment' : ' ' . uc($_) . ' ' } @{ rearranged($_, $header{$_}) }[ 1 .. ($_ eq 'compounds' ? 4 : 5) ] ] } keys %header },
	rows => { map { my $kind = $_; $kind => [ map { rearranged($kind, $_) } @{ $plain{$kind} } ] } keys %header });

# The second data set, in the shapes that can hold it.
shape('shapes/rich', \%rich);
shape('shapes/rich_quoted_all', \%rich, when => 'all');
shape('shapes/rich_crlf', \%rich, newlines => $crlf, last_newline => 0);
shape('shapes/rich_backslash', \%rich, when => 'all', escape => 'backslash');
shape('shapes/rich_single_quotes', \%rich, quote => "'", when => 'all');
shape('shapes/rich_single_quotes_backslash', \%rich, quote => "'", when => 'all', escape => 'backslash');
shape('shapes/rich_semicolon', \%rich, delimiter => ';', list => '|');
shape('shapes/rich_tab', \%rich, delimiter => "\t", ext => 'tsv');
shape('shapes/rich_pipe', \%rich, delimiter => '|', ext => 'txt', bom => $bom);
shape('shapes/rich_utf16', \%rich, encoding => 'UTF-16LE', bom => $bom, newlines => $crlf);
shape('shapes/rich_padded', \%rich, pad => ' ', pad_after => "\t");

# A small source, of which the fixtures below replace what they are about.

my %small = (
	users => "user_id,name,email,signup_date\n1,Ann,ann\@x.example,2024-01-01\n2,Bob,bob\@x.example,2024-01-02\n",
	compounds => "compound_id,compound_name,compound_structure\n1,Water,H2O\n2,Salt,NaCl\n",
	user_experiments => "experiment_id,user_id,experiment_compound_ids,experiment_run_time\n1,1,1;2,10\n2,2,2,20\n");
my %no_rows = map { $_ => join(',', @{ $header{$_} }) . "\n" } keys %header;

# source DIRECTORY FILE => BYTES...: the small source with other files in place
# of its own of that kind; undef leaves a kind out.
sub source
{
	my ($dir, %files) = @_;
	for my $kind (keys %small)
	{
		put("$dir/$kind.csv", $small{$kind})
		  unless exists $files{$kind} || grep { /^\Q$kind\E[._-]/ } keys %files;
	}
	for my $name (keys %files)
	{
		next unless defined $files{$name};
		put($small{$name} ? "$dir/$name.csv" : "$dir/$name", $files{$name});
	}
	return;
}

# Quotes that are no quotes: a file that quotes nothing may have them in its texts,
# though not at the beginning of one.
my %stray = (
	users => [ [ 1, '5" Ann', '', '2024-01-01' ], [ 2, 'Bob"', 'bob@lab.example', '' ], [ 3, "'t Hooft", '', '' ] ],
	compounds => [ [ 1, '2" pipe', 'd"' ], [ 2, 'so-called "acid" (old)', '' ], [ 3, 'end"', "3'" ] ],
	user_experiments => [ map { [ $_, $_, [$_], $_ ] } 1 .. 3 ]);
shape('shapes/stray', \%stray);
shape('shapes/stray_unquoted', \%stray, when => 'none');
shape('shapes/stray_unquoted_tab', \%stray, when => 'none', delimiter => "\t", ext => 'tsv');

# Longer than the block that is read at a time, and than the sample a dialect is
# found from. What is in it can be computed from the numbers.
my $many = 5000;
source('shapes/long',
	'users.csv.gz' => gzipped(join("\r\n", $no_rows{users} =~ s/\n//r,
		map { qq{$_,"User $_, ""the $_""\nof $many",user$_\@lab.example,2024-01-01} } 1 .. $many)),
	'user_experiments.csv.gz' => gzipped(join("\r\n", $no_rows{user_experiments} =~ s/\n//r,
		map { my ($user, $a, $b) = ($_ % $many + 1, $_ % 7 + 1, $_ % 11 + 1); "$_,$user,$a;$b," . $_ / 4 } 1 .. 3 * $many)));

# --- Small sources, of which one file is the point

source('small');

# Compressed: detected by the first bytes, whatever the name says.
my %plain_text = map { $_ => utf8(text($header{$_}, $plain{$_}, \%defaults)) } keys %header;
sub compressed
{
	my ($dir, $ext, $sub) = @_;
	source($dir, map { ("$_.$ext" => $sub->($plain_text{$_})) } keys %plain_text);
	return;
}
my $users_gz = gzipped($plain_text{users});
my $users_zst = zstd($plain_text{users});
compressed('compressed/gz', 'csv.gz', \&gzipped);
compressed('compressed/zst', 'csv.zst', \&zstd);
compressed('compressed/misnamed', 'csv', \&gzipped);
compressed('compressed/plain_named_gz', 'csv.gz', sub { $_[0] });
compressed('compressed/gz_members', 'csv.gz', sub { join('', map { gzipped($_) } unpack('(a37)*', $_[0]), '') });
compressed('compressed/zst_frames', 'csv.zst', sub { join("\x50\x2A\x4D\x18\x03\0\0\0xyz", map { zstd($_) } unpack('(a37)*', $_[0])) });
compressed('compressed/utf16_gz', 'csv.gz', sub { my $t = Encode::decode('UTF-8', $_[0]); gzipped(encode('UTF-16LE', $bom . $t)) });
source('compressed/gz_cut', 'users.csv.gz' => substr($users_gz, 0, length($users_gz) - 30));
source('compressed/gz_without_sum', 'users.csv.gz' => substr($users_gz, 0, length($users_gz) - 8));
source('compressed/gz_wrong_sum', 'users.csv.gz' => substr($users_gz, 0, length($users_gz) - 8) . 'CRC!' . substr($users_gz, -4));
compressed('compressed/gz_padded', 'csv.gz', sub { gzipped($_[0]) . "\0" x 500 });
source('compressed/gz_then_garbage', 'users.csv.gz' => $users_gz . "garbage\n");
source('compressed/gz_second_cut', 'users.csv.gz' => $users_gz . substr($users_gz, 0, 100));
source('compressed/zst_cut', 'users.csv.zst' => substr($users_zst, 0, length($users_zst) - 30));
source('compressed/zst_corrupt', 'users.csv.zst' => substr($users_zst, 0, 9) . "\xFF\xFF\xFF" . substr($users_zst, 12));
source('compressed/bomb', 'users.csv.gz' => gzipped($no_rows{users} . "1,Ann,,\n" x 200_000));
source('compressed/gz_of_nothing', 'users.csv.gz' => gzipped(''));

# Parts: name order is byte order ("-" before "." before "_"), and each file has
# a header and a dialect of its own. The user 1 stands in all of them.
source('parts',
	'users-a.txt' => "sep=|\nsignup_date|email|name|user_id\n2024-01-01||first|1\n2024-01-02|a\@x.example|Ann|2\n",
	'users.csv' => "user_id,name,email,signup_date\r\n1,second,,\r\n3,\"Bob, Jr\",bob\@x.example,2024-01-03\r\n",
	'users.tsv.gz' => gzipped("name\tuser_id\tsignup_date\temail\nthird\t1\t\t\nCleo\t4\t2024-01-04\tcleo\@x.example\n"),
	'users_2024-01-31.csv' => utf8("${bom}user_id;name;email;signup_date;team\n1;fourth;;;\n5;Zoë;zoe\@x.example;2024-01-05;blue\n"),
	'Users_B.CSV' => encode('UTF-16LE', "${bom}user_id,name,email,signup_date\r\n6,Dan,dan\@x.example,2024-01-06\r\n"),
	'user_experiments.1.csv' => $small{user_experiments},
	'user_experiments.2.csv' => "user_id,experiment_id,experiment_run_time,experiment_compound_ids\n3,3,30,\"1,1\"\n6,4,,\n",
	'user_experiments.3.csv' => $no_rows{user_experiments},
	'users2.csv' => "not a part: nothing separates the digit\n",
	'users.csv.bak' => "not a part: unknown extension\n",
	'users_old.csv.bz2' => "not a part: unknown compression\n",
	'old_users.csv' => "not a part: does not begin with the kind\n",
	'users.gz' => "not a part: no extension before .gz\n");
put('parts/users', "not a part: no extension\n");

# --- What cannot be taken: one source per reason

source('rejects/cast', user_experiments => $no_rows{user_experiments} . "1,1,1;2,10\n2,2,2,soon\n3,2,1,30\n");
source('rejects/missing_columns', users => $no_rows{users} . "1,Ann,ann\@x.example,2024-01-01\n2,Bob\n");
source('rejects/too_many_columns', compounds => $no_rows{compounds} . "1,Water,H2O\n2,1,2-dichloroethane,C2H4Cl2\n");
source('rejects/unquoted_value', users => $no_rows{users} . qq{1,"Ann","ann\@x.example",2024-01-01\n2,"Bob "the rod" B","bob\@x.example",2024-01-02\n});
source('rejects/unterminated_quote', users => $no_rows{users} . qq{1,"Ann","ann\@x.example",2024-01-01\n2,"Bob","bob\@x.example",2024-01-02\n3,"Cleo,cleo\@x.example,2024-01-03\n4,Dan,dan\@x.example,2024-01-04\n});
source('rejects/line_size', users => $no_rows{users} . "1,Ann,ann\@x.example,2024-01-01\n2," . 'Bob ' x 300 . ",bob\@x.example,2024-01-02\n");
source('rejects/invalid_encoding', users => $no_rows{users} . "1,Ann,ann\@x.example,2024-01-01\n2,Ren\xE9,rene\@x.example,2024-01-02\n");
source('rejects/duplicate_user', users => $small{users} . "+1,Ann again,ann\@x.example,2024-01-03\n");
source('rejects/duplicate_compound', compounds => $small{compounds} . "2,Table salt,NaCl\n");
source('rejects/duplicate_experiment', user_experiments => $small{user_experiments} . "1,2,1,30\n");
source('rejects/unknown_user', user_experiments => $small{user_experiments} . "3,99,1,30\n");

# All of them in one source, good records between them. A record over several
# lines is the first one, so that every line number after it is put to the test.
source('rejects/mixed',
	users => $no_rows{users}
	  . qq{1,"Ann","ann\@x.example",2024-01-01\n}
	  . qq{2,"Bob\nthe second","bob\@x.example",2024-13-01\n}
	  . qq{x3,"Cleo","cleo\@x.example",2024-01-03\n}
	  . qq{\n}
	  . qq{4,"Dan"\n}
	  . qq{5,"Eve","eve\@x.example",2024-01-05,,\n}
	  . qq{6,"Fay","fay\@x.example",2024-01-06,more\n}
	  . qq{7,"Gus"s,"gus\@x.example",2024-01-07\n}
	  . qq{8,"H\xE9l\xE8ne","helene\@x.example",2024-01-08\n}
	  . qq{1,"Ann again","ann\@x.example",2024-01-09\n}
	  . qq{9,"Ida,ida\@x.example,2024-01-10\n}
	  . qq{10,"Jon","jon\@x.example",2024-01-11\n}
	  . qq{11,"} . 'Kim ' x 300 . qq{","kim\@x.example",2024-01-12\n}
	  . qq{12,"Lou","lou\@x.example",2024-01-13},
	compounds => $small{compounds} . "2,Table salt,NaCl\n,Nothing,\n",
	user_experiments => $small{user_experiments} . "1,1,1,30\n3,99,1,30\n4,5,1;two,30\n5,5,1,-30\n");

# Rejects whose text is too long to keep, or no text at all.
source('rejects/long', users => $no_rows{users}
	  . utf8('11,' . 'é' x 5000 . ",ann\@x.example,2024-01-01,more\n")
	  . 'x' x 300 . ",Bob,bob\@x.example,2024-01-02\n"
	  . utf8('x' . 'é' x 60) . ",Cleo,cleo\@x.example,2024-01-03\n");
source('rejects/bytes', users => $no_rows{users}
	  . "1,\x00nul,,\n2,\xC3,,\n3,\xC0\xAF,,\n4,\xED\xA0\x80,,\n5,\xF4\x90\x80\x80,,\n6,ok\x01\x7F,,\n7,a\\xFFb,,\n\x00\x01\x1B,x,,\n8,,,20\x7F24\n");
source('rejects/offsets_bom', users => "\xEF\xBB\xBF\n" . $no_rows{users} . "1,Ann,,\nx,Bob,,\n");
source('rejects/offsets_crlf', users => ($no_rows{users} . "1,Ann,,\nx,Bob,,\n") =~ s/\n/\r\n/gr);
source('rejects/offsets_cr', users => ($no_rows{users} . "1,Ann,,\nx,Bob,,\n") =~ s/\n/\r/gr);
source('rejects/in_parts', 'users.1.csv' => $no_rows{users} . "1,Ann,,\nx,Bob,,\n", 'users.2.csv' => $no_rows{users} . "2,Bob,,\ny,Cleo,,\n1,Ann,,\n");

# --- Files that are not as they should be

source('files/no_experiments', user_experiments => undef, 'notes.md' => "no such file yet\n");
source('files/none', (map { $_ => undef } keys %small), map { ("file$_.txt" => '') } 1 .. 12);
source('files/empty', users => '');
source('files/blank', users => "\n \t\n\n");
source('files/only_mark', users => "\xEF\xBB\xBF");
source('files/header_only', %no_rows);
source('files/header_unended', users => join(',', @{ $header{users} }), user_experiments => $no_rows{user_experiments});
source('files/no_experiment_rows', user_experiments => $no_rows{user_experiments});
source('files/no_compound_rows', compounds => $no_rows{compounds});
source('files/missing_column', users => "user_id,name,mail,signup_date\n1,Ann,ann\@x.example,2024-01-01\n");
source('files/repeated_column', users => "user_id,name,email,signup_date,Name\n1,Ann,ann\@x.example,2024-01-01,Ann\n");
source('files/repeated_other_column', users => "user_id,name,email,signup_date,note,note\n1,Ann,ann\@x.example,2024-01-01,a,b\n2,Bob,,,c,d\n");
source('files/no_header', users => "1,Ann,ann\@x.example,2024-01-01\n2,Bob,bob\@x.example,2024-01-02\n");
source('files/workbook', users => "PK\x03\x04\x14\0\x06\0 and so on");
source('files/utf16_unmarked', users => encode('UTF-16LE', $no_rows{users}));
source('files/other_names', 'users2.csv' => $no_rows{users}, 'Users (1).csv' => $no_rows{users}, 'users.xlsx' => "PK\x03\x04", 'users.csv.part' => 'x');
source('files/is_directory', 'users.csv/inside' => "a directory in place of a file\n");

# --- Values

sub numbered
{
	my ($header, @rows) = @_;
	return utf8(join('', map { "$_\n" } $header, @rows));
}

# The name says what the id is meant to show.
source('values/ids',
	users => numbered('user_id,name,email,signup_date',
		'9223372036854775807,largest,,', '-9223372036854775808,least,,', '-9223372036854775807,least but one,,', '0,zero,,', '-1,negative,,',
		'+2,plus sign,,', '0003,leading zeros,,', '  4	,blanks around,,', '"5",quoted,,', '" 6 ",blanks in quotes,,',
		'9223372036854775808,too large,,', '-9223372036854775809,too small,,', '99999999999999999999999999,far too large,,',
		'1.0,a fraction,,', '1e3,an exponent,,', '0x10,hexadecimal,,', '1 2,a blank inside,,', '--1,two signs,,', '+,a sign alone,,',
		'٣,another digit,,', '1_000,an underscore,,', ',empty,,', '" ",blank,,', '-0,zero again,,', '2,plus two again,,'),
	user_experiments => $no_rows{user_experiments});

# The user's id is the experiment's: what it shows is in the list.
my @lists = (
	'1;2;2', '"1,2,2"', '1|2|2', '1 2 2', '" 1 ; 2 ;; 2 ; "', '"1;2,2"', '', '" "', ';', '";;, |"', '2', '"2"', '+2;-2', '2;2;2;1;1;1',
	'9223372036854775807;-9223372036854775808', '1;x', '1;2.0', '1;9223372036854775808', '1;-', '[1;2]');
source('values/lists',
	users => numbered('user_id,name,email,signup_date', map { "$_,,," } 1 .. @lists),
	user_experiments => numbered('experiment_id,user_id,experiment_compound_ids,experiment_run_time', map { "$_,$_,$lists[$_ - 1],1" } 1 .. @lists));

my @times = (
	'10', '0', '-0', '0.1', '.5', '5.', '+7', '1e3', '1E-3', '1e+2', '" 8 "', '', '" "', '1.7976931348623157e308', '4.9e-324', '0e999', '0.1000000000000000055511151231257827',
	'-1', '-1e-320', '1.8e308', '1e400', '1e-400', 'inf', 'Infinity', 'nan', '1e', 'e5', '.', '1,5', '"1,5"', '0x10', '1 000', '12h', '١');
source('values/times',
	users => numbered('user_id,name,email,signup_date', map { "$_,,," } 1 .. @times),
	user_experiments => numbered('experiment_id,user_id,experiment_compound_ids,experiment_run_time', map { "$_,$_,1,$times[$_ - 1]" } 1 .. @times));

my @dates = (
	'2024-01-31', '20240131', '2024-02-29', '2000-02-29', '0001-01-01', '9999-12-31', '" 2024-01-31 "', '', '" "',
	'2024-01-31T23:59:59', '2024-01-31T23:59', '2024-01-31 23:59:59.999', '"2024-01-31T23:59:59,999"', '2024-01-31T23:59:59Z', '2024-01-31T23:59:59+05:30', '2024-01-31T00:00:00-08', '2024-01-31 01:02:03 +0100',
	'20240131T235959Z', '2024-01-31T24:00:00', '2024-01-31T23:59:60',
	'2023-02-29', '1900-02-29', '2024-04-31', '2024-13-01', '2024-00-10', '2024-01-00', '0000-01-01', '2024-01-31T25:00', '2024-01-31T23:60', '2024-01-31T24:00:01',
	'2024-1-31', '31.01.2024', '01/31/2024', '2024-01', '2024-0131', '24-01-31', '2024-W05-3', '2024-031', '2024-01-31T', '2024-01-31Tnoon', '2024-01-31T10:00+', 'yesterday', 'infinity', '2024-01-31 BC', '10000-01-01', '1706659200', '-2024-01-31');
source('values/dates',
	users => numbered('user_id,name,email,signup_date', map { "$_,,,$dates[$_ - 1]" } 1 .. @dates),
	user_experiments => $no_rows{user_experiments});

source('values/texts', users => utf8($no_rows{users}
	  . qq{1,  outer blanks  ,,\n2,"  inner blanks  ",,\n3,"",,\n4,,,\n5,"a ""b"" c",,\n6,"line 1\nline 2",,\n7,"comma, semicolon; tab\tbar|",,\n8,é ü 漢字 😀,,\n9,\\N,,\n10,NULL,,\n11,"x"  ,,\n12,"trailing newline\n",,\n}));

# --- Features

# users: the first has two of three compounds tied, the next one of them alone,
# the next none at all, then no experiment; then unknown compounds.
source('features',
	users => $no_rows{users} . "30,Cleo,cleo\@x.example,2024-03-01\n10,Ann,ann\@x.example,2024-01-01\n20,Bob,,\n40,,dan\@x.example,2024-04-01\n50,Eve,eve\@x.example,2024-05-01\n60,Fay,fay\@x.example,2024-06-01\n",
	compounds => $no_rows{compounds} . "3,Sugar,C12H22O11\n1,Water,H2O\n2,Salt,\n4,,CO2\n5,Never used,X\n",
	user_experiments => $no_rows{user_experiments}
	  . "1,10,3;1,10\n2,10,2;3,20\n3,10,1,\n4,20,2,7.5\n5,20,2;1,\n6,30,,\n7,30,;,5\n8,50,900;4;900,1\n9,50,4;-900,2\n10,50,1,4\n");

# Run times whose sum depends on the order in which a naive sum takes them.
my @sums = (
	[ ('0.1') x 10 ],
	[ '1e16', ('1') x 10 ],
	[ ('1') x 10, '1e16' ],
	[ '1', '1e100', '1', '1e-100' ],
	[ '1e-100', '1', '1e100', '1' ],
	[ '9007199254740992', '1', '1e-30' ],
	[ '1e-30', '1', '9007199254740992' ],
	[ '1e308', '7e307', '1e-308' ],
	[ '5e-324', '5e-324' ],
	[ '0', '0' ]);
my $id = 0;
source('sums',
	users => numbered('user_id,name,email,signup_date', map { "$_,,," } 1 .. @sums),
	user_experiments => numbered('experiment_id,user_id,experiment_compound_ids,experiment_run_time',
		map { my $user = $_; map { ++$id . ",$user,,$_" } @{ $sums[ $user - 1 ] } } 1 .. @sums));
source('sum_too_large', user_experiments => $no_rows{user_experiments} . "1,1,1,1e308\n2,1,1,1e308\n3,2,1,5\n");

# --- A source as it changes from one run to the next

source('store/1',
	users => $no_rows{users} . "1,Ann,ann\@x.example,2024-01-01\n2,Bob,bob\@x.example,2024-01-02\n3,Cleo,cleo\@x.example,2024-01-03\n4,Dan,dan\@x.example,2024-01-04\n",
	user_experiments => $no_rows{user_experiments} . "1,1,1,10\n2,2,2,20\n3,3,1,30\n4,4,2,40\n");
# the same in another order and shape
source('store/1_again',
	users => "signup_date;name;user_id;email\n2024-01-04;Dan;4;dan\@x.example\n2024-01-03;Cleo;3;cleo\@x.example\n2024-01-02;Bob;2;bob\@x.example\n2024-01-01;Ann;1;ann\@x.example\n",
	user_experiments => $no_rows{user_experiments} . "4,4,2,40.0\n3,3,1,3e1\n2,2,2,20\n1,1,1,10\n");
# Bob's run time and Water's formula differ, Cleo is gone, Dan has her address, Eve is new and has his
source('store/2',
	users => $no_rows{users} . "1,Ann,ann\@x.example,2024-01-01\n2,Bob,bob\@x.example,2024-01-02\n4,Dan,cleo\@x.example,2024-01-04\n5,Eve,dan\@x.example,2024-01-05\n",
	compounds => $no_rows{compounds} . "1,Water,HOH\n2,Salt,NaCl\n",
	user_experiments => $no_rows{user_experiments} . "1,1,1,10\n2,2,2,25\n4,4,2,40\n5,5,1;2,50\n");
# Ann and Bob have exchanged addresses
source('store/swapped',
	users => $no_rows{users} . "1,Ann,bob\@x.example,2024-01-01\n2,Bob,ann\@x.example,2024-01-02\n3,Cleo,cleo\@x.example,2024-01-03\n4,Dan,dan\@x.example,2024-01-04\n",
	user_experiments => $no_rows{user_experiments} . "1,1,1,10\n2,2,2,20\n3,3,1,30\n4,4,2,40\n");

# --- Files that need an option, for each option

sub converted
{
	my ($dir, $sub) = @_;
	source($dir, map { $_ => $sub->($small{$_}) } keys %small);
	return;
}
converted('options/delimiter', sub { $_[0] =~ tr/,/~/r });
converted('options/space', sub { $_[0] =~ tr/,/ /r });
converted('options/quote', sub { $_[0] =~ s/([^,\n]+)/^$1^/gr });
source('options/stray_quotes', users => $no_rows{users} . qq{1,"Ann,ann\@x.example,2024-01-01\n2,"Bob","bob\@x.example",2024-01-02\n});
source('options/escape', users => $no_rows{users} . qq{1,"Ann !"A!" and !!","ann\@x.example",2024-01-01\n2,"Bob","bob\@x.example",2024-01-02\n});
source('options/backslash_delimiter', users => $no_rows{users} . qq{1,Ann\\, Dr \\\\ \\n,ann\@x.example,2024-01-01\n2,Bob,bob\@x.example,2024-01-02\n});
source('options/latin1', users => $no_rows{users} . "1,Ren\xE9,rene\@x.example,2024-01-01\n2,\x80uro \x96,bob\@x.example,2024-01-02\n");
source('options/utf16', map { $_ => encode('UTF-16LE', $small{$_}) } keys %small);
source('options/null', users => $no_rows{users} . qq{1,NA,,NA\n2,na,"NA",2024-01-02\n}, user_experiments => $no_rows{user_experiments} . "1,1,NA,NA\n2,2,2,\n");
source('options/header', map { $_ => $small{$_} =~ s/^.*\n//r } keys %small);
source('options/skip', users => "user_id,name,email,signup_date\nabove: the columns we used to have\n" . $small{users},
	compounds => "\n\n$small{compounds}", user_experiments => "a \"line\n\n$small{user_experiments}");
source('options/padding', users => $no_rows{users} . qq{1, "  Ann  " ,  ann\@x.example  ,2024-01-01\n" 2 ",Bob	, " bob\@x.example " ," 2024-01-02 "\n});
source('options/keep', users => $no_rows{users} . qq{ 1 ,  Ann	,ann\@x.example , 2024-01-01\n2,"  Bob ","",\n});
source('options/newline', users => "user_id,name,email,signup_date\n1,Ann\rDr,ann\@x.example,2024-01-01\n2,Bob,bob\@x.example,2024-01-02\n");
source('options/newline_cr', map { $_ => $small{$_} =~ s/\n/\r/gr } keys %small);

# --- Files of others, for the preview

put('csv/foreign.csv', utf8(qq{Grüße;aus;Wien\r\n"a ""quoted"" one";2;3\r\n\r\n4;"5\r\n5";6\r\n}));
put('csv/one_column.txt', "apple\nbanana\n\ncherry\n");
put('csv/ragged.csv', "a,b,c\n1,2\n1,2,3,4\n,,\n1,2,3\n\n7,,\n");
put('csv/malformed.csv', qq{id,name\n"1","a"\n"2","b"x\n"3","c\xFFc"\n4,"d "d" d"\n"5","e\n"6","f"\n} . '7,' . 'g' x 1100 . qq{\n"8",\x00\n"9","h\n});
put('csv/empty.csv', '');
put('csv/nulls.csv', qq{a,"",NA\n,"NA",na\n});
put('csv/dialect.txt', qq{note\n1~^a~b^~ c ~!^d\n2~^^~~^ e!^ ^\n});
put('csv/latin1.csv', "caf\xE9,1\nna\xEFve,2\n");
put('csv/compressed.csv.gz', gzipped("a,b\n1,2\n"));
