"""A master dies with clients in every state: what its heir owes them.

For one service of a settled cluster, so that all its clients are protected: one has just connected,
others are inside renegotiations.
"""

from __future__ import annotations

from tests.model_openvpn import ModelClient
from tests.simulation.checks import PATIENCE, check_keys, is_caught
from tests.simulation.clients import Client
from tests.simulation.server import Server
from tests.simulation.service import Service
from tests.simulation.truth import WatchedOpenvpn

RENEGOTIATING = 6
"""Most clients that are inside a renegotiation."""
WITHIN = 0.04
"""Seconds before the death in which these begin."""
HEARD = 0.005
"""Seconds after which a standby has heard of a renegotiation."""
INSTANT = 0.0001
"""Seconds within which a released client is noticed."""


class Death:
    """Of the master of one service."""

    def __init__(self, service: Service, master: Server) -> None:
        assert master.openvpn is not None
        self._service = service
        self._clock = master.clock
        self._master = master
        self._openvpn = master.openvpn
        self._clients: dict[bytes, ModelClient] = {}
        self._begun: dict[bytes, float] = {}  # renegotiations: when each has begun
        self._caught: dict[bytes, Client] = {}
        self._died = 0.0
        uids = self._openvpn.clients
        self._accepted = {uid for uid in uids if self._is_accepted(self._openvpn, uid)}
        master.pump()

    def connect_last(self) -> None:
        """A client completes its connection in the moment before."""
        if not self._openvpn.holds_new:
            self._service.truth.violate("new clients do not wait", self._master.name)
        uid = self._openvpn.connect_client("last")
        self._master.pump()
        end = self._clock.now + PATIENCE
        while uid in self._openvpn.held_back and self._clock.now < end:
            self._clock.run_to(self._clock.now + INSTANT)

    def renegotiate_last(self) -> None:
        """Clients will renegotiate in the last moments."""
        rng = self._service.cluster.rng
        free = [uid for uid in self._openvpn.clients if uid not in self._openvpn.handshakes]
        for uid in rng.sample(free, min(RENEGOTIATING, len(free))):
            self._clock.later(rng.random() * WITHIN, self._begin, uid)

    def _begin(self, uid: bytes) -> None:
        if uid in self._openvpn.clients and not self._openvpn.dead:
            self._openvpn.renegotiate(uid)
            self._begun[uid] = self._clock.now
            self._master.pump()

    def come(self) -> None:
        """Now."""
        self._died = self._clock.now
        self._clients = dict(self._openvpn.clients)

    def heir(self) -> WatchedOpenvpn | None:
        """Who serves now."""
        holder = self._service.holder()
        return holder.serving() if holder is not None else None

    def judge(self) -> None:
        """There is an heir; every client is his, accepts it, and has no key that it has not."""
        truth, heir = self._service.truth, self.heir()
        if heir is None:
            truth.violate("nobody takes over", self._service.instance)
            return
        for uid, client in self._clients.items():
            held = heir.clients.get(uid)
            if held is None or (held.generation < client.generation and uid not in self._begun):
                truth.violate("a protected client is lost", uid.hex())
            elif uid in self._accepted and not self._is_accepted(heir, uid):
                truth.violate("a client refuses its new master", uid.hex())
        check_keys(self._service, heir, self._begun)

    def caught(self) -> bool:
        """Whether anybody is inside a handshake that the heir has heard of."""
        heir, clients = self.heir(), self._service.clients.by_uid
        if heir is not None:
            self._caught = {
                uid: clients[uid]
                for uid, at in self._begun.items()
                if self._died - at > HEARD and uid in clients and is_caught(clients[uid], heir)
            }
        return bool(self._caught)

    def judge_caught(self) -> None:
        """Its handshake was finished by the heir, or it was told to reconnect."""
        heir = self.heir()
        for uid, client in self._caught.items():
            if heir is not None and client.uid == uid and is_caught(client, heir):
                text = f"{client.name} is inside a handshake with a server that is gone"
                self._service.truth.violate("a client is left in its handshake", text)

    def _is_accepted(self, openvpn: WatchedOpenvpn, uid: bytes) -> bool:
        """Whether a client takes a packet; one that saw a rival's higher ids waits for new keys."""
        sending = openvpn.clients[uid].sending().fingerprint
        top = self._service.truth.top.get(sending, 0)
        number = openvpn.send_packet(uid)
        return number is not None and number > top
