"""What is known of a node beside its packet filter, and how the traffic of its tunnels leaves it.

Decides which packets are asked about: a segment in the middle of a session, one way and the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ovpnha.firewall.rules import IpAddress, IpNetwork, Outcome, Packet, Ruleset
from ovpnha.firewall.services import FirewallServices
from ovpnha.firewall.table import Plan

LOCAL_PORT, REMOTE_PORT = 40000, 443
"""Of the session that is asked about: what a client has, and what a server has."""


class FindingKind(StrEnum):
    """What a finding is about."""

    MASQUERADE = "masquerade"
    FOREIGN_SNAT = "foreign_snat"
    NO_CONNTRACKD = "no_conntrackd"
    STATEFUL = "stateful"
    INVALID = "invalid"
    LOOSE = "loose"
    RESETS = "resets"
    RP_FILTER = "rp_filter"
    FLOWTABLE = "flowtable"
    BCN = "bcn"
    VRRP = "vrrp"
    LEFTOVER = "leftover"
    FLUSHED = "flushed"


@dataclass(frozen=True)
class Finding:
    """One thing that should be changed."""

    kind: FindingKind
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


@dataclass(frozen=True)
class Site:
    """What is known of this node, beside its packet filter.

    ``interfaces`` are those by which traffic may leave for a LAN, each with the VIPs that are known
    to live there; ``tun`` is the name of OpenVPN's device, "" when it is not known.
    """

    tunnels: tuple[IpNetwork, ...] = ()
    tun: str = ""
    interfaces: Mapping[str, tuple[IpAddress, ...]] = field(default_factory=dict)
    bcn_links: tuple[str, ...] = ()
    bcn_ports: tuple[int, ...] = (11940,)
    """Of the sidecar, and of conntrackd where it runs."""
    bcn_version: int = 4
    bcn_answers: bool = False
    """Datagrams of the BCN may count as answers to our own (unicast)."""
    vrrp_links: tuple[str, ...] = ()
    plan: Plan | None = None
    """The table that the sidecar keeps."""
    services: FirewallServices = field(default_factory=FirewallServices)
    conntrackd: bool = False
    tunables: Mapping[str, int] = field(default_factory=dict)
    """By name; one that could not be read is missing."""
    liberal_before: int | None = None
    """What nf_conntrack_tcp_be_liberal was before we set it; None when we have not."""
    strict: tuple[str, ...] = ()
    """Interfaces with rp_filter = 1."""
    strictly_dropped: int = 0
    """Packets that rp_filter has dropped since the start of the host."""


@dataclass(frozen=True)
class LinkTraffic:
    """Traffic of one tunnel, as it leaves by one interface."""

    interface: str
    vips: tuple[IpAddress, ...]
    tunnel: IpNetwork
    tun: str | None
    translation: Outcome | None

    @property
    def vip(self) -> IpAddress | None:
        """The VIP of this family on the interface; None when none is known."""
        return next((one for one in self.vips if one.version == self.tunnel.version), None)

    def inwards(self, state: str) -> Packet:
        """A segment in the middle of a session, from the LAN to the client."""
        return Packet(
            version=self.tunnel.version,
            iif=self.interface,
            oif=self.tun,
            daddr=self.tunnel,
            proto="tcp",
            sport=REMOTE_PORT,
            dport=LOCAL_PORT,
            state=state,
            flags=frozenset({"ack"}),
        )

    def outwards(self, state: str) -> Packet:
        """A segment in the middle of a session, from the client to the LAN."""
        return Packet(
            version=self.tunnel.version,
            iif=self.tun,
            oif=self.interface,
            saddr=self.tunnel,
            proto="tcp",
            sport=LOCAL_PORT,
            dport=REMOTE_PORT,
            state=state,
            flags=frozenset({"ack"}),
        )


def find_paths(site: Site, rules: Ruleset) -> Iterator[LinkTraffic]:
    """Each tunnel's way out by each interface."""
    for interface, vips in site.interfaces.items():
        for tunnel in site.tunnels:
            packet = Packet(tunnel.version, oif=interface, saddr=tunnel, state="new")
            found = rules.translation(packet)
            yield LinkTraffic(interface, vips, tunnel, site.tun or None, found)
