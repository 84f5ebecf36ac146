"""What the pure core of a node asks its shell to do, and its snapshot for status and metrics.

The shell carries these out in order and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpnha.model import Epoch, InstanceName, NodeName, OpenvpnStatus, Role, Sync, Uid


@dataclass(frozen=True)
class WriteManagement:
    """Bytes for the management socket of one instance. They may hold keys."""

    instance: InstanceName
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class CloseManagement:
    """This connection is of no more use: close it and connect again."""

    instance: InstanceName
    reason: str


@dataclass(frozen=True)
class OpenvpnFound:
    """OpenVPN has said what it is: its ``local`` address, its BCN options, its version."""

    instance: InstanceName
    status: OpenvpnStatus


@dataclass(frozen=True)
class SendDatagram:
    """One sealed datagram, to be sent once on every BCN link (or only on ``link``)."""

    data: bytes = field(repr=False)
    link: str | None = None


@dataclass(frozen=True)
class SetGrade:
    """The number for the VIP manager's track file, and why it is that number."""

    instance: InstanceName
    grade: int
    reason: str


@dataclass(frozen=True)
class RoleChanged:
    """The role of an instance has changed. For logs, hooks, metrics and the service manager."""

    instance: InstanceName
    old: Role
    new: Role
    epoch: Epoch
    reason: str


@dataclass(frozen=True)
class LogEvent:
    """A constant short phrase with keys; never key material, never bytes of the network."""

    level: str  # "debug", "info", "warning", "error"
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


Output = (
    WriteManagement
    | CloseManagement
    | OpenvpnFound
    | SendDatagram
    | SetGrade
    | RoleChanged
    | LogEvent
)


@dataclass(frozen=True)
class NodeView:
    """Another node as this one sees it, for ``status``."""

    name: NodeName
    believed: bool
    age: float  # seconds since its last hello
    role: Role
    epoch: Epoch
    vip: bool
    sync: Sync
    grade: int
    clients: int
    problem: str  # "" or why it must not replicate with us
    round_trip: float | None = None  # seconds; None while not measured
    clock_offset: float | None = None  # seconds that its clock is ahead of ours
    has_instance: bool = True  # False: it is heard, and tells nothing of this instance
    lost: bool = False  # it was believed, and is not any more: what it said is history


@dataclass(frozen=True)
class ProtectTimes:
    """How long clients took from connect to protected, in seconds, since the start."""

    buckets: Mapping[float, int]  # how many took at most so long, by upper bound; the last has all
    total: float  # of all of them
    recent: tuple[float, ...]  # the last ones, oldest first


@dataclass(frozen=True)
class PhaseTimes:
    """How long promotions took from their cause to the end of one phase, since the start."""

    buckets: Mapping[float, int]  # how many took at most so long, by upper bound; the last has all
    total: float  # seconds, of all of them


@dataclass(frozen=True)
class ServerStatistics:
    """What OpenVPN last said of all its clients together."""

    clients: int
    received: int  # bytes, since OpenVPN started
    sent: int
    when: float  # monotonic seconds


@dataclass(frozen=True)
class RekeyProgress:
    """Clients that came from another node, since the last promotion."""

    pending: int = 0  # to be renegotiated
    done: int = 0  # have a key of this node
    left: int = 0  # keep the other node's key, by policy


@dataclass(frozen=True)
class ClientView:
    """One client of a master or held instance, for ``ovpnha clients``."""

    uid: Uid
    unprotected: float | None  # seconds for which no other node has it as it is; None when one has


@dataclass(frozen=True)
class InstanceStatistics:
    """One instance, at one moment."""

    name: InstanceName
    role: Role
    epoch: Epoch
    sync: Sync
    grade: int
    grade_reason: str
    vip: bool
    management_up: bool
    openvpn: str
    seamless: bool
    clients: int  # instances that our OpenVPN has
    protected: int  # as master: clients current on at least one other node
    oldest_unprotected: float  # seconds; 0.0 when all are protected
    records: int  # as standby: records imported at the generation heard
    stale: int  # as standby: clients heard of that are not held at their generation
    following: NodeName | None
    promotions: int
    last_promotion: float  # monotonic seconds; 0.0 when never
    last_promotion_phases: Mapping[str, float]  # seconds since the VIP event, by phase name
    counters: Mapping[str, int]  # imports, imports_refused, exports, capped, stale_ranges, ...
    nodes: tuple[NodeView, ...]
    protect_times: ProtectTimes = ProtectTimes({}, 0.0, ())
    promotion_times: Mapping[str, PhaseTimes] = field(default_factory=dict)  # by phase
    server: ServerStatistics | None = None
    room: int | None = None  # as master: fewest packet ids left to a client's newest key
    rekey: RekeyProgress = RekeyProgress()
    problems: tuple[str, ...] = ()  # what an administrator has to mend, a line each, with the mend


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
