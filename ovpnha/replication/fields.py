"""The kinds of values that messages have: how each is written, read, and told in docs/wire.md.

Decides nothing; docs/wire.md, "Messages", rules the limits. Whatever breaks them is malformed. A
field that several messages have in common, as the node tag, is here as well.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from functools import partial
from operator import attrgetter
from typing import Annotated, Any

from ovpnha.model import UID_SIZE, InstanceName, NodeName, Uid
from ovpnha.replication.config import NAME_LIMIT
from ovpnha.replication.layout import Field, Layout, Values
from ovpnha.replication.records import (
    NAME_SIZE,
    bytes_untrusted,
    malformed,
    number_untrusted,
    pack_generation,
    split_untrusted,
    unpack_generations_untrusted,
)
from ovpnha.replication.sealing import NODE_TAG_SIZE, PAYLOAD_LIMIT

ARRAY_LIMIT = 4096
PARTS_LIMIT = 64
RANGES_LIMIT = 48  # gaps in one nack or ack
UIDS_LIMIT = 100
NAMES_LIMIT = 60  # cold names in one want


def array_untrusted(value: object, limit: int = ARRAY_LIMIT) -> Values:
    """An array of at most so many elements."""
    if type(value) is not list or len(value) > limit:
        raise malformed()
    return value


def text_untrusted(value: object, limit: int) -> str:
    """A text of at most so many bytes of UTF-8."""
    try:
        if type(value) is not str or len(value.encode()) > limit:
            raise malformed()
    except UnicodeEncodeError:  # half a letter: from a file, never from the wire
        raise malformed() from None
    return value


def _payload(value: object) -> bytes:
    if type(value) is not bytes or len(value) > PAYLOAD_LIMIT:
        raise malformed()
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise malformed()
    return value


def name_untrusted(value: object) -> str:
    """A name: it is shown in terminals and logs, so nothing in it moves a cursor."""
    name = text_untrusted(value, NAME_LIMIT)
    if not name.isprintable():
        raise malformed()
    return name


def _node(value: object) -> NodeName:
    return NodeName(name_untrusted(value))


def _instance(value: object) -> InstanceName:
    return InstanceName(name_untrusted(value))


def _uid(value: object) -> Uid:
    return Uid(bytes_untrusted(value, UID_SIZE, UID_SIZE))


def _uids(value: object) -> tuple[Uid, ...]:
    return tuple(map(Uid, split_untrusted(value, UID_SIZE, UIDS_LIMIT)))


def _names(value: object) -> tuple[bytes, ...]:
    return tuple(split_untrusted(value, NAME_SIZE, NAMES_LIMIT))


def _ranges(value: object) -> tuple[tuple[int, int], ...]:
    flat = [number_untrusted(number) for number in array_untrusted(value, 2 * RANGES_LIMIT)]
    if len(flat) % 2:
        raise malformed()
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
    if any(not 0 < first <= last for first, last in pairs):
        raise malformed()
    return pairs


def _flat(ranges: Iterable[tuple[int, int]]) -> list[int]:
    return [number for pair in ranges for number in pair]


def _pack_generations(clients: Iterable[tuple[Uid, int]]) -> bytes:
    return b"".join(pack_generation(uid, generation) for uid, generation in clients)


def number(limit: int, text: str = "{}") -> Field:
    """A whole number from 0 to ``limit``."""

    def read(value: object) -> int:
        if type(value) is not int or not 0 <= value <= limit:
            raise malformed()
        return value

    return Field(read, text=text)


def flag(text: str = "{}") -> Field:
    """True or false."""
    return Field(_flag, text=text)


def node(text: str = "{}") -> Field:
    """The name of a node."""
    return Field(_node, text=text)


def one_of(kind: type[enum.Enum]) -> Field:
    """A value of an enumeration."""

    def read(value: object) -> enum.Enum:
        try:
            return kind(value)
        except ValueError:
            raise malformed() from None

    return Field(read, attrgetter("value"))


def fixed(size: int, text: str = "{}") -> Field:
    """A byte string of exactly so many bytes."""

    def read(value: object) -> bytes:
        if type(value) is not bytes or len(value) != size:
            raise malformed()
        return value

    return Field(read, text=f"{text} {size}")


def payload(text: str = "{}") -> Field:
    """Bytes that other layers know."""
    return Field(_payload, text=text)


def generations(limit: int) -> Field:
    """Clients and their generations, packed in one byte string."""
    read = partial(unpack_generations_untrusted, limit=limit)
    return Field(read, _pack_generations, "{}: (uid 8, generation 8) …")


def rows(layout: Layout[Any], limit: int, text: str = "") -> Field:
    """An array of at most so many arrays, each of this layout."""

    def read(value: object) -> tuple[object, ...]:
        found = array_untrusted(value, limit)
        return tuple([layout.read_untrusted(array_untrusted(row)) for row in found])

    def write(contents: Iterable[object]) -> list[list[object]]:
        return [layout.write(content) for content in contents]

    return Field(read, write, text or f"[[{', '.join(layout.texts())}] …]")


def check_part(part: int, parts: int) -> None:
    """A part counts from 0, so it is below their number."""
    if part >= parts:
        raise malformed()


Number = Annotated[int, Field(number_untrusted)]
Byte = Annotated[int, number(255)]
Parts = Annotated[int, number(PARTS_LIMIT)]
Flag = Annotated[bool, flag()]
Data = Annotated[bytes, payload()]
Node = Annotated[NodeName, node()]
Instance = Annotated[InstanceName, Field(_instance)]
Tag = Annotated[bytes, fixed(NODE_TAG_SIZE, "node tag")]
ClientUid = Annotated[Uid, Field(_uid, text="uid 8")]
Uids = Annotated[tuple[Uid, ...], Field(_uids, b"".join, "uids 8 …")]
ColdName = Annotated[bytes, fixed(NAME_SIZE)]
ColdNames = Annotated[tuple[bytes, ...], Field(_names, b"".join, "cold names 16 …")]
Ranges = Annotated[tuple[tuple[int, int], ...], Field(_ranges, _flat, "[first, last …]")]
