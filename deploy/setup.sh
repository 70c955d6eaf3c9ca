#!/usr/bin/env bash
# What a fresh Debian machine with Rust and Go lacks. Installs it as root; else says what to install.
set -euo pipefail

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.95 or later (rustup) and put ~/.cargo/bin on PATH"
command -v go >/dev/null || fail "go is missing: install Go 1.26 or later and put its bin folder on PATH"

# command or file that shows it is there, then the package
wanted=(
    "gcc gcc" "g++ g++" "make make" "cmake cmake" "git git" "curl curl"
    "python3 python3" "/etc/ssl/certs/ca-certificates.crt ca-certificates"
)
missing=()
for pair in "${wanted[@]}"; do
    read -r what package <<<"$pair"
    command -v "$what" >/dev/null || [ -e "$what" ] || missing+=("$package")
done
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0
[ "$(id -u)" -eq 0 ] || fail "Debian packages are missing; as root: apt-get install ${missing[*]}"
printf 'setup: installing %s\n' "${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
