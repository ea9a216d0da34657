#!/bin/bash
#
# check.sh [GROUP...] (make check, make check GROUPS="..."): all tests, or those
# of some groups, on a copy of the checkout and on throwaway servers.
#
#	format		the C sources are formatted, and include one another in one direction
#	build-gcc	gcc has no warning
#	build-clang	clang has none
#	unit		test/unit, with sanitizers, then under valgrind
#	regress		test/sql against expected/
#	isolation	test/isolation: sessions that meet
#	tap		test/t: what takes a server's start, stop or crash
#	bench		bench: that the benchmark works; no time is judged
#	deb		the Debian packages: that they build, lintian, and test/sql on what is in them
#
# A group that cannot run, or runs nothing, has failed. The last line is
# "N passed, N failed". Without GROUP, deb is left out where the PostgreSQL is not that of
# Debian's packages. EIKON_OS_USER is, for root, the user to run the tests as
# (postgres), PG_CONFIG the PostgreSQL to use.
#
# This part installs packages and makes the copy; groups.sh runs from there.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/../deploy/lib.sh"

all_groups='format build-gcc build-clang unit regress isolation tap bench deb'

require_known() {
    local group
    for group; do
        case " $all_groups " in
            *" $group "*) ;;
            *) die "no group is called $group; there are: $all_groups" ;;
        esac
    done
}

# A file system that is soon full, for the tests of that; gone at the end.
mount_small_disk() {
    EIKON_SMALL_DISK=$(make_work_dir)
    export EIKON_SMALL_DISK
    trap unmount_small_disk EXIT
    trap 'exit 130' INT TERM HUP
    as_root mount -t tmpfs -o "size=24m,mode=0700,uid=$(id -u "$(server_user)"),gid=$(id -g "$(server_user)")" \
        eikon_features "$EIKON_SMALL_DISK" ||
        die 'the group tap needs a small file system that it can fill, and no tmpfs could be mounted'
}

unmount_small_disk() {
    ! mountpoint -q "$EIKON_SMALL_DISK" || as_root umount "$EIKON_SMALL_DISK"
    rmdir "$EIKON_SMALL_DISK" 2>/dev/null || as_server_user rmdir "$EIKON_SMALL_DISK"
}

main() {
    local checkout work groups
    read -ra groups <<<"${*:-$all_groups}"
    require_known "${groups[@]}"
    checkout=$(checkout_dir)
    bash "$checkout/deploy/packages.sh" check
    server_user >/dev/null || die 'PostgreSQL does not run as root: set EIKON_OS_USER to the user to run it as'
    PG_CONFIG=$(find_pg_config) || die 'no PostgreSQL with server and development files found; set PG_CONFIG='
    export PG_CONFIG
    if [ $# = 0 ] && ! packaged_major >/dev/null; then
        say "Without the group deb: $PG_CONFIG is not of Debian's packages, which that one makes"
        read -ra groups <<<"${all_groups/ deb/}"
    fi
    case " ${groups[*]} " in
        *' deb '*) bash "$checkout/deploy/packages.sh" deb ;;
    esac

    work=$(make_work_dir)
    case " ${groups[*]} " in
        *' tap '*) mount_small_disk ;;
    esac
    copy_checkout "$checkout" "$work/tree"
    as_server_user bash "$work/tree/test/groups.sh" "$work" "${groups[@]}"
}

main "$@"
