"""The messages of the back channel, and their way onto the wire.

Decides nothing; docs/wire.md rules numbers, fields and limits. Reading is ``decoding``'s work:
what is here was made by this node or has passed that module.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgpack

from ovpnha.model import InstanceName, InstanceState, StoredRange, Sync, Uid
from ovpnha.replication.records import pack_generation, pack_stored
from ovpnha.replication.roundtrip import Heard, pack_heard
from ovpnha.replication.sealing import PAYLOAD_LIMIT

CHALLENGE_SIZE = 16
ECHO_LIMIT = 24
HEAD_DIGEST_SIZE = 8
STATES_LIMIT = 64
PARTS_LIMIT = 64
RANGES_LIMIT = 48  # gaps in one nack or ack
ACKS_LIMIT = 24  # entries in one ack or reject
UIDS_LIMIT = 100
RECENT_LIMIT = 16
NAMES_LIMIT = 60  # cold names in one want
BUCKETS = 128
BUCKET_CLIENTS = 60  # clients listed in one bucket message
REASON_LIMIT = 120
DIGEST_TEXT_LIMIT = 64
VERSION_TEXT_LIMIT = 32
COLD_CHUNK = 960
FRAGMENT_SIZE = 900
FRAGMENTS_LIMIT = 10
ENTRY_LIMIT = PAYLOAD_LIMIT - 110  # room for the envelope: instance, stream, head, floor
ENTRIES_LIMIT = 256  # entries in one envelope
_SIX_FIELDS = b"\x96"  # msgpack: an array of six
_ARRAY_16 = b"\xdc"  # msgpack: an array whose size follows in two bytes


class Type(enum.IntEnum):
    """The first element of a message."""

    HELLO = 1
    GOODBYE = 2
    ENTRIES = 3
    SNAPSHOT = 4
    SNAPSHOT_END = 5
    COLD = 6
    ACK = 7
    REJECT = 8
    NACK = 9
    WANT = 10
    RESYNC = 11
    ASK = 12
    DIGEST = 13
    DIFFERENCE = 14
    BUCKET = 15
    REPEAT = 16


class EntryKind(enum.IntEnum):
    """The first element of an entry of the log."""

    UPSERT = 1
    FRAGMENT = 2
    DELETE = 3
    COUNTERS = 4
    RENEGOTIATION = 5
    VOID = 6


@dataclass(frozen=True, slots=True)
class LogHead:
    """How far a source's log reaches, and what its table is then."""

    stream: int
    head: int
    floor: int
    changed: int  # the newest number under which a client was published or withdrawn
    digest: int  # of the whole table, since that number
    complete: bool  # the table is whole


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a node is, its challenge, whom it hears, and the state of its instances."""

    name: str
    challenge: bytes
    echoes: tuple[bytes, ...]
    round: int
    part: int
    parts: int
    states: tuple[tuple[InstanceName, InstanceState], ...]
    wall: float = 0.0  # the sender's clock, seconds since 1970; 0.0: not told
    heard: tuple[Heard, ...] = ()  # of the boots whose challenges are the last echoes
    heads: tuple[tuple[InstanceName, LogHead], ...] = ()  # of the instances that have a log

    def encode(self) -> bytes:
        """The whole payload of a hello datagram."""
        heads = dict(self.heads)
        states = [_pack_state(name, state, heads.get(name)) for name, state in self.states]
        head = (Type.HELLO, self.name, self.challenge, self.echoes, self.round)
        clock = max(0, round(self.wall * 1e6))
        return _pack(*head, self.part, self.parts, states, clock, pack_heard(self.heard))


def _pack_state(
    name: InstanceName, state: InstanceState, head: LogHead | None
) -> tuple[object, ...]:
    return (
        name,
        state.role.value,
        state.epoch.counter,
        state.epoch.node,
        state.vip,
        _sync(state.sync).value,
        state.grade,
        state.holder,
        state.clients,
        state.record_format,
        state.openvpn[:VERSION_TEXT_LIMIT],
        state.digest[:DIGEST_TEXT_LIMIT],
        state.certificate[:DIGEST_TEXT_LIMIT],
        state.issuer[:DIGEST_TEXT_LIMIT],
        state.managed,
        state.origin.counter,
        state.origin.node,
        state.touched,
        state.sync is Sync.PARTIAL,
        () if head is None else _pack_head(head),
    )


def _pack_head(head: LogHead) -> tuple[object, ...]:
    digest = head.digest.to_bytes(HEAD_DIGEST_SIZE, "big")
    return head.stream, head.head, head.floor, head.changed, digest, head.complete


def _sync(sync: Sync) -> Sync:
    """Sidecars that do not know of partial copies take one for a copy under way."""
    return Sync.SYNCING if sync is Sync.PARTIAL else sync


@dataclass(frozen=True, slots=True)
class Goodbye:
    """This boot ends on purpose."""

    def encode(self) -> bytes:
        """One message."""
        return _pack(Type.GOODBYE)


@dataclass(frozen=True, slots=True)
class Upsert:
    """A client's newest record, still packed."""

    number: int
    span: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of an upsert's body that is too large for one datagram."""

    number: int
    span: int
    index: int
    count: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """A client is gone."""

    number: int
    span: int
    uid: Uid
    generation: int


