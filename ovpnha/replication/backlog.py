"""What of a log is to be sent again, and what of that is not worth it: it is being made anew.

A node that joins asks for the whole table, and names an OpenVPN that no record has packet ids for.
So each client is exported once more, and its record stands under a higher number then:

    number    1 ........ held ........ H   H+1 ...... renewed ...... head
              left until it is renewed     sent as it comes

To send first what is of no use without packet ids would have a joining node read, and its OpenVPN
import, every client twice. What can go wrong, and the rule that answers it: OpenVPN is slow, or
does not export a client. What nobody renews for ``STALLED`` seconds is sent as it is; so is all
that is left when its owner says that no more will come. And another node may have lost what is no
record, and is never renewed: a client that has gone. That is sent at once. Decides the order, never
the pace.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable

from ovpnha.replication.ranges import RangeSet

STALLED = 0.25  # seconds; an OpenVPN that works exports thousands in these


class Backlog(RangeSet):
    """Numbers, lowest first."""

    def __init__(self) -> None:
        super().__init__()
        self._held = 0
        self._until = -math.inf
        self._needed = RangeSet()

    def need(self, numbers: Iterable[int]) -> None:
        """These are not made anew."""
        for number in numbers:
            if number in self:
                self._needed.add(number, number)

    def remove(self, first: int, last: int) -> None:
        """Take ``[first, last]`` away."""
        super().remove(first, last)
        self._needed.remove(first, last)

    def hold(self, last: int, now: float) -> None:
        """What stands up to this number will stand under others soon."""
        self._held, self._until = last, now + STALLED

    def renewed(self, number: int, now: float) -> None:
        """What stood under this number stands under another."""
        if number <= self._held:
            self._until = now + STALLED

    def release(self) -> None:
        """Nothing more is made anew."""
        self._held = 0

    def next(self, now: float) -> tuple[int, int] | None:
        """The lowest range that is to be sent now."""
        if now >= self._until:
            self._held = 0
        if self._needed:
            return next(iter(self._needed))
        index = bisect_right(self._lasts, self._held)
        if index == len(self._lasts):
            return None
        return max(self._firsts[index], self._held + 1), self._lasts[index]

    def get_timer(self) -> float:
        """When there is something, as far as nothing else happens."""
        if not self:
            return math.inf
        held = self._lasts[-1] <= self._held and not self._needed
        return self._until if held else -math.inf
