"""What a node needs of the replication protocol (``ovpnha.replication.protocol``)."""

from __future__ import annotations

from typing import Protocol

from ovpnha.model import (
    ClientRecord,
    CounterKind,
    InstanceName,
    InstanceState,
    NodeName,
    StoredRange,
    Uid,
)


class Backchannel(Protocol):
    """The verbs of the replication protocol, for one or many instances."""

    def announce(self, instance: InstanceName, state: InstanceState, now: float) -> None:
        """Say in hello what this node is; a change is said at once."""

    def answer(self, now: float) -> None:
        """Say hello soon, though nothing has changed: somebody may wonder."""

    def last_heard(self, node: NodeName) -> float:
        """When a believed node was last heard; long ago for any other."""

    def begin_source(self, instance: InstanceName, now: float) -> None:
        """Be the source of an empty table that is not complete yet."""

    def publish(self, instance: InstanceName, record: ClientRecord, now: float) -> None:
        """Put a record into the table."""

    def withdraw(self, instance: InstanceName, uid: Uid, now: float) -> None:
        """Take a client out of the table."""

    def source_complete(self, instance: InstanceName, now: float) -> None:
        """From now on the end of a snapshot is truthful."""

    def end_source(self, instance: InstanceName) -> None:
        """Be no source any more."""

    def publish_counters(
        self, instance: InstanceName, kind: CounterKind, payload: bytes, now: float
    ) -> None:
        """Send packed counters."""

    def announce_renegotiation(
        self, instance: InstanceName, uid: Uid, key_id: int, generation: int, now: float
    ) -> None:
        """Say that a renegotiation has started, with a client at this generation."""

    def follow(self, instance: InstanceName, node: NodeName | None, now: float) -> None:
        """Take records of this node only, beginning with everything it has."""

    def resync(self, instance: InstanceName, now: float) -> None:
        """Ask the followed node for everything again."""

    def acknowledge(
        self,
        instance: InstanceName,
        uid: Uid,
        generation: int,
        stored: tuple[StoredRange, ...],
        now: float,
    ) -> None:
        """Say that our OpenVPN has imported this generation."""

    def reject(
        self, instance: InstanceName, uid: Uid, generation: int, reason: str, now: float
    ) -> None:
        """Say that our OpenVPN has refused this generation."""
