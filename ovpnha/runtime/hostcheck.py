"""What of a configuration cannot work on this host, whatever was meant.

Decides what ``ovpnha run`` and ``ovpnha check-config`` refuse beyond the file itself: a VIP that no
VIP manager moves, a BCN that clients can flood, a track file that cannot be written. Must never
refuse because something is missing that may still come, such as an interface at boot, nor leave a
server that runs without its sidecar for what the addresses of a moment say.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

from ovpnha.config import BcnMode, Config, InstanceSection
from ovpnha.config.values import IpAddress
from ovpnha.errors import ConfigError
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.unixlisteners import is_listened_at

GRADE_LIMIT = 64
EVERYBODY = "255.255.255.255"


def check_host(config: Config, table: NetworkTable, *, served: bool = False) -> list[str]:
    """Raise ConfigError with one line for each thing that cannot work on this host.

    Where an OpenVPN runs already (``served``) the addresses of this moment are no reason: what they
    say is given back, a line each. One's own may be away because a lease is renewed.
    """
    passing, refused = list(_find_passing(config, table)), list(_find_lasting(config))
    if not served:
        refused, passing = [*passing, *refused], []
    if refused:
        raise ConfigError("\n".join(refused))
    return passing


def is_served(config: Config) -> bool:
    """Whether an OpenVPN of any instance runs."""
    return any(
        is_listened_at(path)
        for one in config.instance
        for path in (one.management, one.spare_socket)
    )


def _find_lasting(config: Config) -> Iterator[str]:
    """What cannot work whatever addresses this host has."""
    yield from _same_files(config)
    for one in config.instance:
        yield from _listed_vip(one, config)
        if one.track_file is not None:
            yield from _bad_track_file(f"instance[{one.name}].track_file", one.track_file)


def _find_passing(config: Config, table: NetworkTable) -> Iterator[str]:
    yield from _foreign_broadcasts(config, table)
    for one in config.instance:
        if not config.bcn.shared_with_clients:
            yield from _shared_links(one, config, table)
        yield from find_own_vip(one, table)


def find_own_vip(one: InstanceSection, table: NetworkTable) -> Iterator[str]:
    """A VIP that no VIP manager moves: it is the only address of its interface."""
    for vip in find_alone(one, table) if not one.vip_alone else ():
        yield (
            f"instance[{one.name}].vip: {vip} is this node's own address, the only one of its"
            " interface; name the address that the VIP manager moves (or, if it is that one,"
            " set vip_alone = true)"
        )


def _bad_track_file(where: str, path: Path) -> Iterator[str]:
    """A file that holds anything but a grade is somebody's, and would be overwritten."""
    if not path.parent.is_dir():
        yield f"{where}: there is no directory {path.parent}; make it"
        return
    try:
        said = path.read_bytes()[:GRADE_LIMIT] if path.exists() else b""
    except OSError as error:
        yield f"{where}: {path} cannot be read: {error.strerror}; correct the path"
        return
    if said and not re.fullmatch(rb"-?[0-9]{1,4}\s*", said):
        yield f"{where}: {path} holds something else than a grade; name another file, or remove it"


def _same_files(config: Config) -> Iterator[str]:
    """Two names for one file are as bad as one name."""
    key = config.cluster.key_file
    for one in config.instance:
        for what, path in (("track_file", one.track_file), ("management", one.management)):
            if path is not None and path != key and path.resolve() == key.resolve():
                yield (
                    f"instance[{one.name}].{what}: {path} is cluster.key_file {key} under another"
                    " name; each needs a file of its own"
                )


def _foreign_broadcasts(config: Config, table: NetworkTable) -> Iterator[str]:
    """What is said to be a broadcast address must be one, or sealed datagrams leave the LAN."""
    if config.bcn.mode is not BcnMode.BROADCAST:
        return
    for link in config.bcn.links:
        known = {
            broadcast
            for address in table.addresses(link.interface)
            for broadcast in address.broadcasts()
        }
        if link.address is not None and known and str(link.address) not in {*known, EVERYBODY}:
            yield (
                f"bcn.links: {link.address} is no broadcast address of {link.interface}; use"
                f" {' or '.join(sorted(known))}, or leave it out"
            )


def _shared_links(one: InstanceSection, config: Config, table: NetworkTable) -> Iterator[str]:
    facing = _client_facing(one, table)
    for link in config.bcn.links:
        if link.interface in facing:
            yield (
                f"bcn.links: {link.interface} is also the interface that clients of {one.name}"
                " reach, and anybody who floods it delays replication; give the BCN an interface of"
                " its own (or, if there is none, set shared_with_clients = true under [bcn])"
            )


def _listed_vip(one: InstanceSection, config: Config) -> Iterator[str]:
    for vip in (vip for vip in one.vip if any(vip in link.nodes for link in config.bcn.links)):
        yield (
            f"instance[{one.name}].vip: {vip} is listed in bcn.links nodes, so it belongs to"
            " one node; list the nodes' own addresses there, and here the one that moves"
        )


def _client_facing(one: InstanceSection, table: NetworkTable) -> set[str]:
    """Interfaces on which the VIP lives or would live."""
    if one.vip_interface is not None:
        return {one.vip_interface}
    names = set()
    for address in table.addresses():
        link = table.link_by_index(address.index)
        if link is not None and any(vip in address.place.network for vip in one.vip):
            names.add(link.name)
    return names


def find_alone(one: InstanceSection, table: NetworkTable) -> Iterator[IpAddress]:
    """VIPs that are here, on an interface that has no other address of their family."""
    for vip in one.vip:
        link = table.link_of(str(vip))
        if link is not None and not has_own_address(vip, one, link.name, table):
            yield vip


def has_own_address(
    vip: IpAddress, one: InstanceSection, interface: str, table: NetworkTable
) -> bool:
    """Whether an interface has an address of the VIP's family beside all VIPs."""
    found = (ipaddress.ip_address(address.address) for address in table.addresses(interface))
    return any(other.version == vip.version and other not in one.vip for other in found)
