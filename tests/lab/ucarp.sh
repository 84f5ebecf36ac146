#!/usr/bin/env bash
# Unpacks the distribution's ucarp into build/ucarp. Never installs it: its package brings ifupdown,
# which would configure this machine's network at the next boot.
set -euo pipefail

to=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/ucarp
mkdir -p "${to%/*}"
# Parts of the tests run side by side.
exec 9>"${to%/*}/.ucarp.lock"
flock 9
[[ ! -x $to/usr/sbin/ucarp ]] || exit 0
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
chmod 755 "$new"
cd "$new"
# apt's lists may be too old, or not there at all.
apt-get -qq download ucarp 2>/dev/null || { apt-get -qq update && apt-get -qq download ucarp; }
dpkg-deb --extract ucarp_*.deb unpacked
mv unpacked "$to"
