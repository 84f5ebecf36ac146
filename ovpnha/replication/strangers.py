"""Datagrams of those who are no part of this, and what is worth saying of them.

Decides when another key or another version is worth an event, and when state that nobody here
follows is worth a hello: its sender may wonder whether we live. Must never let a stranger cost more
than it pays: of each kind one event a minute, and few hellos a second. What was refused is counted
elsewhere, every time.
"""

from __future__ import annotations

from collections.abc import Callable

from ovpnha.replication.events import Event, OtherKey, OtherVersion
from ovpnha.replication.pacing import TokenBucket

OTHER_KEY = frozenset({"unknown_key", "unauthentic"})
OTHER_AGAIN = 60.0  # seconds after which such datagrams are worth another event
STRANGER_RATE = 4.0  # hellos a second that answer state of a node that is not followed


class Strangers:
    """Who they are is not known; only how often they were told of."""

    def __init__(self, emit: Callable[[Event], None], now: float) -> None:
        self._emit = emit
        self._hellos = TokenBucket(STRANGER_RATE, 1.0, now)
        self._other_key_at = self._other_version_at = now

    def tell(self, reason: str, link: str, now: float) -> None:
        """A datagram was refused for this reason."""
        if reason in OTHER_KEY and now >= self._other_key_at:
            self._other_key_at = now + OTHER_AGAIN
            self._emit(OtherKey(reason, link))
        if reason == "version" and now >= self._other_version_at:
            self._other_version_at = now + OTHER_AGAIN
            self._emit(OtherVersion(link))

    def may_answer(self, now: float) -> bool:
        """Whether state that nobody follows gets a hello for an answer."""
        return self._hellos.take(1, now)
