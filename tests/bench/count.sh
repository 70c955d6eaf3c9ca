#!/usr/bin/env bash
# Counts the gateway's instructions per request and per chunk (package valgrind). Arguments go to `duo-bench count`,
# for example --only SSE.
set -euo pipefail
cd "$(dirname "$0")/../.."

release=${CARGO_TARGET_DIR:-target}/release
# the packages of run.sh, so that neither build makes the other one build its dependencies again
cargo build --quiet --release --package duo-operator --package duo-gateway --package duo-sim --package xtask \
    --package duo-bench --bin duo-bench --bin duo-gateway-symbols
ulimit -n "$(ulimit -Hn)"
exec "$release/duo-bench" count --symbols "$release/duo-gateway-symbols" \
    --folder "${CARGO_TARGET_DIR:-target}/bench/callgrind" "$@"
