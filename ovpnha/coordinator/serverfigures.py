"""What OpenVPN says of all its clients together, for metrics.

Decides when it is asked. Must never count: these are OpenVPN's figures, and start at zero with it.
"""

from __future__ import annotations

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import ServerStatistics
from ovpnha.management.commands import LoadStats
from ovpnha.management.replies import LoadStatsReply

ASK_EVERY = 5.0
"""Seconds between questions: often enough for a scrape every fifteen."""


class ServerFigures:
    """The figures of one OpenVPN, while it is connected."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._last: ServerStatistics | None = None
        self.due: float | None = None

    def start(self, now: float) -> None:
        """OpenVPN is there to be asked."""
        if self.due is None:
            self.due = now + ASK_EVERY

    def stop(self) -> None:
        """OpenVPN is gone: its figures are history."""
        self._last = self.due = None

    def handle_timer(self, now: float) -> None:
        """Ask when due."""
        if self.due is not None and now >= self.due:
            self._openvpn.send(LoadStats())
            self.due = now + ASK_EVERY

    def take(self, reply: LoadStatsReply, now: float) -> None:
        """OpenVPN has answered."""
        self._last = ServerStatistics(reply.clients, reply.received, reply.sent, now)

    @property
    def last(self) -> ServerStatistics | None:
        """The newest answer; None when there is none."""
        return self._last
