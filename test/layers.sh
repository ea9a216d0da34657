#!/bin/bash
#
# layers.sh: whether the C sources include one another in one direction only. A module is
# X.c and X.h. It may include the headers of modules that come before it below, so there
# are no circles. Each line is a layer, the lowest first.
set -euo pipefail
cd "$(dirname "$0")/.."

layers='
words       eikon_features compat grow hash varint elapsed sort_ids json query encoding progress
source      source_open source_spool source_inflate source source_fingerprint
record      scan record_regular record dialect
row         options reject row_digits row_cast row
store       store_form
derive      derive_stream derive_ids derive_pack derive_sum derive_aggregate
derive      derive_team derive_report derive_input derive_files derive_units derive_partition
derive      derive_reject derive_read derive_kind derive_tuples derive derive_check derive_preview
store       store_check store_compare store_direct store_sql store_rejects store
run         run_shared run_ledger run_upload run run_queue
worker      worker worker_launcher
sql         sql_api
module      module
'

check() {
    awk -v layers="$layers" '
        function fail(words) {
            print words
            failed = 1
        }
        BEGIN {
            n = split(layers, line, "\n")
            for (i = 1; i <= n; i++) {
                m = split(line[i], word)
                for (j = 2; j <= m; j++) {
                    place[word[j]] = ++places
                    missing[word[j]]
                }
            }
        }
        FNR == 1 {
            file = FILENAME
            sub(/.*\//, "", file)
            module = file
            sub(/\.[ch]$/, "", module)
            if (!(module in place))
                fail(file " belongs to no layer: add it to test/layers.sh")
            delete missing[module]
        }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, part, "\"")
            header = part[2]
            other = header
            sub(/\.h$/, "", other)
            if (other in place && place[other] > place[module])
                fail(file ", line " FNR ": includes " header ", which is above it")
        }
        END {
            for (module in missing)
                fail("there is no module " module ": remove it from test/layers.sh")
            exit failed
        }
    ' src/*.[ch]
}

check
