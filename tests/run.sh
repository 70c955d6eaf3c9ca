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

step "unit tests, suites of the crates, suites against the API server"
# One test program after the other; within one, as many tests at once as there are cores.
cargo test --workspace --no-fail-fast

if [ "$(id -u)" -eq 0 ]; then
    step "the article on a real node"
    tests/node.sh
else
    step "the article on a real node: left out, it needs root"
fi
step "done"
