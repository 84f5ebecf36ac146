"""Versions of packages, compared as Debian compares them (deb-version(7)).

Decides which of two is the newer one, and what of a version is the source's. The sidecar compares
too, for its alert, and starts no program for that.
"""

from __future__ import annotations

import re
from itertools import zip_longest

OURS = "+ovpnha"
"""What the patched OpenVPN's version has behind that of its source."""


def is_older(one: str, other: str) -> bool:
    """Whether a version comes before another one."""
    return _key(one) < _key(other)


def source_version(version: str) -> str:
    """The version without what a rebuild, or our patch, has added."""
    return re.sub(r"\+b\d+$", "", version.partition(OURS)[0])


def newest(versions: tuple[str, ...]) -> str:
    """The newest of some; "" of none."""
    return max(versions, key=_key, default="")


class _Order:
    """One part of a version, upstream's or Debian's."""

    def __init__(self, text: str) -> None:
        texts, numbers = re.findall(r"\D+|^(?=\d)", text), re.findall(r"\d+", text)
        self._parts = list(zip_longest(texts, numbers, fillvalue=""))

    def __lt__(self, other: _Order) -> bool:
        return self._compare(other) < 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Order) and self._compare(other) == 0

    __hash__ = None  # type: ignore[assignment]

    def _compare(self, other: _Order) -> int:
        for mine, theirs in zip_longest(self._parts, other._parts, fillvalue=("", "")):
            for one, two in ((_signs(mine[0]), _signs(theirs[0])), (_size(mine), _size(theirs))):
                if one != two:
                    return -1 if one < two else 1
        return 0


def _signs(text: str) -> list[int]:
    """Letters before everything else, the tilde before the end, the end before letters."""
    ranks = [-1 if sign == "~" else ord(sign) + (0 if sign.isalpha() else 256) for sign in text]
    return [*ranks, 0]


def _size(part: tuple[str, str]) -> list[int]:
    return [int(part[1] or 0)]


def _key(version: str) -> tuple[int, _Order, _Order]:
    epoch, colon, rest = version.strip().rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    number = int(epoch) if colon and epoch.isdigit() else 0
    return number, _Order(upstream if dash else rest), _Order(revision if dash else "")
