#!/bin/bash
#
# prefix.sh DIR: makes a private copy of the PostgreSQL installation below DIR,
# for "make install DESTDIR=DIR", so that trying the extension and testing it
# install nothing into the machine's own directories.
#
# A server finds its files relative to where its executable really is, so the
# executables are copied and everything else is linked. An eikon_features that
# the machine has is left out. PG_CONFIG= chooses the PostgreSQL.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

copy_installation() {
    local dir=$1 bin=$2 part
    shift 2
    mkdir -p "$dir$bin"
    cp "$bin"/* "$dir$bin/"
    for part; do
        mkdir -p "$dir$part"
        cp -rs "$part/." "$dir$part/"
        find "$dir$part" -name 'eikon_*' -prune -exec rm -rf {} +
    done
}

# What the copied pg_config answers is what the copied server will use.
verify_copy() {
    local dir=$1 original=$2 bin=$3 option
    for option in --bindir --pkglibdir --sharedir; do
        [ "$("$dir$bin/pg_config" "$option")" = "$dir$("$original" "$option")" ] ||
            die "the PostgreSQL in $bin does not work from another place ($option)"
    done
}

main() {
    local dir original bin
    [ $# = 1 ] || die 'usage: prefix.sh DIR'
    original=$(find_pg_config) || die 'no PostgreSQL found; set PG_CONFIG='
    bin=$("$original" --bindir)
    mkdir -p "$1"
    dir=$(realpath "$1")
    copy_installation "$dir" "$bin" "$("$original" --pkglibdir)" "$("$original" --sharedir)"
    verify_copy "$dir" "$original" "$bin"
}

main "$@"
