#!/usr/bin/env bash
# A clean Debian of one release, to build packages in and to try them in.
#   chroot.sh RELEASE SHARED COMMAND...   runs COMMAND as root in a throw-away layer above it, with
#                                         the directory SHARED as /mnt; OFFLINE=1: without a network
# The system lies in build/packages/system/RELEASE, made with debootstrap, and is kept until what goes
# into it has changed. What this host alone knows (apt's sources, pip's settings, certificate
# authorities) is copied into it as deploy/docker/local-base.sh does it, with the suites of RELEASE in
# place of the host's. All mounts and processes are those of one `unshare` and end with it. Must never
# write outside build/packages and SHARED. Run as root.
# shellcheck disable=SC2317  # functions are called by others, or as text
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=deploy/packages/quietly.sh
source deploy/packages/quietly.sh

ours=$PWD/build/packages
tools=(
    build-essential ca-certificates debhelper eatmydata fakeroot iproute2 lintian man-db python3-venv
    systemd
)
devices=(null zero full random urandom tty)

# The host's settings, for this release.
settings() {
    local host release=$1 to=$ours/settings/$1
    # shellcheck disable=SC1091
    host=$(. /etc/os-release && echo "$VERSION_CODENAME")
    rm -rf "$to"
    mkdir -p "$to"
    deploy/docker/local-base.sh --root "$to"
    find "$to/etc/apt" -type f -name '*.*s*' -exec sed -i "s/\\b$host\\b/$release/g" {} +
}

mirror() {
    cat "$ours/settings/$1"/etc/apt/sources.list{,.d/*} 2>/dev/null |
        sed -nE 's/^(URIs:|deb( \[[^]]*\])?)[[:space:]]+([^[:space:]]+).*/\3/p' | head -n 1
}

# debootstrap mounts things below the root it makes, and leaves them there when it is killed.
bare() {
    unshare --mount --fork --kill-child debootstrap --variant=minbase \
        --include=ca-certificates,eatmydata "$1" "$root.new" "$(mirror "$1")"
    # Nothing here must outlive a power cut.
    echo force-unsafe-io >"$root.new/etc/dpkg/dpkg.cfg.d/unsafe-io"
    printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
    chmod 755 "$root.new/usr/sbin/policy-rc.d"
    rm -rf "$root.new"/etc/apt/sources.list "$root.new"/etc/apt/sources.list.d
    cp -r "$ours/settings/$1/." "$root.new/"
}

# What compiles the patched OpenVPN is known in one place.
furnish() {
    enter "$root.new" eatmydata apt-get -q update
    enter "$root.new" eatmydata apt-get -q install -y --no-install-recommends "${tools[@]}"
    cp deploy/bootstrap.sh "$root.new/tmp/"
    enter "$root.new" eatmydata bash /tmp/bootstrap.sh build
    rm -rf "$root.new"/var/cache/apt/* "$root.new/tmp/bootstrap.sh"
}

# enter ROOT COMMAND...: in a world of its own with this root.
enter() {
    export root_dir=$1 offline=${OFFLINE:+--net}
    shift
    # shellcheck disable=SC2016,SC2086
    unshare --mount --pid --ipc --uts $offline --fork --kill-child --mount-proc bash -euo pipefail -c \
        "$(declare -p devices); $(declare -f inside)"'; inside "$@"' packages "$@"
}

# Called by enter, as text.
inside() {
    local device
    hostname packages
    mount --rbind "$root_dir" "$root_dir"
    [[ ! ${layer-} ]] || mount -t overlay overlay \
        -o "lowerdir=$base,upperdir=$layer/upper,workdir=$layer/work" "$root_dir"
    mount -t proc proc "$root_dir/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root_dir/run"
    mount -t tmpfs -o mode=755 tmpfs "$root_dir/dev"
    mkdir -p "$root_dir"/dev/{pts,shm} "$root_dir/run/lock"
    for device in "${devices[@]}"; do
        touch "$root_dir/dev/$device"
        mount --bind "/dev/$device" "$root_dir/dev/$device"
    done
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root_dir/dev/pts"
    ln -s pts/ptmx "$root_dir/dev/ptmx"
    ln -s /proc/self/fd "$root_dir/dev/fd"
    mount -t tmpfs -o mode=1777 tmpfs "$root_dir/dev/shm"
    [[ ! ${shared-} ]] || mount --bind "$shared" "$root_dir/mnt"
    cat /etc/resolv.conf >"$root_dir/etc/resolv.conf"
    ip link set lo up
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$root_dir" "$@"
}

make_root() {
    local wanted
    wanted=$({ declare -p tools; declare -f bare furnish; sed -n '/^build_packages=/,/)$/p' deploy/bootstrap.sh; } | sha256sum)
    [[ -r $root.stamp && $(<"$root.stamp") == "$wanted" ]] && return
    rm -rf --one-file-system "$root" "$root.new" "$root.stamp"
    mkdir -p "${root%/*}"
    log=$root.log
    : >"$log"
    quietly "making a bare Debian $1 with debootstrap" bare "$1"
    quietly "installing what a build needs" furnish
    mv "$root.new" "$root"
    echo "$wanted" >"$root.stamp"
}

main() {
    local release=${1:?usage: chroot.sh RELEASE SHARED COMMAND...} base
    [[ $release =~ ^(bookworm|trixie)$ ]] || die "RELEASE is bookworm or trixie, not $release"
    ((EUID == 0)) || die "run it as root: it makes mounts and namespaces"
    root=$ours/system/$release
    mkdir -p "$ours"
    exec 9>"$ours/.root-$release.lock"
    flock 9
    deploy/bootstrap.sh base
    settings "$release"
    make_root "$release"
    flock -u 9
    (($# > 2)) || return 0
    shared=$(realpath "$2")
    base=$root
    layer=$(mktemp -d "$ours/layer.XXXXXX")
    trap 'rm -rf --one-file-system "$layer"' EXIT
    mkdir -p "$layer"/{upper,work,root}
    export shared base layer
    shift 2
    enter "$layer/root" "$@" 9>&-
}

main "$@"; exit
