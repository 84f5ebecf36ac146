"""Makes records small: hot parts and cold parts as they travel.

Most of what OpenVPN says of one client it says of every other too: variable names, the certificate
of the authority, what the client can do. So all cold parts of a client travel as one *bundle*,
compressed against the *base*, which is the cold parts of the first client of the stream; hot parts
are compressed against a dictionary of their layout. Keys neither shrink nor belong into a base that
outlives its client: wrap keys and tokens stand in a bundle as they are. Ruled by docs/wire.md,
"Packed parts". Decides nothing else, and compresses nothing twice that has not changed.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from ovpnha.model import HOT_LIMIT, RECORD_LIMIT, ClientRecord, ColdKind, ColdPart
from ovpnha.replication.records import COLD_PARTS_LIMIT, PACKING, malformed

BASE = 254
BUNDLE = 255
LEVEL = 6
WINDOW = -12  # 4 KiB, raw: a base and a bundle fit, and preparing more costs more than it saves
MEMORY = 5
READ_WINDOW = -15
SECRET = frozenset({ColdKind.WRAP, ColdKind.TOKEN})
PASSWORD = b"password"
BASE_LIMIT = 3072  # bytes
PACKED_LIMIT = RECORD_LIMIT + PACKING  # of a bundle that did not shrink

_PART = struct.Struct("!BI")
_HEAD = struct.Struct("!I")

HOT_LAYOUT = bytes.fromhex(
    "0001000080010008000000000000000080020008000000000000000180030004000000008004000400000007"
    "80050008000000000000000080060001018007000b4145532d3235362d47434d800800046e6f6e6580090004"
    "000000c8800a0004000000c8800b0006000000000000800c000c0a080000fffffc0000000000800d00212001"
    "0db800080000000000000000100020010db800080000000000000000000140000e00040a080000000f001020"
    "010db800080000000000000000100000100008000000006b00eb420011000cffffffffffffffffffffffff00"
    "1200100000000000000800000000000000089780130010000000000000000000000000000000008014001000"
    "00000000000000000000000000000080150004000000018016008a0100000000000000000000000000000000"
    "00000000000000ffffffff0000003c0000000000000044000000000000000100000001000000002008000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000"
)
"""A hot part without a secret: the fields in the order in which OpenVPN writes them."""


def _deflate(data: bytes, dictionary: bytes) -> bytes:
    compressor = zlib.compressobj(
        LEVEL, zlib.DEFLATED, WINDOW, MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary
    )
    return compressor.compress(data) + compressor.flush()


def _inflate_untrusted(data: bytes, dictionary: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(READ_WINDOW, dictionary)
    try:
        plain = decompressor.decompress(data, limit + 1)
    except zlib.error:
        raise malformed() from None
    if len(plain) > limit or not decompressor.eof or decompressor.unused_data:
        raise malformed()
    return plain


@dataclass(frozen=True, slots=True)
class Packed:
    """A record as it travels, and what tells whether the parts that it was made of have changed."""

    record: ClientRecord
    hot: bytes = field(repr=False)
    cold: bytes


class Packer:
    """The sending side of one stream: its base, and the bundles made of it."""

    def __init__(self) -> None:
        self._base: ColdPart | None = None

    def pack(self, record: ClientRecord, before: Packed | None = None) -> Packed:
        """The record as it travels; ``before`` is what this client's last one was packed to."""
        hot, cold = _digest(record.hot), _digest(_join(record.cold))
        same_hot = before is not None and before.hot == hot
        same_cold = before is not None and before.cold == cold
        packed = ClientRecord(
            record.uid,
            record.generation,
            before.record.hot if before and same_hot else _deflate(record.hot, HOT_LAYOUT),
            before.record.cold if before and same_cold else self._bundle(record.cold),
            record.grants,
        )
        return Packed(packed, hot, cold)

    def _bundle(self, parts: tuple[ColdPart, ...]) -> tuple[ColdPart, ...]:
        """The base and the bundle that carry these parts; nothing for nothing."""
        if not parts:
            return ()
        if self._base is None:
            common = _join(part for part in parts if _may_stay(part))
            self._base = ColdPart(BASE, common[-BASE_LIMIT:])
        keys = _join(part for part in parts if part.kind in SECRET)
        rest = _join(part for part in parts if part.kind not in SECRET)
        data = _HEAD.pack(len(keys)) + keys + _deflate(rest, self._base.data)
        return self._base, ColdPart(BUNDLE, data)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _may_stay(part: ColdPart) -> bool:
    """Whether a part may be kept for as long as the stream lasts, after its client has gone."""
    return part.kind not in SECRET and PASSWORD not in part.data


def _join(parts: Iterable[ColdPart]) -> bytes:
    return b"".join(_PART.pack(part.kind, len(part.data)) + part.data for part in parts)


def unpack_untrusted(record: ClientRecord) -> ClientRecord:
    """The record as OpenVPN wrote it, its cold parts in the order of their kinds."""
    hot = _inflate_untrusted(record.hot, HOT_LAYOUT, HOT_LIMIT)
    cold = _unpack_untrusted(record.cold)
    if len(hot) + sum(len(part.data) for part in cold) > RECORD_LIMIT:
        raise malformed()
    return ClientRecord(record.uid, record.generation, hot, cold, record.grants)


def _unpack_untrusted(parts: tuple[ColdPart, ...]) -> tuple[ColdPart, ...]:
    base = b"".join(part.data for part in parts if part.kind == BASE)
    found = [part for part in parts if part.kind not in (BASE, BUNDLE)]
    for part in parts:
        if part.kind == BUNDLE:
            found += _open_untrusted(part.data, base)
    if len(found) > COLD_PARTS_LIMIT:
        raise malformed()
    return tuple(sorted(found, key=lambda part: part.kind))


def _open_untrusted(data: bytes, base: bytes) -> list[ColdPart]:
    if len(data) < _HEAD.size:
        raise malformed()
    end = _HEAD.size + _HEAD.unpack_from(data)[0]
    if end > len(data):
        raise malformed()
    rest = _inflate_untrusted(data[end:], base, PACKED_LIMIT)
    return [*_split_untrusted(data[_HEAD.size : end]), *_split_untrusted(rest)]


def _split_untrusted(data: bytes) -> list[ColdPart]:
    parts: list[ColdPart] = []
    at = 0
    while at < len(data):
        if at + _PART.size > len(data) or len(parts) == COLD_PARTS_LIMIT:
            raise malformed()
        kind, size = _PART.unpack_from(data, at)
        at += _PART.size + size
        if at > len(data) or kind in (0, BASE, BUNDLE):
            raise malformed()
        parts.append(ColdPart(kind, data[at - size : at]))
    return parts
