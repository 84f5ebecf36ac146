"""Every message and its way there and back; every rule of the format and what breaks it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import (
    NO_EPOCH,
    ClientRecord,
    ColdPart,
    Epoch,
    Fingerprint,
    Grant,
    HolderId,
    InstanceName,
    NodeName,
    Role,
    StoredRange,
    SwitchPhase,
    SwitchReason,
    SwitchState,
    Sync,
)
from ovpnha.replication import entries as en
from ovpnha.replication import messages as m
from ovpnha.replication import records
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.fields import NAMES_LIMIT, RANGES_LIMIT, UIDS_LIMIT
from ovpnha.replication.hello import ECHO_LIMIT, KEYS_LIMIT, Hello, HelloState, LogHead
from ovpnha.replication.history import (
    FIGURE_NAME_LIMIT,
    FIGURES_LIMIT,
    REASON_LIMIT,
    History,
    HistoryEntry,
)
from ovpnha.replication.roundtrip import HEARD_LIMIT, Heard
from ovpnha.replication.sealing import PAYLOAD_LIMIT
from ovpnha.replication.switching import pack_switch
from tests.unit.replication.network import INSTANCE, STATE, make_record, make_uid

TAG = b"t" * 8
UID = make_uid(1)
NAME = b"n" * 16
PARTIAL = dataclasses.replace(STATE, sync=Sync.PARTIAL)

CHANGE = HistoryEntry(
    *(b"k" * 8, 1, NodeName("a"), INSTANCE, 1.5, Role.STANDBY, Role.MASTER, NO_EPOCH, "why"),
    {"clients": 2.0},
)

MESSAGES: list[Any] = [
    Hello("node", b"c" * 16, (b"e" * 16,), 7, 0, 1, (HelloState.of(INSTANCE, STATE),)),
    Hello("node", b"c" * 16, (), 7, 0, 1, (HelloState.of(INSTANCE, PARTIAL),)),
    Hello("node", b"c" * 16, (), 7, 0, 1, (), 1.79e9, (Heard(3, 0.5), Heard(9, 0.0))),
    Hello("node", b"c" * 16, (), 7, 0, 1, (), 0.0, (), "1.0", (b"key1", b"key2"), b"digest_8"),
    m.Goodbye(),
    History((CHANGE, dataclasses.replace(CHANGE, figures={}))),
    m.Snapshot(INSTANCE, 1 << 40, 9, 3, ((UID, 5),)),
    m.SnapshotEnd(INSTANCE, 1 << 40, 9, 3, (), 12),
    m.Cold(INSTANCE, 2, NAME, 7, 1000, 960, b"d" * 40),
    m.Cold(INSTANCE, 2, NAME, 7, 0, 0, b""),
    m.Ask(INSTANCE, 2, TAG, (UID, make_uid(2))),
    m.Digest(INSTANCE, 2, 9, tuple(range(128))),
    m.Bucket(INSTANCE, 2, 9, 127, 0, 2, ((UID, 5),)),
    m.Ack(
        TAG,
        INSTANCE,
        2,
        5,
        ((7, 8),),
        (m.AckEntry(UID, 5, 9, (StoredRange(Fingerprint(b"f" * 8), 500),)),),
    ),
    m.Reject(TAG, INSTANCE, 2, (m.RejectEntry(UID, 5, 9, "collides"),)),
    m.Nack(TAG, INSTANCE, 2, 5, ((6, 6), (9, 12))),
    m.Want(TAG, INSTANCE, 2, (NAME,)),
    m.Resync(TAG, INSTANCE, 0, has_cold=True),
    m.Difference(TAG, INSTANCE, 2, (0, 127)),
    m.Repeat(TAG, INSTANCE, 2, (UID,)),
]

ENTRIES: list[en.Entry] = [
    en.Upsert(9, 2, b"body"),
    en.Fragment(9, 1, 0, 2, b"piece"),
    en.Delete(9, 1, UID, 5),
    en.Counters(9, 1, 1, b"c" * 20),
    en.Renegotiation(9, 1, UID, 7, 1 << 40),
    en.Void(9, 9),
]


def refuse(payload: bytes) -> None:
    with pytest.raises(RefusedDatagram, match="malformed"):
        decode_untrusted(payload)


def pack(*fields: object) -> bytes:
    return bytes(msgpack.packb(fields))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_comes_back(message: Any) -> None:
    assert decode_untrusted(message.encode()) == ([message], 0)


def test_entries_come_back_and_share_datagrams() -> None:
    packed = [en.encode_entry(entry) for entry in ENTRIES]
    [payload] = en.envelopes(INSTANCE, 1, 9, 0, packed)
    [message], _ = decode_untrusted(payload)
    assert message == en.Entries(INSTANCE, 1, 9, 0, tuple(ENTRIES))
    assert message.encode() == payload
    many = en.envelopes(INSTANCE, 1, 9, 0, [en.encode_entry(ENTRIES[2])] * 1000)
    assert all(len(one) <= PAYLOAD_LIMIT for one in many)
    assert len(many) < 30
    assert len(en.envelopes(INSTANCE, 1, 9, 0, [b"\x93\x06\x01\x01"] * 300)) == 2


def test_many_messages_share_a_payload() -> None:
    payload = b"".join(message.encode() for message in MESSAGES[1:5])
    assert decode_untrusted(payload) == (MESSAGES[1:5], 0)


def test_what_a_newer_version_adds_is_skipped() -> None:
    longer = pack(16, TAG, INSTANCE, 2, UID, "a new field", [1, 2])
    assert decode_untrusted(longer) == ([m.Repeat(TAG, INSTANCE, 2, (UID,))], 0)
    assert decode_untrusted(pack(99, "new") + m.Goodbye().encode()) == ([m.Goodbye()], 1)
    [payload] = en.envelopes(INSTANCE, 1, 9, 0, [pack(77, 5, 2, "new kind of entry")])
    [message], _ = decode_untrusted(payload)
    assert isinstance(message, en.Entries)
    assert message.entries == (en.Void(5, 2),)


CHANGED: list[Any] = msgpack.unpackb(History((CHANGE,)).encode())[1][0]
HELLO = ["n", b"c" * 16, [], 1, 0, 1, []]
STATE_FIELDS = [INSTANCE, "master", 1, "a", True, "none", 5, bytes(16), 1, 1, "2.6", "", "", ""]


def with_field(fields: list[Any], at: int, value: Any) -> list[Any]:
    return [*fields[:at], value, *fields[at + 1 :]]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        b"\x80",
        b"\x90",
        b"\x05",
        b"\x91",
        pack("hello"),
        pack(-1),
        pack(1.5),
        pack(16, TAG),
        pack({1: 2}),
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 1000,
        b"\xd6\xff\x00\x00\x00\x00",
        pack(1, *with_field(HELLO, 0, "n" * 65)),
        pack(1, *with_field(HELLO, 0, b"n")),
        pack(1, *with_field(HELLO, 1, b"c" * 15)),
        pack(1, *with_field(HELLO, 2, [b"e" * 16] * 25)),
        pack(1, *with_field(HELLO, 2, b"e" * 16)),
        pack(1, *with_field(HELLO, 4, 1)),
        pack(1, *with_field(HELLO, 5, 1000)),
        pack(1, *with_field(HELLO, 6, [with_field(STATE_FIELDS, 1, "emperor")])),
        pack(1, *with_field(HELLO, 6, [with_field(STATE_FIELDS, 1, [])])),
        pack(1, *with_field(HELLO, 6, [with_field(STATE_FIELDS, 4, 1)])),
        pack(1, *with_field(HELLO, 6, [with_field(STATE_FIELDS, 6, 99999)])),
        pack(1, *with_field(HELLO, 6, [STATE_FIELDS[:9]])),
        pack(3, INSTANCE, 1, 9, 0, [[1, 0, 1, b""]]),
        pack(3, INSTANCE, 1, 9, 0, [[1, 5, 6, b""]]),
        pack(3, INSTANCE, 1, 9, 0, [[2, 5, 1, 2, 2, b""]]),
        pack(3, INSTANCE, 1, 9, 0, [[5, 5, 1, UID, 8]]),
        pack(3, INSTANCE, 1, 9, 0, [[3, 5, 1, b"uid", 8]]),
        pack(3, INSTANCE, 1, 9, 0, [["x", 5, 1]]),
        pack(3, INSTANCE, 1, 9, 0, [[6, 5]]),
        pack(3, INSTANCE, 1, 2**63, 0, []),
        pack(6, INSTANCE, 1, NAME, 7, 10, 5, b"d" * 6),
        pack(6, INSTANCE, 1, NAME, 7, 10, 5, b""),
        pack(6, INSTANCE, 1, NAME, 7, 70_000, 0, b"d"),
        pack(6, INSTANCE, 1, NAME, 7, 1, 0, "d"),
        pack(6, INSTANCE, 1, NAME, 256, 1, 0, b"d"),
        pack(6, INSTANCE, 1, NAME[1:], 7, 1, 0, b"d"),
        pack(7, TAG, INSTANCE, 1, 1, [1], []),
        pack(7, TAG, INSTANCE, 1, 1, [2, 1], []),
        pack(7, TAG, INSTANCE, 1, 1, [0, 1], []),
        pack(7, TAG, INSTANCE, 1, 1, [], [[UID, 1, 1, b"odd"]]),
        pack(10, TAG, INSTANCE, 1, b"n" * 17),
        pack(10, TAG, INSTANCE, 1, b"n" * 16 * 61),
        pack(11, TAG, INSTANCE, 1, 1),
        pack(13, INSTANCE, 1, 1, bytes(8)),
        pack(14, TAG, INSTANCE, 1, b"\x80"),
        pack(4, INSTANCE, 1, 1, 0, UID + b"\xff" * 8),
        pack(1, *HELLO, 0, b"", 1),
        pack(1, *HELLO, 0, b"", "v", b"key"),
        pack(1, *HELLO, 0, b"", "v", b"key1" * 5),
        pack(1, *HELLO, 0, b"", "v", b"key1", b"digest7"),
        pack(17, [CHANGED[:-1]]),
        pack(17, [with_field(CHANGED, 0, b"key")]),
        pack(17, [with_field(CHANGED, 4, -1)]),
        pack(17, [with_field(CHANGED, 5, "king")]),
        pack(17, [with_field(CHANGED, 7, [1])]),
        pack(17, [with_field(CHANGED, 7, [1, "a", 2])]),
        pack(17, [with_field(CHANGED, 8, "two\nlines")]),
        pack(17, [with_field(CHANGED, 8, "r" * 161)]),
        pack(17, [with_field(CHANGED, 9, [["clients"]])]),
        pack(17, [with_field(CHANGED, 9, [["clients", 1.5]])]),
        pack(17, [with_field(CHANGED, 9, [["no name", 1]])]),
        pack(17, [with_field(CHANGED, 9, [["clients", 1]] * 15)]),
        pack(17, [CHANGED] * 17),
    ],
    ids=lambda payload: payload[:24].hex(),
)
def test_what_breaks_the_format_is_malformed(payload: bytes) -> None:
    refuse(payload)


def make_largest_change(long: InstanceName, big: int) -> HistoryEntry:
    node = NodeName("n" * 64)
    figures = {f"{at:x}".rjust(FIGURE_NAME_LIMIT, "f"): 2**40 for at in range(FIGURES_LIMIT)}
    place = (b"k" * 8, big, node, long, 4e9, Role.STANDBY, Role.MASTER, Epoch(big, node))
    return HistoryEntry(*place, "r" * REASON_LIMIT, figures)


def test_no_message_exceeds_a_datagram() -> None:
    long = type(INSTANCE)("i" * 64)
    stored = tuple(StoredRange(Fingerprint(bytes([n]) * 8), 2**40) for n in range(16))
    big = 2**62
    largest: list[Any] = [
        m.SnapshotEnd(long, big, big, big, ((UID, big),) * m.RECENT_LIMIT, big),
        m.Cold(long, big, NAME, 7, 60_000, 0, bytes(m.COLD_CHUNK)),
        m.Ask(long, big, TAG, (UID,) * UIDS_LIMIT),
        m.Repeat(TAG, long, big, (UID,) * UIDS_LIMIT),
        m.Digest(long, big, big, (2**64 - 1,) * m.BUCKETS),
        m.Bucket(long, big, big, 127, 63, 64, ((UID, big),) * m.BUCKET_CLIENTS),
        m.Nack(TAG, long, big, big, ((big, big),) * RANGES_LIMIT),
        m.Want(TAG, long, big, (NAME,) * NAMES_LIMIT),
        m.Difference(TAG, long, big, tuple(range(128))),
        m.Ack(TAG, long, big, big, ((big, big),), (m.AckEntry(UID, big, big, stored),)),
        m.Reject(TAG, long, big, (m.RejectEntry(UID, big, big, "r" * m.REASON_LIMIT),) * 5),
        History((make_largest_change(long, big),)),
    ]
    for message in largest:
        assert len(message.encode()) <= PAYLOAD_LIMIT, type(message).__name__
        assert decode_untrusted(message.encode()) == ([message], 0)
    text = "d" * 200
    state = dataclasses.replace(STATE, digest=text, certificate=text, issuer=text, openvpn=text)
    log = LogHead(big, big, big, big, 2**64 - 1, complete=True)
    hello = Hello(
        "n" * 64,
        b"c" * 16,
        (b"e" * 16,) * ECHO_LIMIT,
        big,
        63,
        64,
        (HelloState.of(long, state, log),),
        4e9,
        (Heard(1, 1.0),) * HEARD_LIMIT,
        "v" * 24,
        (b"key1",) * KEYS_LIMIT,
        b"digest_8",
    )
    assert len(hello.encode()) <= PAYLOAD_LIMIT
    assert len(decode_untrusted(hello.encode())[0]) == 1


def test_what_a_hello_says_of_clocks_and_logs_is_checked() -> None:
    head = LogHead(9, 8, 7, 6, 5, complete=True)
    without = InstanceName("without a log")
    states = HelloState.of(INSTANCE, STATE, head), HelloState.of(without, STATE)
    hello = Hello("node", b"c" * 16, (), 7, 0, 1, states, 1.79e9, (Heard(3, 0.5),))
    assert decode_untrusted(hello.encode()) == ([hello], 0)
    fields = msgpack.unpackb(hello.encode())
    for clock, heard in ((-1, b""), (1, "text"), (1, b"h" * 8 * (HEARD_LIMIT + 1))):
        with pytest.raises(RefusedDatagram):
            decode_untrusted(msgpack.packb([*fields[:8], clock, heard]))
    packed = [9, 8, 7, 6, bytes(8), True]
    broken = [with_field(packed, at, value) for at, value in ((0, -1), (4, bytes(7)), (5, 1))]
    for wrong in (packed[:5], *broken, 1, None):
        state = with_field(fields[7][0], 19, wrong)
        with pytest.raises(RefusedDatagram):
            decode_untrusted(msgpack.packb(with_field(fields, 7, [state])))


def test_the_fields_of_a_state_are_all_needed() -> None:
    hello = Hello("node", b"c" * 16, (), 1, 0, 1, (HelloState.of(INSTANCE, STATE),))
    fields = msgpack.unpackb(hello.encode())
    state = fields[7][0]
    for wrong in (
        *(state[:-5], with_field(state, 6, 40_000)),
        *(with_field(state, 1, "king"), with_field(state, 5, "in tune")),
    ):
        with pytest.raises(RefusedDatagram):
            decode_untrusted(msgpack.packb(with_field(fields, 7, [wrong])))
    with pytest.raises(RefusedDatagram):
        decode_untrusted(msgpack.packb(fields[:9]))


SWITCH = SwitchState(
    *(b"request!", SwitchPhase.FAILED, b"t" * 8, b"m" * 8, 1 << 40, 0.5),
    *(SwitchReason.NOT_MOVED, (0.25, 1.5)),
)


def hello_with(switch: object) -> bytes:
    """A hello whose state says this of a switchover."""
    hello = Hello("node", b"c" * 16, (), 1, 0, 1, (HelloState.of(INSTANCE, STATE),))
    fields = msgpack.unpackb(hello.encode())
    return bytes(msgpack.packb(with_field(fields, 7, [with_field(fields[7][0], 20, switch)])))


def read_switch(switch: object) -> SwitchState | None:
    [read], _ = decode_untrusted(hello_with(switch))
    assert isinstance(read, Hello)
    return read.states[0].state.switchover


def test_what_is_said_of_a_switchover_comes_back() -> None:
    data = pack_switch(SWITCH)
    assert read_switch(data) == SWITCH
    assert read_switch(b"") is None
    longest = dataclasses.replace(SWITCH, within=1e9, times=(1e9,))
    read = read_switch(pack_switch(longest))
    assert read is not None
    assert (read.within, read.times) == (4294967.295, (4294.967295,))


def test_a_sidecar_that_does_not_know_of_switchovers_says_nothing_of_them() -> None:
    fields = msgpack.unpackb(hello_with(b""))
    [read], _ = decode_untrusted(msgpack.packb(with_field(fields, 7, [fields[7][0][:-2]])))
    assert isinstance(read, Hello)
    assert read.states[0].state == STATE


def test_a_later_version_may_say_more_of_a_switchover() -> None:
    data = pack_switch(dataclasses.replace(SWITCH, times=(1.0, 2.0, 3.0, 4.0)))
    assert read_switch(data + b"more") == read_switch(data)
    assert read_switch(data[:8] + bytes([77]) + data[9:]) is None
    later = read_switch(data[:9] + bytes([200]) + data[10:])
    assert later is not None
    assert later.reason is SwitchReason.OTHER


@pytest.mark.parametrize(
    "wrong",
    [
        *("text", 7, pack_switch(SWITCH)[:-1], pack_switch(SWITCH)[:37], b"x" * 256),
        pack_switch(SWITCH)[:26] + b"\xff" * 8 + pack_switch(SWITCH)[34:],
    ],
)
def test_what_cannot_be_said_of_a_switchover_is_malformed(wrong: object) -> None:
    with pytest.raises(RefusedDatagram):
        decode_untrusted(hello_with(wrong))


def test_what_is_said_of_a_switchover_has_255_bytes_and_an_epoch_below_two_to_the_63() -> None:
    longest = pack_switch(dataclasses.replace(SWITCH, epoch=2**63 - 1, times=(1.0, 2.0, 3.0, 4.0)))
    read = read_switch(longest.ljust(255, b"m"))
    assert read is not None
    assert (read.epoch, read.times) == (2**63 - 1, (1.0, 2.0, 3.0, 4.0))
    for wrong in (longest.ljust(256, b"m"), pack_switch(dataclasses.replace(SWITCH, epoch=2**63))):
        with pytest.raises(RefusedDatagram):
            decode_untrusted(hello_with(wrong))


def test_no_number_but_a_number_is_a_reason() -> None:
    with pytest.raises(ValueError, match="not a valid SwitchReason"):
        SwitchReason("words")  # type: ignore[arg-type]


def test_a_body_comes_back() -> None:
    record = make_record(1, 7, holders=15, cold=7)
    names = tuple(part.name for part in record.cold)
    body = records.unpack_body_untrusted(records.pack_body(record, names, (b"hw", b"bytes")))
    assert body.record(record.cold) == record
    assert (body.high_water, body.byte_counts) == (b"hw", b"bytes")
    assert body.cold == tuple(zip(names, range(1, 8), strict=True))
    assert record.hot.hex() not in repr(body)


BODY = [UID, 1, b"hot", NAME, b"\x01", b"", b"", b""]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        pack(*BODY)[:-1],
        pack(*BODY[:7]),
        bytes(msgpack.packb("text")),
        pack(*with_field(BODY, 0, b"short")),
        pack(*with_field(BODY, 1, -1)),
        pack(*with_field(BODY, 2, bytes(1257))),
        pack(*with_field(BODY, 2, None)),
        pack(*with_field(BODY, 3, bytes(17))),
        pack(*with_field(BODY, 3, bytes(16 * 17))),
        pack(*with_field(BODY, 4, b"")),
        pack(*with_field(BODY, 5, b"\x01")),
        pack(*with_field(BODY, 5, b"\x01" + bytes(8) + b"\x01" + bytes(16) + b"\x01" + bytes(9))),
    ],
)
def test_a_broken_body_is_malformed(data: bytes) -> None:
    with pytest.raises(RefusedDatagram, match="malformed"):
        records.unpack_body_untrusted(data)


def make_grants(holders: int, keys: int) -> tuple[Grant, ...]:
    return tuple(
        Grant(HolderId(bytes([h]) * 16), Fingerprint(bytes([k]) * 8), 1000 * h, 1000 * h + 7)
        for h in range(holders)
        for k in range(keys)
    )


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (15, 3), (2, 1)])
def test_grants_come_back(shape: tuple[int, int]) -> None:
    grants = make_grants(*shape)
    assert records.unpack_grants_untrusted(records.pack_grants(grants)) == grants


def test_grants_grow_by_less_than_48_bytes_a_holder() -> None:
    one, two = (len(records.pack_grants(make_grants(count, 3))) for count in (1, 2))
    assert two - one <= 48


@pytest.mark.parametrize("cut", range(1, 60))
def test_truncated_grants_are_malformed(cut: int) -> None:
    packed = records.pack_grants(make_grants(2, 2))
    if cut < len(packed):
        with pytest.raises(RefusedDatagram):
            records.unpack_grants_untrusted(packed[:-cut])
    with pytest.raises(RefusedDatagram):
        records.unpack_grants_untrusted(packed + bytes(cut))


def test_which_records_fit() -> None:
    record = make_record(1)
    assert records.fits(record)
    large = tuple(ColdPart(kind, bytes(33_000)) for kind in (1, 2))
    assert not records.fits(ClientRecord(UID, 1, b"", large))
    many = tuple(ColdPart(kind, b"") for kind in range(17))
    assert not records.fits(ClientRecord(UID, 1, b"", many))
    assert not records.fits(ClientRecord(UID, 1, bytes(1001)))
    assert not records.fits(ClientRecord(UID, 1, b"", (), make_grants(86, 3)))
    assert not records.fits(ClientRecord(UID, 2**63, b""))
