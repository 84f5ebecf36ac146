#!/usr/bin/env bash
# Makes the virtual environment in DIR from requirements.lock, with every hash checked, and puts
# ovpnha itself into it. Made anew only when the lock, the interpreter or the place has changed.
# `venv.sh DIR --lock` solves the lock anew from pyproject.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${1:?usage: venv.sh DIR [--lock]}
log=build/venv.log

die() {
    echo "venv: $*" >&2
    exit 1
}

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 /usr/bin/python3 python3.11 python3.12 python3.13; do
        usable "$candidate" && command -v "$candidate" && return
    done
    die "no Python 3.11 or later with the venv module; install python3-venv, or set PYTHON"
}

logged() {
    "$@" >>"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        die "failed; the whole log is $PWD/$log"
    }
}

# unchanged STAMP KEY: whether the environment was made from just this.
unchanged() { [[ -r $dir/$1 && $(<"$dir/$1") == "$2" ]]; }

install_locked() {
    echo "venv: installing $(grep -c == requirements.lock) packages into $dir ..."
    : >"$log"
    logged "$1" -m venv --clear "$dir"
    logged "$dir/bin/python" -m pip install --require-hashes --requirement requirements.lock
}

install_ovpnha() {
    logged "$dir/bin/python" -m pip install --no-deps --no-build-isolation --editable .
}

lock() {
    logged "$dir/bin/python" -m pip install pip-tools
    logged "$dir/bin/pip-compile" --quiet --strip-extras --allow-unsafe --generate-hashes \
        --all-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
        --output-file requirements.lock pyproject.toml
}

mkdir -p build
exec 9>build/.venv.lock
flock 9
[[ ${2-} != --lock ]] || lock
interpreter=$(python)
key=$(sha256sum <requirements.lock; "$interpreter" -VV; pwd)
unchanged .locked "$key" || {
    install_locked "$interpreter"
    echo "$key" >"$dir/.locked"
}
key=$(sha256sum <pyproject.toml)
unchanged .installed "$key" || {
    install_ovpnha
    echo "$key" >"$dir/.installed"
}
