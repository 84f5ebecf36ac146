"""The messages of a state datagram: what sources and their followers say. For hello: ``hello``.

Decides nothing; docs/wire.md rules numbers, fields and limits. A class is its own table of fields:
how it is written and read follows from it (``layout``), from a source

    entries       the log: ``entries``                      cold     a piece of a cold part
    snapshot      how far it reaches, not whole yet         ask      for acknowledgements once more
    snapshot_end  how far it reaches, and it is whole       digest, bucket   where do tables differ?

and to a source

    ack, reject   what OpenVPN has made of records          want     cold parts are missing
    nack          numbers are missing                       resync   everything is missing
    difference, repeat   in answer to digest and bucket
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from ovpnha.model import RECORD_LIMIT, StoredRange, Uid
from ovpnha.replication.entries import Entries
from ovpnha.replication.fields import (
    Byte,
    ClientUid,
    ColdName,
    ColdNames,
    Data,
    Instance,
    Number,
    Parts,
    Ranges,
    Tag,
    Uids,
    check_part,
    flag,
    generations,
    number,
    rows,
    text_untrusted,
)
from ovpnha.replication.hello import Hello
from ovpnha.replication.history import History
from ovpnha.replication.layout import Field, Layout, Type, WireMessage, message
from ovpnha.replication.records import (
    PACKING,
    bytes_untrusted,
    malformed,
    number_untrusted,
    pack_stored,
    split_untrusted,
    unpack_stored_untrusted,
)

ACKS_LIMIT = 24  # entries in one ack or reject
RECENT_LIMIT = 16
BUCKETS = 128
BUCKET_CLIENTS = 60  # clients listed in one bucket message
REASON_LIMIT = 120
COLD_CHUNK = 960


@message(Type.SNAPSHOT)
@dataclass(frozen=True, slots=True)
class Snapshot(WireMessage):
    """How far the log of a source reaches that is still collecting, and its newest changes."""

    instance: Instance
    stream: Number
    head: Number
    floor: Number
    recent: Annotated[tuple[tuple[Uid, int], ...], generations(RECENT_LIMIT)]


@message(Type.SNAPSHOT_END)
@dataclass(frozen=True, slots=True)
class SnapshotEnd(Snapshot):
    """The same of a source whose table is whole, with so many clients."""

    clients: Number


@message(Type.COLD)
@dataclass(frozen=True, slots=True)
class Cold(WireMessage):
    """A chunk of a cold part."""

    instance: Instance
    stream: Number
    name: ColdName
    kind: Byte
    total: Annotated[int, number(RECORD_LIMIT + PACKING)]
    offset: Annotated[int, number(RECORD_LIMIT + PACKING)]
    data: Data = field(repr=False)

    def check_untrusted(self) -> None:
        """Malformed, if it lies beyond its part, or says nothing of it."""
        if self.offset + len(self.data) > self.total or (self.total and not self.data):
            raise malformed()


@message(Type.ASK)
@dataclass(frozen=True, slots=True)
class Ask(WireMessage):
    """The source asks one node for its acknowledgements of these clients once more."""

    instance: Instance
    stream: Number
    tag: Tag
    uids: Uids


def _digests(value: object) -> tuple[int, ...]:
    pieces = split_untrusted(value, 8, BUCKETS)
    if len(pieces) != BUCKETS:
        raise malformed()
    return tuple(int.from_bytes(piece, "big") for piece in pieces)


def _pack_digests(digests: Iterable[int]) -> bytes:
    return b"".join(digest.to_bytes(8, "big") for digest in digests)


@message(Type.DIGEST)
@dataclass(frozen=True, slots=True)
class Digest(WireMessage):
    """The digests of all buckets of the table at ``head``."""

    instance: Instance
    stream: Number
    head: Number
    digests: Annotated[tuple[int, ...], Field(_digests, _pack_digests, f"{{}} 8 … ({BUCKETS})")]


@message(Type.BUCKET)
@dataclass(frozen=True, slots=True)
class Bucket(WireMessage):
    """What the source has in one bucket at ``head``."""

    instance: Instance
    stream: Number
    head: Number
    bucket: Annotated[int, number(BUCKETS - 1)]
    part: Number
    parts: Parts
    clients: Annotated[tuple[tuple[Uid, int], ...], generations(BUCKET_CLIENTS)]

    def check_untrusted(self) -> None:
        """Malformed, if there is no such part."""
        check_part(self.part, self.parts)


Stored = Annotated[
    tuple[StoredRange, ...],
    Field(unpack_stored_untrusted, pack_stored, "{}: (fingerprint 8, end 8) …"),
]


@dataclass(frozen=True, slots=True)
class AckEntry:
    """A client imported by this node's OpenVPN."""

    uid: ClientUid
    generation: Number
    number: Number
    stored: Stored


