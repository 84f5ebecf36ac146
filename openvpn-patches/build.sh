#!/usr/bin/env bash
#
#  build.sh -- builds Debian's OpenVPN with the cluster feature
#
#  Copyright (C) 2026 the ovpnha authors
#
#  This program is free software; you can redistribute it and/or modify
#  it under the terms of the GNU General Public License version 2
#  as published by the Free Software Foundation.
#
# Takes the pinned Debian source package, adds the new files of common/ as the first patch and the
# series of the version's folder after it, and builds. Every target is done only when something it
# depends on has changed. Must never accept other files than those in SHA256SUMS.RELEASE while the
# archive has that version, nor without its signature; nor a patch that applies with fuzz. README.md
# in this folder says what each target is for.
# shellcheck disable=SC2016,SC2317
set -euo pipefail
export LC_ALL=C QUILT_PATCHES=debian/patches DEBIAN_FRONTEND=noninteractive
unset MAKEFLAGS MFLAGS MAKELEVEL QUILT_PATCH_OPTS

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
series=$here/2.6
# shellcheck disable=SC1091
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")
sums=$series/SHA256SUMS.$release # each release of Debian has its own source
out=$(cd "$here/.." && pwd)/build/openvpn
log=$out/build.log
fuzz_seeds=$here/common/fuzz-seeds # of real exports; they change no binary
jobs=-j$(nproc)
wanted=${OVPNHA_OPENVPN_SOURCE:-pinned} # pinned, or newest: a security update that is not pinned yet

untried='' # what to say with every error while the source is not the pinned one

die() {
    echo "openvpn: $*${untried:+; $untried}" >&2
    exit 1
}

say() {
    printf 'openvpn: %s\n' "$*"
}

# run TEXT COMMAND...: one line for the terminal, everything else into the log.
run() {
    local text=$1 start=$SECONDS rc
    shift
    printf 'openvpn: %s ...\n' "$text"
    printf '\n== %s: %s\n' "$text" "$*" >>"$log"
    # Not `if ! ...`: bash would ignore -e inside the command.
    set +e
    (set -e && "$@") >>"$log" 2>&1
    rc=$?
    set -e
    if ((rc)); then
        tail -n 30 "$log" >&2
        die "$text failed after $((SECONDS - start)) s; the whole log is $log"
    fi
    printf 'openvpn: %s done in %d s\n' "$text" $((SECONDS - start))
}

# ---- stamps: a target is fresh while the hash of its inputs is the one it was made from

inputs() {
    (cd "$here" && find build.sh common debian "${series##*/}" -path common/fuzz-seeds -prune -o \
        -type f -print0 2>/dev/null | sort -z | xargs -0 sha256sum; source_version; echo "$release"
        dpkg-query -W -f '${Version}\n' libssl-dev) | sha256sum | cut -d' ' -f1
}

fresh() { [[ -r $out/stamp/$1 && $(<"$out/stamp/$1") == "$inputs_hash" ]]; }

stamp() { echo "$inputs_hash" >"$out/stamp/$1"; }

# ---- the source package

pinned() { cut -d' ' -f3 "$sums" | grep "$1"; }

pinned_version() { pinned '\.dsc$' | sed 's/^openvpn_\(.*\)\.dsc$/\1/'; }

# The version that was fetched.
source_version() { cat "$out/src/version" 2>/dev/null || true; }

source_is_pinned() { (cd "$out/src" && sha256sum --quiet --check "$sums") >>"$log" 2>&1; }

# An apt of our own that knows only the source side of the machine's archives: the user's lists of
# sources stay as they are, and archive signatures are checked as always.
private_apt() {
    local file parts=$out/apt/parts
    mkdir -p "$parts" "$out/apt/lists/partial" "$out/apt/cache/archives/partial"
    rm -f "$parts"/*
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -r $file ]] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$parts/${file##*/}"
    done
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        sed -n 's/^deb /deb-src /p' >"$parts/oneline.list"
    cat >"$out/apt/apt.conf" <<EOF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$parts";
