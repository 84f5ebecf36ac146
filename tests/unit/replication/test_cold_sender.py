"""The cold parts that a source's records name: each leaves once, and goes with the last of them."""

from __future__ import annotations

from dataclasses import replace

from ovpnha.model import ClientRecord, ColdPart, Uid
from ovpnha.replication.cold_receiver import ColdReceiver
from ovpnha.replication.cold_sender import ColdSender
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.messages import Cold
from ovpnha.replication.published import PublishedTable
from tests.unit.replication.network import INSTANCE

SLACK = 0.001
PART, OTHER = ColdPart(7, b"part"), ColdPart(7, b"other")


def sent(sender: ColdSender, part: ColdPart, now: float = 5.0) -> list[Cold]:
    found: list[Cold] = []
    for payload in sender.chunks(part.name, now):
        [message], _ = decode_untrusted(payload)
        assert isinstance(message, Cold)
        found.append(message)
    return found


def test_a_part_is_there_until_the_last_record_that_names_it_is_gone() -> None:
    sender = ColdSender(INSTANCE, 1)
    assert sender.use((PART, OTHER)) == (PART.name, OTHER.name)
    assert sender.use((PART,)) == (PART.name,)
    sender.release((PART.name, OTHER.name))
    assert (PART.name in sender, OTHER.name in sender) == (True, False)
    assert len(sent(sender, PART)) == 1
    assert sent(sender, OTHER) == []
    sender.release((PART.name,))
    assert PART.name not in sender
    assert sent(sender, PART) == []
    assert not sender.left_since(0.0, PART.name), "the next that is named so has not left yet"


def test_what_is_new_is_taken_once() -> None:
    sender = ColdSender(INSTANCE, 1)
    sender.use((PART, OTHER, PART))
    assert sender.take_fresh((OTHER.name, b"gone")) == [OTHER.name]
    assert sender.take_fresh((OTHER.name,)) == []
    assert sender.take_fresh() == [PART.name]
    sender.use((PART,))
    assert sender.take_fresh() == []


def test_what_has_left_may_be_on_its_way_from_that_moment_on() -> None:
    sender = ColdSender(INSTANCE, 1)
    sender.use((PART, OTHER))
    sent(sender, PART, 5.0)
    assert sender.left_since(5.0, PART.name)
    assert not sender.left_since(5.0 + SLACK, PART.name)
    assert not sender.left_since(0.0, OTHER.name)


def test_each_piece_but_the_last_has_960_bytes_and_an_empty_part_has_one() -> None:
    for size, pieces in ((0, [0]), (1, [1]), (960, [960]), (961, [960, 1]), (1920, [960, 960])):
        sender, receiver = ColdSender(INSTANCE, 1), ColdReceiver()
        part = ColdPart(7, b"p" * size)
        sender.use((part,))
        chunks = sent(sender, part)
        assert [len(chunk.data) for chunk in chunks] == pieces
        assert [receiver.add(chunk) for chunk in chunks] == [False] * (len(pieces) - 1) + [True]
        assert receiver.get(part.name) == part


def test_a_record_that_comes_again_names_its_parts_once() -> None:
    sender = ColdSender(INSTANCE, 1)
    table, uid = PublishedTable(sender), Uid(b"12345678")
    record = ClientRecord(uid, 1, b"hot", (PART,))
    table.put(record)
    base, bundle = table[uid].names
    table.put(replace(record, generation=2))
    assert table[uid].names == (base, bundle)
    table.put(replace(record, cold=(OTHER,)))
    other = table[uid].names[1]
    assert (base in sender, bundle in sender, other in sender) == (True, False, True)
    table.remove(uid)
    assert (base in sender, other in sender) == (False, False)
