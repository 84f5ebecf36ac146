#!/usr/bin/env bash
# Runs inside of the layer that run.sh makes: /mnt has the packages. No systemd runs here; a stub in
# its place writes down what maintainer scripts ask of it.
# shellcheck disable=SC2034  # places are read by the package's name
set -euo pipefail

work=/var/tmp/try
calls=$work/systemctl
ours=(ovpnha openvpn-cluster)

say() { echo "test-packages: $*"; }

die() {
    say "$*" >&2
    exit 1
}

# Without DPkg::Path maintainer scripts would not see the stub.
apt() {
    apt-get -q -y --no-install-recommends -o DPkg::Path="$PATH" "$@" >"$work/apt" 2>&1 && return
    cat "$work/apt" >&2
    die "apt-get $*"
}

stub_systemctl() {
    cat >/usr/local/bin/systemctl <<'END'
#!/bin/sh
echo "$*" >>/var/tmp/try/systemctl
case "$*" in
*is-active*) exit 0 ;;
*is-enabled*) echo enabled ;;
esac
END
    chmod 755 /usr/local/bin/systemctl
    rm -f /usr/sbin/policy-rc.d
    mkdir -p /run/systemd/system
    : >"$calls"
}

# asked VERB UNIT: whether somebody has asked systemd for it.
asked() { grep -qE "(^| )$1( --?[a-z-]+)* $2" "$calls"; }

# All that is on the disk, but for what dpkg and apt note themselves.
tree() {
    find / -xdev \( -path /mnt -o -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp \
        -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/log -o -path /var/lib/apt \
        -o -path /usr/local/bin/systemctl \) -prune -o \
        \( -type d -printf '%p %M %u:%g\n' -o -printf '%p %M %u:%g %s %l\n' \) | sort
    find /run -mindepth 1 ! -path '/run/systemd*' | sort
}

files_of() { dpkg -L "$1" | sort; }

# Where each package may have files.
allowed_ovpnha='^/(\.|etc/ovpnha(/ovpnha\.toml\.example)?|usr/bin/ovpnha|usr/lib/ovpnha(/.*)?'
allowed_ovpnha+='|(usr/)?lib/systemd/system/(ovpnha\.service|openvpn-beside@\.service|(keepalived|conntrackd)\.service\.d(/ovpnha\.conf)?)'
allowed_ovpnha+='|usr/lib/(sysusers|tmpfiles)\.d/ovpnha\.conf|usr/share/doc/ovpnha(/.*)?'
allowed_ovpnha+='|usr/share/man/man[15]/ovpnha(\.toml)?\.[15]\.gz|usr/share/lintian/overrides/ovpnha'
allowed_ovpnha+='|usr/share/bash-completion/completions/ovpnha|usr/share/zsh/vendor-completions/_ovpnha'
allowed_ovpnha+='|usr/share/fish/vendor_completions\.d/ovpnha\.fish)$'
allowed_openvpn_cluster='^/(\.|etc/openvpn/server|.*openvpn-cluster.*)$'