Dir::State::Lists "$out/apt/lists";
Dir::Cache "$out/apt/cache";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
EOF
    # An archive without sources makes update fail; only whether ours is found counts.
    apt-get -q -c "$out/apt/apt.conf" update >>"$log" 2>&1 || true
}

offered() {
    apt-cache -c "$out/apt/apt.conf" showsrc openvpn 2>>"$log" | sed -n 's/^Version: //p' | sort -u
}

# The pinned version, else the newest of its series: Debian replaces a version with every update.
best_offered() {
    { [[ $wanted == pinned ]] && offered | grep -xF "$1"; } ||
        offered | grep "^${series##*/}\." | sort -V | tail -n 1 || true
}

download() {
    (cd "$out/src" && apt-get -q -c "$out/apt/apt.conf" source --download-only "openvpn=$1") \
        >>"$log" 2>&1
}

# choose VERSION: fetches it, or what the archive has in its place; sets `version`.
choose() {
    local pinned=$1
    say "fetching Debian's source package openvpn $pinned ..."
    private_apt
    version=$(best_offered "$pinned")
    [[ $version ]] ||
        die "apt has no source of openvpn $pinned nor of any ${series##*/} (it offers:" \
            "$(offered | xargs)); correct the machine's sources of apt, or put the files of" \
            "$pinned into $out/src; what apt said is in $log"
    download "$version" || die "apt offers openvpn $version but did not get it; see $log"
    [[ $version != "$pinned" ]] || source_is_pinned ||
        die "the source package in $out/src is not the pinned one; remove it and run again"
}

fetch_source() {
    local version reason
    version=$(pinned_version)
    reason="the archive has openvpn $version no more"
    [[ $wanted == pinned ]] || reason="the newest source was asked for, where $version is pinned"
    mkdir -p "$out/src"
    { [[ $wanted == pinned ]] && source_is_pinned; } || choose "$version"
    echo "$version" >"$out/src/version"
    echo "$reason" >"$out/src/reason"
}

get_source() {
    fetch_source
    inputs_hash=$(inputs)
    note_untried
}

# Sets what errors say while the source is another one than the pinned.
note_untried() {
    local version reason
    version=$(source_version)
    untried=''
    [[ $version != "$(pinned_version)" ]] || return 0
    reason=$(cat "$out/src/reason")
    say "$reason: built from $version, which must take every patch without fuzz and pass the unit" \
        "tests"
    untried="openvpn $version was taken since $reason: port"
    untried+=" openvpn-patches/${series##*/}/series to it and pin it in ${sums##*/}"
    untried+=" (openvpn-patches/README.md, \"When Debian brings a new version\")"
}

# ---- the patched tree

# The new files are kept as files; here they become the first patch of the series.
new_files_patch() {
    local work=$out/new-files file
    rm -rf "$work"
    mkdir -p "$work"/{a,b}/src/openvpn "$work"/{a,b}/tests/unit_tests/openvpn
    for file in "$here"/common/*.[ch]; do
        [[ -r $file ]] || continue
        case ${file##*/} in
        test_*) cp "$file" "$work/b/tests/unit_tests/openvpn/" ;;
        *) cp "$file" "$work/b/src/openvpn/" ;;
        esac
    done
    cat <<EOF
Description: cluster: the new files
 The codec of the replicated record, the ownership of packet ids, roles and
 commands. Generated by build.sh from openvpn-patches/common; the patches
 that follow hook them in.
Author: the ovpnha authors
Forwarded: not-needed

EOF
    (cd "$work" && { diff -Naur a b || true; } | sed 's/^\(---\|+++\) \([^\t]*\)\t.*/\1 \2/')
    rm -rf "$work"
}

our_patches() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$series/series" 2>/dev/null || true; }

