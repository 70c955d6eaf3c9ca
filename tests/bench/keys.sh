#!/usr/bin/env bash
# How long a changed key takes from its Secret to the model server, on a real node (root). Arguments go to `demo keys`
# (for example --rounds 20).
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" -ne 0 ]; then
    echo "a changed key on a real node: left out, it needs root"
    exit 0
fi
xtask="${CARGO_TARGET_DIR:-target}/release/xtask"
trap '"$xtask" demo down --name keys >/dev/null' EXIT
"$xtask" demo up --name keys >/dev/null
"$xtask" demo keys --name keys "$@"
