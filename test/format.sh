#!/bin/bash
#
# format.sh [--check]: formats the C sources, or only shows where they are not as
# .clang-format wants them (and fails). Versions of clang-format disagree about blanks:
# 14 decides. Where there is another one, the check leaves blanks out.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t files < <(find src test/unit bench -name '*.[ch]' 2>/dev/null | sort)

die() {
    printf 'format: %s\n' "$*" >&2
    exit 1
}

decides() {
    [[ $("$tool" --version) == *' version 14.'* ]]
}

check() {
    local file blanks='' failed=''
    decides || blanks=--ignore-all-space
    for file in "${files[@]}"; do
        "$tool" "$file" | diff -u $blanks --label "$file" --label formatted "$file" - || failed=yes
    done
    [ -z "$failed" ] || die 'see above; "make format" does it'
}

main() {
    tool=$(command -v clang-format-14 || command -v clang-format) || die 'clang-format is not installed'
    [ ${#files[@]} -gt 0 ] || die 'found no sources'
    case ${1:-} in
        --check)
            check
            ;;
        '')
            decides || die "clang-format 14 formats, and this is $("$tool" --version)"
            "$tool" -i "${files[@]}"
            ;;
        *)
            die 'usage: format.sh [--check]'
            ;;
    esac
}

main "$@"
