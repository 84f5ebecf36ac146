"""A changed function in a program that is imported already: its code is replaced where it stands.

Only for what runs when it is called. What was computed at import, by a constant or by a function
that was called then, stays as it was; whoever finds nothing by this looks again from the beginning
(``trial``).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

OPTIMIZED = 0x1  # of a code's flags: a function's, not a module's or a class body's


class NotSwappableError(Exception):
    """The change alters more than the code of functions that exist."""


def swap(path: Path, changed: bytes, line: int) -> None:
    """Give every function that holds the line the code of the changed source."""
    old = _outermost(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), line)
    new = _outermost(compile(changed, str(path), "exec", dont_inherit=True), line)
    if old is None or new is None:
        raise NotSwappableError
    if old == new:
        raise NotSwappableError
    codes = dict(_pairs(old, new))
    found = 0
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and (code := codes.get(_key(one.__code__))):
            if len(code.co_freevars) != len(one.__code__.co_freevars):
                raise NotSwappableError
            one.__code__ = code
            found += 1
    if not found:
        raise NotSwappableError


def _outermost(code: CodeType, line: int) -> CodeType | None:
    """The function that holds the line and lies in no other one."""
    for inner in _inner(code):
        if line in _lines(inner):
            return inner if inner.co_flags & OPTIMIZED else _outermost(inner, line)
    return None


def _lines(code: CodeType) -> Iterator[int]:
    yield code.co_firstlineno
    yield from (number for _, _, number in code.co_lines() if number is not None)
    yield from (end for _, end, _, _ in code.co_positions() if end is not None)
    for inner in _inner(code):
        yield from _lines(inner)


def _inner(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[tuple[str, str, int], CodeType]]:
    if old.co_qualname != new.co_qualname:
        raise NotSwappableError
    yield _key(old), new
    inner = _inner(old), _inner(new)
    if len(inner[0]) != len(inner[1]):
        raise NotSwappableError
    for one, other in zip(*inner, strict=True):
        yield from _pairs(one, other)


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno
