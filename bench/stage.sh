#!/bin/bash
#
# stage.sh WORK MEASURE-OPTION...: the part of run.sh that runs as an unprivileged
# user and from the copy of the checkout in WORK/tree: builds the extension as it
# is released, into a private PostgreSQL, and the programs, fetches DuckDB, and
# measures. Everything is made below WORK.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/../deploy/lib.sh"

work=$1
shift
tree=$work/tree
prefix=$work/prefix
export LANG=C.UTF-8 LC_ALL=C.UTF-8 TMPDIR=$work

# logged COMMAND...: shows what it says only if it fails.
logged() {
    "$@" >"$work/log" 2>&1 || { tail -n 30 "$work/log"; die "failed: $1 ${2:-}"; }
}

# Debian's, for which its pandas is, or another one that has pandas.
find_python() {
    local python
    for python in /usr/bin/python3 python3; do
        if "$python" -c 'import numpy, pandas' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    die 'no Python can import pandas (Debian: python3-pandas)'
}

fetch_duckdb() {
    cd "$tree/bench"
    export npm_config_cache=$work/npm npm_config_update_notifier=false
    # node has certificates of its own; those that the machine trusts may be more
    [ ! -r /etc/ssl/certs/ca-certificates.crt ] ||
        export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}
    logged npm ci --ignore-scripts
}

main() {
    local python command
    python=$(find_python)
    for command in node npm gnuplot; do
        command -v "$command" >/dev/null || die "$(id -un) finds no $command in PATH"
    done
    say "Building for $("$PG_CONFIG" --version)"
    logged bash "$tree/deploy/prefix.sh" "$prefix"
    logged make -C "$tree" -j "$(nproc)" PG_CONFIG="$PG_CONFIG" with_llvm=no all
    logged make -C "$tree" PG_CONFIG="$PG_CONFIG" with_llvm=no install DESTDIR="$prefix"
    logged make -C "$tree/bench" PG_CONFIG="$PG_CONFIG" BUILD="$work/tools" all
    fetch_duckdb
    exec "$python" -B measure.py --work "$work" --bin "$prefix$("$PG_CONFIG" --bindir)" --tools "$work/tools" "$@"
}

main "$@"
