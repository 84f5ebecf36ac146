"""Rates: a token bucket for events and for bytes. It decides when, never what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Protocol, TypeVar

from ovpnha.model import NodeName

DELAY_LIMIT = 1.0  # seconds
WAIT_LIMIT = 2.5  # seconds, for a probe that is under way: later nobody believes us any more
DELAY_DECAY = 0.9
DELAY_GOAL = 0.5  # seconds at full pace fill 2.5 MB of a receiver's buffer
LEAST_SHARE = 0.65
SLOWER, FASTER = 0.8, 1.15
PACE_BURST = 0.01  # seconds of the pace that may leave at once
LEAST_BURST = 9600.0  # bytes: two turns worth waking up for
_ROUNDING = 1e-5  # seconds; more than what floating point loses


def next_beat(now: float, interval: float) -> float:
    """When whatever is said so often is said next, of whichever instance: all in one datagram."""
    beat = (math.floor(now / interval) + 1) * interval
    return beat if beat > now else beat + interval


class TokenBucket:
    """At most ``rate`` tokens a second on average, ``burst`` at once. Time is an argument."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def _refill(self, now: float) -> None:
        earned = max(0.0, now - self._updated) * self._rate
        self._tokens = min(self._burst, self._tokens + earned)
        self._updated = max(now, self._updated)

    def take(self, amount: float, now: float) -> bool:
        """Spend ``amount`` if it is there."""
        self._refill(now)
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def spend(self, amount: float, now: float) -> None:
        """Spend ``amount`` even if that leaves a debt."""
        self._refill(now)
        self._tokens -= amount

    def available(self, now: float) -> float:
        """Tokens at hand; negative when in debt."""
        self._refill(now)
        return self._tokens

    def when(self, amount: float) -> float:
        """A time at which ``amount`` can surely be taken; it may have passed."""
        return self._updated + max(0.0, amount - self._tokens) / self._rate + _ROUNDING


class _Source(Protocol):
    served: int


_Turn = TypeVar("_Turn", bound=_Source)


class SharedPace(TokenBucket):
    """Bytes that all sources of a node may send in a second, and who of them comes first.

    Whoever comes first takes what is there. With always the same one first, the others would
    starve while it sends its whole table; so the first that sends is last the next time.
    """

    def __init__(self, rate: float, now: float) -> None:
        super().__init__(rate, max(rate * PACE_BURST, LEAST_BURST), now)
        self._turns = 0
        self._spent = 0.0
        self.clients = 0
        """Of all sources."""

    def spend(self, amount: float, now: float) -> None:
        """Spend ``amount`` even if that leaves a debt."""
        super().spend(amount, now)
        self._spent += amount

    def in_turn(self, sources: Iterable[_Turn]) -> Iterator[_Turn]:
        """All of them; the first that spends while it has its turn is the last in the next."""
        self._turns += 1
        before, found = self._spent, False
        for one in sorted(sources, key=attrgetter("served")):
            yield one
            if not found and self._spent > before:
                one.served, found = self._turns, True


class Delay:
    """How long something may be on its way before it counts as lost.

    A receiver that is behind reports as missing what waits in its socket. To send that again would
    put it further behind, so what left within ``gap`` seconds is not sent again. The gap follows
    the slowest receiver. ``share`` is the part of the pace that receivers keep up with: it falls
    while what arrives was long on its way, so that a snapshot does not overrun socket buffers.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._delay = 0.0
        self._reached: dict[NodeName, float] = {}
        self.share = 1.0

    def note(self, node: NodeName, sent: float, delay: float) -> None:
        """A node has received what left at this time, and was on its way for so long."""
        if sent > self._reached.get(node, -math.inf):
            self._delay = max(min(delay, DELAY_LIMIT), self._delay * DELAY_DECAY)
            change = SLOWER if delay > DELAY_GOAL else FASTER
            self.share = min(1.0, max(LEAST_SHARE, self.share * change))
            self._reached[node] = sent

    def gap(self, waited: float) -> float:
        """Seconds, for a receiver that has not got what left ``waited`` seconds ago."""
        return max(self._least, 1.5 * max(self._delay, min(waited, WAIT_LIMIT)))
