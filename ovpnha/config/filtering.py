"""Connection tracking, firewall and NAT in the configuration: what must move with the role."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from ovpnha.config.section import Section
from ovpnha.config.values import HostAddress, Interface, Network, SocketPath, choice
from ovpnha.model import ConntrackManager


class ConntrackMode(StrEnum):
    """How sure conntrackd makes that what it sends has come."""

    FTFW = "ftfw"
    NOTRACK = "notrack"


class ConntrackConfig(Section):
    """Connection tracking that travels, for nodes that translate or filter statefully."""

    manager: Annotated[ConntrackManager, choice(ConntrackManager)] = Field(
        default=ConntrackManager.NONE,
        description="`conntrackd`: this node's conntrackd is told of every change of role, and "
        "missed when it does not run; or `none`. Needed where the nodes translate (NAT) or filter "
        "by the state of connections: all others break at a takeover.",
        examples=["conntrackd"],
    )
    flows: tuple[Network, ...] = Field(
        default=(),
        strict=False,
        description="Networks and addresses whose connections the other nodes must know: the "
        "tunnels' networks, and virtual addresses that have services behind them. "
        "`ovpnha conntrackd-config` makes the configuration of conntrackd from this.",
        examples=[["10.8.0.0/24", "2001:db8:8::/64"]],
    )
    mode: Annotated[ConntrackMode, choice(ConntrackMode)] = Field(
        default=ConntrackMode.FTFW,
        description="`ftfw`: what is lost is sent again; for two nodes, and only two: of a third "
        "it loses entries. `notrack`: nothing is acknowledged; for three nodes and more.",
        examples=["ftfw"],
    )
    port: int = Field(
        default=3780,
        ge=1,
        le=65535,
        description="UDP port of conntrackd on the BCN, the same on all nodes.",
        examples=[3780],
    )
    socket: SocketPath = Field(
        default=Path("/run/conntrackd.ctl"),
        description="Path of conntrackd's control socket.",
        examples=["/run/conntrackd.ctl"],
    )
    refresh: float = Field(
        default=30.0,
        ge=1.0,
        le=86400.0,
        allow_inf_nan=False,
        description="Seconds after which a master tells all connections again. The entries of UDP "
        "end on a standby when nobody does so for longer than "
        "`net.netfilter.nf_conntrack_udp_timeout_stream` (120 s).",
        examples=[30.0],
    )


class SnatConfig(Section):
    """Network address translation of the tunnels by one interface."""

    interface: Interface = Field(
        description="Interface towards the LAN by which the tunnels' traffic leaves.",
        examples=["eth1"],
    )
    vip: HostAddress = Field(
        description="The address that it gets, which must move with the role: the inside VIP (on "
        "an interface that clients reach, the instance's VIP). IPv6 is translated only where an "
        "IPv6 address is named here.",
        examples=["198.51.100.10"],
    )


class FirewallConfig(Section):
    """Firewall and NAT of this node: what `check-config` knows of it, and what the sidecar sets."""

    manage: bool = Field(
        default=False,
        description="Lets the sidecar keep an nftables table of its own, `inet ovpnha`, as "
        "`ovpnha firewall` shows it: what `snat` says, no answer to packets of connections that "
        "are not known here yet, and `nf_conntrack_tcp_be_liberal`. Without it nothing is changed.",
        examples=[True],
    )
    snat: tuple[SnatConfig, ...] = Field(
        default=(),
        strict=False,
        description="Where the tunnels' traffic is translated, and to which address. Without "
        "`manage` it only tells `check-config` which address your own rules should have.",
        examples=[[{"interface": "eth1", "vip": "198.51.100.10"}]],
    )
    networks: tuple[Network, ...] = Field(
        default=(),
        strict=False,
        description="The tunnels' networks. Left out, they are those of `server`, `server-ipv6`, "
        "`ifconfig`, `ifconfig-ipv6`, `route` and `route-ipv6` in OpenVPN's configurations "
        "(`server_config`).",
        examples=[["10.8.0.0/24"]],
    )

    @model_validator(mode="after")
    def _check_snat(self) -> Self:
        seen = [(one.interface, one.vip.version) for one in self.snat]
        if len(set(seen)) != len(seen):
            raise ValueError("two of snat are for one interface and family; keep one")
        return self
