#!/bin/bash
#
# start.sh [SERVICE...]: the image's entry point. It checks what it was given, makes or
# upgrades the database, and then becomes s6-svscan, which keeps the services going.
# Without SERVICE all of them:
#
#	postgres	PostgreSQL, at PGPORT
#	postgrest	PostgREST, at a socket in /run/postgrest
#	gateway		nginx, at PORT
#
#	EIKON_PASSWORD		of the user postgres; without one, psql gets in from inside only
#	EIKON_SCHEDULE		when to run, as cron says it ("*/15 * * * *", GMT); empty: never
#	EIKON_LOAD		no: do not load the files of /data at first start
#	EIKON_ANONYMOUS		no: nobody gets in by HTTP without a token
#	EIKON_JWT_SECRET	the key of tokens: 32 characters or more, a JSON Web Key, or a set
#				of them; without one, a key is made in the volume
#	PORT, PGPORT		5000 and 5432
#	PGRST_...		PostgREST's own settings, which count more than ours
#
# and where PostgreSQL and PostgREST are containers of their own:
#
#	EIKON_DATABASE_HOST	where PostgREST finds PostgreSQL; database
#	EIKON_AUTHENTICATOR_PASSWORD	what it logs in with; without one, postgres makes one
#				and the key of tokens in /var/lib/eikon_features/keys
#
# What is secret can be in a file instead: EIKON_PASSWORD_FILE and so on.
#
# A cluster takes its place in the volume once it is complete: what an interrupted or
# failed first start left is thrown away by the next one. Nobody can reach the server
# that makes or upgrades the database.
set -euo pipefail
umask 077
# shellcheck source=deploy/container/lib.sh
. /usr/share/eikon_features/container/lib.sh

new=$volume/db.new
setup=

# Sets services.
choose_services() {
    local service
    services=${*:-postgres postgrest gateway}
    for service in $services; do
        case $service in
            postgres | postgrest | gateway) ;;
            *) die "no service is called \"$service\": postgres, postgrest or gateway" ;;
        esac
    done
}

has() {
    [[ " $services " == *" $1 "* ]]
}

# --- What was given

yes_or_no() {
    case $2 in
        yes | no) ;;
        *) die "$1 is yes or no, not \"$2\"" ;;
    esac
}

# secret NAME: prints what the environment's NAME is, or what is in the file of NAME_FILE;
# nothing where neither is given, or the file is /dev/null.
secret() {
    local file=$1_FILE
    file=${!file:-}
    if [ -z "$file" ]; then
        printf '%s' "${!1:-}"
        return
    fi
    [ -z "${!1:-}" ] || die "both $1 and $1_FILE are given: give one"
    [ -r "$file" ] || die "$(id -un) ($(id -u)) cannot read $1_FILE: $file"
    [ ! -f "$file" ] || [ -s "$file" ] || die "$1_FILE is empty: $file"
    cat "$file"
}

take_secrets() {
    password=$(secret EIKON_PASSWORD)
    authenticator_password=$(secret EIKON_AUTHENTICATOR_PASSWORD)
    jwt_secret=$(secret EIKON_JWT_SECRET)
    [ -z "$jwt_secret" ] || require_key EIKON_JWT_SECRET "$jwt_secret"
    unset EIKON_PASSWORD EIKON_AUTHENTICATOR_PASSWORD EIKON_JWT_SECRET
    unset EIKON_PASSWORD_FILE EIKON_AUTHENTICATOR_PASSWORD_FILE EIKON_JWT_SECRET_FILE
}

check_settings() {
    export PORT=${PORT:-5000}
    load=${EIKON_LOAD:-yes}
    anonymous=${EIKON_ANONYMOUS:-yes}
    yes_or_no EIKON_LOAD "$load"
    yes_or_no EIKON_ANONYMOUS "$anonymous"
    usable_port "$PORT" || die "PORT is a number from 1024 to 65535, not \"$PORT\""
    usable_port "$db_port" || die "PGPORT is a number from 1024 to 65535, not \"$db_port\""
}

