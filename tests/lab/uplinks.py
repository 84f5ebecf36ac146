"""A site with two lines and a centre with two lines and two nodes: ``deploy/uplinks``.

    client ── site ══╤══ isp1 ══╤══ a ──┬── lan
                     │          │       │
                     └── isp2 ──┴── b ──┘

``site`` is the site's router, with a stock client for each line; ``isp1`` and ``isp2`` are what
lies between it and the centre, each a line. Both nodes are on both lines and on the LAN, and the
back channel goes over both lines. Networks, interfaces and files are those of ``deploy/uplinks``;
what differs are paths, and what the lab needs to read in a log.
"""

from __future__ import annotations

import dataclasses
import socket
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, ClassVar

from tests.lab import plan
from tests.lab.plan import Host, Segment
from tests.lab.topology import Topology, open_route, set_sysctls

SOURCE = Path(__file__).parents[2] / "deploy" / "uplinks"
SITE = "site"
ISPS = ("isp1", "isp2")
SITE_NUMBER, ISP_NUMBER = 1, 254


def _segment(name: str, interface: str, network: str, second: int) -> Segment:
    space = IPv6Network(f"2001:db8:6{second}::/64")
    return Segment(name, interface, IPv4Network(network), space)


CENTRE = (
    _segment("out-one", "eth0", "192.0.2.0/24", 1),
    _segment("out-two", "eth1", "203.0.113.0/24", 2),
)
"""The centre's lines."""
LINES = (
    _segment("line-one", "eth0", "100.64.1.0/24", 3),
    _segment("line-two", "eth1", "100.64.2.0/24", 4),
)
"""The site's lines."""
LAN = _segment("lan", "eth2", "198.51.100.0/24", 5)
HOME = _segment("home", "eth2", "10.20.0.0/24", 6)
SEGMENTS = (*CENTRE, *LINES, LAN, HOME)
VIPS = (CENTRE[0].vip, CENTRE[1].vip, LAN.vip)
STRICT = {
    "net/ipv4/conf/all/rp_filter": "1",
    "net/ipv4/conf/default/rp_filter": "1",
    **{f"net/ipv4/conf/eth{number}/rp_filter": "1" for number in range(3)},
}
"""The strictest that a distribution has: deploy/uplinks must do with it."""

PROTOCOL = 61
"""Of watch-tunnels' routes."""
DEAD = 1  # RTNH_F_DEAD
SEED = "net/ipv4/fib_multipath_hash_seed"


