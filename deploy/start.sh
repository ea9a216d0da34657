#!/bin/bash
#
# start.sh STATE INPUT: the part of run.sh that runs as the server's user and
# from the copy of the sources in STATE/source. Under STATE:
#
#	source	the copy		prefix	PostgreSQL with the extension, as DESTDIR
#	bin	-> its programs		db	the database cluster
#	built	what was built		server.conf, server.log, build.log, password
#
# http.sh has the rest.
set -euo pipefail
umask 077
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

state=$1
input=$2
source=$state/source
bin=$state/bin
db=$state/db
web_port=${PORT:-5000}
first_port=54330
last_port=54399
rebuilt=no
failed=no

# fail_with_log LOG MESSAGE
fail_with_log() {
    say "--- the end of $1:"
    tail -n 30 "$1" || true
    say '---'
    die "$2"
}

# Changes whenever the extension or the PostgreSQL beneath it does.
build_stamp() {
    local version
    version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$source/eikon_features.control")
    {
        # without the scripts that a build in the checkout leaves
        (cd "$source" && find Makefile ./*.control src sql web/result.html -type f \
            ! -name "eikon_features--$version.sql" ! -name "eikon_api--$version.sql" -print0 |
            sort -z | xargs -0 sha256sum)
        "$PG_CONFIG"
        sha256sum "$("$PG_CONFIG" --bindir)/postgres"
        say "${OPTFLAGS:-}"
    } | sha256sum
}

build() {
    local jobs
    jobs=$(nproc)
    rm -rf "$state/prefix.new"
    bash "$source/deploy/prefix.sh" "$state/prefix.new" &&
        make -C "$source" -j "$jobs" PG_CONFIG="$PG_CONFIG" with_llvm=no all &&
        make -C "$source" PG_CONFIG="$PG_CONFIG" with_llvm=no install DESTDIR="$state/prefix.new"
}

build_if_changed() {
    local stamp
    stamp=$(build_stamp)
    [ "$(cat "$state/built" 2>/dev/null)" != "$stamp" ] || [ ! -x "$bin/postgres" ] || return 0
    say "Building for $("$PG_CONFIG" --version)"
    build >"$state/build.log" 2>&1 || fail_with_log "$state/build.log" 'the build failed'
    stop_server
    rm -rf "$state/prefix"
    mv "$state/prefix.new" "$state/prefix"
    ln -sfn "$state/prefix$("$PG_CONFIG" --bindir)" "$bin"
    say "$stamp" >"$state/built"
    rebuilt=yes
}

running() {
    postmaster_pid "$db" >/dev/null
}

stop_server() {
    ! running || "$bin/pg_ctl" stop -s -w -t 60 -m fast -D "$db"
}

# A cluster of another major version is put aside: everything in it is derived.
init_cluster() {
    local major old
    major=$("$bin/pg_config" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    old=$(cat "$db/PG_VERSION" 2>/dev/null) || old=
    if [ -n "$old" ] && [ "$old" != "$major" ]; then
        say "The database is PostgreSQL $old's: put aside as $db-$old, a new one is made"
        stop_server
        rm -rf "$db-$old"
        mv "$db" "$db-$old"
        old=
    fi
    [ -z "$old" ] || return 0

    rm -rf "$db.new"
    head -c 18 /dev/urandom | base64 >"$state/password"
    # The socket is in a directory that only we can enter, TCP is everyone's.
    "$bin/initdb" -D "$db.new" -U postgres -E UTF8 --no-locale \
        --auth-local=trust --auth-host=scram-sha-256 --pwfile="$state/password" >"$state/initdb.log" 2>&1 ||
        fail_with_log "$state/initdb.log" 'initdb failed'
    say "include '../server.conf'" >>"$db.new/postgresql.conf"
    mv "$db.new" "$db"
}

# Prints the port: the one asked for, or the one there was, or the first free one.
choose_port() {
    local port current saved
    saved=$(sed -n 's/^port = //p' "$state/server.conf" 2>/dev/null) || saved=
    usable_port "$saved" || saved=
    current=
    ! running || current=$saved
    if [ -n "${DB_PORT:-}" ]; then
        usable_port "$DB_PORT" || die "DB_PORT must be a number from 1024 to 65535, not \"$DB_PORT\""
        [ "$DB_PORT" = "$current" ] || ! port_in_use "$DB_PORT" || die "port $DB_PORT is taken: set DB_PORT to another"
        say "$DB_PORT"
        return
    fi
    for port in $current $saved $(seq $first_port $last_port); do
        if [ "$port" = "$current" ] || ! port_in_use "$port"; then
            say "$port"
            return
        fi
    done
    die "no free port from $first_port to $last_port: set DB_PORT"
}

server_conf() {
    cat <<CONF
# Written by make run; changes are lost. ALTER SYSTEM's are not.
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$state'
unix_socket_permissions = 0700
cluster_name = 'eikon_features'
log_line_prefix = '%m [%p] %b '
shared_preload_libraries = 'eikon_features'
eikon_features.data_directory = '${input//\'/\'\'}'
CONF
}

# Nobody runs on the cluster once this returns. What a killed server left takes
# a moment to end; its lock files may name a process that is none of ours.
clear_leftovers() {
    local tries=100
    while [ -n "$(find /proc -maxdepth 2 -name cwd -lname "$db" 2>/dev/null)" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || die "processes of an earlier server still use $db"
        sleep 0.1
    done
    rm -f "$db/postmaster.pid" "$state"/.s.PGSQL.*
}

# Before anything else is done: whether the HTTP API can have its port.
require_web_port() {
    usable_port "$web_port" || die "PORT must be a number from 1024 to 65535, not \"$web_port\""
    if pid_in "$state/http/nginx.pid" "$state/http" >/dev/null &&
        [ "$(cat "$state/url" 2>/dev/null)" = "http://127.0.0.1:$web_port" ]; then
        return
    fi
    ! port_in_use "$web_port" || die "port $web_port is taken by another program: set PORT to another, as in PORT=5001 make run"
}

start_http() {
    bash "$source/deploy/http.sh" start "$state" "$web_port"
}

start_server() {
    port=$(choose_port)
    server_conf >"$state/server.conf.new"
    if running && [ $rebuilt = no ] && cmp -s "$state/server.conf.new" "$state/server.conf"; then
        return
    fi
    stop_server
    clear_leftovers
    mv "$state/server.conf.new" "$state/server.conf"
    [ ! -f "$state/server.log" ] || mv "$state/server.log" "$state/server.log.1"
    # The server must not keep the lock.
    # Neither must it keep the key of tokens.
    env -u EIKON_JWT_SECRET -u EIKON_JWT_SECRET_FILE "$bin/pg_ctl" start -s -w -t 60 -D "$db" -l "$state/server.log" 9<&- ||
        fail_with_log "$state/server.log" 'PostgreSQL did not start'
}

# sql DATABASE PSQL-OPTION...
sql() {
    local database=$1
    shift
    "$bin/psql" -X -q -v ON_ERROR_STOP=1 -P pager=off -h "$state" -p "$port" -U postgres -d "$database" "$@"
}

create_database() {
    [ "$(sql postgres -Atc "SELECT count(*) FROM pg_database WHERE datname = 'eikon'")" = 1 ] ||
        sql postgres -c 'CREATE DATABASE eikon'
}

# Whether there is a script that upgrades the extension to that version.
upgradable() {
    [ "$(sql eikon -At -v name="$1" -v new="$2" <<'SQL'
SELECT count(p.path)
FROM pg_extension e, pg_extension_update_paths(e.extname) p
WHERE e.extname = :'name' AND p.source = e.extversion AND p.target = :'new'
SQL
    )" = 1 ]
}

# The installed objects follow the install scripts: by upgrade scripts where there
# are, else anew, since everything in this database can be derived again.
create_extensions() {
    local scripts version installed
    version=$(sql eikon -Atc "SELECT default_version FROM pg_available_extensions WHERE name = 'eikon_features'")
    scripts=$version-$(cd "$source" && cat sql/eikon_features.sql sql/eikon_api.sql sql/options.txt sql/generate.awk web/result.html | sha256sum)
    installed=$(sql eikon -Atc "SELECT count(*) FROM pg_extension WHERE extname IN ('eikon_features', 'eikon_api')")
    if [ "$installed" = 2 ] && [ "$scripts" = "$(cat "$state/script" 2>/dev/null)" ]; then
        return
    elif [ "$installed" = 2 ] && upgradable eikon_features "$version" && upgradable eikon_api "$version"; then
        say "Upgrading the extensions to $version"
        sql eikon -1 -c 'ALTER EXTENSION eikon_features UPDATE' -c 'ALTER EXTENSION eikon_api UPDATE'
    else
        [ "$installed" = 0 ] || say 'The install scripts have changed: the extensions are created anew, without the earlier runs'
        sql eikon -1 -c 'SET client_min_messages = warning' \
            -c 'DROP EXTENSION IF EXISTS eikon_features CASCADE' -c 'CREATE EXTENSION eikon_api CASCADE'
    fi
    say "$scripts" >"$state/script"
}

# A run that is going on, one that a crash has cut off for instance, is waited for.
show_features() {
    sql eikon <<'SQL'
\pset footer off
\echo
CALL eikon_etl(timeout => '5 min');
SELECT run_id, status, users_loaded, experiments_loaded, compounds_loaded,
       rows_inserted, rows_updated, rows_deleted, rows_unchanged
FROM eikon_runs WHERE is_current;
SELECT user_id, name, signup_date, total_experiments AS experiments,
       round(experiments_pct::numeric, 4) AS share,
       round(avg_experiment_run_time::numeric, 2) AS avg_run_time,
       most_common_compound_name AS most_common_compound,
       most_common_compound_count AS count,
       most_common_compound_ids AS tied_ids
FROM features ORDER BY user_id LIMIT 20;
\pset format unaligned
\pset tuples_only on
SELECT format(E'The first 20 of %s users.\n', count(*)) FROM features HAVING count(*) > 20;
SQL
}

say_how_to_go_on() {
    local psql=$bin/psql changed='SELECT * FROM eikon_run_etl();' stop='make stop'
    ! command -v psql >/dev/null || psql=psql
    [ -z "${EIKON_STATE_DIR:-}" ] || stop="EIKON_STATE_DIR=$state make stop"
    case $input in
        "$state"/*) changed="make run, which copies data/ to it" ;;
    esac
    cat <<TEXT
Connect   $psql -h $state -p $port -U postgres eikon
          (as $(id -un)${EIKON_ROOT:+ or root}), or from anywhere on this machine by TCP to
          127.0.0.1:$port, with the password in $state/password
Input     $input
          After a change: $changed
Logs      $state/server.log, $state/http/
Stop      $stop
Open      http://127.0.0.1:$web_port/
TEXT
}

main() {
    require_web_port
    build_if_changed
    init_cluster
    start_server
    create_database
    create_extensions
    show_features || failed=yes
    start_http
    say_how_to_go_on
    [ $failed = no ] || die 'the features could not be derived: see the error above, mend the files and run make run again'
}

main
