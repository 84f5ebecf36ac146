"""The networks between the machines: BCN links that lose and reorder, and the clients' side.

Decides by its dice what becomes of each datagram. A link can be cut between any two machines, also
in one direction only.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.simulation.clock import Clock

FRONT = "front"
"""The network where clients are, and where keepalived talks."""

RECORDED = 300
"""Datagrams that an attacker has kept, to send them again later."""


Deliver = Callable[[bytes], None]
Way = tuple[str, str, str]
"""A link, who sends, and who receives."""


def nobody(_way: Way, _data: bytes, _deliver: Deliver) -> bool:
    """Nobody keeps anything for himself."""
    return False


@dataclass(frozen=True)
class Weather:
    """How bad the BCN is."""

    delay: float = 0.0005
    jitter: float = 0.0
    loss: float = 0.0
    repeat: float = 0.0


CLEAR = Weather()


class Network:
    """Carries datagrams between names."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self.weather = CLEAR
        self.keep: Callable[[Way, bytes, Deliver], bool] = nobody
        self._cuts: dict[Way, int] = {}
        self.recorded: deque[tuple[str, bytes]] = deque(maxlen=RECORDED)

    def cut(self, link: str, senders: Iterable[str], receivers: Iterable[str]) -> None:
        """Nothing passes from these to those."""
        targets = list(receivers)
        for sender in senders:
            for receiver in targets:
                key = (link, sender, receiver)
                self._cuts[key] = self._cuts.get(key, 0) + 1

    def repair(self, link: str, senders: Iterable[str], receivers: Iterable[str]) -> None:
        """Take back one ``cut``."""
        targets = list(receivers)
        for sender in senders:
            for receiver in targets:
                key = (link, sender, receiver)
                left = self._cuts.get(key, 0) - 1
                self._cuts[key] = max(0, left)

    def repair_all(self) -> None:
        """Everything passes again, in clear weather."""
        self.keep = nobody
        self._cuts.clear()
        self.weather = CLEAR

    def passes(self, link: str, sender: str, receiver: str) -> bool:
        """Whether this way is open."""
        return not self._cuts.get((link, sender, receiver))

    def send(self, link: str, sender: str, data: bytes, receivers: dict[str, Deliver]) -> None:
        """One datagram to all, as the weather has it."""
        self.recorded.append((link, data))
        weather, rng = self.weather, self._rng
        for receiver, deliver in receivers.items():
            if receiver == sender or not self.passes(link, sender, receiver):
                continue
            if self.keep((link, sender, receiver), data, deliver):
                continue
            copies = 1 + (weather.repeat > 0 and rng.random() < weather.repeat)
            for _ in range(copies):
                if weather.loss == 0 or rng.random() >= weather.loss:
                    delay = weather.delay + rng.random() * weather.jitter
                    self._clock.later(delay, deliver, data)
