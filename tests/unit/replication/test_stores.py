"""What is kept, to the last byte and the last entry, and what goes first when there is no room."""

from __future__ import annotations

import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import ColdPart, CounterKind, Fingerprint, StoredRange, Uid
from ovpnha.replication.acknowledgements import Acknowledgements
from ovpnha.replication.challenges import Challenge, Challenges
from ovpnha.replication.cold_receiver import ColdReceiver
from ovpnha.replication.counters import LastCounters, LateCounters
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.entries import (
    Fragment,
)
from ovpnha.replication.fields import RANGES_LIMIT
from ovpnha.replication.fragments import Fragments
from ovpnha.replication.hello import LogHead
from ovpnha.replication.incomplete_records import IncompleteRecords
from ovpnha.replication.log import CompactedLog
from ovpnha.replication.messages import (
    Ack,
    AckEntry,
    Cold,
    RejectEntry,
)
from ovpnha.replication.proof import Proof
from ovpnha.replication.ranges import RangeSet
from ovpnha.replication.records import Body
from ovpnha.replication.roundtrip import Distance, Heard, SentRounds
from ovpnha.replication.sealing import ReplayWindow
from tests.unit.replication.network import INSTANCE, make_uid

MIB = 1024 * 1024
SLACK = 0.001


def whole(number: int, size: int) -> tuple[ColdPart, Cold]:
    part = ColdPart(7, number.to_bytes(4, "big") + bytes(size - 4))
    return part, Cold(INSTANCE, 1, part.name, part.kind, size, 0, part.data)


