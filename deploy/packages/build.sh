#!/usr/bin/env bash
# Builds all packages for one release of Debian: build/packages/RELEASE/*.deb.
#   build.sh RELEASE [PACKAGE...]   RELEASE: bookworm or trixie; PACKAGE: ovpnha or openvpn-cluster
# Each is built in a throw-away layer of a clean system (chroot.sh), judged there by lintian, and
# done only when something it is made from has changed. A tag of lintian that no override of the
# package gives a reason for is an error. Must never change the source tree. Run as root.
# shellcheck disable=SC2034,SC2317  # functions and lists are found by their names' text
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# shellcheck source=deploy/packages/quietly.sh
source deploy/packages/quietly.sh

usage='usage: build.sh RELEASE [PACKAGE...]'

# What each package is made from.
ovpnha_paths=(
    README.md LICENSE CHANGELOG.md SECURITY.md pyproject.toml requirements.lock ovpnha deploy docs
)
openvpn_cluster_paths=(openvpn-patches deploy/bootstrap.sh)

# Also what is not committed yet, but nothing that was made.
files() {
    if [[ -e .git ]]; then
        git ls-files --cached --others --exclude-standard -z -- "$@" | xargs -0 ls -d 2>/dev/null
    else
        find "$@" -type f ! -path '*/__pycache__/*'
    fi | LC_ALL=C sort
}

# When ovpnha was last changed, for everything that wants a date.
source_date() {
    if [[ -e .git ]]; then
        git log -1 --format=%ct -- "${ovpnha_paths[@]}"
    else
        stat -c %Y pyproject.toml
    fi
}

# Ours, behind it the commit's time if that is no release, and the release of Debian: an update of
# Debian brings a higher one.
ovpnha_version() {
    local version commit=''
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' ovpnha/__init__.py)
    if [[ -e .git ]] && ! git describe --tags --exact-match --match "v$version" >/dev/null 2>&1; then
        commit=+git$(date --utc --date="@$(source_date)" +%Y%m%d%H%M%S)
    fi
    case $release in
    bookworm) echo "$version$commit+deb12" ;;
    trixie) echo "$version$commit+deb13" ;;
    esac
}

changelog() {
    cat <<END
ovpnha ($(ovpnha_version)) $release; urgency=medium

  * What has changed is in /usr/share/doc/ovpnha/CHANGELOG.md.

 -- the ovpnha authors <ovpnha@ovpnha.invalid>  $(date --rfc-email --utc --date="@$(source_date)")
END
}

# Inside: the source is in /mnt/source, what is made goes to /mnt/made.
inside_ovpnha() {
    cp -r /mnt/source /srv/build-of-ovpnha
    cd /srv/build-of-ovpnha
    cp -r deploy/packages/debian .
    cp /mnt/changelog debian/changelog
    eatmydata dpkg-buildpackage --build=binary --no-sign
    cp ../ovpnha_*.deb /mnt/made/
}

inside_openvpn_cluster() {
    cp -r /mnt/source /srv/build-of-ovpnha
    cd /srv/build-of-ovpnha
    eatmydata openvpn-patches/build.sh deb
    cp build/openvpn/openvpn-cluster_*.deb /mnt/made/
}

# Not what it says of overrides: a tag that one release's lintian knows another's does not.
judge() {
    lintian --allow-root --display-info --fail-on none --tag-display-limit 0 /mnt/made/*.deb |
        tee /mnt/tags
    ! grep '^[EWI]: ' /mnt/tags | grep -vE ': (alien-tag|unused-override) '
}

in_chroot() {
    deploy/packages/chroot.sh "$release" "$work" \
        bash -euo pipefail -c "export SOURCE_DATE_EPOCH=$(source_date); $(declare -f "$1"); $1"
}

# What is built and not judged yet lies in $made, so that a tag costs no second build.
build() {
    local package=$1 word=${1//-/_} key
    local -n paths=${word}_paths
    key=$({ files "${paths[@]}" | xargs -d '\n' sha256sum; version_of "$package"
        declare -f "inside_$word"; cat deploy/packages/chroot.sh; } | sha256sum)
    if unchanged "$out/$package.stamp" "$key"; then
        echo "packages: $package for $release is up to date"
        return
    fi
    rm -f "$out/$package.stamp" "$out/${package}"_*.deb
    made=$out/made/$package
    log=$PWD/$out/$package.log
    if ! unchanged "$made/stamp" "$key"; then
        make_one
        echo "$key" >"$made/stamp"
    fi
    work=$PWD/$made
    quietly "lintian of $package" in_chroot judge
    mv "$made"/made/*.deb "$out/"
    rm -rf "$made"
    echo "$key" >"$out/$package.stamp"
}

unchanged() { [[ -r $1 && $(<"$1") == "$2" ]]; }

# Of build's package; the shared directory stays.
make_one() {
    rm -rf "$made"
    mkdir -p "$made"/{source,made}
    work=$PWD/$made
    files "${paths[@]}" | tar -c --verbatim-files-from --files-from=- | tar -x -C "$work/source"
    changelog >"$work/changelog"
    : >"$log"
    quietly "building $package for $release" in_chroot "inside_$word"
    rm -rf "$work/source"
}

version_of() {
    [[ $1 != ovpnha ]] || ovpnha_version
}

main() {
    local package packages
    release=${1:?$usage}
    shift
    packages=("$@")
    ((${#packages[@]})) || packages=(ovpnha openvpn-cluster)
    ((EUID == 0)) || die "run it as root: it makes mounts and namespaces"
    out=build/packages/$release
    # Says what is wrong with RELEASE, and makes the system once.
    deploy/packages/chroot.sh "$release"
    mkdir -p "$out"
    exec 9>"$out/.lock"
    flock 9
    for package in "${packages[@]}"; do
        [[ $package =~ ^(ovpnha|openvpn-cluster)$ ]] || die "no package $package; $usage"
        build "$package"
    done
    du -k "$out"/*.deb | sed 's/^\([0-9]*\)[[:space:]]*/packages: \1 KiB /'
}

main "$@"; exit
