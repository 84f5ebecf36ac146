#!/usr/bin/env bash
# Runs every command of an installed ovpnha, where there is no source tree and no sidecar: whatever
# a command loads or reads must have come with it. As root: check-config looks at a host, which is a
# network namespace with the interfaces that the example names.
# usage: every-command.sh PROGRAM EXAMPLE
set -euo pipefail

program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    sed "s|/etc/ovpnha/|$work/|; s|/run/ovpnha/|$work/|" "$2"
    printf '[control]\nsocket = "%s"\n' "$work/control.sock"
} >"$work/ovpnha.toml"
cd "$work"

die() {
    echo "every-command: $*" >&2
    exit 1
}

# ovpnha ARGUMENT...: with nothing of the caller's surroundings.
ovpnha() { env -i HOME="$work" LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$program" "$@"; }

# says CODE WORDS COMMAND...: it ends with this code, and says these words.
says() {
    local code=0 wanted=$1 words=$2 said
    shift 2
    said=$("$@" 2>&1) || code=$?
    [[ $code == "$wanted" && $said == *"$words"* && $said != *Traceback* ]] ||
        die "$* ended with $code and said: $said"
}

# runs_until_ended: the sidecar, which is told to end once it takes commands.
runs_until_ended() {
    local tries=600
    "$program" run --config ovpnha.toml &
    until [[ -S control.sock ]]; do
        ((tries--)) && kill -0 $! || return 1
        sleep 0.1
    done
    kill -TERM $!
    wait $!
}

here() {
    local command commands
    ip link set lo up
    ip link add bcn0 type veth peer name eth0
    ip address add 192.168.77.1/24 broadcast + dev bcn0
    ip link set bcn0 up
    ip link set eth0 up
    says 0 "ovpnha " ovpnha --version
    says 0 "ovpnha " ovpnha version
    commands=$(ovpnha --help | sed -n '/^Commands:/,$s/^  \([a-z-]*\) .*/\1/p')
    (($(wc -w <<<"$commands") > 10)) || die "--help shows too few commands: $commands"
    for command in $commands; do
        says 0 "Usage: ovpnha $command" ovpnha "$command" --help
    done
    says 0 '## [cluster]' ovpnha reference
    says 0 ovpnha_ ovpnha reference --metrics
    says 0 hello ovpnha reference --wire
    says 0 not_configured ovpnha reference --doctor
    says 0 '.TH "OVPNHA"' ovpnha reference --man 1
    says 0 '.TH "OVPNHA.TOML"' ovpnha reference --man 5
    says 0 complete ovpnha reference --completion bash
    says 2 cluster.key ovpnha check-config --config ovpnha.toml
    says 0 made ovpnha keygen cluster.key
    says 2 cluster.key ovpnha keygen cluster.key
    says 0 "0 changes of roles" ovpnha history --config ovpnha.toml
    says 0 keys ovpnha keygen --add cluster.key
    says 1 "is not known" ovpnha keygen --use-newest --config ovpnha.toml cluster.key
    says 0 "newest key seals" ovpnha keygen --use-newest --force cluster.key
    says 0 "1 old" ovpnha keygen --drop-old --force cluster.key
    says 0 good ovpnha check-config --config ovpnha.toml
    says 2 firewall.manage ovpnha firewall --config ovpnha.toml
    says 2 conntrack.flows ovpnha conntrackd-config --config ovpnha.toml
    for command in status clients demote promote hand-over pause resume resync switchover renegotiate; do
        says 1 'ovpnha: ' ovpnha "$command" --config ovpnha.toml
    done
    # The library of the event loop is a module of its own.
    says 0 '' runs_until_ended
    echo "every-command: all $(wc -w <<<"$commands") commands work"
}

export program work
# shellcheck disable=SC2016
unshare --net bash -euo pipefail -c "$(declare -f die ovpnha says runs_until_ended here)"'; here'
