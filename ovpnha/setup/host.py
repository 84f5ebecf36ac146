"""What is known of the machine that `ovpnha init` runs on.

Decides which interface an address belongs to. Filled by ``ovpnha.runtime.thishost``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ovpnha.doctor.keepalived import find_words

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

VIP_MANAGER = "keepalived.service"
VIP_MANAGER_FILES = "/etc/keepalived/"
NEVER = ("lo", "tun", "tap", "docker", "veth", "virbr")
"""Beginnings of names of interfaces that lead to no other host, or only by way of OpenVPN."""


@dataclass(frozen=True)
class InterfaceAddress:
    """An address that this host has, with the prefix of its network."""

    interface: str
    address: IpInterface


@dataclass(frozen=True)
class DefaultRoute:
    """Where packets of one family go that no other route is for."""

    interface: str
    gateway: str
    """Empty when there is none, as on a link between two hosts."""
    source: str
    """The address that the route names as this host's; empty when it names none."""
    version: int = 4


@dataclass(frozen=True)
class NamedState:
    """Who may open a file or directory, by names, so that it can be said on another host."""

    mode: int
    user: str = ""
    """Empty for root, and for a number without a name."""
    group: str = ""

    def __str__(self) -> str:
        owner = ":".join(one or "root" for one in (self.user, self.group))
        return f"mode {self.mode:04o}, {owner}"


@dataclass(frozen=True)
class Host:
    """One machine, as it is now."""

    name: str
    """Its short name."""
    addresses: tuple[InterfaceAddress, ...] = ()
    routes: tuple[DefaultRoute, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts of the files that may have to change, by their paths; a file that is not there lacks.
    What is no UTF-8 is kept by surrogates."""
    enabled: frozenset[str] = frozenset()
    """Units that start at boot."""
    masked: frozenset[str] = frozenset()
    """Units that cannot start."""
    active: frozenset[str] = frozenset()
    """Units that run now."""
    programs: frozenset[str] = frozenset()
    """Paths of programs and units that are installed."""
    manager_files: Mapping[str, str] = field(default_factory=dict)
    """What keepalived was started with, where that is not what stands in its files now, or comes
    from elsewhere: a path and a text, empty for a file that was not there."""
    states: Mapping[str, NamedState] = field(default_factory=dict)
    """Of the files above."""
    written: Mapping[str, int] = field(default_factory=dict)
    """When the files above were written, in whole seconds of the clock."""
    since: Mapping[str, int] = field(default_factory=dict)
    """When units that run were started or told to read their files again, likewise."""
    linked: frozenset[str] = frozenset()
    """Files above that have another name (hard links)."""
    closed: tuple[str, ...] = ()
    """Directories that the sidecar's user cannot enter, on the way to its files."""
    users: frozenset[str] = frozenset({"ovpnha"})
    """Names of the users on this host."""
    groups: frozenset[str] = frozenset({"ovpnha"})
    has_user: bool = True
    """Whether there is the user of the sidecar."""

    def find_interface(self, address: IpAddress) -> str:
        """The interface that has the address, else that whose network it is in; empty if none."""
        having = (one.interface for one in self.addresses if one.address.ip == address)
        near = (one.interface for one in self.addresses if _is_near(address, one.address))
        return next(having, None) or next(near, "")

    def find_prefix(self, address: IpAddress, interface: str) -> int:
        """The length of the network's prefix in which the address is there; else of it alone."""
        there = (one.address for one in self.addresses if one.interface == interface)
        lengths = (one.network.prefixlen for one in there if address in one.network)
        return next(lengths, address.max_prefixlen)

    def has(self, address: IpAddress) -> bool:
        """Whether this host has the address now."""
        return any(one.address.ip == address for one in self.addresses)

    def has_as_own(self, address: IpAddress) -> bool:
        """Whether it has the address for itself, and not from a keepalived that moves it."""
        managed = VIP_MANAGER in self.active and self.manages(str(address))
        return self.has(address) and not managed

    def manages(self, wanted: str) -> bool:
        """Whether keepalived's configuration has this word: an address, with its prefix or not."""
        own = {path: one for path, one in self.files.items() if path.startswith(VIP_MANAGER_FILES)}
        texts = {**own, **self.manager_files}.values()
        words = (word for text in texts for word in find_words(text.split("\n")))
        return any(word == wanted or word.startswith(f"{wanted}/") for word in words)

    def is_newer(self, path: str, unit: str) -> bool:
        """Whether a file was written after this unit has read it."""
        return unit in self.since and self.written.get(path, 0) > self.since[unit]

    def own_addresses(self, interface: str, *moving: IpAddress) -> Iterator[IpInterface]:
        """What an interface has beside addresses that move; link-local ones do not count."""
        for one in self.addresses:
            own = one.address.ip not in moving and not one.address.is_link_local
            if one.interface == interface and own:
                yield one.address

    def interfaces(self, *without: str) -> tuple[str, ...]:
        """Those that lead to other hosts and have an address."""
        names = dict.fromkeys(one.interface for one in self.addresses)
        return tuple(one for one in names if one not in without and not one.startswith(NEVER))

    def default_route(self, version: int) -> DefaultRoute | None:
        """The default route of a family."""
        return next((one for one in self.routes if one.version == version), None)


def _is_near(address: IpAddress, have: IpInterface) -> bool:
    return address in have.network and have.network.num_addresses > 1
