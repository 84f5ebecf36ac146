"""How many renegotiations may be under way at once: measured, not assumed.

Every renegotiation waits for the same OpenVPN, which does one thing at a time and serves all
clients besides. Its queue shows in the *quickest* of the last few: a client that is slow, far away
or asleep delays only itself, a busy machine delays all. So the window grows while the quickest is
about as quick as it ever was, and is halved when it is not, or when clients fall silent and none
that was asked after them answers either. Who is silent for ``LATE`` is not counted any more: it
costs nothing, and nobody waits for it. Must never let more begin than ``rate`` a second.
Rules: docs/adr/0022-a-rekey-waits-and-measures.md.
"""

from __future__ import annotations

from collections import deque

from ovpnha.model import Uid

FIRST_WINDOW = 4.0
"""Renegotiations under way at once, at first."""

QUICK = 0.5
"""Seconds by which the quickest may be slower than ever before while the window grows."""

SLOW = 1.0
"""Seconds from which on the machine is too busy for what is under way."""

LATE = 5.0
"""Seconds after which a renegotiation is not counted any more: OpenVPN has repeated its question
twice by then, and asks on by itself."""

RECENT = 6
"""Of how many the quickest counts."""

BEHIND_LIMIT = 0.1
"""Seconds that may be caught up at once when the timer came late."""


class Pace:
    """The renegotiations that have begun and are not over."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._open: dict[Uid, float] = {}  # when each began, in that order
        self._next_at = 0.0
        self.clear()

    def clear(self) -> None:
        """Begin anew: another machine, or another time."""
        self._open.clear()
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._quickest = float("inf")
        self._window = FIRST_WINDOW
        self._probing = True  # nothing was too much so far
        self._answered = self._shrunk = float("-inf")  # begin of the last answered, of the last cut

    def use_rate(self, rate: float) -> None:
        """At most so many a second from now on."""
        self._rate = rate

    def start(self, now: float) -> None:
        """After a time without any, the first one has its turn like the next."""
        self._next_at = max(self._next_at, now + 1.0 / self._rate)

    @property
    def full(self) -> bool:
        """Whether the next one has to wait for another to end."""
        return len(self._open) >= int(self._window)

    @property
    def due(self) -> float:
        """When the rate allows the next one."""
        return self._next_at

    def begin(self, uid: Uid, now: float) -> None:
        """One is ordered."""
        due = max(self._next_at, now - BEHIND_LIMIT)
        self._next_at = due + (0.5 + uid[-1] / 255) / self._rate
        self._open.pop(uid, None)
        self._open[uid] = now

    def leave(self, uid: Uid) -> None:
        """The client is gone."""
        self._open.pop(uid, None)

    def end(self, uid: Uid, now: float) -> None:
        """One has ended well. Who was late says nothing about the machine."""
        full = self.full
        begun = self._open.pop(uid, None)
        if begun is None:
            return
        self._answered = max(self._answered, begun)
        self._recent.append(now - begun)
        self._quickest = min(self._quickest, now - begun)
        behind = min(self._recent) - self._quickest
        if behind > SLOW:
            self._shrink(begun, now)
        elif behind <= QUICK and full:
            self._window += 1.0 if self._probing else 1.0 / self._window

    def get_timer(self) -> float | None:
        """When the oldest will be late."""
        return next((begun + LATE for begun in self._open.values()), None)

    def handle_timer(self, now: float) -> None:
        """Count those no more who are late."""
        for uid, begun in [one for one in self._open.items() if now >= one[1] + LATE]:
            del self._open[uid]
            if begun > self._answered:
                self._shrink(begun, now)

    def _shrink(self, begun: float, now: float) -> None:
        """Once for all that was under way at the time."""
        if begun <= self._shrunk:
            return
        self._shrunk = now
        self._probing = False
        self._window = max(1.0, self._window / 2)
        self._recent.clear()
