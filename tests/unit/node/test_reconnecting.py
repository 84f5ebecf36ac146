"""Clients whose newest keys are nowhere are told to reconnect."""

from __future__ import annotations

from ovpnha.management.notices import DownNotice
from ovpnha.node.master.reconnecting import AGAIN_AFTER, TIMES, Reconnecting
from tests.unit.node.doubles import Desk, uid


def kicks(desk: Desk) -> list[str]:
    return [one.split()[1] for one in desk.commands() if one.startswith("cluster-kick")]


def test_they_are_told_three_times_unless_they_go() -> None:
    desk = Desk()
    one = Reconnecting(desk.openvpn)
    one.begin([uid(2), uid(1)], 10.0)
    assert kicks(desk) == [uid(1).hex(), uid(2).hex()]
    one.take(DownNotice(uid(1)), 10.1)
    one.handle_timer(10.0 + AGAIN_AFTER - 0.01)
    assert kicks(desk) == []
    told = 1
    while (due := one.get_timer()) is not None:
        one.handle_timer(due)
        assert kicks(desk) == [uid(2).hex()]
        told += 1
    assert told == TIMES


def test_nobody_is_told_by_who_is_no_master_any_more() -> None:
    desk = Desk()
    one = Reconnecting(desk.openvpn)
    one.begin([uid(1)], 10.0)
    kicks(desk)
    one.stop(10.1)
    one.handle_timer(20.0)
    one.begin([], 20.0)
    assert one.get_timer() is None
    assert kicks(desk) == []


def test_what_was_said_may_be_lost_with_the_channel_and_is_said_again() -> None:
    desk = Desk()
    one = Reconnecting(desk.openvpn)
    one.begin([uid(1), uid(2)], 10.0)
    kicks(desk)
    one.stop(10.1)
    one.take(DownNotice(uid(1)), 10.2)
    one.resume(11.0)
    told = kicks(desk)
    while (due := one.get_timer()) is not None:
        one.handle_timer(due)
        told += kicks(desk)
    assert told == TIMES * [uid(2).hex()]
    one.resume(20.0)
    assert kicks(desk) == [], "who has not gone by now hears us well"


def test_who_is_not_ours_any_more_is_told_nothing() -> None:
    desk = Desk()
    one = Reconnecting(desk.openvpn)
    one.begin([uid(1)], 10.0)
    kicks(desk)
    one.stop(10.1)
    one.clear()
    one.resume(11.0)
    assert kicks(desk) == []
