"""What reads bytes from outside, each as a function of bytes that may raise one exception only.

Opened datagrams come in two ways: as they are, and sealed with the right key by a node that has
been taken over, which is how anything behind authentication is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgpack

from ovpnha.errors import ManagementError, RefusedDatagram
from ovpnha.management.channel import Channel
from ovpnha.management.commands import Export, ListInstances, LoadStats, Status, Version
from ovpnha.model import (
    HOLDER_SIZE,
    BootId,
    ClientRecord,
    ColdPart,
    Epoch,
    HolderId,
    InstanceName,
    InstanceState,
    NodeName,
    Role,
    Sync,
    Uid,
)
from ovpnha.replication import entries as en
from ovpnha.replication import messages as m
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.hello import Hello, HelloState, LogHead
from ovpnha.replication.history import History, HistoryEntry
from ovpnha.replication.packing import BASE, BUNDLE, Packer, unpack_untrusted
from ovpnha.replication.protocol import Replication
from ovpnha.replication.records import Body, pack_body, unpack_body_untrusted
from ovpnha.replication.sealing import (
    CANDIDATE_LIMIT,
    PAYLOAD_LIMIT,
    RETIRED_LIMIT,
    BootTrust,
    ClusterKey,
    Kind,
    Opener,
    Sealer,
    cluster_tag,
    node_tag,
)
from tests.fuzz.grammar import GrammarTarget, seeds

SECRET = bytes(range(32))
KEY = ClusterKey.create(SECRET, cluster_tag("fuzz"))
INSTANCE = InstanceName("udp")
UID = Uid(b"12345678")
STREAM = 1 << 32
OUTPUT_LIMIT = 1 << 20
MASTER = InstanceState(
    Role.MASTER,
    Epoch(1, NodeName("b")),
    vip=True,
    sync=Sync.NONE,
    grade=120,
    holder=HolderId(bytes(HOLDER_SIZE)),
    clients=1,
    record_format=1,
    openvpn="2.6",
    digest="d",
    certificate="c",
    issuer="i",
)
CHANGE = HistoryEntry(
    *(b"one key!", 1, NodeName("b"), INSTANCE, 1.5, Role.STANDBY, Role.MASTER),
    *(Epoch(1, NodeName("b")), "the VIP arrived", {"clients": 2.0}),
)
BELIEVED = 16
"""Most boots that are believed at once: as many as a cluster may have nodes."""


@dataclass(frozen=True)
class Target:
    """One reader, and what it may be given to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


def _random(size: int) -> bytes:
    return bytes(size)


def _sealer(node: str, boot: bytes) -> Sealer:
    return Sealer(KEY, node_tag(node), BootId(boot), _random)


class _OpenerTarget:
    """One opener for all inputs: what it remembers must stay bounded."""

    def __init__(self) -> None:
        self._now = 0.0
        self._opener = Opener([KEY], BootId(bytes(16)), 0.0)
        self._believed: list[BootId] = []  # as many as there can be nodes

    def __call__(self, data: bytes) -> None:
        self._now += 0.001
        if data[:1] == b"\x01":  # an authentic datagram of a boot that the input names
            boot = data[1:17].ljust(16, b"\x01")
            data = _sealer("b", boot).seal(Kind.HELLO, data[17 : 17 + PAYLOAD_LIMIT])
            self._judge(BootId(boot), list(BootTrust)[boot[0] % 3])
        with suppress(RefusedDatagram):
            self._opener.open_untrusted(data, "bcn", self._now)
        assert self._opener.boots <= CANDIDATE_LIMIT + RETIRED_LIMIT + BELIEVED + 1

    def _judge(self, boot: BootId, trust: BootTrust) -> None:
        """What the membership would do: a boot that is believed retires another one."""
        self._opener.set_trust(boot, trust)
        if trust is BootTrust.BELIEVED and boot not in self._believed:
            self._believed.append(boot)
        if len(self._believed) > BELIEVED:
            self._opener.set_trust(self._believed.pop(0), BootTrust.RETIRED)


def _opener_seeds() -> Iterable[bytes]:
    sealed = _sealer("b", b"b" * 16).seal(Kind.HELLO, b"\x91\x02")
    return [sealed, sealed[:60], b"\x01" + b"boot" * 4 + b"payload", sealed + bytes(2000)]


