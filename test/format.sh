#!/bin/bash
#
# format.sh [--check]: formats the C sources, or only names those that are not
# as .clang-format wants them (and fails). Versions of clang-format disagree
# about details, so 14 is taken where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(find src test/unit bench -name '*.[ch]' 2>/dev/null | sort)

die() {
    printf 'format: %s\n' "$*" >&2
    exit 1
}

main() {
    local tool
    tool=$(command -v clang-format-14 || command -v clang-format) || die 'clang-format is not installed'
    [ ${#files[@]} -gt 0 ] || die 'found no sources'
    case ${1:-} in
        --check)
            "$tool" --dry-run -Werror "${files[@]}" 2>&1 |
                sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: error: .*/\1/p' | uniq -c |
                sed 's/^ *\([0-9]*\) \(.*\)/\2: \1 places/' &&
                return
            die 'see above; "make format" does it'
            ;;
        '')
            "$tool" -i "${files[@]}"
            ;;
        *)
            die 'usage: format.sh [--check]'
            ;;
    esac
}

main "$@"
