"""OpenVPN is asked for its figures while it is there, and not more often than said."""

from __future__ import annotations

from collections import deque

from ovpnha.management.replies import ClientStatusReply, LoadStatsReply, RoomReply
from ovpnha.model import InstanceName, Role, ServerClient
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.openvpn.traffic import ASK_EVERY, CLIENTS_EVERY, ServerStatistics, Traffic
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
