"""Replication: everything one node says and hears on the back channel, as one pure object.

    datagram --> Opener --> decode --> hello ---------------------> Membership -> NodeUp
                   |                   state of the followed node -> Sink ------> RecordReceived
                   | refused           state to our node tag -----> Source ----> Acknowledged
                   v                   any other state -----.
                counted  <----------------------------------'
    Membership.hellos, Source.messages, Sink.messages --> bundled --> Sealer --> datagrams

An instance has a source while this node has its clients, a sink while it follows another or still
listens to the one before it. What outlives them is here: streams that only rise, the pace that all
sources share, the counters (``Ledger``). What can go wrong, and the rule that answers it:

* Anything at all arrives: what breaks a rule is refused with its reason, counted, and changes
  nothing. No exception leaves ``receive_datagram``.
* A node that is not believed sends state: it may wonder whether we live, so it gets a hello.
* A node starts anew: its acknowledgements are forgotten, and its log is followed from the start.
* State comes of a node that is not followed: refused. Only the owner's verb changes that.

Decides what is sent, when, and what is believed of what arrives; docs/wire.md rules both. It does
not know which role is right, whom to follow, or what a record means: its owner says so by verbs,
and learns by events. It reads no clock and no socket, and draws no random bytes of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ovpnha.errors import RefusedDatagram
from ovpnha.model import (
    BootId,
    ClientRecord,
    CounterKind,
    InstanceName,
    InstanceState,
    NodeName,
    StoredRange,
    Uid,
)
from ovpnha.replication.agenda import Addressed
from ovpnha.replication.boots import HeardBoot
from ovpnha.replication.bundling import Datagram, bundle
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.events import Event, HistoryReceived, NodeDown, NodeUp
from ovpnha.replication.hello import Hello, LogHead
from ovpnha.replication.history import History, HistoryEntry, SharedHistory
from ovpnha.replication.ledger import Ledger, ReplicationStatistics
from ovpnha.replication.membership import Membership
from ovpnha.replication.messages import (
    Ack,
    Difference,
    Goodbye,
    Message,
    Nack,
    Reject,
    Repeat,
    Resync,
    Want,
)
from ovpnha.replication.pacing import SharedPace
from ovpnha.replication.records import fits
from ovpnha.replication.sealing import (
    ClusterKey,
    Kind,
    Opened,
    Opener,
    Sealer,
    cluster_tag,
    node_tag,
)
from ovpnha.replication.sink import Sink
from ovpnha.replication.source import Source
from ovpnha.replication.strangers import Strangers

NOT_REFUSALS = frozenset({"own", "duplicate"})


class Replication:
    """One node's end of the back channel, shared by all its instances."""

    def __init__(
        self,
        config: ReplicationConfig,
        *,
        boot: BootId,
        random: Callable[[int], bytes],
        now: float,
        wall: Callable[[], float] = lambda: 0.0,
        history: Iterable[HistoryEntry] = (),
    ) -> None:
        self._config = config
        keys = self._derive(config.keys)
        self._random, self._tag = random, node_tag(config.node)
        self._sealer = Sealer(keys[0], self._tag, boot, random)
        self._opener = Opener(keys, boot, now)
        self._events: deque[Event] = deque()
        self._boots: dict[NodeName, BootId] = {}
        self._membership = Membership(
            config, self._opener, random, self._hear_of_node, self._hear_whole, now, wall
        )
        self._membership.use_keys(tuple(key.name for key in keys))
        self.last_proved = self._membership.last_proved
        self.greet = self._membership.greet
        self.history = SharedHistory(history)
        self._pace = SharedPace(float(config.bytes_per_second), now)
        self._sources: Addressed[Source] = Addressed()
        self._sinks: Addressed[Sink] = Addressed()
        self._streams = 0
        self._out, self._again, self._last = list[bytes](), list[bytes](), list[bytes]()
        self._ledger = Ledger()
        self._strangers = Strangers(self._events.append, now)

    def _derive(self, secrets: Iterable[bytes]) -> list[ClusterKey]:
        salt = cluster_tag(self._config.cluster)
        return [ClusterKey.create(secret, salt) for secret in secrets]

    def use_keys(self, secrets: Iterable[bytes]) -> None:
        """Go on under these cluster keys: the first seals, all open."""
        keys = self._derive(secrets)
        self._sealer.use_key(keys[0])
        self._opener.use_keys(keys)
        self._membership.use_keys(tuple(key.name for key in keys))

    # --- datagrams

    def receive_datagram(self, data: bytes, link: str, now: float) -> None:
        """Take in whatever a socket of ``link`` received."""
        kind = "refused"
        try:
            opened = self._opener.open_untrusted(data, link, now)
            kind = opened.kind.name.lower()
            self._take_untrusted(opened, link, now)
        except RefusedDatagram as refused:
            ledger = self._ledger
            counts = ledger.ignored if refused.reason in NOT_REFUSALS else ledger.refused
            counts[refused.reason] += 1
            if refused.reason == "not_believed":
                self._membership.answer(now)
            self._strangers.tell(refused.reason, link, now)
        self._ledger.bytes_received[kind] += len(data)

    def _take_untrusted(self, opened: Opened, link: str, now: float) -> None:
        messages, unknown = decode_untrusted(opened.payload)
        if unknown:
            self._ledger.ignored["unknown_type"] += unknown
        if opened.kind is Kind.HELLO:
            self._take_hello_untrusted(messages, opened, link, now)
            return
        node = self._membership.node_of(opened.boot)
        self._membership.heard(opened.boot, now)
        for message in messages:
            self._ledger.received[message.wire_type.name.lower()] += 1
            self._dispatch_untrusted(message, node, opened.boot, now)

    def _take_hello_untrusted(
        self, messages: list[Message], opened: Opened, link: str, now: float
    ) -> None:
        if len(messages) != 1 or not isinstance(messages[0], Hello):
            raise RefusedDatagram("malformed")
        self._ledger.received["hello"] += 1
        self._membership.hear_untrusted(messages[0], opened, link, now)

    def _dispatch_untrusted(
        self, message: Message, node: NodeName, boot: BootId, now: float
    ) -> None:
        match message:
            case Hello():
                raise RefusedDatagram("malformed")
            case Goodbye():
                self._membership.goodbye(boot, now)
            case History(entries=entries):
                news = tuple(entry for entry in entries if self.history.take(entry))
                if news:
                    self._events.append(HistoryReceived(node, news))
            case Ack() | Nack() | Reject() | Want() | Resync() | Difference() | Repeat():
                source = self._sources.get(message.instance) if message.tag == self._tag else None
                if source is not None:
                    source.receive(node, message, now)
            case _:
                sink = self._sinks.get(message.instance)
                if follows := sink is not None and sink.node == node:
                    sink.receive_untrusted(message, now)
                else:
                    self._ledger.refused["not_followed"] += 1
                if not follows or message.instance in self._sources.seen:
                    self._answer_source(message.instance, now)

    def _answer_source(self, instance: InstanceName, now: float) -> None:
        if self._membership.announced(instance) and self._strangers.may_answer(now):
            self._membership.answer(now)  # it may not know of us

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Everything that is due now, sealed; what a source was told before its end is said."""
        ended = self._seal_state(self._out, self._again)
        datagrams, messages = [*ended, *self._hellos(now)], self.history.messages(now)
        self._pace.clients = sum(source.clients for source in self._sources.seen.values())
        for source in self._pace.in_turn(self._sources.due(now)):
            messages += source.messages(now)
        for sink in self._sinks.due(now):
            messages += sink.messages(now)
        datagrams += self._seal_state(messages, self._last)
        self._out, self._again, self._last = [], [], []
        return datagrams

    def _seal_state(self, *groups: list[bytes]) -> list[Datagram]:
        return [self._seal(Kind.STATE, one, None) for group in groups for one in bundle(group)]

    def _hellos(self, now: float) -> list[Datagram]:
        links = self._config.links if len(self._config.links) > 1 else (None,)
        payloads = self._membership.hellos(now, self._log_heads, self.history.digest)
        return [self._seal(Kind.HELLO, payload, link) for payload in payloads for link in links]

    def _log_heads(self) -> dict[InstanceName, LogHead]:
        return {name: source.log_head() for name, source in self._sources.seen.items()}

    def _hear_whole(self, boot: HeardBoot, now: float) -> None:
        """A round of hellos of a believed node has come whole."""
        self.history.hear(boot.node, boot.history, now)
        names = [name for name, sink in self._sinks.seen.items() if sink.node == boot.node]
        clients = sum(self._sinks.seen[name].clients for name in names)  # they come at one pace
        for name in names:
            self._sinks[name].hear_head(boot.heads.get(name), clients, now)

    def _seal(self, kind: Kind, payload: bytes, link: str | None) -> Datagram:
        data = self._sealer.seal(kind, payload)
        self._ledger.sent[kind.name.lower()] += 1
        self._ledger.bytes_sent[kind.name.lower()] += len(data)
        return Datagram(data, link)

    # --- time and events

    def get_timer(self) -> float | None:
        """When ``handle_timer`` and ``datagrams_to_send`` are to be called next."""
        parts = (self._membership, self.history, self._sources, self._sinks)
        return min(part.get_timer() for part in parts)

    def handle_timer(self, now: float) -> None:
        """Time has passed; what is to be sent for it comes from ``datagrams_to_send``."""
        self._membership.handle_timer(now)
        for sink in self._sinks.due(now):
            sink.handle_timer(now)

    @property
    def has_events(self) -> bool:
        """Whether ``next_event`` has something to tell."""
        return bool(self._events)

    def next_event(self) -> Event | None:
        """The oldest event that was not taken yet."""
        return self._events.popleft() if self._events else None

    def _hear_of_node(self, event: Event, now: float) -> None:
        self._events.append(event)
        if isinstance(event, NodeDown):
            self.history.forget(event.node)
            self._forget_follower(event.node)
        elif isinstance(event, NodeUp) and self._boots.get(event.node) != event.boot:
            self._boots[event.node] = event.boot
            self._forget_follower(event.node)
            for sink in [one for one in self._sinks.all() if one.node == event.node]:
                sink.restart(now)

    def _forget_follower(self, node: NodeName) -> None:
        """What it had acknowledged counts no more; when it is heard again it is asked anew."""
        for source in self._sources.all():
            source.forget(node)

    # --- what this node says of itself

    def announce(self, instance: InstanceName, state: InstanceState | None, now: float) -> None:
        """What our hello says of one instance, None: nothing; a change is said at once."""
        self._membership.announce(instance, state, now)

    def answer(self, now: float) -> None:
        """Say hello soon, though nothing has changed: somebody may wonder whether we live."""
        self._membership.answer(now)

    def last_heard(self, node: NodeName) -> float:
        """When a believed node was last heard; long ago for any other."""
        return self._membership.last_heard(node)

    def goodbye(self, now: float) -> None:
        """This boot ends: all leaves by ``datagrams_to_send``, goodbye last, as it ends belief."""
        for source in self._sources.all():
            source.tell_last(self._out, self._again, now)
        self._last.append(Goodbye().encode())

    # --- as source

    def begin_source(self, instance: InstanceName, now: float) -> None:
        """An empty table, not complete yet; receivers start over."""
        self.end_source(instance, now)
        self._streams += 1
        stream = self._streams << 32 | int.from_bytes(self._random(4), "big")
        self._sources[instance] = Source(
            instance, stream, self._config, self._pace, self._ledger, self._events.append, now
        )

    def publish(self, instance: InstanceName, record: ClientRecord, now: float) -> None:
        """Upsert one client; a newer generation replaces, an older one is ignored.

        A record beyond the limits of docs/wire.md is counted and not sent: it stays unprotected.
        """
        if fits(record):
            self._sources[instance].publish(record, now)
        else:
            self._ledger.oversized += 1

    def withdraw(self, instance: InstanceName, uid: Uid, now: float) -> None:
        """This client is gone."""
        self._sources[instance].withdraw(uid, now)

    def source_complete(self, instance: InstanceName, now: float) -> None:
        """Every client that OpenVPN has is published: a snapshot_end is truthful from now on."""
        self._sources[instance].complete(now)

    def renew(self, instance: InstanceName, now: float, *, ended: bool) -> None:
        """Every client will be published once more, so it need not leave before; or has been."""
        self._sources[instance].renew(now, ended=ended)

    def end_source(self, instance: InstanceName, now: float) -> None:
        """Forget this instance's table; what it was told until now leaves still."""
        if (source := self._sources.pop(instance)) is not None:
            source.tell_last(self._out, self._again, now)

    def publish_counters(
        self, instance: InstanceName, kind: CounterKind, payload: bytes, now: float
    ) -> None:
        """Packed counters of docs/management.md."""
        self._sources[instance].counters(kind, payload, now)

    def announce_renegotiation(
        self, instance: InstanceName, uid: Uid, key_id: int, generation: int, now: float
    ) -> None:
        """A renegotiation with this client, at this generation, has begun."""
        self._sources[instance].renegotiation(uid, key_id, generation, now)

    # --- as standby

    def follow(self, instance: InstanceName, node: NodeName | None, now: float) -> None:
        """Take the state of this node and of no other; following another starts with a resync.

        A node that begins its source anew, in another epoch, starts a new stream, which is
        resynchronised by itself.
        """
        sink = self._sinks.get(instance)
        if sink is not None and sink.node == node:
            return
        self._sinks.pop(instance)
        if node is not None:
            place = (instance, node, self._tag, self._config)
            self._sinks[instance] = Sink(*place, self._ledger, self._events.append, now)

    def resync(self, instance: InstanceName, now: float) -> None:
        """Our OpenVPN lost its table: ask for everything again."""
        if (sink := self._sinks.get(instance)) is not None:
            sink.resync(now)

    def acknowledge(
        self,
        instance: InstanceName,
        uid: Uid,
        generation: int,
        stored: tuple[StoredRange, ...],
        now: float,
    ) -> None:
        """Our OpenVPN has imported this generation, hot part and cold parts, with these ranges."""
        if (sink := self._sinks.get(instance)) is not None:
            sink.acknowledge(uid, generation, stored, now)

    def reject(
        self, instance: InstanceName, uid: Uid, generation: int, reason: str, now: float
    ) -> None:
        """Our OpenVPN has refused this record."""
        if (sink := self._sinks.get(instance)) is not None:
            sink.reject(uid, generation, reason, now)

    # --- figures

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The numbers of our cluster keys, the one that seals in front."""
        return self._membership.keys

    def statistics(self) -> ReplicationStatistics:
        """Counters since start, and how things stand."""
        return self._ledger.freeze(
            incomplete=sum(sink.incomplete for sink in self._sinks.seen.values()),
            outstanding={
                name: one.followers.outstanding() for name, one in self._sources.seen.items()
            },
            nodes=self._membership.nodes(),
        )
