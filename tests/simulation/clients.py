"""Model clients: stock OpenVPN clients that know nothing of a cluster.

A client sends to the VIP, knows the keys it negotiated, accepts only packet ids above those it has
seen, and begins anew when it hears nothing for ``PING_RESTART``. In a renegotiation it has the new
key once it gets the server's last word, and goes on sending under the old one for a while. The
server reaps what is silent, and tells to reconnect who uses a key that it has not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model_openvpn import ModelClient
from tests.simulation.truth import WatchedOpenvpn

if TYPE_CHECKING:
    from tests.simulation.handshakes import Handshake
    from tests.simulation.server import Server
    from tests.simulation.service import Service

TICK = 0.25
PING_RESTART = 1.5
SERVER_RESTART = 2.5
SWITCH = 1.5
"""Most seconds for which a client sends under the old key once it has a new one."""
HEAL = 1.0
"""Seconds of packets under an unknown key after which a server tells to reconnect."""
HAND_WINDOW = 8.0
"""Seconds after which a client gives up a handshake, and begins anew."""


@dataclass
class Client:
    """One of them."""

    name: str
    place: int  # the machine that it stays beside when the clients' network falls apart
    uid: bytes = b""
    keys: list[bytes] = field(default_factory=list)
    seen: dict[bytes, int] = field(default_factory=dict)
    heard: float = 0.0
    refused: int = 0
    restarts: int = 0
    wanted: bool = True
    waits_at: WatchedOpenvpn | None = None  # who has not completed its connection yet
    handshake: Handshake | None = None  # the renegotiation it is inside
    switch_at: float = 0.0  # when it begins to send under its newest key
    lost_since: float | None = None  # when its server first lacked the key it uses

    def sends_under(self, now: float) -> bytes:
        """The key of its packets."""
        return self.keys[0] if now >= self.switch_at or len(self.keys) < 2 else self.keys[1]

    def take_key(self, key: bytes, now: float) -> None:
        """It has a new key."""
        self.keys = [key, self.keys[0]]
        self.seen = {one: self.seen.get(one, 0) for one in self.keys}
        self.switch_at = now + SWITCH * (key[0] / 255)


class Clients:
    """All clients, and what servers know of their silence."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._cluster = service.cluster
        self.all: list[Client] = []
        self.by_uid: dict[bytes, Client] = {}
        self._last: dict[tuple[int, bytes], float] = {}  # machine, uid: when it last sent
        self.frozen = False  # no traffic, nobody comes or goes

    def add(self, count: int) -> None:
        """New clients; they connect at their next tick."""
        cluster = self._cluster
        for _ in range(count):
            number = len(self.all)
            client = Client(self._service.label(f"c{number}"), number % len(cluster.machines))
            self.all.append(client)
            cluster.clock.later(cluster.rng.random() * TICK, self._tick, client)

    def thaw(self) -> None:
        """Go on as if no time had passed."""
        self.frozen = False
        for client in self.all:
            client.heard = self._cluster.clock.now
        self._last.clear()

    def connected(self) -> list[Client]:
        """The clients that have, or believe that they have, a session."""
        return [one for one in self.all if one.uid]

    def forget_process(self, server: Server) -> None:
        """A new OpenVPN knows of no silence."""
        self._last = {key: at for key, at in self._last.items() if key[0] != server.index}

    def server_of(self, client: Client) -> tuple[Server, WatchedOpenvpn] | None:
        """Who answers this client: of those it reaches, the last to claim the VIP."""
        found = self._service.claimant(client.place)
        openvpn = found.serving() if found is not None else None
        return (found, openvpn) if found is not None and openvpn is not None else None

    def _tick(self, client: Client) -> None:
        cluster = self._cluster
        cluster.clock.later(TICK, self._tick, client)
        found = self.server_of(client) if not self.frozen else None
        if found is None:
            return
        server, openvpn = found
        if client.waits_at is openvpn and client.uid in openvpn.held_back:
            self._last[server.index, client.uid] = cluster.clock.now
        elif client.waits_at not in (None, openvpn) or self._must_restart(client, openvpn):
            self._restart(client, server, openvpn)
        elif client.lost_since is None and client.uid in openvpn.clients:
            client.waits_at = None
            self._talk(client, server, openvpn)
        server.pump()

    def _must_restart(self, client: Client, openvpn: WatchedOpenvpn) -> bool:
        """Whether it hears nothing, is told to reconnect or gives a handshake up."""
        now, held, one = self._cluster.clock.now, openvpn.clients.get(client.uid), client.handshake
        if one is not None and one.openvpn is not openvpn and now - one.begun > HAND_WINDOW:
            return True
        if one is not None and one.openvpn is openvpn and client.uid not in openvpn.handshakes:
            client.handshake = None  # the server has given it up
        known = held is not None and any(
            key.fingerprint == client.sends_under(now) for key in held.keys
        )
        if held is None or known:
            client.lost_since = None
        elif client.lost_since is None:
            client.lost_since = now
        lost = client.lost_since is not None and now - client.lost_since > HEAL
        return lost or (client.wanted and now - client.heard > PING_RESTART)

    def _talk(self, client: Client, server: Server, openvpn: WatchedOpenvpn) -> None:
        """Packets in both directions."""
        cluster = self._cluster
        self._last[server.index, client.uid] = cluster.clock.now
        self._confirm(client, openvpn)
        for _ in range(cluster.packets):
            key = openvpn.clients[client.uid].sending().fingerprint
            number = openvpn.send_packet(client.uid)
            if number is None or openvpn.is_short(client.uid):
                openvpn.renegotiate(client.uid)
            elif key in client.keys and number > client.seen.get(key, 0):
                client.seen[key] = number
                client.heard = cluster.clock.now
            else:
                client.refused += 1

    def _confirm(self, client: Client, openvpn: WatchedOpenvpn) -> None:
        """A packet shows which key the client has; what gave it that key is over."""
        openvpn.confirm(client.uid, client.sends_under(self._cluster.clock.now))
        newest, one = openvpn.clients[client.uid].keys[0], client.handshake
        if one is not None and client.keys[0] == one.key == newest.fingerprint:
            client.handshake = None if not newest.pending else one

    def learn(self, client: Client, held: ModelClient) -> None:
        """The client has the keys of a new session."""
        client.keys = [key.fingerprint for key in held.keys]
        client.seen = {key: client.seen.get(key, 0) for key in client.keys}
        client.heard = self._cluster.clock.now
        client.handshake = client.lost_since = None
        client.switch_at = 0.0

    def kick(self, openvpn: WatchedOpenvpn, uid: bytes) -> None:
        """A server tells a client to reconnect."""
        client = self.by_uid.get(uid)
        server = self.server_of(client) if client is not None else None
        if client is not None and server is not None and server[1] is openvpn:
            self._restart(client, *server)

    def _restart(self, client: Client, server: Server, openvpn: WatchedOpenvpn) -> None:
        """A hard reset: a new session; the old one of that name goes."""
        for held in [one for one in openvpn.clients.values() if one.name == client.name.encode()]:
            openvpn.disconnect_client(held.uid)
        client.restarts += bool(client.uid)
        self.by_uid.pop(client.uid, None)
        client.uid = openvpn.connect_client(client.name)
        self.by_uid[client.uid] = client
        client.seen = {}
        client.waits_at = openvpn if client.uid in openvpn.held_back else None
        self.learn(client, openvpn.clients[client.uid])
        self._last[server.index, client.uid] = self._cluster.clock.now
        self._cluster.note(server.name, f"{client.name} connects as {client.uid.hex()}")

    def reap(self, server: Server) -> None:
        """A server's ping-restart."""
        openvpn = server.serving()
        if openvpn is None or self.frozen:
            return
        now = self._cluster.clock.now
        for uid in list(openvpn.clients):
            if now - self._last.setdefault((server.index, uid), now) > SERVER_RESTART:
                openvpn.disconnect_client(uid)
        server.pump()

    # What a schedule does to a client.

    def act(self, what: str, number: int) -> None:
        """Renegotiate, float or disconnect one connected client, if its server is there."""
        connected = self.connected()
        if not connected:
            return
        client = connected[number % len(connected)]
        found = self.server_of(client)
        if found is None or client.uid not in found[1].clients:
            return
        server, openvpn = found
        if what == "renegotiate":
            openvpn.renegotiate(client.uid)
        elif what == "float":
            openvpn.float_client(client.uid)
        elif what == "disconnect":
            openvpn.disconnect_client(client.uid)
            self.by_uid.pop(client.uid)
            client.uid, client.keys, client.wanted = b"", [], False
            client.handshake = None
        server.pump()
