"""Frozen records as JSON and back: the one codec of what the control socket and ``/status`` say.

Decides how a record looks: an epoch is its text, an enumeration its value, bytes are hexadecimal,
and the figures of a part stand among those of its instance. A reader ignores keys that it does not
know and gives a missing one its default, so that a daemon and a command of neighbouring versions
understand each other.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ovpnha.model import Epoch, NodeName
from ovpnha.node.part import PartStatistics

Record = TypeVar("Record")
Reader = Callable[[object], object]


def to_plain(value: object) -> Any:
    """Turn dataclasses, enumerations and epochs into what JSON can say."""
    if isinstance(value, Epoch):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _to_mapping(value)
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def _to_mapping(record: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        found = getattr(record, field.name)
        if isinstance(found, PartStatistics):
            plain.update(_to_mapping(found))
        else:
            plain[field.name] = to_plain(found)
    return plain


def from_plain(kind: type[Record], plain: object) -> Record:
    """The record that ``to_plain`` has turned into this.

    Raises:
        ValueError: It is none; the text begins with the keys that lead to what is wrong.
    """
    hint: Any = kind
    return typing.cast("Record", _make_reader(hint)(plain))


@functools.cache
def _make_reader(hint: Any) -> Reader:
    """What reads a value of this type; TypeError for one that no record may have."""
    if isinstance(hint, typing.NewType):
        return _make_reader(hint.__supertype__)
    if isinstance(hint, type):
        return _make_plain_reader(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union} and arguments[1:] == (type(None),):
        some = _make_reader(arguments[0])
        return lambda value: None if value is None else some(value)
    if origin is tuple and arguments[1:] == (...,):
        return functools.partial(_read_tuple, _make_reader(arguments[0]))
    if origin is Mapping:
        key = float if arguments[0] is float else str
        return functools.partial(_read_mapping, key, _make_reader(arguments[1]))
    raise TypeError(f"no record may have a {hint}")


def _make_plain_reader(kind: type) -> Reader:
    if kind is Epoch:
        return _read_epoch
    if issubclass(kind, enum.Enum):
        return kind
    if dataclasses.is_dataclass(kind):
        return _make_record_reader(kind)
    if kind is bytes:
        return lambda value: bytes.fromhex(_read_exact(str, value))
    if kind is float:
        return _read_float
    if kind in {str, int, bool}:
        return functools.partial(_read_exact, kind)
    raise TypeError(f"no record may have a {kind}")


def _make_record_reader(kind: type) -> Reader:
    hints = typing.get_type_hints(kind)
    parts: dict[str, Reader] = {}
    readers: dict[str, tuple[Reader, bool]] = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, PartStatistics):
            parts[field.name] = _make_reader(hint)  # type: ignore[arg-type]
        else:
            missing = (field.default, field.default_factory)
            needed = missing == (dataclasses.MISSING, dataclasses.MISSING)
            readers[field.name] = (_make_reader(hint), needed)

    def read(plain: object) -> object:
        if not isinstance(plain, Mapping):
            raise ValueError(f"{plain!r} is no object")  # noqa: TRY004 - of a text from outside
        values = {name: reader(plain) for name, reader in parts.items()}
        for name, (reader, needed) in readers.items():
            if name in plain:
                values[name] = _read_at(name, reader, plain[name])
            elif needed:
                raise ValueError(f"{name} is missing")
        return kind(**values)

    return read


def _read_at(where: object, reader: Reader, value: object) -> object:
    """Read it; say where it is when it cannot be read."""
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _read_tuple(reader: Reader, value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")  # noqa: TRY004
    return tuple(_read_at(at, reader, one) for at, one in enumerate(value))


def _read_mapping(key: Callable[[str], object], reader: Reader, value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is no object")  # noqa: TRY004
    return {key(name): _read_at(name, reader, one) for name, one in value.items()}


def _read_epoch(value: object) -> Epoch:
    counter, slash, node = _read_exact(str, value).partition("/")
    if not (slash and counter.isascii() and counter.isdigit()):
        raise ValueError(f"{value!r} is no epoch")
    return Epoch(int(counter), NodeName(node))


def _read_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")  # noqa: TRY004
    return float(value)


def _read_exact(kind: type[Record], value: object) -> Record:
    """A bool is an int to Python, not to JSON."""
    if type(value) is not kind:
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value
