# shellcheck shell=bash
# lib.sh: what the scripts of test/ share. Sourced by bash, sets nothing but functions.

# prove_totals LOG STATUS: prints how many tests have passed and failed, as prove says.
# A program may fail without a failed test in it.
prove_totals() {
    local log=$1 status=$2 tests bad
    tests=$(sed -nE 's/^Files=[0-9]+, Tests=([0-9]+),.*/\1/p' "$log" | tail -n 1)
    bad=$(sed -nE 's/.*\(Wstat: .* Failed: ([0-9]+)\)$/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    tests=${tests:-0}
    if [ "$status" = 0 ] && [ "$tests" -gt 0 ]; then
        printf '%s 0\n' "$tests"
    elif [ "$bad" -gt 0 ]; then
        printf '%s %s\n' $((tests - bad)) "$bad"
    else
        printf '%s 1\n' "$tests"
    fi
}
