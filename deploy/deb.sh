#!/bin/bash
#
# deb.sh [DIR] (make deb): builds the Debian packages from a copy of the checkout
# and leaves them in DIR (dist), which is made. EIKON_OS_USER is, for root, the user
# to build as (postgres).
#
# deb.sh --here builds where it is, in such a copy, and leaves them beside that.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

# debian/control names the packages of each PostgreSQL that this release has.
build_here() {
    cd "$(checkout_dir)"
    bash test/versions.sh
    unset PG_CONFIG
    pg_buildext updatecontrol
    dpkg-buildpackage -b -us -uc
}

main() {
    local checkout dir work package
    if [ "${1:-}" = --here ]; then
        build_here
        return
    fi
    checkout=$(checkout_dir)
    dir=${1:-$checkout/dist}
    bash "$checkout/deploy/packages.sh" deb
    server_user >/dev/null || die 'packages are not built as root: set EIKON_OS_USER to the user to build them as'

    work=$(make_work_dir)
    # shellcheck disable=SC2064 # this directory
    trap "rm -rf '$work'" EXIT
    copy_checkout "$checkout" "$work/source"
    say 'Building the packages'
    as_server_user bash "$work/source/deploy/deb.sh" --here >"$work/log" 2>&1 </dev/null || {
        tail -n 50 "$work/log" >&2
        die 'the packages could not be built'
    }
    mkdir -p "$dir"
    for package in "$work"/*.deb; do
        install -m 644 "$package" "$dir/"
        say "$dir/${package##*/}"
    done
}

main "$@"
