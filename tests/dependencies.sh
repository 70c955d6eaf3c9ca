#!/usr/bin/env bash
# Who may know whom (crates/ARCHITECTURE.md), asked of cargo itself.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
tree() { cargo tree --quiet --edges normal --prefix none --format '{p}' --package "$1" | awk '{print $1}' | sort -u; }

# package, then crates that must not be below it
forbid() {
    local package=$1 below
    shift
    below=$(tree "$package")
    for crate in "$@"; do
        if grep -qx "$crate" <<<"$below"; then
            printf 'dependencies: %s must not depend on %s\n' "$package" "$crate" >&2
            failed=1
        fi
    done
}

forbid duo-api tokio reqwest kube-client hyper
forbid duo-core tokio reqwest kube-client hyper duo-gitlab duo-runtime
forbid duo-gateway-config tokio reqwest kube-core hyper
forbid duo-protocol tokio reqwest kube-core hyper
forbid duo-gitlab kube-core duo-api duo-core
forbid duo-runtime duo-api duo-core duo-gitlab reqwest
forbid duo-gateway kube-core duo-api duo-core duo-gitlab
for package in duo-operator duo-gateway; do
    forbid "$package" ring openssl native-tls
done

# one version of what must be one
for crate in kube hyper rustls; do
    count=$(grep -c "^name = \"$crate\"\$" Cargo.lock)
    if [ "$count" -ne 1 ]; then
        printf 'dependencies: %s versions of %s in Cargo.lock\n' "$count" "$crate" >&2
        failed=1
    fi
done
exit $failed
