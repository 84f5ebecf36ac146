"""What OpenVPN says of its clients, for metrics: of all together, and of each when wanted.

Decides what is asked and when. Must never count: these are OpenVPN's figures, and start at zero
with it.
"""

from __future__ import annotations

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import ServerStatistics
from ovpnha.management.commands import ClientStatus, LoadStats, Room
from ovpnha.management.replies import ClientStatusReply, LoadStatsReply, RoomReply
from ovpnha.model import Role, ServerClient

ASK_EVERY = 5.0
"""Seconds between questions: often enough for a scrape every fifteen."""

CLIENTS_EVERY = 15.0
"""Seconds between questions for every client: OpenVPN does nothing else while it answers."""

SERVING = (Role.MASTER, Role.HELD)


class ServerFigures:
    """The figures of one OpenVPN, while it is connected."""

    def __init__(self, openvpn: Openvpn, *, per_client: bool) -> None:
        self._openvpn = openvpn
        self._per_client = per_client
        self._clients_at = 0.0
        self.last: ServerStatistics | None = None
        self.room: int | None = None  # fewest packet ids left to a client's newest key
        self.clients: tuple[ServerClient, ...] = ()
        self.due: float | None = None

    def start(self, now: float) -> None:
        """OpenVPN is there to be asked."""
        if self.due is None:
            self.due = now + ASK_EVERY

    def stop(self) -> None:
        """OpenVPN is gone: its figures are history."""
        self.last = self.room = self.due = None
        self.clients = ()

    def handle_timer(self, role: Role, now: float) -> None:
        """Ask when due."""
        if self.due is None or now < self.due:
            return
        self.due = now + ASK_EVERY
        self._openvpn.send(LoadStats())
        if role not in SERVING:
            self.room, self.clients = None, ()
            return
        self._openvpn.send(Room())
        if self._per_client and now >= self._clients_at:
            self._openvpn.send(ClientStatus())
            self._clients_at = now + CLIENTS_EVERY

    def take(self, reply: LoadStatsReply | RoomReply | ClientStatusReply, now: float) -> None:
        """OpenVPN has answered."""
        match reply:
            case LoadStatsReply(clients=clients, received=received, sent=sent):
                self.last = ServerStatistics(clients, received, sent, now)
            case RoomReply(clients=clients, lowest=lowest):
                self.room = lowest if clients else None
            case _:
                self.clients = reply.clients