# unpack DIR: Debian's tree with Debian's patches applied, ours added to the series, not applied.
unpack() {
    local patch
    rm -rf "$1"
    dpkg-source --no-copy -x "$out/src/openvpn_$(source_version).dsc" "$1"
    new_files_patch >"$1/debian/patches/ovpnha-new-files.patch"
    if grep -q '^+++' "$1/debian/patches/ovpnha-new-files.patch"; then
        echo ovpnha-new-files.patch >>"$1/debian/patches/series"
    else
        rm "$1/debian/patches/ovpnha-new-files.patch"
    fi
    for patch in $(our_patches); do
        cp "$series/$patch" "$1/debian/patches/"
        echo "$patch" >>"$1/debian/patches/series"
    done
}

apply_all() {
    cd "$1"
    local rc=0
    quilt push -a --fuzz=0 || rc=$?
    ((rc == 0 || rc == 2)) # 2: nothing to do
}

# What autoreconf reads, and what it writes: running it takes longer than compiling one file.
autoreconf_inputs() {
    (cd "$1" && find . -path ./autom4te.cache -prune -o \( -name '*.ac' -o -name '*.am' -o \
        -name '*.m4' ! -name 'l*.m4' ! -name aclocal.m4 \) -print0 | sort -z |
        xargs -0 sha256sum)
}

autoreconf_outputs=(
    Makefile.in /configure /aclocal.m4 /config.h.in /autom4te.cache /compile /config.guess
    /config.sub /depcomp /install-sh /ltmain.sh /missing '/m4/l*.m4'
)

assemble() {
    unpack "$out/new"
    (apply_all "$out/new")
    if [[ ! -x $out/tree/configure || $(autoreconf_inputs "$out/new") != \
        "$(cat "$out/stamp/autoreconf" 2>/dev/null)" ]]; then
        rm -f "$out/stamp/autoreconf"
        (cd "$out/new" && autoreconf --force --install)
    fi
}

# Only files whose content changed get a new time, so that make rebuilds only what it must.
sync_tree() {
    mkdir -p "$out/tree"
    if [[ -e $out/stamp/autoreconf ]]; then
        rsync -rlpc --delete "${autoreconf_outputs[@]/#/--exclude=}" "$out/new/" "$out/tree/"
    else
        rsync -rlpc --delete "$out/new/" "$out/tree/"
        cd "$out/tree"
        touch aclocal.m4
        touch config.h.in configure
        find . -name Makefile.in -exec touch {} +
        autoreconf_inputs "$out/tree" >"$out/stamp/autoreconf"
    fi
    rm -rf "$out/new"
}

tree() {
    if [[ $wanted == pinned ]] && fresh tree; then
        note_untried
        return
    fi
    : >"$log"
    get_source
    run "applying $(our_patches | wc -l) patches" assemble
    run "updating the tree" sync_tree
    if [[ $untried ]]; then
        compile_with
        judged unit_tests on
    fi
    stamp tree
}

# ---- builds

# Debian's flags (debian/rules and dh_auto_configure), without the switch that turns unit tests off.
debian_flags=(
    --prefix=/usr --sysconfdir=/etc --localstatedir=/var --runstatedir=/run
    --mandir='${prefix}/share/man' --includedir='${prefix}/include/openvpn'
    --enable-pkcs11 --enable-x509-alt-username --enable-systemd --enable-dco
)

buildflags() {
    DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get "$1"
}

# What gcc 14, Debian 13's, takes for errors.
strict="-Werror=implicit-function-declaration -Werror=incompatible-pointer-types"
strict+=" -Werror=int-conversion"

