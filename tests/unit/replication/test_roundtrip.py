"""Distance and clock of another node, as told by hellos that travel anyway."""

from __future__ import annotations

import pytest

from ovpnha.replication.roundtrip import (
    ROUNDS_JUDGED,
    ROUNDS_KEPT,
    SAMPLES,
    Distance,
    Heard,
    LinkRounds,
    Sample,
    SentRounds,
    pack_heard,
    unpack_heard,
)
from tests.unit.replication.network import Link, Network


def test_what_was_heard_is_packed() -> None:
    heard = (Heard(1, 0.25), Heard((1 << 32) - 1, 0.0))
    assert unpack_heard(pack_heard(heard)) == heard
    assert unpack_heard(pack_heard((Heard(1 << 32, -1.0),))) == (Heard(0, 0.0),)
    (late,) = unpack_heard(pack_heard((Heard(1, 1e6),)))
    assert late.age == pytest.approx(4294.967295)
    assert unpack_heard(b"1234567") == ()


def test_only_late_rounds_are_remembered() -> None:
    sent = SentRounds()
    for number in range(1, ROUNDS_KEPT + 2):
        sent.note(number, float(number))
    assert sent.round_trip(Heard(1, 0.0), 50.0) is None
    assert sent.round_trip(Heard(2, 47.75), 50.0) == 0.25
    assert sent.round_trip(Heard(2, 60.0), 50.0) == 0.0


def test_the_shortest_way_counts() -> None:
    peer = Distance()
    assert peer.best is None
    peer.add(0.5, 1000.0, 1000.0)
    peer.add(0.1, 1002.0, 1000.0)
    assert peer.best is not None
    assert (peer.best.round_trip, peer.best.offset) == (0.1, pytest.approx(2.05))
    for _ in range(SAMPLES):
        peer.add(0.3, 0.0, 1000.0)
    assert peer.best == Sample(0.3, None)


def test_a_repeated_round_is_no_news() -> None:
    peer = Distance()
    assert peer.heard(5.0).round == 0
    assert peer.arrived(7, 1.0)
    assert not peer.arrived(7, 2.0)
    assert not peer.arrived(6, 2.0)
    assert peer.heard(3.0) == Heard(7, 2.0)


def test_nodes_measure_each_other() -> None:
    network = Network(link=Link(delay=0.002))
    a, b = network.start("a", wall=3.0), network.start("b", wall=-4.0)
    network.run(2.0)
    (seen,) = a.protocol.statistics().nodes
    assert seen.distance is not None
    assert seen.distance.round_trip == pytest.approx(0.004, abs=1e-5)
    assert seen.distance.offset == pytest.approx(-7.0, abs=0.001)
    (other,) = b.protocol.statistics().nodes
    assert other.distance is not None
    assert other.distance.offset == pytest.approx(7.0, abs=0.001)


def heard_by(*rounds: int) -> LinkRounds:
    one = LinkRounds()
    for number in rounds:
        one.note("bcn0", number)
    return one


def test_a_link_that_brings_every_round_loses_nothing() -> None:
    assert heard_by(5).losses() == {}
    assert heard_by(*range(5, 200)).losses() == {"bcn0": 0.0}
    assert heard_by(5, 7, 6, 7, 8).losses() == {"bcn0": 0.0}


def test_what_a_link_loses_is_a_share_of_its_last_rounds() -> None:
    assert heard_by(*range(0, 1000, 2)).losses() == {"bcn0": 0.5}
    assert heard_by(1, 2, 3, 5).losses() == {"bcn0": 0.25}
    assert heard_by(1, *range(5000, 5100)).losses() == {"bcn0": 0.0}
    assert heard_by(1, 1 << 63, 2).losses() == {"bcn0": 1.0}


def test_each_link_counts_from_its_first_round_and_a_dead_one_loses_all() -> None:
    one = heard_by(*range(100))
    one.note("bcn1", 98)
    assert one.losses() == {"bcn0": 0.0, "bcn1": 0.0}
    for number in range(100, 100 + ROUNDS_JUDGED + 1):
        one.note("bcn0", number)
    assert one.losses() == {"bcn0": 0.0, "bcn1": 1.0}


def test_the_last_round_that_is_judged_may_come_last() -> None:
    rounds = LinkRounds()
    first = 100
    rounds.note("a", first - 1)
    for number in range(first + 1, first + ROUNDS_JUDGED + 1):
        rounds.note("a", number)
    assert rounds.losses() == {"a": 1 / ROUNDS_JUDGED}
    rounds.note("a", first)
    assert rounds.losses() == {"a": 0.0}
    rounds.note("a", first - 1)  # too old to be looked at
    assert rounds.losses() == {"a": 0.0}
