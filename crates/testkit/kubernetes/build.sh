#!/bin/sh
# Builds the programs of a real Kubernetes from source, once, into a cache folder; prints that folder on stdout.
#
#   build.sh [control-plane|node] [--where]
#
# control-plane (default): etcd, kube-apiserver, kube-controller-manager, kubectl
# node:                    those and kube-scheduler, kubelet, kube-proxy, coredns
# --where:                 only print the folder's path, build nothing
#
# The folder is ${DUO_TESTKIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/duo-operator}/kubernetes-<hash>, the hash is that of
# the versions pinned here and of this script, so a change of either builds anew and an old folder is never mixed with a
# new one. Each program appears in it at once (renamed into place), a lock keeps two callers from building twice.
# A cold build of everything takes about 15 minutes on 2 cores and leaves about 5 GB in Go's build cache.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
size=control-plane
where=
for argument; do
  case $argument in
    control-plane | node) size=$argument ;;
    --where) where=yes ;;
    *)
      echo "build.sh: unknown argument '$argument'; use: build.sh [control-plane|node] [--where]" >&2
      exit 2
      ;;
  esac
done

hash=$(cd "$here" && cat go.mod go.sum coredns/go.mod coredns/go.sum build.sh | sha256sum | cut -c1-16)
cache=${DUO_TESTKIT_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or DUO_TESTKIT_CACHE}/.cache}/duo-operator}
target=$cache/kubernetes-$hash
if [ -n "$where" ]; then
  echo "$target"
  exit 0
fi

programs="etcd kube-apiserver kube-controller-manager kubectl"
if [ "$size" = node ]; then
  programs="$programs kube-scheduler kubelet kube-proxy coredns"
fi

missing() {
  for program in $programs; do
    [ -x "$target/$program" ] || echo "$program"
  done
}

if [ -z "$(missing)" ]; then
  echo "$target"
  exit 0
fi

go=$(command -v go || true)
if [ -z "$go" ] && [ -x /usr/local/go/bin/go ]; then
  go=/usr/local/go/bin/go
fi
if [ -z "$go" ]; then
  echo "build.sh: Go is missing. Install Go 1.26 or newer (https://go.dev/dl/) and put it on PATH," >&2
  echo "or set KUBEBUILDER_ASSETS to a folder that has: $(echo $programs)" >&2
  exit 1
fi

# Go 1.21 and newer fetch the release that go.mod asks for by themselves; older ones (Debian 12 has 1.19) cannot read it
have=$(cd / && "$go" env GOVERSION | sed 's/^go//')
if [ "$(printf '%s\n1.21\n' "$have" | sort -V | head -n 1)" != 1.21 ]; then
  echo "build.sh: Go $have ($go) is too old. Install Go 1.26 or newer (https://go.dev/dl/) and put it first on PATH" >&2
  exit 1
fi

mkdir -p "$target"
# the lock is on a file descriptor, so it goes with this process however it ends
exec 9> "$cache/kubernetes-$hash.lock"
if ! flock --nonblock 9; then
  echo "another build of the same programs is running, waiting for it" >&2
  flock 9
fi

started=$(date +%s)
elapsed() { echo $(($(date +%s) - started)); }

todo=$(missing)
total=$(echo "$todo" | grep -c . || true)
stage=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM HUP

version=$(sed -n 's|^require k8s.io/kubernetes v||p' "$here/go.mod")
major=${version%%.*}
minor=${version#*.}
minor=${minor%%.*}
# without these the programs call themselves v0.0.0-master, and clients refuse to talk to so old a server
stamp=k8s.io/component-base/version
ldflags="-s -w -X $stamp.gitVersion=v$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor -X $stamp.gitTreeState=clean"

package_of() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    coredns) echo github.com/coredns/coredns ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

number=0
for program in $todo; do
  number=$((number + 1))
  module=$here
  [ "$program" = coredns ] && module=$here/coredns
  echo "building $program ($number/$total), $(elapsed) s elapsed" >&2
  (
    cd "$module"
    CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off nice -n 10 \
      "$go" build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$stage/$program" "$(package_of "$program")" 9>&- &
    build=$!
    # a shell without job control starts it deaf to Ctrl-C
    trap 'kill "$build" 2> /dev/null; exit 130' INT TERM HUP
    # a sign of life every half minute: one of these takes six minutes on 2 cores
    waited=0
    while kill -0 "$build" 2> /dev/null; do
      sleep 1
      waited=$((waited + 1))
      if [ $((waited % 30)) -eq 0 ]; then
        echo "building $program ($number/$total), $(elapsed) s elapsed" >&2
      fi
    done
    wait "$build"
  )
  mv "$stage/$program" "$target/$program"
done
echo "built $total programs in $(elapsed) s: $target" >&2
echo "$target"
