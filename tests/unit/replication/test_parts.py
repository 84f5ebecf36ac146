"""The small parts by themselves: pace, log, cold cache, sender, counters, fragments, names."""

from __future__ import annotations

import pytest

from ovpnha.errors import ConfigError
from ovpnha.model import ColdPart, CounterKind, InstanceName, NodeName, Uid
from ovpnha.replication import cold_receiver, counters, fragments, incomplete_records, log
from ovpnha.replication.acknowledgements import clip_reason
from ovpnha.replication.cold_receiver import ColdReceiver
from ovpnha.replication.cold_sender import ColdSender
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.counters import (
    LINES,
    MOST_TURNS,
    LastCounters,
    LateCounters,
    WaitingCounters,
)
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.differences import Differences
from ovpnha.replication.entries import (
    EntryKind,
    Fragment,
)
from ovpnha.replication.incomplete_records import IncompleteRecords
from ovpnha.replication.log import CompactedLog
from ovpnha.replication.messages import (
    COLD_CHUNK,
    Bucket,
    Cold,
    Want,
)
from ovpnha.replication.pacing import TokenBucket
from ovpnha.replication.records import Body
from tests.unit.replication.network import INSTANCE, make_uid

A, B = make_uid(1), make_uid(2)


def test_a_token_bucket_fills_to_its_burst() -> None:
    bucket = TokenBucket(10, 5, 0.0)
    assert bucket.take(5, 0.0)
    assert not bucket.take(1, 0.05)
    assert bucket.take(1, 0.11)
    assert bucket.available(100.0) == 5
    bucket.spend(15, 100.0)
    assert bucket.available(100.5) == -5
    assert bucket.when(2) == pytest.approx(101.2, abs=0.001)
    assert bucket.available(100.1) == -5, "a clock that goes back earns nothing"


def test_in_the_log_only_the_newest_of_a_client_stands() -> None:
    entries = CompactedLog()
    first, second = entries.upsert(A), entries.upsert(B)
    assert (first, second, entries.span(2)) == (1, 2, 1)
    assert entries.upsert(A) == 3
    assert entries.get(1) is None
    assert (entries.next_from(1), entries.span(2), entries.span(3)) == (2, 2, 1)
    assert entries.delete(B, 7) == 4
    assert (entries.next_from(1), entries.span(3)) == (3, 3)
    assert entries.next_from(5) == 5 > entries.head
    assert len(entries) == 2


def test_a_record_makes_the_renegotiation_before_it_void() -> None:
    entries = CompactedLog()
    entries.renegotiation(A, 1, 1)
    entries.renegotiation(A, 2, 1)
    assert len(entries) == 1
    entries.upsert(A)
    slot = entries.get(3)
    assert len(entries) == 1
    assert slot is not None
    assert slot.kind is EntryKind.UPSERT


def test_the_log_is_bounded_by_its_clients_and_constants() -> None:
    entries = CompactedLog()
    for number in range(log.RENEGOTIATIONS_LIMIT + 50):
        entries.renegotiation(make_uid(number), 1, 1)
    assert len(entries) == log.RENEGOTIATIONS_LIMIT
    entries.upsert(make_uid(60))
    for number in range(60, 80):
        entries.renegotiation(make_uid(number + 10_000), 1, 1)
    for number in range(1000):
        entries.counters(1, bytes(900), 5.0, number / 10)
    assert entries.lost == entries.head - 51, "those of the last five seconds are kept"
    for _ in range(20_000):
        entries.upsert(A)
    assert len(entries) < log.RENEGOTIATIONS_LIMIT + 51 + 3
    assert len(entries._order) < 2 * len(entries) + 300
    assert entries.floor == 0


def test_forgotten_deletes_raise_the_floor() -> None:
    entries = CompactedLog()
    back = make_uid(1)
    entries.delete(back, 1)
    entries.upsert(back)
    for number in range(2, 2 + log.DELETES_LIMIT):
        entries.delete(make_uid(number), 1)
    assert entries.floor == 0, "the delete that went was void already"
    entries.delete(make_uid(1_000_000), 1)
    assert entries.floor == 3


def make_chunks(part: ColdPart) -> list[Cold]:
    total = len(part.data)
    return [
        Cold(INSTANCE, 1, part.name, part.kind, total, at, part.data[at : at + COLD_CHUNK])
        for at in range(0, max(1, total), COLD_CHUNK)
    ]


def test_a_cold_part_is_whole_when_every_chunk_is_here_in_any_order() -> None:
    cache = ColdReceiver()
    part = ColdPart(7, bytes(range(256)) * 20)
    chunks = make_chunks(part)
    assert [cache.add(chunk) for chunk in reversed(chunks)] == [False] * 5 + [True]
    assert cache.get(part.name) == part
    assert not cache.add(chunks[0])
    assert len(cache) == 1