@dataclass(frozen=True, slots=True)
class Counters:
    """Packed counters of many clients."""

    number: int
    span: int
    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Renegotiation:
    """A renegotiation has begun."""

    number: int
    span: int
    uid: Uid
    key_id: int
    generation: int = 0  # of the client when it began; 0: not told


@dataclass(frozen=True, slots=True)
class Void:
    """Nothing stands under these numbers any more."""

    number: int
    span: int


Entry = Upsert | Fragment | Delete | Counters | Renegotiation | Void


def encode_entry(entry: Entry) -> bytes:
    """One entry; ``envelope`` makes a message of many."""
    match entry:
        case Upsert(number, span, body):
            return _pack(EntryKind.UPSERT, number, span, body)
        case Fragment(number, span, index, count, data):
            return _pack(EntryKind.FRAGMENT, number, span, index, count, data)
        case Delete(number, span, uid, generation):
            return _pack(EntryKind.DELETE, number, span, uid, generation)
        case Counters(number, span, kind, payload):
            return _pack(EntryKind.COUNTERS, number, span, kind, payload)
        case Renegotiation(number, span, uid, key_id, generation):
            return _pack(EntryKind.RENEGOTIATION, number, span, uid, key_id, generation)
    return _pack(EntryKind.VOID, entry.number, entry.span)


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of one log, as received."""

    instance: InstanceName
    stream: int
    head: int
    floor: int
    entries: tuple[Entry, ...]


def envelopes(
    instance: InstanceName, stream: int, head: int, floor: int, entries: list[bytes]
) -> list[bytes]:
    """Messages around entries that are packed already, none longer than a datagram allows."""
    opening = b"".join(map(_pack_one, (Type.ENTRIES, instance, stream, head, floor)))
    groups: list[list[bytes]] = []
    room = 0
    for entry in entries:
        if len(entry) > room or len(groups[-1]) == ENTRIES_LIMIT:
            groups.append([])
            room = ENTRY_LIMIT
        groups[-1].append(entry)
        room -= len(entry)
    return [
        b"".join((_SIX_FIELDS, opening, _ARRAY_16, len(group).to_bytes(2, "big"), *group))
        for group in groups
    ]


@dataclass(frozen=True, slots=True)
class Beacon:
    """snapshot (no ``clients``) or snapshot_end: how far the log reaches, its newest changes."""

    instance: InstanceName
    stream: int
    head: int
    floor: int
    recent: tuple[tuple[Uid, int], ...]
    clients: int | None

    def encode(self) -> bytes:
        """One message."""
        recent = b"".join(pack_generation(uid, generation) for uid, generation in self.recent)
        fields = (self.instance, self.stream, self.head, self.floor, recent)
        if self.clients is None:
            return _pack(Type.SNAPSHOT, *fields)
        return _pack(Type.SNAPSHOT_END, *fields, self.clients)


@dataclass(frozen=True, slots=True)
class Cold:
    """A chunk of a cold part."""

    instance: InstanceName
    stream: int
    name: bytes
    kind: int
    total: int
    offset: int
    data: bytes = field(repr=False)

    def encode(self) -> bytes:
        """One message."""
        fields = (self.name, self.kind, self.total, self.offset, self.data)
        return _pack(Type.COLD, self.instance, self.stream, *fields)


@dataclass(frozen=True, slots=True)
class Ask:
    """The source asks one node for its acknowledgements of these clients once more."""

    instance: InstanceName
    stream: int
    tag: bytes
    uids: tuple[Uid, ...]

    def encode(self) -> bytes:
        """One message."""
        return _pack(Type.ASK, self.instance, self.stream, self.tag, b"".join(self.uids))


@dataclass(frozen=True, slots=True)
class Digest:
    """The digests of all buckets of the table at ``head``."""

    instance: InstanceName
    stream: int
    head: int
    digests: tuple[int, ...]

    def encode(self) -> bytes:
        """One message."""
        packed = b"".join(digest.to_bytes(8, "big") for digest in self.digests)
        return _pack(Type.DIGEST, self.instance, self.stream, self.head, packed)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What the source has in one bucket at ``head``."""

    instance: InstanceName
    stream: int
    head: int
    bucket: int
    part: int
    parts: int
    clients: tuple[tuple[Uid, int], ...]

    def encode(self) -> bytes:
        """One message."""
        clients = b"".join(pack_generation(uid, generation) for uid, generation in self.clients)
        place = (self.head, self.bucket, self.part, self.parts)
        return _pack(Type.BUCKET, self.instance, self.stream, *place, clients)


