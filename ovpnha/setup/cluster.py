"""What a node's part in the cluster will be: the answers, as addresses and names that were checked.

Decides whether the answers make sense together and on this host. Every complaint names the option.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ovpnha.config.values import NAME_PATTERN
from ovpnha.machines import Process
from ovpnha.setup.addresses import find_wrong_addresses
from ovpnha.setup.answers import BROADCAST, NONE, Answers
from ovpnha.setup.host import Host, IpAddress, IpInterface

PRIORITY = 100
KEEPALIVED = ("new", "replace", "leave")


OUR_UNIT = f"{Process.MAIN.unit}{{}}.service"
STOCK_UNIT = "openvpn-beside@{}.service"
STOCK = "stock"
PATCHED = "cluster"


@dataclass(frozen=True)
class MovingAddress:
    """An address that moves, and where."""

    address: IpInterface
    interface: str
    own: IpInterface | None
    """What this host gets there instead, when it gives the address up as its own."""

    @property
    def ip(self) -> IpAddress:
        """The address without its prefix."""
        return self.address.ip


@dataclass(frozen=True)
class ClusterPlan:
    """One node, and what it must know of the others."""

    instance: str
    node: str
    cluster: str
    outside: MovingAddress
    inside: MovingAddress | None
    bcn_interface: str
    bcn_nodes: tuple[IpAddress, ...]
    """All nodes, this one too; empty for broadcast."""
    router_id: int
    priority: int
    keepalived: str
    beside: tuple[MovingAddress, ...] = ()
    """Further addresses that clients use, on the same interface."""
    stock: bool = False
    """OpenVPN is the distribution's, without the patch."""
    keeps: bool = False
    """Without the patch: clients get the addresses again that they had."""
    tcp_port: int | None = None
    """Without the patch: the port of a TCP server."""

    @property
    def unit(self) -> str:
        """What starts OpenVPN from now on."""
        return cluster_unit(self.instance, stock=self.stock)

    @property
    def pool_file(self) -> str:
        """Where ovpnha writes who had which address."""
        return f"/var/lib/ovpnha/pool/{self.instance}"

    @property
    def management(self) -> str:
        """OpenVPN's management socket."""
        return f"/run/openvpn-cluster/{self.instance}.sock"

    @property
    def grade_file(self) -> str:
        """Where keepalived reads the grade."""
        return f"/run/ovpnha/{self.instance}.grade"

    @property
    def vips(self) -> tuple[MovingAddress, ...]:
        """All that move: those of the clients first, then that on the inside."""
        return (*self.served, *(() if self.inside is None else (self.inside,)))

    @property
    def served(self) -> tuple[MovingAddress, ...]:
        """Those that clients use."""
        return (self.outside, *self.beside)

    @property
    def versions(self) -> frozenset[int]:
        """The families of the addresses that clients use."""
        return frozenset(one.ip.version for one in self.served)


def cluster_unit(instance: str, *, stock: bool = False) -> str:
    """The unit of the patched OpenVPN, or of the distribution's with ovpnha beside it."""
    return (STOCK_UNIT if stock else OUR_UNIT).format(instance)


def make_plan(instance: str, answers: Answers, host: Host) -> tuple[ClusterPlan | None, list[str]]:
    """The plan, or what is wrong with the answers."""
    problems = [*_find_wrong_words(instance, answers, host)]
    if problems:
        return None, problems
    vip, *more = map(_parse, (answers.vip or "").split())
    outside = _place(vip, answers.outside_interface, answers.own_address, host)
    inside = None
    if answers.inside_vip != NONE:
        moving = _parse(answers.inside_vip)
        inside = _place(moving, answers.inside_interface, answers.own_inside_address, host)
    nodes = _nodes(answers.bcn_nodes)
    bcn = answers.bcn_interface or host.find_interface(nodes[0])
    plan = ClusterPlan(
        instance=instance,
        node=host.name,
        cluster=answers.cluster or instance,
        outside=outside,
        inside=inside,
        bcn_interface=bcn,
        bcn_nodes=_with_own(nodes, bcn, host),
        router_id=answers.router_id or outside.ip.packed[-1] or 51,
        priority=answers.priority or PRIORITY,
        keepalived=answers.keepalived or KEEPALIVED[0],
        stock=answers.openvpn == STOCK,
        beside=tuple(_place(one, outside.interface, None, host) for one in more),
    )
    return plan, [*_find_contradictions(plan, host)]


