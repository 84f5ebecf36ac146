#!/usr/bin/env bash
# Installs through apt what is missing, and nothing else: `bootstrap.sh build` for compiling the
# patched OpenVPN, `bootstrap.sh lab` for the lab and the tests, `bootstrap.sh fuzz` for fuzzing the
# patched OpenVPN. Must never leave a service running that was not there before. When nothing is
# missing it touches neither apt nor the network.
set -euo pipefail

build_packages=(
    autoconf automake build-essential debhelper dpkg-dev libcap-ng-dev libcmocka-dev liblz4-dev
    liblzo2-dev libnl-genl-3-dev libp11-kit-dev libpam0g-dev libpkcs11-helper1-dev libssl-dev
    libsystemd-dev libtool pkg-config procps python3-docutils quilt rsync systemd util-linux
)
lab_packages=(
    ca-certificates git iproute2 iputils-ping keepalived make nftables openssl openvpn procps
    prometheus python3-venv shellcheck util-linux
)
fuzz_packages=(clang libclang-rt-dev)
policy=/usr/sbin/policy-rc.d

die() {
    echo "bootstrap: $*" >&2
    exit 1
}

missing() {
    printf '%s\n' "$@" | grep -vxF -f <(dpkg-query -W \
        -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
}

check_machine() {
    local ID='' VERSION_ID=''
    # shellcheck disable=SC1091
    [[ -r /etc/os-release ]] && . /etc/os-release
    [[ $ID == debian && $VERSION_ID == 12 ]] ||
        die "this is ${ID:-an unknown system} $VERSION_ID; run it on Debian 12 (bookworm)"
    ((EUID == 0)) || die "missing: $*; run it as root, or install them with apt-get first"
}

# A package that brings a daemon must not start it: policy-rc.d is asked by every maintainer script.
forbid_service_starts() {
    [[ -e $policy ]] && return
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

install_missing() {
    local log
    log=$(mktemp)
    echo "bootstrap: installing $*"
    forbid_service_starts
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "apt-get failed, the whole log is $log; mend what it says and run again"
    fi
    rm -f "$log"
}

main() {
    local packages=() lacking=()
    case ${1-} in
    build) packages=("${build_packages[@]}") ;;
    lab) packages=("${lab_packages[@]}") ;;
    fuzz) packages=("${fuzz_packages[@]}") ;;
    *) die "usage: bootstrap.sh {build|lab|fuzz}" ;;
    esac
    mapfile -t lacking < <(missing "${packages[@]}")
    ((${#lacking[@]})) || return 0
    check_machine "${lacking[@]}"
    install_missing "${lacking[@]}"
}

main "$@"
