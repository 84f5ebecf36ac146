# Sourced by what unpacks packages of the distribution below build/ and never installs them:
# `begin_unpacking NAME PROGRAM` ends the script when build/NAME has the program already, else
# leaves it in an empty directory that is removed at the end. `$to` is build/NAME.
# shellcheck shell=bash

begin_unpacking() {
    to=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/$1
    mkdir -p "${to%/*}"
    # Parts of the tests run side by side.
    exec 9>"${to%/*}/.$1.lock"
    flock 9
    [[ ! -x $to/$2 ]] || exit 0
    new=$(mktemp -d)
    trap 'rm -rf "$new"' EXIT
    chmod 755 "$new"
    cd "$new" || exit
}

# apt's lists may be too old, or not there at all.
fetch_or_update() { "$@" || { apt-get -qq update && "$@"; }; }
