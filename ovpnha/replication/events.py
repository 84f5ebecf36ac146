"""What the replication protocol tells its owner. Frozen, one class per thing that can happen.

``node`` is always the authenticated sender; ``instance`` the OpenVPN instance it speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovpnha.model import (
    BootId,
    ClientRecord,
    CounterKind,
    InstanceName,
    InstanceState,
    NodeName,
    StoredRange,
    Uid,
)
from ovpnha.replication.history import HistoryEntry


@dataclass(frozen=True)
class NodeUp:
    """A node's boot has proved fresh and is believed from now on."""

    node: NodeName
    boot: BootId


@dataclass(frozen=True)
class NodeDown:
    """Nothing was heard of a believed node for the node timeout, or its boot was retired."""

    node: NodeName
    reason: str


@dataclass(frozen=True)
class HelloReceived:
    """A believed node's current state; sent on every hello whose content changed."""

    node: NodeName
    instances: Mapping[InstanceName, InstanceState]


@dataclass(frozen=True)
class GenerationHeard:
    """The followed master has a client at this generation; its record may still be missing."""

    instance: InstanceName
    node: NodeName
    uid: Uid
    generation: int


@dataclass(frozen=True)
class RecordReceived:
    """A whole record (hot part and every cold part) of the followed master."""

    instance: InstanceName
    node: NodeName
    record: ClientRecord


@dataclass(frozen=True)
class RecordWithdrawn:
    """The followed master has no such client any more."""

    instance: InstanceName
    node: NodeName
    uid: Uid


@dataclass(frozen=True)
class SnapshotEnded:
    """The followed master's whole table was received; what is not in ``clients`` is gone there."""

    instance: InstanceName
    node: NodeName
    clients: Mapping[Uid, int]  # generation of each


@dataclass(frozen=True)
class CopyProved:
    """Whether what the followed master said in its hellos has arrived here, and in time."""

    instance: InstanceName
    node: NodeName
    proved: bool


@dataclass(frozen=True)
class CountersReceived:
    """Packed counter entries of the followed master, to be passed on to OpenVPN."""

    instance: InstanceName
    node: NodeName
    kind: CounterKind
    payload: bytes


@dataclass(frozen=True)
class Acknowledged:
    """A standby's OpenVPN has imported this generation, hot and cold, and stored these ranges."""

    instance: InstanceName
    node: NodeName
    uid: Uid
    generation: int
    stored: tuple[StoredRange, ...]


@dataclass(frozen=True)
class Rejected:
    """A standby's OpenVPN refused this record."""

    instance: InstanceName
    node: NodeName
    uid: Uid
    generation: int
    reason: str


@dataclass(frozen=True)
class RenegotiationHeard:
    """The followed master has begun to renegotiate with this client."""

    instance: InstanceName
    node: NodeName
    uid: Uid
    key_id: int
    generation: int = 0  # of the client when it began; 0: not told


@dataclass(frozen=True)
class NameConflict:
    """Two boots of one node name both prove fresh: two machines carry the same name.

    Told again every few seconds for as long as it is so. ``boot`` is the one that is refused.
    """

    node: NodeName
    boot: BootId


@dataclass(frozen=True)
class OneWayLink:
    """Hellos of this node arrive, but it has not echoed our challenge: it does not hear us."""

    node: NodeName


@dataclass(frozen=True)
class OtherKey:
    """Datagrams of this cluster's name arrive that no key of ours opens; said seldom."""

    reason: str  # of docs/wire.md
    link: str


@dataclass(frozen=True)
class OtherVersion:
    """Datagrams of this cluster's name arrive in another version of the format; said seldom."""

    link: str


@dataclass(frozen=True)
class HistoryReceived:
    """Another node told of changes of roles that this one had not heard of, or knew less of."""

    node: NodeName
    entries: tuple[HistoryEntry, ...]


Event = (
    NodeUp
    | NodeDown
    | HelloReceived
    | GenerationHeard
    | RecordReceived
    | RecordWithdrawn
    | SnapshotEnded
    | CopyProved
    | CountersReceived
    | Acknowledged
    | Rejected
    | RenegotiationHeard
    | NameConflict
    | OneWayLink
    | OtherKey
    | OtherVersion
    | HistoryReceived
)
