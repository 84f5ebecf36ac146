"""Reading messages that other nodes sealed: strict, bounded, one exception.

A sealed datagram is authentic, yet a node can be of another version, broken or taken over. Whatever
breaks docs/wire.md raises ``RefusedDatagram("malformed")`` before anything of the datagram is used.
Types, and fields behind the known ones, that a newer version added are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgpack

from ovpnha.model import (
    HOLDER_SIZE,
    RECORD_LIMIT,
    UID_SIZE,
    Epoch,
    HolderId,
    InstanceName,
    InstanceState,
    NodeName,
    Role,
    Sync,
    Uid,
)
from ovpnha.replication.config import NAME_LIMIT
from ovpnha.replication.messages import (
    ACKS_LIMIT,
    BUCKET_CLIENTS,
    BUCKETS,
    CHALLENGE_SIZE,
    DIGEST_TEXT_LIMIT,
    ECHO_LIMIT,
    ENTRIES_LIMIT,
    FRAGMENTS_LIMIT,
    HEAD_DIGEST_SIZE,
    NAMES_LIMIT,
    PARTS_LIMIT,
    RANGES_LIMIT,
    REASON_LIMIT,
    RECENT_LIMIT,
    STATES_LIMIT,
    UIDS_LIMIT,
    VERSION_TEXT_LIMIT,
    Ack,
    AckEntry,
    Ask,
    Beacon,
    Bucket,
    Cold,
    Counters,
    Delete,
    Difference,
    Digest,
    Entries,
    Entry,
    EntryKind,
    Fragment,
    Goodbye,
    Hello,
    LogHead,
    Message,
    Nack,
    Reject,
    RejectEntry,
    Renegotiation,
    Repeat,
    Resync,
    Type,
    Upsert,
    Void,
    Want,
)
from ovpnha.replication.records import (
    NAME_SIZE,
    PACKING,
    bytes_untrusted,
    malformed,
    number_untrusted,
    split_untrusted,
    unpack_generations_untrusted,
    unpack_stored_untrusted,
)
from ovpnha.replication.roundtrip import HEARD_LIMIT, HEARD_SIZE, unpack_heard
from ovpnha.replication.sealing import NODE_TAG_SIZE, PAYLOAD_LIMIT

ARRAY_LIMIT = 4096
GRADE_LIMIT = 32767
PARTIAL_FIELD = 18
"""Place of the flag in a state that says that a copy under way lacks only what OpenVPN refuses."""
HEAD_FIELD = 19
"""Place of the head of its log, which is empty where it has none."""

Fields = Sequence[object]


def decode_untrusted(payload: bytes) -> tuple[list[Message], int]:
    """The messages of one datagram, and how many were of unknown type."""
    messages: list[Message] = []
    unknown = 0
    for fields in _arrays_untrusted(payload):
        decoder = _DECODERS.get(number_untrusted(fields[0]))
        if decoder is None:
            unknown += 1
            continue
        try:
            messages.append(decoder(fields))
        except IndexError:
            raise malformed() from None
    return messages, unknown


def _arrays_untrusted(payload: bytes) -> list[Fields]:
    unpacker = msgpack.Unpacker(
        max_buffer_size=PAYLOAD_LIMIT,
        max_array_len=ARRAY_LIMIT,
        max_map_len=0,
        max_ext_len=0,
        max_str_len=PAYLOAD_LIMIT,
        max_bin_len=PAYLOAD_LIMIT,
    )
    arrays: list[Fields] = []
    whole = 0
    try:
        unpacker.feed(payload)
        for fields in unpacker:
            arrays.append(fields)
            whole = unpacker.tell()
    except Exception:  # msgpack raises whatever comes: it is the task boundary of its own parser
        raise malformed() from None
    if whole != len(payload) or not all(type(fields) is list and fields for fields in arrays):
        raise malformed()
    return arrays


def _array(value: object, limit: int) -> Fields:
    if type(value) is not list or len(value) > limit:
        raise malformed()
    return value


def _text(value: object, limit: int) -> str:
    if type(value) is not str or len(value.encode("utf-8", "replace")) > limit:
        raise malformed()
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise malformed()
    return value


def _instance(value: object) -> InstanceName:
    return InstanceName(_text(value, NAME_LIMIT))


def _tag(value: object) -> bytes:
    return bytes_untrusted(value, NODE_TAG_SIZE, NODE_TAG_SIZE)


def _uid(value: object) -> Uid:
    return Uid(bytes_untrusted(value, UID_SIZE, UID_SIZE))


def _uids(value: object) -> tuple[Uid, ...]:
    return tuple(map(Uid, split_untrusted(value, UID_SIZE, UIDS_LIMIT)))


def _ranges(value: object) -> tuple[tuple[int, int], ...]:
    flat = [number_untrusted(number) for number in _array(value, 2 * RANGES_LIMIT)]
    if len(flat) % 2:
        raise malformed()
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
    if any(not 0 < first <= last for first, last in pairs):
        raise malformed()
    return pairs


def _part(part: object, parts: object) -> tuple[int, int]:
    count = number_untrusted(parts, PARTS_LIMIT)
    index = number_untrusted(part)
    if index >= count:
        raise malformed()
    return index, count


def _hello(fields: Fields) -> Hello:
    part, parts = _part(fields[5], fields[6])
    states = [_array(state, ARRAY_LIMIT) for state in _array(fields[7], STATES_LIMIT)]
    return Hello(
        _text(fields[1], NAME_LIMIT),
        bytes_untrusted(fields[2], CHALLENGE_SIZE, CHALLENGE_SIZE),
        tuple(
            bytes_untrusted(echo, CHALLENGE_SIZE, CHALLENGE_SIZE)
            for echo in _array(fields[3], ECHO_LIMIT)
        ),
        number_untrusted(fields[4]),
        part,
        parts,
        tuple(map(_state, states)),
        number_untrusted(fields[8]) / 1e6,
        unpack_heard(bytes_untrusted(fields[9], HEARD_LIMIT * HEARD_SIZE)),
        tuple((_instance(state[0]), _head(head)) for state in states if (head := _head_of(state))),
    )


def _head_of(state: Fields) -> Fields:
    return _array(state[HEAD_FIELD], ARRAY_LIMIT)


def _head(fields: Fields) -> LogHead:
    return LogHead(
        number_untrusted(fields[0]),
        number_untrusted(fields[1]),
        number_untrusted(fields[2]),
        number_untrusted(fields[3]),
        int.from_bytes(bytes_untrusted(fields[4], HEAD_DIGEST_SIZE, HEAD_DIGEST_SIZE), "big"),
        _flag(fields[5]),
    )


def _grade(value: object) -> int:
    if type(value) is not int or abs(value) > GRADE_LIMIT:
        raise malformed()
    return value


def _state(fields: Fields) -> tuple[InstanceName, InstanceState]:
    try:
        role, sync = Role(fields[1]), Sync(fields[5])
    except ValueError:
        raise malformed() from None
    if _flag(fields[PARTIAL_FIELD]):
        sync = Sync.PARTIAL
    state = InstanceState(
        role=role,
        epoch=_epoch(fields[2:]),
        vip=_flag(fields[4]),
        sync=sync,
        grade=_grade(fields[6]),
        holder=HolderId(bytes_untrusted(fields[7], HOLDER_SIZE, HOLDER_SIZE)),
        clients=number_untrusted(fields[8]),
        record_format=number_untrusted(fields[9]),
        openvpn=_text(fields[10], VERSION_TEXT_LIMIT),
        digest=_text(fields[11], DIGEST_TEXT_LIMIT),
        certificate=_text(fields[12], DIGEST_TEXT_LIMIT),
        issuer=_text(fields[13], DIGEST_TEXT_LIMIT),
        managed=_flag(fields[14]),
        origin=_epoch(fields[15:]),
        touched=_flag(fields[17]),
    )
    return _instance(fields[0]), state


def _epoch(fields: Fields) -> Epoch:
    return Epoch(number_untrusted(fields[0]), NodeName(_text(fields[1], NAME_LIMIT)))


def _goodbye(_: Fields) -> Goodbye:
    return Goodbye()


def _entries(fields: Fields) -> Entries:
    return Entries(
        _instance(fields[1]),
        number_untrusted(fields[2]),
        number_untrusted(fields[3]),
        number_untrusted(fields[4]),
        tuple(map(_entry, _array(fields[5], ENTRIES_LIMIT))),
    )


def _entry(value: object) -> Entry:
    fields = _array(value, ARRAY_LIMIT)
    kind, number, span = fields[0], number_untrusted(fields[1]), number_untrusted(fields[2])
    if not 0 < span <= number:
        raise malformed()
    match kind:
        case EntryKind.UPSERT:
            return Upsert(number, span, bytes_untrusted(fields[3], PAYLOAD_LIMIT))
        case EntryKind.FRAGMENT:
            count = number_untrusted(fields[4], FRAGMENTS_LIMIT)
            index = number_untrusted(fields[3])
            if index >= count:
                raise malformed()
            data = bytes_untrusted(fields[5], PAYLOAD_LIMIT)
            return Fragment(number, span, index, count, data)
        case EntryKind.DELETE:
            return Delete(number, span, _uid(fields[3]), number_untrusted(fields[4]))
        case EntryKind.COUNTERS:
            payload = bytes_untrusted(fields[4], PAYLOAD_LIMIT)
            return Counters(number, span, number_untrusted(fields[3], 255), payload)
        case EntryKind.RENEGOTIATION:
            generation = number_untrusted(fields[5]) if len(fields) > 5 else 0
            key_id = number_untrusted(fields[4], 7)
            return Renegotiation(number, span, _uid(fields[3]), key_id, generation)
    number_untrusted(kind)
    return Void(number, span)


def _beacon(fields: Fields) -> Beacon:
    whole = fields[0] == Type.SNAPSHOT_END
    return Beacon(
        _instance(fields[1]),
        number_untrusted(fields[2]),
        number_untrusted(fields[3]),
        number_untrusted(fields[4]),
        unpack_generations_untrusted(fields[5], RECENT_LIMIT),
        number_untrusted(fields[6]) if whole else None,
    )


def _cold(fields: Fields) -> Cold:
    total = number_untrusted(fields[5], RECORD_LIMIT + PACKING)
    offset = number_untrusted(fields[6], RECORD_LIMIT + PACKING)
    data = bytes_untrusted(fields[7], PAYLOAD_LIMIT)
    if offset + len(data) > total or (total and not data):
        raise malformed()
    name = bytes_untrusted(fields[3], NAME_SIZE, NAME_SIZE)
    kind = number_untrusted(fields[4], 255)
    return Cold(_instance(fields[1]), number_untrusted(fields[2]), name, kind, total, offset, data)


def _ask(fields: Fields) -> Ask:
    return Ask(_instance(fields[1]), number_untrusted(fields[2]), _tag(fields[3]), _uids(fields[4]))


def _digest(fields: Fields) -> Digest:
    pieces = split_untrusted(fields[4], 8, BUCKETS)
    if len(pieces) != BUCKETS:
        raise malformed()
    return Digest(
        _instance(fields[1]),
        number_untrusted(fields[2]),
        number_untrusted(fields[3]),
        tuple(int.from_bytes(piece, "big") for piece in pieces),
    )


def _bucket(fields: Fields) -> Bucket:
    part, parts = _part(fields[5], fields[6])
    return Bucket(
        _instance(fields[1]),
        number_untrusted(fields[2]),
        number_untrusted(fields[3]),
        number_untrusted(fields[4], BUCKETS - 1),
        part,
        parts,
        unpack_generations_untrusted(fields[7], BUCKET_CLIENTS),
    )


def _place(fields: Fields) -> tuple[bytes, InstanceName, int]:
    return _tag(fields[1]), _instance(fields[2]), number_untrusted(fields[3])


def _ack(fields: Fields) -> Ack:
    entries = tuple(
        _ack_entry(_array(entry, ARRAY_LIMIT)) for entry in _array(fields[6], ACKS_LIMIT)
    )
    return Ack(*_place(fields), number_untrusted(fields[4]), _ranges(fields[5]), entries)


def _ack_entry(fields: Fields) -> AckEntry:
    stored = unpack_stored_untrusted(fields[3])
    return AckEntry(
        _uid(fields[0]), number_untrusted(fields[1]), number_untrusted(fields[2]), stored
    )


def _reject(fields: Fields) -> Reject:
    entries = tuple(
        _reject_entry(_array(entry, ARRAY_LIMIT)) for entry in _array(fields[4], ACKS_LIMIT)
    )
    return Reject(*_place(fields), entries)


def _reject_entry(fields: Fields) -> RejectEntry:
    reason = _text(fields[3], REASON_LIMIT)
    return RejectEntry(
        _uid(fields[0]), number_untrusted(fields[1]), number_untrusted(fields[2]), reason
    )


def _nack(fields: Fields) -> Nack:
    return Nack(*_place(fields), number_untrusted(fields[4]), _ranges(fields[5]))


def _want(fields: Fields) -> Want:
    return Want(*_place(fields), tuple(split_untrusted(fields[4], NAME_SIZE, NAMES_LIMIT)))


def _resync(fields: Fields) -> Resync:
    return Resync(*_place(fields), _flag(fields[4]))


def _difference(fields: Fields) -> Difference:
    buckets = bytes_untrusted(fields[4], BUCKETS)
    if any(bucket >= BUCKETS for bucket in buckets):
        raise malformed()
    return Difference(*_place(fields), tuple(buckets))


def _repeat(fields: Fields) -> Repeat:
    return Repeat(*_place(fields), _uids(fields[4]))


_DECODERS: Mapping[int, Callable[[Fields], Message]] = {
    Type.HELLO: _hello,
    Type.GOODBYE: _goodbye,
    Type.ENTRIES: _entries,
    Type.SNAPSHOT: _beacon,
    Type.SNAPSHOT_END: _beacon,
    Type.COLD: _cold,
    Type.ACK: _ack,
    Type.REJECT: _reject,
    Type.NACK: _nack,
    Type.WANT: _want,
    Type.RESYNC: _resync,
    Type.ASK: _ask,
    Type.DIGEST: _digest,
    Type.DIFFERENCE: _difference,
    Type.BUCKET: _bucket,
    Type.REPEAT: _repeat,
}
