
# What the tests of the HTTP API share: a database server, PostgREST and the gateway,
# started by deploy/http.sh as "make run" does, on private sockets and a free port; and
# a real curl.
package EikonHttp;

use strict;
use warnings FATAL => 'all';

use Cwd qw(getcwd);
use EikonTest;
use IPC::Run qw(run);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

my @started;

# EikonHttp->start(NAME, source => DIRECTORY, conf => '...', environment => {...}): source
# is the default directory, environment what deploy/http.sh heeds.
sub start
{
	my ($class, $name, %params) = @_;
	my $self = bless { environment => $params{environment} // {} }, $class;
	my $node = $self->{node} = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'eikon_features'\nlog_parameter_max_length = 200");
	$node->append_conf('postgresql.conf', "eikon_features.data_directory = '$params{source}'")
	  if defined $params{source};
	$node->append_conf('postgresql.conf', $params{conf}) if defined $params{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE DATABASE eikon');
	$node->safe_psql('eikon', 'CREATE EXTENSION eikon_api CASCADE');

	# as "make run" leaves it, so that bin/eikon finds its way
	my $state = $self->{state} = PostgreSQL::Test::Utils::tempdir_short();
	chmod(0700, $state);
	append_to_file("$state/server.conf", 'port = ' . $node->port . "\n");
	symlink(getcwd(), "$state/source") or die "could not link: $!";
	chomp(my $bin = $node->config_data('--bindir'));
	symlink($bin, "$state/bin") or die "could not link: $!";
	symlink($node->logfile, "$state/server.log") or die "could not link: $!";
	symlink($node->host . '/.s.PGSQL.' . $node->port, "$state/.s.PGSQL." . $node->port)
	  or die "could not link: $!";
	$self->_take_packages;
	$self->{port} = PostgreSQL::Test::Cluster::get_free_port();
	push @started, $self;
	$self->start_http;
	$self->_keep_packages;
	return $self;
}

# What npm fetched for one test serves the next.
sub _take_packages
{
	my ($self) = @_;

	system_or_bail('cp', '-a', _packages(), "$self->{state}/npm") if -f _packages() . '/stamp';
	return;
}

sub _keep_packages
{
	my ($self) = @_;

	system_or_bail('cp', '-a', "$self->{state}/npm", _packages()) unless -e _packages();
	return;
}

sub _packages { return "$ENV{TESTDATADIR}/npm" }

sub _http_sh
{
	my ($self, @arguments) = @_;
	my $output = '';
	local %ENV = (
		%ENV,
		PGRST_DB_URI => 'postgresql://authenticator@/eikon?host=' . $self->{node}->host . '&port=' . $self->{node}->port,
		%{ $self->{environment} });

	run([ 'bash', 'deploy/http.sh', @arguments ], '>', \$output, '2>&1')
	  or die "deploy/http.sh @arguments: $output";
	return;
}

sub start_http
{
	my ($self, %environment) = @_;

	%{ $self->{environment} } = (%{ $self->{environment} }, %environment);
	$self->_http_sh('start', $self->{state}, $self->{port});
	return;
}

# What was given with start_http counts no longer.
sub start_http_without
{
	my ($self, @names) = @_;

	delete @{ $self->{environment} }{@names};
	return;
}

sub stop_http
{
	my ($self) = @_;

	$self->_http_sh('stop', $self->{state});
	return;
}

sub node { return $_[0]{node} }
sub state { return $_[0]{state} }
sub port { return $_[0]{port} }
sub url { return "http://127.0.0.1:$_[0]{port}" }

# How psql finds the database.
sub psql_env
{
	my ($self) = @_;

	return (PGHOST => $self->{node}->host, PGPORT => $self->{node}->port, PGDATABASE => 'eikon');
}

# The pid of 'nginx' or 'postgrest'.
sub pid
{
	my ($self, $name) = @_;

	return (split(/\s/, slurp_file("$self->{state}/http/$name.pid")))[0];
}

# A token for a role (undef: for none), by jose; expires is in seconds from now, key a file, header a
# JSON object and claims more claims.
sub token
{
	my ($self, $role, %params) = @_;
	my $key = $params{key} // "$self->{state}/jwt.jwk";
	my $claims = encode_json({ defined $role ? (role => $role) : (), exp => time() + ($params{expires} // 3600), %{ $params{claims} // {} } });
	my $token = '';

	run([ 'jose', 'jws', 'sig', '-I-', '-k', $key, '-c', '-s', $params{header} // '{"protected":{"alg":"HS256"}}' ],
		'<', \$claims, '>', \$token) or die 'jose could not sign';
	return $token;
}

# $stack->curl(PATH, ARGUMENT...): what a real curl gets: status, headers (by names in
# lower case), body, and json where it is that. ARGUMENTs are curl's; as => ROLE, given
# first, sends a token. 429 is waited out, as a client should, unless that is what is
# tested (eager => 1).
sub curl
{
	my ($self, $path, @arguments) = @_;
	my ($head, $body, $error) = ('', '', '');
	my ($role, $eager);
	my %reply = (headers => {});

	while (@arguments && $arguments[0] =~ /^(?:as|eager)$/)
	{
		my ($name, $value) = splice(@arguments, 0, 2);
		$role = $value if $name eq 'as';
		$eager = $value if $name eq 'eager';
	}
	push @arguments, '-H', 'Authorization: Bearer ' . $self->token($role) if defined $role;
	for (;;)
	{
		my $file = "$self->{state}/head.$$";

		unlink($file);
		$body = '';
		run([ 'curl', '-sS', '-g', '--path-as-is', '-m', 120, '-D', $file, @arguments, $self->url . $path ],
			'>', \$body, '2>', \$error);
		$head = -f $file ? slurp_file($file) : '';
		last if $eager || $head !~ m{\AHTTP/\S+ 429};
		usleep(200_000);
	}

	# of several heads ("100 Continue"), the last
	my @lines = split(/\r\n/, (split(/\r\n\r\n/, $head))[-1] // '');
	($reply{status}) = (shift(@lines) // '') =~ /^\S+ (\d+)/;
	$reply{status} //= 0;
	/^([^:]+):\s*(.*)$/ and $reply{headers}{ lc $1 } = $2 foreach @lines;
	$reply{body} = $body;
	$reply{error} = $error;
	$reply{json} = eval { decode_json($body) }
	  if ($reply{headers}{'content-type'} // '') =~ m{^application/(?:openapi\+)?json};
	return \%reply;
}

# The same with a JSON body.
sub post
{
	my ($self, $path, $json, @arguments) = @_;
	my @options = @arguments && $arguments[0] =~ /^(?:as|eager)$/ ? splice(@arguments, 0, 2) : ();

	return $self->curl($path, @options, '-H', 'Content-Type: application/json', '--data-binary',
		ref $json ? encode_json($json) : $json, @arguments);
}

# Waits until nothing is queued or going on.
sub settle
{
	my ($self) = @_;

	wait_until(
		sub {
			$self->{node}->safe_psql('eikon',
				"SELECT count(*) FROM eikon_runs WHERE status IN ('queued', 'running')") eq '0';
		}) or die 'runs do not end';
	return;
}

END
{
	my $status = $?;

	foreach my $stack (@started)
	{
		eval { $stack->_http_sh('stop', $stack->{state}) };
	}
	$? = $status;
}

1;
