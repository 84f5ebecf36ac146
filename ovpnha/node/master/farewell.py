"""Clients of a server that is about to end are told to reconnect, one after the other.

::

    begin ─► no handshake begins ─SETTLES─► who is connected? ─► told, ``rate`` a second ─► told
                    ▲                             ▲                       │
                    └─── again and again ─────────┴── AGAIN_AFTER the last one, until nobody is new

Decides whom, when, and how often. Nobody is let in meanwhile, so that nobody is thrown out twice;
who is not told yet is served. The word goes through the control channel, where OpenVPN repeats it
after two seconds, and ``AGAIN_AFTER`` later through the data channel: a lost packet costs nobody
his ``ping-restart``. When all know it OpenVPN need not say goodbye at its end, which would take two
seconds more. If nobody asks for it any more, as whoever wanted it has ended, all is as before:
OpenVPN serves, and who was told comes back. Must never be said unless master.
Rules: docs/adr/0081-told-one-after-the-other.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ovpnha.management.commands import ClientStatus, Identities, Kick, KickClient
from ovpnha.management.replies import ClientStatusReply, IdentitiesReply
from ovpnha.model import ServerClient, Uid
from ovpnha.node.master.protection import Protection
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part, first

LONGEST = 12.0
"""Seconds that it takes at most: a client that is told earlier than 15 s before the next server is
there tries 14 s after its first try, in vain, and then only after 30."""
AGAIN_AFTER = 0.5
"""Seconds until a client is told once more. Within the first second it begins nothing new."""
SETTLES = 2.0
"""Seconds until nobody is new any more: who was answered just before may still come in."""
QUIESCE_EVERY = 2.0
ASKED_FOR = 3.0
"""Seconds after which nobody seems to want it any more."""
LEFT_FOR = 40.0
"""The same, when all know it: the process is being stopped, and nobody asks. More than a unit takes
for that, however it ends."""


@dataclass(frozen=True)
class FarewellFigures:
    """How far it has come."""

    active: bool = False
    clients: int = 0  # who was there
    told: int = 0
    done: bool = False  # nobody is left who does not know


NO_FAREWELL = FarewellFigures()


class Farewell(Part):
    """The clients of a master that is to end."""

    def __init__(self, openvpn: Openvpn, protection: Protection, rate: float) -> None:
        self._openvpn = openvpn
        self._protection = protection
        self._least_rate = rate
        self._forget()

    def _forget(self) -> None:
        self._until: float | None = None  # so long somebody wants it; None: nobody does
        self._rate = self._least_rate
        self._uids: Mapping[int, Uid] = {}
        self._known: set[int] = set()
        self._queue: deque[int] = deque()
        self._again: deque[tuple[float, Uid]] = deque()  # who is told once more, and when
        self._told = 0
        self._listening = self._done = False
        self._next_at = self._ask_at = self._quiesce_at = 0.0

    def begin(self, now: float) -> None:
        """As master: tell all clients; or go on with it."""
        if self._until is None:
            self._openvpn.log("warning", "clients are told to reconnect")
            self._quiesce_at = now
            self._ask_at, self._next_at = now + SETTLES, now
            self._until = now + ASKED_FOR
            self._look(now)
        elif not self._done:
            self._until = now + ASKED_FOR

    def end(self, now: float) -> None:
        """Whoever wanted it has changed his mind, or it is over."""
        if self._until is None:
            return
        self._openvpn.log("info", "no more clients are told to reconnect", told=self._told)
        self._protection.take_leave(on=False, now=now)
        self._openvpn.quiesce(on=False)
        self._forget()

    def stop(self, _now: float) -> None:
        """It has ended, or says nothing to clients any more."""
        self._forget()

    def take(self, event: object, now: float) -> None:
        """Who is connected, as OpenVPN tells."""
        match event:
            case IdentitiesReply(uids=uids) if self._until is not None:
                self._uids = uids
            case ClientStatusReply(clients=clients) if self._listening:
                self._listening = False
                self._take_clients(clients, now)

    def _take_clients(self, clients: Iterable[ServerClient], now: float) -> None:
        fresh = [one.cid for one in clients if one.cid >= 0 and one.cid not in self._known]
        self._known.update(fresh)
        self._queue.extend(fresh)
        self._rate = max(self._rate, len(self._queue) / LONGEST)
        if not fresh and not self._done:
            self._done, self._until = True, now + LEFT_FOR
            self._protection.take_leave(on=True, now=now)
        self._next_at = max(self._next_at, now)
        self._tell(now)

    def get_timer(self) -> float | None:
        """When something is to be said or asked."""
        if self._until is None:
            return None
        again = self._again[0][0] if self._again else None
        due = self._next_at if self._queue else None
        return first((self._until, self._quiesce_at, again, due, self._asks_at()))

    def handle_timer(self, now: float) -> None:
        """Say what is due."""
        if self._until is None:
            return
        if now >= self._until:
            self.end(now)
            return
        self._tell(now)
        self._look(now)

    def _look(self, now: float) -> None:
        """Have nobody let in, and see who is there."""
        if now >= self._quiesce_at:
            self._quiesce_at = now + QUIESCE_EVERY
            self._openvpn.quiesce(on=True)
        at = self._asks_at()
        if at is not None and now >= at:
            self._listening = True
            self._openvpn.send(Identities())
            self._openvpn.send(ClientStatus())

    def _asks_at(self) -> float | None:
        """When OpenVPN is asked once more who is there; None: other things come first."""
        busy = self._queue or self._again or self._listening or self._done
        return None if busy else self._ask_at

    def _tell(self, now: float) -> None:
        while self._again and self._again[0][0] <= now:
            self._openvpn.send(Kick(self._again.popleft()[1]))
        while self._queue and self._next_at <= now:
            self._next_at += 1.0 / self._rate
            cid = self._queue.popleft()
            self._openvpn.send(KickClient(cid))
            self._told += 1
            self._ask_at = now + AGAIN_AFTER
            if (uid := self._uids.get(cid)) is not None:
                self._again.append((now + AGAIN_AFTER, uid))

    def statistics(self, _now: float) -> FarewellFigures:
        """How far it has come."""
        active = self._until is not None
        return FarewellFigures(active, len(self._known), self._told, self._done)
