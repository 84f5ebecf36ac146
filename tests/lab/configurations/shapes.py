"""What becomes of a configuration in the lab: its server, the client it needs, what it gives up.

The server is what ``ovpnha init`` makes of it, with the lab's address and socket. Pure, but for
``load``.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovpnha.setup.advice import find_notes, find_obstacles
from ovpnha.setup.cluster import ClusterPlan, MovingAddress
from ovpnha.setup.edit import edit_server
from ovpnha.setup.refusals import find_tunnels, is_tap
from ovpnha.setup.server import Server, parse_server
from ovpnha.setup.wanted import unwanted_options, wanted_options
from tests.lab import plan

DIRECTORY = Path(__file__).parents[2] / "configurations"
SOCKET = ("management", "openvpn.sock", "unix")
TAKEN_OUT = ("daemon", "log", "log-append", "syslog")
"""The lab reads what a server says, and ends it by its process."""
GIVEN_UP = ("management ", "proto ")
"""How the notes of init begin that tell of something that is lost."""
PAM = "openvpn-plugin-auth-pam"


@dataclass(frozen=True)
class Shape:
    """One configuration; ``stops`` is how each line begins that init ends with."""

    name: str
    kind: str
    text: str
    stops: tuple[str, ...] = ()
    files: Mapping[str, str] | None = None
    """What the lab's client needs beside it, by name."""

    @property
    def server(self) -> Server:
        """Its options as they stand."""
        return _parse(self.text)


def load(directory: Path = DIRECTORY) -> dict[str, Shape]:
    """All of them, by name."""
    expected = tomllib.loads((directory / "expected.toml").read_text())
    return {
        name: Shape(
            name,
            one["kind"],
            (directory / f"{name}.conf").read_text(),
            tuple(one["stops"]),
            one.get("files", {}),
        )
        for name, one in expected.items()
    }


def server_text(shape: Shape) -> str:
    """What the nodes of the lab run."""
    known = (one for one in wanted_options(_PLAN, shape.server) if "management" not in one[0])
    unwanted = {*unwanted_options(_PLAN, shape.server), *TAKEN_OUT}
    return edit_server(shape.text, [*known, SOCKET], unwanted)


def client_options(server: Server) -> tuple[str, ...]:
    """What a client of this server must say beside the usual; its files lie in ``pki``."""
    return (
        *_control_channel(server),
        *_same_as(server),
        *(["auth-user-pass pki/login"] if _wants_login(server) else []),
        *(["dev-type tap"] if is_tap(server) else []),
        f"route {plan.LAN.network.network_address} {plan.LAN.network.netmask}",
        *([f"route-ipv6 {plan.LAN.network6}"] if server.has("server-ipv6") else []),
        # There is nothing but the tunnel and the server's own network to send anything to.
        'pull-filter ignore "redirect-gateway"',
    )


def _control_channel(server: Server) -> Iterator[str]:
    if server.has("tls-auth"):
        direction = server.last("tls-auth")[1:] or server.last("key-direction")
        yield " ".join(["tls-auth pki/ta.key", *(["1"] if direction else [])])
    if server.has("tls-crypt"):
        yield "tls-crypt pki/tc.key"
    if server.has("tls-crypt-v2"):
        yield "tls-crypt-v2 pki/client-v2.key"


def _same_as(server: Server) -> Iterator[str]:
    for name in ("auth", "cipher", "fragment", "tun-mtu", "comp-lzo", "compress"):
        if server.has(name):
            yield " ".join([name, *server.last(name)])
    if server.has("comp-lzo") or server.has("compress"):
        yield "allow-compression asym"


def _wants_login(server: Server) -> bool:
    return server.has("auth-user-pass-verify") or server.has("plugin")


def tunnels(server: Server) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The networks that the host on the LAN must find behind the server."""
    return tuple(dict.fromkeys(find_tunnels(server)))


def gateway_of_bridge(server: Server) -> str:
    """The address in the LAN that ``server-bridge`` gives its clients, with its prefix; or ""."""
    words = server.last("server-bridge")[:2]
    return str(ipaddress.ip_interface("/".join(words))) if words else ""


def given_up(shape: Shape) -> list[str]:
    """What cannot be had of it in a cluster, a line each, as init says it."""
    server, after = shape.server, _parse(server_text(shape))
    notes = find_notes(server, {4}, " ".join(SOCKET[1:2]))
    lost = [one for one in notes if one.startswith(GIVEN_UP)]
    return [_first_sentence(one) for one in (*find_obstacles(after), *lost)]


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0]


def _parse(text: str) -> Server:
    return parse_server(Path("server.conf"), text)


_PLAN = ClusterPlan(
    instance="udp",
    node="a",
    cluster="lab",
    outside=MovingAddress(
        ipaddress.ip_interface(f"{plan.OUT.vip}/{plan.OUT.network.prefixlen}"),
        plan.OUT.interface,
        None,
    ),
    inside=None,
    bcn_interface=plan.BCN.interface,
    bcn_nodes=(),
    router_id=51,
    priority=100,
    keepalived="leave",
)