# configure SOURCE BUILD ARGS...: only when configure or its arguments changed.
configure() {
    local source=$1 build=$2 key
    shift 2
    key=$(sha256sum <"$source/configure"; printf '%s\n' "$@")
    [[ -r $build/.configured && $(<"$build/.configured") == "$key" ]] && return
    mkdir -p "$build"
    (cd "$build" && SYSTEMD_ASK_PASSWORD=/bin/systemd-ask-password \
        SYSTEMD_UNIT_DIR=/lib/systemd/system TMPFILES_DIR=/usr/lib/tmpfiles.d \
        "$source/configure" --quiet --enable-silent-rules "${debian_flags[@]}" "$@")
    echo "$key" >"$build/.configured"
}

compile() {
    local name=$1
    shift
    fresh "$name" && return
    run "configuring ($name)" configure "$out/tree" "$out/$name" "$@"
    run "compiling ($name)" make "$jobs" -C "$out/$name"
    stamp "$name"
}

compile_with() {
    compile on --enable-cluster CPPFLAGS="$(buildflags CPPFLAGS)" \
        CFLAGS="$(buildflags CFLAGS) $strict" LDFLAGS="$(buildflags LDFLAGS)"
}

compile_without() {
    compile off --disable-cluster CPPFLAGS="$(buildflags CPPFLAGS)" \
        CFLAGS="$(buildflags CFLAGS) $strict" LDFLAGS="$(buildflags LDFLAGS)"
}

compile_sanitized() {
    local sanitize="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
    compile asan --enable-cluster CFLAGS="-O1 -g -fno-omit-frame-pointer $sanitize $strict" \
        LDFLAGS="$sanitize"
}

# The split brain test writes down every nonce, and has ranges that are used up within seconds. A
# second binary lacks the cap on packet ids: there the test must find what it looks for.
trace_flags="-DCLUSTER_TRACE -DCLUSTER_RANGE_FIRST=64u -DCLUSTER_RANGE_LAST=1024u"
trace_flags+=" -DCLUSTER_RANGE_MIN=16u -DCLUSTER_RANGE_END=0xFF000000u"

compile_uncapped() {
    local flags="$trace_flags -DCLUSTER_TRACE_NO_CAP"
    cd "$out/trace/src/openvpn"
    cp openvpn traced
    rm cluster_range.o
    make CPPFLAGS="$flags" cluster_range.o openvpn
    mv openvpn uncapped
    mv traced openvpn
    rm cluster_range.o
    make cluster_range.o
    touch openvpn
}

trace() {
    tree
    fresh trace && say "the traced binaries are fresh" && return
    compile trace --enable-cluster CPPFLAGS="$trace_flags" CFLAGS="-O1 -g"
    rm "$out/stamp/trace"
    run "compiling without the cap" compile_uncapped
    publish trace/src/openvpn/openvpn openvpn-trace
    publish trace/src/openvpn/uncapped openvpn-uncapped
    stamp trace
}

# publish FROM TO: replaced in one step, since a running OpenVPN may hold the old file.
publish() {
    cmp -s "$out/$1" "$out/$2" && return
    install -m 755 "$out/$1" "$out/$2.new"
    mv "$out/$2.new" "$out/$2"
}

binary() {
    tree
    compile_with
    publish on/src/openvpn/openvpn openvpn
    say "binary: $out/openvpn"
}

# ---- a client of before 2.6

# It announces what OpenVPN 2.5 did, so that the server derives keys as for that one: by OpenVPN's
# own PRF, of which the session ids are part, and without a tls-crypt key of each session's own.
new_abilities='TLS_KEY_EXPORT\|DYN_TLS_CRYPT\|CC_EXIT_NOTIFY\|DNS_OPTION\|AUTH_FAIL_TEMP'

compile_old_client() {
    cd "$out/off/src/openvpn"
    sed "s/iv_proto |= IV_PROTO_\($new_abilities\);/;/" "$out/tree/src/openvpn/ssl.c" >ssl.c
    rm ssl.o
    mv openvpn stock
    make ssl.o openvpn
    mv openvpn old-client
    rm ssl.c ssl.o
    make ssl.o
    mv stock openvpn
    touch openvpn
}

