"""Everything that ``status`` and metrics may read of a node, at one moment: immutable.

The figures of a part are defined beside the part that counts them. Here stands what is known only
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpnha.model import Epoch, InstanceName, NodeName, Role, Sync
from ovpnha.node.cluster.announcer import AnnouncerStatistics
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.master.exporter import ExporterStatistics
from ovpnha.node.master.rekey import RekeyProgress
from ovpnha.node.openvpn.discovery import DiscoveryStatistics
from ovpnha.node.openvpn.openvpn import OpenvpnStatistics
from ovpnha.node.openvpn.traffic import TrafficStatistics
from ovpnha.node.role.ownepoch import OwnEpochStatistics
from ovpnha.node.role.promotion import PromotionStatistics
from ovpnha.node.standby.importer import ImporterStatistics

STATUS_VERSION = 1
"""Raised when a figure goes or comes to mean something else; one more is no new version."""


@dataclass(frozen=True)
class InstanceStatistics:
    """One instance: what it is, and the figures of its parts."""

    name: InstanceName
    role: Role
    epoch: Epoch
    sync: Sync
    vip: bool
    clients: int  # instances that our OpenVPN has
    openvpn: OpenvpnStatistics
    discovery: DiscoveryStatistics
    announcer: AnnouncerStatistics
    own: OwnEpochStatistics = field(default_factory=OwnEpochStatistics)
    promotion: PromotionStatistics = field(default_factory=PromotionStatistics)
    exporter: ExporterStatistics = field(default_factory=ExporterStatistics)
    importer: ImporterStatistics = field(default_factory=ImporterStatistics)
    traffic: TrafficStatistics = field(default_factory=TrafficStatistics)
    rekey: RekeyProgress = field(default_factory=RekeyProgress)
    nodes: tuple[NodeView, ...] = ()
    problems: tuple[str, ...] = ()  # what an administrator has to mend, a line each, with the mend


@dataclass(frozen=True)
class TrackingFigures:
    """What conntrackd of this node last told, and what it was told."""

    problem: str = ""  # what an administrator has to mend, with the mend
    told: int = 0  # entries that this node tells the others
    kernel: int = 0  # all entries of this host's kernel, those of other nodes among them
    injected: Mapping[str, int] = field(default_factory=dict)  # of other nodes: created, updated, …
    errors: Mapping[str, int] = field(default_factory=dict)  # by kind
    orders: Mapping[str, int] = field(default_factory=dict)  # given to it, by kind
    seconds: Mapping[str, float] = field(default_factory=dict)  # that the last of each kind took


@dataclass(frozen=True)
class NodeStatistics:
    """Everything ``status`` and the metrics endpoint may read; immutable."""

    node: NodeName
    boot: str
    uptime: float
    links: Mapping[str, bool]
    instances: tuple[InstanceStatistics, ...]
    received: Mapping[str, int]  # datagrams by kind of message
    sent: Mapping[str, int]
    refused: Mapping[str, int]  # datagrams by reason
    bytes_received: Mapping[str, int]  # by kind: hello, state, refused
    bytes_sent: Mapping[str, int]
    resyncs: int
    nacks: int
    repaired: int
    differences: int
    oversized: int
    lacking: Mapping[str, tuple[NodeName, ...]] = field(default_factory=dict)
    """Instances that other nodes tell of and this one does not have."""
    tracking: TrackingFigures | None = None  # None: connections do not travel
    firewall: str | None = None  # what is wrong with our table, ""; None: we keep none
    version: int = STATUS_VERSION  # of these records, as JSON
