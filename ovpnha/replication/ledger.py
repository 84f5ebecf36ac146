"""What one end of the back channel has counted since it began.

Sources and sinks come and go with roles; what they count must not fall when they do. So all of them
write into this one ledger, which lives as long as the end itself; ``freeze`` is how it is read.
Decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ovpnha.model import InstanceName, NodeName
from ovpnha.replication.boots import NodeHeard


@dataclass(frozen=True)
class ReplicationStatistics:
    """Counters since start, immutable."""

    received: Mapping[str, int]  # messages by kind
    sent: Mapping[str, int]  # datagrams by kind
    refused: Mapping[str, int]  # by reason of docs/wire.md
    ignored: Mapping[str, int]  # no fault: own, duplicate, unknown_type
    bytes_received: Mapping[str, int]  # hello, state, and refused: what could not be opened
    bytes_sent: Mapping[str, int]
    resyncs: int  # asked by this node
    snapshots: int  # asked of this node
    nacks: int  # times that this node asked again for what did not come
    repaired: int  # entries sent again
    oversized: int  # records beyond the limits, not sent or not delivered
    differences: int  # buckets that a digest has shown to differ
    incomplete: int  # records whose cold parts are missing
    outstanding: Mapping[InstanceName, Mapping[NodeName, int]]  # unacknowledged, by follower
    nodes: tuple[NodeHeard, ...]


@dataclass(slots=True)
class Ledger:
    """Counters that only rise."""

    received: Counter[str] = field(default_factory=Counter)  # messages by kind
    sent: Counter[str] = field(default_factory=Counter)  # datagrams by kind
    refused: Counter[str] = field(default_factory=Counter)  # by reason of docs/wire.md
    ignored: Counter[str] = field(default_factory=Counter)  # no fault: own, duplicate, unknown_type
    bytes_received: Counter[str] = field(default_factory=Counter)
    bytes_sent: Counter[str] = field(default_factory=Counter)
    resyncs: int = 0  # asked by this node
    snapshots: int = 0  # asked of this node
    nacks: int = 0  # times that this node asked again for what did not come
    repaired: int = 0  # entries sent again
    oversized: int = 0  # records beyond the limits, not sent or not delivered
    differences: int = 0  # buckets that a digest has shown to differ

    def freeze(
        self,
        incomplete: int,
        outstanding: Mapping[InstanceName, Mapping[NodeName, int]],
        nodes: tuple[NodeHeard, ...],
    ) -> ReplicationStatistics:
        """All of it at this moment, and how things stand."""
        return ReplicationStatistics(
            received=MappingProxyType(dict(self.received)),
            sent=MappingProxyType(dict(self.sent)),
            refused=MappingProxyType(dict(self.refused)),
            ignored=MappingProxyType(dict(self.ignored)),
            bytes_received=MappingProxyType(dict(self.bytes_received)),
            bytes_sent=MappingProxyType(dict(self.bytes_sent)),
            resyncs=self.resyncs,
            snapshots=self.snapshots,
            nacks=self.nacks,
            repaired=self.repaired,
            oversized=self.oversized,
            differences=self.differences,
            incomplete=incomplete,
            outstanding=MappingProxyType(dict(outstanding)),
            nodes=nodes,
        )