old_client() {
    tree
    fresh old-client && say "the old client is fresh" && return
    compile_without
    run "compiling a client as of 2.5" compile_old_client
    publish off/src/openvpn/old-client openvpn-old-client
    stamp old-client
}

# ---- tests

# Test scripts use fixed ports and devices: each run gets a network namespace of its own.
isolated() {
    local user=()
    ((EUID == 0)) || user=(--user --map-root-user)
    unshare "${user[@]}" --net -- bash -c 'ip link set lo up && exec "$@"' isolated "$@"
}

has_dummy_devices() { isolated ip link add oha-probe type dummy 2>/dev/null; }

unit_tests() { make "$jobs" -C "$out/$1/tests/unit_tests" check; }

# All that `make check` would run; t_net.sh only where the kernel can make the device it needs.
whole_check() {
    local scripts=()
    has_dummy_devices || scripts=("TESTS=t_client.sh t_lpback.sh t_cltsrv.sh")
    unit_tests "$1" && isolated make "$jobs" -C "$out/$1/tests" check-am "${scripts[@]}"
}

# OpenVPN's test harness prints a line for each test: PASS, FAIL, XFAIL, SKIP, ERROR.
results() { sed -n "s/^$2: //p" "$out/$1-check.log"; }

# Nothing is skipped in silence. t_client.sh needs OpenVPN's own test servers, and the tests of the
# feature have nothing to test where it is compiled out; any other skip is a failure.
judge() {
    local name=$1 may_skip='t_client\.sh' skipped passed
    [[ $name != off ]] || may_skip+='\|cluster.*_testdriver'
    passed=$(results "$name" PASS | wc -l)
    skipped=$(results "$name" SKIP | grep -vx "$may_skip" | xargs || true)
    [[ -z $skipped ]] || die "tests skipped ($name): $skipped; the log is $out/$name-check.log"
    ((passed)) || die "no test ran ($name); the whole log is $out/$name-check.log"
    skipped=$(results "$name" SKIP | xargs)
    say "$passed test programs passed ($name)${skipped:+; cannot run here: $skipped}"
}

# judged COMMAND NAME: runs the tests of a build into its own log.
judged() {
    local rc=0
    "$1" "$2" >"$out/$2-check.log" 2>&1 || rc=$?
    if ((rc)); then
        tail -n 30 "$out/$2-check.log" >&2
        die "make check ($2) failed: $(results "$2" FAIL | xargs); the whole log is" \
            "$out/$2-check.log"
    fi
    judge "$2"
}

check() {
    tree
    fresh check && say "make check passed before, nothing changed" && return
    compile_with
    compile_without
    say "make check, feature in and out, side by side (about 2 minutes) ..."
    has_dummy_devices || say "t_net.sh is not run: this kernel has no dummy devices"
    printf '%s\n' on off | xargs -P 2 -n 1 "$here/build.sh" check-one || exit 1
    stamp check
}

asan() {
    tree
    compile_sanitized
    publish asan/src/openvpn/openvpn openvpn-asan
    fresh asan-tests && say "sanitized unit tests passed before, nothing changed" && return
    say "unit tests under AddressSanitizer and UBSan ..."
    UBSAN_OPTIONS=print_stacktrace=1 judged unit_tests asan
    stamp asan-tests
}

# ---- fuzzing

# All of OpenVPN is instrumented and linked: inputs are given to a whole server.
# What stock OpenVPN does is left out where it is harmless, or it would hide everything behind it:
# pool.c shifts the bytes of an IPv6 address into the sign of an int.
configure_fuzz() {
    local sanitize="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"
    printf '[shift-base]\nsrc:*/pool.c\n' >"$out/fuzz.ignore"
    configure "$out/tree" "$out/fuzz" --enable-cluster CC=clang \
        CFLAGS="-O1 -g -fno-omit-frame-pointer -fno-sanitize=function $sanitize \
-fsanitize-ignorelist=$out/fuzz.ignore" LDFLAGS="-fsanitize=address,undefined"
}

