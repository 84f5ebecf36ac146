"""Sync is proved: dropping some datagrams while hellos pass does not go unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ovpnha.model import CounterKind, NodeName
from ovpnha.replication import entries as en
from ovpnha.replication import messages as m
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.events import (
    CopyProved,
    CountersReceived,
    GenerationHeard,
    NodeDown,
    SnapshotEnded,
)
from ovpnha.replication.hello import LogHead
from ovpnha.replication.proof import Proof
from tests.unit.replication.network import (
    INSTANCE,
    KEY,
    End,
    Link,
    Network,
    holds,
    is_hello,
    make_record,
    make_uid,
)
from tests.unit.replication.test_protocol import connect

CLIENTS = 10
BOUND = ReplicationConfig("test", NodeName("a"), (KEY,)).sync_bound(CLIENTS)
NOTICED = BOUND + 1.1
"""A hello tells of it half a second later, the one after the bound does so too."""


def verdicts(end: End) -> list[bool]:
    return [one.proved for one in end.events if isinstance(one, CopyProved)]


def in_sync(seed: int, link: Link | None = None) -> tuple[Network, End, End]:
    network = Network(seed, link)
    source, standby = connect(network, "a", "b")
    standby.follow("a")
    source.become_source([make_record(number) for number in range(CLIENTS)])
    assert network.run_until(lambda: bool(standby.of(SnapshotEnded)), 5)
    network.run(1)
    assert not verdicts(standby)
    return network, source, standby


def heard_counters(end: End, entry: bytes) -> bool:
    return any(entry in one.payload for one in end.events if isinstance(one, CountersReceived))


def marks(counter: int, *numbers: int) -> bytes:
    """High-water marks of some clients."""
    return b"".join(make_uid(one) + bytes(8) + counter.to_bytes(4) for one in numbers)


def drop(network: Network, wanted: Callable[[bytes], bool]) -> None:
    """Somebody drops what the source sends, as far as it is wanted, and never a hello."""
    network.link.drop = lambda sender, data: sender == "a" and not is_hello(data) and wanted(data)


def repair(network: Network) -> None:
    network.link.drop = lambda _sender, _data: False


@pytest.mark.parametrize(
    "wanted",
    [
        lambda _data: True,
        lambda data: holds(en.Upsert, data),
        lambda data: holds(en.Upsert, data) or holds(m.Snapshot, data),
        lambda data: holds(m.Cold, data),
    ],
    ids=["state", "upserts", "upserts-and-snapshots", "cold-parts"],
)
def test_dropped_records_make_a_standby_say_so(wanted: Callable[[bytes], bool]) -> None:
    network, source, standby = in_sync(1)
    drop(network, wanted)
    source.protocol.publish(INSTANCE, make_record(1, 2, cold=4), network.now)
    network.run(NOTICED)
    assert verdicts(standby) == [False]
    network.run(5)
    assert verdicts(standby) == [False]
    assert not standby.of(NodeDown)
    repair(network)
    assert network.run_until(lambda: verdicts(standby) == [False, True], 1.5)
    assert standby.imported[make_uid(1)].generation == 2


def test_a_standby_that_is_told_nothing_at_all_does_not_go_on_saying_in_sync() -> None:
    """Snapshot marks are dropped as well: nothing but hellos can tell that a client has gone."""
    network, source, standby = in_sync(2)
    drop(network, lambda _data: True)
    standby.events.clear()
    source.protocol.withdraw(INSTANCE, make_uid(1), network.now)
    network.run(NOTICED)
    assert verdicts(standby) == [False]
    assert not standby.of(GenerationHeard)


def report(network: Network, source: End, seconds: int, *numbers: int) -> None:
    """Counters of these clients, every second."""
    for _ in range(seconds):
        payload = marks(int(network.now), *numbers)
        source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
        network.run(1.0)


def test_dropped_counters_make_a_standby_say_so() -> None:
    """For as long as it lasts, though what is older than some seconds is no longer missed."""
    network, source, standby = in_sync(3)
    drop(network, lambda data: holds(en.Counters, data))
    report(network, source, 5, *range(CLIENTS))
    assert verdicts(standby) == [False]
    report(network, source, 40, *range(CLIENTS))
    assert verdicts(standby) == [False]
    assert source.protocol._sources[INSTANCE]._log.lost > 0
    repair(network)
    report(network, source, 2, *range(CLIENTS))
    assert verdicts(standby) == [False, True]


def test_counters_that_were_dropped_come_even_of_clients_that_are_idle_now() -> None:
    network, source, standby = in_sync(4)
    drop(network, lambda data: holds(en.Counters, data))
    report(network, source, 3, 5)
    last = marks(int(network.now) - 1, 5)
    report(network, source, 20, *(one for one in range(CLIENTS) if one != 5))
    assert not heard_counters(standby, last)
    repair(network)
    network.run(3)
    assert verdicts(standby) == [False, True]
    assert heard_counters(standby, last)


@pytest.mark.parametrize("seconds", [1, 30])
def test_counters_that_are_void_are_asked_for_when_others_come(seconds: int) -> None:
    """They were dropped until they were kept no longer; the next ones are another client's."""
    network, source, standby = in_sync(6)
    drop(network, lambda _data: True)
    report(network, source, seconds, 5)
    last = marks(int(network.now) - 1, 5)
    network.run(7.5)
    repair(network)
    report(network, source, 1, 3)
    network.run(5)
    assert verdicts(standby) == [False, True]
    assert heard_counters(standby, last)