def test_a_cold_part_that_is_not_what_its_name_says_is_thrown_away() -> None:
    cache = ColdReceiver()
    part = ColdPart(7, b"x" * 10)
    wrong = Cold(INSTANCE, 1, part.name, 6, 10, 0, part.data)
    assert not cache.add(wrong)
    assert part.name not in cache
    assert cache.add(make_chunks(part)[0])


def test_chunks_that_do_not_fit_together_are_ignored() -> None:
    cache = ColdReceiver()
    part = ColdPart(7, bytes(3000))
    chunks = make_chunks(part)
    cache.add(chunks[0])
    assert not cache.add(Cold(INSTANCE, 1, part.name, 7, 2000, COLD_CHUNK, bytes(960)))
    assert not cache.add(Cold(INSTANCE, 1, part.name, 7, 3000, 17, bytes(960)))
    assert [cache.add(chunk) for chunk in chunks[1:]] == [False, False, True]


def test_an_empty_cold_part() -> None:
    cache = ColdReceiver()
    part = ColdPart(3, b"")
    assert cache.add(make_chunks(part)[0])
    assert cache.get(part.name) == part


def test_parts_that_nobody_names_are_bounded() -> None:
    cache = ColdReceiver()
    parts = [ColdPart(1, number.to_bytes(4, "big") + bytes(50_000)) for number in range(50)]
    for part in parts:
        for chunk in make_chunks(part):
            cache.add(chunk)
    assert cache.bytes <= cold_receiver.UNNAMED_LIMIT
    assert parts[0].name not in cache
    assert parts[-1].name in cache


def test_a_named_part_stays_until_it_is_named_no_longer() -> None:
    cache = ColdReceiver()
    part = ColdPart(1, b"content")
    cache.name((part.name,))
    cache.name((part.name,))
    cache.add(make_chunks(part)[0])
    for number in range(50):
        for chunk in make_chunks(ColdPart(2, number.to_bytes(4, "big") + bytes(50_000))):
            cache.add(chunk)
    assert part.name in cache
    cache.unname((part.name,))
    assert part.name in cache
    cache.unname((part.name,))
    cache.name((part.name,))
    cache.unname((part.name,))
    for number in range(50, 100):
        for chunk in make_chunks(ColdPart(2, number.to_bytes(4, "big") + bytes(50_000))):
            cache.add(chunk)
    assert part.name not in cache
    cache.name((b"n" * 16,))
    cache.unname((b"n" * 16,))


def test_incomplete_parts_are_bounded() -> None:
    cache = ColdReceiver()
    for number in range(1000):
        name = number.to_bytes(16, "big")
        cache.add(Cold(INSTANCE, 1, name, 1, 60_000, 0, bytes(COLD_CHUNK)))
    assert len(cache._partial) <= cold_receiver.PARTIAL_LIMIT // 60_000


def test_a_sender_holds_equal_parts_once_and_drops_them_when_unused() -> None:
    sender = ColdSender(InstanceName("x"), 1)
    part = ColdPart(3, b"same")
    names = sender.use((part,))
    assert sender.use((part,)) == names
    assert sender.take_fresh() == list(names)
    assert sender.take_fresh() == []
    sender.release(names)
    assert not sender.left_since(4.0, part.name)
    assert len(sender.chunks(part.name, 5.0)) == 1
    assert sender.left_since(4.5, part.name)
    assert not sender.left_since(5.1, part.name)
    sender.release(names)
    assert part.name not in sender
    assert sender.chunks(part.name, 6.0) == []


def high_water(uid: Uid, key: int, value: int) -> bytes:
    return uid + key.to_bytes(8, "big") + value.to_bytes(4, "big")


def test_the_newest_counters_are_kept_of_known_clients() -> None:
    kept = LastCounters()
    payload = high_water(A, 1, 10) + high_water(B, 1, 10) + high_water(A, 2, 5) + b"rest"
    kept.note(CounterKind.HIGH_WATER, payload, {A})
    kept.note(CounterKind.HIGH_WATER, high_water(A, 1, 11), {A})
    kept.note(CounterKind.BYTES, A + bytes(16), {A})
    assert kept.of(A) == (high_water(A, 2, 5) + high_water(A, 1, 11), A + bytes(16))
    assert kept.of(B) == (b"", b"")
    for key in range(100):
        kept.note(CounterKind.HIGH_WATER, high_water(A, key, 1), {A})
    assert len(kept.of(A)[0]) == 20 * counters.KEYS_LIMIT


def test_counters_wait_for_the_import_and_go_in_full_lines() -> None:
    emitted: list[tuple[CounterKind, bytes]] = []
    late = LateCounters(lambda kind, payload: emitted.append((kind, payload)))
    uids = [make_uid(number) for number in range(60)]
    for uid in uids:
        late.expect(uid, high_water(uid, 1, 1), b"")
    late.note(CounterKind.HIGH_WATER, high_water(uids[0], 1, 9))
    assert all(late.imported(uid) for uid in uids)
    assert [len(payload) for _, payload in emitted] == [880]
    late.flush()
    assert [len(payload) for _, payload in emitted] == [880, 320]
    assert emitted[0][1][:20] == high_water(uids[0], 1, 9)
    assert not late.imported(A)


