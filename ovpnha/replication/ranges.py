"""A set of whole numbers kept as ranges: what has arrived of a log, or what is to be sent again.

Ranges are inclusive here, as they are on the wire (docs/wire.md). The set costs memory by the
number of its gaps, never by the size of its numbers, so a hostile head costs nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Disjoint inclusive ranges, ascending, with a gap between any two."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __len__(self) -> int:
        """The number of ranges."""
        return len(self._firsts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._firsts, number) - 1
        return index >= 0 and number <= self._lasts[index]

    def cumulative(self) -> int:
        """The last number of the gapless prefix that begins at 1, or 0."""
        return self._lasts[0] if self._firsts and self._firsts[0] <= 1 else 0

    def add(self, first: int, last: int) -> None:
        """Unite with ``[first, last]``."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Take ``[first, last]`` away."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        firsts: list[int] = []
        lasts: list[int] = []
        if self._firsts[low] < first:
            firsts.append(self._firsts[low])
            lasts.append(first - 1)
        if self._lasts[high - 1] > last:
            firsts.append(last + 1)
            lasts.append(self._lasts[high - 1])
        self._firsts[low:high] = firsts
        self._lasts[low:high] = lasts

    def missing(self, last: int, limit: int) -> list[tuple[int, int]]:
        """The lowest ``limit`` gaps within ``[1, last]``."""
        gaps: list[tuple[int, int]] = []
        expected = 1
        for first, end in self:
            if first > last or len(gaps) == limit:
                break
            if first > expected:
                gaps.append((expected, first - 1))
            expected = end + 1
        if expected <= last and len(gaps) < limit:
            gaps.append((expected, last))
        return gaps

    def outside(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What of ``[first, last]`` is not in the set."""
        index = bisect_left(self._lasts, first)
        while index < len(self._firsts) and self._firsts[index] <= last:
            if first < self._firsts[index]:
                yield first, self._firsts[index] - 1
            first = self._lasts[index] + 1
            index += 1
        if first <= last:
            yield first, last

    def above(self, number: int, limit: int) -> list[tuple[int, int]]:
        """The ranges that begin above ``number``: when they are too many, the lowest and the last.

        The last tells a source what was the newest to arrive.
        """
        index = bisect_right(self._firsts, number)
        found = list(zip(self._firsts[index:], self._lasts[index:], strict=True))
        return found if len(found) <= limit else [*found[: limit - 1], found[-1]]
