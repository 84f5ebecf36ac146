"""No counter ever falls, whatever becomes of sources and sinks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from ovpnha.replication.events import NodeUp
from ovpnha.replication.ledger import Ledger, ReplicationStatistics
from tests.unit.replication.network import INSTANCE, End, Link, Network, make_record, make_uid

GAUGES = {"incomplete", "outstanding", "nodes"}
NODES = "abc"
RESTARTS = 0.02


def counters(end: End) -> dict[str, int]:
    """Everything that an end counts, by name, and by kind where there are kinds."""
    found: dict[str, int] = {}
    statistics = end.protocol.statistics()
    for field in dataclasses.fields(statistics):
        value = getattr(statistics, field.name)
        if field.name in GAUGES:
            continue
        if isinstance(value, int):
            found[field.name] = value
        else:
            found |= {f"{field.name} {kind}": count for kind, count in value.items()}
    return found


class Watch:
    """What each end has counted so far; an end that starts anew is another one."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._seen: dict[End, dict[str, int]] = {}
        self.highest: dict[str, int] = {}

    def look(self) -> None:
        for end in self._network.ends.values():
            now = counters(end)
            for name, count in self._seen.get(end, {}).items():
                assert now.get(name, 0) >= count, f"{name} of {end.name} has fallen"
            self._seen[end] = now
            for name, count in now.items():
                self.highest[name] = max(count, self.highest.get(name, 0))


class Chance:
    """Roles that change at random, and all that makes counters rise."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.random = network.random
        self.generation = 1
        for name in NODES:
            network.start(name)
        network.run(1)

    def step(self) -> None:
        actions = (
            *(self.begin, self.end, self.follow, self.resync, self.publish, self.withdraw),
            *(self.spoil, self.spoil, self.differ, self.junk, self.wait, self.wait, self.wait),
        )
        action = self.restart if self.random.random() < RESTARTS else self.random.choice(actions)
        action(self.any())

    def any(self) -> End:
        return self.network.ends[self.random.choice(NODES)]

    def begin(self, end: End) -> None:
        end.become_source([make_record(number) for number in range(8)])

    def end(self, end: End) -> None:
        end.protocol.end_source(INSTANCE, self.network.now)

    def follow(self, end: End) -> None:
        other = self.random.choice([*NODES, None])
        end.protocol.follow(INSTANCE, other and self.network.ends[other].name, self.now)

    def resync(self, end: End) -> None:
        end.protocol.resync(INSTANCE, self.now)

    def publish(self, end: End) -> None:
        self.generation += 1
        hot = self.random.choice([50, 1001])
        record = make_record(self.random.randrange(8), self.generation, hot=hot)
        if INSTANCE in end.protocol._sources.seen:
            end.protocol.publish(INSTANCE, record, self.now)

    def withdraw(self, end: End) -> None:
        if INSTANCE in end.protocol._sources.seen:
            end.protocol.withdraw(INSTANCE, make_uid(self.random.randrange(8)), self.now)

    def spoil(self, end: End) -> None:
        """A source that is out of its mind sends what does not unpack."""
        source = end.protocol._sources.get(INSTANCE)
        if source is None or not source._table:
            return
        uid = self.random.choice(list(source._table))
        known = source._table[uid]
        wrong = dataclasses.replace(known.record, hot=b"not packed")
        known.packed = dataclasses.replace(known.packed, record=wrong)
        source._renumber(uid, self.now)

    def differ(self, end: End) -> None:
        """A fault of the program makes a copy differ, which a digest will show."""
        sink = end.protocol._sinks.get(INSTANCE)
        if sink is None:
            return
        for uid, client in sink._copy.table.items():
            sink._copy._flip(uid, client)
            client.generation += 1000
            sink._copy._flip(uid, client)

    def junk(self, end: End) -> None:
        _, data = self.random.choice(self.network.recorded[-300:])
        end.protocol.receive_datagram(data, "bcn", self.now)
        end.protocol.receive_datagram(data[:70], "bcn", self.now)

    def restart(self, end: End) -> None:
        self.network.start(end.name)

    def wait(self, _: End) -> None:
        self.network.run(self.random.choice([0.01, 0.1, 0.3, 1.0, 1.0, 11.0]))

    @property
    def now(self) -> float:
        return self.network.now


@pytest.mark.parametrize("seed", range(5))
def test_no_counter_ever_falls(seed: int) -> None:
    chance = Chance(Network(seed, Link(loss=0.1, duplicate=0.2, jitter=0.002)))
    watch = Watch(chance.network)
    for _ in range(60):
        chance.step()
        watch.look()
    assert watch.highest["resyncs"] > 0


def test_what_a_sink_and_a_source_counted_outlives_them() -> None:
    network = Network(2, Link(loss=0.2))
    chance = Chance(network)
    a, b, c = (network.ends[name] for name in NODES)
    assert network.run_until(lambda: len(b.of(NodeUp)) == len(a.of(NodeUp)) == 2, 3)
    a.become_source([make_record(number) for number in range(40)])
    b.follow("a")
    assert network.run_until(lambda: len(b.imported) == 40, 10)
    b.protocol.resync(INSTANCE, network.now)
    assert network.run_until(lambda: bool(a.protocol.statistics().repaired), 10)
    network.run(3)
    chance.differ(b)
    chance.spoil(a)
    assert network.run_until(lambda: bool(b.protocol.statistics().differences), 60)
    assert network.run_until(lambda: bool(b.protocol.statistics().oversized), 60)
    before = counters(a), counters(b)
    assert all(before[1][name] for name in ("resyncs", "nacks", "oversized", "differences"))
    assert all(before[0][name] for name in ("snapshots", "repaired"))
    b.follow(c.name)
    a.protocol.end_source(INSTANCE, network.now)
    for end, told in zip((a, b), before, strict=True):
        found = counters(end)
        assert all(found[name] >= count for name, count in told.items())


def test_the_ledger_has_every_counter_that_is_told() -> None:
    told = {field.name for field in dataclasses.fields(ReplicationStatistics)} - GAUGES
    assert told == {field.name for field in dataclasses.fields(Ledger)}
    assert isinstance(Network(0).start("a").protocol.statistics().received, Mapping)
