#!/bin/bash
#
# run.sh [--smoke] (make bench, make bench-smoke): measures eikon_features against
# its peers on a throwaway server, and writes RESULTS.md and scaling.svg here.
# --smoke does all of it once on small files, to see that it works; it judges no
# time and writes nothing here. Its last line is "N passed, N failed".
#
#	SIZE		millions of experiments; 10
#	RUNS		how often each is timed; 3
#	ONLY		a regular expression of Python: only measures whose names it matches, such
#			as "normal days"; prints what was measured, and writes nothing here
#	BENCH_DIR	where generated files are kept; a directory that is removed at the end
#	PG_CONFIG	the PostgreSQL to use
#	EIKON_OS_USER	for root: the user to run it as; postgres
#
# This part installs packages and copies what is needed; stage.sh runs from that
# copy as an unprivileged user.
set -eumo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/../deploy/lib.sh"

smoke_experiments=20000
work=
child=

# What a killed measure.py has left running. What counts is what postmaster_pid
# prints: in a trap, "return" gives the status of before the trap.
stop_server() {
    local pid
    pid=$(postmaster_pid "$work/db") || true
    [ -n "$pid" ] || return 0
    kill -QUIT "$pid"
    while [ -n "$(postmaster_pid "$work/db" || true)" ]; do
        sleep 0.1
    done
}

# Ends a process group, and returns when there is none of it.
end_group() {
    local tries=100
    kill -TERM -- -"$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    while kill -0 -- -"$1" 2>/dev/null; do
        [ $tries -gt 0 ] || kill -KILL -- -"$1" 2>/dev/null || true
        tries=$((tries - 1))
        sleep 0.1
    done
}

# make passes on a signal that we may have got already: once is enough.
end() {
    trap - EXIT
    trap '' INT TERM HUP
    [ -z "$child" ] || end_group "$child"
    [ -z "$work" ] || { stop_server; rm -rf "$work"; }
}

interrupted() {
    end
    exit 130
}

# Prints the number of experiments for SIZE, which is in millions.
experiments() {
    local n
    [[ $1 =~ ^[0-9]{1,3}(\.[0-9]{1,3})?$ ]] || die "SIZE is a number of millions below 1000, not \"$1\""
    n=$(awk -v million="$1" 'BEGIN { printf "%d\n", million * 1000000 + 0.5 }')
    [ "$n" -gt 0 ] || die 'SIZE must be more than 0'
    say "$n"
}

# Not every TMPDIR is open to the server's user.
make_work_dir() {
    as_server_user mktemp -d 2>/dev/null || as_server_user mktemp -d -p /tmp
}

make_data_dir() {
    local dir=$1
    case $dir in
        *[\'\"\\]*) die "BENCH_DIR must not have quotes or backslashes: $dir" ;;
    esac
    if [ ! -d "$dir" ]; then
        mkdir -p "$dir"
        [ "$(id -u)" != 0 ] || chown "$(server_user):" "$dir"
    fi
    as_server_user test -w "$dir" || die "$(server_user) cannot write in $dir"
}

# Which sources these are, for the page.
commit() {
    local git=(git -c safe.directory='*' -C "$checkout") commit
    commit=$("${git[@]}" rev-parse --short HEAD 2>/dev/null) || { say 'not from git'; return; }
    [ -z "$("${git[@]}" status --porcelain -- src sql Makefile)" ] || commit+=' and changes'
    say "$commit"
}

main() {
    local checkout data size options=()
    checkout=$(checkout_dir)
    bash "$checkout/deploy/packages.sh" bench
    server_user >/dev/null || die 'PostgreSQL does not run as root: set EIKON_OS_USER to the user to run it as'
    PG_CONFIG=$(find_pg_config) || die 'no PostgreSQL with server and development files found; set PG_CONFIG='
    export PG_CONFIG

    if [ "${1:-}" = --smoke ]; then
        options=(--smoke --experiments "$smoke_experiments" --runs 1)
    else
        size=$(experiments "${SIZE:-10}")
        options=(--experiments "$size" --runs "${RUNS:-3}")
    fi
    [[ ${RUNS:-3} =~ ^[1-9][0-9]?$ ]] || die "RUNS is a number from 1 to 99, not \"$RUNS\""
    options+=(--commit "$(commit)" --only "${ONLY:-}")

    trap end EXIT
    trap interrupted INT TERM HUP
    work=$(make_work_dir)
    data=$work/data
    if [ -n "${BENCH_DIR:-}" ]; then
        data=$(realpath -m "$BENCH_DIR")
        options+=(--keep)
    fi
    make_data_dir "$data"
    as_server_user mkdir "$work/tree" "$work/out"
    tar -C "$checkout" --exclude='*.o' --exclude='*.bc' --exclude='*.so' --exclude=node_modules \
        -cf - Makefile eikon_features.control eikon_api.control web src sql deploy bench test/unit | as_server_user tar -C "$work/tree" -xf -

    as_server_user bash "$work/tree/bench/stage.sh" "$work" --data "$data" --out "$work/out" "${options[@]}" </dev/null &
    child=$!
    wait "$child" || { child=; exit 1; }
    child=
    if [ "${1:-}" != --smoke ] && [ -z "${ONLY:-}" ]; then
        cp "$work/out/RESULTS.md" "$work/out/scaling.svg" "$checkout/bench/"
        say "Written: bench/RESULTS.md, bench/scaling.svg"
    fi
}

main "$@"
