#!/usr/bin/env bash
# Makes the tree that every host of this lab starts from: Debian with systemd, the distribution's
# OpenVPN and keepalived.
#   tree.sh RELEASE    build/hosts/tree-RELEASE: that release with nothing of ours; packages come later
#   tree.sh            build/hosts/tree: a copy of that of Debian 12 with ovpnha in /opt/ovpnha, which
#                      has what the project's own .venv has
# Made anew only when this script, or the lock where it counts, has changed; downloaded packages are
# kept. Must never change anything outside build/hosts. Run as root.
# shellcheck disable=SC2317  # functions are called as text
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

host=bookworm # the release that the host's apt sources name
release=${1:-$host}
hosts=$PWD/build/hosts
tree=$hosts/tree${1:+-$1}
log=$tree.log
packages=(
    apt ca-certificates conntrack conntrackd dbus init-system-helpers iproute2 iputils-ping
    keepalived kmod netbase nftables openvpn procps python3 python3-venv systemd-sysv
)
# What tests and builds need, and a node does not.
left_out=(mypy mypyc ruff matplotlib mpl_toolkits numpy numpy.libs PIL hypothesis fontTools atheris)

# The first address in the host's apt sources that name its release, where others are, too;
# deploy/docker/local-base.sh asks the same way.
mirror() {
    local suites="\\b$host(-updates|-security|/updates)?"
    grep -lE "^(deb .*[[:space:]]|Suites:.*)$suites([[:space:]]|\$)" \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        xargs -r sed -nE 's/^(URIs:|deb( \[[^]]*\])?)[[:space:]]+([^[:space:]]+).*/\3/p' | head -n 1
}

debian() {
    local unit
    mkdir -p "$hosts/archives"
    # It mounts things below what it makes, and leaves them there when it fails.
    unshare --mount --fork --kill-child debootstrap --variant=minbase --cache-dir="$hosts/archives" \
        --include="$(IFS=,; echo "${packages[*]}")" "$release" "$tree.new" "$(mirror)"
    # Nothing may happen on these hosts that the lab has not asked for.
    for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer conntrackd.service; do
        [[ ! -e $tree.new/usr/lib/systemd/system/$unit ]] ||
            chroot "$tree.new" systemctl disable "$unit"
    done
    chroot "$tree.new" systemctl enable systemd-networkd
    : >"$tree.new/etc/machine-id"
}

sidecar() {
    cp -a --reflink=auto "$hosts/tree-$host" "$tree.new"
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
    local wanted made_of=(tests/hosts/tree.sh)
    [[ $release =~ ^(bookworm|trixie)$ ]] || {
        echo "hosts: RELEASE is bookworm or trixie, not $release" >&2
        exit 1
    }
    (($#)) || {
        made_of+=(requirements.lock)
        bash "${made_of[0]}" "$host"
    }
    wanted=$(sha256sum "${made_of[@]}" | sha256sum)
    mkdir -p "$hosts"
    exec 9>"$tree.lock"
    flock 9
    [[ -r $tree.stamp && $(<"$tree.stamp") == "$wanted" ]] && return
    echo "hosts: making ${tree##*/} (one to six minutes) ..."
    rm -rf --one-file-system "$tree" "$tree.new" "$tree.stamp"
    # By a shell of its own: behind `if` this one would go on after a command that fails.
    if ! bash -euo pipefail -c "$(declare -p host release hosts tree packages left_out)
        $(declare -f mirror debian sidecar); $( (($#)) && echo debian || echo sidecar)" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "hosts: no tree; the whole log is $log" >&2
        exit 1
    fi
    mv "$tree.new" "$tree"
    echo "$wanted" >"$tree.stamp"
}

main "$@"; exit