# --- Where it works

require_user() {
    [ "$(id -u)" = "$(id -u postgres)" ] ||
        die "it runs as the user postgres ($(id -u postgres)), not as $(id -u): leave out what says otherwise (--user)"
}

# What this container has left when it was killed goes. Of its pids PostgreSQL would take
# any process that has one now for another server at the same socket.
make_runtime() {
    { mkdir -p "$runtime" "$sockets" /var/run/postgresql && find "$runtime" -mindepth 1 -delete && mkdir "$runtime/services" &&
        rm -f "/var/run/postgresql/.s.PGSQL.$db_port.lock"; } 2>/dev/null ||
        die "$(id -un) ($(id -u)) cannot write to $runtime: a read-only container takes --tmpfs /run:mode=1777 --tmpfs /tmp"
}

require_free_port() {
    ! port_in_use "$2" || die "port $2 is taken by another program: set $1 to another"
}

# The volume may be in use by another container, in which pids mean other processes. The
# lock is this container's as long as it runs.
take_volume() {
    local major
    major=$(postgres --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    { [ -O "$volume" ] && [ -w "$volume" ]; } ||
        die "$volume must belong to $(id -un) ($(id -u)): it belongs to $(stat -c '%U (%u)' "$volume")"
    chmod 700 "$volume"
    exec 9>"$volume/lock"
    flock -n 9 || die "another container uses this volume"
    if [ -f "$db/PG_VERSION" ] && [ "$(cat "$db/PG_VERSION")" != "$major" ]; then
        die "the database in $volume is PostgreSQL $(cat "$db/PG_VERSION")'s, and this is PostgreSQL $major:
dump it with the image that made it (pg_dump eikon), and restore the dump into a new volume"
    fi
    [ ! -d "$db" ] || [ -f "$db/PG_VERSION" ] || rmdir "$db" 2>/dev/null ||
        die "what is in $db is no database: restore the volume, or move that away to begin anew"
    rm -f "$db/postmaster.pid"
}

require_input() {
    local file found=
    { [ -d "$input" ] && [ -r "$input" ] && [ -x "$input" ]; } ||
        die "$(id -un) ($(id -u)) cannot read the directory $input: see what is mounted there, and its permissions"
    [ ! -f "$db/PG_VERSION" ] && [ "$load" = yes ] || return 0
    for file in "$input"/*; do
        [ -f "$file" ] || continue
        [ -r "$file" ] || die "$(id -un) ($(id -u)) cannot read $file: see its permissions"
        found=yes
    done
    [ -n "$found" ] ||
        die "there are no files in $input: mount the directory that has them (-v \"\$PWD/data:/data:ro\"), or set EIKON_LOAD=no to load none now"
}

# --- The database

interrupted() {
    log 'stopped before the start was complete; the next one begins it again' >&2
    exit 0
}

stop_setup() {
    [ -z "$setup" ] || [ ! -f "$setup/postmaster.pid" ] || pg_ctl stop -s -w -m fast -D "$setup" || true
}

# Runs a program that a signal is not kept waiting by.
patiently() {
    "$@" &
    wait $!
}

server_conf() {
    cat <<CONF
# Written at every start of the container; changes are lost. ALTER SYSTEM's are not.
listen_addresses = '$1'
port = $db_port
unix_socket_directories = '/var/run/postgresql'
cluster_name = 'eikon_features'
log_line_prefix = '%m [%p] %b '
jit = off
shared_preload_libraries = 'pg_cron, eikon_features'
cron.database_name = 'eikon'
cron.host = '/var/run/postgresql'
eikon_features.data_directory = '$input'
CONF
}

# make_key FILE COMMAND...: where there is none. Another container sees it once it is complete.
make_key() {
    [ -s "$keys/$1" ] || { "${@:2}" >"$keys/$1.new" && mv "$keys/$1.new" "$keys/$1"; }
}

# Keys of our own making, where none is given.
make_keys() {
    if [ -n "$jwt_secret" ]; then
        rm -f "$keys/jwt.jwk"
    else
        mkdir -p "$keys"
        make_key jwt.jwk jose jwk gen -i '{"alg":"HS256"}' -o -
    fi
    ln -sfn "$keys/jwt.jwk" "$volume/jwt.jwk"
    has postgrest || [ -n "$authenticator_password" ] || {
        make_key authenticator_password sh -c 'head -c 24 /dev/urandom | base64'
        authenticator_password=$(cat "$keys/authenticator_password")
    }
}

init_cluster() {
    rm -rf "$new"
    patiently initdb -D "$new" -U postgres -E UTF8 --no-locale --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    say "include '../server.conf'" >>"$new/postgresql.conf"
    say 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
}

# sql DATABASE: the script on stdin, on the server that only sets up, whatever its users
# have set for sessions
sql() {
    PGOPTIONS='-c default_transaction_read_only=off -c statement_timeout=0' psql -X -q -At -v ON_ERROR_STOP=1 -h "$runtime" -U postgres -d "$1" -o /dev/null || return 1
}

# No worker takes up what is submitted before the server is everyone's.
start_setup() {
    setup=$1
    patiently pg_ctl start -s -w -t 3600 -D "$setup" -l "$runtime/setup.log" \
        -o "-c listen_addresses= -c unix_socket_directories=$runtime -c max_worker_processes=0" ||
        { cat "$runtime/setup.log"; die 'PostgreSQL did not start'; }
}

create_database() {
    sql postgres <<'SQL'
SELECT 'CREATE DATABASE eikon' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'eikon') \gexec
SQL
}

create_extensions() {
    sql eikon <<'SQL' || die "the extensions in $volume cannot be brought to the versions of this image, see above: use the image that was there before, or a newer one"
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pg_cron;
CREATE EXTENSION IF NOT EXISTS eikon_api CASCADE;
ALTER EXTENSION pg_cron UPDATE;
ALTER EXTENSION eikon_features UPDATE;
ALTER EXTENSION eikon_api UPDATE;
COMMIT;
SQL
}

# Passwords are what the environment says, or there are none.
set_passwords() {
    PASSWORD=$password AUTHENTICATOR_PASSWORD=$authenticator_password sql postgres <<'SQL'
\getenv password PASSWORD
\getenv authenticator_password AUTHENTICATOR_PASSWORD
SET client_min_messages = warning;
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
ALTER ROLE postgres PASSWORD :'password';
ALTER ROLE authenticator PASSWORD :'authenticator_password';
SQL
}

set_schedule() {
    SCHEDULE=${EIKON_SCHEDULE:-} sql eikon <<'SQL' || die "EIKON_SCHEDULE is five fields as cron has them, such as \"*/15 * * * *\", not \"${EIKON_SCHEDULE:-}\""
\getenv schedule SCHEDULE
SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = 'eikon_features' AND :'schedule' = '';
SELECT cron.schedule('eikon_features', :'schedule', 'SELECT eikon_submit_etl(skip_unchanged => true)') WHERE :'schedule' <> '';
SQL
}

# It begins when the server is up, and is begun again where that is stopped meanwhile.
submit_first_run() {
    log "the files of $input will be loaded"
    sql eikon <<'SQL'
SET client_min_messages = error;
SELECT eikon_submit_etl();
SQL
}

prepare_database() {
    local listen='' place=$db
    make_keys
    [ -z "$password$authenticator_password" ] || listen='*'
    server_conf "$listen" >"$volume/server.conf"
    [ -z "$listen" ] || require_free_port PGPORT "$db_port"
    if [ ! -f "$db/PG_VERSION" ]; then
        log 'making the database'
        place=$new
        init_cluster
    fi
    start_setup "$place"
    create_database
    create_extensions
    set_passwords
    set_schedule
    [ "$place" = "$db" ] || [ "$load" = no ] || submit_first_run
    stop_setup
    [ "$place" = "$db" ] || mv "$new" "$db"
}

# --- PostgREST and the gateway

# Of a container of its own: what that of PostgreSQL has made.
find_keys() {
    local tries=100
    until [ -n "$jwt_secret" ] || [ -s "$keys/jwt.jwk" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "there is no key of tokens: give EIKON_JWT_SECRET, or mount at $keys what is there in the container of PostgreSQL"
        sleep 0.1
    done
    [ -n "$authenticator_password" ] || [ ! -s "$keys/authenticator_password" ] ||
        authenticator_password=$(cat "$keys/authenticator_password")
}

prepare_postgrest() {
    local own=$runtime/postgrest
    mkdir "$own"
    cp /etc/eikon_features/postgrest.conf "$own/postgrest.conf"
    [ "$anonymous" = yes ] || sed -i '/^db-anon-role/d' "$own/postgrest.conf"
    if has postgres; then
        export PGRST_DB_URI=${PGRST_DB_URI:-"postgresql://authenticator@/eikon?host=/var/run/postgresql&port=$db_port"}
    else
        find_keys
        authenticator_password=${authenticator_password//\\/\\\\}
        say "*:*:*:authenticator:${authenticator_password//:/\\:}" >"$own/pgpass"
        export PGRST_DB_URI=${PGRST_DB_URI:-"postgresql://authenticator@${EIKON_DATABASE_HOST:-database}:$db_port/eikon?passfile=$own/pgpass"}
    fi
    if [ -n "$jwt_secret" ]; then
        printf '%s' "$jwt_secret" >"$own/jwt.key"
        export PGRST_JWT_SECRET=@$own/jwt.key
    else
        export PGRST_JWT_SECRET=${PGRST_JWT_SECRET:-"@$keys/jwt.jwk"}
    fi
    export PGRST_SERVER_UNIX_SOCKET=$sockets/postgrest.sock
    export PGRST_OPENAPI_SERVER_PROXY_URI=${PGRST_OPENAPI_SERVER_PROXY_URI:-http://127.0.0.1:$PORT}
}

# Checks of health that find nothing wrong are not logged: there is one every few seconds.
# shellcheck disable=SC2016 # nginx's
prepare_gateway() {
    local own=$runtime/gateway
    require_free_port PORT "$PORT"
    mkdir -p "$own/tmp"
    sed -e 's,^error_log .*,error_log stderr;,' \
        -e 's,access_log .*,access_log /dev/stdout combined if=$eikon_logged;,' "$share/nginx.conf" >"$own/nginx.conf"
    gateway_conf /etc/eikon_features/gateway.conf "$sockets/postgrest.sock" "$PORT" "$share/web" >"$own/gateway.conf"
    say 'map "$status $remote_addr $request_uri" $eikon_logged { default 1; "~^(?:200|401) 127\.0\.0\.1 /health$" 0; }' >>"$own/gateway.conf"
}

# --- s6

# As links, since nothing may be executed in what --tmpfs makes.
link_services() {
    local service
    for service in $services; do
        cp -Rs "$share/container/services/$service" "$runtime/services/"
        ln -s "$share/container/finish" "$runtime/services/$service/"
    done
    cp -Rs "$share/container/s6" "$runtime/services/.s6-svscan"
}

main() {
    trap interrupted INT TERM
    trap stop_setup EXIT
    choose_services "$@"
    check_settings
    require_user
    take_secrets
    make_runtime
    if has postgres; then
        require_input
        take_volume
        prepare_database
    fi
    ! has postgrest || prepare_postgrest
    if has gateway; then
        prepare_gateway
        ! has postgres || say "http://127.0.0.1:$PORT" >"$volume/url"
    fi
    link_services
    log "starting $services"
    trap - EXIT
    exec s6-svscan "$runtime/services"
}

main "$@"
