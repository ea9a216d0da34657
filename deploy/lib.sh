# shellcheck shell=bash
# lib.sh: what the scripts of deploy/ and test/ share. Sourced by bash, sets
# nothing but functions, except that it clears what would lead them astray: the
# caller's make flags and libpq variables.

unset MAKEFLAGS MFLAGS MAKELEVEL
unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGDATA
unset PGSERVICE PGSERVICEFILE PGOPTIONS PGAPPNAME PGCLIENTENCODING PGTZ PGSSLMODE
unset PGCHANNELBINDING PGTARGETSESSIONATTRS PGGSSENCMODE PGSYSCONFDIR

# PostgreSQL versions the extension is made for, in order of preference.
pg_majors='15 18 17 16'

say() {
    printf '%s\n' "$*"
}

die() {
    printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
    exit 1
}

# Whether this pg_config belongs to a PostgreSQL to build for and to run. Its
# server, makefiles and headers may come in packages of their own.
pg_config_complete() {
    [ -x "$("$1" --bindir 2>/dev/null)/postgres" ] && [ -f "$("$1" --pgxs)" ] &&
        [ -f "$("$1" --includedir-server)/postgres.h" ]
}

# Prints the pg_config to use: PG_CONFIG if set, else Debian's by version,
# else the first in PATH. Fails if there is none.
find_pg_config() {
    local major path
    if [ -n "${PG_CONFIG:-}" ]; then
        path=$(command -v "$PG_CONFIG") || return
        pg_config_complete "$path" && printf '%s\n' "$path"
        return
    fi
    for major in $pg_majors; do
        path=/usr/lib/postgresql/$major/bin/pg_config
        if pg_config_complete "$path"; then
            printf '%s\n' "$path"
            return
        fi
    done
    path=$(command -v pg_config) && pg_config_complete "$path" && printf '%s\n' "$path"
}

# Prints the major version of the PostgreSQL of PG_CONFIG, where it is one of Debian's packages.
packaged_major() {
    local dir
    dir=$("$PG_CONFIG" --bindir)
    [[ $dir =~ ^/usr/lib/postgresql/([0-9]+)/bin$ ]] && dpkg-query -S "$dir/postgres" >/dev/null 2>&1 &&
        printf '%s\n' "${BASH_REMATCH[1]}"
}

# PostgreSQL refuses to run as root: prints the user to run it as.
server_user() {
    if [ "$(id -u)" != 0 ]; then
        id -un
    elif id -u "${EIKON_OS_USER:-postgres}" >/dev/null 2>&1; then
        printf '%s\n' "${EIKON_OS_USER:-postgres}"
    else
        return 1
    fi
}

# Runs a command as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Runs a command as the server's user, in a directory which that user can enter.
as_server_user() {
    if [ "$(id -u)" != 0 ]; then
        (cd / && exec "$@")
    else
        (cd / && exec setpriv --reuid "$(server_user)" --regid "$(id -g "$(server_user)")" --init-groups \
            env HOME=/ USER="$(server_user)" LOGNAME="$(server_user)" "$@")
    fi
}

# Prints the top directory of the checkout that the running script belongs to.
checkout_dir() {
    realpath "$(dirname "$0")/.."
}

# Prints the names of the files that belong to the checkout, each ended by NUL:
# those git would take, or without git all but what a build leaves.
checkout_files() {
    cd "$1" || return
    if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
        git -c safe.directory='*' ls-files -z -co --exclude-standard | while IFS= read -r -d '' file; do
            [ ! -e "$file" ] && [ ! -L "$file" ] || printf '%s\0' "$file"
        done
    else
        find . \( -name .git -o -path ./dist \) -prune -o ! -type d ! -name '*.o' ! -name '*.bc' ! -name '*.so' -print0
    fi
}

# Not every TMPDIR is open to the tests' user.
make_work_dir() {
    as_server_user mktemp -d 2>/dev/null || as_server_user mktemp -d -p /tmp
}

# copy_checkout CHECKOUT DIR: makes DIR, the server's user's, with those files.
copy_checkout() {
    as_server_user mkdir "$2"
    checkout_files "$1" | tar -C "$1" --null -T - -cf - | as_server_user tar -C "$2" -xf -
}

# Prints the directory in which "make run" keeps everything; one per user and checkout.
state_dir() {
    local checkout=$1 hash
    if [ -n "${EIKON_STATE_DIR:-}" ]; then
        realpath -ms "$EIKON_STATE_DIR"
    else
        hash=$(printf '%s' "$checkout" | sha256sum | cut -c1-8)
        printf '/var/tmp/eikon_features-%s-%s\n' "$(id -u "$(server_user)")" "$hash"
    fi
}

# The directory must be what we made: a directory, not a link, ours, closed to others.
state_dir_is_private() {
    [ ! -L "$1" ] && [ -d "$1" ] && [ "$(stat -c '%u %a' "$1")" = "$(id -u "$(server_user)") 700" ]
}

# Only one of "make run" and "make stop" may be at work there. The lock is held
# through file descriptor 9 until the script and what it executes have ended.
lock_state_dir() {
    exec 9<"$1"
    flock -n 9 && return
    say "Waiting for another make run or make stop in $1"
    flock -w 600 9 || die "gave up waiting for $1"
}

# Prints the pid in the first line of a file. It may be another process's by now
# (after a reboot, say), so that process must also stand in the directory that
# ours does. (Root may not be allowed to see that of another user's process, in a
# container for one.)
pid_in() {
    local file=$1 directory=$2 pid
    pid=$(head -n 1 "$file" 2>/dev/null) || return
    [ -n "$pid" ] && [ "$(as_server_user readlink "/proc/$pid/cwd" 2>/dev/null)" = "$directory" ] &&
        printf '%s\n' "$pid"
}

# Prints the pid of the postmaster that runs on a data directory.
postmaster_pid() {
    pid_in "$1/postmaster.pid" "$1"
}

# Whether something listens on that port of this machine.
port_in_use() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Whether an unprivileged server can be asked for it.
usable_port() {
    case $1 in
        '' | *[!0-9]* | ??????*) return 1 ;;
    esac
    [ "$1" -ge 1024 ] && [ "$1" -le 65535 ]
}

# require_key NAME KEY: PostgREST takes any text as the key of tokens, and a short one can
# be guessed. Of "@" it would read a file. With a public key as the text of a secret,
# whoever has that key could sign.
require_key() {
    case $2 in
        @*) die "$1 must not begin with @" ;;
        *-----BEGIN*) die "$1 is in the format PEM: give it as a JSON Web Key" ;;
    esac
    [ ${#2} -ge 32 ] || die "$1 must be 32 characters or more, a JSON Web Key, or a set of them"
}

# gateway_conf FILE SOCKET LISTEN ROOT: prints gateway.conf with other places in its lines
# that end in #run.
gateway_conf() {
    sed -e "s,^\(\tserver \)unix:[^; ]*\(.*#run\)$,\1unix:$2\2," \
        -e "s,^\(\tlisten \)[^;]*\(.*#run\)$,\1$3\2," \
        -e "s,^\(\troot \)[^;]*\(.*#run\)$,\1$4\2," "$1"
}
