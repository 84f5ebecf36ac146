"""The log of a source as it travels: entries under their numbers, and the message around them.

    entries = head, floor | entry entry entry ...      entry = kind, number, span | its fields

Decides nothing; docs/wire.md rules numbers, fields and limits. A class is its own table of fields
(``layout``). An entry is packed once and goes as it is into any number of messages, none of them
longer than a datagram allows. Of a kind that nobody here knows the numbers count, and nothing else:
it is void.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from ovpnha.model import InstanceName
from ovpnha.replication.fields import (
    ClientUid,
    Data,
    Instance,
    Number,
    array_untrusted,
    check_part,
    number,
    payload,
)
from ovpnha.replication.layout import Field, Layout, Type, WireMessage, message, pack
from ovpnha.replication.records import malformed, number_untrusted
from ovpnha.replication.sealing import PAYLOAD_LIMIT

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


def encode_upsert(number: int, span: int, body: bytes) -> list[bytes]:
    """One entry, or the fragments of one that does not fit a datagram."""
    whole = encode_entry(Upsert(number, span, body))
    if len(whole) <= ENTRY_LIMIT:
        return [whole]
    pieces = [body[at : at + FRAGMENT_SIZE] for at in range(0, len(body), FRAGMENT_SIZE)]
    return [
        encode_entry(Fragment(number, span, index, len(pieces), piece))
        for index, piece in enumerate(pieces)
    ]


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


class EntryBatch:
    """What leaves together: a client's cold parts right behind its entry, to share its datagram."""

    def __init__(self, envelopes: Callable[[list[bytes]], list[bytes]]) -> None:
        self._envelopes = envelopes
        self._entries: list[bytes] = []
        self._pairs: list[bytes] = []

    def add(self, entries: list[bytes], cold: list[bytes]) -> int:
        """Returns how many bytes that were."""
        if cold:
            self._pairs += self._envelopes(entries) + cold
        else:
            self._entries += entries
        return sum(map(len, entries)) + sum(map(len, cold))

    def messages(self) -> list[bytes]:
        """Everything, in few messages."""
        return self._envelopes(self._entries) + self._pairs
