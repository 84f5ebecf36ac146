"""Checks of each OpenVPN server: its file, its units, its process, its socket, its certificates."""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.doctor.facts import (
    CertificateFacts,
    ConntrackdFacts,
    Facts,
    KeepalivedFacts,
    ServerFacts,
    SidecarFacts,
    SocketFacts,
    UnitFacts,
    Unread,
)
from ovpnha.doctor.kinds import DoctorKind, Told, Unmade, find
from ovpnha.doctor.turn import is_prepared, servers
from ovpnha.machines import SparePolicy

SOON = 30 * 86400.0
"""Seconds before the end of a certificate at which it is time to renew it."""
CRL_SOON = 7 * 86400.0
DAY = 86400.0
NONLOCAL = "net.ipv4.ip_nonlocal_bind"
ROLES = {
    "certificate": "the server's certificate",
    "ca": "the certificate authority",
    "crl": "the list of revoked certificates",
}
RENEW = {
    "certificate": 'renew it (docs/operations.md, "A new server certificate, node by node")',
    "ca": "renew it, and give clients the new one in time",
    "crl": "make a new one (easyrsa gen-crl), and copy it to all nodes: without it no client gets"
    " in",
}


def check_readable(facts: Facts) -> Iterator[Told]:
    """Files of servers that this user may not read."""
    for one in facts.servers:
        if isinstance(one, Unread):
            yield Unmade("a server's configuration", one.why)


def check_membership(facts: Facts) -> Iterator[Told]:
    """Who says ``cluster``, and who serves on the same address without it."""
    vips = {vip for one in facts.configuration.instances for vip in one.vips}
    for one in servers(facts):
        if one.cluster and not one.instance:
            yield find(
                DoctorKind.SERVER_WITHOUT_INSTANCE,
                f"{one.path} says cluster, and no [[instance]] of ovpnha.toml is this server:"
                " nobody promotes it, and it serves nobody",
                f'add [[instance]] with name = "{one.name}", or take cluster out of {one.path}',
            )
        if not one.cluster and not one.instance and one.local in vips:
            how = "by TCP" if one.tcp else "without cluster"
            waits = not facts.host.tunables.get(NONLOCAL)
            ends = ", and on a standby it ends with Cannot assign requested address"
            yield find(
                DoctorKind.TCP_BESIDE,
                f"{one.path} serves on the VIP {one.local} {how}: its clients reconnect at a move"
                f"{ends if waits else ''}",
                "nothing: its unit starts it again until the VIP is here; with sysctl -w"
                f" {NONLOCAL}=1 it starts at once",
            )


def check_options(facts: Facts) -> Iterator[Told]:
    """What is legal, and has a consequence that is easily missed."""
    for one in servers(facts):
        if not one.cluster and not one.instance:
            continue
        if one.user not in ("", "root"):
            yield find(
                DoctorKind.USER_GIVEN_UP,
                f"{one.path} says user {one.user}: what this OpenVPN opens after its start"
                " (crl-verify, client-config-dir, scripts) must be open to that user, on each node",
                "look that it is; restart the unit instead of sending SIGHUP, after which it could"
                " not make its management socket again",
            )
        if one.pool_file:
            yield find(
                DoctorKind.POOL_FILE,
                f"{one.path} says ifconfig-pool-persist {one.pool_file}: each node writes a file of"
                " its own. Who stays connected keeps his address; who connects anew may get"
                " another one on another node",
                "for addresses that stay use ifconfig-push in client-config-dir, the same on all"
                " nodes",
            )
        yield from _check_memory(one)
        if one.cluster and not one.guarded:
            yield find(
                DoctorKind.MANAGEMENT_UNGUARDED,
                f"{one.path} does not name the sidecar's user: OpenVPN lets only root, or the user"
                " that it runs as, use its management socket",
                f"add to {one.path}: management-client-user ovpnha and management-client-group"
                " ovpnha",
            )


def _check_memory(one: ServerFacts) -> Iterator[Told]:
    limit = one.process.locked_memory if one.process is not None else None
    if one.locks_memory and limit is not None:
        yield find(
            DoctorKind.MEMORY_LOCK,
            f"{one.path} says mlock, and OpenVPN (pid {one.process.pid if one.process else 0}) may"
            f" lock {limit // 1024} kB: imported clients need more, and it ends when it has none",
            "LimitMEMLOCK=infinity in its unit, then systemctl daemon-reload and a restart",
        )


def check_units(facts: Facts) -> Iterator[Told]:
    """What starts a server, now and after a reboot."""
    beside = not isinstance(facts.packages, Unread) and facts.packages.beside
    for one in servers(facts):
        for unit in (one.unit, one.stock_unit):
            if isinstance(unit, Unread):
                yield Unmade(f"the units of {one.name}", unit.why)
                break
        else:
            prepared = is_prepared(one, facts)
            yield from [_prepared(one)] if prepared else _check_units_of(one, beside=beside)