def decode(data: bytes) -> None:
    """The message decoder, and what it leaves packed."""
    try:
        for message in decode_untrusted(data)[0]:
            for entry in message.entries if isinstance(message, en.Entries) else ():
                if isinstance(entry, en.Upsert):
                    _unpack(unpack_body_untrusted(entry.body))
    except RefusedDatagram:
        pass


def compose(data: bytes) -> None:
    """Any message of the right grammar: each field is a head, five bits of size, and its bytes."""
    fields: list[object] = []
    while data:
        kind, size = data[0] >> 5, data[0] & 31
        piece, data = data[1 : 1 + size], data[1 + size :]
        fields.append(_FIELDS[kind](piece))
    if fields:
        decode(msgpack.packb(fields))


_FIELDS: tuple[Callable[[bytes], object], ...] = (
    lambda piece: int.from_bytes(piece[:8], "big"),
    bytes,
    lambda piece: piece.decode(errors="replace"),
    list,
    lambda piece: bool(piece),
    lambda piece: [[one, 1 + len(piece), 1, piece, one] for one in piece[:6]],
    lambda piece: piece * 40,
    lambda piece: -len(piece),
)


def _compose_seeds() -> Iterable[bytes]:
    return [b"".join(map(_field, msgpack.unpackb(one))) for one in _messages()]


def _field(value: object) -> bytes:
    """The nearest that the grammar of ``compose`` has."""
    match value:
        case bool():
            return b"\x81\x01" if value else b"\x80"
        case int():
            return b"\x08" + value.to_bytes(8, "big")
        case str():
            return bytes([64 + len(value)]) + value.encode()
        case bytes():
            return bytes([32 + len(value[:31])]) + value[:31]
    return b"\xa3\x01\x02\x03"


def unpack(data: bytes) -> None:
    """Cold parts: a length, a base, and a bundle."""
    at = int.from_bytes(data[:1], "big")
    parts = (ColdPart(BASE, data[1 : 1 + at]), ColdPart(BUNDLE, data[1 + at :]))
    hot = Packer().pack(ClientRecord(UID, 1, b"hot")).record.hot
    with suppress(RefusedDatagram):
        unpack_untrusted(ClientRecord(UID, 1, hot, parts))


def _unpack(body: Body) -> None:
    unpack_untrusted(body.record(()))


def _messages(instance: InstanceName = INSTANCE, stream: int = STREAM) -> list[bytes]:
    packed = Packer().pack(ClientRecord(UID, 1, b"hot part", (ColdPart(3, b"IV_VER=2"),))).record
    names = [part.name for part in packed.cold]
    upsert = en.Upsert(1, 1, pack_body(packed, names, (b"", b"")))
    entries: list[en.Entry] = [
        upsert,
        en.Delete(2, 1, UID, 1),
        en.Counters(3, 1, 1, UID + bytes(12)),
        en.Void(9, 6),
    ]
    base, bundle = packed.cold
    place = (instance, stream)
    to = (node_tag("a"), instance, stream)
    return [
        *en.envelopes(instance, stream, 9, 0, [en.encode_entry(one) for one in entries]),
        m.Cold(*place, base.name, BASE, len(base.data), 0, base.data).encode(),
        m.Cold(*place, bundle.name, BUNDLE, len(bundle.data), 0, bundle.data).encode(),
        m.SnapshotEnd(*place, 9, 0, ((UID, 1),), 1).encode(),
        m.Digest(*place, 9, (0,) * m.BUCKETS).encode(),
        m.Bucket(*place, 9, 3, 0, 1, ((UID, 1),)).encode(),
        m.Ask(*place, node_tag("a"), (UID,)).encode(),
        m.Ack(*to, 3, ((5, 9),), (m.AckEntry(UID, 1, 1, ()),)).encode(),
        m.Nack(*to, 3, ((4, 4),)).encode(),
        m.Resync(*to, True).encode(),
        m.Want(*to, (base.name,)).encode(),
        m.Difference(*to, (3,)).encode(),
        m.Repeat(*to, (UID,)).encode(),
        m.Reject(*to, (m.RejectEntry(UID, 1, 1, "no"),)).encode(),
        History((CHANGE,)).encode(),
        Hello("b", b"c" * 16, (b"e" * 16,), 1, 0, 1, ()).encode(),
        Hello(
            *("b", b"c" * 16, (), 1, 0, 1),
            (HelloState.of(INSTANCE, MASTER, LogHead(stream, 9, 0, 8, 7, complete=True)),),
            1.0,
            *((), "1.0", (b"key1",), b"digest_8"),
        ).encode(),
    ]


