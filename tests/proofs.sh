#!/usr/bin/env bash
# The table of tests/README.md: every test that it names exists, no row is without one, and no suite's test is left out.
#   tests/proofs.sh [TABLE]
set -euo pipefail
cd "$(dirname "$0")/.."
table=${1:-tests/README.md}

failed=0
complain() {
    printf 'proofs: %s\n' "$*" >&2
    failed=1
}

# `path/of/file.rs::name_of_the_test`; a path alone names a file that has to exist
named=0
while read -r reference; do
    file=${reference%%::*}
    if [ ! -f "$file" ]; then
        complain "$table names $file, which does not exist"
        continue
    fi
    [ "$file" != "$reference" ] || continue
    named=$((named + 1))
    test=${reference##*::}
    # the test itself, or a row of a table of cases that carries the name
    if ! grep -qE "fn $test\b|^ *$test\(" "$file"; then
        complain "$table names $reference, which $file does not have"
    fi
done < <(grep -oE '`(crates|tests|deploy)/[A-Za-z0-9_./-]+\.(rs|sh|py)(::[a-z0-9_]+)?`' "$table" | tr -d '`' | sort -u)
[ "$named" -gt 0 ] || complain "$table names no test"

# in tables whose last column is "proved by", each row names a test, or says that it is not proved and why
rows=$(awk -F'|' '
    /^\|/ {
        last = $(NF - 1)
        if (last ~ /proved by/) { inside = 1; next }
        if (!inside || $0 ~ /^\|[-| ]+\|$/) next
        if (last !~ /::/ && last !~ /not proved:/) print FNR ": " $2
        next
    }
    { inside = 0 }
' "$table")
[ -z "$rows" ] || complain "rows of $table without a test:
$rows"

# a test that nobody finds in the table is a scenario that nobody knows to be proved
while read -r reference; do
    grep -qF "$reference" "$table" || complain "$table has no row with $reference"
done < <(find tests/suites -name '*.rs' -print0 | sort -z | xargs -0 awk '
    /#\[(tokio::)?test/ { test = 1 }
    test && match($0, /fn [a-z0-9_]+/) { print FILENAME "::" substr($0, RSTART + 3, RLENGTH - 3); test = 0 }')
exit $failed
