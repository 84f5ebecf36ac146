"""Whether addresses can be what the answers say: one that moves, one that stays, one of the BCN.

Decides what is no address of a host, and what cannot be reached where it is meant to be. Every
complaint names the option.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ovpnha.config.values import ADDRESSES_MAX
from ovpnha.setup.host import Host, IpAddress, IpInterface
from ovpnha.setup.refusals import find_tunnels, read_address
from ovpnha.setup.server import Server

if TYPE_CHECKING:
    from ovpnha.setup.cluster import ClusterPlan, MovingAddress

GIVE = "give one like 192.0.2.10 or 192.0.2.10/24"


def find_wrong_addresses(plan: ClusterPlan, host: Host) -> Iterator[str]:
    """What is wrong with the addresses of a plan."""
    for place in plan.served:
        yield from _check_vip("--vip", place, host)
    yield from _check_beside(plan)
    yield from _check_own("--own-address", plan.outside, host)
    if plan.inside is not None:
        yield from _check_vip("--inside-vip", plan.inside, host)
        yield from _check_own("--own-inside-address", plan.inside, host)
        if plan.inside.ip in {one.ip for one in plan.served}:
            yield f"--inside-vip: {plan.inside.ip} is the VIP itself; give another one, or none"
    if plan.bcn_nodes and all(map(host.has, plan.bcn_nodes)):
        yield (
            f"--bcn-node: {', '.join(map(str, plan.bcn_nodes))} is this host itself; give the"
            " addresses of the other nodes on the BCN"
        )


def find_in_tunnels(plan: ClusterPlan, server: Server) -> Iterator[str]:
    """Addresses that are behind the server itself."""
    for place in plan.vips:
        option = "--vip" if place in plan.served else "--inside-vip"
        for network in find_tunnels(server):
            if place.ip in network:
                yield (
                    f"{option}: {place.ip} is in {network}, which is behind this server; give one"
                    " of the network that hosts outside of the VPN reach it by"
                )


def note_far_nodes(plan: ClusterPlan, host: Host) -> Iterator[str]:
    """Nodes to which a router leads."""
    near = [one.address.network for one in host.addresses if one.interface == plan.bcn_interface]
    far = [str(one) for one in plan.bcn_nodes if not any(one in network for network in near)]
    if far:
        yield (
            f"bcn: {', '.join(far)} is in no network of {plan.bcn_interface}: a router must lead"
            " there; if it is meant to be near, correct --bcn-node"
        )


def note_local(plan: ClusterPlan, server: Server) -> Iterator[str]:
    """Clients that know the server by another address."""
    old = server.word("local")
    address = read_address(old)
    wildcard = address is not None and address.is_unspecified
    if old and not wildcard and address not in {one.ip for one in plan.served}:
        yield (
            f"local {old}: becomes {plan.outside.ip}; clients whose `remote` leads to {old} do not"
            f" find this server any more: change it there, or keep the address: --vip {old}"
        )


def _check_beside(plan: ClusterPlan) -> Iterator[str]:
    ips = [one.ip for one in plan.served]
    if len(set(ips)) < len(ips):
        yield "--vip: names an address twice; name each once"
    if len(ips) > ADDRESSES_MAX:
        yield f"--vip: names {len(ips)} addresses; no more than {ADDRESSES_MAX} are possible"


def _check_vip(option: str, place: MovingAddress, host: Host) -> Iterator[str]:
    ip, network = place.ip, place.address.network
    near = [one for one in _networks(host, place.interface) if ip in one and not _is_single(one)]
    longest = max((one.prefixlen for one in near), default=network.max_prefixlen)
    wider = near and all(network.prefixlen < one.prefixlen for one in near)
    if _is_no_host(ip):
        yield f"{option}: {ip} is not an address that a host can have; {GIVE}"
    elif wider or not network.prefixlen:
        yield (
            f"{option}: {place.address} has another prefix than its network on this host; give"
            f" {ip}/{longest}, or none"
        )
    elif _is_edge(place.address):
        yield f"{option}: {ip} is the first or last of {network}, which no host has; {GIVE}"


def _check_own(option: str, place: MovingAddress, host: Host) -> Iterator[str]:
    own = place.own
    if own is None:
        return
    near = [one for one in _networks(host, place.interface) if one.version == own.version]
    lone = all(map(_is_single, near))
    if _is_no_host(own.ip) or _is_edge(own):
        yield f"{option}: {own} is not an address that a host can have; {GIVE}"
    elif not lone and not any(own.ip in one for one in near):
        networks = ", ".join(map(str, near))
        yield (
            f"{option}: {own.ip} is in no network of {place.interface} ({networks}): this host"
            " would lose its neighbours and its gateway; give one of that network"
        )


def _networks(host: Host, interface: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [one.address.network for one in host.addresses if one.interface == interface]


def _is_single(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return network.num_addresses == 1


def _is_no_host(ip: IpAddress) -> bool:
    strange = ip.is_multicast or ip.is_loopback or ip.is_unspecified or ip.is_link_local
    if isinstance(ip, ipaddress.IPv6Address):
        return strange or ip.ipv4_mapped is not None
    return strange or ip.is_reserved


def _is_edge(address: IpInterface) -> bool:
    """Whether it is the network's own, or that of its broadcast."""
    network = address.network
    broadcast = address.version == 4 and address.ip == network.broadcast_address
    return network.num_addresses > 2 and (address.ip == network.network_address or broadcast)
