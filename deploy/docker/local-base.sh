#!/usr/bin/env bash
# Prepares the base image where an ordinary `docker compose up` cannot: without an image registry,
# or behind package mirrors and certificate authorities that only this host knows.
#   debian:bookworm-slim   only when it is missing: pulled, else made with debootstrap (root)
#   ovpnha-base:bookworm   the same with the host's apt sources, pip settings and CA bundle;
#                          deploy/docker/host.yml builds from it
# `local-base.sh --root DIR` makes the latter as a directory, without docker; a DIR that is there gets
# but the settings anew.
# Must never change a debian:bookworm-slim that is there. The host's settings stay in local images.
set -euo pipefail

release=bookworm
slim=debian:$release-slim
ours=ovpnha-base:$release
pull_seconds=60
authorities=/usr/local/share/host-authorities.crt

die() {
    echo "local-base: $*" >&2
    exit 1
}

# sources: the files of the host's apt that name this release; others mean nothing to an image.
sources() {
    local suites="\\b$release(-updates|-security|/updates)?"
    grep -lE "^(deb .*[[:space:]]|Suites:.*)$suites([[:space:]]|\$)" \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true
}

# The first address in them that has the release itself.
mirror() {
    local files
    mapfile -t files < <(sources)
    ((${#files[@]})) || die "no apt source of this host has $release; run it on Debian 12"
    sed -nE 's/^(URIs:|deb( \[[^]]*\])?)[[:space:]]+([^[:space:]]+).*/\3/p' "${files[@]}" | head -n 1
}

# What the official image leaves out as well: texts, package lists that age, downloaded packages.
slim_down() {
    printf '%s\n' 'APT::Keep-Downloaded-Packages "false";' 'Dir::Cache::pkgcache "";' \
        'Dir::Cache::srcpkgcache "";' 'DPkg::Post-Invoke {"rm -f /var/cache/apt/archives/*.deb";};' \
        >"$1/etc/apt/apt.conf.d/90slim"
    printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/info/*' \
        '/usr/share/locale/*' >"$1/etc/dpkg/dpkg.cfg.d/docker"
    rm -rf "$1"/usr/share/{doc,man,info,locale}/* "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* \
        "$1"/var/log/*.log
}

# quietly COMMAND...: its output only when it fails.
quietly() {
    "$@" >"$work/log" 2>&1 && return
    tail -n 20 "$work/log" >&2
    die "$1 failed"
}

make_root() {
    ((EUID == 0)) || die "making a Debian $release needs root"
    command -v debootstrap >/dev/null || "${BASH_SOURCE[0]%/*}/../bootstrap.sh" base
    quietly debootstrap --variant=minbase "$release" "$1" "$(mirror)"
    slim_down "$1"
}

make_slim() {
    make_root "$work/root"
    tar -C "$work/root" --numeric-owner --one-file-system -c . |
        docker import --change 'CMD ["bash"]' - "$slim" >/dev/null
}

ensure_slim() {
    docker image inspect "$slim" >/dev/null 2>&1 && return
    echo "local-base: pulling $slim ..."
    timeout "$pull_seconds" docker pull -q "$slim" >/dev/null 2>&1 && return
    echo "local-base: no registry has it; making it with debootstrap (one to six minutes) ..."
    make_slim
}

apt_settings() {
    local to=$1/etc/apt file
    mkdir -p "$to/sources.list.d" "$to/apt.conf.d"
    while read -r file; do
        cp --parents "$file" "$1"
        # Keys that a source brings along.
        sed -nE 's/.*[Ss]igned-[Bb]y[:=][[:space:]]*(\/[^],[:space:]]+).*/\1/p' "$file" |
            xargs -r -I{} cp --parents {} "$1"
    done < <(sources)
    cat /etc/apt/apt.conf.d/* /etc/apt/apt.conf 2>/dev/null |
        grep -E '^[[:space:]]*Acquire::[^{]*;' >"$to/apt.conf.d/90host" || true
    echo "Acquire::https::CAInfo \"$authorities\";" >>"$to/apt.conf.d/90host"
}

# pip reads both files; what stands in the second counts.
pip_settings() {
    local key variable
    mkdir -p "$1/xdg/pip"
    [[ ! -r /etc/pip.conf ]] || cp /etc/pip.conf "$1/xdg/pip/pip.conf"
    {
        echo '[global]'
        for key in index-url extra-index-url trusted-host timeout proxy; do
            variable=${key^^}
            variable=PIP_${variable//-/_}
            [[ -z ${!variable-} ]] || echo "$key = ${!variable}"
        done
        echo "cert = $authorities"
    } >"$1/pip.conf"
}

# The tree of files that the host's settings are.
settings() {
    mkdir -p "$1/etc" "$1/${authorities%/*}"
    cat "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" >"$1/$authorities"
    apt_settings "$1"
    pip_settings "$1/etc"
}

image() {
    docker info >/dev/null 2>&1 || die "the docker engine does not answer; start it first"
    ensure_slim
    settings "$work/context/host"
    # The image's own sources would be asked as well, and may be out of reach.
    cat >"$work/context/Dockerfile" <<EOF
FROM $slim
RUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d
COPY host /
EOF
    quietly docker build --network=host -t "$ours" "$work/context"
    echo "local-base: $ours is ready"
}

directory() {
    [[ -d $1 ]] || {
        echo "local-base: making a bare Debian $release with debootstrap (one to six minutes) ..."
        rm -rf "$1.new"
        mkdir -p "$1.new"
        make_root "$1.new"
        mv "$1.new" "$1"
    }
    rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d
    settings "$work/host"
    cp -r "$work/host/." "$1/"
}

main() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    case ${1-} in
    --root) directory "${2:?usage: local-base.sh --root DIR}" ;;
    '') image ;;
    *) die "unknown: $1; usage: local-base.sh [--root DIR]" ;;
    esac
}

main "$@"; exit
