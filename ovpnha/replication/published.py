"""The table of a source: each client's newest record, packed, under its number of the log.

Decides which cold parts are in use, and what is said of the whole table: a digest of each bucket,
and the clients that have changed last. Must never keep a cold part that no record names, nor say a
digest of another table than this one. Rules: docs/wire.md, "State: from the source".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ovpnha.model import ClientRecord, InstanceName, Uid
from ovpnha.replication.cold_sender import ColdSender
from ovpnha.replication.messages import BUCKET_CLIENTS, RECENT_LIMIT, Bucket
from ovpnha.replication.packing import Packed, Packer
from ovpnha.replication.records import bucket_of
from ovpnha.replication.tabledigest import TableDigest

Generations = tuple[tuple[Uid, int], ...]


@dataclass(slots=True)
class Published:
    """One client as it travels."""

    packed: Packed
    names: tuple[bytes, ...]  # of its cold parts
    number: int  # of the log

    @property
    def record(self) -> ClientRecord:
        """As it travels."""
        return self.packed.record


class PublishedTable(Mapping[Uid, Published]):
    """All clients of one source."""

    def __init__(self, cold: ColdSender) -> None:
        self._clients: dict[Uid, Published] = {}
        self._cold = cold
        self._packer = Packer()
        self._digest = TableDigest()
        self._recent: dict[Uid, int] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Uid]:
        return iter(self._clients)

    def __contains__(self, uid: object) -> bool:
        return uid in self._clients

    def __getitem__(self, uid: Uid) -> Published:
        return self._clients[uid]

    def put(self, record: ClientRecord) -> None:
        """This record instead of the one that is there; it has no number yet."""
        known = self._clients.get(record.uid)
        packed = self._packer.pack(record, known.packed if known is not None else None)
        if known is not None and packed.record.cold is known.record.cold:
            names = known.names  # still in use
        else:
            # Before those of the old record go: a part of both stays, and is not sent again.
            names = self._cold.use(packed.record.cold)
            self._cold.release(known.names if known is not None else ())
        if known is not None:
            self._flip(known.record)
        self._clients[record.uid] = Published(packed, names, 0)
        self._flip(record)

    def number(self, uid: Uid, number: int) -> None:
        """This is where the log has it now, the newest of all."""
        known = self._clients[uid]
        known.number = number
        self._recent.pop(uid, None)
        self._recent[uid] = known.record.generation
        if len(self._recent) > RECENT_LIMIT:
            del self._recent[next(iter(self._recent))]

    def remove(self, uid: Uid) -> Published | None:
        """The client is gone; returns what was published of it."""
        known = self._clients.pop(uid, None)
        if known is not None:
            self._cold.release(known.names)
            self._flip(known.record)
            self._recent.pop(uid, None)
        return known

    def _flip(self, record: ClientRecord) -> None:
        """This record comes into the table, or leaves it."""
        self._digest.flip(record.uid, record.generation)

    # What is said of the whole table.

    @property
    def digest(self) -> int:
        """Of all clients."""
        return self._digest.whole

    @property
    def digests(self) -> tuple[int, ...]:
        """Of each bucket."""
        return tuple(self._digest.buckets)

    @property
    def recent(self) -> Generations:
        """The generations of those that have changed last."""
        return tuple(self._recent.items())

    def numbers(self) -> dict[Uid, int]:
        """Where the log has each client."""
        return {uid: known.number for uid, known in self._clients.items()}

    def list_buckets(
        self, buckets: tuple[int, ...], instance: InstanceName, stream: int, head: int
    ) -> Iterator[bytes]:
        """All clients of these buckets, packed, in groups of which each fits a message."""
        listed: dict[int, list[tuple[Uid, int]]] = {bucket: [] for bucket in buckets}
        for uid, known in self._clients.items():
            if (bucket := bucket_of(uid)) in listed:
                listed[bucket].append((uid, known.record.generation))
        for bucket, clients in listed.items():
            starts = range(0, max(1, len(clients)), BUCKET_CLIENTS)
            for part, at in enumerate(starts):
                group = tuple(clients[at : at + BUCKET_CLIENTS])
                yield Bucket(instance, stream, head, bucket, part, len(starts), group).encode()
