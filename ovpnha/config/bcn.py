"""The back channel network in the configuration: its mode, its links, what may stand together."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from ovpnha.config.section import Section
from ovpnha.config.values import Address, HostAddress, Interface, choice

IMPLIED_LINK = "bcn"
MACHINE_LINK = "this machine"
"""What a server that is alone has in place of a link, as no interface can be called: nothing leaves
by it."""


class BcnMode(StrEnum):
    """How one datagram reaches the other nodes."""

    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    UNICAST = "unicast"


class BcnLink(Section):
    """One link of the back channel network."""

    interface: Interface = Field(
        description="Network interface of the link. It should not be the one that clients reach: "
        "anybody who can flood it delays replication.",
        examples=["bcn0"],
    )
    address: Address | None = Field(
        default=None,
        description="`broadcast`: where datagrams go, left out it is the broadcast address of the "
        "interface. `multicast`: the group, left out it is 239.255.41.94. Not used by `unicast`.",
        examples=["192.168.77.255"],
    )
    nodes: tuple[HostAddress, ...] = Field(
        default=(),
        strict=False,
        description="`unicast` only: addresses of all nodes on this link. This node's own may be "
        "among them, so that one file serves all.",
        examples=[["192.168.77.1", "192.168.77.2"]],
    )


class BcnConfig(Section):
    """The back channel network over which the nodes replicate."""

    mode: Annotated[BcnMode, choice(BcnMode)] = Field(
        default=BcnMode.BROADCAST,
        description="How datagrams travel: `broadcast` (nodes on one LAN, nothing to list), "
        "`multicast` (likewise, where broadcast is unwanted; IPv6) or `unicast` (nodes on "
        "different LANs; costs one datagram for each node).",
        examples=["broadcast"],
    )
    port: int = Field(
        default=11940,
        ge=1,
        le=65535,
        description="UDP port, the same on all nodes.",
        examples=[11940],
    )
    links: tuple[BcnLink, ...] = Field(
        default=(),
        strict=False,
        description="The links, used all at once; a second one keeps replication alive when the "
        "first fails. Left out, it is OpenVPN's `cluster-broadcast-address` and `cluster-port`, on "
        "the interface that has this address.",
        examples=[[{"interface": "bcn0"}]],
    )
    receive_buffer: int = Field(
        default=4 * 1024 * 1024,
        ge=65536,
        le=256 * 1024 * 1024,
        description="Bytes of kernel memory for datagrams not yet read, for each link. More "
        "survives longer bursts; datagrams beyond it are lost and repaired.",
        examples=[4194304],
    )

    shared_with_clients: bool = Field(
        default=False,
        description="Allows a link on the interface that clients reach, for hosts that have no "
        "other: anybody who can flood that interface delays replication. Refused without it.",
        examples=[True],
    )

    def link_names(self) -> tuple[str, ...]:
        """The links by name: their interfaces, or the one that OpenVPN will tell."""
        return tuple(link.interface for link in self.links) or (IMPLIED_LINK,)

    @model_validator(mode="after")
    def _check_links(self) -> Self:
        names = [link.interface for link in self.links]
        if len(set(names)) != len(names):
            raise ValueError("two links name the same interface; keep one")
        for link in self.links:
            _check_link(self.mode, link)
        if self.mode is not BcnMode.BROADCAST and not self.links:
            raise ValueError(f"mode {self.mode} needs links; add links = [{{ interface = … }}]")
        return self


def _check_link(mode: BcnMode, link: BcnLink) -> None:
    name, address = link.interface, link.address
    if mode is BcnMode.UNICAST and not link.nodes:
        raise ValueError(f'link {name}: mode unicast needs nodes = ["192.0.2.1", …]')
    if mode is not BcnMode.UNICAST and link.nodes:
        raise ValueError(
            f'link {name}: nodes is for mode unicast; remove it or set mode = "unicast"'
        )
    if mode is BcnMode.MULTICAST and address is not None and not address.is_multicast:
        raise ValueError(f"link {name}: {address} is no multicast group; use one of 239.255.0.0/16")
    if mode is BcnMode.BROADCAST and isinstance(address, ipaddress.IPv6Address):
        raise ValueError(f'link {name}: IPv6 has no broadcast; set mode = "multicast"')