@dataclass(frozen=True, slots=True)
class RejectEntry:
    """A client whose record this node's OpenVPN has refused."""

    uid: ClientUid
    generation: Number
    number: Number
    reason: Annotated[str, Field(partial(text_untrusted, limit=REASON_LIMIT))]


@message(Type.ACK)
@dataclass(frozen=True, slots=True)
class Ack(WireMessage):
    """What has arrived of a log, and what of it OpenVPN has imported."""

    tag: Tag
    instance: Instance
    stream: Number
    cumulative: Number
    ranges: Ranges
    entries: Annotated[tuple[AckEntry, ...], rows(Layout(AckEntry), ACKS_LIMIT)]


@message(Type.REJECT)
@dataclass(frozen=True, slots=True)
class Reject(WireMessage):
    """Records that OpenVPN has refused."""

    tag: Tag
    instance: Instance
    stream: Number
    entries: Annotated[tuple[RejectEntry, ...], rows(Layout(RejectEntry), ACKS_LIMIT)]


@message(Type.NACK)
@dataclass(frozen=True, slots=True)
class Nack(WireMessage):
    """Numbers that are missing."""

    tag: Tag
    instance: Instance
    stream: Number
    cumulative: Number
    ranges: Ranges


@message(Type.WANT)
@dataclass(frozen=True, slots=True)
class Want(WireMessage):
    """Cold parts that are missing."""

    tag: Tag
    instance: Instance
    stream: Number
    names: ColdNames


@message(Type.RESYNC)
@dataclass(frozen=True, slots=True)
class Resync(WireMessage):
    """Everything is wanted, from the first number on."""

    tag: Tag
    instance: Instance
    stream: Annotated[int, Field(number_untrusted, text="{} or 0")]
    has_cold: Annotated[bool, flag("has cold parts")]


def _buckets(value: object) -> tuple[int, ...]:
    buckets = bytes_untrusted(value, BUCKETS)
    if any(bucket >= BUCKETS for bucket in buckets):
        raise malformed()
    return tuple(buckets)


@message(Type.DIFFERENCE)
@dataclass(frozen=True, slots=True)
class Difference(WireMessage):
    """Buckets whose digests differ."""

    tag: Tag
    instance: Instance
    stream: Number
    buckets: Annotated[tuple[int, ...], Field(_buckets, bytes, "{} 1 …")]


@message(Type.REPEAT)
@dataclass(frozen=True, slots=True)
class Repeat(WireMessage):
    """Clients whose records are wanted once more, under new numbers."""

    tag: Tag
    instance: Instance
    stream: Number
    uids: Uids


@message(Type.GOODBYE)
@dataclass(frozen=True, slots=True)
class Goodbye(WireMessage):
    """This boot ends on purpose."""


FromSource = Entries | Snapshot | SnapshotEnd | Cold | Ask | Digest | Bucket
Report = Ack | Reject | Nack | Want | Difference | Repeat  # of one known stream
ToSource = Resync | Report
Message = Hello | Goodbye | History | FromSource | ToSource
