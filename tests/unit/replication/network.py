"""Real Replication objects over a bad network in virtual time: drop, duplicate, delay by seed."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from ovpnha.model import (
    NO_EPOCH,
    BootId,
    ClientRecord,
    ColdPart,
    Fingerprint,
    Grant,
    HolderId,
    InstanceName,
    InstanceState,
    NodeName,
    Role,
    StoredRange,
    Sync,
    Uid,
)
from ovpnha.replication.config import ReplicationConfig, Timings
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.entries import (
    Entries,
)
from ovpnha.replication.events import (
    Acknowledged,
    Event,
    RecordReceived,
    RecordWithdrawn,
    SnapshotEnded,
)
from ovpnha.replication.messages import (
    Message,
)
from ovpnha.replication.protocol import Replication
from ovpnha.replication.sealing import ClusterKey, Kind

INSTANCE = InstanceName("udp1194")
KEY = b"k" * 32
STATE = InstanceState(
    role=Role.STANDBY,
    epoch=NO_EPOCH,
    vip=False,
    sync=Sync.NONE,
    grade=30,
    holder=HolderId(bytes(16)),
    clients=0,
    record_format=1,
    openvpn="2.6.14",
    digest="ab" * 32,
    certificate="cd" * 32,
    issuer="ef" * 32,
)


def make_uid(number: int) -> Uid:
    return Uid(number.to_bytes(8, "big"))


def make_record(
    number: int, generation: int = 1, *, hot: int = 350, holders: int = 1, cold: int = 3
) -> ClientRecord:
    seed = random.Random(number * 1000 + generation)  # noqa: S311 - repeatable, no secret
    fingerprint = Fingerprint(seed.randbytes(8))
    parts = tuple(
        ColdPart(kind, f"{kind}:{number if kind != 3 else 'same'}:".encode() * 12)
        for kind in range(1, cold + 1)
    )
    grants = tuple(
        Grant(HolderId(bytes([holder]) * 16), fingerprint, 1000 * holder, 1000 * holder + 500)
        for holder in range(1, holders + 1)
    )
    return ClientRecord(make_uid(number), generation, seed.randbytes(hot), parts, grants)


@dataclass
class Link:
    """What the network does to datagrams."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0005
    jitter: float = 0.0
    cut: Callable[[str, str], bool] = field(default=lambda _sender, _receiver: False)
    drop: Callable[[str, bytes], bool] = field(default=lambda _sender, _data: False)


