"""What OpenVPN says of its clients, for metrics: of all together, and of each when wanted.

Decides what is asked and when. Must never count: these are OpenVPN's figures, and start at zero
with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovpnha.management.commands import ClientStatus, LoadStats, Room
from ovpnha.management.replies import ClientStatusReply, LoadStatsReply, RoomReply
from ovpnha.model import SOURCES, Role, ServerClient
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part, PartStatistics, first

ASK_EVERY = 5.0
"""Seconds between questions: often enough for a scrape every fifteen."""

WATCH_EVERY = 0.05
WATCH_LATER = 0.25
WATCH_OFTEN = 1.0
WATCH_FOR = 10.0
"""After a promotion it is asked so often for a second, then less, for ten, until a client is heard:
so the history can say when, good to the time between two questions."""

CLIENTS_EVERY = 15.0
"""Seconds between questions for every client: OpenVPN does nothing else while it answers."""


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
        self.patched = True  # OpenVPN knows packet ids of its clients
        self._due: float | None = None
        self._cause = 0.0  # of the promotion that is watched
        self._watch_until: float | None = None
        self._watch_due: float | None = None
        self._baseline: int | None = None  # bytes received before the promotion
        self.first_packet: float | None = None
        """Seconds from the cause of the last promotion until a client was heard; None: not yet."""

    def watch(self, cause: float, now: float) -> None:
        """A promotion was ordered: find out when the first packet of a client comes.

        On a standby none comes, so what was counted there is what there was before; on a held node
        clients were heard meanwhile, and the first answer after the order has to do.
        """
        silent = self._role() is Role.STANDBY and self.last is not None
        self._baseline = self.last.received if silent and self.last is not None else None
        self._cause, self.first_packet = cause, None
        self._watch_until, self._watch_due = now + WATCH_FOR, None
        self._openvpn.send(LoadStats())

    @property
    def watching(self) -> bool:
        """Whether the first packet is still looked for."""
        return self._watch_until is not None

    def start(self, now: float) -> None:
        """OpenVPN is there to be asked."""
        if self._due is None:
            self._due = now + ASK_EVERY

    def stop(self, _now: float) -> None:
        """OpenVPN is gone: its figures are history."""
        self.last = self.room = self._due = None
        self._watch_until = self._watch_due = None
        self.clients = ()
        self.patched = True

    def get_timer(self) -> float | None:
        """When it is asked next."""
        return first((self._due, self._watch_due))

    def statistics(self, _now: float) -> TrafficStatistics:
        """What OpenVPN told last."""
        return TrafficStatistics(self.last, self.room)

    def handle_timer(self, now: float) -> None:
        """Ask when due."""
        if self._watch_due is not None and now >= self._watch_due:
            self._watch_due = None
            self._openvpn.send(LoadStats())
        if self._due is None or now < self._due:
            return
        self._due = now + ASK_EVERY
        self._openvpn.send(LoadStats())
        if self._role() not in SOURCES:
            self.room, self.clients = None, ()
            return
        if not self.patched:
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
                self._look(received, now)
            case RoomReply(clients=clients, lowest=lowest):
                self.room = lowest if clients else None
            case ClientStatusReply(clients=told):
                self.clients = told

    def _look(self, received: int, now: float) -> None:
        """Whether a client was heard since the promotion."""
        if self._watch_until is None:
            return
        if self._baseline is None:
            self._baseline = received
        if received > self._baseline:
            self.first_packet = now - self._cause
        if received > self._baseline or now >= self._watch_until:
            self._watch_until = self._watch_due = None
        elif self._watch_due is None:
            often = now < self._watch_until - WATCH_FOR + WATCH_OFTEN
            self._watch_due = now + (WATCH_EVERY if often else WATCH_LATER)
