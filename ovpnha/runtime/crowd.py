"""A bounded crowd of connections to a listening socket: one that waits idle makes room.

Decides who is let in and who must leave, so that no number of connections uses up the descriptors
of this process, nor keeps out one that asks something. Opens and closes nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Connection = TypeVar("Connection")


class Crowd(Generic[Connection]):
    """At most ``limit`` connections, in the order in which they came or last asked something.

    Args:
        limit: How many at once.
        is_busy: Whether a connection is being answered now; such a one is never sent away.
        send_away: Ends a connection; it may call ``leave`` from within.
    """

    def __init__(
        self,
        limit: int,
        is_busy: Callable[[Connection], bool],
        send_away: Callable[[Connection], None],
    ) -> None:
        self._limit = limit
        self._is_busy = is_busy
        self._send_away = send_away
        self._here: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._here)

    def enter(self, one: Connection) -> None:
        """Let a connection in; the one that was idle for longest makes room, else itself."""
        self._here[one] = None
        if len(self._here) > self._limit:
            away = next((other for other in self._here if not self._is_busy(other)), one)
            self.leave(away)
            self._send_away(away)

    def asked(self, one: Connection) -> None:
        """A connection has asked something: it is the last to be sent away."""
        if one in self._here:
            del self._here[one]
            self._here[one] = None

    def leave(self, one: Connection) -> None:
        """A connection is over."""
        self._here.pop(one, None)
