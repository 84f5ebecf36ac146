"""Names and addresses of one lab. Pure; every other module of the lab takes them from here.

All that a lab makes carries its run id, so several labs can stand side by side. The addresses are
the same in every lab: each has networks of its own. They are private ones, since the networks of
the container lab stand in the host's routing table.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from tests.lab.errors import LabError

PREFIX = "oha-lab-"
RUN_ROOT = Path("/run")
LETTERS = string.ascii_lowercase
VIP_HOST = 10
FIRST_NODE = 11
OTHERS = 100
"""Host number of the client and of the host on the LAN."""
PORT = 1194
TUNNEL = IPv4Network("10.8.0.0/22")
TUNNEL6 = IPv6Network("2001:db8:8::/64")


@dataclass(frozen=True)
class Segment:
    """One layer-2 network: a bridge ``name`` in the fabric, ``interface`` in each host on it."""

    name: str
    interface: str
    network: IPv4Network
    network6: IPv6Network

    def address(self, host: int) -> str:
        """The IPv4 address of host number ``host``."""
        return str(self.network[host])

    def address6(self, host: int) -> str:
        """The IPv6 address of host number ``host``, its decimal digits read as hex digits."""
        return str(self.network6[int(str(host), 16)])

    @property
    def vip(self) -> str:
        """The virtual IPv4 address on this network."""
        return self.address(VIP_HOST)

    @property
    def vip6(self) -> str:
        """The virtual IPv6 address on this network."""
        return self.address6(VIP_HOST)


OUT = Segment("out", "out0", IPv4Network("10.99.1.0/24"), IPv6Network("2001:db8:51::/64"))
LAN = Segment("lan", "lan0", IPv4Network("10.99.2.0/24"), IPv6Network("2001:db8:2::/64"))
BCN = Segment("bcn", "bcn0", IPv4Network("10.99.0.0/24"), IPv6Network("2001:db8:99::/64"))
SEGMENTS = (OUT, LAN, BCN)


@dataclass(frozen=True)
class Host:
    """One namespace with links: its name in the lab, host number, networks, whether it routes."""

    name: str
    number: int
    segments: tuple[Segment, ...]
    routes: bool = False


FABRIC = "fabric"


def node_names(count: int) -> tuple[str, ...]:
    """The names of so many nodes, ``a`` first; LabError unless that is a cluster we can name."""
    if not 2 <= count <= len(LETTERS):
        raise LabError(f"a lab of {count} nodes: 2 to {len(LETTERS)} are possible")
    return tuple(LETTERS[:count])


def node_number(name: str) -> int:
    """The host number of a node on every network."""
    return FIRST_NODE + LETTERS.index(name)


def hosts(nodes: Sequence[str]) -> tuple[Host, ...]:
    """Everything with links: these nodes, the client and the host on the LAN."""
    return (
        *(Host(name, node_number(name), SEGMENTS, routes=True) for name in nodes),
        Host("client", OTHERS, (OUT,)),
        Host("lan", OTHERS, (LAN,)),
    )


def new_run_id() -> str:
    """Four characters that tell this lab from others on the machine."""
    return secrets.token_hex(2)


def namespace(run_id: str, host: str) -> str:
    """The name of a host's network namespace."""
    return f"{PREFIX}{run_id}-{host}"


def run_directory(run_id: str) -> Path:
    """The one directory that holds every file of a run."""
    return RUN_ROOT / f"{PREFIX}{run_id}"