def _unpack_seeds() -> Iterable[bytes]:
    record = ClientRecord(UID, 1, b"hot part", (ColdPart(2, b"key"), ColdPart(3, b"IV_VER=2")))
    base, bundle = Packer().pack(record).record.cold
    return [bytes([len(base.data)]) + base.data + bundle.data]


class _ProtocolTarget:
    """A node that follows one which has been taken over: any message, sealed and believed."""

    def __init__(self) -> None:
        self._now = 0.0
        self._begin()

    def _begin(self) -> None:
        self._runs = 0
        config = ReplicationConfig("fuzz", NodeName("a"), (SECRET,))
        self._node = Replication(config, boot=BootId(b"a" * 16), random=_random, now=self._now)
        self._sealer = _sealer("b", b"b" * 16)
        self._rounds = 0
        self._node.datagrams_to_send(self._now)
        self._say_hello()
        self._node.follow(INSTANCE, NodeName("b"), self._now)

    def _say_hello(self) -> None:
        """Answer the node's challenge, which is always the same."""
        self._rounds += 1
        head = LogHead(1 << 32, self._rounds, 0, 1, 0, complete=True)
        states = (HelloState.of(INSTANCE, MASTER, head),)
        hello = Hello("b", b"c" * 16, (bytes(16),), self._rounds, 0, 1, states)
        self._give(Kind.HELLO, hello.encode())

    def _give(self, kind: Kind, payload: bytes) -> None:
        self._node.receive_datagram(self._sealer.seal(kind, payload), "bcn", self._now)

    def __call__(self, data: bytes) -> None:
        self._now += 0.01
        self._runs += 1
        if self._runs > 500:
            self._begin()
        self._say_hello()
        self._give(Kind.STATE, data[:PAYLOAD_LIMIT])
        self._node.handle_timer(self._now)
        sent = self._node.datagrams_to_send(self._now)
        assert sum(len(one.data) for one in sent) < OUTPUT_LIMIT
        while self._node.next_event() is not None:
            pass


COMMANDS = (Status(), ListInstances(), Export(UID, ()), Version(), LoadStats())


def manage(data: bytes) -> None:
    """The management channel, with a command of each kind under way, read in two pieces."""
    channel = Channel()
    for command in COMMANDS[data[0] % len(COMMANDS) :] if data else ():
        channel.send(command)
    cut = len(data) // 2
    try:
        channel.receive_untrusted(data[1:cut])
        channel.receive_untrusted(data[cut:])
    except ManagementError:
        pass
    while channel.next_event() is not None:
        pass


def _management_seeds() -> Iterable[bytes]:
    uid, fingerprint, holder = "00" * 8, "11" * 8, "22" * 16
    lines = [
        "SUCCESS: cluster-status version=2,format=1,role=master,instances=0,"
        f"holder={holder},epoch=1/a,openvpn=2.6.14,local=192.0.2.1,port=1194,proto=udp4,"
        "broadcast=,bcn-port=0,digest=00,cert=00,issuer=00,max-clients=9,capped=0",
        f"{uid},1,2\nEND",
        f"RECORD,{uid},1,2\nHOT,aG90\nCOLD,3,YQ==\nGRANT,{holder},{fingerprint},1,2\nEND",
        f"ERROR: cluster-export {uid}: unknown-client unknown client",
        f">CLUSTER:STATE,standby,{holder}",
        ">CLUSTER:END",
        f">CLUSTER:CHANGED,{uid},1,2,connect",
        f">CLUSTER:DOWN,{uid}",
        f">CLUSTER:RENEG,{uid},3",
        f">CLUSTER:STALE,{uid},{fingerprint},{holder}",
        f">CLUSTER:CAPPED,{uid},{fingerprint}",
        ">CLUSTER:HW," + "AAAA" * 7,
        ">HOLD:Waiting for hold release:0",
        ">FATAL:end",
    ]
    each = [bytes([number % 5]) + f"{line}\r\n".encode() for number, line in enumerate(lines)]
    return [*each, b"\0" + "\r\n".join(lines).encode()]


TARGETS = {
    "opener": Target(_OpenerTarget(), _opener_seeds),
    "decoder": Target(decode, _messages),
    "messages": Target(compose, _compose_seeds),
    "packing": Target(unpack, _unpack_seeds),
    "protocol": Target(_ProtocolTarget(), _messages),
    "grammar": Target(GrammarTarget(_messages), lambda: seeds(2 * len(_messages()))),
    "management": Target(manage, _management_seeds),
}
