"""New clients and new keys wait until they are protected, within limits.

Decides whether OpenVPN holds back what completes a connection or a renegotiation
(``cluster-wait``), and when each client may go on (``cluster-release``): as soon as another node
has it, or at a deadline. Must never make a client wait for nothing: without a standby in sync, or
after ``MISSES`` deadlines in a row, nobody waits. Rules: docs/management.md,
"New clients wait"; docs/management.md, "New keys wait".
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType

from ovpnha.management.commands import Release, Wait
from ovpnha.model import Uid
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import first

MISSES = 3
"""Deadlines missed in a row after which nobody waits."""

RENEW_AFTER = 1.0
"""Seconds after which OpenVPN hears again that it is to wait: it does so for WAIT_LEASE only, so
that nobody waits for a sidecar that hangs."""

BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, float("inf"))
"""Upper bounds of the histogram, in seconds."""

RECENT = 1000
"""How many of the last times are kept."""


@dataclass(frozen=True)
class ProtectTimes:
    """How long clients took from connect to protected, in seconds, since the start."""

    buckets: Mapping[float, int] = field(default_factory=dict)
    """How many took at most so long, by upper bound; the last has all."""
    total: float = 0.0  # of all of them
    recent: tuple[float, ...] = ()  # the last ones, oldest first


class Protection:
    """The clients of a master that have connected and are not protected yet."""

    def __init__(self, openvpn: Openvpn, wait: float) -> None:
        self._openvpn = openvpn
        self._wait = wait
        self._arrived: dict[Uid, float] = {}  # when each client came that is not protected yet
        self._deadlines: dict[Uid, float] = {}  # of those that OpenVPN holds back, in order
        self._ready = self._on = self._leaving = False
        self._renew_at: float | None = None
        self._misses = 0
        self._frozen_until = -math.inf
        self._counts: Counter[float] = Counter()
        self._total = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def stop(self) -> None:
        """We are not master: OpenVPN waits for nobody any more."""
        self._arrived.clear()
        self._deadlines.clear()
        self._ready = self._on = self._leaving = False
        self._renew_at = None

    def set_ready(self, ready: bool, now: float) -> None:
        """As master: whether a standby is in sync, so that waiting can help."""
        if ready and not self._ready:
            self._misses = 0
        self._ready = ready
        self._switch(now)

    def take_leave(self, *, on: bool, now: float) -> None:
        """Every client knows that OpenVPN is about to end: it need not say goodbye as well.

        It does not while it waits for us, as that says that somebody sees to the clients.
        """
        self._leaving = on
        self._switch(now)

    def freeze(self, until: float | None, now: float) -> None:
        """Who comes before then waits until then: the node that would have it is going ahead."""
        if until is None and self._frozen_until > now:
            soon = now + self._wait
            self._deadlines = {uid: min(end, soon) for uid, end in self._deadlines.items()}
        self._frozen_until = -math.inf if until is None else until

    def arrive(self, uid: Uid, now: float) -> None:
        """A client has its addresses and its key, or a pending key, and may be held back."""
        self.leave(uid)
        self._arrived[uid] = now
        if self._on:
            self._deadlines[uid] = max(now + self._wait, self._frozen_until)

    def leave(self, uid: Uid) -> None:
        """A client is gone."""
        self._arrived.pop(uid, None)
        self._deadlines.pop(uid, None)

    def reach(self, uid: Uid, now: float) -> None:
        """Another node has this client as it is now."""
        if uid not in self._arrived:
            return
        if uid in self._deadlines:
            self._release(uid, "released_by_ack")
        seconds = now - self._arrived[uid]
        self.leave(uid)
        self._note(seconds)
        if seconds <= self._wait:
            self._misses = 0
            self._switch(now)

    def get_timer(self) -> float | None:
        """When the next deadline is, or OpenVPN must hear again that it is to wait."""
        moments = (next(iter(self._deadlines.values()), None), self._renew_at)
        return first(moments)

    def handle_timer(self, now: float) -> None:
        """Let go whose deadline has come."""
        for uid in [uid for uid, deadline in self._deadlines.items() if now >= deadline]:
            del self._deadlines[uid]
            self._release(uid, "released_by_deadline")
            self._misses += 1
        self._switch(now)
        if self._renew_at is not None and now >= self._renew_at:
            self._renew_at = now + RENEW_AFTER
            self._openvpn.send(Wait(on=True))

    def times(self) -> ProtectTimes:
        """How long it took from connect, or from a pending key, to protected."""
        sums = accumulate(self._counts[bound] for bound in BOUNDS)
        buckets = MappingProxyType(dict(zip(BOUNDS, sums, strict=True)))
        return ProtectTimes(buckets, self._total, tuple(self._recent))

    def _release(self, uid: Uid, counter: str) -> None:
        self._openvpn.counters[counter] += 1
        self._openvpn.send(Release(uid))

    def _note(self, seconds: float) -> None:
        self._counts[next(bound for bound in BOUNDS if seconds <= bound)] += 1
        self._total += seconds
        self._recent.append(seconds)

    def _switch(self, now: float) -> None:
        """Tell OpenVPN to wait, or not to, when that has changed."""
        late = self._misses >= MISSES
        on = self._leaving or (self._wait > 0.0 and self._ready and not late)
        if on == self._on:
            return
        self._on = on
        self._renew_at = now + RENEW_AFTER if on else None
        self._openvpn.send(Wait(on))
        if not on:
            self._deadlines.clear()
        if late and self._ready:
            self._openvpn.log("warning", "new clients do not wait", deadlines_missed=self._misses)