def test_fragments_of_many_numbers_are_bounded() -> None:
    pieces = fragments.Fragments()
    for number in range(1, 1000):
        assert pieces.add(Fragment(number, 1, 0, 2, b"a")) == b""
    assert len(pieces._pieces) == fragments.NUMBERS_LIMIT
    assert pieces.add(Fragment(999, 1, 1, 2, b"b")) == b"ab"


def asked(records: IncompleteRecords) -> list[tuple[bytes, ...]]:
    """What each message asks for."""
    said = [decode_untrusted(one)[0][0] for one in records.wants(b"t" * 8, INSTANCE, 1)]
    return [one.names for one in said if isinstance(one, Want)]


def wanted(records: IncompleteRecords) -> set[bytes]:
    return {name for names in asked(records) for name in names}


def test_what_is_asked_for_at_a_time() -> None:
    records = IncompleteRecords()
    names = {number.to_bytes(16, "big") for number in range(48 * 60 + 1)}
    records.add(Body(A, 1, b"", (), ()), names)
    assert [len(one) for one in asked(records)] == [60] * 48
    for name in list(names)[: 47 * 60]:
        records.arrived(name)
    assert [len(one) for one in asked(records)] == [60, 1]


def test_incomplete_records_are_bounded_and_forgotten() -> None:
    records = IncompleteRecords()
    name, other = b"n" * 16, b"o" * 16
    first = Body(A, 1, bytes(1000), ((name, 1), (other, 2)), ())
    second = Body(B, 1, bytes(1000), ((name, 1),), ())
    records.add(first, {name, other})
    records.add(second, {name})
    assert wanted(records) == {name, other}
    assert records.arrived(name) == [second]
    records.remove(A)
    assert asked(records) == []
    assert len(records) == 0
    records.add(first, {name})
    records.add(second, {name})
    records.remove(A)
    assert wanted(records) == {name}
    records.remove(B)
    for number in range(incomplete_records.INCOMPLETE_LIMIT // 1000):
        records.add(Body(make_uid(number), 1, bytes(1000), (), ()), {name})
    assert not records.has_room(first)


def test_a_reason_is_clipped_at_a_whole_character() -> None:
    assert clip_reason("ok") == "ok"
    assert len(clip_reason("é" * 200).encode()) == 120
    assert len(clip_reason("x" + "é" * 200).encode()) == 119


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cluster": ""}, "cluster"),
        ({"node": "n" * 65}, "node"),
        ({"keys": ()}, "32 bytes"),
        ({"keys": (b"short",)}, "32 bytes"),
        ({"keys": (b"k" * 32, b"k" * 32)}, "twice"),
        ({"links": ()}, "link"),
    ],
)
def test_a_wrong_configuration_is_refused_with_one_line(
    options: dict[str, object], text: str
) -> None:
    values = {"cluster": "c", "node": NodeName("n"), "keys": (b"k" * 32,), **options}
    with pytest.raises(ConfigError, match=text):
        ReplicationConfig(**values)  # type: ignore[arg-type]


def test_the_configuration_does_not_show_its_keys() -> None:
    assert "kkkk" not in repr(ReplicationConfig("c", NodeName("n"), (b"k" * 32,)))


def test_a_bucket_that_nobody_asked_for_says_nothing() -> None:
    bucket = Bucket(INSTANCE, 1, 0, 7, 0, 1, ((A, 1),))
    assert Differences().take(bucket, {}) == []


def waiting(*lines: bytes) -> WaitingCounters:
    told = WaitingCounters()
    for payload in lines:
        told.add(CounterKind.HIGH_WATER, payload)
    return told


def test_of_counters_that_wait_some_leave_at_each_turn_in_their_order() -> None:
    told = waiting(*(bytes([number]) for number in range(2 * LINES + 1)))
    turns = []
    while told:
        turns.append([payload[0] for _, payload in told.take()])
    assert [len(turn) for turn in turns] == [LINES, LINES, 1]
    assert [number for turn in turns for number in turn] == list(range(2 * LINES + 1))
    assert told.take() == []


def test_counters_that_wait_are_all_gone_after_some_turns_however_many() -> None:
    told = waiting(*(b"x" for _ in range(LINES * MOST_TURNS * 4)))
    assert len(told.take()) == LINES * 4
    assert len(told.take(everything=True)) == LINES * MOST_TURNS * 4 - LINES * 4
    assert not told


def test_what_waits_of_a_client_is_taken_with_all_before_it() -> None:
    told = waiting(A + b"1", B + b"1", A + b"2", B + b"2")
    assert told.take_of(make_uid(3)) == []
    assert [payload for _, payload in told.take_of(A)] == [A + b"1", B + b"1", A + b"2"]
    assert [payload for _, payload in told.take()] == [B + b"2"]