class UplinkTopology(Topology):
    """The networks of one run."""

    vip_interface: ClassVar[str] = CENTRE[0].interface

    def __enter__(self) -> UplinkTopology:
        super().__enter__()
        for host in (SITE, *self.nodes):
            set_sysctls(self.namespace(host), STRICT | _seed(host))
            self._run(host, "sysctl", "-q", "-p", SOURCE / "sysctl.conf")
            self.run_lines(host)
        return self

    def hosts(self) -> tuple[Host, ...]:
        """Nodes, client and LAN host, the site's router, and what the lines go through."""
        nodes = [
            Host(one, plan.node_number(one), (*CENTRE, LAN), routes=True) for one in self.nodes
        ]
        isps = [
            Host(name, ISP_NUMBER, (_named(line, "site0"), _named(out, "centre0")), routes=True)
            for name, line, out in zip(ISPS, LINES, CENTRE, strict=True)
        ]
        return (
            *nodes,
            *isps,
            Host(SITE, SITE_NUMBER, (*LINES, HOME), routes=True),
            Host("client", plan.OTHERS, (HOME,)),
            Host("lan", plan.OTHERS, (LAN,)),
        )

    def segments(self) -> tuple[Segment, ...]:
        """Every network."""
        return SEGMENTS

    def add_routes(self, host: str, route: Any) -> None:
        """What hosts and routers have beside deploy/uplinks."""
        if host == "client":
            route.route("add", dst="0.0.0.0/0", gateway=HOME.address(SITE_NUMBER))
        elif host == "lan":
            route.route("add", dst=str(HOME.network), gateway=LAN.vip)
        elif host == SITE or host in self.nodes:
            ways = LINES if host == SITE else CENTRE
            for metric, line in enumerate(ways, 1):
                gateway = line.address(ISP_NUMBER)
                route.route("add", dst="0.0.0.0/0", gateway=gateway, priority=metric)

    def set_line(self, number: int, state: str) -> None:
        """A line (0 or 1) dies far away (``down``), all keep their carrier; or it is back."""
        self.set_links(ISPS[number], state, (LINES[number],))

    def cut_node(self, node: str, state: str = "down") -> None:
        """Pull all cables of a node, that of its adverts first, or plug them in."""
        for segment in (LAN, *CENTRE):
            self.set_links(node, state, (segment,))

    def limit(self, number: int, megabits: int) -> None:
        """A line carries no more than this, each way."""
        for interface in ("site0", "centre0"):
            self._run(
                ISPS[number],
                *("tc", "qdisc", "replace", "dev", interface, "root", "tbf"),
                *("rate", f"{megabits}mbit", "burst", "32k", "latency", "50ms"),
            )

    def run_lines(self, host: str) -> None:
        """Rules and tables for the lines of a host, which may have some of them."""
        where = SITE if host == SITE else "centre"
        self._run(host, SOURCE / "lines", SOURCE / where / "lines.conf")

    def set_interface(self, host: str, interface: str, state: str) -> None:
        """An administrator takes an interface down, and its routes with it, or up."""
        self._run(host, "ip", "link", "set", interface, state)

    def line_of(self, host: str, mark: int) -> str:
        """The interface by which what has this mark leaves a host; "" when none is."""
        argv = ("ip", "route", "get", CENTRE[mark - 1].vip, "mark", str(mark))
        try:
            return self._run(host, *argv).partition(" dev ")[2].split()[0]
        except subprocess.CalledProcessError:
            return ""

    def carried(self, number: int) -> int:
        """The bytes that have gone from the site into a line."""
        with open_route(self.namespace(SITE)) as route:
            (index,) = route.link_lookup(ifname=LINES[number].interface)
            (link,) = route.get_links(index)
            return int(link.get_attr("IFLA_STATS64")["tx_bytes"])

    def way(self, host: str, source: str, target: str, device: str) -> str:
        """The tunnel that an echo request takes, which came to this host through this device."""
        argv = ("ip", "route", "get", target, "from", source, "iif", device, "ipproto", "icmp")
        return self._run(host, *argv).partition(" dev ")[2].split()[0]

    def devices(self, host: str) -> set[str]:
        """The tunnels that a host's route to the other side goes over."""
        network = (LAN if host == SITE else HOME).network
        with open_route(self.namespace(host)) as route:
            indexes = {
                index
                for message in route.get_routes(family=socket.AF_INET)
                if message["proto"] == PROTOCOL
                and message.get_attr("RTA_DST") == str(network.network_address)
                for index in _hops(message)
            }
            names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in route.get_links()}
        return {names[one] for one in indexes if one in names and names[one].startswith("tun")}

    def drop_vips(self, node: str) -> None:
        """A node boots without the addresses that it had."""
        for segment in (*CENTRE, LAN):
            address = f"{segment.vip}/{segment.network.prefixlen}"
            argv = ["ip", "-n", self.namespace(node), "addr", "del", address, "dev"]
            subprocess.run([*argv, segment.interface], check=False, capture_output=True)

    def _run(self, host: str, *argv: str | Path) -> str:
        command = ["ip", "netns", "exec", self.namespace(host), *map(str, argv)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _hops(message: Any) -> list[int | None]:
    """The interfaces that a route goes over and that are there."""
    several = message.get_attr("RTA_MULTIPATH")
    if several is None:
        return [message.get_attr("RTA_OIF")]
    return [hop["oif"] for hop in several if not hop["flags"] & DEAD]


def _seed(host: str) -> dict[str, str]:
    """Two machines choose apart: an answer may go by another line than its question."""
    known = Path("/proc/sys", SEED).exists()
    return {SEED: "1" if host == SITE else "2"} if known else {}


def _named(segment: Segment, interface: str) -> Segment:
    return dataclasses.replace(segment, interface=interface)


def add_addresses(topology: Topology, host: str, segment: Segment, numbers: Sequence[int]) -> None:
    """More addresses of a host."""
    for number in numbers:
        address = f"{segment.address(number)}/{segment.network.prefixlen}"
        where = ("ip", "-n", topology.namespace(host), "addr", "add")
        subprocess.run([*where, address, "dev", segment.interface], check=True)
