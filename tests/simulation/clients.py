"""Model clients: stock OpenVPN clients that know nothing of a cluster.

A client sends to the VIP, knows the keys it negotiated, accepts only packet ids above those it has
seen, and begins anew when it hears nothing for its ``Patience.ping_restart``. In a renegotiation it
has the new key once it gets the server's last message, and goes on sending under the old one for a
while. The server reaps what is silent, and tells to reconnect who uses a key that it has not: of
those only that came to it from another server, as the real one does (docs/adr/0011).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovpnha.model import Role
from tests.model_openvpn import ModelClient
from tests.simulation.truth import WatchedOpenvpn

if TYPE_CHECKING:
    from tests.simulation.handshakes import Handshake
    from tests.simulation.server import Server
    from tests.simulation.service import Service

TICK = 0.25
PAUSE = 1.0
"""Seconds that a client who is told to reconnect waits before it does."""
SWITCH = 1.5
"""Most seconds for which a client sends under the old key once it has a new one."""


@dataclass(frozen=True)
class Patience:
    """Seconds after which clients, and servers for them, stop waiting."""

    ping_restart: float  # without a word from the server a client begins anew
    server_restart: float  # without a word from a client its server forgets it
    heal: float  # of packets under an unknown key, until a moved client is told to reconnect
    hand_window: float  # until a client gives up a handshake, and begins anew


QUICK = Patience(1.5, 2.5, 1.0, 8.0)
"""So that what is lost comes back before a schedule ends."""
USUAL = Patience(60.0, 120.0, 3.0, 60.0)
"""As with ``keepalive 10 60``."""


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
    again_at: float | None = None  # when it begins anew, as it was told
    lost_since: float | None = None  # when its server first lacked the key it uses
    longest: float = 0.0  # seconds without an answer, while the VIP stayed where it was

    def sends_under(self, now: float) -> bytes:
        """The key of its packets."""
        return self.keys[0] if now >= self.switch_at or len(self.keys) < 2 else self.keys[1]

    def take_key(self, key: bytes, now: float) -> None:
        """It has a new key."""
        self.keys = [key, self.keys[0]]
        self.seen = {one: self.seen.get(one, 0) for one in self.keys}
        self.switch_at = now + SWITCH * (key[0] / 255)


def _knows(openvpn: WatchedOpenvpn, client: Client, now: float) -> bool:
    """Whether a server has the key that a client sends under."""
    held = openvpn.clients.get(client.uid)
    wanted = client.sends_under(now) if client.keys else b""
    return held is not None and any(key.fingerprint == wanted for key in held.keys)


def _is_forsaken(client: Client, openvpn: WatchedOpenvpn) -> bool:
    """Whether a client that is completing its connection is answered by who knows nothing of it."""
    elsewhere = client.waits_at is not openvpn or client.uid not in openvpn.clients
    return client.waits_at is not None and elsewhere


class Clients:
    """All clients, and what servers know of their silence."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._cluster = service.cluster
        self.all: list[Client] = []
        self.by_uid: dict[bytes, Client] = {}
        self._last: dict[tuple[int, bytes], float] = {}  # machine, uid: when it last sent
        self.frozen = False  # no traffic, nobody comes or goes
        self.patience = QUICK

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
        if client.again_at is not None:
            if cluster.clock.now >= client.again_at:
                self._restart(client, server, openvpn)
        elif self._is_told(client, openvpn):
            self._leave(client)
        elif client.waits_at is openvpn and client.uid in openvpn.held_back:
            self._last[server.index, client.uid] = cluster.clock.now
        elif _is_forsaken(client, openvpn) or self._must_restart(client, openvpn):
            self._restart(client, server, openvpn)
        elif client.lost_since is None and client.uid in openvpn.clients:
            client.waits_at = None
            self._talk(client, server, openvpn)
        server.pump()

    def _must_restart(self, client: Client, openvpn: WatchedOpenvpn) -> bool:
        """Whether it hears nothing, or gives a handshake up."""
        now, held, one = self._cluster.clock.now, openvpn.clients.get(client.uid), client.handshake
        if (
            one is not None
            and one.openvpn is not openvpn
            and now - one.begun > self.patience.hand_window
        ):
            return True
        if one is not None and one.openvpn is openvpn and client.uid not in openvpn.handshakes:
            client.handshake = None  # the server has given it up
        if held is None or _knows(openvpn, client, now):
            client.lost_since = None
        elif client.lost_since is None:
            client.lost_since = now
        return client.wanted and now - client.heard > self.patience.ping_restart

    def _is_told(self, client: Client, openvpn: WatchedOpenvpn) -> bool:
        """Whether its server tells it to reconnect: its key never arrived with the session."""
        held = openvpn.clients.get(client.uid)
        if client.lost_since is None or held is None or not held.moved:
            return False
        return self._cluster.clock.now - client.lost_since > self.patience.heal

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
                self._hear(client)
            else:
                client.refused += 1

    def _hear(self, client: Client) -> None:
        client.longest = max(client.longest, self.silence(client))
        client.heard = self._cluster.clock.now

    def silence(self, client: Client) -> float:
        """For how long a client has heard nothing, since the VIP came where it is."""
        return self._cluster.clock.now - max(client.heard, self._cluster.vip_moved)

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
        self._hear(client)
        client.handshake = client.lost_since = client.again_at = None
        client.switch_at = 0.0

    def kick(self, openvpn: WatchedOpenvpn, uid: bytes) -> None:
        """A server tells a client to reconnect."""
        client = self.by_uid.get(uid)
        server = self.server_of(client) if client is not None else None
        if client is None or server is None or server[1] is not openvpn:
            return
        held = openvpn.clients.get(uid)
        if held is not None and held.sending().fingerprint in client.keys:
            self._leave(client)

    def bereft_by(self, openvpn: WatchedOpenvpn) -> list[Client]:
        """The clients that nobody could go on with if this OpenVPN forgot all."""
        processes = [one.openvpn for server in self._service.servers for one in server.processes]
        others = [one for one in processes if one is not openvpn]
        heirs = [one for one in others if one is not None and not one.plays(Role.STANDBY)]
        now = self._cluster.clock.now
        return [
            client
            for client in self.connected()
            if client.waits_at is None
            and _knows(openvpn, client, now)
            and not any(_knows(one, client, now) for one in heirs)
        ]

    def _leave(self, client: Client) -> None:
        """It gives its session up, and begins anew in a moment, with the node that serves then."""
        self.by_uid.pop(client.uid, None)
        client.restarts += 1
        client.uid, client.keys, client.seen = b"", [], {}
        client.waits_at = client.handshake = client.lost_since = None
        client.again_at = self._cluster.clock.now + PAUSE

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
            if now - self._last.setdefault((server.index, uid), now) > self.patience.server_restart:
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
            client.waits_at = client.handshake = None
        server.pump()
