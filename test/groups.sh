#!/bin/bash
#
# groups.sh WORK GROUP...: the part of check.sh that runs as an unprivileged user
# and from the copy of the checkout in WORK/tree. Everything it makes is below
# WORK, which it removes at the end, unless something failed. It ends only
# processes that it started. Tests run in WORK/tree, their current directory.
set -um
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/../deploy/lib.sh"
# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

work=$1
shift
tree=$work/tree
prefix=$work/prefix
bin=$prefix$("$PG_CONFIG" --bindir)
pgxs_test=$(dirname "$("$PG_CONFIG" --pgxs)")/../test
logs=$work/log
mkdir -p "$logs" "$work/tmp"
export PG_CONFIG TMPDIR=$work/tmp LANG=C.UTF-8 LC_ALL=C.UTF-8
cd "$tree" || exit

passed=0
failed=0
child=
installed=

# --- Running, and ending what runs

# run LOG COMMAND...: in a process group of its own, so that all of it can be ended.
run() {
    local log=$logs/$1.log
    shift
    timeout -k 10 "${EIKON_CHECK_TIMEOUT:-1800}" "$@" >>"$log" 2>&1 </dev/null &
    child=$!
    wait "$child"
    local status=$?
    child=
    [ $status != 124 ] || say 'timed out' >>"$log"
    return $status
}

stop_servers() {
    local file data pid tries
    # those of tests that were cut off
    find "$work" -path '*/http/nginx.conf' 2>/dev/null | while IFS= read -r file; do
        bash "$tree/deploy/http.sh" stop "$(dirname "$(dirname "$file")")"
    done
    find "$work" -name postmaster.pid 2>/dev/null | while IFS= read -r file; do
        data=$(dirname "$file")
        pid=$(postmaster_pid "$data") || continue
        kill -QUIT "$pid"
        tries=100
        while [ $tries -gt 0 ] && postmaster_pid "$data" >/dev/null; do
            tries=$((tries - 1))
            sleep 0.1
        done
    done
}

end() {
    trap - EXIT
    if [ -n "$child" ]; then
        kill -TERM -- -"$child" 2>/dev/null
        wait "$child" 2>/dev/null
    fi
    stop_servers
    if [ $failed -gt 0 ]; then
        say "Kept for a closer look: $work"
    else
        rm -rf "$work"
    fi
}

interrupted() {
    failed=0
    end
    exit 130
}

# --- Counting

count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
}

