"""Model clients: stock OpenVPN clients that know nothing of a cluster.

A client sends to the VIP, knows the keys it negotiated, accepts only packet ids above those it has
seen, and begins anew when it hears nothing for ``PING_RESTART``. The server reaps what is silent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.model_openvpn import ModelClient
from tests.simulation.truth import WatchedOpenvpn

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.machine import Machine

TICK = 0.25
PING_RESTART = 1.5
SERVER_RESTART = 2.5


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


class Clients:
    """All clients, and what servers know of their silence."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.all: list[Client] = []
        self._last: dict[tuple[int, bytes], float] = {}  # machine, uid: when it last sent
        self.frozen = False  # no traffic, nobody comes or goes

    def add(self, count: int) -> None:
        """New clients; they connect at their next tick."""
        cluster = self._cluster
        for _ in range(count):
            number = len(self.all)
            client = Client(f"c{number}", number % len(cluster.machines))
            self.all.append(client)
            cluster.clock.later(cluster.rng.random() * TICK, self._tick, client)

    def connected(self) -> list[Client]:
        """The clients that have, or believe that they have, a session."""
        return [one for one in self.all if one.uid]

    def forget_process(self, machine: Machine) -> None:
        """A new OpenVPN knows of no silence."""
        self._last = {key: at for key, at in self._last.items() if key[0] != machine.index}

    def server_of(self, client: Client) -> tuple[Machine, WatchedOpenvpn] | None:
        """Who answers this client: of those it reaches, the last to claim the VIP."""
        found = self._cluster.claimant(client.place)
        openvpn = found.serving() if found is not None else None
        return (found, openvpn) if found is not None and openvpn is not None else None

    def _tick(self, client: Client) -> None:
        cluster = self._cluster
        cluster.clock.later(TICK, self._tick, client)
        server = self.server_of(client) if not self.frozen else None
        if server is None:
            return
        machine, openvpn = server
        held = openvpn.clients.get(client.uid)
        if client.waits_at is openvpn and client.uid in openvpn.held_back:
            self._last[machine.index, client.uid] = cluster.clock.now
        elif client.waits_at not in (None, openvpn):
            self._restart(client, machine, openvpn)
        elif held is not None and client.keys[:1] == [held.keys[0].fingerprint]:
            client.waits_at = None
            self._talk(client, machine, openvpn)
        elif client.wanted and cluster.clock.now - client.heard > PING_RESTART:
            self._restart(client, machine, openvpn)
        machine.pump()

    def _talk(self, client: Client, machine: Machine, openvpn: WatchedOpenvpn) -> None:
        """Packets in both directions."""
        cluster = self._cluster
        self._last[machine.index, client.uid] = cluster.clock.now
        for _ in range(cluster.packets):
            key = client.keys[0]
            number = openvpn.send_packet(client.uid)
            if number is None or openvpn.is_short(client.uid):
                self._rekey(client, openvpn)
            elif number > client.seen.get(key, 0):
                client.seen[key] = number
                client.heard = cluster.clock.now
            else:
                client.refused += 1

    def _rekey(self, client: Client, openvpn: WatchedOpenvpn) -> None:
        """Too few ids are left: OpenVPN renegotiates with the client."""
        openvpn.renegotiate(client.uid)
        self.learn(client, openvpn.clients[client.uid])

    def learn(self, client: Client, held: ModelClient) -> None:
        """The client has the keys that its server has just made."""
        client.keys = [key.fingerprint for key in held.keys]
        client.seen = {key: client.seen.get(key, 0) for key in client.keys}
        client.heard = self._cluster.clock.now

    def _restart(self, client: Client, machine: Machine, openvpn: WatchedOpenvpn) -> None:
        """A hard reset: a new session; the old one of that name goes."""
        for held in [one for one in openvpn.clients.values() if one.name == client.name.encode()]:
            openvpn.disconnect_client(held.uid)
        client.restarts += bool(client.uid)
        client.uid = openvpn.connect_client(client.name)
        client.seen = {}
        client.waits_at = openvpn if client.uid in openvpn.held_back else None
        self.learn(client, openvpn.clients[client.uid])
        self._last[machine.index, client.uid] = self._cluster.clock.now
        self._cluster.note(machine.name, f"{client.name} connects as {client.uid.hex()}")

    def reap(self, machine: Machine) -> None:
        """A server's ping-restart."""
        openvpn = machine.serving()
        if openvpn is None or self.frozen:
            return
        now = self._cluster.clock.now
        for uid in list(openvpn.clients):
            if now - self._last.setdefault((machine.index, uid), now) > SERVER_RESTART:
                openvpn.disconnect_client(uid)
        machine.pump()

    # What a schedule does to a client.

    def act(self, what: str, number: int) -> None:
        """Renegotiate, float or disconnect one connected client, if its server is there."""
        connected = self.connected()
        if not connected:
            return
        client = connected[number % len(connected)]
        server = self.server_of(client)
        if server is None or client.uid not in server[1].clients:
            return
        machine, openvpn = server
        if (
            what == "renegotiate"
            and client.keys[0] == openvpn.clients[client.uid].keys[0].fingerprint
        ):
            openvpn.renegotiate(client.uid)
            self.learn(client, openvpn.clients[client.uid])
        elif what == "float":
            openvpn.float_client(client.uid)
        elif what == "disconnect":
            openvpn.disconnect_client(client.uid)
            client.uid, client.keys, client.wanted = b"", [], False
        machine.pump()