check_places() {
    local package=$1 allowed=allowed_${1//-/_} path paths
    mapfile -t paths < <(files_of "$package")
    for path in "${paths[@]}"; do
        [[ $path =~ ${!allowed} || (-d $path && ${paths[*]} == *" $path/"*) ]] ||
            die "$package has a file where it should have none: $path"
    done
}

# Everything is root's, and nobody else may write; what may be run is known.
check_modes() {
    local wrong
    wrong=$(files_of ovpnha | xargs -d '\n' stat -c '%A %U:%G %n' |
        grep -vE '^(drwxr-xr-x|-rw-r--r--|lrwxrwxrwx) root:root ' |
        grep -vE '^-rwxr-xr-x root:root .*/(bin/ovpnha|check-grade|examples/(frr|hooks|pacemaker|ucarp|uplinks)/[a-z-]+)$' || true)
    [[ ! $wrong ]] || die "wrong modes or owners: $wrong"
    [[ -x /usr/lib/ovpnha/check-grade ]] || die "check-grade cannot be run"
}

# What only the machine that has built them knows: paths, mirrors, certificates.
secrets() (
    set +o pipefail
    echo /srv/build-of-ovpnha
    cat /etc/apt/sources.list{,.d/*} 2>/dev/null | sed -nE 's,^(URIs:|deb ).*https?://([^/ ]+).*,\2,p'
    cat /etc/pip.conf /etc/xdg/pip/pip.conf 2>/dev/null | sed -nE 's,^[a-z-]*url = .*://([^/]+).*,\1,p'
    awk '/BEGIN/ { line = 0 } ++line == 4' /usr/local/share/host-authorities.crt
)

check_contents() {
    local found
    secrets | sort -u >"$work/secrets"
    (($(wc -l <"$work/secrets") > 10)) || die "too little to look for"
    found=$(files_of "$1" | while read -r path; do
        [[ ! -f $path || -L $path ]] || echo "$path"
    done | xargs -d '\n' zgrep -lFf "$work/secrets" || true)
    [[ ! $found ]] || die "$1 says where it was built: $found"
}

# What the pages tell people to start, in the package that they install.
check_units() { # PACKAGE FILE ...
    local package=$1 file path
    shift
    for file in "$@"; do
        path=$(files_of "$package" | grep -xE "(/usr)?/lib/systemd/system/$file") ||
            die "$package lacks $file"
        [[ -f $path ]] || die "$path is no file"
    done
}

check_texts() {
    local page
    for page in ovpnha.1 ovpnha.toml.5; do
        [[ ! $(man --warnings -l "/usr/share/man/man${page##*.}/$page.gz" 2>&1 >/dev/null) ]] ||
            die "man has warnings of $page"
    done
    [[ $(man ovpnha | sed -n '/^NAME/{n;p}') == *'ovpnha - high availability'* ]] || die "no page of ovpnha"
    bash -euo pipefail -c '
        source /usr/share/bash-completion/completions/ovpnha
        COMP_WORDS=(ovpnha stat) COMP_CWORD=1
        _ovpnha_completion ovpnha
        [[ ${COMPREPLY[*]} == status ]]' || die "bash does not complete ovpnha"
    ! systemd-analyze verify --man=yes ovpnha.service 2>&1 | grep 'ovpnha\.service' || die "the unit is wrong"
}

check_program() {
    # Nothing of the system's own packages, nor of the caller's, is looked at.
    /usr/lib/ovpnha/bin/python3 -Ic 'import sys; print(*sys.path, sep="\n")' | grep dist-packages &&
        die "the environment sees Debian's packages"
    /mnt/every-command.sh /usr/bin/ovpnha /etc/ovpnha/ovpnha.toml.example
    ! dpkg --verify "${ours[@]}" | grep . || die "using it has changed files"
    [[ ! $(find /usr/lib/ovpnha -newer "$work/installed" -type f) ]] || die "using it has made files"
}

check_install() {
    apt install /mnt/ovpnha_*.deb /mnt/openvpn-cluster_*.deb
    touch "$work/installed"
    getent passwd ovpnha | grep -q nologin || die "no user ovpnha that cannot log in"
    [[ $(stat -c %U /run/ovpnha) == ovpnha ]] || die "/run/ovpnha is not ovpnha's"
    ! asked '(re)?start|enable' ovpnha || die "installing it starts it: $(<"$calls")"
    ! asked '(re)?start|enable' openvpn || die "installing it starts a server: $(<"$calls")"
    [[ ! -e /etc/systemd/system/multi-user.target.wants/ovpnha.service ]] || die "installing enables it"
}

check_upgrade() {
    echo mine >/etc/ovpnha/ovpnha.toml
    echo key >/etc/ovpnha/cluster.key
    chmod 600 /etc/ovpnha/cluster.key
    : >"$calls"
    apt install /mnt/newer.deb
    ! asked stop ovpnha || die "an upgrade stops the sidecar: $(<"$calls")"
    asked try-restart ovpnha.service || die "an upgrade does not restart the sidecar: $(<"$calls")"
    ! asked '(re)?start|stop' '[^o]*(openvpn|keepalived)' || die "an upgrade touches others: $(<"$calls")"
    [[ $(</etc/ovpnha/ovpnha.toml) == mine ]] || die "an upgrade changes the configuration"
}

check_removal() {
    ln -s /usr/lib/systemd/system/ovpnha.service /etc/systemd/system/multi-user.target.wants/ovpnha.service
    : >"$calls"
    apt remove "${ours[@]}"
    asked stop ovpnha.service || die "a removal does not stop the sidecar: $(<"$calls")"
    [[ ! -e /usr/lib/ovpnha ]] || die "a removal leaves $(find /usr/lib/ovpnha)"
    apt purge "${ours[@]}"
    grep -q 'kept your own files.*/etc/ovpnha/cluster.key /etc/ovpnha/ovpnha.toml' "$work/apt" ||
        die "purge does not say what it keeps: $(<"$work/apt")"
    [[ $(stat -c %a /etc/ovpnha/cluster.key) == 600 ]] || die "purge changes the key"
    rm -r /etc/ovpnha
}

# The user stays; its entries are the only difference.
check_nothing_left() {
    local left
    left=$(diff "$work/before" <(tree) | grep '^[<>]' |
        grep -vE '^[<>] /etc/(passwd|group|shadow|gshadow)-? |^[<>] /etc/\.pwd\.lock |^[<>] /(etc|run|etc/systemd/system|etc/systemd/system/multi-user.target.wants) ' || true)
    [[ ! $left ]] || die "this is left after a purge: $left"
}

mkdir -p "$work"
stub_systemctl
tree >"$work/before"
check_install
say "installed"
for package in "${ours[@]}"; do
    check_places "$package"
    check_contents "$package"
done
check_modes
check_units openvpn-cluster openvpn-cluster{,-spare}@.service
check_units ovpnha ovpnha.service openvpn-beside@.service {keepalived,conntrackd}.service.d/ovpnha.conf
check_texts
say "files are where they should be, and say nothing of the machine that built them"
check_program
check_upgrade
say "brought up to date"
check_removal
check_nothing_left
say "removed and purged: nothing is left but the user"