# The fuzzer brings main(), OpenVPN's gets another name; what would reach out of the process is
# wrapped, see test_cluster_fuzz_server.c.
fuzz_wraps=(x_msg tunnel_server_udp open_tun time gettimeofday sendto getaddrinfo)

link_fuzz() {
    local objects=() libraries=() tests=$out/tree/tests/unit_tests/openvpn driver
    driver=$(clang -print-file-name="libclang_rt.fuzzer_no_main-$(uname -m).a")
    cd "$out/fuzz/src/openvpn"
    objcopy --redefine-sym main=openvpn_main openvpn.o fuzz-main.o
    mapfile -t objects < <(find . -maxdepth 1 -name '*.o' ! -name openvpn.o)
    read -ra libraries < <(sed -n 's/^\(OPTIONAL_[A-Z0-9_]*LIBS\|LIBS\|SOCKETS_LIBS\) = //p' \
        Makefile | xargs)
    clang -g -O1 -Wall -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
        -DHAVE_CONFIG_H -DCLUSTER_FUZZ_CONFIG="\"$out/fuzz/server/server.conf\"" \
        -I"$out/fuzz" -I"$out/tree/include" -I"$out/tree/src/compat" -I"$out/tree/src/openvpn" \
        "$tests/test_cluster_fuzz.c" "$tests/test_cluster_fuzz_server.c" "${objects[@]}" \
        ../compat/.libs/libcompat.a "${fuzz_wraps[@]/#/-Wl,--wrap=}" "$driver" "${libraries[@]}" \
        -lresolv -lcmocka -lstdc++ -lm -I/usr/include/libnl3 -o "$out/fuzz/cluster-import"
}

# The server that inputs are given to, with keys of its own. It takes what the seeds are.
make_fuzz_server() {
    local server=$out/fuzz/server openvpn=$out/fuzz/src/openvpn/openvpn
    rm -rf "$server"
    mkdir "$server"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=fuzz \
        -days 3650 -keyout "$server/server.key" -out "$server/server.crt"
    "$openvpn" --genkey secret "$server/ta.key"
    "$openvpn" --genkey auth-token "$server/token.key"
    cat >"$server/server.conf" <<EOF
local 127.0.0.1
port 0
proto udp4
dev tun0
ifconfig-noexec
route-noexec
topology subnet
server 10.8.0.0 255.255.252.0
server-ipv6 2001:db8:8::/64
route 10.50.0.0 255.255.255.0
ca $server/server.crt
cert $server/server.crt
key $server/server.key
dh none
tls-crypt $server/ta.key
auth SHA512
data-ciphers AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305:AES-256-CBC
auth-gen-token 0
auth-gen-token-secret $server/token.key
dns search-domains example.org
management $server/management unix
cluster
max-clients 64
hash-size 4 4
keepalive 10 60
hand-window 2
persist-key
verb 4
EOF
}

compile_fuzz() {
    fresh fuzz && return
    run "configuring (fuzz)" configure_fuzz
    run "compiling (fuzz)" make "$jobs" -C "$out/fuzz/src"
    run "linking (fuzz)" link_fuzz
    run "making a server" make_fuzz_server
    rm -rf "$out/fuzz/seeds"
    mkdir "$out/fuzz/seeds"
    run "writing seeds" env CLUSTER_FUZZ_SEEDS="$out/fuzz/seeds" "$out/fuzz/cluster-import"
    stamp fuzz
}