def _find_wrong_words(instance: str, answers: Answers, host: Host) -> Iterator[str]:
    for option, text in (
        *(("--vip", one) for one in (answers.vip or "").split() or [""]),
        ("--inside-vip", None if answers.inside_vip == NONE else answers.inside_vip),
        ("--own-address", answers.own_address),
        ("--own-inside-address", answers.own_inside_address),
    ):
        if text is not None and not _reads(ipaddress.ip_interface, text):
            yield f"{option}: {text} is no address; give one like 192.0.2.10 or 192.0.2.10/24"
    for text in (answers.bcn_nodes or "").split():
        if text != BROADCAST and not _reads(ipaddress.ip_address, text):
            yield f"--bcn-node: {text} is no address; give that of another node on the BCN"
    for what, name in (
        ("the server's file", instance),
        ("this host", host.name),
        ("--cluster", answers.cluster or instance),
    ):
        if not re.match(NAME_PATTERN, name):
            yield (
                f"{what}: {name} is no name for ovpnha: 1 to 32 letters, digits, dots, dashes or"
                " underscores; give it another one"
            )
    if answers.keepalived and answers.keepalived not in KEEPALIVED:
        yield f"--keepalived: must be one of {', '.join(KEEPALIVED)}"


def _find_contradictions(plan: ClusterPlan, host: Host) -> Iterator[str]:
    names = {one.interface for one in host.addresses}
    yield from find_wrong_addresses(plan, host)
    for place in plan.vips:
        if place.interface not in names:
            yield (
                f"{place.interface}: this host has no such interface with an address, where"
                f" {place.ip} shall be; keepalived needs an address of its own there"
            )
        if place.own is not None and place.own.ip in {one.ip for one in plan.vips}:
            yield f"--own-address: {place.own.ip} is an address that moves; give this host another"
    if plan.bcn_interface not in names:
        yield (
            f"--bcn-interface: {plan.bcn_interface}: this host has no such interface with an"
            f" address; there are: {', '.join(host.interfaces()) or 'none'}"
        )
    for node in plan.bcn_nodes:
        if node in {one.ip for one in plan.vips}:
            yield f"--bcn-node: {node} moves; give an address that stays with its node"


def _place(vip: IpInterface, interface: str | None, own: str | None, host: Host) -> MovingAddress:
    name = interface or host.find_interface(vip.ip)
    return MovingAddress(_prefixed(vip, name, host), name, _own(own, vip, name, host))


def _own(text: str | None, vip: IpInterface, name: str, host: Host) -> IpInterface | None:
    """The new address is in the network of the old one, unless it says otherwise."""
    if text is None:
        return None
    own = _parse(text)
    if own.network.prefixlen != own.max_prefixlen:
        return own
    return ipaddress.ip_interface(f"{own.ip}/{host.find_prefix(vip.ip, name)}")


def _prefixed(address: IpInterface, interface: str, host: Host) -> IpInterface:
    if address.network.prefixlen != address.max_prefixlen:
        return address
    return ipaddress.ip_interface(f"{address.ip}/{host.find_prefix(address.ip, interface)}")


def _nodes(text: str | None) -> tuple[IpAddress, ...]:
    words = [] if text in {None, BROADCAST} else (text or "").split()
    return tuple(ipaddress.ip_address(one) for one in words)


def _with_own(nodes: tuple[IpAddress, ...], bcn: str, host: Host) -> tuple[IpAddress, ...]:
    """All of them, the lowest first: the same list on every node."""
    if not nodes:
        return ()
    own = [one.ip for one in host.own_addresses(bcn) if nodes[0] in one.network][:1]
    every = {*nodes, *own}
    return tuple(sorted(every, key=lambda one: one.packed))


def _parse(text: str | None) -> IpInterface:
    return ipaddress.ip_interface(text or "")


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True
