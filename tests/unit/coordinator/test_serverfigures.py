"""OpenVPN is asked for its figures while it is there, and not more often than said."""

from __future__ import annotations

from collections import deque

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import Output, ServerStatistics, WriteManagement
from ovpnha.coordinator.serverfigures import ASK_EVERY, ServerFigures
from ovpnha.management.replies import LoadStatsReply
from ovpnha.model import InstanceName


def test_it_is_asked_while_it_is_there() -> None:
    outputs: deque[Output] = deque()
    openvpn = Openvpn(InstanceName("udp"), outputs)
    openvpn.open()
    figures = ServerFigures(openvpn)
    figures.handle_timer(100.0)
    figures.start(10.0)
    figures.start(12.0)
    assert figures.due == 10.0 + ASK_EVERY
    figures.handle_timer(14.0)
    openvpn.flush()
    assert not outputs
    figures.handle_timer(15.0)
    openvpn.flush()
    assert outputs == deque([WriteManagement(InstanceName("udp"), b"load-stats\n")])
    figures.take(LoadStatsReply(3, 10, 20), 15.1)
    assert figures.last == ServerStatistics(3, 10, 20, 15.1)
    figures.stop()
    assert [figures.last, figures.due] == [None, None]
