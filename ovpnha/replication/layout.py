"""How a message stands on the wire: an array of its fields, in the order of its class.

The class is the only list of the fields. Each is annotated with the kind of value that it is
(``fields``), from which follow how it is written, how it is read and checked, and its place in the
tables of docs/wire.md:

    @message(Type.WANT)                                    | type | message | fields               |
    @dataclass(frozen=True, slots=True)                    |------|---------|----------------------|
    class Want(WireMessage):                  ----->       | 10   | want    | node tag, instance,  |
        tag: Tag                                                          | stream, names 16 …   |
        instance: Instance
        stream: Number                        ----->       [10, tag, "udp", 7, b"..."]  in msgpack
        names: ColdNames

What can go wrong, and the rule that answers it: bytes of another node can be anything, so a value
that its kind does not allow, or an array that is too short, raises ``RefusedDatagram("malformed")``
before a message is made of it. A newer version appends fields: those behind the known ones are not
looked at. What one field says of another is checked by the class, in ``check_untrusted``.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter, call
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_type_hints

import msgpack

from ovpnha.replication.records import malformed

Values = Sequence[object]
Content = TypeVar("Content")
Sent = TypeVar("Sent", bound="WireMessage")


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
    HISTORY = 17


@dataclass(frozen=True)
class Field:
    """A kind of value. It annotates a field of a class: ``Annotated[int, Field(...)]``."""

    read: Callable[[object], object]  # refuses what this kind does not allow
    write: Callable[[Any], object] | None = None  # None: msgpack takes it as it is
    text: str = "{}"  # in docs/wire.md; {} stands for the field's name
    appended: bool = False  # by a later version: who does not say it means the default


class Layout(Generic[Content]):
    """The fields of one class, in their order."""

    def __init__(self, content: type[Content]) -> None:
        hints = get_type_hints(content, include_extras=True)
        names = [field.name for field in dataclasses.fields(content)]  # type: ignore[arg-type]
        self.fields = {name: _field_of(hints[name]) for name in names}
        self._content: Callable[..., Content] = content
        self._reads = tuple(field.read for field in self.fields.values())
        writes = ((at, field.write) for at, field in enumerate(self.fields.values()))
        self._writes = [(at, write) for at, write in writes if write is not None]
        self._least = sum(not field.appended for field in self.fields.values())
        self._values: Callable[[Content], tuple[object, ...]] = _getter(names)
        self._check: Callable[[Content], None] | None = getattr(content, "check_untrusted", None)

    def write(self, content: Content) -> list[object]:
        """What msgpack writes."""
        values = list(self._values(content))
        for at, write in self._writes:
            values[at] = write(values[at])
        return values

    def read_untrusted(self, values: Values) -> Content:
        """What was read by msgpack, checked."""
        if len(values) < self._least:
            raise malformed()
        content = self._content(*map(call, self._reads, values))
        if self._check is not None:
            self._check(content)
        return content

    def texts(self) -> list[str]:
        """The fields as docs/wire.md lists them."""
        return [field.text.format(_plain(name)) for name, field in self.fields.items()]


def _field_of(hint: object) -> Field:
    return next(kind for kind in get_args(hint) if isinstance(kind, Field))


def _getter(names: list[str]) -> Callable[[Any], tuple[object, ...]]:
    if len(names) < 2:  # attrgetter of one name gives no tuple
        return lambda content: tuple(getattr(content, name) for name in names)
    return attrgetter(*names)


def _plain(name: str) -> str:
    return name.replace("_", " ")


class WireMessage:
    """Something that one node says to the others; its class is its table."""

    __slots__ = ()
    wire_type: ClassVar[Type]
    layout: ClassVar[Layout[Any]]

    def encode(self) -> bytes:
        """This message alone."""
        return pack([self.wire_type, *self.layout.write(self)])


MESSAGES: dict[int, type[WireMessage]] = {}
"""Every message that there is, by its type."""


def message(number: Type) -> Callable[[type[Sent]], type[Sent]]:
    """Give a message its type, and its layout."""

    def register(content: type[Sent]) -> type[Sent]:
        content.wire_type, content.layout = number, Layout(content)
        MESSAGES[number] = content
        return content

    return register


_PACK = msgpack.Packer().pack  # kept: to make a packer costs more than most messages do


def pack(value: object) -> bytes:
    """As msgpack."""
    return bytes(_PACK(value))
