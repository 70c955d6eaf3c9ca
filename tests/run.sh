#!/usr/bin/env bash
# Everything that CI runs: lints, unit tests, suites against a real API server, oracles, the article on a real node.
set -euo pipefail
cd "$(dirname "$0")/.."

began=$SECONDS
step() { printf '\n=== %4d s  %s\n' $((SECONDS - began)) "$*"; }

export CARGO_TERM_COLOR=never RUST_BACKTRACE=0

step "Kubernetes programs (built once, about 11 minutes)"
if [ "$(id -u)" -eq 0 ]; then size=node; else size=control-plane; fi
crates/testkit/kubernetes/build.sh "$size"

step "lints"
make --no-print-directory lint

# With the tests, whose dependencies add features: without them everything would be compiled a second time below.
step "programs under test"
cargo build --quiet --workspace --bins --tests

step "unit tests and suites of the crates"
# One test program after the other; within one, as many tests at once as there are cores.
cargo test --workspace --exclude duo-e2e --no-fail-fast

# Suites mostly wait: two of them run at a time, each with a control plane of its own.
step "suites against the API server"
logs=$(mktemp -d)
lane() {
    local suite failed=0
    for suite in "$@"; do
        if cargo test --workspace --test "$suite" >"$logs/$suite" 2>&1; then
            printf '    %4d s  %s\n' $((SECONDS - began)) "$suite: $(grep '^test result' "$logs/$suite" | tail -1)"
        else
            failed=1
            printf '    %4d s  %s FAILED\n' $((SECONDS - began)) "$suite"
            cat "$logs/$suite"
        fi
    done
    return $failed
}
# The longest first; each suite of tests/Cargo.toml is in one of the two.
one=(faults settings adoption drift removal deletion plan)
other=(edits health traps workload breaks bad_input rotation article crash shards api_rules)
diff <(printf '%s\n' "${one[@]}" "${other[@]}" | sort) <(grep -A1 '^\[\[test\]\]' tests/Cargo.toml | sed -n 's/^name = "\(.*\)"/\1/p' | sort) ||
    { echo "tests/run.sh and tests/Cargo.toml name different suites" >&2; exit 1; }
lane "${one[@]}" &
first=$!
failed=0
lane "${other[@]}" || failed=1
wait "$first" || failed=1
rm -rf "$logs"
[ "$failed" -eq 0 ]

if [ "$(id -u)" -eq 0 ]; then
    step "the article on a real node"
    tests/node.sh
else
    step "the article on a real node: left out, it needs root"
fi
step "done"
