#!/bin/sh
# Runs one of the oracles with its pinned libraries: run.sh bedrock|graphql|providers ARGUMENTS...
# The libraries live in a virtual environment in the cache folder, made on first use, named by a hash of
# requirements.txt and of the Python that made it.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
fail() {
    echo "oracles: $1" >&2
    exit 3
}

[ $# -ge 1 ] || fail "usage: run.sh bedrock|graphql|providers ARGUMENTS..."
script="$here/${1}_oracle.py"
[ -f "$script" ] || fail "no oracle is called '$1': bedrock, graphql or providers"
shift

python=${DUO_ORACLE_PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 ||
    fail "'$python' was not found. On Debian: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "'$python' is older than 3.10. Name a newer one in DUO_ORACLE_PYTHON"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' cannot make virtual environments. On Debian: apt-get install python3-venv"

cache=${DUO_TESTKIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/duo-operator}
key=$({ cat "$here/requirements.txt"; "$python" -c 'import sys; print(sys.executable, sys.version)'; } | sha256sum | cut -c1-16)
venv="$cache/oracles-$key"

if [ ! -e "$venv/ready" ]; then
    mkdir -p "$cache"
    # suites run side by side: one installs, the others wait for it
    exec 9>"$venv.lock"
    flock 9
    if [ ! -e "$venv/ready" ]; then
        echo "oracles: installing the judges into $venv (once)" >&2
        rm -rf "$venv"
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt" >&2 ||
            fail "pip could not install requirements.txt (see above); a package index must be reachable on first use"
        : >"$venv/ready"
    fi
    exec 9>&-
fi

# nothing of the caller's AWS set-up may reach botocore
unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN AWS_BEARER_TOKEN_BEDROCK AWS_ENDPOINT_URL \
    AWS_ENDPOINT_URL_BEDROCK_RUNTIME AWS_CA_BUNDLE HTTP_PROXY HTTPS_PROXY http_proxy https_proxy ALL_PROXY all_proxy
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" "$script" "$@"