@dataclass(frozen=True, slots=True)
class AckEntry:
    """A client imported by this node's OpenVPN."""

    uid: Uid
    generation: int
    number: int
    stored: tuple[StoredRange, ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """What has arrived of a log, and what of it OpenVPN has imported."""

    tag: bytes
    instance: InstanceName
    stream: int
    cumulative: int
    ranges: tuple[tuple[int, int], ...]
    entries: tuple[AckEntry, ...]

    def encode(self) -> bytes:
        """One message."""
        entries = [(e.uid, e.generation, e.number, pack_stored(e.stored)) for e in self.entries]
        place = (self.tag, self.instance, self.stream, self.cumulative)
        return _pack(Type.ACK, *place, _flat(self.ranges), entries)


@dataclass(frozen=True, slots=True)
class RejectEntry:
    """A client whose record this node's OpenVPN has refused."""

    uid: Uid
    generation: int
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reject:
    """Records that OpenVPN has refused."""

    tag: bytes
    instance: InstanceName
    stream: int
    entries: tuple[RejectEntry, ...]

    def encode(self) -> bytes:
        """One message."""
        entries = [(e.uid, e.generation, e.number, e.reason) for e in self.entries]
        return _pack(Type.REJECT, self.tag, self.instance, self.stream, entries)


@dataclass(frozen=True, slots=True)
class Nack:
    """Numbers that are missing."""

    tag: bytes
    instance: InstanceName
    stream: int
    cumulative: int
    ranges: tuple[tuple[int, int], ...]

    def encode(self) -> bytes:
        """One message."""
        place = (self.tag, self.instance, self.stream, self.cumulative)
        return _pack(Type.NACK, *place, _flat(self.ranges))


@dataclass(frozen=True, slots=True)
class Want:
    """Cold parts that are missing."""

    tag: bytes
    instance: InstanceName
    stream: int
    names: tuple[bytes, ...]

    def encode(self) -> bytes:
        """One message."""
        return _pack(Type.WANT, self.tag, self.instance, self.stream, b"".join(self.names))


@dataclass(frozen=True, slots=True)
class Resync:
    """Everything is wanted, from the first number on."""

    tag: bytes
    instance: InstanceName
    stream: int
    has_cold: bool

    def encode(self) -> bytes:
        """One message."""
        return _pack(Type.RESYNC, self.tag, self.instance, self.stream, self.has_cold)


@dataclass(frozen=True, slots=True)
class Difference:
    """Buckets whose digests differ."""

    tag: bytes
    instance: InstanceName
    stream: int
    buckets: tuple[int, ...]

    def encode(self) -> bytes:
        """One message."""
        return _pack(Type.DIFFERENCE, self.tag, self.instance, self.stream, bytes(self.buckets))


@dataclass(frozen=True, slots=True)
class Repeat:
    """Clients whose records are wanted once more, under new numbers."""

    tag: bytes
    instance: InstanceName
    stream: int
    uids: tuple[Uid, ...]

    def encode(self) -> bytes:
        """One message."""
        return _pack(Type.REPEAT, self.tag, self.instance, self.stream, b"".join(self.uids))


FromSource = Entries | Beacon | Cold | Ask | Digest | Bucket
Report = Ack | Reject | Nack | Want | Difference | Repeat  # of one known stream
ToSource = Resync | Report
Message = Hello | Goodbye | FromSource | ToSource


def _flat(ranges: Iterable[tuple[int, int]]) -> list[int]:
    return [number for pair in ranges for number in pair]


def _pack_one(value: object) -> bytes:
    return bytes(msgpack.packb(value))


def _pack(*fields: object) -> bytes:
    return bytes(msgpack.packb(fields))
