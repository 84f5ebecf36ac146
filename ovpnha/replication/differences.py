"""Finding where two tables differ, bucket by bucket, whatever the cause was.

Decides which buckets to ask for and what in them is too much or missing; the sink acts on it.
Ruled by docs/wire.md, "State: to the source" (*digest*). The log alone keeps tables equal; this is
the check on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ovpnha.model import InstanceName, Uid
from ovpnha.replication.fields import UIDS_LIMIT
from ovpnha.replication.messages import (
    Bucket,
    Difference,
    Digest,
    Repeat,
)
from ovpnha.replication.records import bucket_of


class Differences:
    """What is to be asked for, and the bucket lists that have arrived in part."""

    def __init__(self) -> None:
        self._buckets: tuple[int, ...] = ()
        self._repeat: dict[Uid, None] = {}
        self._parts: dict[int, dict[int, tuple[tuple[Uid, int], ...]]] = {}

    def compare(self, digest: Digest, own: Iterable[int]) -> int:
        """See which buckets differ from our own, and say how many."""
        pairs = zip(own, digest.digests, strict=True)
        self._buckets = tuple(
            bucket for bucket, (ours, theirs) in enumerate(pairs) if ours != theirs
        )
        self._parts = {bucket: {} for bucket in self._buckets}
        return len(self._buckets)

    def take(self, message: Bucket, table: Mapping[Uid, int]) -> list[Uid]:
        """Clients of this bucket that the source does not have; what we lack is asked for."""
        parts = self._parts.get(message.bucket)
        if parts is None:
            return []
        parts[message.part] = message.clients
        if len(parts) < message.parts:
            return []
        del self._parts[message.bucket]
        listed = {uid: generation for part in parts.values() for uid, generation in part}
        self._repeat.update((u, None) for u, g in listed.items() if table.get(u, -1) != g)
        return [u for u in table if bucket_of(u) == message.bucket and u not in listed]

    def messages(self, tag: bytes, instance: InstanceName, stream: int) -> Iterator[bytes]:
        """The requests that are due."""
        if self._buckets:
            yield Difference(tag, instance, stream, self._buckets).encode()
            self._buckets = ()
        uids = tuple(self._repeat)
        self._repeat = {}
        for at in range(0, len(uids), UIDS_LIMIT):
            yield Repeat(tag, instance, stream, uids[at : at + UIDS_LIMIT]).encode()