def test_who_joins_asks_for_no_one_else() -> None:
    """What it is told of void numbers reaches a standby that counters are still missing at."""
    network, source, standby = in_sync(7)
    drop(network, lambda _data: True)
    report(network, source, 3, 5)
    last = marks(int(network.now) - 1, 5)
    network.run(7.5)
    repair(network)
    report(network, source, 1, 3)
    third = network.start("c")
    third.follow("a")
    network.run(5)
    assert heard_counters(standby, last)
    assert heard_counters(third, last)


def test_one_lost_datagram_with_counters_changes_nothing() -> None:
    network, source, standby = in_sync(5)
    network.link.loss = 1.0
    payload = marks(7, *range(CLIENTS))
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
    network.run(0.001)
    network.link.loss = 0.0
    report(network, source, 5, 1)
    assert not verdicts(standby)


@pytest.mark.parametrize("seed", range(3))
def test_loss_repetition_and_reordering_leave_a_standby_in_sync(seed: int) -> None:
    bad = Link(loss=0.2, duplicate=0.2, delay=0.001, jitter=0.02)
    network, source, standby = in_sync(10 + seed, bad)
    for generation in range(2, 60):
        record = make_record(network.random.randrange(CLIENTS), generation)
        source.protocol.publish(INSTANCE, record, network.now)
        report(network, source, 1, *range(CLIENTS))
    assert not verdicts(standby)
    assert not standby.of(NodeDown)


def test_a_whole_table_that_is_sent_again_leaves_a_standby_in_sync() -> None:
    """Another node has come: every record has a grant more, at the pace that is allowed."""
    network = Network(20)
    source = network.start("a", pace=200_000)
    standby = network.start("b", pace=200_000)
    standby.follow("a")
    records = [make_record(number) for number in range(1000)]
    source.become_source(records)
    assert network.run_until(lambda: bool(standby.of(SnapshotEnded)), 20)
    network.run(2)
    for record in records:
        source.protocol.publish(INSTANCE, replace(record, generation=2), network.now)
    assert not network.run_until(
        lambda: len(standby.imported) == sum(r.generation == 2 for r in standby.imported.values()),
        standby.config.timings.sync_timeout,
    )
    network.run(5)
    assert all(record.generation == 2 for record in standby.imported.values())
    assert not verdicts(standby)


def test_a_table_that_differs_is_not_in_sync_until_it_is_repaired() -> None:
    network, source, standby = in_sync(30)
    sink = standby.protocol._sinks[INSTANCE]
    sink._copy.forget(make_uid(3))
    network.run(NOTICED)
    assert verdicts(standby) == [False]
    network.run(source.config.timings.digest_interval + 1)
    assert verdicts(standby) == [False, True]
    assert sink._copy.table[make_uid(3)].generation == 1


def test_a_source_that_is_still_collecting_has_nothing_to_prove() -> None:
    network, source, standby = in_sync(31)
    source = network.start("a")
    network.run(0.1)
    source.protocol.begin_source(INSTANCE, network.now)
    source.protocol.publish(INSTANCE, make_record(1), network.now)
    drop(network, lambda _data: True)
    network.run(2 * NOTICED)
    assert not verdicts(standby)
    source.protocol.source_complete(INSTANCE, network.now)
    network.run(NOTICED)
    assert verdicts(standby) == [False]


HEAD = LogHead(1, 5, 0, 5, 77, complete=True)


def test_the_oldest_head_that_is_waited_for_counts() -> None:
    proof = Proof()
    for at in range(10):
        proof.hear(replace(HEAD, head=at + 1), at / 2)
        assert not proof.judge(5.0, at / 2)
    proof.reach(lambda head: head.head <= 2)
    assert not proof.judge(5.0, 5.9)
    assert proof.judge(5.0, 6.0)
    assert not proof.proved
    proof.hear(None, 6.0)
    assert not proof.judge(5.0, 6.0)
    proof.hear(HEAD, 6.5)
    assert not proof.judge(5.0, 6.5)
    assert not proof.proved
    proof.reach(lambda head: head.head <= 5)
    assert proof.judge(5.0, 6.5)
    assert proof.proved


def test_many_heads_share_a_place_and_are_bounded() -> None:
    proof = Proof()
    for at in range(50):
        proof.hear(replace(HEAD, head=at), at * 0.01)
    assert len(proof._heads) == 6, "the first two, and one each 0.1 s"
    for at in range(512):
        proof.hear(replace(HEAD, head=at), 10.0 + at)
    assert len(proof._heads) == 256
    assert proof._heads[-1][1].head == 511


def test_heads_of_another_stream_are_forgotten() -> None:
    proof = Proof()
    proof.hear(HEAD, 0.0)
    proof.hear(replace(HEAD, stream=2), 10.0)
    assert not proof.judge(5.0, 14.0)
    proof.hear(None, 14.0)
    assert not proof.judge(5.0, 20.0)
