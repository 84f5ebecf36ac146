"""Virtual time: one queue of what is to happen, and what reaches a process that may be stopped.

Decides the order of events: by time, then by the order in which they were planned. Nothing here
reads a real clock.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable

INBOX_LIMIT = 400
"""Most things of one source that wait for a stopped process, like a socket's buffer."""


class Clock:
    """The time, and everything planned."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()

    def later(self, delay: float, action: Callable[..., None], *arguments: object) -> None:
        """Do this after a while."""
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action, arguments))

    def run_to(self, end: float) -> None:
        """Let time pass until ``end``."""
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(self._queue)
            action(*arguments)
        self.now = end


class Inbox:
    """What reaches a process: at once, or when it goes on after a stop.

    Each source stays in order; between sources the order after a stop is anyone's.
    """

    def __init__(self, rng: random.Random) -> None:
        self.stopped = False
        self._rng = rng
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def put(self, source: str, action: Callable[[], None]) -> None:
        """Something arrives. A full buffer loses datagrams only."""
        if not self.stopped:
            action()
            return
        waiting = self._waiting.setdefault(source, deque())
        if len(waiting) < INBOX_LIMIT or not source.startswith("link"):
            waiting.append(action)

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def go_on(self) -> None:
        """SIGCONT."""
        self.stopped = False
        while self._waiting and not self.stopped:
            source = self._rng.choice(sorted(self._waiting))
            self._waiting[source].popleft()()
            if not self._waiting.get(source):
                self._waiting.pop(source, None)

    def clear(self) -> None:
        """The process is dead."""
        self.stopped = False
        self._waiting.clear()
