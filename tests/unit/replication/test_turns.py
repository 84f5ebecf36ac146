"""All counters come at once and leave in turns: their order, and who does not wait for them."""

from __future__ import annotations

import pytest

from ovpnha.model import CounterKind
from ovpnha.replication import entries as en
from ovpnha.replication.counters import LINES
from ovpnha.replication.events import CountersReceived, NodeDown, RecordReceived, RecordWithdrawn
from ovpnha.replication.messages import BUCKETS, Goodbye
from ovpnha.replication.records import bucket_of, digest_of
from ovpnha.replication.sealing import Kind
from tests.unit.replication.network import (
    INSTANCE,
    End,
    Network,
    equal,
    look_into,
    make_record,
    make_uid,
)


def burst(clients: int, value: int) -> bytes:
    """What OpenVPN tells once a second."""
    return b"".join(make_uid(uid) + bytes(8) + value.to_bytes(4, "big") for uid in range(clients))


def logged(source: End, now: float) -> list[en.Entry]:
    """The entries that leave at one turn."""
    sent = [look_into(one.data)[1] for one in source.protocol.datagrams_to_send(now)]
    messages = [message for group in sent for message in group]
    return [entry for one in messages if isinstance(one, en.Entries) for entry in one.entries]


def test_a_client_that_connects_does_not_wait_for_the_counters_of_all_others() -> None:
    network = Network(12)
    source = network.start("a")
    source.become_source([])
    network.run(1)
    now = network.now
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, burst(4600, 1), now)
    told = logged(source, now)
    assert {type(entry) for entry in told} == {en.Counters}
    assert len(told) == LINES
    assert source.protocol.get_timer() == now, "there is more, as soon as the shell has read"
    source.protocol.publish(INSTANCE, make_record(9999), now)
    told = logged(source, now)
    assert en.Upsert in {type(entry) for entry in told}
    while (timer := source.protocol.get_timer()) is not None and timer <= now:
        told += logged(source, now)
    assert len(told) == 4600 // 46 - LINES + 1


def test_no_counters_of_a_client_arrive_behind_its_next_record_or_out_of_order() -> None:
    network, source, other = follow(13, 60)
    for value in (1, 2):
        payload = burst(3000, value)
        source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
    begin = len(other.events)
    source.protocol.publish(INSTANCE, make_record(50, 2), network.now)
    source.protocol.withdraw(INSTANCE, make_uid(51), network.now)
    network.run(1)
    told = other.events[begin:]
    counters = [one for one in told if isinstance(one, CountersReceived)]
    assert b"".join(one.payload for one in counters) == burst(3000, 1) + burst(3000, 2)
    for uid, kind in ((50, RecordReceived), (51, RecordWithdrawn)):
        news = next(at for at, one in enumerate(told) if isinstance(one, kind))
        named = [at for at, one in enumerate(told) if one in counters and _names(one, uid)]
        assert len(named) == 2
        assert max(named) < news


def _names(told: object, uid: int) -> bool:
    assert isinstance(told, CountersReceived)
    entries = {told.payload[at : at + 8] for at in range(0, len(told.payload), 20)}
    return make_uid(uid) in entries


def told_of(other: End, begin: int = 0) -> bytes:
    """The counters that this end was told."""
    told = [one for one in other.events[begin:] if isinstance(one, CountersReceived)]
    return b"".join(one.payload for one in told)


def follow(seed: int, clients: int = 3) -> tuple[Network, End, End]:
    """A source of so many clients, and another node that has what it has."""
    network = Network(seed)
    source, other = network.start("a"), network.start("b")
    network.run(1)
    records = [make_record(number) for number in range(clients)]
    source.become_source(records)
    other.follow("a")
    assert network.run_until(lambda: equal(records, other), 2)
    network.run(1)
    return network, source, other


