#!/bin/bash
#
# image.sh (make check-image): builds the container image and tests it, as root. The last
# line is "N passed, N failed".
#
#	EIKON_IMAGE_TOOLS	the directory of verify_dockerfile.sh and run_image.sh; image.pl
#				says what they do
set -euo pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/../deploy/lib.sh"
# shellcheck source=test/lib.sh
. "$(dirname "$0")/lib.sh"

main() {
    local checkout log totals status=0
    checkout=$(checkout_dir)
    [ -f "${EIKON_IMAGE_TOOLS:-}/run_image.sh" ] || die 'EIKON_IMAGE_TOOLS is not set to the directory of run_image.sh'
    [ "$(id -u)" = 0 ] || die 'containers are run by root here'
    bash "$checkout/deploy/packages.sh" image
    log=$(mktemp)
    say 'image'
    (cd "$checkout" && prove -v test/image.pl) >"$log" 2>&1 </dev/null || status=$?
    totals=$(prove_totals "$log" $status)
    case $totals in
        *' 0') grep '^# ' "$log" || true ;;
        *) grep -v '^ok ' "$log" || true ;;
    esac
    rm -f "$log"
    say "${totals% *} passed, ${totals#* } failed"
    [ "${totals#* }" = 0 ]
}

main "$@"
