"""Namespaces, bridges and links of one lab, made by netlink.

Bridges live in a namespace of their own, the fabric, so the machine's own network is never touched
and deleting the namespaces deletes everything. Cutting a host takes down the fabric's end of its
links: the host loses its carrier as if the cables were pulled.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pyroute2 import IPRoute, netns

from tests.lab import plan
from tests.lab.plan import Host, Segment

if TYPE_CHECKING:
    from tests.lab.process import Process

_SYSCTLS = {
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}
_ROUTER_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
}
_ETHERTYPE_ARP = 0x0806
_BROADCAST = b"\xff" * 6


class Topology:
    """The networks of one run. A context manager: they exist inside the ``with`` block."""

    vip_interface: ClassVar[str] = plan.OUT.interface
    """Where a VIP manager puts the outside VIP."""

    def __init__(self, run_id: str, nodes: Sequence[str]) -> None:
        self.run_id = run_id
        self.nodes = tuple(nodes)
        self._ports: dict[tuple[str, str], int] = {}
        self._fabric: Any = None

    def __enter__(self) -> Topology:
        hosts = self.hosts()
        names = [plan.FABRIC, *(host.name for host in hosts)]
        for name in names:
            subprocess.run(["ip", "netns", "add", self.namespace(name)], check=True)
        self._fabric = open_route(self.namespace(plan.FABRIC))
        for segment in self.segments():
            self._add_bridge(segment)
        for host in hosts:
            self._add_host(host)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._fabric is not None:
            self._fabric.close()

    @property
    def bcn_links(self) -> str:
        """How the sidecars reach each other, as ``[bcn]`` has it."""
        return f'links = [{{ interface = "{plan.BCN.interface}" }}]'

    def programs(self, _host: str) -> tuple[Process, ...]:
        """What of the network itself runs on a host: it stands still when the host does."""
        return ()

    def hosts(self) -> tuple[Host, ...]:
        """Everything with links."""
        return plan.hosts(self.nodes)

    def segments(self) -> tuple[Segment, ...]:
        """Every network."""
        return plan.SEGMENTS

    def add_routes(self, host: str, route: Any) -> None:
        """What a host must know beside its own networks."""
        if host == "lan":
            _route_tunnel(route)

    def namespace(self, host: str) -> str:
        """The namespace of a host of this run."""
        return plan.namespace(self.run_id, host)

    def set_links(self, host: str, state: str, segments: Sequence[Segment] = plan.SEGMENTS) -> None:
        """Pull (``down``) or plug in (``up``) cables of a host, one right after the other."""
        names = {segment.name for segment in segments}
        for (owner, segment), index in self._ports.items():
            # A link of one node alone has its name behind that of the network it stands for.
            if owner == host and names & {segment, segment.partition("-")[0]}:
                self._fabric.link("set", index=index, state=state)

    def _add_bridge(self, segment: Segment) -> None:
        self._fabric.link(
            "add",
            ifname=segment.name,
            kind="bridge",
            br_stp_state=0,
            br_forward_delay=0,
            br_mcast_snooping=0,
        )
        self._fabric.link("set", index=self._index(segment.name), state="up")

    def _add_host(self, host: Host) -> None:
        set_sysctls(
            self.namespace(host.name),
            _SYSCTLS | (_ROUTER_SYSCTLS if host.routes else {}),
        )
        for segment in host.segments:
            self._add_link(host, segment)
        with open_route(self.namespace(host.name)) as route:
            route.link("set", index=1, state="up")
            for segment in host.segments:
                _configure(route, segment, host.number)
            self.add_routes(host.name, route)

    def _add_link(self, host: Host, segment: Segment) -> None:
        port = f"{host.name}-{segment.name}"
        peer = {"ifname": segment.interface, "net_ns_fd": self.namespace(host.name)}
        self._fabric.link("add", ifname=port, kind="veth", peer=peer)
        index = self._index(port)
        self._fabric.link("set", index=index, master=self._index(segment.name), state="up")
        self._ports[host.name, segment.name] = index

    def _index(self, name: str) -> int:
        return int(self._fabric.link_lookup(ifname=name)[0])


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread see the network of a namespace; sockets opened here stay there."""
    netns.pushns(namespace)
    try:
        yield
    finally:
        netns.popns()


def open_route(namespace: str) -> Any:
    """A netlink socket of a namespace.

    pyroute2's own way forks a child that unwinds our ``with`` blocks when a signal meets it.
    """
    with inside(namespace):
        return IPRoute()


def set_sysctls(namespace: str, values: dict[str, str]) -> None:
    """Write ``/proc/sys`` entries as seen inside a namespace."""
    with inside(namespace):
        for name, value in values.items():
            (Path("/proc/sys") / name).write_text(value)


def addresses(namespace: str, interface: str) -> list[str]:
    """The addresses of an interface inside a namespace, its own also on a point-to-point link."""
    with open_route(namespace) as route:
        index = route.link_lookup(ifname=interface)[0]
        found = route.get_addr(index=index)
        return [str(message.get("local") or message.get("address")) for message in found]


def change_vip(namespace: str, segment: Segment, verb: str) -> None:
    """Add and announce, or remove (``verb``: add, del) the IPv4 VIP as a VIP manager would."""
    with open_route(namespace) as route:
        index = route.link_lookup(ifname=segment.interface)[0]
        prefix = segment.network.prefixlen
        route.addr(verb, index=index, address=segment.vip, prefixlen=prefix)
    if verb == "add":
        _announce(namespace, segment)


def _announce(namespace: str, segment: Segment) -> None:
    """Broadcast a gratuitous ARP for the VIP."""
    with inside(namespace):
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with packet:
        packet.bind((segment.interface, _ETHERTYPE_ARP))
        mac, vip = packet.getsockname()[4], socket.inet_aton(segment.vip)
        head = _BROADCAST + mac + struct.pack("!HHHBBH", _ETHERTYPE_ARP, 1, 0x0800, 6, 4, 1)
        packet.send(head + mac + vip + bytes(6) + vip)


def _configure(route: Any, segment: Segment, number: int) -> None:
    index = route.link_lookup(ifname=segment.interface)[0]
    for address, network in (
        (segment.address(number), segment.network),
        (segment.address6(number), segment.network6),
    ):
        route.addr("add", index=index, address=address, prefixlen=network.prefixlen)
    route.link("set", index=index, state="up")


def _route_tunnel(route: Any) -> None:
    route.route("add", dst=str(plan.TUNNEL), gateway=plan.LAN.vip)
    route.route("add", dst=str(plan.TUNNEL6), gateway=plan.LAN.vip6)
