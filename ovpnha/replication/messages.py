"""The messages of a state datagram: what sources and their followers say. For hello: ``hello``.

Decides nothing; docs/wire.md rules numbers, fields and limits. A class is its own table of fields:
how it is written and read follows from it (``layout``), from a source

    entries       the log, each entry under its number     cold     a piece of a cold part
    snapshot      how far it reaches, not whole yet         ask      for acknowledgements once more
    snapshot_end  how far it reaches, and it is whole       digest, bucket   where do tables differ?

and to a source

    ack, reject   what OpenVPN has made of records          want     cold parts are missing
    nack          numbers are missing                       resync   everything is missing
    difference, repeat   in answer to digest and bucket
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

from ovpnha.model import RECORD_LIMIT, InstanceName, StoredRange, Uid
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
    array_untrusted,
    check_part,
    flag,
    generations,
    number,
    payload,
    rows,
    text_untrusted,
)
from ovpnha.replication.hello import Hello
from ovpnha.replication.layout import Field, Layout, Type, WireMessage, message, pack
from ovpnha.replication.records import (
    PACKING,
    bytes_untrusted,
    malformed,
    number_untrusted,
    pack_stored,
    split_untrusted,
    unpack_stored_untrusted,
)
from ovpnha.replication.sealing import PAYLOAD_LIMIT

ACKS_LIMIT = 24  # entries in one ack or reject
RECENT_LIMIT = 16
BUCKETS = 128
BUCKET_CLIENTS = 60  # clients listed in one bucket message
REASON_LIMIT = 120
COLD_CHUNK = 960
FRAGMENT_SIZE = 900
FRAGMENTS_LIMIT = 10
ENTRY_LIMIT = PAYLOAD_LIMIT - 110  # room for the envelope: instance, stream, head, floor
ENTRIES_LIMIT = 256  # entries in one envelope
_SIX_FIELDS = b"\x96"  # msgpack: an array of six
_ARRAY_16 = b"\xdc"  # msgpack: an array whose size follows in two bytes

Logged = TypeVar("Logged", bound="LogEntry")


class EntryKind(enum.IntEnum):
    """The first element of an entry of the log."""

    UPSERT = 1
    FRAGMENT = 2
    DELETE = 3
    COUNTERS = 4
    RENEGOTIATION = 5
    VOID = 6


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What stands under a number of the log, and how many void numbers right below it."""

    number: Number
    span: Number

    def check_untrusted(self) -> None:
        """Malformed, if it spans more numbers than there are."""
        if not 0 < self.span <= self.number:
            raise malformed()


ENTRY_LAYOUTS: dict[int, Layout[Any]] = {}
_KINDS: dict[type[LogEntry], EntryKind] = {}


def _entry(kind: EntryKind) -> Callable[[type[Logged]], type[Logged]]:
    def register(content: type[Logged]) -> type[Logged]:
        ENTRY_LAYOUTS[kind] = Layout(content)
        _KINDS[content] = kind
        return content

    return register


@_entry(EntryKind.UPSERT)
@dataclass(frozen=True, slots=True)
class Upsert(LogEntry):
    """A client's newest record, still packed."""

    body: Data = field(repr=False)


@_entry(EntryKind.FRAGMENT)
@dataclass(frozen=True, slots=True)
class Fragment(LogEntry):
    """A piece of an upsert's body that is too large for one datagram."""

    index: Annotated[int, number(FRAGMENTS_LIMIT, "{} (from 0)")]
    count: Annotated[int, number(FRAGMENTS_LIMIT)]
    data: Annotated[bytes, payload("part of a body")] = field(repr=False)

    def check_untrusted(self) -> None:
        """Malformed, if there is no such piece."""
        LogEntry.check_untrusted(self)
        check_part(self.index, self.count)


@_entry(EntryKind.DELETE)
@dataclass(frozen=True, slots=True)
class Delete(LogEntry):
    """A client is gone."""

    uid: ClientUid
    generation: Number


@_entry(EntryKind.COUNTERS)
@dataclass(frozen=True, slots=True)
class Counters(LogEntry):
    """Packed counters of many clients."""

    kind: Annotated[int, number(255, "counter kind")]
    payload: Data


@_entry(EntryKind.RENEGOTIATION)
@dataclass(frozen=True, slots=True)
class Renegotiation(LogEntry):
    """A renegotiation has begun."""

    uid: ClientUid
    key_id: Annotated[int, number(7)]
    generation: Annotated[int, Field(number_untrusted, appended=True)] = 0
    """Of the client when it began; 0: not told."""


@_entry(EntryKind.VOID)
@dataclass(frozen=True, slots=True)
class Void(LogEntry):
    """Nothing stands under these numbers any more."""


_VOID = ENTRY_LAYOUTS[EntryKind.VOID]
Entry = Upsert | Fragment | Delete | Counters | Renegotiation | Void


def encode_entry(entry: Entry) -> bytes:
    """One entry; ``envelopes`` makes messages of many."""
    kind = _KINDS[type(entry)]
    return pack([kind, *ENTRY_LAYOUTS[kind].write(entry)])


def _entries(value: object) -> tuple[Entry, ...]:
    """Of an unknown kind only its numbers count: it is void here."""
    entries = []
    for entry in array_untrusted(value, ENTRIES_LIMIT):
        kind, *values = array_untrusted(entry) or [None]
        layout = ENTRY_LAYOUTS.get(number_untrusted(kind), _VOID)
        entries.append(layout.read_untrusted(values))
    return tuple(entries)


@message(Type.ENTRIES)
@dataclass(frozen=True, slots=True)
class Entries(WireMessage):
    """Entries of one log, as received; what sends them uses ``envelopes``."""

    instance: Instance
    stream: Number
    head: Number
    floor: Number
    entries: Annotated[tuple[Entry, ...], Field(_entries, text="[entry …]")]

    def encode(self) -> bytes:
        """One message, for which the entries must not be too many."""
        place = (self.instance, self.stream, self.head, self.floor)
        return _enclose(_opening(*place), [encode_entry(entry) for entry in self.entries])


def envelopes(
    instance: InstanceName, stream: int, head: int, floor: int, entries: list[bytes]
) -> list[bytes]:
    """Messages around entries that are packed already, none longer than a datagram allows."""
    groups: list[list[bytes]] = []
    room = 0
    for entry in entries:
        if len(entry) > room or len(groups[-1]) == ENTRIES_LIMIT:
            groups.append([])
            room = ENTRY_LIMIT
        groups[-1].append(entry)
        room -= len(entry)
    opening = _opening(instance, stream, head, floor)
    return [_enclose(opening, group) for group in groups]


def _opening(*place: object) -> bytes:
    return b"".join((_SIX_FIELDS, *map(pack, (Type.ENTRIES, *place))))


def _enclose(opening: bytes, entries: list[bytes]) -> bytes:
    return b"".join((opening, _ARRAY_16, len(entries).to_bytes(2, "big"), *entries))


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
Message = Hello | Goodbye | FromSource | ToSource
