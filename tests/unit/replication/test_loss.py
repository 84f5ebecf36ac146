"""What counts as lost: by what has arrived that left later, and by time where nothing tells."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ovpnha.model import InstanceName, NodeName, Uid
from ovpnha.replication.config import Timings
from ovpnha.replication.log import CompactedLog
from ovpnha.replication.loss import PROBE_INTERVAL, PROBES_LIMIT, Losses
from ovpnha.replication.messages import Ack
from ovpnha.replication.ranges import RangeSet
from tests.unit.replication.network import INSTANCE, End, Link, Network, equal, make_record

CLIENTS = 1000
SLOW = 0.0008  # seconds for a datagram: five times as slow as the pace
B, C = NodeName("b"), NodeName("c")


# --- one whole table


@dataclass(frozen=True)
class Fetch:
    """How a standby has fetched everything."""

    seconds: float
    sent: int  # records
    asked: int  # gaps told of


def fetch(loss: float, seed: int, work: float = SLOW) -> Fetch:
    """A standby joins that is slow, or not, and loses some of all datagrams, both ways."""
    network = Network(seed)
    source = network.start("a")
    records = [make_record(number) for number in range(CLIENTS)]
    source.become_source(records)
    network.run(2.0)
    sent = source.protocol.statistics().repaired
    standby: End = network.start("b")
    network.run(0.3)
    network.link.loss, network.work["b"] = loss, work
    standby.follow("a")
    begin = network.now
    assert network.run_until(lambda: equal(records, standby), 30.0)
    sent = source.protocol.statistics().repaired - sent
    return Fetch(network.now - begin, sent, standby.protocol.statistics().nacks)


def test_a_receiver_that_is_behind_is_sent_nothing_twice() -> None:
    fetched = fetch(0.0, 1)
    assert fetched.asked > 3
    assert fetched.sent == CLIENTS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_lost_on_the_way_to_a_slow_receiver_is_soon_sent_again(seed: int) -> None:
    """With time alone as the rule it took 1.7 times as long as without loss."""
    lossy = fetch(0.01, seed)
    assert lossy.seconds < fetch(0.0, seed).seconds + 0.35
    assert CLIENTS < lossy.sent < CLIENTS * 1.03, "little more than what was lost"


def test_much_loss_makes_little_travel_twice_but_what_was_lost() -> None:
    """With time alone as the rule half of the records travelled twice.

    Of some fetches a fifth still do, depending on what is lost of their first moments.
    """
    _, middle, most = sorted(fetch(0.05, seed).sent for seed in (6, 7, 8))
    assert middle < CLIENTS * 1.09
    assert most < CLIENTS * 1.3


def test_a_fast_receiver_is_repaired_within_two_reports() -> None:
    assert fetch(0.01, 4, work=0.0).seconds < fetch(0.0, 4, work=0.0).seconds + 0.25


def test_two_receivers_are_each_judged_by_their_own_reports() -> None:
    """A fast one that loses nothing does not make the slow one's queue count as lost."""
    network = Network(5)
    source = network.start("a")
    records = [make_record(number) for number in range(CLIENTS)]
    source.become_source(records)
    network.run(2.0)
    sent = source.protocol.statistics().repaired
    fast, slow = network.start("b"), network.start("c")
    network.run(0.3)
    network.work["c"] = SLOW
    fast.follow("a")
    slow.follow("a")
    assert network.run_until(lambda: equal(records, fast, slow), 30.0)
    assert source.protocol.statistics().repaired - sent < CLIENTS * 1.05


def test_a_lost_cold_part_of_a_slow_receiver_comes_before_its_longest_delay() -> None:
    network = Network(8)
    source = network.start("a")
    records = [make_record(number, cold=3) for number in range(CLIENTS)]
    source.become_source(records)
    standby = network.start("b")
    network.run(2.0)
    network.work["b"] = SLOW
    lost = random.Random(8)  # noqa: S311 - repeatable, no secret
    network.link.drop = lambda sender, data: (
        sender == "a" and len(data) > 500 and lost.random() < 0.02
    )
    standby.follow("a")
    begin = network.now
    assert network.run_until(lambda: equal(records, standby), 30.0)
    assert network.now - begin < fetch(0.0, 8).seconds + 0.5
    assert source.protocol.statistics().outstanding[INSTANCE] is not None


