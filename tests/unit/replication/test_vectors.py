"""Known answers: the bytes of every message and datagram, written from docs/wire.md alone.

``encoder`` writes each value below as the page says; ``vectors.json`` keeps the bytes, so that a
later version must understand what this one says, and say it so that this one understands it. A
change of that file is a change of the wire format: it needs a new version in the header.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from ovpnha.model import (
    BootId,
    CheckState,
    ClientRecord,
    ColdPart,
    Epoch,
    Fingerprint,
    Grant,
    HolderId,
    InstanceName,
    InstanceState,
    NodeName,
    Role,
    StockState,
    StoredRange,
    SwitchPhase,
    SwitchState,
    Sync,
    Uid,
    Verdict,
)
from ovpnha.replication import entries as en
from ovpnha.replication import messages as m
from ovpnha.replication import packing, records, sealing
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.events import CountersReceived, RecordReceived, RecordWithdrawn
from ovpnha.replication.hello import Hello, HelloState, LogHead
from ovpnha.replication.history import History, HistoryEntry
from ovpnha.replication.layout import Type
from ovpnha.replication.roundtrip import Heard
from tests.unit.replication import encoder as e
from tests.unit.replication.network import Network

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text())

CLUSTER, NODE, INSTANCE = "büro", "alpha", "udp1194"
CLUSTER_KEY, OTHER_KEY = bytes(range(32)), bytes(range(100, 132))
BOOT, NONCE = bytes(range(0x40, 0x50)), bytes(range(0x60, 0x6C))
SENDER = e.Sender(CLUSTER, NODE, CLUSTER_KEY, BOOT)
NAME = InstanceName(INSTANCE)
STREAM, HEAD, FLOOR = 3 << 32 | 0x1234567, 70_000, 258
TAG = e.node_tag("beta")
UID, UID2 = bytes.fromhex("0102030405060708"), bytes.fromhex("f1f2f3f4f5f6f7f8")
HOLDER, HOLDER2 = bytes(range(0xA0, 0xB0)), bytes(range(0xC0, 0xD0))
KEY1, KEY2 = b"key-one!", b"key-two!"
COLD = e.cold_name(7, b"env")
CHALLENGE, ECHO, ECHO2 = (bytes([n]) * 16 for n in (0x11, 0x22, 0x33))

STATE = InstanceState(
    role=Role.MASTER,
    epoch=Epoch(9, NodeName("alpha")),
    vip=True,
    sync=Sync.SYNCING,
    grade=120,
    holder=HolderId(HOLDER),
    clients=10_000,
    record_format=4,
    openvpn="2.6.14",
    digest="1:d1",
    certificate="c2",
    issuer="i3",
    managed=False,
    origin=Epoch(8, NodeName("beta")),
    touched=True,
    checks=(
        CheckState("lan", Verdict.FAILED, True, False, True, 1_790_000_000, "ö" * 23 + "aöö"),
        CheckState("radius", Verdict.UNKNOWN, resting=True),
    ),
    switchover=SwitchState(
        *(b"request!", SwitchPhase.MOVING, b"beta-tag", b"alphatag", 9, 2.5),
        times=(0.25, 1.000001),
    ),
    paused=True,
)
SWITCH = (
    b"request!"
    + bytes([4, 0])
    + b"beta-tag"
    + b"alphatag"
    + bytes([0, 0, 0, 0, 0, 0, 0, 9])
    + (2500).to_bytes(4, "big")
    + (250_000).to_bytes(4, "big")
    + (1_000_001).to_bytes(4, "big")
)
STATE_FIELDS = [
    *(INSTANCE, "master", 9, "alpha", True, "syncing", 120, HOLDER, 10_000, 4),
    *("2.6.14", "1:d1", "c2", "i3", False, 8, "beta", True, False),
    [STREAM, HEAD, FLOOR, 69_999, bytes.fromhex("8000000000000001"), True],
    SWITCH,
    True,
    [
        ["lan", "failed", True, False, True, 1_790_000_000, "ö" * 23 + "a"],
        ["radius", "unknown", False, True, False, 0, ""],
    ],
    [],
]
LOG = LogHead(STREAM, HEAD, FLOOR, 69_999, 0x8000000000000001, complete=True)
PARTIAL = dataclasses.replace(
    STATE,
    role=Role.STANDBY,
    sync=Sync.PARTIAL,
    vip=False,
    grade=-254,
    switchover=None,
    paused=False,
    stock=StockState(Role.STANDBY, whole=True),
)
PARTIAL_FIELDS = [
    "tcp",
    "standby",
    9,
    "alpha",
    False,
    "syncing",
    -254,
    *STATE_FIELDS[7:18],
    True,
    [],
    b"",
    False,
    STATE_FIELDS[22],
    ["standby", True],
]

# For each name: what the page has, what ovpnha has.
MESSAGES: dict[str, tuple[bytes, Any]] = {
    "hello": (
        e.pack(
            [
                *(1, NODE, CHALLENGE, [ECHO, ECHO2], 1 << 33 | 7, 1, 3),
                [STATE_FIELDS, PARTIAL_FIELDS],
                1_790_000_000_250_000,
                e.heard([(1 << 32 | 258, 1_500_000), (9, 0)]),
                *("1.0.2", SENDER.key_number + b"old!", b"history!"),
            ]
        ),
        Hello(
            NODE,
            CHALLENGE,
            (ECHO, ECHO2),
            1 << 33 | 7,
            1,
            3,
            (HelloState.of(NAME, STATE, LOG), HelloState.of(InstanceName("tcp"), PARTIAL)),
            1_790_000_000.25,
            (Heard(258, 1.5), Heard(9, 0.0)),
            "1.0.2",
            (SENDER.key_number, b"old!"),
            b"history!",
        ),
    ),
    "goodbye": (e.pack([2]), m.Goodbye()),
    "history": (
        e.pack(
            [
                17,
                [
                    [
                        *(b"one key!", 2, NODE, INSTANCE, 1_790_000_000_250_000),
                        *("standby", "master", [7, "beta"], "the VIP arrived"),
                        [["promoted", 4_200], ["clients", 3_000_000]],
                    ]
                ],
            ]
        ),
        History(
            (
                HistoryEntry(
                    *(b"one key!", 2, NodeName(NODE), NAME, 1_790_000_000.25),
                    *(Role.STANDBY, Role.MASTER, Epoch(7, NodeName("beta")), "the VIP arrived"),
                    {"promoted": 0.0042, "clients": 3.0},
                ),
            )
        ),
    ),
    "entries": (
        e.envelope(
            *(INSTANCE, STREAM, HEAD, FLOOR),
            [
                [1, 69_000, 3, b"body"],
                [2, 69_001, 1, 1, 2, b"piece"],
                [3, 69_002, 1, UID, 300],
                [4, 69_003, 1, 2, b"counters"],
                [5, 69_004, 1, UID2, 7, 301],
                [6, 69_900, 896],
            ],
        ),
        en.Entries(
            *(NAME, STREAM, HEAD, FLOOR),
            (
                en.Upsert(69_000, 3, b"body"),
                en.Fragment(69_001, 1, 1, 2, b"piece"),
                en.Delete(69_002, 1, Uid(UID), 300),
                en.Counters(69_003, 1, 2, b"counters"),
                en.Renegotiation(69_004, 1, Uid(UID2), 7, 301),
                en.Void(69_900, 896),
            ),
        ),
    ),
    "snapshot": (
        e.pack([4, INSTANCE, STREAM, HEAD, FLOOR, e.generations([(UID, 300), (UID2, 1)])]),
        m.Snapshot(NAME, STREAM, HEAD, FLOOR, ((Uid(UID), 300), (Uid(UID2), 1))),
    ),
    "snapshot_end": (
        e.pack([5, INSTANCE, STREAM, HEAD, FLOOR, e.generations([(UID, 300)]), 128]),
        m.SnapshotEnd(NAME, STREAM, HEAD, FLOOR, ((Uid(UID), 300),), 128),
    ),
    "cold": (
        e.pack([6, INSTANCE, STREAM, COLD, 7, 1_000, 960, b"end of a part" * 3]),
        m.Cold(NAME, STREAM, COLD, 7, 1_000, 960, b"end of a part" * 3),
    ),
    "ack": (
        e.pack(
            [
                *(7, TAG, INSTANCE, STREAM, 65_536, [65_538, 65_540, 70_000, 70_000]),
                [
                    [UID, 300, 69_000, e.stored([(KEY1, 1 << 40), (KEY2, 4_000)])],
                    [UID2, 1, 2, b""],
                ],
            ]
        ),
        m.Ack(
            *(TAG, NAME, STREAM, 65_536, ((65_538, 65_540), (70_000, 70_000))),
            (
                m.AckEntry(
                    *(Uid(UID), 300, 69_000),
                    (
                        StoredRange(Fingerprint(KEY1), 1 << 40),
                        StoredRange(Fingerprint(KEY2), 4_000),
                    ),
                ),
                m.AckEntry(Uid(UID2), 1, 2, ()),
            ),
        ),
    ),
    "reject": (
        e.pack([8, TAG, INSTANCE, STREAM, [[UID, 300, 69_000, "in-the-way"]]]),
        m.Reject(TAG, NAME, STREAM, (m.RejectEntry(Uid(UID), 300, 69_000, "in-the-way"),)),
    ),
    "nack": (
        e.pack([9, TAG, INSTANCE, STREAM, 5, [6, 6, 9, 127]]),
        m.Nack(TAG, NAME, STREAM, 5, ((6, 6), (9, 127))),
    ),
    "want": (
        e.pack([10, TAG, INSTANCE, STREAM, COLD + e.cold_name(255, b"")]),
        m.Want(TAG, NAME, STREAM, (COLD, e.cold_name(255, b""))),
    ),
    "resync": (
        e.pack([11, TAG, INSTANCE, 0, True]),
        m.Resync(TAG, NAME, 0, has_cold=True),
    ),
    "ask": (
        e.pack([12, INSTANCE, STREAM, TAG, UID + UID2]),
        m.Ask(NAME, STREAM, TAG, (Uid(UID), Uid(UID2))),
    ),
    "digest": (
        e.pack([13, INSTANCE, STREAM, HEAD, b"".join(e.table_digests([(UID, 300), (UID2, 1)]))]),
        m.Digest(
            *(NAME, STREAM, HEAD),
            tuple(
                records.digest_of(Uid(UID), 300) * (number == records.bucket_of(Uid(UID)))
                ^ records.digest_of(Uid(UID2), 1) * (number == records.bucket_of(Uid(UID2)))
                for number in range(128)
            ),
        ),
    ),
    "difference": (
        e.pack([14, TAG, INSTANCE, STREAM, bytes([0, 64, 127])]),
        m.Difference(TAG, NAME, STREAM, (0, 64, 127)),
    ),
    "bucket": (
        e.pack([15, INSTANCE, STREAM, HEAD, e.bucket(UID), 1, 2, e.generations([(UID, 300)])]),
        m.Bucket(NAME, STREAM, HEAD, records.bucket_of(Uid(UID)), 1, 2, ((Uid(UID), 300),)),
    ),
    "repeat": (
        e.pack([16, TAG, INSTANCE, STREAM, UID2 + UID]),
        m.Repeat(TAG, NAME, STREAM, (Uid(UID2), Uid(UID))),
    ),
}

PARTS = [
    (1, b"common name alice, address 198.51.100.7"),
    (2, b"wrap key: 256 bytes in truth"),
    (3, b"IV_VER=2.6.14\nIV_PLAT=linux\n" * 4),
    (4, b"token"),
    (7, b"untrusted_port=40000\nverb=3\n"),
]
COLD_PARTS = tuple(ColdPart(kind, data) for kind, data in PARTS)
HOT = bytes(range(200)) + e.hot_layout()[60:300]
GRANTS = (
    Grant(HolderId(HOLDER), Fingerprint(KEY1), 1_000, 2_000),
    Grant(HolderId(HOLDER), Fingerprint(KEY2), 70_000, 90_000),
    Grant(HolderId(HOLDER2), Fingerprint(KEY1), 2_000, 0xFFFFFFFF),
)
PACKED_GRANTS = e.grants(
    [KEY1, KEY2],
    [(HOLDER, [(0, 1_000, 2_000), (1, 70_000, 90_000)]), (HOLDER2, [(0, 2_000, 0xFFFFFFFF)])],
)
HIGH_WATER, BYTE_COUNTS = b"high-water entry, 20", b"byte counts entry, 24 by"
RECORD = ClientRecord(Uid(UID), 300, HOT, COLD_PARTS, GRANTS)


def make_body() -> bytes:
    base, bundle = e.base_part(PARTS), e.bundle_part(PARTS)
    names = e.cold_name(e.BASE, base) + e.cold_name(e.BUNDLE, bundle)
    kinds = bytes([e.BASE, e.BUNDLE])
    hot = e.deflate(HOT)
    return e.pack([UID, 300, hot, names, kinds, PACKED_GRANTS, HIGH_WATER, BYTE_COUNTS])


def make_vectors() -> dict[str, Any]:
    """What vectors.json holds, as the encoder writes it; ``packed`` is what ovpnha once wrote."""
    hello, state = MESSAGES["hello"][0], MESSAGES["snapshot"][0] + MESSAGES["goodbye"][0]
    other = dataclasses.replace(SENDER, key=OTHER_KEY)
    return {
        "messages": {name: page.hex() for name, (page, _) in MESSAGES.items()},
        "body": make_body().hex(),
        "base": e.base_part(PARTS).hex(),
        "bundle": e.bundle_part(PARTS).hex(),
        "key numbers": [SENDER.key_number.hex(), other.key_number.hex()],
        "datagrams": {
            "hello": SENDER.seal(e.HELLO_KIND, hello, 1, NONCE).hex(),
            "state": SENDER.seal(e.STATE_KIND, state, 2, NONCE[::-1]).hex(),
            "other key": other.seal(e.HELLO_KIND, hello, 1 << 40 | 3, NONCE).hex(),
        },
    }


def keys() -> list[sealing.ClusterKey]:
    salt = sealing.cluster_tag(CLUSTER)
    return [sealing.ClusterKey.create(key, salt) for key in (CLUSTER_KEY, OTHER_KEY)]


def test_the_page_alone_gives_the_bytes_that_are_kept() -> None:
    kept = {name: value for name, value in VECTORS.items() if name != "packed"}
    assert make_vectors() == kept


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_written_and_read_as_the_page_says(name: str) -> None:
    _, ours = MESSAGES[name]
    kept = bytes.fromhex(VECTORS["messages"][name])
    assert decode_untrusted(kept) == ([ours], 0)
    if isinstance(ours, en.Entries):
        entries = [en.encode_entry(entry) for entry in ours.entries]
        written = en.envelopes(ours.instance, ours.stream, ours.head, ours.floor, entries)
        assert written == [kept]
    else:
        assert ours.encode() == kept


def test_every_type_of_message_has_a_vector() -> None:
    assert {bytes.fromhex(kept)[0] & 0xF0 for kept in VECTORS["messages"].values()} == {0x90}
    types = {e.unpack(bytes.fromhex(kept))[0][0] for kept in VECTORS["messages"].values()}
    assert types == set(Type)
    [entries], _ = decode_untrusted(bytes.fromhex(VECTORS["messages"]["entries"]))
    assert isinstance(entries, en.Entries)
    packed = e.unpack(bytes.fromhex(VECTORS["messages"]["entries"]))[0][5]
    assert {entry[0] for entry in packed} == set(en.EntryKind)


def test_datagrams_are_sealed_as_the_page_says() -> None:
    messages = {name: page for name, (page, _) in MESSAGES.items()}
    state = messages["snapshot"] + messages["goodbye"]
    nonces = iter((NONCE, NONCE[::-1]))
    tag = sealing.node_tag(NODE)
    sealer = sealing.Sealer(keys()[0], tag, BootId(BOOT), lambda size: next(nonces)[:size])
    kept = VECTORS["datagrams"]
    assert sealer.seal(sealing.Kind.HELLO, messages["hello"]).hex() == kept["hello"]
    assert sealer.seal(sealing.Kind.STATE, state).hex() == kept["state"]
    assert [key.number.to_bytes(4, "big").hex() for key in keys()] == VECTORS["key numbers"]


def test_datagrams_of_the_page_are_opened() -> None:
    opener = sealing.Opener(keys(), BootId(bytes(16)), 0.0)
    hello, state, other = (bytes.fromhex(one) for one in VECTORS["datagrams"].values())
    opened = opener.open_untrusted(hello, "bcn", 0.0)
    assert (opened.kind, opened.sequence) == (sealing.Kind.HELLO, 1)
    assert (opened.tag, opened.boot) == (e.node_tag(NODE), BOOT)
    assert opened.payload == MESSAGES["hello"][0]
    opener.set_trust(BootId(BOOT), sealing.BootTrust.BELIEVED)
    opened = opener.open_untrusted(state, "bcn", 0.0)
    assert (opened.kind, opened.sequence) == (sealing.Kind.STATE, 2)
    assert opened.payload == MESSAGES["snapshot"][0] + MESSAGES["goodbye"][0]
    assert opener.open_untrusted(other, "bcn", 0.0).sequence == 1 << 40 | 3


def test_a_body_is_written_and_read_as_the_page_says() -> None:
    kept = bytes.fromhex(VECTORS["body"])
    body = records.unpack_body_untrusted(kept)
    assert (body.uid, body.generation, body.grants) == (UID, 300, GRANTS)
    assert (body.high_water, body.byte_counts) == (HIGH_WATER, BYTE_COUNTS)
    base, bundle = (bytes.fromhex(VECTORS[name]) for name in ("base", "bundle"))
    parts = ColdPart(e.BASE, base), ColdPart(e.BUNDLE, bundle)
    assert body.cold == tuple((part.name, part.kind) for part in parts)
    travelling = body.record(parts)
    assert packing.unpack_untrusted(travelling) == RECORD
    names = [part.name for part in parts]
    assert records.pack_body(travelling, names, (HIGH_WATER, BYTE_COUNTS)) == kept


def test_what_is_packed_can_be_read_with_the_page() -> None:
    sent = packing.Packer().pack(RECORD).record
    (base, bundle) = sent.cold
    assert (base.kind, bundle.kind) == (e.BASE, e.BUNDLE)
    assert base.data == e.base_part(PARTS)
    assert e.open_bundle(bundle.data, base.data) == PARTS
    assert e.inflate(sent.hot, e.hot_layout()) == HOT
    assert len(sent.hot) < len(HOT)


def test_what_was_packed_by_the_first_of_this_version_is_read() -> None:
    hot, base, bundle = (bytes.fromhex(VECTORS["packed"][n]) for n in ("hot", "base", "bundle"))
    parts = (ColdPart(e.BASE, base), ColdPart(e.BUNDLE, bundle))
    assert e.open_bundle(bundle, base) == PARTS
    assert packing.unpack_untrusted(ClientRecord(Uid(UID), 300, hot, parts, GRANTS)) == RECORD


def test_only_the_end_of_a_long_first_client_is_the_base() -> None:
    secret = (6, b"password" + bytes(10))
    for size in (3072 - 5 - 1, 3072 - 5, 3072 - 5 + 1, 9_000):
        long = [(1, bytes(n % 251 for n in range(size))), (2, b"k" * 50), (4, b"t"), secret]
        record = ClientRecord(Uid(UID), 1, HOT, tuple(ColdPart(*part) for part in long))
        packer = packing.Packer()
        base, _ = packer.pack(record).record.cold
        assert base.data == e.base_part(long)
        assert base.data == (e.join(long[:1]))[-3072:]
        second, bundle = packer.pack(dataclasses.replace(RECORD, uid=Uid(UID2))).record.cold
        assert second == base, "every client of the stream names the first one's"
        assert e.open_bundle(bundle.data, base.data) == PARTS


def test_one_that_compresses_with_the_largest_window_is_read() -> None:
    far = bytes(number * 7 % 251 for number in range(400)) + bytes(31_000)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    joined = e.join([(7, far + far[:400])])
    packed = compressor.compress(joined) + compressor.flush()
    bundle = ColdPart(e.BUNDLE, bytes(4) + packed)
    hot = e.deflate(HOT)
    record = ClientRecord(Uid(UID), 1, hot, (ColdPart(e.BASE, b""), bundle))
    assert packing.unpack_untrusted(record).cold == (ColdPart(7, far + far[:400]),)


class Stranger:
    """A node that was written with the page: it says what it is told to, and reads the answers."""

    def __init__(self, network: Network) -> None:
        self.sender = e.Sender("test", "page", b"k" * 32, BOOT)
        self.reader = e.Sender("test", "ours", b"k" * 32, b"")
        self.network = network
        self.sequence = self.round = 0

    def say(self, kind: int, payload: bytes) -> None:
        self.sequence += 1
        data = self.sender.seal(kind, payload, self.sequence, self.sequence.to_bytes(12))
        self.network.ends["ours"].protocol.receive_datagram(data, "bcn", self.network.now)

    def hello(self, states: list[Any]) -> None:
        """With an echo of the newest challenge."""
        self.round += 1
        hellos = [said for kind, said in self.hear() if kind == e.HELLO_KIND]
        echoes = [message[2] for message in hellos[-1:]]
        fields = [1, "page", self.round.to_bytes(16), echoes, self.round, 0, 1, states, 0, b""]
        self.say(e.HELLO_KIND, e.pack(fields))

    def hear(self) -> list[tuple[int, list[Any]]]:
        """All that the other end has said: kind of the datagram, message."""
        said = []
        for _, data in self.network.recorded:
            reader = dataclasses.replace(self.reader, boot=data[28:44])
            kind, payload = reader.open(data)
            said += [(kind, message) for message in e.unpack_all(payload)]
        return said


def test_a_standby_takes_records_from_a_master_that_was_written_with_the_page() -> None:
    network = Network()
    ours = network.start("ours")
    stranger = Stranger(network)
    network.run(0.6)
    state = [*STATE_FIELDS[:-5], [], b"", False, []]
    for _ in range(2):
        stranger.hello([state])
        network.run(0.1)
    ours.follow("page")
    network.run(0.1)
    body = make_body()
    cut = len(body) // 2
    base, bundle = e.base_part(PARTS), e.bundle_part(PARTS)
    for entries in (
        [[2, 1, 1, 1, 2, body[cut:]]],
        [[2, 1, 1, 0, 2, body[:cut]], [3, 2, 1, UID2, 5], [4, 3, 1, 1, HIGH_WATER]],
    ):
        stranger.say(e.STATE_KIND, e.envelope("udp1194", STREAM, 3, 0, entries))
    for kind, part in ((e.BASE, base), (e.BUNDLE, bundle)):
        message = [6, "udp1194", STREAM, e.cold_name(kind, part), kind, len(part), 0, part]
        stranger.say(e.STATE_KIND, e.pack(message))
    end = [5, "udp1194", STREAM, 3, 0, e.generations([(UID, 300)]), 1]
    stranger.say(e.STATE_KIND, e.pack(end))
    network.run(0.6)
    records_here = [event.record for event in ours.events if isinstance(event, RecordReceived)]
    gone = [event.uid for event in ours.events if isinstance(event, RecordWithdrawn)]
    payloads = [event.payload for event in ours.events if isinstance(event, CountersReceived)]
    assert (records_here, gone) == ([RECORD], [UID2])
    assert HIGH_WATER in payloads
    acks = [message for kind, message in stranger.hear() if message[0] == 7]
    assert all(ack[1:4] == [e.node_tag("page"), "udp1194", STREAM] for ack in acks)
    assert acks[-1][4:6] == [3, []]
    entries = [entry for ack in acks for entry in ack[6]]
    assert [UID, 300, 1, e.stored([(KEY1, 2_000)])] in entries