# A seed that is refused says nothing: all of them are accepted, or it is time to make them anew.
try_seeds() {
    CLUSTER_FUZZ_ACCEPT=1 isolated "$out/fuzz/cluster-import" "$out/fuzz/seeds"/* "$fuzz_seeds"/*
}

# Hostile records and lines for cluster-import. What is found lies in build/fuzz; what a run learnt
# stays in build/openvpn/fuzz/corpus for the next one.
fuzz() {
    local found=$out/../fuzz log=$out/fuzz-import.log count
    "$here/../deploy/bootstrap.sh" fuzz
    tree
    compile_fuzz
    mkdir -p "$found" "$out/fuzz/corpus"
    # OpenVPN copies a server's own --dns options for each client and never frees them.
    echo leak:clone_dns_options >"$out/fuzz/leaks"
    export LSAN_OPTIONS=suppressions=$out/fuzz/leaks
    run "trying the seeds" try_seeds
    say "fuzzing cluster-import for $fuzz_seconds s ..."
    isolated "$out/fuzz/cluster-import" -max_total_time="$fuzz_seconds" -max_len=16384 \
        -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/import-" \
        "$out/fuzz/corpus" "$out/fuzz/seeds" "$fuzz_seeds" >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        die "cluster-import failed; the input is in $found, the whole log is $log"
    }
    for count in accepted_records accepted_updates promoted_records received_only_keys; do
        grep -q "$count: *[1-9]" "$log" || die "$count is 0: nothing was tested; see $log"
    done
    say "$(sed -n 's/^#[0-9]*\tDONE *//p' "$log")"
    say "$(grep -h '^Done\|^stat::' "$log" | xargs)"
}

# ---- the package

# Debian's changelog goes on below the new head, so that the security updates in it can be read.
deb_changelog() {
    local version
    version=$(dpkg-parsechangelog -S Version)+ovpnha1
    {
        printf 'openvpn-cluster (%s) %s; urgency=medium\n\n' "$version" "$release"
        sed 's/^/  /' "$here/debian/changelog.head"
        printf '\n -- the ovpnha authors <ovpnha@ovpnha.invalid>  %s\n\n' \
            "$(date --rfc-email --utc --date="$(dpkg-parsechangelog -S Date) + 1 minute")"
        cat debian/changelog
    } >debian/changelog.new
    mv debian/changelog.new debian/changelog
}

# Of Debian's own packaging only what tells about the source is kept: patches, changelog, copyright.
deb_packaging() {
    mv debian ../theirs
    cp -R "$here/debian" debian
    rm debian/changelog.head debian/copyright.added
    mv ../theirs/{changelog,patches} debian/
    sed '/^Files: debian\/\*$/,/^$/d' ../theirs/copyright |
        cat - "$here/debian/copyright.added" >debian/copyright
    deb_changelog
    rm -rf ../theirs
}

# The tarballs of upstream's, by the name that this source package needs.
deb_origs() {
    local file version
    version=$(source_version)
    for file in "$out/src/openvpn_${version%-*}.orig.tar".*; do
        ln "$file" "$out/deb/openvpn-cluster_${file##*/openvpn_}"
    done
}

deb_build() {
    rm -rf "$out/deb"
    mkdir -p "$out/deb"
    unpack "$out/deb/openvpn-cluster"
    (apply_all "$out/deb/openvpn-cluster")
    deb_origs
    cd "$out/deb/openvpn-cluster"
    deb_packaging
    DEB_BUILD_OPTIONS="noautodbgsym parallel=$(nproc)" dpkg-buildpackage -us -uc
    rm -f "$out"/openvpn-cluster_*
    mv "$out"/deb/openvpn-cluster_* "$out/"
    rm -rf "$out/deb"
}

# The package's own build runs the unit tests, whatever source it is made from.
deb() {
    if [[ $wanted == newest ]] || ! fresh deb; then
        : >"$log"
        get_source
    fi
    if ! fresh deb; then
        run "building the Debian package and its source" deb_build
        stamp deb
    fi
    note_untried
    say "package: $(ls "$out"/openvpn-cluster_*.deb)"
}

# ---- every step of the series

