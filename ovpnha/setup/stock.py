"""What `ovpnha init` proposes for an OpenVPN without the patch: ovpnha beside it, no new binary.

Decides what the server's file must say, and what is told of it. What only the patched OpenVPN
refuses (TCP, DCO and the like) is fine here. docs/operations.md, "A stock OpenVPN beside".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ovpnha.setup.cluster import STOCK_UNIT, ClusterPlan
from ovpnha.setup.host import Host
from ovpnha.setup.refusals import serves_any
from ovpnha.setup.server import Server

UNIT_PLACES = ("/usr/lib/systemd/system", "/etc/systemd/system")
PROGRAM = "/usr/sbin/openvpn"
PORT = "1194"
PRIVILEGED = 1024
"""Ports below it are root's, as Linux has it where nobody has changed it."""
PROTO = re.compile("(udp|tcp)([46]?)(-server)?")


def find_port(server: Server) -> int | None:
    """The port at which it listens; None, when it is no number."""
    port = server.word("lport") or server.word("port") or PORT
    return int(port) if port.isascii() and port.isdigit() else None


def find_tcp_port(server: Server) -> int | None:
    """The port at which it listens over TCP; None, when it does not, or it is no number."""
    return find_port(server) if server.word("proto").startswith("tcp") else None


def loses_port(server: Server) -> bool:
    """Whether a soft restart (SIGUSR1) ends it: once it has left root, its port is not for it."""
    port = find_port(server)
    return server.has("user") and (port is None or port < PRIVILEGED)


def keeps_addresses(server: Server) -> bool:
    """Whether it can read at a takeover who had which address."""
    return has_pool(server) and not loses_port(server)


def has_pool(server: Server) -> bool:
    """Whether it gives addresses by name, so that a pool file is of use, and allowed."""
    if server.has("duplicate-cn"):
        return False
    ranges = ("ifconfig-pool", "ifconfig-ipv6-pool", "server-ipv6")
    if any(server.has(name) for name in ranges) or len(server.last("server-bridge")) == 4:
        return True
    return server.has("server") and "nopool" not in server.last("server")


def with_server(plan: ClusterPlan, server: Server) -> ClusterPlan:
    """The plan, with what depends on the server."""
    if not plan.stock:
        return plan
    return replace(plan, keeps=keeps_addresses(server), tcp_port=find_tcp_port(server))


def wanted_stock_options(plan: ClusterPlan, server: Server) -> Iterator[tuple[str, ...]]:
    """What the server's file must say."""
    if not serves_several(plan, server):
        yield "local", str(plan.outside.ip)
    elif not server.word("proto").startswith("tcp"):
        yield ("multihome",)
    if proto := find_proto(plan, server):
        yield "proto", proto
    yield "management", plan.management, "unix"
    yield "management-client-user", "ovpnha"
    yield "management-client-group", "ovpnha"
    if keeps_addresses(server):
        yield "ifconfig-pool-persist", plan.pool_file, "0"
        if server.has("user") or server.has("group"):
            yield ("persist-key",)  # it starts anew without root
            yield ("persist-tun",)


def find_proto(plan: ClusterPlan, server: Server) -> str:
    """What ``proto`` must be for the addresses that clients use; empty: it may stay."""
    found = PROTO.fullmatch(server.word("proto") or "udp")
    if found is None:
        return ""
    transport, family, role = found[1], found[2], found[3] or ""
    if serves_several(plan, server):
        return f"{transport}6{role}" if 6 in plan.versions and family != "6" else ""
    version = str(plan.outside.ip.version)
    return f"{transport}{version}{role}" if family not in {"", version} else ""


def serves_several(plan: ClusterPlan, server: Server) -> bool:
    """Whether clients use several addresses of it, so that its socket takes any."""
    return bool(plan.beside) or serves_any(server)


def note_stock(plan: ClusterPlan, server: Server) -> Iterator[str]:
    """What somebody should know."""
    yield (
        "the distribution's OpenVPN stays (--stock): clients reconnect at a takeover, to the"
        " addresses that they had. For takeovers that nobody notices: apt install"
        " ./openvpn-cluster_*.deb, ovpnha uninit --write, and ovpnha init anew"
    )
    if not has_pool(server):
        yield (
            "ifconfig-pool-persist: is of no use to this server (duplicate-cn, or no pool):"
            " clients get any address at a takeover, but by client-config-dir"
        )
    elif loses_port(server):
        yield (
            "ifconfig-pool-persist: is of no use to this server: with user and a port below"
            f" {PRIVILEGED} it ends when it is told to read it (SIGUSR1), so clients get any"
            " address at a takeover; without user, or at another port, they keep theirs"
        )
    if server.has("client-config-dir") or server.has("crl-verify"):
        yield "client-config-dir, crl-verify: keep them equal on all nodes"
    given = server.options.get("management", [])
    if lost := [one for one in given if one != [plan.management, "unix"]]:
        yield (
            f"management {' '.join(lost[-1])}: whatever used it (a web panel, an exporter) loses"
            " it: ovpnha is its only client"
        )


def find_missing_program(host: Host) -> Iterator[str]:
    """Why a server that runs would end, and not start again."""
    if PROGRAM not in host.programs and any(one.startswith("openvpn") for one in host.active):
        yield f"{PROGRAM} is not there, which the new unit runs: apt install openvpn"


def note_stock_host(host: Host) -> Iterator[str]:
    """What is not installed."""
    unit = STOCK_UNIT.format("")
    if not any(f"{place}/{unit}" in host.programs for place in UNIT_PLACES):
        yield (
            f"{unit} is not installed: it is in the package ovpnha; without that, cp"
            f" deploy/systemd/{unit} /etc/systemd/system/"
        )
    if PROGRAM not in host.programs:
        yield "openvpn is not installed: apt install openvpn"
