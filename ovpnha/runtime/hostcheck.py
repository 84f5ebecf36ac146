"""What of a configuration cannot work on this host, whatever was meant.

Decides what ``ovpnha run`` and ``ovpnha check-config`` refuse beyond the file itself: a VIP that no
VIP manager moves, a BCN that clients can flood, a track file that cannot be written. Must never
refuse because something is missing that may still come, such as an interface at boot.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from ovpnha.config import Config, InstanceConfig
from ovpnha.errors import ConfigError
from ovpnha.runtime.network import NetworkTable


def check_host(config: Config, table: NetworkTable) -> None:
    """Raise ConfigError with one line for each thing that cannot work on this host."""
    if found := list(_find(config, table)):
        raise ConfigError("\n".join(found))


def _find(config: Config, table: NetworkTable) -> Iterator[str]:
    for one in config.instance:
        where = f"instance[{one.name}]"
        if not config.bcn.shared_with_clients:
            yield from _shared_links(one, config, table)
        yield from _listed_vip(one, config)
        if is_alone(one, table) and not one.vip_alone:
            yield (
                f"{where}.vip: {one.vip} is this node's own address, the only one of its"
                " interface; name the address that the VIP manager moves (or, if it is that one,"
                " set vip_alone = true)"
            )
        if one.track_file is not None and not one.track_file.parent.is_dir():
            yield f"{where}.track_file: there is no directory {one.track_file.parent}; make it"


def _shared_links(one: InstanceConfig, config: Config, table: NetworkTable) -> Iterator[str]:
    facing = _client_facing(one, table)
    for link in config.bcn.links:
        if link.interface in facing:
            yield (
                f"bcn.links: {link.interface} is also the interface that clients of {one.name}"
                " reach, and whoever floods it delays replication; give the BCN an interface of"
                " its own (or, if there is none, set shared_with_clients = true under [bcn])"
            )


def _listed_vip(one: InstanceConfig, config: Config) -> Iterator[str]:
    if any(one.vip in link.nodes for link in config.bcn.links):
        yield (
            f"instance[{one.name}].vip: {one.vip} is listed in bcn.links nodes, so it belongs to"
            " one node; list the nodes' own addresses there, and here the one that moves"
        )


def _client_facing(one: InstanceConfig, table: NetworkTable) -> set[str]:
    """Interfaces on which the VIP lives or would live."""
    if one.vip_interface is not None:
        return {one.vip_interface}
    names = set()
    for address in table.addresses():
        link = table.link_by_index(address.index)
        network = ipaddress.ip_interface(f"{address.address}/{address.prefix}").network
        if link is not None and one.vip is not None and one.vip in network:
            names.add(link.name)
    return names


def is_alone(one: InstanceConfig, table: NetworkTable) -> bool:
    """Whether the VIP is here, on an interface that has no other address of its family."""
    link = table.link_of(str(one.vip)) if one.vip is not None else None
    return link is not None and not has_own_address(one, link.name, table)


def has_own_address(one: InstanceConfig, interface: str, table: NetworkTable) -> bool:
    """Whether an interface has an address of the VIP's family beside the VIP."""
    others = (
        ipaddress.ip_address(address.address)
        for address in table.addresses(interface)
        if address.address != str(one.vip)
    )
    family = one.vip.version if one.vip is not None else 0
    return any(other.version == family for other in others)