step() {
    configure "$out/steps/tree" "$out/steps/$1" "--$1-cluster" CFLAGS=-O0
    make "$jobs" -C "$out/steps/$1"
    make "$jobs" -C "$out/steps/$1" check TESTS=
}

push_one() {
    cd "$out/steps/tree"
    quilt push --fuzz=0
}

renew_configure() {
    cd "$out/steps/tree"
    [[ $(autoreconf_inputs .) == "$(cat ../inputs 2>/dev/null)" ]] && return
    autoreconf --force --install
    autoreconf_inputs . >../inputs
}

# What a step is built from: the source with every patch so far.
step_key() {
    (cd "$out/steps/tree"
        quilt applied | sed 's:.*/::; s:^:debian/patches/:' | xargs cat
        source_version
        declare -f step
        dpkg-query -W -f '${Version}\n' libssl-dev) | sha256sum | cut -d' ' -f1
}

# A step that was built before, with the same steps before it, is not built again: not after an
# interruption, nor when only a later patch has changed.
steps() {
    local patch key keys=() built=$out/stamp/steps-built
    tree
    fresh steps && say "every step built before, nothing changed" && return
    mkdir -p "$out/steps"
    rm -rf "$out/steps/tree" "$out/steps/inputs"
    touch "$built"
    run "unpacking" unpack "$out/steps/tree"
    for patch in $(cd "$out/steps/tree" && quilt unapplied); do
        run "patch ${patch##*/}" push_one
        key=$(step_key)
        keys+=("$key")
        grep -qx "$key" "$built" && say "  built before" && continue
        run "  configure" renew_configure
        run "  builds with the feature" step enable
        run "  builds without" step disable
        echo "$key" >>"$built"
    done
    printf '%s\n' "${keys[@]}" >"$built"
    rm -rf "$out/steps"
    stamp steps
}

usage() {
    cat <<EOF
usage: build.sh TARGET...
  binary  $out/openvpn, for the lab
  asan    the unit tests and $out/openvpn-asan under AddressSanitizer and UBSan
  check   make check with the feature compiled in and compiled out
  deb     $out/openvpn-cluster_*.deb, beside the distribution's openvpn, and its source
  fuzz [SECONDS]  cluster-import on hostile records, under clang's libFuzzer
  old-client  openvpn-old-client, whose keys are derived as before OpenVPN 2.6
  trace   openvpn-trace and openvpn-uncapped, for the split brain test
  steps   every patch of the series builds, with the feature in and out (slow)
OVPNHA_OPENVPN_SOURCE=newest takes the newest ${series##*/} that apt offers in place of the pinned one.
EOF
}

main() {
    (($#)) || { usage; exit 2; }
    if [[ $1 == check-one ]]; then # from check, under its lock
        judged whole_check "$2"
        return
    fi
    [[ $wanted == @(pinned|newest) ]] ||
        die "OVPNHA_OPENVPN_SOURCE is $wanted; it can be pinned or newest"
    [[ -r $sums ]] || die "this is ${release}, and openvpn-patches/${series##*/} has the source of" \
        "$(find "$series" -name 'SHA256SUMS.*' | sed 's/.*\.//' | sort | xargs) only; build it there"
    mkdir -p "$out/stamp"
    exec 9>"$out/.lock"
    flock -n 9 || { say "waiting for another build"; flock 9; }
    "$here/../deploy/bootstrap.sh" build 9>&-
    inputs_hash=$(inputs)
    local target fuzz_seconds=20
    for target in "$@"; do
        case $target in
        [0-9]*) ;; # the seconds of fuzz
        fuzz)
            [[ ${2-} != [0-9]* ]] || fuzz_seconds=$2
            fuzz 9>&-
            ;;
        old-client) old_client 9>&- ;;
        binary | asan | check | deb | steps | trace) "$target" 9>&- ;;
        *) usage >&2; die "unknown target: $target" ;;
        esac
    done
}

main "$@"; exit # in one line: the file may be replaced while it runs
