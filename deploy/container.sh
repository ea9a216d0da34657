#!/bin/bash
#
# container.sh [POSTGRES-OPTION...]: the image's entry point. At first start it
# makes the database "eikon" in the volume and loads the files of /data; then,
# and at every later start, it becomes the server.
#
#	EIKON_PASSWORD		the password of the user postgres; without one the server
#	EIKON_PASSWORD_FILE	is reached from inside the container only
#
# The cluster takes its place in the volume once it is complete: what an
# interrupted or failed first start left is thrown away by the next one.
set -euo pipefail

volume=/var/lib/eikon_features
db=$volume/db
new=$volume/db.new
input=/data

say() {
    printf 'eikon_features: %s\n' "$*"
}

stop_new() {
    [ ! -f "$new/postmaster.pid" ] || pg_ctl stop -s -w -m fast -D "$new"
}

# sql PSQL-OPTION...: on the server that only makes the database.
sql() {
    psql -X -q -v ON_ERROR_STOP=1 -h "$new" -U postgres "$@"
}

init_cluster() {
    rm -rf "$new"
    initdb -D "$new" -U postgres -E UTF8 --no-locale --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    printf "include '../server.conf'\n" >>"$new/postgresql.conf"
    printf 'host all all all scram-sha-256\n' >>"$new/pg_hba.conf"
}

load_input() {
    if [ -z "$(find -L "$input" -type f -print -quit 2>/dev/null)" ]; then
        say "there are no files in $input: nothing is loaded"
        return
    fi
    say "loading the files of $input"
    sql -d eikon -c 'SELECT run_id, status, users_loaded, experiments_loaded, compounds_loaded, rows_inserted FROM eikon_run_etl()'
}

create_database() {
    pg_ctl start -s -w -D "$new" -l "$volume/first_start.log" -o "-c listen_addresses='' -c unix_socket_directories='$new'" ||
        { cat "$volume/first_start.log"; exit 1; }
    sql -d postgres -c 'CREATE DATABASE eikon'
    sql -d eikon -c 'CREATE EXTENSION eikon_features'
    load_input
    stop_new
    mv "$new" "$db"
}

# Without a password nobody could log in from outside, so nobody may try.
write_conf() {
    local listen=
    [ -z "$1" ] || listen='*'
    cat >"$volume/server.conf" <<CONF
listen_addresses = '$listen'
cluster_name = 'eikon_features'
shared_preload_libraries = 'eikon_features'
eikon_features.data_directory = '$input'
CONF
}

password() {
    if [ -n "${EIKON_PASSWORD_FILE:-}" ]; then
        cat "$EIKON_PASSWORD_FILE"
    else
        printf '%s' "${EIKON_PASSWORD:-}"
    fi
}

# The password is what the environment says, at every start. A server without
# connections (--single) sets it, so there is no time with another one.
set_password() {
    local quoted=${1//\'/\'\'}
    printf "ALTER ROLE postgres PASSWORD '%s'\n" "$quoted" |
        postgres --single -D "$db" -c listen_addresses='' postgres >/dev/null
}

main() {
    local secret
    umask 077
    [ -w "$volume" ] || { say "$volume is not writable by $(id -un) ($(id -u))"; exit 1; }
    secret=$(password)
    unset EIKON_PASSWORD
    write_conf "$secret"
    if [ ! -f "$db/PG_VERSION" ]; then
        trap stop_new EXIT
        trap 'exit 130' INT TERM
        init_cluster
        create_database
        trap - EXIT INT TERM
    fi
    [ -z "$secret" ] || set_password "$secret"
    exec postgres -D "$db" "$@"
}

main "$@"
