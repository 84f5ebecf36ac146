"""A believed node that says what it should not: counted, bounded, and nobody is hurt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import msgpack
import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import ClientRecord, ColdPart, InstanceName, NodeName
from ovpnha.replication import entries as en
from ovpnha.replication import messages as m
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.events import Event, GenerationHeard, RecordReceived, SnapshotEnded
from ovpnha.replication.hello import Hello
from ovpnha.replication.incomplete_records import INCOMPLETE_LIMIT
from ovpnha.replication.ledger import Ledger
from ovpnha.replication.packing import Packer
from ovpnha.replication.records import pack_body
from ovpnha.replication.sealing import Kind, node_tag
from ovpnha.replication.sink import CLIENTS_LIMIT, Sink
from tests.unit.replication.network import (
    INSTANCE,
    End,
    Network,
    equal,
    make_record,
    make_uid,
)
from tests.unit.replication.test_protocol import connect

STREAM = 1 << 32
A_TAG, B_TAG = node_tag("a"), node_tag("b")
CONFIG = ReplicationConfig("test", NodeName("b"), (bytes(32),))


def say(sender: End, receiver: End, payload: bytes, kind: Kind = Kind.STATE) -> None:
    data = sender.protocol._seal(kind, payload, None).data
    receiver.protocol.receive_datagram(data, "bcn", receiver.network.now)


@pytest.fixture
def pair() -> tuple[End, End]:
    network = Network(1)
    rogue, victim = connect(network, "a", "b")
    network.run(1)
    return rogue, victim


def test_a_hello_is_no_state_and_state_is_no_hello(pair: tuple[End, End]) -> None:
    rogue, victim = pair
    hello = Hello("a", b"c" * 16, (), 1, 0, 1, ()).encode()
    say(rogue, victim, hello)
    say(rogue, victim, m.Goodbye().encode(), Kind.HELLO)
    say(rogue, victim, hello + hello, Kind.HELLO)
    say(rogue, victim, b"", Kind.HELLO)
    say(rogue, victim, b"\xc1")
    assert victim.protocol.statistics().refused["malformed"] == 5
    say(rogue, victim, bytes(msgpack.packb([99])))
    assert victim.protocol.statistics().ignored["unknown_type"] == 1


def test_requests_for_what_is_not_here_do_nothing(pair: tuple[End, End]) -> None:
    rogue, victim = pair
    alien = InstanceName("other")
    say(rogue, victim, m.Resync(B_TAG, alien, 0, has_cold=False).encode())
    say(rogue, victim, m.Resync(A_TAG, INSTANCE, 0, has_cold=False).encode())
    victim.become_source([make_record(1)])
    stream = victim.protocol._sources[INSTANCE]._stream
    for message in (
        m.Nack(B_TAG, INSTANCE, stream + 1, 0, ((1, 2**60),)),
        m.Want(B_TAG, INSTANCE, stream, (b"n" * 16,)),
        m.Repeat(B_TAG, INSTANCE, stream, (make_uid(9),)),
        m.Ack(B_TAG, INSTANCE, stream, 2**60, (), (m.AckEntry(make_uid(9), 1, 1, ()),)),
        m.Ack(B_TAG, INSTANCE, stream, 1, (), (m.AckEntry(make_uid(1), 1, 0, ()),)),
        m.Nack(B_TAG, INSTANCE, stream, 0, ((1, 2**60), (2**61, 2**62))),
    ):
        say(rogue, victim, message.encode())
    victim.network.run(1)
    assert not victim.protocol.statistics().refused


def test_an_empty_source_answers_a_resync(pair: tuple[End, End]) -> None:
    rogue, victim = pair
    victim.become_source([])
    rogue.follow("b")
    assert rogue.network.run_until(lambda: bool(rogue.of(SnapshotEnded)), 1)


def test_a_follower_that_falls_silent_is_followed_up_no_longer(pair: tuple[End, End]) -> None:
    follower, source = pair
    source.become_source([make_record(1)])
    follower.follow("b")
    source.network.run(1)
    assert source.protocol.statistics().outstanding[INSTANCE] == {"a": 0}
    follower.protocol.follow(INSTANCE, None, source.network.now)
    source.network.run(11)
    assert source.protocol.statistics().outstanding[INSTANCE] == {}


def test_a_small_pause_in_a_gap_is_not_sent_twice(pair: tuple[End, End]) -> None:
    follower, source = pair
    source.become_source([make_record(number, cold=0) for number in range(20)])
    source.network.run(0.01)
    stream = source.protocol._sources[INSTANCE]._stream
    for ranges in (((1, 20),), ((5, 5), (9, 9))):
        say(follower, source, m.Nack(B_TAG, INSTANCE, stream, 0, ranges).encode())
    source.network.run(0.01)
    assert source.protocol.statistics().repaired == 0
    source.network.run(0.05)
    say(follower, source, m.Nack(B_TAG, INSTANCE, stream, 0, ((5, 6),)).encode())
    source.network.run(0.01)
    assert source.protocol.statistics().repaired == 2


def test_an_older_generation_is_not_published(pair: tuple[End, End]) -> None:
    follower, source = pair
    source.become_source([make_record(1, 5)])
    source.protocol.publish(INSTANCE, make_record(1, 4), source.network.now)
    source.protocol.withdraw(INSTANCE, make_uid(44), source.network.now)
    follower.follow("b")
    source.network.run(1)
    assert equal([make_record(1, 5)], follower)


def test_a_long_run_of_entries_just_sent_is_skipped(pair: tuple[End, End]) -> None:
    follower, source = pair
    source.become_source([ClientRecord(make_uid(number), 1, b"h") for number in range(300)])
    source.network.run(0.01)
    stream = source.protocol._sources[INSTANCE]._stream
    say(follower, source, m.Nack(B_TAG, INSTANCE, stream, 0, ((1, 300),)).encode())
    source.network.run(0.01)
    assert source.protocol.statistics().repaired == 0


def test_new_grants_of_the_same_generation_are_published(pair: tuple[End, End]) -> None:
    follower, source = pair
    source.become_source([make_record(1, holders=1)])
    follower.follow("b")
    source.network.run(1)
    again = make_record(1, holders=2)
    source.protocol.publish(INSTANCE, again, source.network.now)
    source.network.run(0.1)
    assert equal([again], follower)


def test_a_client_withdrawn_before_it_was_sent_costs_nothing(pair: tuple[End, End]) -> None:
    follower, source = pair
    source.become_source([])
    follower.follow("b")
    source.network.run(1)
    source.protocol.publish(INSTANCE, make_record(1), source.network.now)
    source.protocol.withdraw(INSTANCE, make_uid(1), source.network.now)
    source.network.run(1)
    assert not follower.of(RecordReceived)
    assert not follower.of(GenerationHeard)


class SinkHarness:
    """A sink by itself: what it emits, what it sends."""

    def __init__(self, clients_limit: int = CLIENTS_LIMIT) -> None:
        self.events: list[Event] = []
        emit: Callable[[Event], None] = self.events.append
        self.ledger = Ledger()
        place = (INSTANCE, NodeName("a"), B_TAG, CONFIG)
        self.sink = Sink(*place, self.ledger, emit, 0.0, clients_limit)

    def take(self, *entries: en.Entry, head: int, floor: int = 0, stream: int = STREAM) -> None:
        message = en.Entries(INSTANCE, stream, head, floor, entries)
        self.sink.receive_untrusted(message, 1.0)

    def mark(self, head: int, clients: int | None = None, stream: int = STREAM) -> None:
        place = (INSTANCE, stream, head, 0, ())
        mark = m.Snapshot(*place) if clients is None else m.SnapshotEnd(*place, clients)
        self.sink.receive_untrusted(mark, 1.0)

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def upsert(number: int, record: ClientRecord, span: int = 1) -> en.Upsert:
    packed = replace(record, hot=Packer().pack(record).record.hot)
    names = tuple(part.name for part in record.cold)
    return en.Upsert(number, span, pack_body(packed, names, (b"", b"")))


def says(sent: bytes, uid: bytes) -> bool:
    return uid in sent


def plain(number: int, generation: int = 1) -> ClientRecord:
    return ClientRecord(make_uid(number), generation, b"hot")


def test_entries_are_taken_in_any_order_and_once() -> None:
    harness = SinkHarness()
    harness.take(upsert(5, plain(1, 5)), head=5)
    harness.take(upsert(3, plain(1, 3)), upsert(5, plain(1, 5)), head=5)
    harness.take(en.Delete(2, 2, make_uid(1), 1), head=5)
    assert [e.record.generation for e in harness.events if isinstance(e, RecordReceived)] == [5]
    harness.take(en.Void(4, 1), head=5)
    assert not harness.of(SnapshotEnded)
    harness.mark(5, clients=1)
    assert [e.clients for e in harness.events if isinstance(e, SnapshotEnded)] == [{make_uid(1): 5}]


def test_an_older_stream_is_ignored_and_a_newer_one_begins_anew() -> None:
    harness = SinkHarness()
    harness.take(upsert(1, plain(1)), head=1, stream=5)
    harness.take(upsert(1, plain(2)), head=1, stream=4)
    harness.take(upsert(1, plain(3)), head=1, stream=6)
    taken = [e.record.uid for e in harness.events if isinstance(e, RecordReceived)]
    assert taken == [make_uid(1), make_uid(3)]


def test_a_deleted_client_does_not_come_back_by_an_older_entry() -> None:
    harness = SinkHarness()
    harness.take(en.Delete(5, 1, make_uid(1), 1), head=5)
    harness.take(upsert(4, plain(1)), head=5)
    assert not harness.of(RecordReceived)


def test_counters_of_an_unknown_kind_are_skipped() -> None:
    harness = SinkHarness()
    harness.take(en.Counters(1, 1, 99, b"x"), head=1)
    assert harness.events == []
    harness.mark(1, clients=0)
    assert harness.of(SnapshotEnded)


def test_clients_without_end_are_refused() -> None:
    harness = SinkHarness(clients_limit=3)
    harness.take(*(upsert(number, plain(number)) for number in (1, 2, 3)), head=3)
    with pytest.raises(RefusedDatagram):
        harness.take(upsert(4, plain(4)), head=4)
    harness.take(upsert(5, plain(3, 2)), head=5)
    assert len(harness.of(RecordReceived)) == 4


def test_hot_parts_that_wait_are_bounded_and_asked_for_again() -> None:
    harness = SinkHarness()
    missing = ColdPart(1, b"missing")
    hot = hashlib.shake_256(b"does not shrink").digest(1000)
    size = len(Packer().pack(ClientRecord(make_uid(1), 1, hot)).record.hot)
    count = INCOMPLETE_LIMIT // size + 50
    for number in range(1, count + 1):
        record = ClientRecord(make_uid(number), 1, hot, (missing,))
        harness.take(upsert(number, record), head=number)
    assert harness.sink.incomplete == INCOMPLETE_LIMIT // size
    assert harness.sink._copy.has_gaps()


def test_a_record_whose_parts_exceed_the_limit_is_not_delivered() -> None:
    harness = SinkHarness()
    parts = tuple(ColdPart(kind, bytes([kind]) * 30_000) for kind in (1, 2, 3))
    harness.take(upsert(1, ClientRecord(make_uid(1), 1, b"hot", parts)), head=1)
    for part in parts:
        for at in range(0, 30_000, m.COLD_CHUNK):
            data = part.data[at : at + m.COLD_CHUNK]
            chunk = m.Cold(INSTANCE, STREAM, part.name, part.kind, 30_000, at, data)
            harness.sink.receive_untrusted(chunk, 1.0)
    assert not harness.of(RecordReceived)
    assert harness.ledger.oversized == 1


def test_an_acknowledgement_before_delivery_does_not_settle_the_newer_record() -> None:
    harness = SinkHarness()
    harness.take(upsert(1, plain(1)), head=1)
    waits = ClientRecord(make_uid(1), 2, b"hot", (ColdPart(1, b"missing"),))
    harness.take(upsert(2, waits), head=2)
    harness.sink.acknowledge(make_uid(1), 1, (), 1.0)
    harness.sink.reject(make_uid(2), 1, "unknown", 1.0)
    harness.sink.acknowledge(make_uid(2), 1, (), 1.0)
    sent = b"".join(harness.sink.messages(2.0))
    assert says(sent, make_uid(1))
    assert not says(sent, make_uid(2))
    assert harness.sink._copy.acknowledgements._outcomes[make_uid(1)].number == 0


def test_a_question_for_another_node_is_not_answered() -> None:
    harness = SinkHarness()
    harness.take(upsert(1, plain(1)), head=1)
    harness.sink.acknowledge(make_uid(1), 1, (), 1.0)
    harness.sink.messages(2.0)
    for tag, told in ((A_TAG, False), (B_TAG, True)):
        ask = m.Ask(INSTANCE, STREAM, tag, (make_uid(1), make_uid(2)))
        harness.sink.receive_untrusted(ask, 2.01)
        sent = b"".join(harness.sink.messages(2.02))
        assert says(sent, make_uid(1)) is told


def test_a_digest_at_another_head_says_nothing() -> None:
    harness = SinkHarness()
    harness.take(upsert(1, plain(1)), head=1)
    harness.mark(1, clients=1)
    for head in (0, 2):
        digest = m.Digest(INSTANCE, STREAM, head, (7,) * 128)
        harness.sink.receive_untrusted(digest, 1.0)
    harness.sink.receive_untrusted(m.Bucket(INSTANCE, STREAM, 1, 5, 0, 1, ()), 1.0)
    assert harness.ledger.differences == 0
    harness.sink.receive_untrusted(m.Digest(INSTANCE, STREAM, 1, (7,) * 128), 1.0)
    assert harness.ledger.differences == 128
    harness.sink.receive_untrusted(m.Bucket(INSTANCE, STREAM, 1, 5, 0, 2, ()), 1.0)
    harness.sink.receive_untrusted(m.Digest(INSTANCE, STREAM, 1, (7,) * 128), 1.0)


def test_many_acknowledgements_share_messages_that_fit() -> None:
    harness = SinkHarness()
    for number in range(1, 101):
        harness.take(upsert(number * 2, plain(number)), head=200)
        if number % 3:
            harness.sink.acknowledge(make_uid(number), 1, (), 1.0)
        else:
            harness.sink.reject(make_uid(number), 1, "r" * 500, 1.0)
    sent = harness.sink.messages(5.0)
    assert all(len(one) <= 1120 for one in sent)
    assert len(sent) < 15


def test_a_renewed_snapshot_keeps_its_cold_parts_until_it_ends() -> None:
    harness = SinkHarness()
    part = ColdPart(1, b"kept")
    record = ClientRecord(make_uid(1), 1, b"hot", (part,))
    chunk = m.Cold(INSTANCE, STREAM, part.name, 1, 4, 0, part.data)
    harness.take(upsert(1, record), upsert(2, ClientRecord(make_uid(2), 1, b"", (part,))), head=2)
    harness.sink.receive_untrusted(chunk, 1.0)
    for _ in range(3):
        harness.sink.resync(2.0)
        harness.take(upsert(1, record), head=2)
    harness.take(en.Void(2, 1), head=2)
    harness.mark(2, clients=1)
    assert len(harness.of(RecordReceived)) == 5
    assert harness.sink._cold._uses == {part.name: 1}


def test_a_mark_that_says_nothing_new_is_no_news() -> None:
    harness = SinkHarness()
    harness.take(upsert(1, plain(1, 5)), head=3)
    recent = ((make_uid(1), 5), (make_uid(2), 1))
    harness.sink.receive_untrusted(m.Snapshot(INSTANCE, STREAM, 3, 0, recent), 1.0)
    heard = [event.uid for event in harness.events if isinstance(event, GenerationHeard)]
    assert heard == [make_uid(2)]
