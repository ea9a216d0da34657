#!/bin/bash
#
# packages.sh GROUP: installs the Debian or Ubuntu packages that are missing.
#
#	run	compiler, PostgreSQL, libraries: what building and running takes
#	check	run, bench, and the tools of the tests
#	bench	run, the peers of the benchmark and its tools
#	deb	what building the Debian packages and looking at them takes
#	format	the formatter alone
#	image	what tests of the container image take, but for what builds and runs it
#
# Does nothing where nothing is missing. PG_CONFIG= names a PostgreSQL to use as
# it is. Neither creates nor starts servers of the machine's own: PostgreSQL's package
# would create a cluster named "main" when it is first installed, and nginx's would
# listen on port 80. They are kept from it.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

drop_in_dir=/etc/postgresql-common/createcluster.d
drop_in=$drop_in_dir/eikon_features-install.conf

missing=()          # what to install; "a|b" is a or else b
updated=no
drop_in_dir_is_new=no
main_cluster_is_forbidden=no
policy=/usr/sbin/policy-rc.d
policy_is_ours=no
nginx_is_new=no

package_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# need_command COMMAND... -- PACKAGES: any one of the commands will do.
need_command() {
    while [ "$1" != -- ]; do
        command -v "$1" >/dev/null && return
        shift
    done
    missing+=("$2")
}

need_package() {
    command -v dpkg-query >/dev/null || return 0
    package_installed "$1" || missing+=("$1")
}

# A server that is there already decides the version.
need_postgresql() {
    local major there='' others=''
    find_pg_config >/dev/null && return
    [ -z "${PG_CONFIG:-}" ] ||
        die "PG_CONFIG=$PG_CONFIG belongs to no PostgreSQL that has both its server and its development files"
    for major in $pg_majors; do
        if package_installed "postgresql-$major"; then
            there+="|postgresql-server-dev-$major"
        else
            others+="|postgresql-server-dev-$major"
        fi
    done
    missing+=("${there#|}${there:+|}${others#|}")
}

# Its package starts a server of the machine's own, which is not wanted.
need_nginx() {
    [ -x /usr/sbin/nginx ] && return
    command -v nginx >/dev/null || missing+=('nginx-light|nginx')
}

need_for_run() {
    need_command curl -- curl
    need_command jose -- jose
    need_command jq -- jq
    need_command node -- nodejs
    need_command npm -- npm
    need_nginx
    need_command gcc -- gcc
    need_package libc6-dev
    need_postgresql
    need_package libcsv-dev
    need_package zlib1g-dev
    need_package libzstd-dev
    need_package libxxhash-dev
}

# pg_cron for the PostgreSQL that is there or will be installed. One that is no
# package has its own, or the test of it fails.
need_pg_cron() {
    local pg_config dir names=''
    if pg_config=$(find_pg_config); then
        dir=$("$pg_config" --sharedir)
        case $dir in
            /usr/share/postgresql/[0-9]*)
                [ -f "$dir/extension/pg_cron.control" ] || missing+=("postgresql-${dir##*/}-cron")
                ;;
        esac
        return
    fi
    for major in $pg_majors; do
        names+="|postgresql-$major-cron"
    done
    missing+=("${names#|}")
}

need_for_format() {
    need_command clang-format-14 clang-format -- 'clang-format-14|clang-format'
}

need_for_bench() {
    need_for_run
    need_command gnuplot -- gnuplot-nox
    need_package libcmocka-dev
    need_package python3-pandas
}

# As in debian/control.
need_for_deb() {
    need_command jq -- jq
    need_package build-essential
    need_package debhelper
    need_package help2man
    need_package lintian
    need_package libcsv-dev
    need_package libxxhash-dev
    need_package libzstd-dev
    need_package postgresql
    need_package postgresql-server-dev-all
    need_package zlib1g-dev
}

