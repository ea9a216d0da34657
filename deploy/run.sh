#!/bin/bash
#
# run.sh (make run): a private PostgreSQL, PostgREST and nginx on loopback with the
# extension and the files of data/, from nothing. Run again, it rebuilds what has
# changed, restarts what it must, and loads the files anew.
#
#	PORT		where the HTTP API listens; 5000
#	EIKON_STATE_DIR	where to keep everything; /var/tmp/eikon_features-UID-HASH
#	DB_PORT		the server's TCP port; the first free one from 54330
#	PG_CONFIG	the PostgreSQL to use
#	EIKON_OS_USER	for root: the user to run the server as; postgres
#	EIKON_ANONYMOUS, EIKON_JWT_SECRET, EIKON_JWT_SECRET_FILE	see http.sh
#
# This part installs packages, makes the state directory and copies the sources
# there, so that nothing is built in the checkout. The rest is start.sh, which
# runs from that copy as the server's user.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

# A socket's path has at most 107 bytes: DIR/.s.PGSQL.65535
max_state_dir=92

require_usable_path() {
    case $1 in
        *[!A-Za-z0-9._/+-]*) die "EIKON_STATE_DIR may have letters, digits and . _ + - / only: $1" ;;
    esac
    [ ${#1} -le $max_state_dir ] ||
        die "EIKON_STATE_DIR is too long for a socket's path (over $max_state_dir bytes): $1"
}

make_state_dir() {
    local state=$1
    mkdir -p "$(dirname "$state")"
    if mkdir -m 700 "$state" 2>/dev/null; then
        [ "$(id -u)" != 0 ] || chown -h "$(server_user):" "$state"
    fi
    state_dir_is_private "$state" ||
        die "$state is not a directory of mode 700 owned by $(server_user): set EIKON_STATE_DIR to one that does not exist yet"
    as_server_user test -w "$state" ||
        die "$(server_user) cannot reach $state: set EIKON_STATE_DIR"
}

# copy_to DIR NAME...: copies from the checkout into a fresh DIR of the server's user.
copy_to() {
    local dir=$1
    shift
    as_server_user rm -rf "$dir.new"
    as_server_user mkdir "$dir.new"
    tar -C "$checkout" --exclude='*.o' --exclude='*.bc' --exclude='*.so' -cf - "$@" |
        as_server_user tar -C "$dir.new" -xf -
    as_server_user rm -rf "$dir"
    as_server_user mv "$dir.new" "$dir"
}

server_can_read() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    as_server_user sh -c '[ -r "$1" ] && [ -x "$1" ] && [ -z "$(find "$1" ! -readable)" ]' sh "$1"
}

main() {
    local checkout state input
    checkout=$(checkout_dir)
    bash "$checkout/deploy/packages.sh" run
    server_user >/dev/null || die 'PostgreSQL does not run as root: set EIKON_OS_USER to the user to run it as'
    PG_CONFIG=$(find_pg_config) || die 'no PostgreSQL with server and development files found; set PG_CONFIG='
    export PG_CONFIG

    state=$(state_dir "$checkout")
    require_usable_path "$state"
    make_state_dir "$state"
    state=$(realpath "$state")
    lock_state_dir "$state"

    [ -d "$checkout/data" ] || die "there is no directory $checkout/data"
    copy_to "$state/source" Makefile eikon_features.control eikon_api.control src sql web deploy
    if server_can_read "$checkout/data"; then
        input=$checkout/data
    else
        say "$(server_user) cannot read $checkout/data: using a copy of it"
        copy_to "$state/input" data
        input=$state/input/data
    fi
    [ "$(id -u)" != 0 ] || export EIKON_ROOT=yes
    [ -z "${EIKON_JWT_SECRET_FILE:-}" ] || EIKON_JWT_SECRET_FILE=$(realpath -ms "$EIKON_JWT_SECRET_FILE")
    as_server_user bash "$state/source/deploy/start.sh" "$state" "$input"
}

main "$@"
