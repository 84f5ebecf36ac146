"""What OpenVPN says of its clients, for metrics: of all together, and of each when wanted.

Decides what is asked and when. Must never count: these are OpenVPN's figures, and start at zero
with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovpnha.management.commands import ClientStatus, LoadStats, Room
from ovpnha.management.replies import ClientStatusReply, LoadStatsReply, RoomReply
from ovpnha.model import Role, ServerClient
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part, PartStatistics

ASK_EVERY = 5.0
"""Seconds between questions: often enough for a scrape every fifteen."""

CLIENTS_EVERY = 15.0
"""Seconds between questions for every client: OpenVPN does nothing else while it answers."""

SERVING = (Role.MASTER, Role.HELD)


@dataclass(frozen=True)
class ServerStatistics:
    """What OpenVPN last said of all its clients together."""

    clients: int
    received: int  # bytes, since OpenVPN started
    sent: int
    when: float  # monotonic seconds


@dataclass(frozen=True)
class TrafficStatistics(PartStatistics):
    """The last figures."""

    server: ServerStatistics | None = None
    room: int | None = None  # as master: fewest packet ids left to a client's newest key


class Traffic(Part):
    """The figures of one OpenVPN, while it is connected."""

    def __init__(self, openvpn: Openvpn, role: Callable[[], Role], *, per_client: bool) -> None:
        self._openvpn = openvpn
        self._role = role
        self._per_client = per_client
        self._clients_at = 0.0
        self.last: ServerStatistics | None = None
        self.room: int | None = None  # fewest packet ids left to a client's newest key
        self.clients: tuple[ServerClient, ...] = ()
        self._due: float | None = None

    def start(self, now: float) -> None:
        """OpenVPN is there to be asked."""
        if self._due is None:
            self._due = now + ASK_EVERY

    def stop(self, _now: float) -> None:
        """OpenVPN is gone: its figures are history."""
        self.last = self.room = self._due = None
        self.clients = ()

    def get_timer(self) -> float | None:
        """When it is asked next."""
        return self._due

    def statistics(self, _now: float) -> TrafficStatistics:
        """What OpenVPN told last."""
        return TrafficStatistics(self.last, self.room)

    def handle_timer(self, now: float) -> None:
        """Ask when due."""
        if self._due is None or now < self._due:
            return
        self._due = now + ASK_EVERY
        self._openvpn.send(LoadStats())
        if self._role() not in SERVING:
            self.room, self.clients = None, ()
            return
        self._openvpn.send(Room())
        if self._per_client and now >= self._clients_at:
            self._openvpn.send(ClientStatus())
            self._clients_at = now + CLIENTS_EVERY

    def take(self, event: object, now: float) -> None:
        """OpenVPN has answered."""
        match event:
            case LoadStatsReply(clients=clients, received=received, sent=sent):
                self.last = ServerStatistics(clients, received, sent, now)
            case RoomReply(clients=clients, lowest=lowest):
                self.room = lowest if clients else None
            case ClientStatusReply(clients=told):
                self.clients = told
