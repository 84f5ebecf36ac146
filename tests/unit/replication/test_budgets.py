"""What strangers and silent nodes may cost: how often somebody is answered or told of."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ovpnha.model import BootId, NodeName
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.events import OtherKey, OtherVersion
from ovpnha.replication.membership import Membership
from ovpnha.replication.pacing import LEAST_BURST, PACE_BURST, Delay, SharedPace, TokenBucket
from ovpnha.replication.sealing import ClusterKey, Kind, Opener, Sealer, cluster_tag, node_tag
from tests.unit.replication.network import KEY, Network

SLACK = 0.001


def stranger(secret: bytes) -> Sealer:
    key = ClusterKey.create(secret, cluster_tag("test"))
    return Sealer(key, node_tag("z"), BootId(b"z" * 16), lambda size: bytes(size))


def test_another_key_and_another_version_are_told_of_once_a_minute() -> None:
    network = Network()
    end = network.start("a")
    data = stranger(b"o" * 32).seal(Kind.HELLO, b"x")
    newer = data[:12] + b"\x09" + data[13:]
    for seconds, count in ((0.0, 1), (59.9, 1), (60.1, 2), (119.0, 2), (120.2, 3)):
        for _ in range(3):
            end.protocol.receive_datagram(data, "bcn", 100.0 + seconds)
            end.protocol.receive_datagram(newer, "bcn", 100.0 + seconds)
        end.drain()
        assert (len(end.of(OtherKey)), len(end.of(OtherVersion))) == (count, count)


def test_a_bucket_earns_its_rate_and_keeps_its_burst() -> None:
    bucket = TokenBucket(4.0, 2.0, 100.0)
    assert [bucket.take(1, 100.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(1, 100.25 - SLACK)
    assert bucket.take(1, 100.25)
    assert bucket.available(200.0) == 2.0
    bucket.spend(6.0, 200.0)
    assert bucket.available(200.0) == -4.0
    assert 201.25 <= bucket.when(1.0) <= 201.25 + 2 * SLACK
    assert bucket.take(1, bucket.when(1.0))


def test_what_is_slow_to_arrive_is_not_sent_again_too_soon() -> None:
    delay = Delay(0.03)
    node, other = NodeName("b"), NodeName("c")
    assert (delay.gap(0.0), delay.share) == (0.03, 1.0)
    delay.note(node, 1, 0.2)
    assert round(delay.gap(0.0), 6) == 0.3
    delay.note(node, 1, 0.9)
    assert round(delay.gap(0.0), 6) == 0.3, "it left no later, and says nothing new"
    delay.note(other, 1, 0.0)
    assert round(delay.gap(0.0), 6) == 0.27
    delay.note(node, 2, 7.0)
    assert round(delay.gap(0.0), 6) == 1.5, "a second counts at most"
    assert round(delay.share, 6) == 0.8
    delay.note(node, 3, 0.5 + SLACK)
    assert round(delay.share, 6) == 0.65, "never less"
    delay.note(node, 4, 0.5)
    assert round(delay.share, 6) == round(0.65 * 1.15, 6)
    for number in range(5, 12):
        delay.note(node, number, 0.0)
    assert delay.share == 1.0


def make_membership(byte: int) -> Membership:
    """One that has just said its first hello, at 100 s; every random byte is this one."""
    config = ReplicationConfig("test", NodeName("a"), (KEY,))
    keys = [ClusterKey.create(KEY, cluster_tag("test"))]
    one = Membership(
        config,
        Opener(keys, BootId(b"a" * 16), 100.0),
        lambda size: bytes([byte]) * size,
        lambda _event, _now: None,
        lambda _boot, _now: None,
        100.0,
        lambda: 0.0,
    )
    assert one.hellos(100.0, dict)
    return one


@pytest.mark.parametrize(("byte", "wait"), [(0, 0.0), (51, 0.0008), (255, 0.004)])
def test_an_answer_waits_for_up_to_four_milliseconds(byte: int, wait: float) -> None:
    one = make_membership(byte)
    one.answer(100.1)
    assert one.get_timer() == pytest.approx(100.1 + wait, abs=1e-9)


def test_eight_answers_at_once_and_forty_a_second() -> None:
    one = make_membership(0)

    def answers(now: float) -> bool:
        one.answer(now)
        return bool(one.hellos(now, dict))

    assert [answers(100.1) for _ in range(9)] == [True] * 8 + [False]
    assert not answers(100.1 + 1 / 40 - SLACK)
    assert answers(100.1 + 1 / 40 + SLACK)
    assert not answers(100.1 + 1 / 40 + 2 * SLACK)


@dataclass(eq=False)
class Sender:
    served: int = 0


def test_the_first_that_has_sent_is_last_in_the_next_turn() -> None:
    pace = SharedPace(5_000_000, 0.0)
    assert list(pace.in_turn([])) == []
    one, two, three = tables = [Sender(), Sender(), Sender()]
    assert [id(table) for table in pace.in_turn(tables)] == [id(table) for table in tables]

    def order(*members: Sender) -> list[int]:
        return [tables.index(table) for table in pace.in_turn(members or tables)]

    def sends(*senders: Sender) -> None:
        for table in pace.in_turn(tables):
            if table in senders:
                pace.spend(1.0, 0.0)

    sends(one)
    assert order() == [1, 2, 0]
    assert order() == [1, 2, 0]
    sends(three)
    assert order() == [1, 0, 2]
    sends(two)
    assert order() == [0, 2, 1]
    sends(one, three)
    assert order() == [2, 1, 0], "of two that send in a turn, the second keeps its place"
    assert order(one, two) == [1, 0]


def test_so_much_of_a_pace_may_leave_at_once() -> None:
    assert SharedPace(5_000_000, 0.0).available(0.0) == 5_000_000 * PACE_BURST
    assert SharedPace(100_000, 0.0).available(0.0) == LEAST_BURST