def _prepared(one: ServerFacts) -> Told:
    name = one.stock_unit.name if isinstance(one.stock_unit, UnitFacts) else ""
    return find(
        DoctorKind.SERVER_PREPARED,
        f"{name} serves with what it was started with, and {one.path} says cluster by now: a"
        " restart of it, or a reboot, fails, for its OpenVPN is Debian's",
        "do what is left in a quiet hour: ovpnha init --write --now, or the commands that ovpnha"
        " init prints; or go back with ovpnha uninit --write",
    )


def _check_units_of(one: ServerFacts, *, beside: bool) -> Iterator[Told]:
    ours, stock = (
        unit if isinstance(unit, UnitFacts) else UnitFacts("")
        for unit in (one.unit, one.stock_unit)
    )
    if ours.enabled and stock.enabled:
        yield find(
            DoctorKind.SERVER_UNIT_TWICE,
            f"{ours.name} and {stock.name} are both enabled: at boot one stops the other",
            f"systemctl disable {stock.name if one.cluster or _is_beside(ours) else ours.name}",
        )
    elif one.cluster and beside and stock.enabled:
        yield find(
            DoctorKind.SERVER_NOT_ENABLED,
            f"{stock.name} is enabled, whose OpenVPN is Debian's and does not know cluster",
            f"systemctl disable {stock.name}; systemctl enable {ours.name}",
        )
    elif one.cluster and one.instance and ours.name and not (ours.enabled or stock.enabled):
        yield find(
            DoctorKind.SERVER_NOT_ENABLED,
            f"no unit is enabled that starts {one.path} after a reboot",
            f"systemctl enable {ours.name if beside else stock.name}",
        )
    used = ours if ours.active or beside else stock
    for unit in (used, one.spare_unit):
        if one.cluster and isinstance(unit, UnitFacts) and (unit.active or unit.enabled):
            yield from _check_unit(unit)


def _is_beside(unit: UnitFacts) -> bool:
    """Whether it runs the distribution's OpenVPN, with ovpnha beside it."""
    return unit.name.startswith("openvpn-beside@")


def check_spares(facts: Facts) -> Iterator[Told]:
    """Second processes: where one is wanted, and where none is."""
    for one in servers(facts):
        if isinstance(one.spare_unit, Unread):
            yield Unmade(f"the second process of {one.name}", one.spare_unit.why)
        elif one.spare_unit is not None and one.instance and one.cluster:
            yield from _check_spare(one, one.spare_unit)


def _check_spare(one: ServerFacts, unit: UnitFacts) -> Iterator[Told]:
    if one.spare is SparePolicy.NEVER and (unit.active or unit.enabled):
        yield find(
            DoctorKind.SPARE_LEFTOVER,
            f"{unit.name} {'runs' if unit.active else 'is enabled'}, and {one.instance} is to have"
            " no second process: it may be the one that serves",
            _to_be_rid_of(one, unit) if unit.active else f"systemctl disable {unit.name}",
        )
    elif one.spare is SparePolicy.ALWAYS and not (unit.active and unit.enabled):
        lacks = "does not run" if not unit.active else "does not come back after a reboot"
        yield find(
            DoctorKind.SPARE_MISSING,
            f"{unit.name} {lacks}: the clients of {one.instance} notice when OpenVPN dies then",
            f"systemctl enable --now {unit.name}",
        )


def _to_be_rid_of(one: ServerFacts, unit: UnitFacts) -> str:
    return (
        f'set spare = "restart" for {one.instance}; systemctl restart ovpnha; ovpnha'
        f" restart-openvpn {one.instance}; systemctl disable --now {unit.name}; and take it out"
        " again"
    )


def _check_unit(unit: UnitFacts) -> Iterator[Told]:
    lacks = [
        text
        for there, text in (
            (unit.hands_over, "ExecStop with ovpnha hand-over: a stop is no planned move"),
            (unit.restarts, "Restart=always: a master that died is no standby again"),
            (unit.may_chown, "CAP_CHOWN: it cannot give its socket to the sidecar's user"),
        )
        if not there
    ]
    if lacks:
        yield find(
            DoctorKind.SERVER_UNIT_LACKS,
            f"{unit.name} lacks {'; and '.join(lacks)}",
            "use openvpn-cluster@NAME, or install deploy/systemd/openvpn-server@.service.d for it,"
            " then systemctl daemon-reload",
        )


def check_stale_units(facts: Facts) -> Iterator[Told]:
    """Files that systemd has to read again."""
    of_servers = ((one.unit, one.stock_unit, one.spare_unit) for one in servers(facts))
    units = [unit for some in of_servers for unit in some]
    units += [facts.sidecar_unit, *(part.unit for part in _parts(facts))]
    stale = [unit.name for unit in units if isinstance(unit, UnitFacts) and unit.stale]
    if stale:
        yield find(
            DoctorKind.UNIT_STALE,
            f"systemd has not read the changed files of {', '.join(stale)} yet",
            "systemctl daemon-reload",
        )


