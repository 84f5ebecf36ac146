#!/usr/bin/env bash
# Builds the packages for RELEASE and tries them: installed, used, brought up to date, removed and
# purged in a throw-away layer of the clean system that they were built in, without a network.
# usage: run.sh RELEASE
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

release=${1:?usage: run.sh RELEASE}

# newer DEB: the same package, of a higher version.
newer() {
    dpkg-deb -R "$1" "$work/tree"
    sed -i 's/^Version: .*/&.1/' "$work/tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/tree" "$work/newer.deb" >/dev/null
    rm -rf "$work/tree"
}

deploy/packages/build.sh "$release"
work=$(mktemp -d "$PWD/build/packages/try.XXXXXX")
trap 'rm -rf "$work"' EXIT
start=$SECONDS
cp build/packages/"$release"/*.deb tests/packages/every-command.sh tests/packages/try.sh "$work/"
newer "$work"/ovpnha_*.deb
OFFLINE=1 deploy/packages/chroot.sh "$release" "$work" eatmydata /mnt/try.sh
echo "test-packages: $release: all passed in $((SECONDS - start)) s"
