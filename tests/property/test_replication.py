"""Replication: what is said comes back, what is hostile does nothing, tables meet."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ovpnha.errors import RefusedDatagram
from ovpnha.model import BootId, ClientRecord, ColdPart, Fingerprint, Grant, HolderId, Uid
from ovpnha.replication import entries as en
from ovpnha.replication import messages as m
from ovpnha.replication import records
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.events import NodeUp
from ovpnha.replication.ranges import RangeSet
from ovpnha.replication.sealing import (
    PAYLOAD_LIMIT,
    WINDOW,
    ClusterKey,
    Kind,
    Opener,
    ReplayWindow,
    Sealer,
    cluster_tag,
    node_tag,
)
from tests.unit.replication.network import INSTANCE, Link, Network, make_record, make_uid

UIDS = st.binary(min_size=8, max_size=8).map(Uid)
GRANTS = st.builds(
    lambda holder, fingerprint, start, size: Grant(
        HolderId(bytes([holder]) * 16), Fingerprint(bytes([fingerprint]) * 8), start, start + size
    ),
    st.integers(0, 15),
    st.integers(0, 3),
    st.integers(0, 2**31),
    st.integers(1, 2**24),
)
RECORDS = st.builds(
    ClientRecord,
    UIDS,
    st.integers(0, 2**63 - 1),
    st.binary(max_size=1000),
    st.lists(st.builds(ColdPart, st.integers(0, 255), st.binary(max_size=200)), max_size=8).map(
        tuple
    ),
    st.lists(GRANTS, max_size=45).map(lambda g: tuple(sorted(g, key=lambda one: one.holder))),
)

# What msgpack can say, biased towards arrays that look like messages.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([-(2**63), -1, 0, 1, 2, 7, 2**62, 2**64 - 1])
    | st.floats()
    | st.binary(max_size=40)
    | st.text(max_size=20)
    | st.sampled_from([b"t" * 8, b"n" * 16, "udp1194", 1, 2**62]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.just(1), inner, max_size=1),
    max_leaves=6,
)
MESSAGES = st.tuples(st.integers(0, 20), st.lists(VALUES, max_size=14)).map(
    lambda pair: [pair[0], *pair[1]]
)
PAYLOADS = st.binary(max_size=PAYLOAD_LIMIT) | st.lists(MESSAGES, max_size=5).map(
    lambda many: b"".join(msgpack.packb(one) for one in many)[:PAYLOAD_LIMIT]
)


def reads_or_refuses(read: Callable[[bytes], object], data: bytes) -> bool:
    try:
        read(data)
    except RefusedDatagram as refused:
        return refused.reason == "malformed"
    return True


@given(RECORDS, st.binary(max_size=160), st.binary(max_size=24))
def test_a_record_comes_back(record: ClientRecord, high_water: bytes, counts: bytes) -> None:
    names = tuple(part.name for part in record.cold)
    data = records.pack_body(record, names, (high_water, counts))
    body = records.unpack_body_untrusted(data)
    got = body.record(record.cold)
    assert (got.uid, got.generation, got.hot) == (record.uid, record.generation, record.hot)
    assert sorted(got.grants, key=str) == sorted(record.grants, key=str)
    assert (body.high_water, body.byte_counts) == (high_water, counts)


@given(PAYLOADS)
def test_a_payload_is_read_or_malformed(payload: bytes) -> None:
    assert reads_or_refuses(decode_untrusted, payload)


@given(st.binary(max_size=2000))
def test_a_body_is_read_or_malformed(data: bytes) -> None:
    assert reads_or_refuses(records.unpack_body_untrusted, data)
    assert reads_or_refuses(records.unpack_grants_untrusted, data)


@given(st.binary(max_size=1300), st.integers(0, 63))
def test_a_datagram_from_nowhere_is_refused(junk: bytes, kept: int) -> None:
    key = ClusterKey.create(b"k" * 32, cluster_tag("c"))
    real = Sealer(key, node_tag("b"), make_boot(), os.urandom).seal(Kind.HELLO, b"hello")
    opener = Opener([key], make_boot(), 0.0)
    for data in (junk, real[:kept] + junk):
        with pytest.raises(RefusedDatagram):
            opener.open_untrusted(data, "bcn", 0.0)
    assert opener.boots == 0


def make_boot() -> BootId:
    return BootId(os.urandom(16))


NUMBERS = st.integers(0, 12) | st.sampled_from([2**32, 2**62, 2**63 - 1])
SOME_UIDS = st.integers(0, 3).map(make_uid)
CLIENTS = st.lists(st.tuples(SOME_UIDS, NUMBERS), max_size=9).map(tuple)
SPANNED = st.tuples(NUMBERS, NUMBERS).map(lambda pair: (max(*pair, 1), max(1, min(pair))))
NAMES = st.sampled_from([part.name for part in make_record(1).cold] + [b"n" * 16])
SPANS = st.tuples(st.integers(1, 9), NUMBERS).map(lambda pair: (pair[0], max(pair)))


@st.composite
def entries(draw: st.DrawFn) -> en.Entry:
    number, span = draw(SPANNED)
    record = make_record(draw(st.integers(0, 3)), draw(NUMBERS) % 2**32, hot=20)
    body = records.pack_body(record, [part.name for part in record.cold], (b"", b""))
    made: list[en.Entry] = [
        en.Upsert(number, span, body),
        en.Fragment(number, span, 0, 1, body),
        en.Fragment(number, span, draw(st.integers(0, 2)), 3, body[:9]),
        en.Delete(number, span, record.uid, draw(NUMBERS)),
        en.Counters(number, span, draw(st.integers(0, 3)), draw(st.binary(max_size=60))),
        en.Renegotiation(number, span, record.uid, 3),
        en.Void(number, span),
    ]
    return draw(st.sampled_from(made))


@st.composite
def well_formed(draw: st.DrawFn, own: int) -> bytes:
    """A message that passes the decoder and means anything; ``own`` is the victim's stream."""
    stream = draw(st.sampled_from([1, 2, 2**40]))
    ranges = tuple(draw(st.lists(SPANS, max_size=3)))
    tag = node_tag("b")
    uids = tuple(uid for uid, _ in draw(CLIENTS))
    n = [draw(NUMBERS) for _ in range(3)]
    packed = [en.encode_entry(one) for one in draw(st.lists(entries(), min_size=1, max_size=4))]
    cold = draw(st.sampled_from(make_record(1).cold))
    outcome = [m.AckEntry(uid, n[0], n[1], ()) for uid in uids]
    made: list[Any] = [
        m.Snapshot(INSTANCE, stream, n[0], n[1], draw(CLIENTS)),
        m.SnapshotEnd(INSTANCE, stream, n[0], n[1], draw(CLIENTS), draw(NUMBERS)),
        m.Cold(INSTANCE, stream, cold.name, cold.kind, len(cold.data), 0, cold.data),
        m.Cold(INSTANCE, stream, draw(NAMES), 1, 65536, 0, b"x"),
        m.Ask(INSTANCE, stream, tag, uids),
        m.Digest(INSTANCE, stream, n[0], (n[1],) * m.BUCKETS),
        m.Bucket(INSTANCE, stream, n[0], draw(st.integers(0, 127)), 0, 1, draw(CLIENTS)),
        m.Ack(tag, INSTANCE, own, n[0], ranges, tuple(outcome)),
        m.Reject(tag, INSTANCE, own, tuple(m.RejectEntry(u, n[0], n[1], "x") for u in uids)),
        m.Nack(tag, INSTANCE, own, n[0], ranges),
        m.Want(tag, INSTANCE, own, (draw(NAMES),)),
        m.Resync(tag, INSTANCE, n[0], draw(st.booleans())),
        m.Difference(tag, INSTANCE, own, (1, 127)),
        m.Repeat(tag, INSTANCE, own, uids),
        m.Goodbye(),
    ]
    whole = [one.encode() for one in made] + en.envelopes(INSTANCE, stream, n[0], n[1], packed)
    return bytes(draw(st.sampled_from([whole[-1], *whole])))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.integers(0, 1000))