def _parts(facts: Facts) -> Iterator[KeepalivedFacts | ConntrackdFacts]:
    return (one for one in (facts.keepalived, facts.conntrackd) if one is not None)


def check_processes(facts: Facts) -> Iterator[Told]:
    """Programs that were replaced under a running process."""
    for one in servers(facts):
        for process in (one.process, one.spare_process):
            if process is not None and process.replaced:
                yield find(
                    DoctorKind.PROGRAM_REPLACED,
                    f"OpenVPN of {one.path} (pid {process.pid}) runs a program that was replaced on"
                    " disk: an update is not in effect",
                    _renew(one, facts),
                )


def _renew(one: ServerFacts, facts: Facts) -> str:
    """How another program comes to serve."""
    stock = isinstance(one.stock_unit, UnitFacts) and one.stock_unit.active
    if one.shares and one.spare is not SparePolicy.NEVER and not stock:
        return f"ovpnha restart-openvpn {one.instance}: no client notices"
    first = "ovpnha demote, and when another node is master: " if _is_master(facts) else ""
    return f"{first}systemctl restart {_running_unit(one)}"


def _is_master(facts: Facts) -> bool:
    return isinstance(facts.sidecar, SidecarFacts) and facts.sidecar.master


def _running_unit(one: ServerFacts) -> str:
    units = (unit for unit in (one.unit, one.stock_unit) if isinstance(unit, UnitFacts))
    running = (unit.name for unit in units if unit.active)
    return next(running, f"openvpn-cluster@{one.name}")


def check_sockets(facts: Facts) -> Iterator[Told]:
    """The management socket: closed to others, open to the sidecar, and used by nobody else."""
    for one in servers(facts):
        for found in (one.socket, one.spare_socket):
            if found is not None and one.cluster:
                yield from _check_socket(one, found)


def _check_socket(one: ServerFacts, found: SocketFacts) -> Iterator[Told]:
    path = found.path
    if found.mode is not None and found.mode & 0o007:
        yield find(
            DoctorKind.MANAGEMENT_MODE,
            f"others may use {path} (mode {found.mode:04o}): who does reads every client's keys",
            f"chmod o= {path}; start OpenVPN anew if it was made so",
        )
    if isinstance(found.reachable, Unread):
        yield Unmade(f"whether the sidecar's user may open {path}", found.reachable.why)
    elif not found.reachable:
        yield find(
            DoctorKind.MANAGEMENT_CLOSED,
            f"the sidecar's user may not open {path}",
            f"management-client-user ovpnha in {one.path}; systemd-tmpfiles --create for the"
            " directory",
        )
    if isinstance(found.strangers, Unread):
        yield Unmade(f"who uses {path}", found.strangers.why)
    elif found.strangers:
        yield find(
            DoctorKind.MANAGEMENT_STRANGER,
            f"{', '.join(found.strangers)} has {path}: OpenVPN has one management client at a time,"
            " and the sidecar waits",
            "end that program; use ovpnha status, ovpnha clients and the metrics instead",
        )


def check_keys(facts: Facts) -> Iterator[Told]:
    """Private keys and secrets of servers."""
    for one in servers(facts):
        if one.open_keys:
            yield find(
                DoctorKind.PRIVATE_KEY_MODE,
                f"others than their owner may read {', '.join(one.open_keys)}: who has a server's"
                " key can pose as it",
                f"chmod 600 {' '.join(one.open_keys)}",
            )


def check_certificates(facts: Facts) -> Iterator[Told]:
    """Their time, and whether the key belongs to the certificate."""
    for one in servers(facts):
        for found in one.certificates:
            if isinstance(found, Unread):
                yield Unmade(f"certificates of {one.path}", found.why)
            else:
                yield from _check_certificate(found, facts.now)


def _check_certificate(found: CertificateFacts, now: float) -> Iterator[Told]:
    what = f"{ROLES[found.role]} {found.subject} ({found.where})"
    soon = CRL_SOON if found.role == "crl" else SOON
    if found.begins > now:
        yield find(
            DoctorKind.CERTIFICATE_NOT_YET,
            f"{what} is valid in {_days(found.begins - now)} only",
            "look at this host's clock (timedatectl); else wait, or issue it anew",
        )
    if found.ends is not None and found.ends <= now:
        kind, when = DoctorKind.CERTIFICATE_ENDED, f"ended {_days(now - found.ends)} ago"
        yield find(kind, f"{what} {when}", RENEW[found.role])
    elif found.ends is not None and found.ends <= now + soon:
        kind, when = DoctorKind.CERTIFICATE_ENDS_SOON, f"ends in {_days(found.ends - now)}"
        yield find(kind, f"{what} {when}", RENEW[found.role])
    if found.key_fits is False:
        yield find(
            DoctorKind.CERTIFICATE_KEY,
            f"the private key of the server does not belong to its certificate ({found.where})",
            "copy both from one place: on all nodes they are the same",
        )


def _days(seconds: float) -> str:
    days = seconds / DAY
    return f"{days:.0f} days" if days >= 2 else f"{seconds / 3600:.0f} hours"