def test_a_mebibyte_of_cold_parts_without_a_name_is_kept_the_newest() -> None:
    cache = ColdReceiver()
    parts = [whole(number, MIB // 16) for number in range(16)]
    for _, chunk in parts:
        assert cache.add(chunk)
    assert (len(cache), cache.bytes) == (16, MIB)
    small, chunk = whole(99, 5)
    assert cache.add(chunk)
    assert (len(cache), cache.bytes) == (16, MIB - MIB // 16 + 5)
    assert parts[0][0].name not in cache
    assert small.name in cache


def test_a_named_part_makes_room_for_others_until_it_is_named_no_longer() -> None:
    cache = ColdReceiver()
    (named, chunk), *others = (whole(number, MIB // 16) for number in range(17))
    cache.name((named.name,))
    cache.add(chunk)
    for _, other in others:
        cache.add(other)
    assert len(cache) == 17
    cache.unname((named.name,))
    assert len(cache) == 16
    assert named.name in cache, "it is the newest of those without a name"
    cache.name((named.name,))
    cache.add(whole(50, MIB // 16)[1])
    assert len(cache) == 17, "the bytes of one that is named again count no more"


def test_four_mebibytes_of_incomplete_cold_parts_are_kept_the_newest() -> None:
    cache = ColdReceiver()
    size = 65_536
    parts = [ColdPart(7, number.to_bytes(4, "big") + bytes(size - 4)) for number in range(65)]

    def add(part: ColdPart, at: int) -> bool:
        data = part.data[at : at + 960]
        return cache.add(Cold(INSTANCE, 1, part.name, part.kind, size, at, data))

    def complete(part: ColdPart) -> bool:
        return [add(part, at) for at in range(960, size, 960)][-1]

    for part in parts[:64]:
        assert not add(part, 0)
    assert complete(parts[0]), "64 of 64 KiB are kept"
    assert not add(parts[64], 0)
    assert complete(parts[1]), "and one more, in the place of the one that is whole"
    add(parts[0], 0)
    for part in (ColdPart(7, b"x" * size), ColdPart(7, b"y" * size)):
        add(part, 0)
    assert not complete(parts[2]), "the oldest one went"


def make_body(number: int, hot: int) -> Body:
    return Body(make_uid(number), 1, bytes(hot), (), ())


def test_four_mebibytes_of_hot_parts_may_wait() -> None:
    room = IncompleteRecords()
    for number in range(4):
        assert room.has_room(make_body(number, MIB))
        room.add(make_body(number, MIB), {b"name"})
    assert room.has_room(make_body(9, 0))
    assert not room.has_room(make_body(9, 1))
    room.remove(make_uid(0))
    assert room.has_room(make_body(9, MIB))
    assert not room.has_room(make_body(9, MIB + 1))
    assert len(room.arrived(b"name")) == 3
    assert room.has_room(make_body(9, 4 * MIB))


def test_pieces_of_sixty_four_numbers_are_kept() -> None:
    kept = Fragments()
    for number in range(1, 65):
        assert kept.add(Fragment(number, 1, 0, 2, b"a")) == b""
    assert kept.add(Fragment(1, 1, 1, 2, b"b")) == b"ab", "none was dropped yet"
    kept.add(Fragment(65, 1, 0, 2, b"a"))
    kept.add(Fragment(66, 1, 0, 2, b"a"))
    assert kept.add(Fragment(2, 1, 1, 2, b"b")) == b"", "the oldest was"
    assert kept.add(Fragment(66, 1, 1, 2, b"b")) == b"ab"


def test_a_window_reaches_2047_below_the_highest() -> None:
    window = ReplayWindow()
    window.accept(5_000, "a")
    window.check(5_000 - 2_047, "a")
    with pytest.raises(RefusedDatagram, match="replayed"):
        window.check(5_000 - 2_048, "a")
    window.accept(5_000 - 2_047, "a")
    window.accept(5_001, "a")
    with pytest.raises(RefusedDatagram, match="replayed"):
        window.check(5_000, "a")
    with pytest.raises(RefusedDatagram, match="duplicate"):
        window.check(5_000, "b")
    window.accept(5_000 + 2_047, "a")
    with pytest.raises(RefusedDatagram, match="replayed"):
        window.check(5_000, "a")
    window.check(5_002, "a")


def test_a_round_trip_is_known_for_32_rounds() -> None:
    rounds = SentRounds()
    for number in range(33):
        rounds.note(number, 100.0 + number)
    assert rounds.round_trip(Heard(0, 0.0), 200.0) is None
    assert rounds.round_trip(Heard(1, 0.25), 102.0) == pytest.approx(0.75)
    assert rounds.round_trip(Heard(32, 9.0), 133.0) == 0.0, "never less than nothing"
    rounds.note(1 << 32 | 5, 300.0)
    assert rounds.round_trip(Heard(5, 0.0), 301.0) == 1.0


def test_the_best_of_the_last_eight_ways_counts() -> None:
    peer = Distance()
    peer.add(0.010, 1_000.0, 999.0)
    for _ in range(7):
        peer.add(0.030, 1_000.0, 999.0)
    best = peer.best
    assert best is not None
    assert best.round_trip == 0.010
    assert best.offset == pytest.approx(1.005)
    peer.add(0.020, 0.0, 999.0)
    best = peer.best
    assert best is not None
    assert (best.round_trip, best.offset) == (0.020, None), "who tells no time is not off"


def test_a_renegotiation_is_forgotten_after_4096_others_and_a_delete_too() -> None:
    log = CompactedLog()
    for number in range(4_096):
        log.renegotiation(make_uid(number), 1, 1)
    assert log.get(1) is not None
    log.renegotiation(make_uid(5_000), 1, 1)
    assert log.get(1) is None
    assert log.get(2) is not None
    log = CompactedLog()
    for number in range(4_096):
        log.delete(make_uid(number), 1)
    assert (log.floor, len(log)) == (0, 4_096)
    log.delete(make_uid(5_000), 1)
    assert (log.floor, len(log)) == (1, 4_096)


def test_counters_are_kept_for_their_time() -> None:
    log = CompactedLog()
    log.counters(1, b"one", 5.0, 100.0)
    log.counters(1, b"two", 5.0, 105.0)
    assert log.lost == 0
    log.counters(1, b"three", 5.0, 105.0 + SLACK)
    assert (log.lost, log.get(1)) == (1, None)
    assert log.counters_after(0, 0.0) == [2, 3]
    assert log.counters_after(2, 0.0) == log.counters_after(0, 105.0 + SLACK) == [3]


def entry(uid: Uid, key: int, value: int) -> bytes:
    """A high-water mark: client, key, number."""
    return uid + bytes([key]) * 8 + value.to_bytes(4, "big")


def test_eight_keys_of_a_client_have_their_newest_mark() -> None:
    marks = LastCounters()
    uid = make_uid(1)
    for key in range(8):
        marks.note(CounterKind.HIGH_WATER, entry(uid, key, 1), {uid})
    marks.note(CounterKind.HIGH_WATER, entry(uid, 0, 2), {uid})
    kept, _ = marks.of(uid)
    assert len(kept) == 8 * 20
    assert entry(uid, 0, 2) in kept
    marks.note(CounterKind.HIGH_WATER, entry(uid, 9, 1) + entry(make_uid(2), 1, 1)[:19], {uid})
    kept, _ = marks.of(uid)
    assert len(kept) == 8 * 20
    assert entry(uid, 1, 1) not in kept, "the one that was told of longest ago went"
    assert entry(uid, 0, 2) in kept


def counts(uid: Uid, read: int, written: int) -> bytes:
    return uid + read.to_bytes(8, "big") + written.to_bytes(8, "big")


@pytest.mark.parametrize("keys", [1, 3])
def test_an_older_line_that_arrives_later_changes_nothing(keys: int) -> None:
    """It was lost, and repeated; where a client is being imported nobody else would notice."""
    said: list[bytes] = []
    marks, late = LastCounters(), LateCounters(lambda _kind, payload: said.append(payload))
    uid = make_uid(1)
    newer = b"".join(entry(uid, key, 0x0100) for key in range(keys))
    older = b"".join(entry(uid, key, 0x00FF) for key in range(keys))
    late.expect(uid, b"", b"")
    for kind, payload in [
        *[(CounterKind.HIGH_WATER, newer), (CounterKind.HIGH_WATER, older)],
        *[(CounterKind.BYTES, counts(uid, 0x0100, 7)), (CounterKind.BYTES, counts(uid, 0xFF, 8))],
    ]:
        marks.note(kind, payload, {uid})
        late.note(kind, payload)
    assert marks.of(uid) == (newer, counts(uid, 0x0100, 8))
    late.imported(uid)
    late.flush()
    assert said == [newer, counts(uid, 0x0100, 8)]


def test_counters_go_in_lines_of_880_bytes() -> None:
    marks = LastCounters()
    for number in range(100):
        uid = make_uid(number)
        marks.note(CounterKind.HIGH_WATER, entry(uid, 1, 1), {uid})
        marks.note(CounterKind.BYTES, uid + bytes(16), {uid})
    batches = list(marks.batches())
    sizes = {kind: [len(data) for one, data in batches if one is kind] for kind in CounterKind}
    assert sizes == {
        CounterKind.HIGH_WATER: [880, 880, 240],
        CounterKind.BYTES: [864, 864, 672],
    }
    said: list[int] = []
    late = LateCounters(lambda _kind, payload: said.append(len(payload)))
    for number in range(45):
        late.expect(make_uid(number), entry(make_uid(number), 1, 1), b"")
        late.imported(make_uid(number))
        assert said == ([880] if number == 44 else [])
    late.flush()
    assert said == [880, 20]


def head(number: int, stream: int = 1, *, complete: bool = True) -> LogHead:
    return LogHead(stream, number, 0, number, 0, complete)


def test_a_head_is_late_at_its_bound_and_not_before() -> None:
    proof = Proof()
    proof.hear(head(5), 100.0)
    assert not proof.judge(2.0, 102.0 - SLACK)
    assert proof.proved
    assert proof.judge(2.0, 102.0)
    assert not proof.proved
    assert not proof.judge(2.0, 103.0), "that is no news"
    proof.reach(lambda one: one.head <= 5)
    assert proof.judge(2.0, 103.0)
    assert proof.proved


def test_heads_that_come_within_a_tenth_of_a_second_share_the_place_of_the_first() -> None:
    for gap, late in ((0.1 - SLACK, 100.2 + 2.0), (0.1, 100.2 + 0.1 + 2.0)):
        proof = Proof()
        proof.hear(head(1), 100.0)
        proof.hear(head(2), 100.2)
        proof.hear(head(3), 100.2 + gap)
        proof.reach(lambda one: one.head <= 2)
        assert not proof.judge(2.0, late - SLACK)
        assert proof.judge(2.0, late)


def test_ranges_that_touch_are_one_and_others_are_not() -> None:
    numbers = RangeSet()
    for first, last in ((5, 6), (1, 1), (3, 3), (9, 9)):
        numbers.add(first, last)
    assert list(numbers) == [(1, 1), (3, 3), (5, 6), (9, 9)]
    assert numbers.missing(10, 10) == [(2, 2), (4, 4), (7, 8), (10, 10)]
    assert numbers.missing(9, 10) == [(2, 2), (4, 4), (7, 8)]
    assert numbers.missing(10, 3) == [(2, 2), (4, 4), (7, 8)]
    assert numbers.above(3, 1) == [(9, 9)]
    assert numbers.above(5, 9) == [(9, 9)]
    numbers.add(4, 4)
    assert list(numbers) == [(1, 1), (3, 6), (9, 9)]
    numbers.add(7, 8)
    assert list(numbers) == [(1, 1), (3, 9)]
    assert (2 in numbers, 3 in numbers, 9 in numbers, 10 in numbers) == (False, True, True, False)
    numbers.remove(4, 8)
    assert list(numbers) == [(1, 1), (3, 3), (9, 9)]
    assert numbers.cumulative() == 1
    numbers.remove(1, 1)
    assert numbers.cumulative() == 0
    assert next(iter(numbers)) == (3, 3)


def test_an_acknowledgement_has_room_for_a_quarter_of_the_gaps() -> None:
    received = RangeSet()
    for number in range(2, 2 * RANGES_LIMIT, 2):
        received.add(number, number)
    (message,) = Acknowledgements().messages(bytes(8), INSTANCE, 1, received)
    ((ack,), _) = decode_untrusted(message)
    assert isinstance(ack, Ack)
    assert len(ack.ranges) == RANGES_LIMIT // 4


def acks_of(*stored: int, gaps: int = 0) -> list[int]:
    """How many clients each ack tells of, when so many ranges of each are stored."""
    received = RangeSet()
    for number in range(2, 2 * gaps + 1, 2):
        received.add(number, number)
    outcomes = Acknowledgements()
    for number, count in enumerate(stored):
        ranges = (StoredRange(Fingerprint(bytes(8)), 5),) * count
        outcomes.conclude(AckEntry(make_uid(number), 1, number + 1, ranges))
    told = []
    for message in outcomes.messages(bytes(8), INSTANCE, 1, received):
        ((ack,), _) = decode_untrusted(message)
        assert isinstance(ack, Ack)
        told.append(len(ack.entries))
    return told


def test_an_acknowledgement_has_room_for_so_many_bytes_of_clients_and_gaps() -> None:
    assert acks_of() == [0]
    assert acks_of(*[0] * 24) == [24]
    assert acks_of(*[0] * 25) == [24, 1], "24 clients at most"
    assert acks_of(*[1] * 18) == [18]
    assert acks_of(*[1] * 19) == [18, 1], "30 bytes for a client, 16 for a range, of 850"
    full = (16, 16, 8, 0, 0, 0, 0)
    assert acks_of(*full, *full) == [7, 7], "850 bytes each"
    assert acks_of(16, 16, 14, *full) == [3, 7], "826 of them leave 24"
    assert acks_of(*[0] * 22, gaps=11) == [21, 1], "18 bytes for each gap"
    assert acks_of(*[0] * 22, gaps=10) == [22]


def test_refusals_share_messages_by_five() -> None:
    outcomes = Acknowledgements()
    for number in range(11):
        outcomes.conclude(RejectEntry(make_uid(number), 1, number + 1, "why"))
    told = [
        decode_untrusted(one)[0][0] for one in outcomes.messages(bytes(8), INSTANCE, 1, RangeSet())
    ]
    assert [len(getattr(one, "entries", ())) for one in told] == [0, 5, 5, 1]


def test_a_source_that_asks_is_told_of_those_clients_only_that_have_an_outcome() -> None:
    outcomes = Acknowledgements()
    outcomes.conclude(AckEntry(make_uid(1), 1, 5, ()))
    outcomes.conclude(AckEntry(make_uid(2), 1, 6, ()))
    outcomes.forget(make_uid(2))

    def told() -> list[Uid]:
        (message,) = outcomes.messages(bytes(8), INSTANCE, 1, RangeSet())
        ((ack,), _) = decode_untrusted(message)
        assert isinstance(ack, Ack)
        return [entry.uid for entry in ack.entries]

    assert told() == [make_uid(1)]
    assert not outcomes.repeat((make_uid(2), make_uid(3)))
    assert told() == []
    assert outcomes.repeat((make_uid(3), make_uid(1), make_uid(2)))
    assert told() == [make_uid(1)]


def test_a_challenge_proves_something_for_its_time_and_is_then_forgotten() -> None:
    drawn = iter(range(1, 9))
    challenges = Challenges(lambda size: bytes([next(drawn)]) * size, 2.4)
    first, second = challenges.draw(100.0), challenges.draw(101.0)
    assert (len(first), challenges.drawn) == (16, 2)
    echoes = (first, b"x" * 16, second)
    assert list(challenges.proofs(echoes, 102.4 - SLACK)) == [
        Challenge(1, 100.0),
        Challenge(2, 101.0),
    ]
    assert list(challenges.proofs(echoes, 102.4)) == [Challenge(2, 101.0)]
    assert first in challenges, "the way of a hello that carried it can still be measured"
    challenges.draw(102.4 - SLACK)
    assert first in challenges
    challenges.draw(102.4)
    assert [one in challenges for one in (first, second)] == [False, True]
