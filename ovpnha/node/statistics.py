"""Everything that ``status`` and metrics may read of a node, at one moment: immutable.

The figures of a part are defined beside the part that counts them. Here stands what is known only
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpnha.machines import Process
from ovpnha.model import Descriptors, Epoch, InstanceName, NodeName, Role, Sync
from ovpnha.node.cluster.announcer import AnnouncerStatistics
from ovpnha.node.cluster.fence import FenceStatistics
from ovpnha.node.cluster.pause import PauseStatistics
from ovpnha.node.cluster.servicechecks import CheckStatistics
from ovpnha.node.cluster.switchover import SwitchFigures
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.master.exporter import ExporterStatistics
from ovpnha.node.master.rekey import RekeyProgress
from ovpnha.node.openvpn.apart import ApartStatistics
from ovpnha.node.openvpn.discovery import DiscoveryStatistics
from ovpnha.node.openvpn.openvpn import OpenvpnStatistics
from ovpnha.node.openvpn.traffic import TrafficStatistics
from ovpnha.node.role.ownepoch import OwnEpochStatistics
from ovpnha.node.role.promotion import PromotionStatistics
from ovpnha.node.standby.importer import ImporterStatistics
from ovpnha.node.stock.stock import StockStatistics
from ovpnha.problems import Problem
from ovpnha.replication.boots import NodeHeard

STATUS_VERSION = 2
"""Raised when a figure goes or comes to mean something else; one more is no new version."""


@dataclass(frozen=True)
class ProcessFigures:
    """One of the two processes of an instance on this machine."""

    place: str  # absent, silent, waiting, standby, held, master, fault
    sync: Sync = Sync.NONE
    clients: int = 0
    openvpn: str = ""  # its version; "" when not known
    descriptors: Descriptors | None = None  # None: not known, or it knows of no spares
    problem: str = ""  # why it could not serve


@dataclass(frozen=True)
class SpareFigures:
    """The two processes of an instance, and what became of moves between them."""

    serving: Process  # whom the VIP is for
    main: ProcessFigures
    spare: ProcessFigures
    restarts: int = 0  # planned moves that were carried out
    crashes: int = 0  # moves because a process had ended

    def of(self, process: Process) -> ProcessFigures:
        """Those of one of the two."""
        return self.main if process is Process.MAIN else self.spare

    @property
    def other(self) -> ProcessFigures:
        """The one that does not serve."""
        return self.of(self.serving.other)


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
    stock: StockStatistics = field(default_factory=StockStatistics)
    rekey: RekeyProgress = field(default_factory=RekeyProgress)
    pause: PauseStatistics = field(default_factory=PauseStatistics)
    fence: FenceStatistics = field(default_factory=FenceStatistics)
    switchover: SwitchFigures | None = None  # under way, or the last one that was over just now
    checking: CheckStatistics = field(default_factory=CheckStatistics)
    apart: ApartStatistics = field(default_factory=ApartStatistics)
    nodes: tuple[NodeView, ...] = ()
    problems: tuple[Problem, ...] = ()  # of the instance itself, not those of other nodes
    spare: SpareFigures | None = None  # None: it is to have no second process


@dataclass(frozen=True)
class TrackingFigures:
    """What conntrackd of this node last told, and what it was told."""

    problem: str = ""  # what is wrong with it, and how to fix it
    told: int = 0  # entries that this node tells the others
    kernel: int = 0  # all entries of this host's kernel, those of other nodes among them
    injected: Mapping[str, int] = field(default_factory=dict)  # of other nodes: created, updated, …
    errors: Mapping[str, int] = field(default_factory=dict)  # by kind
    orders: Mapping[str, int] = field(default_factory=dict)  # given to it, by kind
    seconds: Mapping[str, float] = field(default_factory=dict)  # that the last of each kind took


@dataclass(frozen=True)
class HeardLink:
    """How another node is heard by one link of the BCN."""

    name: str
    age: float  # seconds since its last hello came by it
    loss: float | None = None  # share of its last hellos that did not; None while not known


@dataclass(frozen=True)
class HeardNode:
    """Another node, whatever instances it has."""

    name: NodeName
    boot: str
    believed: bool
    age: float  # seconds since it was last heard
    release: str = ""  # version of its ovpnha; "" when it does not tell
    keys: tuple[str, ...] = ()  # numbers of its cluster keys, the one that seals in front
    round_trip: float | None = None  # seconds; None while not measured
    clock_offset: float | None = None  # seconds that its clock is ahead of ours
    links: tuple[HeardLink, ...] = ()


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
    newer_source: str | None = None
    """Version of Debian's OpenVPN that the patched one's source is older than; None: not known."""
    ovpnha: str = ""  # version of the sidecar; "" when it does not say
    keys: tuple[str, ...] = ()
    """Numbers of the cluster keys that this sidecar has read, the one that seals in front."""
    heard: tuple[HeardNode, ...] = ()  # every other node, one that is not heard any more as well
    version: int = STATUS_VERSION  # of these records, as JSON


def describe_heard(one: NodeHeard, now: float) -> HeardNode:
    """Another node, for those who look."""
    distance = one.distance
    return HeardNode(
        name=one.node,
        boot=one.boot.hex(),
        believed=one.believed,
        age=now - one.last_heard,
        release=one.release,
        keys=tuple(key.hex() for key in one.keys),
        round_trip=distance.round_trip if distance is not None else None,
        clock_offset=distance.offset if distance is not None else None,
        links=tuple(
            HeardLink(link, now - when, one.losses.get(link))
            for link, when in sorted(one.links.items())
        ),
    )