class End:
    """One node: its Replication, and an owner that imports what it is told."""

    def __init__(self, network: Network, config: ReplicationConfig, wall: float = 0.0) -> None:
        self.network = network
        self.config = config
        self.name = config.node
        boot = BootId(network.random.randbytes(16))
        self.protocol = Replication(
            config,
            boot=boot,
            random=network.random.randbytes,
            now=network.now,
            wall=lambda: 1e9 + network.now + wall if wall else 0.0,
        )
        self.events: list[Event] = []
        self.imported: dict[Uid, ClientRecord] = {}
        self.acknowledged: dict[tuple[NodeName, Uid], int] = {}
        self.import_time = 0.0
        self.reject: set[Uid] = set()
        self.protocol.announce(INSTANCE, STATE, network.now)

    def become_source(self, records: list[ClientRecord]) -> None:
        now = self.network.now
        self.protocol.begin_source(INSTANCE, now)
        for record in records:
            self.protocol.publish(INSTANCE, record, now)
        self.protocol.source_complete(INSTANCE, now)

    def follow(self, node: str) -> None:
        self.protocol.follow(INSTANCE, NodeName(node), self.network.now)

    def drain(self) -> None:
        while (event := self.protocol.next_event()) is not None:
            self.events.append(event)
            match event:
                case RecordReceived(record=record):
                    self._import(record)
                case RecordWithdrawn(uid=uid):
                    self.imported.pop(uid, None)
                case SnapshotEnded(clients=clients):
                    for uid in set(self.imported) - set(clients):
                        del self.imported[uid]
                case Acknowledged(node=node, uid=uid, generation=generation):
                    self.acknowledged[node, uid] = generation
                case _:
                    pass

    def _import(self, record: ClientRecord) -> None:
        self.imported[record.uid] = record
        self.network.call_later(self.import_time, lambda: self._imported(record))

    def _imported(self, record: ClientRecord) -> None:
        now = self.network.now
        if record.uid in self.reject:
            self.protocol.reject(INSTANCE, record.uid, record.generation, "collides", now)
            return
        stored = tuple(StoredRange(one.fingerprint, one.end) for one in record.grants[:1])
        self.protocol.acknowledge(INSTANCE, record.uid, record.generation, stored, now)

    def bytes_sent(self) -> int:
        return sum(self.protocol.statistics().bytes_sent.values())

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class Network:
    """Virtual time and every node's datagrams."""

    def __init__(
        self, seed: int = 0, link: Link | None = None, links: tuple[str, ...] = ("bcn",)
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self.link = link or Link()
        self.links = links
        self.now = 100.0
        self.ends: dict[str, End] = {}
        self.recorded: list[tuple[str, bytes]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.bytes = 0
        self.work: dict[str, float] = {}  # seconds that a node needs for a datagram; others wait
        self._busy: dict[str, float] = {}

    def start(
        self,
        name: str,
        *,
        keys: tuple[bytes, ...] = (KEY,),
        cluster: str = "test",
        timings: Timings | None = None,
        pace: int = 5_000_000,
        wall: float = 0.0,
    ) -> End:
        """Start a node, or start it again with a new boot."""
        config = ReplicationConfig(
            cluster, NodeName(name), keys, self.links, timings or Timings(), pace
        )
        end = self.ends[name] = End(self, config, wall)
        return end

    def stop(self, name: str) -> None:
        del self.ends[name]

    def call_later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))

    def run(self, seconds: float) -> None:
        self.run_until(lambda: False, seconds)

    def run_until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until ``done`` or for so long; true when done."""
        end = self.now + seconds
        while True:
            self._pump()
            if done():
                return True
            at = min(self._next_timer(), self._queue[0][0] if self._queue else float("inf"))
            if at > end:
                self.now = end
                return False
            self.now = max(self.now, at)
            self._step()

    def _next_timer(self) -> float:
        timers = [end.protocol.get_timer() for end in self.ends.values()]
        return min((timer for timer in timers if timer is not None), default=float("inf"))

    def _step(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        for end in list(self.ends.values()):
            timer = end.protocol.get_timer()
            if timer is not None and timer <= self.now:
                end.protocol.handle_timer(self.now)

    def _pump(self) -> None:
        for end in list(self.ends.values()):
            end.drain()
            for datagram in end.protocol.datagrams_to_send(self.now):
                assert len(datagram.data) <= 1200
                self.bytes += len(datagram.data)
                self.recorded.append((end.name, datagram.data))
                for link in (datagram.link,) if datagram.link else self.links:
                    self._broadcast(end.name, datagram.data, link)

    def _broadcast(self, sender: str, data: bytes, link: str) -> None:
        for name in self.ends:
            copies = 1 + (self.random.random() < self.link.duplicate)
            for _ in range(copies):
                if self.link.cut(sender, name) or (name != sender and self.link.drop(sender, data)):
                    continue
                if self.random.random() < self.link.loss:
                    continue
                delay = self.link.delay + self.random.random() * self.link.jitter
                self.call_later(delay, partial(self._queue_up, name, data, link))

    def _queue_up(self, name: str, data: bytes, link: str) -> None:
        if name not in self.work:
            self._deliver(name, data, link)
            return
        self._busy[name] = at = max(self.now, self._busy.get(name, 0.0)) + self.work[name]
        self.call_later(at - self.now, partial(self._deliver, name, data, link))

    def _deliver(self, name: str, data: bytes, link: str) -> None:
        if name in self.ends:
            self.ends[name].protocol.receive_datagram(data, link, self.now)


def equal(source: list[ClientRecord], *ends: End) -> bool:
    """Whether every end has imported exactly these records."""
    wanted = {record.uid: record for record in source}
    return all(end.imported == wanted for end in ends)


def find_key(data: bytes, keys: Iterable[bytes]) -> bytes:
    """The cluster key that sealed a datagram."""
    number = int.from_bytes(data[16:20], "big")
    return next(key for key in keys if ClusterKey.create(key, data[4:12]).number == number)


def look_into(data: bytes, key: bytes = KEY) -> tuple[Kind, list[Message]]:
    """What a datagram holds: the best guess of somebody who drops some of them on purpose."""
    tag, boot, nonce = data[20:28], data[28:44], data[52:64]
    cipher = ClusterKey.create(key, data[4:12]).cipher(tag, boot)
    plain = cipher.decrypt(nonce, data[64:], data[:64])
    return Kind(plain[0]), decode_untrusted(plain[1:])[0]


def is_hello(data: bytes, key: bytes = KEY) -> bool:
    return look_into(data, key)[0] is Kind.HELLO


def holds(kind: type, data: bytes, key: bytes = KEY) -> bool:
    """Whether there is a message, or an entry of the log, of this kind in it."""
    messages = look_into(data, key)[1]
    entries = [entry for one in messages if isinstance(one, Entries) for entry in one.entries]
    return any(isinstance(one, kind) for one in (*messages, *entries))