need_for_check() {
    need_for_bench
    need_for_format
    need_command clang-14 clang -- 'clang-14|clang'
    need_command valgrind -- valgrind
    need_command prove -- perl
    need_command zstd -- zstd
    need_command chromium chromium-browser google-chrome -- chromium
    need_package libipc-run-perl
    need_pg_cron
}

need_for_image() {
    need_command curl -- curl
    need_command jq -- jq
    need_command openssl -- openssl
    need_command prove -- perl
    need_command psql -- postgresql-client
    need_package libipc-run-perl
    need_package python3-yaml
}

# A server of the machine's own would take port 80, now and at every boot.
forbid_nginx_service() {
    [ -e "$policy" ] || {
        # shellcheck disable=SC2016 # its own $1
        printf '#!/bin/sh\n[ "$1" != nginx ] || exit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        policy_is_ours=yes
    }
    nginx_is_new=yes
    trap clean_up EXIT
}

clean_up() {
    [ $policy_is_ours = no ] || as_root rm -f "$policy"
    [ $nginx_is_new = no ] || ! package_installed nginx || as_root update-rc.d nginx disable >/dev/null 2>&1 || true
    [ $main_cluster_is_forbidden = no ] || allow_main_cluster
}

require_root() {
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        die "needs root to install: ${missing[*]}
Run it as root or where sudo is installed, or have them installed first (of a|b, one is enough)."
}

# apt-get, silent unless it fails.
apt() {
    local log
    log=$(mktemp)
    if ! as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

apt_update() {
    say 'Reading the list of packages (apt-get update)'
    apt update || die 'apt-get update failed'
    updated=yes
}

apt_offers() {
    local policy
    policy=$(apt-cache policy "$1" 2>/dev/null)
    [[ $policy == *'Candidate: '[!\(]* ]]
}

# Prints the package to install for "a|b": the first one that apt offers.
choose() {
    local names=() name
    IFS='|' read -ra names <<<"$1"
    for name in "${names[@]}"; do
        if apt_offers "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    return 1
}

# Fills packages from missing; server development files bring their server.
choose_all() {
    local spec name server
    packages=()
    for spec in "${missing[@]}"; do
        name=$(choose "$spec") || return
        server=postgresql-${name##*-}
        case $name in
            postgresql-server-dev-[0-9]*) package_installed "$server" || packages+=("$server") ;;
        esac
        packages+=("$name")
    done
}

install_packages() {
    say "Installing ${*}"
    apt install --no-install-recommends "$@" && return
    [ "$updated" = no ] || die 'apt-get install failed'
    apt_update
    apt install --no-install-recommends "$@" || die 'apt-get install failed'
}

forbid_main_cluster() {
    package_installed postgresql-common || install_packages postgresql-common
    main_cluster_is_forbidden=yes
    trap clean_up EXIT
    as_root mkdir "$drop_in_dir" 2>/dev/null && drop_in_dir_is_new=yes
    printf 'create_main_cluster = false\n' | as_root tee "$drop_in" >/dev/null
}

allow_main_cluster() {
    as_root rm -f "$drop_in"
    [ $drop_in_dir_is_new = no ] || as_root rmdir --ignore-fail-on-non-empty "$drop_in_dir"
}

main() {
    local packages
    case ${1:-} in
        run | check | bench | deb | format | image) "need_for_$1" ;;
        *) die 'which group: run, check, bench, deb, format or image?' ;;
    esac
    [ ${#missing[@]} -gt 0 ] || return 0

    command -v apt-get >/dev/null || die "missing, and there is no apt-get to install them: ${missing[*]}"
    require_root
    choose_all || { apt_update && choose_all; } || die "apt offers nothing for one of: ${missing[*]}"
    case " ${packages[*]} " in
        *' postgresql-'[0-9]* | *' postgresql '*) forbid_main_cluster ;;
    esac
    case " ${packages[*]} " in
        *' nginx'*) forbid_nginx_service ;;
    esac
    install_packages "${packages[@]}"
}

main "$@"
