"""Counts of another program go on when it is started again."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ovpnha.management.replies import StatusReply
from ovpnha.node.carried import CarriedCounts
from ovpnha.node.openvpn.openvpn import Openvpn
from tests.unit.node.doubles import INSTANCE, STATUS


def test_a_count_that_fell_has_begun_anew() -> None:
    carried = CarriedCounts()
    assert [carried.rise("one", count) for count in (5, 5, 7, 3, 3, 4)] == [5, 0, 2, 3, 0, 1]
    assert carried.rise("another", 2) == 2


def test_what_openvpn_counts_does_not_fall_when_another_openvpn_answers() -> None:
    openvpn = Openvpn(INSTANCE, deque())
    found = []
    for lapses, unreleased in ((2, 5), (3, 5), (0, 1), (1, 1)):
        openvpn.take(StatusReply(replace(STATUS, lapses=lapses, unreleased=unreleased)), 1.0)
        counters = openvpn.statistics(1.0).counters
        found.append((counters["waits_lapsed"], counters["waits_in_vain"]))
    assert found == [(2, 5), (3, 5), (3, 6), (4, 6)]
