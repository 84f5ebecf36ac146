"""Writes and reads the wire format as docs/wire.md has it, and imports nothing of ours.

What this file and ovpnha agree on is what the page says: a name, an order or a size that both took
from the page cannot drift on one side alone. Deliberately plain: lists in, bytes out, and no limit
is checked. Only the cipher itself (RFC 8452) and the reading of DEFLATE come from libraries.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

PAGE = Path(__file__).parents[3] / "docs" / "wire.md"
HELLO_KIND, STATE_KIND = 1, 2
BASE, BUNDLE = 254, 255


# --- msgpack, in the shortest form that a value has


def pack(value: Any) -> bytes:
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _pack_int(value)
        case str():
            return _sized(value.encode(), 0xA0, 32, 0xD9, 0xDA)
        case bytes():
            return _sized(value, 0, 0, 0xC4, 0xC5)
    opening = bytes([0x90 | len(value)]) if len(value) < 16 else b"\xdc" + _int(len(value), 2)
    return opening + b"".join(map(pack, value))


def _sized(data: bytes, short: int, limit: int, one: int, two: int) -> bytes:
    if len(data) < limit:
        return bytes([short | len(data)]) + data
    if len(data) < 256:
        return bytes([one, len(data)]) + data
    return bytes([two]) + _int(len(data), 2) + data


def _pack_int(value: int) -> bytes:
    if -32 <= value < 128:
        return value.to_bytes(1, "big", signed=True)
    letters = "BHIQ" if value > 0 else "bhiq"
    for tag, letter in enumerate(letters, start=0xCC if value > 0 else 0xD0):
        try:
            return bytes([tag]) + struct.pack(">" + letter, value)
        except struct.error:
            continue
    raise OverflowError(value)


def _int(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def unpack(data: bytes, at: int = 0) -> tuple[Any, int]:
    """One value, and where the next one begins."""
    tag = data[at]
    if tag < 0x80 or tag >= 0xE0:
        return int.from_bytes(data[at : at + 1], "big", signed=True), at + 1
    if 0x90 <= tag < 0xA0 or tag == 0xDC:
        count, at = (tag & 15, at + 1) if tag != 0xDC else (_number(data, at + 1, 2), at + 3)
        values = []
        for _ in range(count):
            value, at = unpack(data, at)
            values.append(value)
        return values, at
    if 0xA0 <= tag < 0xC0:
        return data[at + 1 : at + 1 + (tag & 31)].decode(), at + 1 + (tag & 31)
    if tag in (0xC2, 0xC3):
        return tag == 0xC3, at + 1
    if tag in (0xC4, 0xC5, 0xD9, 0xDA):
        size = 1 if tag in (0xC4, 0xD9) else 2
        end = at + 1 + size + _number(data, at + 1, size)
        content = data[at + 1 + size : end]
        return content.decode() if tag in (0xD9, 0xDA) else content, end
    size = 1 << (tag & 3)
    value = int.from_bytes(data[at + 1 : at + 1 + size], "big", signed=tag >= 0xD0)
    return value, at + 1 + size


def unpack_all(data: bytes) -> list[Any]:
    """One value after another."""
    values, at = [], 0
    while at < len(data):
        value, at = unpack(data, at)
        values.append(value)
    return values


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


# --- datagrams


def cluster_tag(name: str) -> bytes:
    return hashlib.sha256(b"ovpnha cluster\0" + name.encode()).digest()[:8]


def node_tag(name: str) -> bytes:
    return hashlib.sha256(b"ovpnha node\0" + name.encode()).digest()[:8]


def hkdf(key: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869, of at most one block."""
    extracted = hmac.digest(salt, key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")[:size]


@dataclass(frozen=True)
class Sender:
    """One boot of one node, under one cluster key."""

    cluster: str
    node: str
    key: bytes
    boot: bytes

    @property
    def key_number(self) -> bytes:
        return hkdf(self.key, cluster_tag(self.cluster), b"ovpnha key number", 4)

    @property
    def cipher(self) -> AESGCMSIV:
        info = b"ovpnha seal 1" + node_tag(self.node) + self.boot
        return AESGCMSIV(hkdf(self.key, cluster_tag(self.cluster), info, 32))

    def seal(self, kind: int, payload: bytes, sequence: int, nonce: bytes) -> bytes:
        header = b"".join(
            (
                b"oHA\x01",
                cluster_tag(self.cluster),
                b"\x02",
                bytes(3),
                self.key_number,
                node_tag(self.node),
                self.boot,
                _int(sequence, 8),
                nonce,
            )
        )
        return header + self.cipher.encrypt(nonce, bytes([kind]) + payload, header)

    def open(self, data: bytes) -> tuple[int, bytes]:
        """Kind and payload of one of this sender's datagrams."""
        plain = self.cipher.decrypt(data[52:64], data[64:], data[:64])
        return plain[0], plain[1:]


# --- packed fields


def generations(clients: Iterable[tuple[bytes, int]]) -> bytes:
    return b"".join(uid + _int(generation, 8) for uid, generation in clients)


def stored(ranges: Iterable[tuple[bytes, int]]) -> bytes:
    return b"".join(fingerprint + _int(end, 8) for fingerprint, end in ranges)


def heard(rounds: Iterable[tuple[int, int]]) -> bytes:
    """Round and age in microseconds."""
    return b"".join(_int(number % 2**32, 4) + _int(age, 4) for number, age in rounds)


def grants(
    fingerprints: list[bytes], holders: list[tuple[bytes, list[tuple[int, int, int]]]]
) -> bytes:
    """Of each holder the ranges: index of the fingerprint, start, end."""
    packed = bytes([len(fingerprints)]) + b"".join(fingerprints) + bytes([len(holders)])
    for holder, ranges in holders:
        packed += holder + bytes([len(ranges)])
        packed += b"".join(bytes([index]) + _int(a, 4) + _int(b, 4) for index, a, b in ranges)
    return packed


def envelope(instance: str, stream: int, head: int, floor: int, entries: list[Any]) -> bytes:
    """The message *entries*, whose list has its length in two bytes."""
    place = b"".join(map(pack, (3, instance, stream, head, floor)))
    return b"\x96" + place + b"\xdc" + _int(len(entries), 2) + b"".join(map(pack, entries))


def bucket(uid: bytes) -> int:
    return hashlib.sha256(uid).digest()[0] // 2


def table_digests(clients: Iterable[tuple[bytes, int]]) -> list[bytes]:
    """Of each of the 128 buckets."""
    digests = [0] * 128
    for uid, generation in clients:
        of_client = hashlib.sha256(uid + _int(generation, 8)).digest()[:8]
        digests[bucket(uid)] ^= int.from_bytes(of_client, "big")
    return [_int(digest, 8) for digest in digests]


# --- packed parts


def cold_name(kind: int, content: bytes) -> bytes:
    return hashlib.sha256(bytes([kind]) + content).digest()[:16]


def join(parts: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([kind]) + _int(len(data), 4) + data for kind, data in parts)


def deflate(data: bytes) -> bytes:
    """RFC 1951, section 3.2.4: blocks that are stored as they are; any reader takes them."""
    blocks = [data[at : at + 65535] for at in range(0, len(data), 65535)] or [b""]
    return b"".join(
        bytes([index == len(blocks) - 1])
        + struct.pack("<HH", len(block), ~len(block) & 0xFFFF)
        + block
        for index, block in enumerate(blocks)
    )


def inflate(data: bytes, dictionary: bytes) -> bytes:
    reader = zlib.decompressobj(-15, dictionary)
    plain = reader.decompress(data) + reader.flush()
    if not reader.eof or reader.unused_data:
        raise ValueError("no whole DEFLATE stream")
    return plain


def hot_layout() -> bytes:
    """The dictionary of hot parts, as the page prints it."""
    _, _, rest = PAGE.read_text().partition("### The layout of a hot part")
    found = re.search(r"```\n([0-9a-f\n]+)```", rest)
    if found is None:
        raise ValueError("the page has no layout of a hot part")
    return bytes.fromhex(found[1])


def base_part(parts: list[tuple[int, bytes]]) -> bytes:
    kept = [(kind, data) for kind, data in parts if kind not in (2, 4) and b"password" not in data]
    return join(kept)[-3072:]


def bundle_part(parts: list[tuple[int, bytes]]) -> bytes:
    keys = join(part for part in parts if part[0] in (2, 4))
    return (
        _int(len(keys), 4) + keys + deflate(join(part for part in parts if part[0] not in (2, 4)))
    )


def open_bundle(data: bytes, base: bytes) -> list[tuple[int, bytes]]:
    """The parts in a bundle, in the order of their kinds."""
    end = 4 + _number(data, 0, 4)
    joined = data[4:end] + inflate(data[end:], base)
    parts, at = [], 0
    while at < len(joined):
        size = _number(joined, at + 1, 4)
        parts.append((joined[at], joined[at + 5 : at + 5 + size]))
        at += 5 + size
    return sorted(parts)
