"""Upserts that came in pieces because they do not fit one datagram.

Decides nothing. A number counts as received only when all of its pieces are here, so a lost piece
is repaired like any lost entry. Holds parts of hot parts, as few and as short as possible.
"""

from __future__ import annotations

from ovpnha.replication.entries import (
    Fragment,
)

NUMBERS_LIMIT = 64


class Fragments:
    """Pieces by number."""

    def __init__(self) -> None:
        self._pieces: dict[int, dict[int, bytes]] = {}

    def add(self, fragment: Fragment) -> bytes:
        """Take a piece; returns the body when it is whole, else nothing."""
        number = fragment.number
        if number not in self._pieces and len(self._pieces) >= NUMBERS_LIMIT:
            del self._pieces[next(iter(self._pieces))]
        pieces = self._pieces.setdefault(number, {})
        pieces[fragment.index] = fragment.data
        if len(pieces) < fragment.count:
            return b""
        del self._pieces[number]
        return b"".join(piece for _, piece in sorted(pieces.items()))
