"""What really happened to one service, known to no node: the judge of what the nodes do.

Keeps every version of every client that an OpenVPN ever had as master, every packet id ever sent,
the highest epoch ever begun, and what each sidecar was told. Notes a violation and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ovpnha.management.codes import Code
from ovpnha.model import NO_EPOCH, Epoch, InstanceName, InstanceState, NodeName, Role, Sync, Uid
from ovpnha.node.node import Node
from ovpnha.replication import events
from tests.model_openvpn import ModelClient, ModelOpenvpn
from tests.simulation.ranges import OwnedKey

if TYPE_CHECKING:
    from tests.simulation.handshakes import Handshake
    from tests.simulation.server import Server

PROTECT_WAIT = 0.1
"""Seconds for which a new client, or a new key, waits at most until a standby has it."""

WORD_PATIENCE = 2.0
"""Seconds after which OpenVPN by itself lets a message go that nobody has released."""

Version = tuple[bytes, int, tuple[bytes, ...]]  # uid, generation, fingerprints


def version_of(client: ModelClient) -> Version:
    """What makes a client's record this record."""
    return client.uid, client.generation, tuple(key.fingerprint for key in client.keys)


def epoch_of(word: str) -> Epoch:
    """The epoch in a word of docs/management.md."""
    counter, slash, node = word.partition("/")
    return Epoch(int(counter), NodeName(node)) if slash else NO_EPOCH


@dataclass(frozen=True)
class Violation:
    """A rule that was broken."""

    at: float
    rule: str
    text: str


@dataclass
class Truth:
    """Everything that the checks compare with."""

    now: Callable[[], float]
    violations: list[Violation]  # of all services together
    versions: set[Version] = field(default_factory=set)
    sent: dict[bytes, set[int]] = field(default_factory=dict)
    top: dict[bytes, int] = field(default_factory=dict)  # highest id sent, by fingerprint
    stale: set[tuple[bytes, bytes]] = field(default_factory=set)  # fingerprint, holder
    imported: set[tuple[bytes, str]] = field(default_factory=set)  # uids, machines that had them
    imported_keys: set[tuple[bytes, str]] = field(default_factory=set)  # fingerprints, likewise
    highest: Epoch = NO_EPOCH
    changed: dict[bytes, list[float]] = field(default_factory=dict)  # when a client got keys
    guarded: bool = False  # no process dies, so that nobody may wipe the last copy of a client

    def violate(self, rule: str, text: str) -> None:
        """Note that a rule was broken; the first few tell all."""
        if len(self.violations) < 20:
            self.violations.append(Violation(self.now(), rule, text))

    def note_epoch(self, epoch: Epoch) -> None:
        """An epoch that some node has begun."""
        self.highest = max(self.highest, epoch)

    def note_change(self, uid: bytes) -> None:
        """A client gets a key, or is about to."""
        self.changed.setdefault(uid, []).append(self.now())

    def note_sent(self, fingerprint: bytes, number: int, who: str) -> None:
        """A packet left: its id must be new."""
        numbers = self.sent.setdefault(fingerprint, set())
        if number in numbers:
            self.violate("packet id sent twice", f"{who} key {fingerprint.hex()} id {number}")
        numbers.add(number)
        self.top[fingerprint] = max(number, self.top.get(fingerprint, 0))


