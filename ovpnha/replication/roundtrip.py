"""How long a datagram takes to another node and back, and how far that node's clock is off.

Decides nothing: figures for people. A hello says which round of each other node was heard last and
how long ago, so no hello is sent for the measurement's sake. Of the last samples the one with the
shortest way counts, as in RFC 5905, section 10: what was delayed says least about a clock. Rules:
docs/wire.md, "Hello".
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SAMPLES = 8
ROUNDS_KEPT = 32
ROUNDS_JUDGED = 64
"""Rounds of which the loss of a link is told: half a minute, without news."""
_ALL_ROUNDS = (1 << ROUNDS_JUDGED + 1) - 1
HEARD_LIMIT = 15
"""Other nodes of which one hello tells what was heard."""

_ENTRY = struct.Struct(">II")
HEARD_SIZE = _ENTRY.size
_AGE_LIMIT = (1 << 32) - 1  # microseconds; what is older than 71 minutes is this old
_ROUND_MASK = (1 << 32) - 1


@dataclass(frozen=True)
class Heard:
    """A round of somebody's hello, and for how long it has been here (seconds)."""

    round: int  # its low 32 bits
    age: float


@dataclass(frozen=True)
class Sample:
    """One measurement, in seconds. ``offset``: how far that node's clock is ahead of ours."""

    round_trip: float
    offset: float | None


def pack_heard(heard: Iterable[Heard]) -> bytes:
    """Round and age (microseconds) in 4 bytes each, big-endian."""
    return b"".join(
        _ENTRY.pack(entry.round & _ROUND_MASK, min(max(0, round(entry.age * 1e6)), _AGE_LIMIT))
        for entry in heard
    )


def unpack_heard(packed: bytes) -> tuple[Heard, ...]:
    """The other way; bytes that are no whole entry are left out."""
    whole = packed[: len(packed) // _ENTRY.size * _ENTRY.size]
    return tuple(Heard(number, age / 1e6) for number, age in _ENTRY.iter_unpack(whole))


class LinkRounds:
    """Which of a boot's last rounds of hellos came by which link: each link has each round."""

    def __init__(self) -> None:
        self._newest = 0
        self._seen: dict[str, int] = {}  # a bit for each of the last rounds, the newest lowest
        self._first: dict[str, int] = {}

    def note(self, link: str, number: int) -> None:
        """A hello of this round came by this link."""
        if link not in self._seen:
            self._seen[link], self._first[link] = 0, number
        shift = min(max(0, number - self._newest), ROUNDS_JUDGED + 1)
        if shift:
            self._newest = number
            for name, mask in self._seen.items():
                self._seen[name] = mask << shift & _ALL_ROUNDS
        behind = self._newest - number
        if behind <= ROUNDS_JUDGED:
            self._seen[link] |= 1 << behind

    def losses(self) -> Mapping[str, float]:
        """The share of rounds that did not come, by link; the newest may be under way still."""
        found = {}
        for link, mask in self._seen.items():
            count = min(ROUNDS_JUDGED, self._newest - self._first[link])
            if count > 0:
                came = (mask >> 1 & (1 << count) - 1).bit_count()
                found[link] = 1 - came / count
        return found


class SentRounds:
    """When our last hellos left."""

    def __init__(self) -> None:
        self._sent: dict[int, float] = {}

    def note(self, number: int, now: float) -> None:
        """This round leaves now."""
        self._sent[number & _ROUND_MASK] = now
        if len(self._sent) > ROUNDS_KEPT:
            del self._sent[next(iter(self._sent))]

    def round_trip(self, heard: Heard, now: float) -> float | None:
        """Seconds that our hello and the answer were under way; None when it is too long ago."""
        sent = self._sent.get(heard.round)
        return None if sent is None else max(0.0, now - sent - heard.age)


class Distance:
    """What the hellos of one boot tell of its distance and its clock."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._round = -1
        self._came = 0.0

    def arrived(self, number: int, now: float) -> bool:
        """A hello of this round is here. Returns whether it is the first of a newer round."""
        if number <= self._round:
            return False
        self._round, self._came = number, now
        return True

    def heard(self, now: float) -> Heard:
        """What our hello says of it."""
        return Heard(max(0, self._round), now - self._came)

    def add(self, round_trip: float, theirs: float, ours: float) -> None:
        """One measurement; wall clocks in seconds since 1970, 0.0 when not known."""
        known = theirs > 0 and ours > 0
        self._samples.append(Sample(round_trip, theirs + round_trip / 2 - ours if known else None))

    @property
    def best(self) -> Sample | None:
        """The sample that counts; None when there is none."""
        return min(self._samples, key=lambda sample: sample.round_trip, default=None)
