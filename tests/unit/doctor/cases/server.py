"""What is wrong with a server, its unit, its socket, its certificates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ovpnha.doctor.facts import (
    CertificateFacts,
    Facts,
    ProcessFacts,
    SocketFacts,
    UnitFacts,
)
from ovpnha.doctor.kinds import DoctorKind
from ovpnha.machines import SparePolicy
from tests.unit.doctor.good import DAY, NOW, OTHER, UNIT, also, changed, server_with


def certificate(role: str, begins: float, ends: float | None, *, fits: bool = True) -> Facts:
    found = CertificateFacts(role, "x.crt", "x", begins, ends, key_fits=fits)
    return changed("server", certificates=(found,))


def unit(**values: Any) -> Facts:
    return changed("server", unit=replace(UNIT, **values))


def spare(policy: SparePolicy, **values: Any) -> Facts:
    name = "openvpn-cluster-spare@udp.service"
    return changed("server", spare=policy, spare_unit=replace(UNIT, name=name, **values))


PREPARED = also(
    also(
        also(
            changed(
                "server",
                unit=UnitFacts("openvpn-cluster@udp.service"),
                stock_unit=UnitFacts("openvpn-server@udp.service", active=True, enabled=True),
            ),
            "keepalived",
            process=None,
            unit=UnitFacts("keepalived.service"),
        ),
        "configuration",
        own_vips={"udp": "192.0.2.10 is this node's own address; name another"},
    ),
    sidecar=None,
    sidecar_unit=UnitFacts("ovpnha.service"),
)

"""``ovpnha init --write`` was said, and nothing was started yet."""


CASES: dict[str, tuple[DoctorKind, Facts, str]] = {
    "replaced OpenVPN": (
        DoctorKind.PROGRAM_REPLACED,
        changed("server", process=ProcessFacts(7, replaced=True)),
        "(pid 7) runs a program that was replaced",
    ),
    "no instance": (
        DoctorKind.SERVER_WITHOUT_INSTANCE,
        server_with(replace(OTHER, cluster=True, local="", tcp=False)),
        "tcp.conf says cluster, and no [[instance]]",
    ),
    "two units": (
        DoctorKind.SERVER_UNIT_TWICE,
        changed("server", stock_unit=UnitFacts("openvpn-server@udp.service", enabled=True)),
        "are both enabled",
    ),
    "no unit": (
        DoctorKind.SERVER_NOT_ENABLED,
        unit(enabled=False),
        "no unit is enabled that starts /etc/openvpn/server/udp.conf",
    ),
    "a server that is prepared": (
        DoctorKind.SERVER_PREPARED,
        PREPARED,
        "openvpn-server@udp.service serves with what it was started with",
    ),
    "Debian's unit": (
        DoctorKind.SERVER_NOT_ENABLED,
        changed(
            "server",
            unit=replace(UNIT, enabled=False),
            stock_unit=UnitFacts("openvpn-server@udp.service", enabled=True),
        ),
        "whose OpenVPN is Debian's",
    ),
    "no drop-in": (
        DoctorKind.SERVER_UNIT_LACKS,
        unit(hands_over=False, may_chown=False),
        "lacks ExecStop with ovpnha hand-over: a stop is no planned move; and CAP_CHOWN",
    ),
    "spare unit without drop-in": (
        DoctorKind.SERVER_UNIT_LACKS,
        spare(SparePolicy.ALWAYS, hands_over=False),
        "openvpn-cluster-spare@udp.service lacks ExecStop",
    ),
    "a spare that runs and is not wanted": (
        DoctorKind.SPARE_LEFTOVER,
        spare(SparePolicy.NEVER),
        "openvpn-cluster-spare@udp.service runs, and udp is to have no second process",
    ),
    "a spare that will run and is not wanted": (
        DoctorKind.SPARE_LEFTOVER,
        spare(SparePolicy.NEVER, active=False),
        "openvpn-cluster-spare@udp.service is enabled, and udp is to have no second process",
    ),
    "no spare": (
        DoctorKind.SPARE_MISSING,
        spare(SparePolicy.ALWAYS, active=False),
        "does not run: the clients of udp notice when OpenVPN dies then",
    ),
    "no spare after a reboot": (
        DoctorKind.SPARE_MISSING,
        spare(SparePolicy.ALWAYS, enabled=False),
        "does not come back after a reboot",
    ),
    "replaced spare": (
        DoctorKind.PROGRAM_REPLACED,
        changed("server", spare_process=ProcessFacts(8, replaced=True)),
        "(pid 8) runs a program that was replaced",
    ),
    "open socket of a spare": (
        DoctorKind.MANAGEMENT_MODE,
        changed("server", spare_socket=SocketFacts("/run/udp-spare.sock", 0o666)),
        "others may use /run/udp-spare.sock",
    ),
    "stale units": (
        DoctorKind.UNIT_STALE,
        unit(stale=True),
        "the changed files of openvpn-cluster@udp.service",
    ),
    "tcp beside": (DoctorKind.TCP_BESIDE, server_with(OTHER), "on the VIP 192.0.2.10 by TCP"),
    "tcp beside that is let": (
        DoctorKind.TCP_BESIDE,
        also(server_with(OTHER), "host", tunables={"net.ipv4.ip_nonlocal_bind": 1}),
        "its clients reconnect at a move",
    ),
    "stock beside": (
        DoctorKind.TCP_BESIDE,
        server_with(replace(OTHER, tcp=False)),
        "on the VIP 192.0.2.10 without cluster",
    ),
    "nobody": (DoctorKind.USER_GIVEN_UP, changed("server", user="nobody"), "says user nobody"),
    "pool": (
        DoctorKind.POOL_FILE,
        changed("server", pool_file="ipp.txt"),
        "ifconfig-pool-persist ipp.txt",
    ),
    "mlock": (
        DoctorKind.MEMORY_LOCK,
        changed("server", locks_memory=True, process=ProcessFacts(7, locked_memory=65536)),
        "(pid 7) may lock 64 kB",
    ),
    "unguarded": (
        DoctorKind.MANAGEMENT_UNGUARDED,
        changed("server", guarded=False),
        "does not name the sidecar's user",
    ),
    "open socket": (DoctorKind.MANAGEMENT_MODE, changed("socket", mode=0o666), "(mode 0666)"),
    "closed socket": (
        DoctorKind.MANAGEMENT_CLOSED,
        changed("socket", reachable=False),
        "the sidecar's user may not open",
    ),
    "stranger": (
        DoctorKind.MANAGEMENT_STRANGER,
        changed("socket", strangers=("nc (pid 5)",)),
        "nc (pid 5) has /run/openvpn-cluster/udp.sock",
    ),
    "open key": (
        DoctorKind.PRIVATE_KEY_MODE,
        changed("server", open_keys=("/etc/openvpn/server/udp.key",)),
        "may read /etc/openvpn/server/udp.key",
    ),
    "ended": (
        DoctorKind.CERTIFICATE_ENDED,
        certificate("certificate", 0.0, NOW - 3 * DAY),
        "the server's certificate x (x.crt) ended 3 days ago",
    ),
    "ends soon": (
        DoctorKind.CERTIFICATE_ENDS_SOON,
        certificate("crl", 0.0, NOW + DAY),
        "the list of revoked certificates x (x.crt) ends in 24 hours",
    ),
    "not yet": (
        DoctorKind.CERTIFICATE_NOT_YET,
        certificate("ca", NOW + 9 * DAY, None),
        "the certificate authority x (x.crt) is valid in 9 days only",
    ),
    "another key": (
        DoctorKind.CERTIFICATE_KEY,
        certificate("certificate", 0.0, NOW + 99 * DAY, fits=False),
        "the private key of the server does not belong to its certificate",
    ),
}
