#!/bin/bash
#
# stop.sh (make stop): stops what run.sh started for this checkout, and nothing
# else. The data stay, for the next make run.
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    local state
    server_user >/dev/null || { say 'Not running'; return; }
    state=$(state_dir "$(checkout_dir)")
    [ -e "$state" ] || { say "Not running: there is no $state"; return; }
    state_dir_is_private "$state" || die "$state is not a directory of mode 700 owned by $(server_user)"
    state=$(realpath "$state")
    lock_state_dir "$state"
    [ ! -d "$state/http" ] || as_server_user bash "$state/source/deploy/http.sh" stop "$state" ||
        say 'PostgREST and the gateway could not be stopped'
    postmaster_pid "$state/db" >/dev/null || { say 'Not running'; return; }
    as_server_user "$state/bin/pg_ctl" stop -s -w -t 60 -m fast -D "$state/db" ||
        die "the server did not stop; see $state/server.log"
    say 'Stopped'
}

main
