#!/usr/bin/env bash
# Installs through apt what is missing, and nothing else: `bootstrap.sh build` for compiling the
# patched OpenVPN, `bootstrap.sh lab` for the lab and the tests, `bootstrap.sh fuzz` for fuzzing the
# patched OpenVPN, `bootstrap.sh dco` for the client machine with a kernel of its own,
# `bootstrap.sh base` for making a bare Debian. Several at once wait for each other. Must never leave
# a service running that was not there before. When nothing is missing it touches neither apt nor
# the network.
set -euo pipefail

build_packages=(
    autoconf automake build-essential debhelper dpkg-dev libcap-ng-dev libcmocka-dev liblz4-dev
    liblzo2-dev libnl-genl-3-dev libp11-kit-dev libpam0g-dev libpkcs11-helper1-dev libssl-dev
    libsystemd-dev libtool pkg-config procps python3-docutils quilt rsync systemd util-linux
)
lab_packages=(
    ca-certificates conntrack conntrackd debootstrap frr git iproute2 iptables iputils-arping iputils-ping
    keepalived libpcap0.8 make nftables openssl openvpn procps prometheus python3-venv shellcheck systemd-container
    util-linux
)
fuzz_packages=(clang libclang-rt-dev)
dco_packages=(qemu-system-x86)
policy=/usr/sbin/policy-rc.d
turn=/run/lock/ovpnha-bootstrap
busy='Could not get lock|Unable to lock'
patience=600

die() {
    echo "bootstrap: $*" >&2
    exit 1
}

missing() {
    printf '%s\n' "$@" | grep -vxF -f <(dpkg-query -W \
        -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
}

# shellcheck disable=SC1091
system() { (. /etc/os-release 2>/dev/null && echo "${ID-an unknown system} ${VERSION_ID-}"); }

check_machine() {
    case "$what on $(system)" in
    *' on debian 12' | 'build on debian 13') ;;
    'build on '*) die "this is $(system); run it on Debian 12 (bookworm) or 13 (trixie)" ;;
    *) die "this is $(system); run it on Debian 12 (bookworm)" ;;
    esac
    ((EUID == 0)) || die "missing: $*; run it as root, or install them with apt-get first"
}

# A package that brings a daemon must not start it: policy-rc.d is asked by every maintainer script.
forbid_service_starts() {
    [[ -e $policy ]] && return
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

# Those of these packages that apt does not know.
not_offered() {
    local package
    for package in "$@"; do
        [[ $(apt-cache madison "$package" 2>/dev/null) ]] || echo "$package"
    done
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=$patience "$@"; }

# For the lists of packages apt itself does not wait while another one, the machine's own updates
# perhaps, has them.
refresh_lists() {
    local until=$((SECONDS + patience)) said status
    while :; do
        status=0
        said=$(apt_get update 2>&1) || status=$?
        if ((!status || SECONDS >= until)) || ! grep -qE "$busy" <<<"$said"; then
            break
        fi
        sleep 1
    done
    echo "$said"
    return "$status"
}

install_missing() {
    local log unknown
    log=$(mktemp)
    echo "bootstrap: installing $*"
    forbid_service_starts
    if ! { refresh_lists && apt_get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        unknown=$(not_offered "$@" | xargs)
        [[ ! $unknown ]] || die "apt does not offer $unknown: its sources (/etc/apt/sources.list," \
            "/etc/apt/sources.list.d) lack Debian's main, or cannot be reached; the log is $log"
        die "apt-get failed, the whole log is $log; correct what it says and run again"
    fi
    rm -f "$log"
}

main() {
    local what=${1-} packages=() lacking=()
    case $what in
    build)
        packages=("${build_packages[@]}")
        [[ $(system) != 'debian 13' ]] || packages+=(systemd-dev) # Debian 12 has it in systemd
        ;;
    lab) packages=("${lab_packages[@]}") ;;
    fuzz) packages=("${fuzz_packages[@]}") ;;
    dco) packages=("${dco_packages[@]}") ;;
    base) packages=(debootstrap) ;;
    *) die "usage: bootstrap.sh {build|lab|fuzz|dco|base}" ;;
    esac
    mapfile -t lacking < <(missing "${packages[@]}")
    ((${#lacking[@]})) || return 0
    check_machine "${lacking[@]}"
    # One at a time: the first to end would allow services to start while another still installs.
    exec 8>"$turn"
    flock 8
    mapfile -t lacking < <(missing "${packages[@]}")
    ((!${#lacking[@]})) || install_missing "${lacking[@]}"
}

main "$@"