@dataclass
class Heard:
    """What one sidecar was told of clients, as (epoch, generation) of each."""

    epochs: dict[NodeName, Epoch] = field(default_factory=dict)
    clients: dict[bytes, tuple[Epoch, int]] = field(default_factory=dict)
    delivered: dict[tuple[bytes, int, bytes], Epoch] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    lacking: set[NodeName] = field(default_factory=set)  # masters that say they lack clients
    highest: dict[bytes, int] = field(default_factory=dict)  # generation, whatever the epoch

    def copy(self) -> Heard:
        """As it is at this moment."""
        return Heard(
            dict(self.epochs),
            dict(self.clients),
            dict(self.delivered),
            set(self.gone),
            set(self.lacking),
            dict(self.highest),
        )

    def take(self, event: events.Event) -> None:
        """An event of the back channel."""
        match event:
            case events.GenerationHeard(node=node, uid=uid, generation=generation):
                self._hear(node, uid, generation)
            case events.RecordReceived(node=node, record=record):
                self._hear(node, record.uid, record.generation)
                key = (bytes(record.uid), record.generation, record.hot)
                self.delivered[key] = self._epoch(node)
            case events.RecordWithdrawn(uid=uid):
                self._forget(uid)
            case events.SnapshotEnded(node=node, clients=clients):
                for gone in [one for one in self.clients if Uid(one) not in clients]:
                    self._forget(gone, gone=node not in self.lacking)
                for uid, generation in clients.items():
                    self._hear(node, uid, generation)
            case _:
                pass

    def _epoch(self, node: NodeName) -> Epoch:
        return self.epochs.get(node, NO_EPOCH)

    def _hear(self, node: NodeName, uid: bytes, generation: int) -> None:
        told = (self._epoch(node), generation)
        self.clients[uid] = max(told, self.clients.get(uid, told))
        self.highest[uid] = max(generation, self.highest.get(uid, 0))
        self.gone.discard(uid)

    def hello(self, node: NodeName, state: InstanceState) -> None:
        """What a node says of itself."""
        self.epochs[node] = state.epoch
        if state.role is Role.MASTER and state.sync is Sync.SYNCING:
            self.lacking.add(node)
        else:
            self.lacking.discard(node)

    def _forget(self, uid: bytes, *, gone: bool = True) -> None:
        """What a master lacks is not gone by that: its standby may keep it."""
        self.clients.pop(uid, None)
        self.highest.pop(uid, None)
        if gone:
            self.gone.add(uid)

    def may_drop(self, client: ModelClient) -> bool:
        """Whether this copy may be dropped: a rival's newer generation is reason enough."""
        return bool(self.problem(client)) or client.generation < self.highest.get(client.uid, 0)

    def problem(self, client: ModelClient) -> str:
        """Why this copy must not be seeded; "" when it may."""
        if client.uid in self.gone:
            return "withdrawn"
        told = self.clients.get(client.uid)
        if told is None:
            return ""
        if client.generation < told[1]:
            held = self.delivered.get((client.uid, client.generation, client.hot()), NO_EPOCH)
            return "" if held > told[0] else f"generation {told[1]} of {told[0]} was heard"
        return ""


class WatchedNode(Node):
    """The core of a node, and a note of what it was told."""

    heard: dict[InstanceName, Heard]
    truths: dict[InstanceName, Truth]
    words: dict[tuple[InstanceName, NodeName], tuple[InstanceState, float]]  # the last ones

    def _take(self, event: events.Event, now: float) -> None:
        if isinstance(event, events.HelloReceived):
            for name, state in event.instances.items():
                self.heard[name].hello(event.node, state)
                self.words[name, event.node] = state, now
                self.truths[name].note_epoch(state.epoch)
        elif (instance := getattr(event, "instance", None)) is not None:
            self.heard[instance].take(event)
        super()._take(event, now)


class World(Protocol):
    """Where clients are, as far as an OpenVPN knows of it."""

    def begin(self, openvpn: WatchedOpenvpn, uid: bytes) -> None:
        """A soft reset is sent."""

    def deliver(self, one: Handshake) -> None:
        """The last message of a renegotiation is sent."""

    def resume(self, openvpn: WatchedOpenvpn, uid: bytes, key: bytes) -> None:
        """The last message that another server has written is sent."""

    def kick(self, openvpn: WatchedOpenvpn, uid: bytes) -> None:
        """A client is told to reconnect."""

    def heal(self, openvpn: WatchedOpenvpn) -> None:
        """Clients inside a handshake that nobody can finish are told to reconnect."""

    def bereft_by(self, openvpn: WatchedOpenvpn) -> list[str]:
        """The clients of which no master, nor held node, has another copy."""


