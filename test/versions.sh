#!/bin/bash
#
# versions.sh: whether all that bear the version bear the same; prints them.
set -euo pipefail
cd "$(dirname "$0")/.."

# Lines of a version and of where it stands.
versions() {
    local file
    for file in *.control; do
        sed -n "s/^default_version *= *'\([^']*\)'.*/\1 $file/p" "$file"
    done
    jq -r '"\(.version) META.json",
        (.provides | to_entries[] | "\(.value.version) META.json, \(.key)")' META.json
    sed -n '1s/^.*(\(.*\)) .*/\1 debian\/changelog/p' debian/changelog
    sed -n '/^## /{s/^## \([^ ]*\).*/\1 CHANGELOG.md/p;q}' CHANGELOG.md
}

found=$(versions)
printf '%s\n' "$found"
# of both extensions twice, of META.json, of the packages and of the changelog
[ "$(printf '%s\n' "$found" | wc -l)" = 7 ] || { echo 'there should be 7' >&2; exit 1; }
[ "$(printf '%s\n' "$found" | cut -d ' ' -f 1 | sort -u | wc -l)" = 1 ] || { echo 'they differ' >&2; exit 1; }
