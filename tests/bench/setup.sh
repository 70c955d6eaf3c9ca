#!/usr/bin/env bash
# What measuring needs beyond building: nginx to compare with, perf for the profile. `make test` needs neither.
set -euo pipefail

missing=()
[ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v perf >/dev/null || missing+=(linux-perf)
command -v taskset >/dev/null || missing+=(util-linux)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    printf 'bench: Debian packages are missing; as root: apt-get install %s\n' "${missing[*]}" >&2
    exit 1
fi
printf 'bench: installing %s\n' "${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
if [ ! -e /usr/sbin/policy-rc.d ]; then
    # keeps the package from starting a server of its own
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