def test_what_waits_leaves_before_its_source_ends() -> None:
    """Of a master that falls silent it is what it received last."""
    network, source, other = follow(14)
    payload = burst(4600, 1)
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
    source.protocol.publish(INSTANCE, make_record(1, 2), network.now)
    source.protocol.end_source(INSTANCE, network.now)
    network.run(0.1)
    assert told_of(other) == payload
    assert other.imported[make_uid(1)].generation == 2


def test_what_was_lost_a_moment_ago_leaves_once_more() -> None:
    """When its source has ended nobody can ask for it."""
    network, source, other = follow(15)
    first, second = burst(100, 1), burst(100, 2)
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, first, network.now)
    network.run(0.2)
    network.link.loss = 1.0
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, second, network.now)
    network.run(0.05)
    network.link.loss = 0.0
    begin = len(other.events)
    source.protocol.end_source(INSTANCE, network.now)
    network.run(0.1)
    assert told_of(other, begin) == second


@pytest.mark.parametrize("stops", [False, True], ids=["source", "sidecar"])
def test_one_lost_datagram_takes_nothing_of_what_is_told_last(stops: bool) -> None:
    """Marks that leave with the end of their source, a datagram's worth of them or less."""
    for number in range(3):
        network, source, other = follow(17 + number)
        begin, payload = len(other.events), burst(40, 1)
        source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
        if stops:
            source.protocol.goodbye(network.now)
        else:
            source.protocol.end_source(INSTANCE, network.now)
        sent = source.protocol.datagrams_to_send(network.now)
        del sent[number % len(sent)]
        for one in sent:
            other.protocol.receive_datagram(one.data, "bcn", network.now)
        other.drain()
        assert told_of(other, begin) == payload


def test_what_a_source_was_told_leaves_before_the_hello_that_says_that_it_has_ended() -> None:
    """Who hears that one follows nobody any more, and would refuse what comes behind it."""
    network, source, other = follow(20)
    begin, payload = len(other.events), burst(40, 1)
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
    source.protocol.end_source(INSTANCE, network.now)
    source.protocol.announce(INSTANCE, None, network.now)
    sent = [one.data for one in source.protocol.datagrams_to_send(network.now)]
    assert [look_into(data)[0] for data in sent] == [Kind.STATE, Kind.STATE, Kind.HELLO]
    for data in sent:
        if look_into(data)[0] is Kind.HELLO:
            other.protocol.follow(INSTANCE, None, network.now)
        other.protocol.receive_datagram(data, "bcn", network.now)
    other.drain()
    assert told_of(other, begin) == payload


def test_a_sidecar_that_stops_says_goodbye_behind_all_that_it_was_told() -> None:
    network, source, other = follow(16)
    begin, payload = len(other.events), burst(4600, 1)
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
    source.protocol.publish(INSTANCE, make_record(1, 2), network.now)
    source.protocol.goodbye(network.now)
    sent = source.protocol.datagrams_to_send(network.now)
    assert isinstance(look_into(sent[-1].data)[1][-1], Goodbye)
    for one in sent:
        other.protocol.receive_datagram(one.data, "bcn", network.now)
    other.drain()
    assert told_of(other, begin) == payload
    assert other.imported[make_uid(1)].generation == 2
    assert isinstance(other.events[-1], NodeDown)
    assert source.protocol.datagrams_to_send(network.now) == []


def test_a_digest_looks_at_no_client_of_the_table() -> None:
    """To look at all of a large one would hold up whoever connects in that moment."""
    network, source, other = follow(16, 300)
    source.protocol.publish(INSTANCE, make_record(5, 2), network.now)
    assert network.run_until(lambda: other.imported[make_uid(5)].generation == 2, 1)
    looked = digest_of.cache_info()
    network.run(11)
    assert digest_of.cache_info() == looked
    copy = other.protocol._sinks.seen[INSTANCE]._copy
    own = [0] * BUCKETS
    for uid, generation in copy.generations().items():
        own[bucket_of(uid)] ^= digest_of(uid, generation)
    told = source.protocol._sources.seen[INSTANCE]._table.digests
    assert copy.digest.buckets == own == list(told)
    assert other.protocol.statistics().differences == 0
