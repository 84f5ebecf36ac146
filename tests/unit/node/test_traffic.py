"""OpenVPN is asked for its figures while it is there, and not more often than said."""

from __future__ import annotations

from collections import deque

import pytest

from ovpnha.management.replies import ClientStatusReply, LoadStatsReply, RoomReply
from ovpnha.model import InstanceName, Role, ServerClient
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.openvpn.traffic import (
    ASK_EVERY,
    CLIENTS_EVERY,
    WATCH_EVERY,
    WATCH_FOR,
    WATCH_LATER,
    ServerStatistics,
    Traffic,
)
from ovpnha.node.outputs import Output, WriteManagement

CLIENT = ServerClient("alice", "", "192.0.2.1:5000", "10.8.0.2", "1790000000", 100, 200)


class Asked:
    def __init__(self, *, per_client: bool = False) -> None:
        self._outputs: deque[Output] = deque()
        self._openvpn = Openvpn(InstanceName("udp"), self._outputs)
        self._openvpn.open()
        self.role = Role.STANDBY
        self.figures = Traffic(self._openvpn, lambda: self.role, per_client=per_client)

    def at(self, now: float, role: Role = Role.STANDBY) -> bytes:
        """What is asked at this moment."""
        self._outputs.clear()
        self.role = role
        self.figures.handle_timer(now)
        self._openvpn.flush()
        assert all(isinstance(one, WriteManagement) for one in self._outputs)
        return b"".join(one.data for one in self._outputs if isinstance(one, WriteManagement))


def test_it_is_asked_while_it_is_there() -> None:
    asked = Asked()
    figures = asked.figures
    assert asked.at(100.0) == b""
    figures.start(10.0)
    figures.start(12.0)
    assert figures.get_timer() == 10.0 + ASK_EVERY
    assert asked.at(14.0) == b""
    assert asked.at(15.0) == b"load-stats\n"
    figures.take(LoadStatsReply(3, 10, 20), 15.1)
    assert figures.last == ServerStatistics(3, 10, 20, 15.1)
    figures.stop(16.0)
    assert [figures.last, figures.get_timer()] == [None, None]


def test_only_who_serves_is_asked_for_room() -> None:
    asked = Asked()
    figures = asked.figures
    figures.start(0.0)
    assert asked.at(5.0, Role.MASTER) == b"load-stats\ncluster-room\n"
    figures.take(RoomReply(2, 77), 5.1)
    assert figures.room == 77
    figures.take(RoomReply(0, 0), 5.2)
    assert figures.room is None
    figures.take(RoomReply(2, 77), 5.3)
    assert asked.at(10.0, Role.STANDBY) == b"load-stats\n"
    assert figures.room is None


def test_each_client_is_asked_for_when_wanted() -> None:
    asked = Asked(per_client=True)
    figures = asked.figures
    figures.start(0.0)
    every = b"load-stats\ncluster-room\n"
    assert asked.at(ASK_EVERY, Role.MASTER) == every + b"status 3\n"
    figures.take(ClientStatusReply((CLIENT,)), 5.1)
    assert figures.clients == (CLIENT,)
    assert asked.at(2 * ASK_EVERY, Role.MASTER) == every
    assert asked.at(ASK_EVERY + CLIENTS_EVERY, Role.MASTER) == every + b"status 3\n"
    assert asked.at(100.0, Role.STANDBY) == b"load-stats\n"
    assert len(figures.clients) == 0


def make_watching(role: Role = Role.STANDBY) -> Asked:
    """Promoted at 100.0, because of something at 99.0; 10 bytes were received before."""
    asked = Asked()
    asked.figures.start(90.0)
    asked.figures.take(LoadStatsReply(3, 10, 20), 95.0)
    asked.role = role
    asked.figures.watch(99.0, 100.0)
    assert asked.figures.watching
    return asked


def test_the_first_packet_after_a_promotion_is_found() -> None:
    asked = make_watching()
    figures = asked.figures
    figures.take(LoadStatsReply(3, 10, 20), 100.01)
    assert figures.get_timer() == 95.0  # the question that is due anyway
    asked.at(95.0)
    assert figures.get_timer() == 95.0 + ASK_EVERY
    figures.take(LoadStatsReply(3, 11, 20), 100.06)
    assert figures.first_packet == pytest.approx(1.06)
    assert not figures.watching
    figures.take(LoadStatsReply(3, 99, 20), 101.0)
    assert figures.first_packet == pytest.approx(1.06), "only the first one counts"


def test_it_is_asked_often_then_less_then_no_more() -> None:
    asked = make_watching()
    figures = asked.figures
    asked.at(100.0)  # what is due every five seconds is out of the way
    moments: list[float] = []
    now = 100.0
    while figures.watching and len(moments) < 1000:
        figures.take(LoadStatsReply(3, 10, 20), now)
        due = figures._watch_due
        if due is not None:
            moments.append(due - now)
            now = due
            assert b"load-stats" in asked.at(now)
    assert figures.first_packet is None
    assert moments[0] == pytest.approx(WATCH_EVERY)
    assert moments[-1] == pytest.approx(WATCH_LATER)
    assert now == pytest.approx(100.0 + WATCH_FOR, abs=WATCH_LATER)
    assert len(moments) < 60


def test_a_second_answer_does_not_put_the_next_question_off() -> None:
    asked = make_watching()
    figures = asked.figures
    figures.take(LoadStatsReply(3, 10, 20), 100.01)
    due = figures._watch_due
    figures.take(LoadStatsReply(3, 10, 20), 100.02)
    assert figures._watch_due == due


def test_who_heard_clients_before_begins_with_the_first_answer() -> None:
    figures = make_watching(Role.HELD).figures
    figures.take(LoadStatsReply(3, 500, 20), 100.01)
    assert figures.first_packet is None
    figures.take(LoadStatsReply(3, 501, 20), 100.07)
    assert figures.first_packet == pytest.approx(1.07)


def test_an_openvpn_that_is_gone_is_not_watched() -> None:
    figures = make_watching().figures
    figures.stop(101.0)
    assert not figures.watching
    assert figures.get_timer() is None
