"""What this host's links and addresses are: a table fed by netlink messages.

Decides what counts: an IPv6 address that is still tentative, or failed duplicate detection, is
not there; a link is up when it is switched on and has a carrier. Opens nothing and waits for
nothing (``runtime.netlink`` does).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AF_BRIDGE = 7
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40


@dataclass(frozen=True)
class Link:
    """A network interface."""

    index: int
    name: str
    up: bool
    kind: str = ""
    """As the kernel calls it (bridge, veth, tun); "" for hardware."""
    upper: int = 0
    """Index of the link that it is part of, as a port is of a bridge; 0: of none."""
    elsewhere: bool = False
    """Its other end is in another network namespace: a container's."""


@dataclass(frozen=True)
class Address:
    """An address on an interface, in its canonical text form."""

    index: int  # of the link
    address: str
    family: int
    prefix: int
    broadcast: str  # "" when the interface names none
    usable: bool

    @property
    def place(self) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
        """The address with the prefix of its network."""
        return ipaddress.ip_interface(f"{self.address}/{self.prefix}")

    def broadcasts(self) -> tuple[str, ...]:
        """IPv4 broadcast addresses that go out here: the one named, and that of the network."""
        if self.family != socket.AF_INET or self.prefix > 30:
            return ()
        return tuple(filter(None, (self.broadcast, str(self.place.network.broadcast_address))))


class NetworkTable:
    """Links and addresses as the kernel told them so far."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._addresses: dict[tuple[int, str], Address] = {}

    def apply(self, message: Mapping[str, Any]) -> None:
        """Take one decoded rtnetlink message; other kinds are ignored."""
        if message.get("family") == AF_BRIDGE:
            return  # a port joined or left a bridge: the link itself stays
        match message["event"]:
            case "RTM_NEWLINK":
                link = _link(message)
                self._links[link.index] = link
            case "RTM_DELLINK":
                self._links.pop(message["index"], None)
            case "RTM_NEWADDR":
                address = _address(message)
                self._addresses[address.index, address.address] = address
            case "RTM_DELADDR":
                address = _address(message)
                self._addresses.pop((address.index, address.address), None)

    def link(self, name: str) -> Link | None:
        """The link of this name, if there is one."""
        return next((link for link in self._links.values() if link.name == name), None)

    def link_by_index(self, index: int) -> Link | None:
        """The link of this index, if there is one."""
        return self._links.get(index)

    def leads_out(self, link: Link) -> bool:
        """Whether other hosts may be behind it; not behind a bridge of containers and guests."""
        ports = (one for one in self._links.values() if one.upper == link.index)
        return link.kind != "bridge" or not all(_is_inside(one) for one in ports)

    def link_of(self, address: str) -> Link | None:
        """The link that has this usable address, if one has."""
        for one in self._addresses.values():
            if one.address == address and one.usable:
                return self._links.get(one.index)
        return None

    def has_address(self, address: str, interface: str | None = None) -> bool:
        """Whether the address is there and usable, on that interface or on any."""
        return any(
            one.address == address
            and one.usable
            and (interface is None or self._name(one.index) == interface)
            for one in self._addresses.values()
        )

    def addresses(self, interface: str | None = None) -> tuple[Address, ...]:
        """All usable addresses, of that interface or of any."""
        return tuple(
            one
            for one in self._addresses.values()
            if one.usable and (interface is None or self._name(one.index) == interface)
        )

    def _name(self, index: int) -> str:
        link = self._links.get(index)
        return link.name if link is not None else ""


def _attribute(message: Mapping[str, Any], name: str) -> Any:
    return next((one[1] for one in message["attrs"] if one[0] == name), None)


def _is_inside(port: Link) -> bool:
    return port.kind == "tun" or (port.kind == "veth" and port.elsewhere)


def _link(message: Mapping[str, Any]) -> Link:
    wanted = IFF_UP | IFF_LOWER_UP
    info = _attribute(message, "IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=_attribute(message, "IFLA_IFNAME") or "",
        up=message["flags"] & wanted == wanted,
        kind=(_attribute(info, "IFLA_INFO_KIND") or "") if info is not None else "",
        upper=_attribute(message, "IFLA_MASTER") or 0,
        elsewhere=_attribute(message, "IFLA_LINK_NETNSID") is not None,
    )


def _address(message: Mapping[str, Any]) -> Address:
    flags = _attribute(message, "IFA_FLAGS") or message["flags"]
    address = _attribute(message, "IFA_LOCAL") or _attribute(message, "IFA_ADDRESS") or ""
    is_ipv4 = message["family"] == socket.AF_INET
    return Address(
        index=message["index"],
        address=address,
        family=message["family"],
        prefix=message["prefixlen"],
        broadcast=(_attribute(message, "IFA_BROADCAST") or "") if is_ipv4 else "",
        usable=not flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED),
    )
