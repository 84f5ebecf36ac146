#!/usr/bin/env bash
# Makes a virtual environment in DIR from requirements.lock, with every hash checked, and puts
# ovpnha into it. Must never let an index decide: nothing is resolved, and what has no wheel is
# built with the tools of the lock (docs/adr/0028).
#   venv.sh DIR          with everything for tests; ovpnha is this source tree. Made anew only when
#                        the interpreter or the place has changed, brought to the lock when that has
#   venv.sh DIR --node [WHEEL]
#                        only what a node needs, and a copy of ovpnha, of this tree or in WHEEL; DIR
#                        is touched when everything is at hand, so that a running node can be upgraded
#   venv.sh DIR --lock   solves the lock anew from pyproject.toml, with the tools in DIR
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${1:?usage: venv.sh DIR [--node [WHEEL] | --lock]}
log=build/venv.log
build_tools=(pip setuptools wheel hatchling editables)

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

# part_of_lock FILE [NAME...]: the lock's lines for these, else for a node, into FILE.
part_of_lock() {
    "$interpreter" deploy/part_of_lock.py pyproject.toml requirements.lock "${@:2}" >"$1"
}

# The interpreter's own pip, of whatever age, installs but the tools, which are wheels.
install_tools() {
    part_of_lock "$work/tools.txt" "${build_tools[@]}"
    logged "$1/bin/python" -m pip install --no-deps --require-hashes --only-binary :all: \
        --requirement "$work/tools.txt"
}

install_locked() {
    echo "venv: installing $(grep -c == requirements.lock) packages into $dir ..."
    : >"$log"
    [[ $(tail -n +2 "$dir/.locked" 2>/dev/null) == "$machine" ]] ||
        logged "$interpreter" -m venv --clear "$dir"
    rm -f "$dir/.locked" "$dir/.installed"
    install_tools "$dir"
    logged "$dir/bin/python" -m pip install --no-deps --require-hashes --no-build-isolation \
        --requirement requirements.lock
    remove_others
}

# What an earlier lock had.
remove_others() {
    local others
    mapfile -t others < <("$dir/bin/python" -m pip list --format=freeze | sed 's/==.*//' |
        sed 's/[-_.]\+/-/g; s/.*/\L&/' | grep -vxF -e ovpnha -f <(sed -n 's/==.*//p' requirements.lock))
    ((!${#others[@]})) || logged "$dir/bin/python" -m pip uninstall --yes "${others[@]}"
}

install_ovpnha() {
    logged "$dir/bin/python" -m pip install --no-deps --no-build-isolation --editable .
    logged "$dir/bin/python" -m pip check
}

for_tests() {
    local key machine
    machine=$("$interpreter" -VV; pwd)
    key=$(sha256sum <requirements.lock; echo "$machine")
    unchanged .locked "$key" || {
        install_locked
        echo "$key" >"$dir/.locked"
    }
    key=$(sha256sum <pyproject.toml)
    unchanged .installed "$key" || {
        install_ovpnha
        echo "$key" >"$dir/.installed"
    }
}

# A running sidecar finds its old files until the new ones replace them.
for_node() {
    local pip=("$work/tools/bin/python" -m pip) build=(wheel --no-deps --no-build-isolation)
    part_of_lock "$work/node.txt"
    echo "venv: installing ovpnha and $(grep -c == "$work/node.txt") packages into $dir ..."
    logged "$interpreter" -m venv "$work/tools"
    install_tools "$work/tools"
    logged "${pip[@]}" "${build[@]}" --wheel-dir "$work/wheels" --require-hashes \
        --requirement "$work/node.txt"
    logged "${pip[@]}" "${build[@]}" --wheel-dir "$work/wheels" "${1:-.}"
    "$dir/bin/python" -c '' 2>/dev/null || logged "$interpreter" -m venv --without-pip --clear "$dir"
    logged "${pip[@]}" --python "$dir/bin/python" install --no-deps --no-index --force-reinstall \
        "$work"/wheels/*.whl
    logged "${pip[@]}" --python "$dir/bin/python" check
}

lock() {
    logged "$dir/bin/pip-compile" --quiet --strip-extras --allow-unsafe --generate-hashes \
        --all-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
        --output-file requirements.lock pyproject.toml
}

mkdir -p build
exec 9>build/.venv.lock
flock 9
interpreter=$(python)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case ${2-} in
--node)
    : >"$log"
    for_node "${3-}"
    ;;
--lock)
    lock
    for_tests
    ;;
'') for_tests ;;
*) die "unknown: $2; usage: venv.sh DIR [--node [WHEEL] | --lock]" ;;
esac