class WatchedOpenvpn(ModelOpenvpn):
    """An OpenVPN under the eyes of the judge."""

    truth: Truth
    who = ""
    key_kind = OwnedKey
    seeds: Heard | None = None  # what its sidecar had been told when it ordered the promotion
    held_max = 60.0
    held_since = 0.0
    waits_since: dict[bytes, float]  # of clients that are held back, and of messages that wait
    handshakes: dict[bytes, Handshake]  # by uid
    world: World
    place: Server  # what it is a process of
    dead = False
    _dropped: dict[bytes, ModelClient]

    def receive(self, data: bytes) -> None:
        """What the sidecar has written in one go."""
        self._dropped = {}
        super().receive(data)

    def _new_key(self) -> OwnedKey:
        return self.key_kind(self.rng.randbytes(8), self.round_size)

    def _update_keys(self, client: ModelClient, fingerprints: list[bytes]) -> None:
        known = {key.fingerprint: key for key in client.keys}
        client.keys = [
            known.get(one) or self.key_kind.of_standby(one, self.round_size) for one in fingerprints
        ]
        for key in client.keys[1:]:
            key.pending = False

    def _find_problem(
        self, uid: bytes, generation: int, name: bytes, grants: list[tuple[bytes, bytes, int, int]]
    ) -> Code | None:
        client = self.clients.get(uid)
        for key in client.keys if client is not None else []:
            assert isinstance(key, OwnedKey)
            for _, fingerprint, start, end in grants:
                if fingerprint == key.fingerprint and key.overlaps(start, end):
                    return Code.BAD_GRANT
        return super()._find_problem(uid, generation, name, grants)

    def _changed(self, client: ModelClient, reason: str) -> None:
        self.truth.versions.add(version_of(client))
        if reason in ("connect", "pending", "keys", "float"):
            self.truth.note_change(client.uid)
        super()._changed(client, reason)
        one = self.handshakes.get(client.uid)
        if one is not None and one.key != client.keys[0].fingerprint:
            self._tell_renegotiation(client)

    def _tell_renegotiation(self, client: ModelClient) -> None:
        self._say(f">CLUSTER:RENEG,{client.uid.hex()},{len(client.keys)},{client.generation}")

    def connect_client(self, name: str = "client", virtual: str = "") -> bytes:
        """A client connects; it may have to wait."""
        uid = super().connect_client(name, virtual)
        self.waits_since = {one: at for one, at in self.waits_since.items() if one in self.clients}
        self.waits_since[uid] = self.truth.now()
        return uid

    def disconnect_client(self, uid: bytes) -> None:
        """A client is gone."""
        self.handshakes.pop(uid, None)
        super().disconnect_client(uid)

    # Renegotiations take a while; see handshakes.py.

    def renegotiate(self, uid: bytes) -> None:
        """One begins, unless one is under way or the client may lack the newest key."""
        client = self.clients[uid]
        if uid in self.handshakes or uid in self.held_back or client.keys[0].pending:
            return
        self.world.begin(self, uid)
        self._tell_renegotiation(client)

    def write_message(self, one: Handshake) -> bool:
        """The last message is written; returns whether it leaves at once."""
        client = self.clients[one.uid]
        if not self.holds_new:
            one.key = self.rng.randbytes(8)
            return True
        client.keys = [self._new_key(), client.keys[0]]
        client.keys[0].pending = True
        one.key = client.keys[0].fingerprint
        client.generation += 1
        self.messages_held.add(one.uid)
        self.waits_since[one.uid] = self.truth.now()
        self._changed(client, "pending")
        return False

    def _establish(self, uid: bytes) -> None:
        """A message that waits leaves."""
        if uid in self.messages_held:
            self.messages_held.discard(uid)
            self.world.deliver(self.handshakes[uid])

    def _count_handshakes(self) -> int:
        return len(self.handshakes) + len(self.held_back)

    def establish(self, one: Handshake) -> None:
        """The client has acknowledged the message: the key is the server's too."""
        client = self.clients[one.uid]
        del self.handshakes[one.uid]
        if client.keys[0].fingerprint == one.key:
            client.keys[0].pending = False
        else:
            client.keys = [self.key_kind(one.key, self.round_size), client.keys[0]]
        client.generation += 1
        if client.moved and not one.resumed:
            client.moved = False
            self._say(f">CLUSTER:REKEYED,{one.uid.hex()}")
        self._changed(client, "keys")

    def give_up(self, uid: bytes) -> None:
        """A handshake has taken too long."""
        client, one = self.clients[uid], self.handshakes.pop(uid)
        self.messages_held.discard(uid)
        if client.keys[0].fingerprint == one.key and not one.resumed:
            client.keys = client.keys[1:]
            client.generation += 1
            self._changed(client, "keys")

    def confirm(self, uid: bytes, fingerprint: bytes) -> None:
        """A packet came under this key: the client has it."""
        client = self.clients[uid]
        if client.keys[0].pending and client.keys[0].fingerprint == fingerprint:
            self.handshakes.pop(uid, None)
            client.keys[0].pending = False
            client.generation += 1
            self._changed(client, "keys")

    def send_messages(self) -> None:
        """Promoted: what the server before had still to say is said here."""
        for client in self.clients.values():
            if client.keys[0].pending:
                self.world.resume(self, client.uid, client.keys[0].fingerprint)

    def heal(self) -> None:
        """A second has passed: clients that nobody else can help are told to reconnect."""
        if self.role is Role.MASTER:
            self.world.heal(self)

    def lose_patience(self) -> None:
        """A second has passed: messages that wait for too long leave."""
        for uid in sorted(self.messages_held):
            if self.waited(uid) > WORD_PATIENCE:
                self._establish(uid)

    def _do_kick(self, words: list[str], lines: list[str]) -> None:
        super()._do_kick(words, lines)
        self.world.kick(self, bytes.fromhex(words[1]))

    def _do_release(self, words: list[str], lines: list[str]) -> None:
        uid = bytes.fromhex(words[1])
        waits = uid in self.held_back or uid in self.messages_held
        if waits and self.waited(uid) < PROTECT_WAIT and not self._is_elsewhere(uid):
            text = f"{self.who} lets {words[1]} go after {self.waited(uid):.4f} s"
            self.truth.violate("released unprotected", text)
        super()._do_release(words, lines)

    def _is_elsewhere(self, uid: bytes) -> bool:
        """Whether a standby ever had this client, and its pending key if it has one: one of another
        machine, wherever the sidecar knows of one.
        """
        if uid in self.messages_held:
            pending = self.clients[uid].keys[0].fingerprint
            hosts = {host for one, host in self.truth.imported_keys if one == pending}
        else:
            hosts = {host for one, host in self.truth.imported if one == uid}
        return bool(hosts - {self.place.host}) or (bool(hosts) and not self.place.knows_machines)

    def waited(self, uid: bytes) -> float:
        """For how long a client has been held back, or its message has waited."""
        return self.truth.now() - self.waits_since[uid]

    def float_client(self, uid: bytes) -> None:
        """A client has a new address."""
        client = self.clients[uid]
        client.generation += 1
        self._changed(client, "float")

    def is_short(self, uid: bytes) -> bool:
        """Whether too few ids of a client's key are left to give."""
        key = self.clients[uid].sending()
        assert isinstance(key, OwnedKey)
        return key.short

    def send_packet(self, uid: bytes) -> int | None:
        """A packet for a client."""
        fingerprint = self.clients[uid].sending().fingerprint
        number = super().send_packet(uid)
        if number is not None:
            self.truth.note_sent(fingerprint, number, self.who)
        return number

    def _say(self, line: str) -> None:
        if line.startswith(">CLUSTER:STALE,"):
            _, fingerprint, holder = line.removeprefix(">CLUSTER:STALE,").split(",")
            self.truth.stale.add((bytes.fromhex(fingerprint), bytes.fromhex(holder)))
        super()._say(line)

    def _do_import(self, words: list[str], lines: list[str]) -> None:
        super()._do_import(words, lines)
        client = self.clients.get(bytes.fromhex(words[1]))
        if client is not None:
            host = self.place.host
            self.truth.imported.add((client.uid, host))
            self.truth.imported_keys.update((key.fingerprint, host) for key in client.keys)
        if client is not None and version_of(client) not in self.truth.versions:
            self.truth.violate("a record no master had", f"{self.who} holds {words[1]} {words[2]}")

    def _do_drop(self, words: list[str], lines: list[str]) -> None:
        uid = bytes.fromhex(words[1])
        if uid in self.clients:
            self._dropped[uid] = self.clients[uid]
        super()._do_drop(words, lines)

    def _do_promote(self, words: list[str], lines: list[str]) -> None:
        seeds = self.role is Role.STANDBY
        if seeds:
            self._judge_seeds()
        self._judge_rival()
        super()._do_promote(words, lines)
        if seeds:
            self.send_messages()
        self.truth.note_epoch(epoch_of(self.epoch))

    def _judge_rival(self) -> None:
        """Of two processes with one socket only one may read it, whatever the other one does."""
        others = (one.openvpn for one in self.place.processes)
        if any(one is not None and one is not self and one.plays(Role.MASTER) for one in others):
            self.truth.violate("two masters on one socket", self.who)

    def _judge_seeds(self) -> None:
        heard = self.seeds or Heard()
        for client in self.clients.values():
            problem = heard.problem(client)
            if problem:
                text = f"{self.who} seeds {client.uid.hex()} {client.generation}: {problem}"
                self.truth.violate("stale record seeded", text)
        for uid, client in self._dropped.items():
            if uid not in self.clients and not heard.may_drop(client):
                text = f"{self.who} drops {uid.hex()} {client.generation} at its promotion"
                self.truth.violate("current record dropped", text)

    def _do_hold(self, words: list[str], lines: list[str]) -> None:
        self.held_since = self.truth.now()
        super()._do_hold(words, lines)

    def _do_demote(self, words: list[str], lines: list[str]) -> None:
        if self.role is Role.MASTER:
            self.truth.violate("wiped before silent", f"{self.who} is master and is demoted")
        over = self.truth.now() - self.held_since >= self.held_max
        outdone = self.truth.highest > epoch_of(self.epoch)
        if self.role is Role.HELD and not (over or outdone):
            self.truth.violate("demoted without cause", f"{self.who} in {self.epoch}")
        if self.truth.guarded and not over:
            self._judge_wipe()
        self.handshakes.clear()
        super()._do_demote(words, lines)

    def _judge_wipe(self) -> None:
        names = self.world.bereft_by(self)
        if names:
            text = f"{self.who} in {self.epoch}: {len(names)} clients, {' '.join(names[:5])}"
            self.truth.violate("the last copy is wiped", text)
