# The container image, as its users run it: what it serves, what survives a restart, a
# killed process and a stop in the middle of a run, and what it says when it cannot start.
# It runs as root, with two scripts that build and run an image without an engine's daemon:
#
#	EIKON_IMAGE_TOOLS=DIR prove test/image.pl
#
# verify_dockerfile.sh DIR IMAGE builds one. run_image.sh IMAGE PROBE [OPTION...] starts a
# container, calls PROBE until it succeeds, calls the health check once and stops it.
use strict;
use warnings FATAL => 'all';

use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use IPC::Run qw(run);
use JSON::PP;
use Test::More;

my $tools = $ENV{EIKON_IMAGE_TOOLS} // die 'EIKON_IMAGE_TOOLS is not set';
my $image = 'localhost/eikon:test';
my $store = $ENV{WORK} // '/tmp/image-check';
my @podman = ('podman', '--root', "$store/storage", '--runroot', "$store/run",
	'--storage-driver', $ENV{DRIVER} // 'overlay');
my $http = 'http://127.0.0.1:5000';
my $work = tempdir('eikon-image-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $probes = 0;
my @volumes;

chmod(0755, $work);

# --- Containers

# A shell script that containers' probes are made of. What it prints is what tests see.
my $prelude = <<'SH';
set -u
inside() { podman $ST exec "$NAME" "$@"; }
sql() { inside psql -X -A -t -c "$1"; }
status() { curl -s -g -o /dev/null -m 8 -w '%{http_code}\n' "$@"; }
up() { [ "$(status http://127.0.0.1:5000/health)" = 200 ]; }
settled() { [ "$(sql "SELECT count(*) FROM eikon_runs WHERE status IN ('queued', 'running')")" = 0 ]; }
SH

# command(PROBE, OPTION...): to run a container for a probe. A COMMAND follows '--'.
sub command
{
	my ($probe, @options) = @_;
	my $file = "$work/probe" . $probes++;

	open(my $handle, '>', $file) or die "could not write: $!";
	print $handle $prelude, $probe, "\n";
	close($handle);
	return [ 'bash', "$tools/run_image.sh", $image, "bash $file", @options ];
}

# What became of it: whether the probe succeeded, its output, the health check's and the
# container's exit code, and its log.
sub outcome
{
	my ($text) = @_;
	my %outcome = (text => $text);

	($outcome{probe}, $outcome{output}) = $text =~ /^PROBE rc=(\d+) after \d+s: (.*?)(?=^HEALTHCHECK|^  log: |^EXIT CODE)/ms;
	($outcome{health}) = $text =~ /^HEALTHCHECK rc=(\d+)/m;
	($outcome{code}) = $text =~ /^EXIT CODE (\d+)/m;
	$outcome{log} = join("\n", $text =~ /^  log: (.*)$/mg);
	chomp($outcome{output} //= '');
	return \%outcome;
}

sub container
{
	my ($probe, @options) = @_;
	my $text = '';
	local %ENV = (%ENV, LOG_LINES => 500, STOP_S => 20, PROBE_S => $ENV{PROBE_S} // 40);

	run(command($probe, @options), '>', \$text, '2>&1');
	return outcome($text);
}

# The end of a text, where all is too much.
sub tail
{
	my @lines = split(/\n/, $_[0]);

	return join("\n", @lines > 40 ? @lines[ -40 .. -1 ] : @lines);
}

# One that did what it should, and ended well.
sub good
{
	my ($name, $probe, @options) = @_;
	my $outcome = container($probe, @options);

	is(join(' ', map { $_ // '?' } @{$outcome}{qw(probe health code)}), '0 0 0', "$name: probe, health check, exit code")
	  or diag(tail($outcome->{text}));
	return $outcome;
}

sub volume
{
	my $name = "eikon-test-$$-" . @volumes;

	push @volumes, $name;
	return $name;
}

# Changes a volume by a command of a container's.
sub change_volume
{
	my ($volume, $script) = @_;
	my $errors = '';

	run([ 'unshare', '-m', 'bash', '-c', 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', 'sh',
		@podman, 'run', '--rm', '--network', 'host', '--cgroups=disabled', '--ulimit', 'nofile=1024:1024',
		'--ulimit', 'nproc=4096:4096', '--entrypoint', 'bash', '-v', "$volume:/var/lib/eikon_features", $image, '-c', $script ],
		'2>', \$errors) or die "volume: $errors";
	return;
}

# A directory of files, from the sample.
sub files
{
	my $dir = tempdir('data-XXXXXX', DIR => $work);

	system('cp data/*.csv ' . $dir) == 0 or die 'cp';
	chmod(0755, $dir);
	return $dir;
}

sub write_file
{
	my ($file, $content) = @_;

	open(my $handle, '>', $file) or die "could not write $file: $!";
	print $handle $content;
	close($handle);
	chmod(0644, $file);
	return $file;
}

END
{
	my $status = $?;

	run([ @podman, 'volume', 'rm', '-f', $_ ], '>', '/dev/null', '2>&1') foreach @volumes;
	$? = $status;
}

# --- The image

my $built = '';
run([ 'bash', "$tools/verify_dockerfile.sh", getcwd(), $image ], '>', \$built, '2>&1')
  or BAIL_OUT("the image was not built: $built");
my ($size) = $built =~ /^localhost\/eikon:test (.*)$/m;
diag("the image has $size");
like($built, qr/^User=postgres /m, 'the image is that of an ordinary user');

# --- What it serves. Each row: what curl is given, and the status to expect.

my @requests = (
	[ '/', 200 ],
	[ '/ -H Accept:application/json', 200 ],
	[ '/index.js', 200 ],
	[ '/style.css', 200 ],
	[ '/favicon.ico', 200 ],
	[ '/docs/', 200 ],
	[ '/docs/swagger-ui.css', 200 ],
	[ '/docs/swagger-ui-bundle.js', 200 ],
	[ '/docs/swagger-ui-standalone-preset.js', 200 ],
	[ '/openapi.json', 200 ],
	[ '/gateway.json', 200 ],
	[ '/features?order=user_id', 200 ],
	[ '/etl_results', 200 ],
	[ '/derived_exp_data', 200 ],
	[ '/feature_derivation', 200 ],
	[ '/compounds', 200 ],
	[ '/runs', 200 ],
	[ '/rejects', 200 ],
	[ '/progress', 200 ],
	[ '/health', 200 ],
	[ '/features -X POST', 405 ],
	[ '/nothing', 404 ],
	[ '/etl-results', 200 ],
	[ '/check/table', 200 ],
	[ '/check/feature_derivation', 200 ],
	[ '/trigger_etl', 200 ],
	[ '/etl', 200 ],
	[ '/trigger-etl -H Accept:text/html', 200 ],
	[ '/experiments -H Content-Type:application/json -d {"path_to_data":"nowhere"}', 404 ],
	[ '/rpc/run_etl -X POST', 200 ],
	[ '/rpc/run_etl -d source=.', 401 ],
	[ '/uploads/users -T data/users.csv', 401 ],
	[ '/uploads/users -T data/users.csv -H @TOKEN', 201 ],
	[ '/uploads/user_experiments -T data/user_experiments.csv -H @TOKEN', 201 ],
	[ '/uploads/compounds -T data/compounds.csv -H @TOKEN', 201 ],
	[ '/uploads -H @TOKEN', 200 ],
	[ '/rpc/run_etl -X POST -H @TOKEN', 200 ],
	[ '/experiments -H Content-Type:application/json -d {"path_to_data":"."} -H @TOKEN', 200 ],
	[ '/rpc/submit_etl -X POST', 202 ]);
my $requests = join('', map {
		my ($path, @more) = split(/ /, $_->[0]);
		"echo \$(status '$http$path' " . join(' ', map { "'$_'" } map { s{\@TOKEN}{\@$work/token}r } @more) . ")\n"
	} @requests);

my $served = good('served', <<SH);
up && settled || exit
echo "Authorization: Bearer \$(inside eikon token)" >$work/token
chmod 644 $work/token
$requests
echo statuses
settled
echo "\$(curl -s '$http/features?select=user_id' | jq length) rows"
echo "uids: \$(inside bash -c 'stat -c %u /proc/[0-9]*' | sort -u | tr '\\n' ' ')"
inside bash -c 'command -v gcc cc make perl-doc; find /var/lib/apt/lists /var/cache/apt -type f 2>/dev/null; true'
echo "--"
(exec 3<>/dev/tcp/127.0.0.1/5432) 2>/dev/null && echo "5432 is open" || echo "5432 is closed"
inside eikon status --format csv
inside eikon runs --limit 1 --format csv
SH
my @lines = split(/\n/, $served->{output});
is(shift(@lines), $_->[1], "$_->[0]") foreach @requests;
is(shift(@lines), 'statuses', 'so much for paths');
is(shift(@lines), '10 rows', 'the files of data/ were loaded at first start');
is(shift(@lines), 'uids: 999 ', 'no process is root');
is(shift(@lines), '--', 'there are no compilers and no lists of packages');
is(shift(@lines), '5432 is closed', 'without a password, nobody reaches PostgreSQL by network');
my $told = join("\n", @lines);
like($told, qr/"postgresql","up"\n"postgrest","up"\n"gateway","up"/, 'eikon status inside');
like($told, qr/succeeded/, 'eikon runs inside');
like($served->{log}, qr/ETL run 1 of "\/data" succeeded: 10 users/, "PostgreSQL's log is the container's");
like($served->{log}, qr{"GET /features\?order=user_id HTTP/1.1" 200}, "so is nginx's");
unlike($served->{log}, qr{"GET /health HTTP/1.1" 200}, 'but for checks of health that find nothing wrong');
like($served->{log}, qr/Starting PostgREST 12/, "so is PostgREST's");
unlike($served->{log}, qr/WARNING|NOTICE/, 'it starts without complaints');

# --- What survives

my $kept = volume();
my @kept = ('-v', "$kept:/var/lib/eikon_features");
good('before', <<SH, @kept);
up && settled || exit
sql "CREATE TABLE mine AS SELECT 7 AS seven" >/dev/null
echo "Authorization: Bearer \$(inside eikon token)" >$work/token
[ "\$(status $http/rpc/run_etl -X POST)" = 200 ]
SH
my $after = good('after', <<SH, @kept);
up || exit
sql 'SELECT seven FROM mine'
sql "SELECT string_agg(run_id || ' ' || status, ', ' ORDER BY run_id) FROM eikon_runs"
curl -s $http/features?select=user_id | jq length
status $http/uploads -H \@$work/token
SH
is($after->{output}, "7\n1 succeeded, 2 succeeded\n10\n200", 'a restart with the volume has lost nothing, and loads nothing anew');

# One by one, whoever is there. A killed process of PostgreSQL makes it restart.
my $victims = "$work/victims";
my $killed = do
{
	local $ENV{PROBE_S} = 180;
	good('killed', <<SH, @kept);
processes() { inside bash -c 'for p in /proc/[0-9]*; do [ "\${p#/proc/}" -lt 2 ] || echo "\${p#/proc/} \$(tr "\\\\0" " " <\$p/cmdline)"; done 2>/dev/null' | grep -v -e 'bash -c' -e idle; }
pid_of() { processes | grep -F -- "\$1" | head -n 1 | cut -d ' ' -f 1; }
up || exit
[ -f $victims ] || processes | sed -e 's/^[0-9]* //' -e 's/ *\$//' | sort -u >$victims
next=\$(head -n 1 $victims)
[ -n "\$next" ] || { echo all are back; exit 0; }
pid=\$(pid_of "\$next")
[ -n "\$pid" ] || exit
inside bash -c "kill -KILL \$pid"
for i in \$(seq 60); do
    sleep 0.1
    new=\$(pid_of "\$next")
    if [ -n "\$new" ] && [ "\$new" != "\$pid" ] && up; then
        echo "\$next" >>$work/back
        sed -i 1d $victims
        break
    fi
done
exit 1
SH
};
is($killed->{output}, 'all are back', 'whatever is killed comes back');
my $back = -f "$work/back" ? do { local (@ARGV, $/) = "$work/back"; <> } : '';
like($back, qr/^\Q$_/m, "killed: $_")
  foreach 'nginx: master', 'nginx: worker', 'postgres -D', 'postgres: eikon_features: checkpointer',
  'postgres: eikon_features: eikon_features launcher', 'postgres: eikon_features: pg_cron launcher',
  'postgrest', 's6-supervise gateway', 's6-supervise postgres', 's6-supervise postgrest';

# A run that waits for a lock is in the middle of it.
good('stopped', <<SH, @kept);
up || exit
if [ ! -f $work/locked ]; then
    podman \$ST exec -d "\$NAME" psql -X -c 'BEGIN; LOCK TABLE eikon_user_features; SELECT pg_sleep(600)'
    touch $work/locked
    sleep 1
    status $http/rpc/submit_etl -X POST
fi
[ "\$(sql "SELECT status FROM eikon_runs ORDER BY run_id DESC LIMIT 1")" = running ]
SH
my $resumed = good('resumed', <<SH, @kept);
up && settled || exit
sql "SELECT run_id, status, attempts FROM eikon_runs ORDER BY run_id DESC LIMIT 1"
inside pg_dump -Fc >$work/dump || exit
sql "UPDATE pg_extension SET extversion = '99' WHERE extname = 'eikon_features'" >/dev/null
sql "ALTER SYSTEM SET default_transaction_read_only = on" >/dev/null
SH
is($resumed->{output}, '3|succeeded|2', 'a run that the stop has cut off is run again');

# As the README has it
my $restored = good('restored', <<SH, '-e', 'EIKON_LOAD=no');
up || exit
podman \$ST exec -i "\$NAME" pg_restore -e -d eikon <$work/dump 2>&1 || exit
sql 'SELECT seven FROM mine'
sql "SELECT string_agg(run_id || ' ' || status, ', ' ORDER BY run_id) FROM eikon_runs"
curl -s $http/features?select=user_id | jq length
status $http/rpc/run_etl -X POST
SH
is($restored->{output}, "7\n1 succeeded, 2 succeeded, 3 succeeded\n10\n200", 'a dump is restored into a new volume');

# --- What can be said

my $password = write_file("$work/password", "it's \\ secret: 7\n");
# of a container that was killed: init, which is there, would be the one that has the socket
my $stale = tempdir('stale-XXXXXX', DIR => $work);
write_file("$stale/.s.PGSQL.5433.lock", "1\n/var/lib/eikon_features/db\n");
system("chown -R 999:999 $stale") == 0 or die 'chown';
my $key = 'k' x 40;
my $set = good('settings', <<SH, '-v', "$password:/run/secrets/password:ro", '-e', 'EIKON_PASSWORD_FILE=/run/secrets/password',
export PGPASSWORD="it's \\\\ secret: 7"
b64() { openssl base64 -A | tr '+/' '-_' | tr -d =; }
[ "\$(status http://127.0.0.1:5001/health)" = 401 ] || exit
psql -X -A -t -h 127.0.0.1 -p 5433 -U postgres -d eikon -c 'SELECT count(*) FROM features, eikon_runs'
PGPASSWORD=wrong psql -X -h 127.0.0.1 -p 5433 -U postgres -d eikon -c 'SELECT 1' 2>&1 | grep -o 'password authentication failed'
claims=\$(printf '{"alg":"HS256"}' | b64).\$(printf '{"role":"eikon_reader"}' | b64)
token=\$claims.\$(printf %s "\$claims" | openssl dgst -sha256 -hmac $key -binary | b64)
echo "\$(status http://127.0.0.1:5001/features) \$(status http://127.0.0.1:5001/features -H "Authorization: Bearer \$token")"
inside bash -c 'tr "\\\\0" "\\n" </proc/1/environ | grep -c -e secret -e kkkk; ls /var/lib/eikon_features/keys'
inside psql -X -A -t -c 'SELECT schedule, command FROM cron.job'
sql "SELECT count(*) > 0 FROM eikon_runs WHERE skipped"
SH
	'-v', "$stale:/run/postgresql", '--read-only', '--tmpfs', '/run:mode=1777,noexec,notmpcopyup', '--tmpfs', '/tmp:noexec',
	'-e', "EIKON_JWT_SECRET=$key", '-e', 'EIKON_ANONYMOUS=no', '-e', 'EIKON_LOAD=no', '-e', 'PORT=5001', '-e', 'PGPORT=5433',
	'-e', 'EIKON_SCHEDULE=* * * * *');
is($set->{output}, "0\npassword authentication failed\n401 200\n0\n* * * * *|SELECT eikon_submit_etl(skip_unchanged => true)\nf",
	'password, key, no strangers, nothing loaded, ports and schedule, in a read-only container');

my $scheduled = do
{
	local $ENV{PROBE_S} = 90;
	good('scheduled', 'sql "SELECT status FROM eikon_runs" | grep .', '-e', 'EIKON_SCHEDULE=* * * * *', '-e', 'EIKON_LOAD=no');
};
like($scheduled->{output}, qr/^(?:queued|running|succeeded)$/, 'the schedule has begun a run');

# What is beside the files: what only root enters, a link to nowhere, one to itself.
my $mixed = files();
mkdir("$mixed/lost+found", 0700) && symlink('nowhere', "$mixed/old.csv") && symlink('.', "$mixed/self") or die "$mixed: $!";
write_file("$mixed/users.csv", "user_id,name,email,signup_date\n1,Alice,a\@example.com,yesterday\n");
my $failed = good('files with faults', <<SH, '-v', "$mixed:/data:ro");
up && settled || exit
curl -s '$http/runs?select=status,error_code,error_context'
SH
is($failed->{output}, '[{"status":"failed","error_code":"22007","error_context":"users.csv, line 2, column signup_date: \"yesterday\""}]',
	'files with faults: the server is up, and says what is wrong');
like($failed->{log}, qr/ETL run 1 of "\/data" failed after .*yesterday/, 'and so does the log');

# --- What it cannot start with

my $empty = tempdir('empty-XXXXXX', DIR => $work);
chmod(0755, $empty);
my $closed = files();
chmod(0700, $closed);
my $half = files();
chmod(0600, "$half/users.csv");
my $roots = tempdir('roots-XXXXXX', DIR => $work);
my $other = volume();
change_volume($other, 'mkdir /var/lib/eikon_features/db && echo 14 >/var/lib/eikon_features/db/PG_VERSION');
my $lost = volume();
change_volume($lost, 'mkdir /var/lib/eikon_features/db && echo 7 >/var/lib/eikon_features/db/part');
my $nothing = write_file("$work/nothing", '');
my $short = write_file("$work/short", "too short\n");
my $secret = write_file("$work/secret", 'x');
chmod(0600, $secret);

foreach my $case (
	[ 'no files', qr{there are no files in /data: mount the directory}, '-v', "$empty:/data:ro" ],
	[ 'a directory that it cannot read', qr{postgres \(999\) cannot read the directory /data}, '-v', "$closed:/data:ro" ],
	[ 'a file that it cannot read', qr{postgres \(999\) cannot read /data/users.csv}, '-v', "$half:/data:ro" ],
	[ 'a key that is too short', qr/EIKON_JWT_SECRET must be 32 characters or more/, '-e', 'EIKON_JWT_SECRET=short' ],
	[ 'a key in PEM', qr/EIKON_JWT_SECRET is in the format PEM: give it as a JSON Web Key/,
		'-e', "EIKON_JWT_SECRET=-----BEGIN PUBLIC KEY-----\n" . 'A' x 40 ],
	[ 'a key in a file that is too short', qr/EIKON_JWT_SECRET must be 32 characters or more/,
		'-v', "$short:/k:ro", '-e', 'EIKON_JWT_SECRET_FILE=/k' ],
	[ 'a secret in no file', qr{cannot read EIKON_PASSWORD_FILE: /nowhere}, '-e', 'EIKON_PASSWORD_FILE=/nowhere' ],
	[ 'a secret in a file that it cannot read', qr{cannot read EIKON_PASSWORD_FILE: /k}, '-v', "$secret:/k:ro", '-e', 'EIKON_PASSWORD_FILE=/k' ],
	[ 'a secret in an empty file', qr{EIKON_PASSWORD_FILE is empty: /k}, '-v', "$nothing:/k:ro", '-e', 'EIKON_PASSWORD_FILE=/k' ],
	[ 'a secret given twice', qr/both EIKON_PASSWORD and EIKON_PASSWORD_FILE are given/,
		'-v', "$short:/k:ro", '-e', 'EIKON_PASSWORD_FILE=/k', '-e', 'EIKON_PASSWORD=x' ],
	[ 'a schedule that is none', qr/EIKON_SCHEDULE is five fields as cron has them, .* not "often"/, '-e', 'EIKON_SCHEDULE=often' ],
	[ 'neither yes nor no', qr/EIKON_ANONYMOUS is yes or no, not "maybe"/, '-e', 'EIKON_ANONYMOUS=maybe' ],
	[ 'neither no nor yes', qr/EIKON_LOAD is yes or no, not "1"/, '-e', 'EIKON_LOAD=1' ],
	[ 'a port that is none', qr/PORT is a number from 1024 to 65535, not "http"/, '-e', 'PORT=http' ],
	[ 'a port of the database that is none', qr/PGPORT is a number from 1024 to 65535, not "99999"/, '-e', 'PGPORT=99999' ],
	[ 'a volume of another PostgreSQL', qr/is PostgreSQL 14's, and this is PostgreSQL 15:\ndump it/, '-v', "$other:/var/lib/eikon_features" ],
	[ 'a volume with half a database', qr{what is in /var/lib/eikon_features/db is no database: restore}, '-v', "$lost:/var/lib/eikon_features" ],
	[ 'a volume of a later version', qr{no update path from version "99" .*\nstart: the extensions in /var/lib/eikon_features cannot be}, @kept ],
	[ "a volume that is somebody else's", qr/must belong to postgres \(999\): it belongs to root \(0\)/, '-v', "$roots:/var/lib/eikon_features" ],
	[ 'no place to write to', qr{postgres \(999\) cannot write to /run/eikon_features: a read-only container takes},
		'--read-only', '--tmpfs', '/run:mode=755,notmpcopyup' ],
	[ "somebody else's user", qr/it runs as the user postgres \(999\), not as 1000/, '--user', '1000' ],
	[ 'a service that is none', qr/no service is called "apache"/, '--', 'apache' ],
	[ 'a database that cannot be reached', qr/there is no key of tokens: give EIKON_JWT_SECRET/, '--', 'postgrest' ])
{
	my ($name, $words, @options) = @$case;
	local $ENV{PROBE_S} = 90;
	my $outcome = container('false', @options);

	is($outcome->{code}, 1, "$name: it ends with 1") or diag(tail($outcome->{text}));
	like($outcome->{log}, $words, "$name: it says why");
	my $before = ($outcome->{log} =~ s/\Aeikon_features: making the database\n//r);
	like($before, qr/\A(?:psql: .*\n)?(?:ERROR: .*\n)?start: /, "$name: and nothing else") unless $name =~ /schedule/;
}

# --- More than one, on one machine

# Containers of one network name space: starts them one after the other, when the one
# before does its work, stops them in the order they began in, and says what became of each.
sub together
{
	my (@containers) = @_;
	my $script = '';

	foreach my $i (0 .. $#containers)
	{
		my ($probe, @options) = @{ $containers[$i] };
		my $command = command("if [ ! -f $work/ready$i ]; then { $probe\n} >$work/said$i || exit; touch $work/ready$i; fi\n"
			. "[ -f $work/over ] && cat $work/said$i", @options);

		unlink("$work/ready$i");
		$script .= join(' ', map { s/'/'\\''/gr =~ s/(.*)/'$1'/sr } @$command) . " >$work/outcome$i 2>&1 &\n"
		  . "for n in \$(seq 300); do [ -f $work/ready$i ] || grep -q '^EXIT CODE' $work/outcome$i && break; sleep 0.1; done\n";
	}
	unlink("$work/over");
	$script .= "touch $work/over\nwait\n";
	my $said = '';
	local %ENV = (%ENV, NETNS => 'host', LOG_LINES => 500, STOP_S => 20, PROBE_S => 60);
	run([ 'unshare', '-m', '-n', '--propagation', 'private', 'bash', '-c', "ip link set lo up\n$script" ], '>', \$said, '2>&1');
	return map { outcome(do { local (@ARGV, $/) = "$work/outcome$_"; <> }) } 0 .. $#containers;
}

my ($first, $second) = together([ 'up', '-v', volume() . ':/var/lib/eikon_features' ], ['false']);
is($first->{code}, 0, 'the one that has the port goes on');
is($second->{code}, 1, 'another one ends with 1');
like($second->{log}, qr/start: port 5000 is taken by another program: set PORT to another/, 'and says why');

my @shared = ('-v', volume() . ':/var/lib/eikon_features');
($first, $second) = together([ 'up', @shared ], [ 'false', @shared, '-e', 'PORT=5001' ]);
is($first->{code}, 0, 'the one that has the volume goes on');
is($second->{code}, 1, 'another one ends with 1');
like($second->{log}, qr/start: another container uses this volume/, 'and says why');

# --- compose.yaml: three containers, as it describes them

my $json = '';
run([ 'python3', '-c', 'import json, sys, yaml; json.dump(yaml.safe_load(open("compose.yaml")), sys.stdout)' ], '>', \$json)
  or die 'compose.yaml';
my $compose = decode_json($json);
my %compose_volumes = map { $_ => volume() } keys %{ $compose->{volumes} };

# As an engine reads what the environment does not say; one network for all.
sub service
{
	my ($name, $probe, @more) = @_;
	my $service = $compose->{services}{$name};
	my %environment = (%{ $service->{environment} // {} }, @more);
	my @options;

	s/\$\{\w+:-(.*?)\}/$1/g foreach values %environment;
	push @options, map { ('-e', "$_=$environment{$_}") } sort keys %environment;
	foreach my $volume (@{ $service->{volumes} })
	{
		my ($source, $rest) = $volume =~ /^(\$\{.*\}|[^:]*)(:.*)$/;

		$source =~ s/\$\{\w+:-(.*)\}/$1/;
		$source = $source =~ m{^\./(.*)} ? getcwd() . "/$1" : $compose_volumes{$source} // die "no volume $source";
		push @options, '-v', "$source$rest";
	}
	foreach my $secret (@{ $service->{secrets} // [] })
	{
		my $file = $compose->{secrets}{$secret}{file} =~ s/\$\{\w+:-(.*)\}/$1/r;

		push @options, '-v', "$file:/run/secrets/$secret:ro";
	}
	return [ $probe, @options, '--cap-drop', 'all', '--security-opt', 'no-new-privileges', '--', @{ $service->{command} } ];
}

my $healthy = 'inside /usr/share/eikon_features/container/health >/dev/null || exit';
my @three = together(
	service('database', "$healthy\necho \"Authorization: Bearer \$(inside eikon token)\" >$work/token"),
	service('postgrest', $healthy, EIKON_DATABASE_HOST => '127.0.0.1'),
	service('gateway', <<SH));
up || exit
status $http/uploads -H \@$work/token
curl -s $http/features?select=user_id | jq length
status $http/rpc/run_etl -X POST
SH
foreach my $i (0 .. 2)
{
	is(join(' ', map { $_ // '?' } @{ $three[$i] }{qw(probe code)}), '0 0', (qw(database postgrest gateway))[$i] . ': probe, exit code')
	  or diag(tail($three[$i]{text}));
}
is($three[2]{output}, "200\n10\n200", 'the three of them serve');

# A password that PostgreSQL does not take
my @wrong = together(
	service('database', $healthy),
	service('postgrest', $healthy, EIKON_DATABASE_HOST => '127.0.0.1', EIKON_AUTHENTICATOR_PASSWORD => 'wrong'));
is($wrong[1]{code}, 1, 'with a wrong password PostgREST ends with 1') or diag(tail($wrong[1]{text}));
like($wrong[1]{log}, qr/password authentication failed for user "authenticator".*postgrest has ended ten times within a minute/s, 'and says why');

done_testing();
