"""Renegotiations between model servers and model clients, step by step.

As docs/adr/0014 and 0015 have it: the server's last message makes the client's new key, one round
trip before the server has it. Where a standby is in sync that message waits, as a pending key,
until the sidecar releases it, and a promoted standby sends it too; where not, nobody but the two
has the key.
A step is lost when a server dies, falls silent or is cut off, and tried again as long as both live
and are in that handshake. A client whose handshake nobody can finish is heard again and
again, and told to reconnect; one that only waits for the last message says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovpnha.model import Role

if TYPE_CHECKING:
    from tests.simulation.clients import Client
    from tests.simulation.service import Service
    from tests.simulation.truth import WatchedOpenvpn

TRIP = 0.003
"""Seconds that a packet takes between client and server."""
EXCHANGE = 4
"""Trips from the client's first answer to the server's last message."""
AGAIN = 0.25
"""Seconds after which a step that was lost is tried again."""
HEARD_AGAIN = 3.0
"""Seconds after which a client has repeated what nobody answers."""
GIVEN_UP = 2.0
"""Seconds after which a server ends a handshake that comes to nothing."""


@dataclass
class Handshake:
    """One renegotiation."""

    openvpn: WatchedOpenvpn
    uid: bytes
    begun: float
    client: Client | None  # None for one that is nothing but its server's idea
    key: bytes = b""  # what it gives, once the server's last message is written
    taken: bool = False  # the client has it
    resumed: bool = False  # another server has begun it


class Handshakes:
    """All that are under way in one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._clock = service.cluster.clock

    def begin(self, openvpn: WatchedOpenvpn, uid: bytes) -> None:
        """The server sends a soft reset."""
        client = self._service.clients.by_uid.get(uid)
        one = Handshake(openvpn, uid, self._clock.now, client)
        openvpn.handshakes[uid] = one
        self._service.truth.note_change(uid)
        self._later(TRIP, self._answer, one)

    def _answer(self, one: Handshake) -> None:
        """The client takes part: from here on it takes no other."""
        client = one.client
        if not self._passes(one) or (client is not None and client.handshake is not None):
            self._try_again(self._answer, one)
            return
        if client is not None:
            client.handshake = one
        self._later(EXCHANGE * TRIP, self._finish, one)

    def _finish(self, one: Handshake) -> None:
        """All but the last message is said; the server writes that."""
        if not self._passes(one):
            self._try_again(self._finish, one)
        elif one.openvpn.write_message(one):
            self.deliver(one)
        self._pump(one)

    def deliver(self, one: Handshake) -> None:
        """The server's last message leaves."""
        if self._passes(one):
            self._later(TRIP, self._take, one)
        else:
            self._try_again(self.deliver, one)

    def resume(self, openvpn: WatchedOpenvpn, uid: bytes, key: bytes) -> None:
        """A promoted server sends the message of the one before it."""
        client = self._service.clients.by_uid.get(uid)
        one = Handshake(openvpn, uid, self._clock.now, client, key, resumed=True)
        openvpn.handshakes[uid] = one
        self.deliver(one)

    def _take(self, one: Handshake) -> None:
        """The message arrives: the client makes the key, whatever became of its server."""
        if one.client is None or self._understands(one.client, one):
            one.taken = True
            self._later(TRIP, self._acknowledge, one)

    def _understands(self, client: Client, one: Handshake) -> bool:
        """Whether this message ends the client's handshake, or has ended it before."""
        if client.uid != one.uid:
            return False
        if client.handshake is not None and client.keys[0] != one.key:
            client.take_key(one.key, self._clock.now)
        return client.keys[0] == one.key

    def _acknowledge(self, one: Handshake) -> None:
        """The client's answer arrives: the server has the key, and the handshake is over."""
        if not self._passes(one):
            self._try_again(self._acknowledge, one)
            return
        one.openvpn.establish(one)
        if one.client is not None:
            one.client.handshake = None
        self._pump(one)

    def kick(self, openvpn: WatchedOpenvpn, uid: bytes) -> None:
        """A client takes the message if it still has the key under which it comes."""
        client, there = self._service.clients.by_uid.get(uid), openvpn.clients.get(uid)
        if client is None or there is None:
            return
        if there.sending().fingerprint in client.keys:
            self._service.clients.kick(openvpn, uid)

    def heal(self, openvpn: WatchedOpenvpn) -> None:
        """Who is heard inside a handshake with another server is told to reconnect."""
        for uid in sorted(openvpn.clients):
            client = self._service.clients.by_uid.get(uid)
            one = client.handshake if client is not None else None
            if (
                one is not None
                and one.openvpn is not openvpn
                and self._clock.now > one.begun + HEARD_AGAIN
                and not openvpn.clients[uid].keys[0].pending
            ):
                self._service.clients.kick(openvpn, uid)

    def bereft_by(self, openvpn: WatchedOpenvpn) -> list[str]:
        """The clients of which no master, nor held node, has another copy."""
        return [one.name for one in self._service.clients.bereft_by(openvpn)]

    def _later(self, delay: float, step: Callable[[Handshake], None], one: Handshake) -> None:
        self._clock.later(delay, step, one)

    def _try_again(self, step: Callable[[Handshake], None], one: Handshake) -> None:
        """Unless one of them is gone, or it has taken too long."""
        if not self._lives(one):
            return
        there = one.client is None or one.client.uid == one.uid
        if there and (one.taken or self._clock.now - one.begun < GIVEN_UP):
            self._later(AGAIN, step, one)
        else:
            one.openvpn.give_up(one.uid)
            self._pump(one)

    def _lives(self, one: Handshake) -> bool:
        """Whether the server knows of it, silent or not."""
        return not one.openvpn.dead and one.openvpn.handshakes.get(one.uid) is one

    def _passes(self, one: Handshake) -> bool:
        """Whether a packet between the two arrives, and is answered."""
        if not self._lives(one) or not one.openvpn.plays(Role.MASTER):
            return False
        if one.client is None:
            return True
        server = self._service.clients.server_of(one.client)
        there = server is not None and server[1] is one.openvpn
        return there and one.client.uid == one.uid

    def _pump(self, one: Handshake) -> None:
        if not one.openvpn.dead:
            one.openvpn.place.pump()
