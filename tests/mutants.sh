#!/usr/bin/env bash
# Breaks each function of crates/core in every way that cargo-mutants knows; some test has to notice each.
#   tests/mutants.sh [FILES]     FILES: beginning of file names below crates/core/src, such as ownership or plan/
# The tool is no part of `make test`: it is installed here, into target/, when it is asked for. All of it: about two hours
# on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
version=27.1.0
target=${CARGO_TARGET_DIR:-target}
tool=$target/tools/bin/cargo-mutants
if [ "$("$tool" mutants --version 2>/dev/null || true)" != "cargo-mutants $version" ]; then
    cargo install --quiet --locked --root "$target/tools" "cargo-mutants@$version"
fi
files=(--file "crates/core/src/${1:-}**")
"$tool" mutants --package duo-core --no-shuffle --timeout 120 --output "$target" "${files[@]}"