def test_links_that_reorder_within_the_window_cost_nothing() -> None:
    network = Network(9, Link(jitter=0.004))
    source = network.start("a")
    records = [make_record(number) for number in range(CLIENTS)]
    source.become_source(records)
    standby = network.start("b")
    network.run(2.0)
    sent = source.protocol.statistics().repaired
    standby.follow("a")
    assert network.run_until(lambda: equal(records, standby), 30.0)
    assert source.protocol.statistics().repaired - sent <= CLIENTS


# --- the rule itself


class Rule:
    """A log whose numbers leave when a test says so."""

    def __init__(self, numbers: int) -> None:
        self.log = CompactedLog()
        self.losses = Losses(self.log, Timings())
        for number in range(1, numbers + 1):
            self.log.upsert(Uid(number.to_bytes(8, "big")))
        self.losses.begin(B, 0.0)

    def leave(self, number: int, now: float) -> None:
        slot = self.log.get(number)
        assert slot is not None
        slot.sent = now

    def ack(
        self, cumulative: int, *ranges: tuple[int, int], node: NodeName = B, now: float
    ) -> None:
        tag, instance = bytes(8), InstanceName("x")
        self.losses.hear(node, Ack(tag, instance, 1, cumulative, ranges, ()), now)

    def repeat(self, *ranges: tuple[int, int], node: NodeName = B, now: float) -> list[int]:
        """Which numbers are sent again."""
        pending = RangeSet()
        self.losses.repeat(pending, ranges, self.losses.lost_before(node, now))
        return [number for first, last in pending for number in range(first, last + 1)]


def test_what_left_before_a_probe_that_came_is_lost() -> None:
    rule = Rule(3)
    rule.leave(1, 1.0)
    rule.leave(2, 1.005)
    assert rule.repeat((1, 2), now=1.01) == []
    assert rule.losses.probe(1.012) == 4
    rule.leave(3, 1.013)
    assert rule.repeat((1, 3), now=1.015) == []
    rule.ack(0, (4, 4), now=1.016)
    assert rule.repeat((1, 3), now=1.016) == [1], "2 left within the window before the probe"


def test_a_probe_is_heard_of_by_the_end_without_gaps_too() -> None:
    rule = Rule(2)
    rule.leave(2, 1.0)
    assert rule.losses.probe(1.02) == 3
    rule.ack(3, now=1.021)
    assert rule.repeat((2, 2), now=1.021) == [2]


def test_what_was_sent_again_is_judged_by_the_probes_after_that() -> None:
    rule = Rule(1)
    rule.leave(1, 1.0)
    assert rule.losses.probe(1.02) == 2
    rule.ack(0, (2, 2), now=1.03)
    assert rule.repeat((1, 1), now=1.03) == [1]
    rule.leave(1, 1.03)
    rule.ack(0, (2, 2), now=1.04)
    assert rule.repeat((1, 1), now=1.04) == []
    assert rule.losses.probe(1.05) == 3
    rule.ack(0, (2, 3), now=1.051)
    assert rule.repeat((1, 1), now=1.051) == [1]


def test_a_late_report_takes_nothing_back() -> None:
    rule = Rule(1)
    rule.leave(1, 1.015)
    assert rule.losses.probe(1.0) == 2
    assert rule.losses.probe(1.03) == 3
    rule.ack(0, (3, 3), now=1.031)
    rule.ack(0, (2, 2), now=1.032)
    assert rule.repeat((1, 1), now=1.032) == [1]


def test_each_receiver_is_judged_by_what_it_has() -> None:
    rule = Rule(1)
    rule.losses.begin(C, 0.0)
    rule.leave(1, 1.0)
    assert rule.losses.probe(1.015) == 2
    rule.ack(0, (2, 2), now=1.016)
    assert rule.repeat((1, 1), node=C, now=1.02) == []
    assert rule.repeat((1, 1), node=B, now=1.02) == [1]
    rule.losses.forget(B)
    rule.losses.forget(B)
    rule.losses.begin(B, 1.02)
    assert rule.repeat((1, 1), node=B, now=1.02) == [], "it has started anew"


