"""When each message leaves, on a network where nothing is lost unless a test says so.

The figures are those of docs/wire.md and of ``Timings``, in seconds.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from ovpnha.model import InstanceName
from ovpnha.replication.entries import (
    Entries,
    Upsert,
)
from ovpnha.replication.hello import Hello
from ovpnha.replication.messages import (
    Ack,
    Ask,
    Cold,
    Digest,
    Nack,
    Resync,
    SnapshotEnd,
    Want,
)
from tests.unit.replication.network import (
    INSTANCE,
    STATE,
    End,
    Network,
    holds,
    is_hello,
    look_into,
    make_record,
    make_uid,
)

TICK = 0.002  # a datagram's way, and the rounding of a timer


class Watched(Network):
    """Two nodes, and when each said what."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[float, str, Any]] = []
        self.seen = 0
        self.a, self.b = self.start("a"), self.start("b")
        self.run(1.0)

    def _pump(self) -> None:
        super()._pump()
        for name, data in self.recorded[self.seen :]:
            self.said += [(self.now, name, message) for message in look_into(data)[1]]
        self.seen = len(self.recorded)

    def times(self, name: str, kind: type, since: float) -> list[float]:
        """How long after ``since`` this node said such a thing."""
        return [
            at - since
            for at, who, said in self.said
            if (who, type(said)) == (name, kind) and at >= since
        ]

    def serve(self, clients: int = 1) -> None:
        """Node a has clients, node b has them too, and all has been said."""
        self.a.become_source([make_record(number) for number in range(clients)])
        self.b.follow("a")
        assert self.run_until(lambda: len(self.b.imported) == clients, 2.0)
        self.run(1.0)
        self.run(0.2)  # to between two snapshot marks and two hellos


def close(*wanted: float) -> Any:
    return pytest.approx(list(wanted), abs=TICK)


def publish(end: End, number: int, generation: int) -> None:
    end.protocol.publish(INSTANCE, make_record(number, generation), end.network.now)


def test_hellos_without_news_come_every_half_second() -> None:
    network = Watched()
    begin = network.now
    network.run(10.0)
    times = network.times("a", Hello, begin)
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert steps == close(*[0.5] * len(steps))
    assert len(steps) >= 18


def test_a_change_is_followed_by_two_early_marks_and_then_one_at_each_beat() -> None:
    network = Watched()
    network.serve()
    begin = network.now
    publish(network.a, 0, 2)
    network.run(1.6)
    assert network.times("a", Entries, begin) == close(0.0)
    early, others = network.times("a", SnapshotEnd, begin)[:2], network.times("a", SnapshotEnd, 0)
    assert early == close(0.01, 0.05)
    assert [at % 0.5 for at in others if at > begin + 0.05 + TICK] == close(0.0, 0.0, 0.0)


def test_marks_and_acknowledgements_of_all_instances_share_a_datagram() -> None:
    network = Watched()
    names = [InstanceName(f"i{number}") for number in range(16)]
    for name in names:
        network.a.protocol.begin_source(name, network.now)
        network.a.protocol.source_complete(name, network.now)
        network.b.protocol.follow(name, network.a.name, network.now)
        network.run(0.03)
    network.run(2.0)
    begin, before = network.now, len(network.recorded)
    network.run(10.0)
    for end, kind in (("a", SnapshotEnd), ("b", Ack)):
        times = network.times(end, kind, begin)
        assert len(times) == 16 * 20
        assert len(set(times)) == 20
    assert len(network.recorded) - before < 20 * (2 + 2 + 3), "with hellos, and each in two parts"


def test_what_has_arrived_is_acknowledged_at_once_and_then_every_half_second() -> None:
    network = Watched()
    network.serve()
    begin = network.now
    publish(network.a, 0, 2)
    network.run(0.4)
    assert network.times("b", Ack, begin)[0] < 0.01
    begin = network.now
    network.run(3.0)
    times = network.times("b", Ack, begin)
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert steps == close(*[0.5] * len(steps))
    assert len(steps) >= 4


def test_acknowledgements_of_a_burst_keep_their_gap() -> None:
    network = Watched()
    network.serve(30)
    begin = network.now
    for number in range(30):
        publish(network.a, number, 2)
        network.run(0.001)
    network.run(0.1)
    times = network.times("b", Ack, begin)
    assert min(b - a for a, b in pairwise(times)) >= 0.005 - 1e-9
    assert 5 <= len(times) <= 12


def test_the_whole_table_is_compared_every_ten_seconds() -> None:
    network = Watched()
    network.serve()
    begin = network.now
    network.run(21.0)
    first, *others = network.times("a", Digest, begin)
    assert first <= 10.0
    assert others == close(first + 10)


def test_a_gap_is_reported_after_ten_milliseconds_and_then_every_hundred() -> None:
    network = Watched()
    network.serve(3)
    network.link.drop = lambda _, data: holds(Upsert, data)
    publish(network.a, 0, 2)
    network.run(0.001)
    begin = network.now
    publish(network.a, 1, 2)
    network.run(0.25)
    times = network.times("b", Nack, begin)
    assert times[0] == pytest.approx(0.02, abs=0.002), "the first mark tells, 10 ms later"
    assert [at - times[0] for at in times[1:]] == close(0.1, 0.2)
    network.link.drop = lambda *_: False
    network.run(0.2)
    assert not network.times("b", Nack, network.now - 0.05)
    assert network.b.imported[make_uid(1)].generation == 2


def test_a_missing_cold_part_is_asked_for_after_ten_milliseconds_and_then_every_hundred() -> None:
    network = Watched()
    network.serve()
    network.link.drop = lambda _, data: holds(Cold, data)
    network.a.protocol.publish(INSTANCE, make_record(7, hot=600, cold=7), network.now)
    begin = network.now
    network.run(0.5)
    first, *others = network.times("b", Want, begin)
    entry = max(at for at in network.times("a", Entries, begin) if at < first)
    assert first - entry == pytest.approx(0.01, abs=TICK), "the entry came again by itself"
    assert [at - first for at in others[:3]] == close(0.1, 0.2, 0.3)


def test_one_that_is_not_answered_asks_for_everything_again() -> None:
    network = Watched()
    network.a.become_source([make_record(1)])
    network.link.drop = lambda sender, data: sender == "a" and not is_hello(data)
    begin = network.now
    network.b.follow("a")
    network.run(1.2)
    times = network.times("b", Resync, begin)
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == pytest.approx(0.0, abs=TICK)
    assert steps[:4] == close(0.02, 0.04, 0.08, 0.16)
    assert steps[4:] == close(*[0.25] * len(steps[4:]))


def test_a_late_acknowledgement_is_asked_for_every_quarter_of_a_second() -> None:
    network = Watched()
    network.serve(2)
    network.b.import_time = 30.0
    publish(network.a, 0, 2)
    network.run(1.0)
    begin = network.now
    network.run(2.0)
    times = network.times("a", Ask, begin)
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert steps == close(*[0.25] * len(steps))
    assert len(steps) >= 6


def test_news_shares_hellos_that_keep_their_gap() -> None:
    network = Watched()
    network.run(0.1)
    begin = network.now
    for grade in range(40):
        network.a.protocol.announce(INSTANCE, replace(STATE, grade=grade), network.now)
        network.run(0.002)
    network.run(0.05)
    times = network.times("a", Hello, begin)
    assert min(b - a for a, b in pairwise(times)) >= 0.02 - 1e-9
    assert 3 <= len(times) <= 6
