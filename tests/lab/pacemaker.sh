#!/usr/bin/env bash
# Unpacks the distribution's Pacemaker, corosync and resource agents into build/pacemaker, with all
# that they need and this machine lacks. Never installs them: they bring services and users. A node
# of the lab lays them over its own /usr (tests/lab/pacemaker-node).
set -euo pipefail
# shellcheck source=tests/lab/unpack.sh
. "$(dirname "${BASH_SOURCE[0]}")/unpack.sh"

fetch() {
    apt-get -qq -s install --no-install-recommends \
        pacemaker pacemaker-cli-utils corosync resource-agents libxml2-utils 2>/dev/null |
        sed -n 's/^Inst \([^ ]*\).*/\1/p' >names
    [[ -s names ]] && xargs apt-get -qq download <names 2>/dev/null
}

begin_unpacking pacemaker usr/sbin/pacemakerd
fetch_or_update fetch
for package in *.deb; do dpkg-deb --extract "$package" unpacked; done
# /lib is /usr/lib here.
[[ ! -d unpacked/lib ]] || { cp -a unpacked/lib/. unpacked/usr/lib/ && rm -r unpacked/lib; }
rm -rf "$to"
mv unpacked "$to"
