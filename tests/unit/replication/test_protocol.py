"""Two to four real ends over a bad network, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from ovpnha.model import ClientRecord, ColdPart, CounterKind, InstanceName, NodeName
from ovpnha.replication.config import Timings
from ovpnha.replication.events import (
    Acknowledged,
    CopyProved,
    CountersReceived,
    GenerationHeard,
    HelloReceived,
    NodeUp,
    RecordReceived,
    RecordWithdrawn,
    Rejected,
    RenegotiationHeard,
    SnapshotEnded,
)
from ovpnha.replication.log import DELETES_LIMIT
from tests.unit.replication.network import (
    INSTANCE,
    End,
    Link,
    Network,
    equal,
    make_record,
    make_uid,
)

BAD = Link(loss=0.2, duplicate=0.2, delay=0.001, jitter=0.01)


def connect(network: Network, *names: str) -> list[End]:
    ends = [network.start(name) for name in names]
    others = len(names) - 1
    assert network.run_until(lambda: all(len(end.of(NodeUp)) == others for end in ends), 5)
    return ends


def follow(source: str, *standbys: End) -> None:
    for standby in standbys:
        standby.follow(source)


@pytest.mark.parametrize("link", [Link(), BAD], ids=["good", "bad"])
@pytest.mark.parametrize("standbys", [1, 3])
def test_tables_become_equal_and_acknowledged(link: Link, standbys: int) -> None:
    network = Network(1, link)
    source, *others = connect(network, *"abcd"[: standbys + 1])
    records = [make_record(number, holders=standbys) for number in range(300)]
    follow("a", *others)
    source.become_source(records)
    assert network.run_until(lambda: equal(records, *others), 5)
    assert network.run_until(lambda: len(source.acknowledged) == 300 * standbys, 5)
    assert network.run_until(lambda: all(other.of(SnapshotEnded) for other in others), 5)
    network.run(2)
    assert set(source.protocol.statistics().outstanding[INSTANCE].values()) == {0}
    assert all(other.protocol.statistics().incomplete == 0 for other in others)


def test_a_snapshot_brings_every_client_and_its_generation() -> None:
    network = Network(2)
    source, other = connect(network, "a", "b")
    records = [make_record(number, number + 1) for number in range(20)]
    source.become_source(records)
    network.run(1)
    follow("a", other)
    assert network.run_until(lambda: bool(other.of(SnapshotEnded)), 1)
    ended = other.of(SnapshotEnded)[0]
    assert isinstance(ended, SnapshotEnded)
    assert ended.clients == {record.uid: record.generation for record in records}


def test_a_change_is_protected_within_milliseconds() -> None:
    network = Network(3)
    source, other = connect(network, "a", "b")
    follow("a", other)
    source.become_source([])
    network.run(1.2)
    began = network.now
    source.protocol.publish(INSTANCE, make_record(1), began)
    assert network.run_until(lambda: bool(source.of(Acknowledged)), 1)
    assert network.now - began < 0.005


def test_payload_is_sent_once_whatever_the_number_of_standbys() -> None:
    sent = []
    for count in (1, 3):
        network = Network(4)
        source, *others = connect(network, *"abcd"[: count + 1])
        follow("a", *others)
        network.run(0.3)
        before = source.bytes_sent()
        records = [make_record(number) for number in range(100)]
        source.become_source(records)
        assert network.run_until(lambda: equal(records, *others), 2)  # noqa: B023 - run at once
        sent.append(source.bytes_sent() - before)
    assert sent[1] < sent[0] * 1.2


@pytest.mark.parametrize("link", [Link(), BAD], ids=["good", "bad"])
def test_changes_and_withdrawals_reach_everyone(link: Link) -> None:
    network = Network(5, link)
    source, *others = connect(network, "a", "b", "c")
    follow("a", *others)
    table = {number: make_record(number) for number in range(60)}
    source.become_source(list(table.values()))
    for step in range(300):
        number = network.random.randrange(80)
        if number in table and step % 3 == 0:
            source.protocol.withdraw(INSTANCE, table.pop(number).uid, network.now)
        else:
            generation = table[number].generation + 1 if number in table else step + 2
            table[number] = make_record(number, generation)
            source.protocol.publish(INSTANCE, table[number], network.now)
        network.run(0.004)
    assert network.run_until(lambda: equal(list(table.values()), *others), 5)


@pytest.mark.parametrize("link", [Link(), BAD], ids=["good", "bad"])
def test_a_restarted_standby_is_equal_within_two_seconds(link: Link) -> None:
    network = Network(6, link)
    source, other = connect(network, "a", "b")
    records = [make_record(number, cold=7) for number in range(100)]
    source.become_source(records)
    follow("a", other)
    assert network.run_until(lambda: equal(records, other), 5)
    network.run(1)
    other = network.start("b")
    assert network.run_until(lambda: bool(other.of(NodeUp)), 1)
    other.follow("a")
    assert network.run_until(lambda: equal(records, other), 2)


@pytest.mark.parametrize("link", [Link(), BAD], ids=["good", "bad"])
def test_a_restarted_source_is_equal_within_two_seconds(link: Link) -> None:
    network = Network(7, link)
    source, other = connect(network, "a", "b")
    records = [make_record(number, cold=7) for number in range(100)]
    source.become_source(records)
    follow("a", other)
    assert network.run_until(lambda: equal(records, other), 5)
    network.run(1)
    source = network.start("a")
    kept = records[:70]
    source.become_source(kept)
    assert network.run_until(lambda: equal(kept, other) and len(source.acknowledged) == 70, 2)
    network.run(1)
    assert other.protocol.statistics().refused.get("malformed", 0) == 0


def test_two_nodes_swap_roles() -> None:
    network = Network(8)
    first, second = connect(network, "a", "b")
    records = [make_record(number) for number in range(50)]
    first.become_source(records)
    second.follow("a")
    assert network.run_until(lambda: equal(records, second), 2)
    first.protocol.end_source(INSTANCE, network.now)
    second.protocol.follow(INSTANCE, None, network.now)
    changed = [make_record(number, 2) for number in range(40)]
    second.become_source(changed)
    first.follow("b")
    assert network.run_until(lambda: equal(changed, first), 2)
    assert first.protocol.statistics().resyncs >= 1


def test_a_late_member_gets_everything_and_the_newest_counters() -> None:
    network = Network(9)
    source, other = connect(network, "a", "b")
    records = [make_record(number) for number in range(30)]
    source.become_source(records)
    marks = {}
    for second in range(1, 4):
        for record in records:
            entry = record.uid + record.grants[0].fingerprint + second.to_bytes(4, "big")
            marks[record.uid] = entry
            source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, entry, network.now)
    source.protocol.publish_counters(
        INSTANCE, CounterKind.BYTES, b"".join(r.uid + bytes(16) for r in records), network.now
    )
    network.run(5)
    other.import_time = 0.2
    other.follow("a")
    assert network.run_until(lambda: len(source.acknowledged) == 30, 3)
    network.run(0.1)
    imported_at = max(
        index for index, event in enumerate(other.events) if isinstance(event, RecordReceived)
    )
    after = [event for event in other.events[imported_at:] if isinstance(event, CountersReceived)]
    payload = b"".join(e.payload for e in after if e.kind is CounterKind.HIGH_WATER)
    assert {payload[at : at + 20] for at in range(0, len(payload), 20)} == set(marks.values())
    counts = b"".join(e.payload for e in after if e.kind is CounterKind.BYTES)
    assert len(counts) == 30 * 24


def test_a_new_generation_makes_old_counters_pointless() -> None:
    network = Network(9)
    source, other = connect(network, "a", "b")
    source.become_source([make_record(1)])
    entry = make_uid(1) + bytes(12)
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, entry, network.now)
    source.protocol.publish(INSTANCE, make_record(1, 2), network.now)
    network.run(1)
    other.follow("a")
    assert network.run_until(lambda: bool(source.of(Acknowledged)), 1)
    network.run(0.1)
    # The counters' own entry of the log still comes; only the record does not repeat it.
    assert len(other.of(CountersReceived)) == 1


def test_counters_and_renegotiations_arrive_in_spite_of_loss() -> None:
    network = Network(10, BAD)
    source, other = connect(network, "a", "b")
    other.follow("a")
    source.become_source([make_record(1)])
    payload = b"".join(make_uid(number) + bytes(12) for number in range(100))
    source.protocol.publish_counters(INSTANCE, CounterKind.HIGH_WATER, payload, network.now)
    source.protocol.announce_renegotiation(INSTANCE, make_uid(1), 3, 1, network.now)
    network.run(2)
    got = b"".join(e.payload for e in other.of(CountersReceived) if isinstance(e, CountersReceived))
    entries = {got[at : at + 20] for at in range(0, len(got), 20)}
    assert entries == {payload[at : at + 20] for at in range(0, len(payload), 20)}
    heard = other.of(RenegotiationHeard)[0]
    assert isinstance(heard, RenegotiationHeard)
    assert (heard.uid, heard.key_id) == (make_uid(1), 3)


def test_a_refused_record_is_reported_with_its_reason() -> None:
    network = Network(11, BAD)
    source, other = connect(network, "a", "b")
    other.reject = {make_uid(3)}
    other.follow("a")
    source.become_source([make_record(number) for number in range(5)])
    assert network.run_until(lambda: bool(source.of(Rejected)), 5)
    rejected = source.of(Rejected)[0]
    assert isinstance(rejected, Rejected)
    assert (rejected.uid, rejected.reason) == (make_uid(3), "collides")


def test_a_lost_acknowledgement_is_asked_for() -> None:
    network = Network(12)
    source, other = connect(network, "a", "b")
    other.follow("a")
    source.become_source([])
    network.run(1)
    network.link.cut = lambda sender, _: sender == "b"
    source.protocol.publish(INSTANCE, make_record(1), network.now)
    network.run(0.3)
    assert not source.acknowledged
    network.link.cut = lambda _sender, _receiver: False
    assert network.run_until(lambda: bool(source.acknowledged), 1)


def test_a_lost_last_change_is_heard_of_before_it_is_repaired() -> None:
    network = Network(13)
    source, other = connect(network, "a", "b")
    other.follow("a")
    source.become_source([make_record(1)])
    network.run(1)
    network.link.loss = 1.0
    source.protocol.publish(INSTANCE, make_record(1, 2), network.now)
    network.run(0.002)
    network.link.loss = 0.0
    assert network.run_until(lambda: other.imported[make_uid(1)].generation == 2, 0.1)
    kinds = [type(event) for event in other.events]
    assert GenerationHeard in kinds[-4:]


def test_state_of_a_node_that_is_not_followed_is_refused() -> None:
    network = Network(14)
    source, other, third = connect(network, "a", "b", "c")
    other.follow("c")
    source.become_source([make_record(1)])
    network.run(1)
    assert not other.imported
    assert other.protocol.statistics().refused["not_followed"] > 0
    assert not third.imported


def test_state_of_an_instance_that_nobody_here_has_is_refused_in_silence() -> None:
    network = Network(15)
    source, other = connect(network, "a", "b")
    alien = InstanceName("tcp443")
    source.protocol.begin_source(alien, network.now)
    network.run(1)
    assert other.protocol.statistics().refused["not_followed"] > 0


def test_our_openvpn_lost_its_table() -> None:
    network = Network(16)
    source, other = connect(network, "a", "b")
    records = [make_record(number, cold=7) for number in range(50)]
    source.become_source(records)
    other.follow("a")
    assert network.run_until(lambda: len(source.acknowledged) == 50, 2)
    network.run(1)
    before = source.bytes_sent()
    other.imported.clear()
    source.acknowledged.clear()
    other.protocol.resync(INSTANCE, network.now)
    assert network.run_until(lambda: equal(records, other) and len(source.acknowledged) == 50, 1)
    assert len(other.of(SnapshotEnded)) == 2
    # Cold parts were kept, so only hot parts and grants travelled.
    assert source.bytes_sent() - before < 50 * 700


def test_back_after_an_hour_only_the_difference_is_sent() -> None:
    network = Network(17)
    slow = Timings(hello_interval=5, node_timeout=20, ack_interval=20, mark_interval=20)
    source, other = (network.start(name, timings=slow) for name in "ab")
    network.run(1)
    records = [make_record(number) for number in range(500)]
    source.become_source(records)
    other.follow("a")
    assert network.run_until(lambda: equal(records, other), 2)
    network.link.cut = lambda _sender, _receiver: True
    network.run(60)
    records[7] = make_record(7, 2)
    source.protocol.publish(INSTANCE, records[7], network.now)
    source.protocol.withdraw(INSTANCE, records.pop().uid, network.now)
    network.run(3540)
    network.link.cut = lambda _sender, _receiver: False
    before = source.bytes_sent()
    assert network.run_until(lambda: equal(records, other), 25)
    assert source.bytes_sent() - before < 10_000


def test_when_the_log_no_longer_reaches_everything_is_sent() -> None:
    network = Network(18)
    source, other = connect(network, "a", "b")
    source.become_source([make_record(1)])
    other.follow("a")
    assert network.run_until(lambda: bool(source.acknowledged), 2)
    network.link.cut = lambda _sender, _receiver: True
    for number in range(10, 10 + DELETES_LIMIT + 100):
        record = ClientRecord(make_uid(number), 1, b"hot")
        source.protocol.publish(INSTANCE, record, network.now)
        source.protocol.withdraw(INSTANCE, record.uid, network.now)
    network.run(3)
    network.link.cut = lambda _sender, _receiver: False
    assert network.run_until(lambda: len(other.of(SnapshotEnded)) == 2, 10)
    assert other.protocol.statistics().resyncs == 2
    assert set(other.imported) == {make_uid(1)}


def test_a_record_that_exceeds_a_datagram_travels_in_pieces() -> None:
    network = Network(19, BAD)
    source, other = connect(network, "a", "b")
    records = [make_record(number, hot=1000, holders=15, cold=7) for number in range(20)]
    other.follow("a")
    source.become_source(records)
    assert network.run_until(lambda: equal(records, other), 5)


def test_a_large_cold_part_travels_in_chunks() -> None:
    network = Network(20, BAD)
    source, other = connect(network, "a", "b")
    record = make_record(1, cold=0)
    parts = tuple(ColdPart(kind, bytes([kind]) * 20_000) for kind in (6, 7, 8))
    record = ClientRecord(record.uid, 1, record.hot, parts, record.grants)
    other.follow("a")
    source.become_source([record, make_record(2)])
    assert network.run_until(lambda: record.uid in other.imported, 5)
    assert other.imported[record.uid] == record


def test_a_record_beyond_the_limits_is_counted_and_not_sent() -> None:
    network = Network(21)
    source, other = connect(network, "a", "b")
    other.follow("a")
    source.become_source([make_record(1, hot=1001), make_record(2)])
    network.run(0.5)
    assert set(other.imported) == {make_uid(2)}
    assert source.protocol.statistics().oversized == 1


def test_a_snapshot_keeps_the_pace() -> None:
    network = Network(22)
    network.start("a", pace=50_000)
    network.start("b")
    network.run(0.1)
    source, other = network.ends["a"], network.ends["b"]
    records = [make_record(number) for number in range(300)]
    source.become_source(records)
    network.run(10)
    other.follow("a")
    began, before = network.now, source.bytes_sent()
    assert network.run_until(lambda: equal(records, other), 30)
    rate = (source.bytes_sent() - before) / (network.now - began)
    assert 40_000 < rate < 65_000


def test_tables_that_are_fetched_at_once_come_at_one_pace_each_in_its_turn() -> None:
    """None has to wait until the one before it is whole, and none counts as late for the others."""
    network = Network(23)
    network.start("a", pace=50_000)
    network.start("b", pace=50_000)
    network.run(0.1)
    source, other = network.ends["a"], network.ends["b"]
    names = [InstanceName(f"i{number}") for number in range(6)]
    records = [make_record(number) for number in range(200)]
    for name in names:
        source.protocol.begin_source(name, network.now)
        for one in records:
            source.protocol.publish(name, one, network.now)
        source.protocol.source_complete(name, network.now)
    network.run(40)
    for name in names:
        other.protocol.follow(name, NodeName("a"), network.now)

    def received() -> Counter[InstanceName]:
        found = other.of(RecordReceived)
        return Counter(one.instance for one in found if isinstance(one, RecordReceived))

    assert network.run_until(lambda: max(received().values(), default=0) >= 150, 60)
    assert min(received()[name] for name in names) >= 75
    assert network.run_until(lambda: received() == dict.fromkeys(names, 200), 60)
    proofs = [one for one in other.of(CopyProved) if isinstance(one, CopyProved)]
    assert all(one.proved for one in proofs)


def test_a_burst_of_changes_keeps_the_pace_but_a_single_change_does_not_wait() -> None:
    network = Network(23)
    network.start("a", pace=50_000)
    network.start("b")
    network.run(0.1)
    source, other = network.ends["a"], network.ends["b"]
    other.follow("a")
    records = [make_record(number) for number in range(300)]
    source.become_source(records)
    network.run(0.1)
    assert source.bytes_sent() < 120_000
    assert network.run_until(lambda: equal(records, other), 30)
    network.run(3)
    source.protocol.publish(INSTANCE, make_record(5000), network.now)
    assert network.run_until(lambda: make_uid(5000) in other.imported, 0.002)


def test_a_digest_finds_a_difference_and_only_it_is_sent() -> None:
    network = Network(24)
    source, other = connect(network, "a", "b")
    records = [make_record(number) for number in range(300)]
    source.become_source(records)
    other.follow("a")
    assert network.run_until(lambda: len(source.acknowledged) == 300, 2)
    # Nothing but a fault of the program makes tables differ, so the fault is made here.
    copy = other.protocol._sinks[INSTANCE]._copy
    extra, old, lost = make_uid(900), make_uid(6), make_uid(7)
    copy.table[extra] = copy.table[make_uid(5)]
    copy._flip(extra, copy.table[extra])
    copy._flip(old, copy.table[old])
    copy.table[old].generation = 77
    copy._flip(old, copy.table[old])
    copy._flip(lost, copy.table.pop(lost))
    del other.imported[lost]
    other.imported[extra] = make_record(900)
    other.protocol._sinks[INSTANCE]._cold.name(copy.table[extra].names)
    before = source.bytes_sent()
    assert network.run_until(lambda: equal(records, other), 11)
    network.run(11)
    assert other.protocol.statistics().differences > 0
    assert source.bytes_sent() - before < 40_000
    assert extra in [e.uid for e in other.of(RecordWithdrawn) if isinstance(e, RecordWithdrawn)]


def test_several_instances_are_independent() -> None:
    network = Network(25)
    first, second = connect(network, "a", "b")
    other = InstanceName("udp1195")
    first.become_source([make_record(1)])
    second.follow("a")
    second.protocol.begin_source(other, network.now)
    second.protocol.publish(other, make_record(2), network.now)
    second.protocol.source_complete(other, network.now)
    first.protocol.follow(other, NodeName("b"), network.now)
    assert network.run_until(lambda: bool(first.imported) and bool(second.imported), 1)
    got = first.of(RecordReceived)[0]
    assert isinstance(got, RecordReceived)
    assert (got.instance, got.record) == (other, make_record(2))


def test_verbs_for_an_instance_that_follows_nobody_do_nothing() -> None:
    network = Network(26)
    end = network.start("a")
    protocol, now = end.protocol, network.now
    protocol.resync(INSTANCE, now)
    protocol.acknowledge(INSTANCE, make_uid(1), 1, (), now)
    protocol.reject(INSTANCE, make_uid(1), 1, "x", now)
    protocol.follow(INSTANCE, None, now)
    protocol.end_source(INSTANCE, now)
    assert protocol.next_event() is None


def test_following_the_same_node_again_changes_nothing() -> None:
    network = Network(27)
    source, other = connect(network, "a", "b")
    source.become_source([make_record(1)])
    other.follow("a")
    assert network.run_until(lambda: bool(other.imported), 1)
    asked = other.protocol.statistics().resyncs
    other.protocol.follow(INSTANCE, NodeName("a"), network.now)
    network.run(1)
    assert other.protocol.statistics().resyncs == asked


def test_hello_tells_the_state_of_every_instance() -> None:
    network = Network(28)
    first, second = connect(network, "a", "b")
    heard = second.of(HelloReceived)[-1]
    assert isinstance(heard, HelloReceived)
    assert set(heard.instances) == {INSTANCE}
    assert len(first.of(HelloReceived)) == 1


def test_each_hello_counts_once() -> None:
    network = Network(0)
    first, second = network.start("a"), network.start("b")
    network.run(2)
    heard = first.protocol.statistics().received["hello"]
    sent = second.protocol.statistics().sent["hello"]
    assert heard == sent > 1