def test_without_a_probe_that_comes_back_time_decides() -> None:
    """1.5 times the wait for it; and not for ever."""
    rule = Rule(1)
    rule.leave(1, 1.0)
    assert rule.losses.probe(1.0) == 2
    assert rule.repeat((1, 1), now=4.7) == []
    assert rule.repeat((1, 1), now=4.8) == [1]
    rule.losses.begin(B, 1.5)
    assert rule.repeat((1, 1), now=1.5) == [1], "of a probe before it began it waits for nothing"


def test_probes_keep_their_distance_and_are_bounded() -> None:
    rule = Rule(1)
    assert rule.losses.probe(1.0) == 2
    assert rule.losses.probe(1.0 + PROBE_INTERVAL / 2) is None
    for turn in range(1, 2 * PROBES_LIMIT):
        assert rule.losses.probe(1.0 + turn * PROBE_INTERVAL * 1.01) == 2 + turn
    assert len(rule.losses._probes) == PROBES_LIMIT


def test_void_numbers_are_told_and_never_under_way() -> None:
    rule = Rule(2)
    assert rule.losses.probe(1.0) == 3
    rule.leave(1, 1.0)
    rule.leave(2, 1.0)
    assert rule.repeat((1, 9), now=1.01) == [3]
    rule.log.upsert(Uid(bytes(8)))  # 4
    rule.leave(4, 1.01)
    assert rule.repeat((3, 4), now=1.02) == [], "what is under way tells that 3 is void"


def test_what_left_since_a_time_is_told_in_ranges_with_the_void_numbers_below() -> None:
    rule = Rule(6)
    rule.log.upsert(Uid((2).to_bytes(8, "big")))  # 7; 2 is void
    for number in (1, 3, 4, 6):
        rule.leave(number, 1.0)
    assert list(rule.log.sent_since(1.0, 1, 9)) == [(1, 4), (6, 6)]
    assert list(rule.log.sent_since(1.0, 2, 3)) == [(2, 3)]
    assert list(rule.log.sent_since(1.1, 1, 9)) == []
    assert rule.log.left_since(1.0, 1)
    assert not rule.log.left_since(1.1, 1)
    assert not rule.log.left_since(0.0, 2)


def test_what_is_to_be_sent_already_stays_so() -> None:
    rule, pending = Rule(3), RangeSet()
    for number in (1, 2, 3):
        rule.leave(number, 1.0)
    pending.add(2, 2)
    assert rule.losses.repeat(pending, [(1, 3)], 0.9)
    assert list(pending) == [(2, 2)]
    assert not rule.losses.repeat(pending, [(1, 3)], 1.1)
    assert list(pending) == [(1, 3)]
    assert not rule.losses.repeat(pending, [(4, 2**62), (9, 3)], 0.0)
    assert list(pending) == [(1, 3)]


def test_the_delay_is_that_of_the_last_that_left() -> None:
    """Not of the highest number: counters overtake a pass."""
    rule = Rule(5)
    rule.leave(5, 1.0)
    rule.leave(2, 1.5)
    rule.ack(2, (4, 5), now=1.6)
    assert rule.losses.gap == pytest.approx(0.15)
    assert rule.losses.probe(2.0) == 6
    rule.ack(2, (4, 6), now=2.2)
    assert rule.losses.gap == pytest.approx(0.3)
    rule.ack(0, now=2.3)
    assert rule.losses.gap == pytest.approx(0.3), "it has told nothing"
    assert rule.losses.share == 1.0


def test_a_log_is_walked_once_however_often_its_numbers_are_asked_for() -> None:
    """Somebody who has the key could ask for all of it, fifty times in each of many datagrams."""

    class Counted(CompactedLog):
        walks = 0

        def sent_since(self, time: float, first: int, last: int) -> Iterator[tuple[int, int]]:
            Counted.walks += 1
            return super().sent_since(time, first, last)

    log = Counted()
    losses = Losses(log, Timings())
    for number in range(4):
        log.upsert(Uid(number.to_bytes(8, "big")))
    pending = RangeSet()
    assert not losses.repeat(pending, [(1, 2**62), (3, 2), (2, 3), (9, 12)] * 48, 0.0)
    assert list(pending) == [(1, 4)]
    assert Counted.walks == 1