def test_a_believed_node_can_say_anything(data: st.DataObject, seed: int) -> None:
    network = Network(seed)
    rogue, victim = network.start("a"), network.start("b")
    assert network.run_until(lambda: bool(rogue.of(NodeUp) and victim.of(NodeUp)), 1)
    victim.become_source([make_record(1)])
    victim.follow("a")
    own = victim.protocol._sources[INSTANCE]._stream
    for payload in data.draw(st.lists(PAYLOADS | well_formed(own), max_size=12)):
        sealed = rogue.protocol._seal(Kind.STATE, payload, None).data
        victim.protocol.receive_datagram(sealed, "bcn", network.now)
        network.run(data.draw(st.sampled_from([0.0, 0.02, 0.6])))
    network.run(1)
    assert rogue.protocol.statistics().refused.get("malformed", 0) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 9)), max_size=40))
def test_a_range_set_is_a_set(steps: list[tuple[bool, int, int]]) -> None:
    ranges, model = RangeSet(), set[int]()
    for add, first, more in steps:
        numbers = range(first, first + more + 1)
        if add:
            ranges.add(numbers[0], numbers[-1])
            model.update(numbers)
        else:
            ranges.remove(numbers[0], numbers[-1])
            model.difference_update(numbers)
    assert {n for first, last in ranges for n in range(first, last + 1)} == model
    assert all(n in ranges for n in model)
    assert all(n not in ranges for n in range(80) if n not in model)
    missing = {n for first, last in ranges.missing(75, 99) for n in range(first, last + 1)}
    assert missing == set(range(1, 76)) - model
    firsts = [first for first, _ in ranges]
    assert firsts == sorted(firsts)