# What pg_regress says of itself, in the words of 15 or of 16 and later.
count_regress() {
    local log=$logs/$1.log status=$2 all some
    all=$(sed -nE 's/.*All ([0-9]+) tests passed.*/\1/p' "$log" | tail -n 1)
    some=$(sed -nE 's/.*[^0-9]([0-9]+) of ([0-9]+) tests failed.*/\1 \2/p' "$log" | tail -n 1)
    if [ -n "$some" ]; then
        count $((${some#* } - ${some% *})) "${some% *}"
    elif [ "$status" = 0 ] && [ "${all:-0}" -gt 0 ]; then
        count "$all" 0
    else
        count 0 1
    fi
}

count_prove() {
    # shellcheck disable=SC2046 # two numbers
    count $(prove_totals "$logs/$1.log" "$2")
}

# What the benchmark says of itself, in the words of our own last line.
count_bench() {
    local log=$logs/$1.log status=$2 good bad
    good=$(sed -nE 's/^([0-9]+) passed, [0-9]+ failed$/\1/p' "$log" | tail -n 1)
    bad=$(sed -nE 's/^[0-9]+ passed, ([0-9]+) failed$/\1/p' "$log" | tail -n 1)
    good=${good:-0}
    bad=${bad:-0}
    if [ "$status" = 0 ] && [ "$good" -gt 0 ]; then
        count "$good" 0
    else
        count "$good" $((bad > 0 ? bad : 1))
    fi
}

count_one() {
    if [ "$1" = 0 ]; then
        count 1 0
    else
        count 0 1
    fi
}

show() {
    tail -n "${2:-100}" "$1"
}

# run_one LOG COMMAND...: is one test, and shows what it said if it failed.
run_one() {
    local name=$1 status
    run "$@"
    status=$?
    count_one $status
    [ $status = 0 ] || show "$logs/$name.log"
    return $status
}

# --- Builds

# build NAME MAKE-ARGUMENT...: in a copy of the tree.
build() {
    local name=$1
    shift
    rm -rf "${work:?}/$name"
    cp -a "$tree" "$work/$name"
    run "$name" make -C "$work/$name" -j "$(nproc)" PG_CONFIG="$PG_CONFIG" WERROR=1 "$@"
}

group_format() {
    run_one format bash test/format.sh --check
    run_one layers bash test/layers.sh
}

group_build-gcc() {
    build build-gcc CC=gcc
    local status=$?
    count_one $status
    [ $status = 0 ] || show "$logs/build-gcc.log"
}

group_build-clang() {
    build build-clang CC="$(basename "$(command -v clang-14 || command -v clang)")" with_llvm=no
    local status=$?
    count_one $status
    [ $status = 0 ] || show "$logs/build-clang.log"
}

# The build under test checks assertions; it is made once, for all groups.
install_private() {
    if [ -z "$installed" ]; then
        installed=no
        PG_CFLAGS=-DUSE_ASSERT_CHECKING build assert with_llvm=no &&
            run assert bash deploy/prefix.sh "$prefix" &&
            run assert make -C "$work/assert" PG_CONFIG="$PG_CONFIG" with_llvm=no install DESTDIR="$prefix" &&
            installed=yes
        [ $installed = yes ] || show "$logs/assert.log"
    fi
    [ $installed = no ] || return 0
    say 'The extension could not be built and installed for these tests'
    count 0 1
    return 1
}

# --- Tests

# prove_unit NAME WHETHER-SANITIZED EXEC: builds test/unit and runs its programs.
prove_unit() {
    local name=$1 sanitized=$2 with=$3 programs
    mkdir -p "$work/$name"
    if ! run "$name-build" make -C test/unit -j "$(nproc)" PG_CONFIG="$PG_CONFIG" \
        BUILD="$work/$name" SAN="$sanitized" all; then
        show "$logs/$name-build.log"
        count 0 1
        return
    fi
    mapfile -t programs < <(find "$work/$name" -maxdepth 1 -name 't_*' -type f -executable | sort)
    run "$name" prove --failures --exec "$with" "${programs[@]/#"$work"/..}"
    count_prove "$name" $?
    show "$logs/$name.log"
}

group_unit() {
    prove_unit unit-sanitized 1 ''
    prove_unit unit-valgrind 0 'valgrind -q --error-exitcode=1 --leak-check=full'
}

# regress NAME PROGRAM INPUTDIR TEST...: pg_regress or its sister, which start
# and stop a server of their own that listens on a private socket only.
regress() {
    local name=$1 program=$2 input=$3
    shift 3
    mkdir -p "$work/$name"
    run "$name" "$program" --temp-instance="$work/$name/server" --bindir="$bin" --no-locale --encoding=UTF8 \
        --inputdir="$input" --outputdir="$work/$name" "$@"
    local status=$?
    count_regress "$name" $status
    # Without what it says of creating its database; all of it if it said no more.
    grep -E '^(test|ok|not ok|#) |tests? (passed|failed)' "$logs/$name.log" || show "$logs/$name.log"
    [ ! -s "$work/$name/regression.diffs" ] || show "$work/$name/regression.diffs" 300
}

# find_tests DIR SUFFIX: fills tests with the names of the tests there.
find_tests() {
    mapfile -t tests < <(find "$1" -maxdepth 1 -name "*$2" -printf '%f\n' 2>/dev/null | sort)
    tests=("${tests[@]%"$2"}")
    [ ${#tests[@]} -gt 0 ] && return
    say "There are no tests in $1"
    count 0 1
    return 1
}

group_regress() {
    local tests
    find_tests test/sql .sql && install_private &&
        regress regress "$pgxs_test/regress/pg_regress" "$tree/test" --dbname=contrib_regression "${tests[@]}"
}

group_isolation() {
    local tests
    find_tests test/isolation/specs .spec && install_private &&
        regress isolation "$pgxs_test/isolation/pg_isolation_regress" "$tree/test/isolation" "${tests[@]}"
}

group_tap() {
    local tests name
    find_tests test/t .pl && install_private || return
    tests=("${tests[@]/%/.pl}")
    mkdir -p "$work/tap"
    run tap env PATH="$bin:$PATH" PG_REGRESS="$pgxs_test/regress/pg_regress" \
        TESTDIR="$work/tap" TESTDATADIR="$work/tap/tmp_check" TESTLOGDIR="$work/tap/tmp_check/log" \
        prove --failures -I "$pgxs_test/perl" -I "$tree" "${tests[@]/#/test/t/}"
    count_prove tap $?
    show "$logs/tap.log"
    sed -nE 's,^test/t/([^ ]*)\.pl +\(Wstat: .*,\1,p' "$logs/tap.log" | while IFS= read -r name; do
        say "--- the end of $name's log"
        show "$work/tap/tmp_check/log/regress_log_$name" 40
    done
}

group_bench() {
    run bench bash bench/run.sh --smoke
    local status=$?
    count_bench bench $status
    if [ $status = 0 ]; then
        grep '^ok ' "$logs/bench.log"
    else
        show "$logs/bench.log"
    fi
}

# unpack_deb DIR DEB: a private PostgreSQL in DIR, with what is in the package.
unpack_deb() {
    run deb-unpack bash deploy/prefix.sh "$1" && run deb-unpack dpkg -x "$2" "$1" && return
    show "$logs/deb-unpack.log"
    count 0 1
    return 1
}

group_deb() {
    local dir=$work/deb major tests
    # whose server regress starts
    local bin=$dir/prefix${bin#"$prefix"}
    if ! major=$(packaged_major); then
        say "The packages are for the PostgreSQL of Debian's packages, which that of $PG_CONFIG is not"
        count 0 1
        return
    fi
    run_one deb-versions bash test/versions.sh || return
    # as it is kept: for Debian 12
    run_one deb-control diff <(sed 's/PGVERSION/15/g' debian/control.in) debian/control
    mkdir "$dir"
    cp -a "$tree" "$dir/source"
    run_one deb-build bash "$dir/source/deploy/deb.sh" --here || return
    run_one deb-lintian lintian --fail-on error,warning --tag-display-limit 0 "$dir"/*.changes
    find_tests test/sql .sql && unpack_deb "$dir/prefix" "$dir/postgresql-$major-eikon-features"_*.deb &&
        regress deb "$pgxs_test/regress/pg_regress" "$tree/test" --dbname=contrib_regression "${tests[@]}"
}

main() {
    local group
    for group; do
        say "== $group"
        "group_$group"
    done
    end
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ $failed = 0 ]
}

trap end EXIT
trap interrupted INT TERM HUP
main "$@"
