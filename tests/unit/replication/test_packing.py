"""Packed parts: what was packed unpacks to the same, what was not packed by us is malformed."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import RECORD_LIMIT, ClientRecord, ColdKind, ColdPart, NodeName, Uid
from ovpnha.replication import packing
from ovpnha.replication.pacing import Delay
from ovpnha.replication.packing import BASE, BUNDLE, Packer, unpack_untrusted

KEY = ColdPart(ColdKind.WRAP, b"\x91wrap key" * 20)
PEER_INFO = ColdPart(ColdKind.PEER_INFO, b"IV_VER=2.6.14\nIV_PLAT=linux\n" * 4)


def record(number: int, *cold: ColdPart) -> ClientRecord:
    return ClientRecord(Uid(number.to_bytes(8, "big")), 1, b"hot" * 9, cold)


def environment(name: bytes) -> ColdPart:
    return ColdPart(ColdKind.ENVIRONMENT, b"common_name=" + name + b"\n")


def unpacked(*cold: ColdPart) -> ClientRecord:
    hot = Packer().pack(record(1)).record.hot
    return unpack_untrusted(replace(record(1), hot=hot, cold=cold))


def test_what_was_packed_is_the_same_again() -> None:
    packer = Packer()
    for number in range(5):
        one = record(number, KEY, PEER_INFO, environment(b"client%d" % number))
        assert unpack_untrusted(packer.pack(one).record) == one
    assert unpack_untrusted(packer.pack(record(9)).record) == record(9)


def test_what_clients_have_in_common_travels_once() -> None:
    packer = Packer()
    first = packer.pack(record(1, PEER_INFO, environment(b"one"))).record
    second = packer.pack(record(2, PEER_INFO, environment(b"two"))).record
    assert first.cold[0] is second.cold[0]
    assert [part.kind for part in second.cold] == [BASE, BUNDLE]
    assert len(second.cold[1].data) < 40


def test_a_base_holds_no_secret() -> None:
    password = ColdPart(ColdKind.ENVIRONMENT, b"password=secret\n")
    base, _ = (
        Packer().pack(record(1, KEY, ColdPart(ColdKind.TOKEN, b"token"), password)).record.cold
    )
    assert base.data == b""


def test_only_what_has_changed_is_packed_anew() -> None:
    packer = Packer()
    before = packer.pack(record(1, PEER_INFO))
    rekeyed = packer.pack(replace(record(1, PEER_INFO), hot=b"other"), before)
    assert rekeyed.record.cold is before.record.cold
    assert rekeyed.record.hot != before.record.hot
    assert packer.pack(record(1, KEY), before).record.hot is before.record.hot


def test_the_largest_record_travels() -> None:
    rest = RECORD_LIMIT - 27
    part = ColdPart(ColdKind.OPTIONS, b"".join(i.to_bytes(4, "big") for i in range(rest))[:rest])
    one = record(1, part)
    packed = Packer().pack(one).record
    assert len(packed.cold[0].data) <= packing.BASE_LIMIT
    assert unpack_untrusted(packed) == one


def bundle(keys: bytes, rest: bytes, size: int | None = None) -> ColdPart:
    head = (len(keys) if size is None else size).to_bytes(4, "big")
    return ColdPart(BUNDLE, head + keys + packing._deflate(rest, b""))


def part(kind: int, size: int, data: bytes) -> bytes:
    return bytes([kind]) + size.to_bytes(4, "big") + data


@pytest.mark.parametrize(
    "cold",
    [
        ColdPart(BUNDLE, b""),
        ColdPart(BUNDLE, bytes(4)),
        ColdPart(BUNDLE, bytes(4) + b"no deflate"),
        bundle(b"", b"", size=99),
        bundle(b"\x01", b""),
        bundle(b"", b"\x01"),
        bundle(b"", part(1, 5, b"four")),
        bundle(b"", part(0, 0, b"")),
        bundle(b"", part(BASE, 0, b"")),
        bundle(b"", part(BUNDLE, 0, b"")),
        bundle(b"", part(1, 0, b"") * 17),
        bundle(part(1, 0, b"") * 9, part(1, 0, b"") * 9),
        bundle(b"", part(1, RECORD_LIMIT, bytes(RECORD_LIMIT))),
        bundle(b"", bytes(10_000_000)),
        ColdPart(BUNDLE, bundle(b"", b"").data + b"more"),
        ColdPart(BUNDLE, bundle(b"", part(1, 50, bytes(range(50)))).data[:-3]),
    ],
)
def test_a_broken_bundle_is_malformed(cold: ColdPart) -> None:
    with pytest.raises(RefusedDatagram, match="malformed"):
        unpacked(cold)


def test_a_hot_part_that_grows_beyond_its_limit_is_malformed() -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(1_000_000)) + compressor.flush()
    with pytest.raises(RefusedDatagram, match="malformed"):
        unpack_untrusted(replace(record(1), hot=bomb))


def test_the_gap_follows_a_slow_receiver_and_forgets_slowly() -> None:
    delay = Delay(0.03)
    assert delay.gap(0.0) == 0.03
    delay.note(NodeName("b"), 5, 0.2)
    assert delay.gap(0.0) == pytest.approx(0.3)
    delay.note(NodeName("b"), 5, 9.0)  # nothing new has arrived
    delay.note(NodeName("c"), 1, 0.01)
    assert delay.gap(0.0) == pytest.approx(0.27)
    assert delay.gap(0.1) == pytest.approx(0.27)
    assert delay.gap(0.4) == pytest.approx(0.6)  # something is under way for longer than that
    assert delay.gap(9.0) == pytest.approx(3.75)
    delay.note(NodeName("b"), 6, 99.0)
    assert delay.gap(0.0) == pytest.approx(1.5)


def test_a_slow_receiver_slows_the_pace_and_a_fast_one_restores_it() -> None:
    delay = Delay(0.03)
    for reached in range(1, 50):
        delay.note(NodeName("b"), reached, 0.6)
    assert delay.share == pytest.approx(0.65)
    for reached in range(50, 100):
        delay.note(NodeName("b"), reached, 0.05)
    assert delay.share == 1.0
