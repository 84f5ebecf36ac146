"""Packed forms of what a record is made of: grants, stored ranges, uid lists, an upsert's body.

Decides nothing; docs/wire.md rules the layout. Functions that read bytes of other nodes end in
``_untrusted`` and raise ``RefusedDatagram("malformed")`` for whatever breaks the layout.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import msgpack

from ovpnha.errors import RefusedDatagram
from ovpnha.model import (
    FINGERPRINT_SIZE,
    HOLDER_SIZE,
    HOT_LIMIT,
    RECORD_LIMIT,
    UID_SIZE,
    ClientRecord,
    ColdPart,
    Fingerprint,
    Grant,
    HolderId,
    StoredRange,
    Uid,
)

NAME_SIZE = 16  # of a cold part
COLD_PARTS_LIMIT = 16
GRANTS_LIMIT = 255  # holders, and fingerprints, of one record
BODY_LIMIT = 8 * 1024
STORED_LIMIT = 16
PACKING = 256  # bytes by which what does not shrink may grow when it is packed
NUMBER_LIMIT = 2**63 - 1
SHARES_KEPT = 32_768  # clients whose share of a digest is not computed anew

_RANGE = struct.Struct("!BII")
_STORED = struct.Struct("!8sQ")
_GENERATION = struct.Struct("!8sQ")


def malformed() -> RefusedDatagram:
    """The one exception for authentic bytes that break the format."""
    return RefusedDatagram("malformed")


def number_untrusted(value: object, limit: int = NUMBER_LIMIT) -> int:
    """A whole number from 0 to ``limit``."""
    if type(value) is not int or not 0 <= value <= limit:
        raise malformed()
    return value


def bytes_untrusted(value: object, limit: int, size: int | None = None) -> bytes:
    """A byte string of at most ``limit`` bytes, or of exactly ``size``."""
    if type(value) is not bytes or len(value) > limit or (size is not None and len(value) != size):
        raise malformed()
    return value


def split_untrusted(value: object, size: int, limit: int) -> list[bytes]:
    """Cut a byte string into at most ``limit`` pieces of ``size``."""
    data = bytes_untrusted(value, size * limit)
    if len(data) % size:
        raise malformed()
    return [data[at : at + size] for at in range(0, len(data), size)]


@dataclass(frozen=True, slots=True)
class Body:
    """An upsert as it travels: the record with its cold parts named, not contained."""

    uid: Uid
    generation: int
    hot: bytes = field(repr=False)
    cold: tuple[tuple[bytes, int], ...]  # name and kind of each part
    grants: tuple[Grant, ...]
    high_water: bytes = b""
    byte_counts: bytes = b""

    def record(self, cold: tuple[ColdPart, ...]) -> ClientRecord:
        """The whole record, once its cold parts are there."""
        return ClientRecord(self.uid, self.generation, self.hot, cold, self.grants)


def pack_body(record: ClientRecord, names: Sequence[bytes], counters: tuple[bytes, bytes]) -> bytes:
    """The body of an upsert; ``counters`` are the newest of this client by kind."""
    fields = (
        record.uid,
        record.generation,
        record.hot,
        b"".join(names),
        bytes(part.kind for part in record.cold),
        pack_grants(record.grants),
        *counters,
    )
    return bytes(msgpack.packb(fields))


def unpack_body_untrusted(data: bytes) -> Body:
    """Read the body of an upsert."""
    try:
        fields = msgpack.unpackb(data, max_array_len=64, max_map_len=0, max_ext_len=0)
    except Exception:  # msgpack raises whatever comes: it is the task boundary of its own parser
        raise malformed() from None
    if type(fields) is not list or len(fields) < 8:
        raise malformed()
    uid, generation, hot, names, kinds, grants, high_water, byte_counts = fields[:8]
    parts = split_untrusted(names, NAME_SIZE, COLD_PARTS_LIMIT)
    if len(bytes_untrusted(kinds, COLD_PARTS_LIMIT)) != len(parts):
        raise malformed()
    return Body(
        Uid(bytes_untrusted(uid, UID_SIZE, UID_SIZE)),
        number_untrusted(generation),
        bytes_untrusted(hot, HOT_LIMIT + PACKING),
        tuple(zip(parts, kinds, strict=True)),
        unpack_grants_untrusted(grants),
        bytes_untrusted(high_water, BODY_LIMIT),
        bytes_untrusted(byte_counts, BODY_LIMIT),
    )


def fits(record: ClientRecord) -> bool:
    """Whether a record keeps the limits that every receiver enforces."""
    cold = sum(len(part.data) for part in record.cold)
    return (
        len(record.hot) <= HOT_LIMIT
        and len(record.cold) <= COLD_PARTS_LIMIT
        and len(record.hot) + cold <= RECORD_LIMIT
        and len(record.grants) <= GRANTS_LIMIT
        and record.generation <= NUMBER_LIMIT
    )


def pack_grants(grants: Iterable[Grant]) -> bytes:
    """Fingerprints once, then each holder with its ranges: 44 bytes a holder for three keys."""
    fingerprints: dict[Fingerprint, int] = {}
    holders: dict[HolderId, list[bytes]] = {}
    for grant in grants:
        index = fingerprints.setdefault(grant.fingerprint, len(fingerprints))
        packed = _RANGE.pack(index, grant.start, grant.end)
        holders.setdefault(grant.holder, []).append(packed)
    if not holders:
        return b""
    pieces = [bytes([len(fingerprints)]), *fingerprints, bytes([len(holders)])]
    for holder, packed_ranges in holders.items():
        pieces += (holder, bytes([len(packed_ranges)]), *packed_ranges)
    return b"".join(pieces)


def unpack_grants_untrusted(value: object) -> tuple[Grant, ...]:
    """Read packed grants."""
    data = bytes_untrusted(value, BODY_LIMIT)
    if not data:
        return ()
    try:
        return tuple(_grants_untrusted(data))
    except (IndexError, struct.error):
        raise malformed() from None


def _grants_untrusted(data: bytes) -> list[Grant]:
    count = data[0]
    at = 1 + count * FINGERPRINT_SIZE
    fingerprints = [
        Fingerprint(data[start : start + FINGERPRINT_SIZE])
        for start in range(1, at, FINGERPRINT_SIZE)
    ]
    grants: list[Grant] = []
    holders = data[at]
    at += 1
    for _ in range(holders):
        holder = HolderId(data[at : at + HOLDER_SIZE])
        ranges = data[at + HOLDER_SIZE]
        at += HOLDER_SIZE + 1
        for _ in range(ranges):
            index, start, end = _RANGE.unpack_from(data, at)
            at += _RANGE.size
            if start >= end:
                raise malformed()
            grants.append(Grant(holder, fingerprints[index], start, end))
    if at != len(data):
        raise malformed()
    return grants


def pack_stored(stored: Iterable[StoredRange]) -> bytes:
    """Stored ranges, 16 bytes each."""
    return b"".join(_STORED.pack(kept.fingerprint, kept.end) for kept in stored)


def unpack_stored_untrusted(value: object) -> tuple[StoredRange, ...]:
    """Read packed stored ranges."""
    pieces = split_untrusted(value, _STORED.size, STORED_LIMIT)
    return tuple(
        StoredRange(Fingerprint(fingerprint), end)
        for fingerprint, end in map(_STORED.unpack, pieces)
    )


def pack_generation(uid: Uid, generation: int) -> bytes:
    """A client and its generation, 16 bytes."""
    return _GENERATION.pack(uid, generation)


def unpack_generations_untrusted(value: object, limit: int) -> tuple[tuple[Uid, int], ...]:
    """Read packed clients with their generations."""
    pieces = split_untrusted(value, _GENERATION.size, limit)
    return tuple(
        (Uid(uid), number_untrusted(generation))
        for uid, generation in map(_GENERATION.unpack, pieces)
    )


@lru_cache(SHARES_KEPT)
def bucket_of(uid: Uid) -> int:
    """The digest bucket of a client, 0 to 127."""
    return hashlib.sha256(uid).digest()[0] >> 1


@lru_cache(SHARES_KEPT)
def digest_of(uid: Uid, generation: int) -> int:
    """What one client adds (by exclusive or) to the digest of its bucket."""
    return int.from_bytes(hashlib.sha256(pack_generation(uid, generation)).digest()[:8], "big")