@given(st.lists(st.integers(1, 3 * WINDOW), max_size=60))
def test_a_window_accepts_each_sequence_at_most_once(sequences: list[int]) -> None:
    window, accepted, highest = ReplayWindow(), set[int](), 0
    for sequence in sequences:
        fresh = sequence not in accepted and sequence > highest - WINDOW
        try:
            window.check(sequence, "a")
        except RefusedDatagram:
            assert not fresh
            continue
        assert fresh
        window.accept(sequence, "a")
        accepted.add(sequence)
        highest = max(highest, sequence)


class Tables(RuleBasedStateMachine):
    """A source and two standbys over a bad network: after it heals the tables are equal."""

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed: int) -> None:
        link = Link(loss=0.3, duplicate=0.2, delay=0.001, jitter=0.02)
        self.network = Network(seed, link)
        self.table: dict[int, ClientRecord] = {}
        self.generation = 0
        for name in "abc":
            self.network.start(name)
        self._become_source()
        for name in "bc":
            self.network.ends[name].follow("a")

    def _become_source(self) -> None:
        self.network.ends["a"].become_source(list(self.table.values()))

    @rule(number=st.integers(0, 12), holders=st.integers(0, 3), hot=st.sampled_from([50, 1000]))
    def publish(self, number: int, holders: int, hot: int) -> None:
        self.generation += 1
        record = make_record(number, self.generation, hot=hot, holders=holders, cold=number % 4)
        self.table[number] = record
        self.network.ends["a"].protocol.publish(INSTANCE, record, self.network.now)

    @rule(number=st.integers(0, 12))
    def withdraw(self, number: int) -> None:
        self.table.pop(number, None)
        source = self.network.ends["a"].protocol
        source.withdraw(INSTANCE, make_uid(number), self.network.now)

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.1, 1.0, 3.0]))
    def wait(self, seconds: float) -> None:
        self.network.run(seconds)

    @rule(name=st.sampled_from(["b", "c"]))
    def restart_standby(self, name: str) -> None:
        self.network.start(name).follow("a")

    @rule()
    def restart_source(self) -> None:
        self.network.start("a")
        self._become_source()

    @rule(name=st.sampled_from(["b", "c"]))
    def lose_openvpn(self, name: str) -> None:
        end = self.network.ends[name]
        end.imported.clear()
        end.protocol.resync(INSTANCE, self.network.now)

    @rule(sender=st.sampled_from("abc"), receiver=st.sampled_from("abc"))
    def cut(self, sender: str, receiver: str) -> None:
        self.network.link.cut = lambda one, other: (one, other) == (sender, receiver)

    @precondition(lambda self: self.network.recorded)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        _, datagram = data.draw(st.sampled_from(self.network.recorded[-200:]))
        for end in self.network.ends.values():
            end.protocol.receive_datagram(datagram, "bcn", self.network.now)

    @invariant()
    def no_standby_has_what_the_source_never_had(self) -> None:
        for name in "bc":
            for record in self.network.ends[name].imported.values():
                assert record.generation <= self.generation

    def teardown(self) -> None:
        if not hasattr(self, "network"):
            return
        self.network.link = Link()
        wanted = {record.uid: record for record in self.table.values()}
        others = [self.network.ends[name] for name in "bc"]
        met = self.network.run_until(lambda: all(end.imported == wanted for end in others), 8)
        assert met, "the tables do not meet within 8 s of a healed network"
        source = self.network.ends["a"].protocol
        settled = self.network.run_until(
            lambda: source.statistics().outstanding[INSTANCE] == {"b": 0, "c": 0}, 8
        )
        assert settled, "not everything is acknowledged"


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
