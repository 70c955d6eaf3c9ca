#!/usr/bin/env bash
# The article's scenario on a real node, from static programs to a user's answers, then a key that changes under users, then
# a gateway with the settings that a node can show; each command fails where a part of it does. A cluster of its own beside
# a demo that may be running.
set -euo pipefail
cd "$(dirname "$0")/.."

make --no-print-directory build
xtask="${CARGO_TARGET_DIR:-target}/release/xtask"
trap '"$xtask" demo down --name e2e' EXIT
"$xtask" demo up --name e2e
"$xtask" demo keys --name e2e --rounds 2
"$xtask" demo settings --name e2e
