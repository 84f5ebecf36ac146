"""Woken before anything is due, a replication does nothing: whole lives, looked at all the time."""

from __future__ import annotations

import pytest

from ovpnha.model import CounterKind
from ovpnha.replication.events import NodeDown, SnapshotEnded
from tests.unit.replication.network import (
    INSTANCE,
    End,
    Link,
    Network,
    equal,
    make_record,
    make_uid,
)
from tests.unit.replication.test_protocol import connect

EVERY = 0.00037  # seconds; no time of the protocol is a multiple of it
GOOD, BAD = Link(), Link(loss=0.2, duplicate=0.2, delay=0.001, jitter=0.01)


class Restless(Network):
    """Wakes every node all the time, and sees that it says and tells nothing."""

    def __init__(self, seed: int, link: Link) -> None:
        super().__init__(seed, link)
        self.woken = 0
        self._wake()

    def _wake(self) -> None:
        self._pump()  # what events and verbs have made due
        for end in self.ends.values():
            self._wake_one(end)
        self.call_later(EVERY, self._wake)

    def _wake_one(self, end: End) -> None:
        due = end.protocol.get_timer()
        if due is None or due <= self.now:
            return
        end.protocol.handle_timer(self.now)
        assert not end.protocol.has_events
        assert end.protocol.datagrams_to_send(self.now) == []
        assert end.protocol.get_timer() == pytest.approx(due, abs=1e-6)
        self.woken += 1


def counters(number: int, value: int) -> bytes:
    return make_uid(number) + bytes(8) + value.to_bytes(4, "big")


@pytest.mark.parametrize("link", [GOOD, BAD], ids=["good", "bad"])
def test_nothing_is_done_early(link: Link) -> None:
    network = Restless(7, link)
    source, *others = connect(network, "a", "b", "c")
    for other in others:
        other.follow("a")
        other.import_time = 0.02
    records = [make_record(number, cold=number % 5) for number in range(60)]
    source.become_source(records)
    for number in range(60):
        payload = counters(number, 1)
        source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
        network.run(0.002)
    assert network.run_until(lambda: equal(records, *others), 5)
    assert network.run_until(lambda: all(one.of(SnapshotEnded) for one in others), 5)
    source.protocol.withdraw(INSTANCE, make_uid(3), network.now)
    network.run(1.5)
    network.stop("c")
    assert network.run_until(lambda: bool(source.of(NodeDown)), 5)
    network.start("b").follow("a")
    network.run(0.5)
    network.stop("a")
    network.run(0.5)
    assert network.woken > 5000
