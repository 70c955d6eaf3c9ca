#!/usr/bin/env bash
# SOAK_SECONDS (600) of mixed load with faults against the release gateway.
set -euo pipefail
cd "$(dirname "$0")/../.."

release=${CARGO_TARGET_DIR:-target}/release
results=${CARGO_TARGET_DIR:-target}/bench
mkdir -p "$results"
RUSTC_WORKSPACE_WRAPPER="$PWD/crates/xtask/static-rustc.sh" cargo build --quiet --release --package duo-operator \
    --package duo-gateway --package duo-sim --package xtask --package duo-bench
ulimit -n "$(ulimit -Hn)"
exec "$release/duo-bench" soak --gateway "$release/duo-gateway" --seconds "${SOAK_SECONDS:-600}" --json "$results/soak.json"
