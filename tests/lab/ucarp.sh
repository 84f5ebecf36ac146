#!/usr/bin/env bash
# Unpacks the distribution's ucarp into build/ucarp. Never installs it: its package brings ifupdown,
# which would configure this machine's network at the next boot.
set -euo pipefail
# shellcheck source=tests/lab/unpack.sh
. "$(dirname "${BASH_SOURCE[0]}")/unpack.sh"

fetch() { apt-get -qq download ucarp 2>/dev/null; }

begin_unpacking ucarp usr/sbin/ucarp
fetch_or_update fetch
dpkg-deb --extract ucarp_*.deb unpacked
mv unpacked "$to"
