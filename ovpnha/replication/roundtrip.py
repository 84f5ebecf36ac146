"""How long a datagram takes to another node and back, and how far that node's clock is off.

Decides nothing: figures for people. A hello says which round of each other node was heard last and
how long ago, so no hello is sent for the measurement's sake. Of the last samples the one with the
shortest way counts, as in RFC 5905, section 10: what was delayed says least about a clock. Rules:
docs/wire.md, "Hello".
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

SAMPLES = 8
ROUNDS_KEPT = 32
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
