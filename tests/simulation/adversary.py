"""Somebody on the BCN without the key: drops one kind of datagram, or keeps hellos for later.

He is given more than he could have, since sizes and times tell him most of it: he knows what each
datagram is. He changes none and makes none of his own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from ovpnha.machines import machine_of
from ovpnha.model import Sync
from ovpnha.replication import entries as en
from ovpnha.replication.config import Timings
from tests.simulation.cluster import Cluster
from tests.simulation.network import FRONT, Deliver, Way, nobody
from tests.simulation.rollout import NEW, OLD
from tests.simulation.server import Server
from tests.unit.replication.network import find_key, holds, is_hello

KINDS: tuple[Callable[[bytes, bytes], bool], ...] = (
    lambda _data, _key: True,
    lambda data, key: holds(en.Counters, data, key),
)
"""What else is dropped, if it is no hello: all of it, or what has counters."""

EVERY_THIRD = 3
NOTICED = Timings().sync_timeout + 2 * Timings().hello_interval + 0.3
"""Seconds after which a standby that does not get what is said must say so."""
FORGOTTEN = Timings().proof_timeout + 0.1
"""Seconds after its death in which a node may still seem to be there."""
RELEASED_EVERY = 0.4


class Adversary:
    """Between the machines, while he is wanted."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self._cluster = cluster
        self._number = number
        self._victim = ""
        self._hellos: Counter[Way] = Counter()
        self._held: deque[tuple[Deliver, bytes]] = deque()

    def drop(self, victim: str) -> None:
        """One kind of what this machine says, and none of its hellos."""
        self._victim = victim
        self._cluster.network.keep = self._drops

    def hold(self, victim: str) -> None:
        """Every second hello of this machine, on every way."""
        self._victim = victim
        self._cluster.network.keep = self._holds

    def let_go(self) -> None:
        """Everything passes again."""
        self._cluster.network.keep = nobody

    def release(self) -> None:
        """The oldest hello that is held, and the others later, one by one."""
        if self._held:
            deliver, data = self._held.popleft()
            deliver(data)
            self._cluster.clock.later(RELEASED_EVERY, self.release)

    def _drops(self, way: Way, data: bytes, _deliver: Deliver) -> bool:
        if not self._is_wanted(way):
            return False
        key = find_key(data, (OLD, NEW))
        return not is_hello(data, key) and KINDS[self._number % len(KINDS)](data, key)

    def _holds(self, way: Way, data: bytes, deliver: Deliver) -> bool:
        if not (self._is_wanted(way) and is_hello(data, find_key(data, (OLD, NEW)))):
            return False
        self._hellos[way] += 1
        if self._hellos[way] % 2:
            return False
        self._held.append((deliver, data))
        return True

    def _is_wanted(self, way: Way) -> bool:
        link, sender, _ = way
        return link != FRONT and sender == self._victim


def deceived(standbys: list[Server]) -> list[str]:
    """Who goes on saying that it is in sync."""
    return [one.name for one in standbys if one.figures.sync is Sync.IN_SYNC]


def believers(dead: str, servers: list[Server]) -> list[str]:
    """Who believes that this machine is there."""
    return [
        one.name
        for one in servers
        for node in one.figures.nodes
        if machine_of(node.name) == dead and node.believed
    ]
