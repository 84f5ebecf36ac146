#!/usr/bin/env bash
# Makes the tree that every host of this lab starts from, build/hosts/tree: Debian with systemd, the
# distribution's OpenVPN and keepalived, and ovpnha in /opt/ovpnha, which has what the project's own
# .venv has. Made anew only when this script or the lock has changed; downloaded packages are kept.
# Must never change anything outside build/hosts. Run as root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

release=bookworm
hosts=$PWD/build/hosts
tree=$hosts/tree
log=$hosts/tree.log
packages=(
    apt ca-certificates conntrack conntrackd dbus init-system-helpers iproute2 iputils-ping
    keepalived kmod netbase nftables openvpn procps python3 python3-venv systemd-sysv
)
# What tests and builds need, and a node does not.
left_out=(mypy mypyc ruff matplotlib mpl_toolkits numpy numpy.libs PIL hypothesis fontTools atheris)

# The first address in the host's apt sources that name the release; deploy/docker/local-base.sh asks
# the same way.
mirror() {
    local suites="\\b$release(-updates|-security|/updates)?"
    grep -lE "^(deb .*[[:space:]]|Suites:.*)$suites([[:space:]]|\$)" \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        xargs -r sed -nE 's/^(URIs:|deb( \[[^]]*\])?)[[:space:]]+([^[:space:]]+).*/\3/p' | head -n 1
}

debian() {
    mkdir -p "$hosts/archives"
    debootstrap --variant=minbase --cache-dir="$hosts/archives" \
        --include="$(IFS=,; echo "${packages[*]}")" "$release" "$tree.new" "$(mirror)"
    # Nothing may happen on these hosts that the lab has not asked for.
    chroot "$tree.new" systemctl disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
    chroot "$tree.new" systemctl disable conntrackd
    chroot "$tree.new" systemctl enable systemd-networkd
    : >"$tree.new/etc/machine-id"
}

sidecar() {
    local to=$tree.new/opt/ovpnha site=lib/python3.11/site-packages skip=() name
    chroot "$tree.new" python3 -m venv --without-pip /opt/ovpnha
    for name in "${left_out[@]}"; do
        skip+=("--exclude=./$name")
    done
    tar -C ".venv/$site" "${skip[@]}" --exclude=__pycache__ --exclude='*.pth' -c . |
        tar -C "$to/$site" -x
    printf '#!/opt/ovpnha/bin/python3\nfrom ovpnha.cli import main\nmain()\n' >"$to/bin/ovpnha"
    chmod 755 "$to/bin/ovpnha"
    chroot "$tree.new" /opt/ovpnha/bin/python3 -m compileall -q "/opt/ovpnha/$site"
}

main() {
    local wanted
    wanted=$(sha256sum tests/hosts/tree.sh requirements.lock | sha256sum)
    [[ -r $tree.stamp && $(<"$tree.stamp") == "$wanted" ]] && return
    echo "hosts: making the tree of the hosts (one to six minutes) ..."
    rm -rf "$tree" "$tree.new" "$tree.stamp"
    mkdir -p "$hosts"
    if ! { debian && sidecar; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "hosts: no tree; the whole log is $log" >&2
        exit 1
    fi
    mv "$tree.new" "$tree"
    echo "$wanted" >"$tree.stamp"
}

main "$@"; exit
