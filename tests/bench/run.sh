#!/usr/bin/env bash
# Builds what is measured and measures it. Arguments go to `duo-bench run` (for example --hurry 4 --only cpu).
set -euo pipefail
cd "$(dirname "$0")/../.."

tests/bench/setup.sh
release=${CARGO_TARGET_DIR:-target}/release
results=${CARGO_TARGET_DIR:-target}/bench
mkdir -p "$results"
export RUSTC_WORKSPACE_WRAPPER="$PWD/crates/xtask/static-rustc.sh"
# as `make build` does, so that what is measured is what is shipped
cargo build --quiet --release --package duo-operator --package duo-gateway --package duo-sim --package xtask \
    --package duo-bench
"$release/xtask" images duo-gateway >/dev/null

ulimit -n "$(ulimit -Hn)"
exec "$release/duo-bench" run --gateway "$release/duo-gateway" --image "${CARGO_TARGET_DIR:-target}/images/duo-gateway.tar" \
    --symbols "$release/duo-gateway-symbols" --json "$results/result.json" "$@"
