# shellcheck shell=bash disable=SC2034
# lib.sh: what the scripts of the image share: where things are, and ending what a
# killed process has left.

share=/usr/share/eikon_features
volume=/var/lib/eikon_features
db=$volume/db
keys=$volume/keys
input=/data
runtime=/run/eikon_features
sockets=/run/postgrest

db_port=${PGPORT:-5432}

# shellcheck source=deploy/lib.sh
. "$share/deploy/lib.sh"
export PGPORT=$db_port

# log WORDS: as all that starts and stops things here says it.
log() {
    say "eikon_features: $*"
}

# processes_in DIR: prints the pids of those whose current directory it is.
processes_in() {
    find /proc -maxdepth 2 -name cwd -lname "$1" 2>/dev/null | cut -d / -f 3
}

# Of nginx and PostgREST, what outlives the process that started it: nginx's workers do
# when it is killed, and both when that is s6-supervise.
end_leftovers() {
    local signal pids
    for signal in TERM KILL; do
        pids=$(processes_in "$1")
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086 # pids
        kill -s $signal $pids 2>/dev/null || true
        sleep 1
    done
}

# PostgreSQL's processes end by themselves, soon after the first of them is gone.
await_postgres_leftovers() {
    local tries=600
    ! postmaster_pid "$db" >/dev/null || pg_ctl stop -s -w -m fast -D "$db" || true
    while [ $tries -gt 0 ] && [ -n "$(processes_in "$db")" ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
}
