#!/usr/bin/env bash
# The wheel and the source archive of ovpnha, in build/dist.
#   dist.sh          makes both, has twine check them, and makes the wheel from the archive once
#                    more: it must be the same, to the byte
#   dist.sh --try    installs the wheel beside nothing but what requirements.lock names, and runs
#                    every command there, in a directory without this source tree
#   dist.sh --lock   solves twine.lock anew: twine is for this check alone, so that what tests need
#                    does not grow by its thirty packages
# Must never publish anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

dist=build/dist
lock=deploy/packages/twine.lock
log=$PWD/build/dist.log

die() {
    echo "dist: $*" >&2
    exit 1
}

logged() {
    "$@" >>"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        die "$1 failed; the whole log is $log"
    }
}

# twine in an environment of its own, made anew when its lock or the interpreter changes.
need_twine() {
    local tools=$PWD/build/dist-tools key
    twine=$tools/bin/twine
    key=$(sha256sum <"$lock"; .venv/bin/python -VV)
    [[ -r $tools/.made && $(<"$tools/.made") == "$key" ]] && return
    logged .venv/bin/python -m venv --without-pip --clear "$tools"
    logged .venv/bin/python -m pip --python "$tools/bin/python" install --no-deps --require-hashes \
        --only-binary :all: --requirement "$lock"
    echo "$key" >"$tools/.made"
}

# build FROM TO TARGET...: without asking an index for the tools; they are in .venv by hash.
build() {
    local from=$1 to=$2 target
    shift 2
    for target in "$@"; do
        (cd "$from" && logged "$python" -m hatchling build --target "$target" --directory "$to")
    done
}

same_wheel_from_archive() {
    local made
    mkdir "$work/again"
    tar -C "$work/again" --strip-components=1 -xf "$dist"/ovpnha-*.tar.gz
    build "$work/again" "$work/wheel" wheel
    made=$(ls "$work"/wheel/ovpnha-*.whl)
    cmp "$made" "$dist/${made##*/}" || die "the archive makes another wheel than this tree"
}

make_both() {
    rm -rf "$dist"
    build . "$PWD/$dist" sdist wheel
    need_twine
    logged "$twine" check --strict "$dist"/*
    same_wheel_from_archive
    du -k "$dist"/* | sed "s|^\([0-9]*\)[[:space:]]*|dist: \1 KiB |"
}

try_wheel() {
    local wheels=("$dist"/ovpnha-*.whl)
    deploy/venv.sh "$work/node" --node "${wheels[0]}"
    tests/packages/every-command.sh "$work/node/bin/ovpnha" deploy/ovpnha.toml
}

solve() {
    printf '%s\n' twine 'readme-renderer[md]' >"$work/twine.in"
    logged .venv/bin/pip-compile --quiet --strip-extras --allow-unsafe --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --no-emit-trusted-host --constraint requirements.lock --output-file "$lock" "$work/twine.in"
}

python=$PWD/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p build
: >"$log"
case ${1-} in
'') make_both ;;
--try) try_wheel ;;
--lock) solve ;;
*) die "unknown: $1; usage: dist.sh [--try | --lock]" ;;
esac
