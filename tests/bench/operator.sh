#!/usr/bin/env bash
# Builds the operator as it is shipped and measures it at size. Arguments go to `duo-bench-operator` (--gateways 20).
set -euo pipefail
cd "$(dirname "$0")/../.."

release=${CARGO_TARGET_DIR:-target}/release
results=${CARGO_TARGET_DIR:-target}/bench
mkdir -p "$results"
RUSTC_WORKSPACE_WRAPPER="$PWD/crates/xtask/static-rustc.sh" cargo build --quiet --release --package duo-operator \
    --package duo-gateway --package duo-sim --package xtask --package duo-bench
ulimit -n "$(ulimit -Hn)"
exec "$release/duo-bench-operator" --operator "$release/duo-operator" --json "$results/operator.json" "$@"
