"""What a source and a standby know of their clients."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovpnha.model import (
    ClientRecord,
    Epoch,
    Fingerprint,
    Grant,
    HolderId,
    NodeName,
    StoredRange,
    Uid,
)
from ovpnha.node.master.table import SourceTable
from ovpnha.node.standby.table import Copy, StandbyTable, lacking

UID = Uid(b"u" * 8)
OTHER = Uid(b"o" * 8)
HOLDER = HolderId(b"h" * 16)
KEY = Fingerprint(b"k" * 8)
GRANT = Grant(HOLDER, KEY, 10, 20)
STORED = StoredRange(KEY, 20)
NODE = NodeName("b")
EPOCH = Epoch(1, NodeName("a"))


def record(generation: int = 1, uid: Uid = UID) -> ClientRecord:
    return ClientRecord(uid, generation, b"hot", (), (GRANT,))


class TestSource:
    def test_is_complete_when_all_that_was_listed_is_exported_or_gone(self) -> None:
        table = SourceTable()
        assert not table.complete
        table.take_list({UID: 1, OTHER: 1}, 0.0)
        assert not table.complete
        assert table.export(record(), frozenset({HOLDER}), 0.0)
        assert not table.complete
        assert table.remove(OTHER)
        assert not table.remove(OTHER)
        assert table.complete
        assert len(table) == 1
        assert UID in table

    def test_a_client_is_protected_by_a_copy_with_ranges_of_its_newest_generation(self) -> None:
        table = SourceTable()
        table.take_list({UID: 1}, 5.0)
        table.export(record(), frozenset({HOLDER}), 5.0)
        assert table.protected() == 0
        assert not table.is_protected(UID)
        assert not table.is_protected(OTHER)
        assert table.acknowledge(NODE, UID, 1, (), 6.0) == []
        assert table.protected() == 0
        assert table.oldest_unprotected(7.0) == 2.0
        assert table.acknowledge(NODE, UID, 1, (STORED,), 7.0) == [GRANT]
        assert table.acknowledge(NODE, UID, 1, (STORED,), 7.0) == []
        assert table.protected() == 1
        assert table.is_protected(UID)
        assert table.oldest_unprotected(9.0) == 0.0
        table.change(UID, 2, 10.0)
        assert table.protected() == 0
        assert table.oldest_unprotected(11.0) == 1.0

    def test_a_copy_can_be_lost(self) -> None:
        table = SourceTable()
        table.take_list({UID: 1}, 0.0)
        table.acknowledge(NODE, UID, 1, (STORED,), 0.0)
        table.lose_node(NODE, 1.0)
        table.lose_copy(UID, NODE, 2.0)
        table.lose_copy(OTHER, NODE, 2.0)
        assert table.oldest_unprotected(3.0) == 2.0

    def test_an_older_acknowledgement_takes_nothing_back(self) -> None:
        table = SourceTable()
        table.take_list({UID: 2}, 0.0)
        table.acknowledge(NODE, UID, 2, (STORED,), 0.0)
        table.acknowledge(NODE, UID, 1, (STORED,), 0.0)
        assert table.protected() == 1

    def test_what_is_not_known_is_ignored(self) -> None:
        table = SourceTable()
        assert not table.export(record(), frozenset(), 0.0)
        assert table.acknowledge(NODE, UID, 1, (STORED,), 0.0) == []
        assert table.current(UID, frozenset({HOLDER}))

    def test_a_new_holder_makes_exports_outdated(self) -> None:
        table = SourceTable()
        table.take_list({UID: 1, OTHER: 1}, 0.0)
        table.export(record(), frozenset(), 0.0)
        table.export(record(uid=OTHER), frozenset({HOLDER}), 0.0)
        assert table.outdated(frozenset({HOLDER})) == [UID]
        assert table.outdated(frozenset()) == []
        table.change(OTHER, 2, 0.0)
        assert table.outdated(frozenset()) == [OTHER]


class TestStandby:
    def test_a_copy_serves_only_with_its_generation_and_ranges(self) -> None:
        assert Copy(1, (STORED,), EPOCH).serves(1, (GRANT,))
        assert Copy(1, (STORED,), EPOCH).serves(1, ())
        assert not Copy(1, (STORED,), EPOCH).serves(2, (GRANT,))
        assert not Copy(1, (), None).serves(1, ())
        higher = Grant(HOLDER, KEY, 30, 40)
        assert not Copy(1, (STORED,), EPOCH).serves(1, (GRANT, higher))
        assert lacking(Copy(1, (StoredRange(KEY, 40), STORED), EPOCH), (GRANT, higher)) == []

    def test_a_snapshot_is_imported_when_every_client_is_imported_refused_or_gone(self) -> None:
        table = StandbyTable()
        table.restart(EPOCH)
        third = Uid(b"t" * 8)
        assert table.end_snapshot({UID: 2, OTHER: 1, third: 1}) == []
        assert not table.imported
        table.store(UID, Copy(1, (STORED,), EPOCH))
        assert not table.imported
        assert table.stale() == [UID]
        assert table.lacks() == 3
        table.store(UID, Copy(2, (STORED,), EPOCH))
        table.refuse(OTHER, 1)
        assert not table.imported
        table.remove(third)
        assert table.imported
        assert table.copies == 1
        assert table.rangeless == 0

    def test_a_client_is_outstanding_until_this_very_record_is_here_or_refused(self) -> None:
        table = StandbyTable()
        table.restart(EPOCH)
        table.end_snapshot({UID: 5})
        table.store(UID, Copy(4, (STORED,), EPOCH))
        table.refuse(UID, 4)
        table.store(UID, Copy(5, (STORED,), Epoch(0, NODE)))
        table.refuse(OTHER, 9)
        assert not table.imported
        table.store(UID, Copy(5, (STORED,), EPOCH))
        assert table.imported
        table.end_snapshot({UID: 6})
        assert not table.imported
        table.refuse(UID, 6)
        assert table.imported

    def test_what_is_not_in_the_snapshot_is_to_be_dropped(self) -> None:
        table = StandbyTable()
        table.find({UID: 1, OTHER: 1})
        assert table.rangeless == 0, "what it has is not known"
        table.restart(EPOCH)
        assert table.end_snapshot({UID: 1}) == [OTHER]
        assert not table.imported, "a copy that was found has yet to be confirmed"
        table.store(UID, Copy(1, (STORED,), EPOCH))
        assert table.imported

    def test_a_new_epoch_ends_what_was_heard_in_older_ones(self) -> None:
        table = StandbyTable()
        table.restart(EPOCH)
        table.hear(UID, 7)
        table.hear(UID, 6)
        assert table.heard(UID) == 7
        table.restart(EPOCH)
        assert table.heard(UID) == 7
        table.restart(Epoch(2, NODE))
        assert table.heard(UID) == -1

    def test_a_lost_table_leaves_what_was_heard(self) -> None:
        table = StandbyTable()
        table.restart(EPOCH)
        table.hear(UID, 1)
        table.store(UID, Copy(1, (STORED,), EPOCH))
        table.lose()
        assert table.copy(UID) is None
        assert table.lacks() == 1
        assert table.stale() == []

    def test_a_lost_table_is_not_imported(self) -> None:
        table = StandbyTable()
        table.end_snapshot({})
        assert table.imported
        table.lose()
        assert not table.imported


GENERATIONS = st.dictionaries(st.sampled_from([UID, OTHER]), st.integers(0, 5))


@given(GENERATIONS, GENERATIONS)
def test_nothing_stale_escapes(heard: dict[Uid, int], held: dict[Uid, int]) -> None:
    table = StandbyTable()
    table.find(held)
    for uid, generation in heard.items():
        table.hear(uid, generation)
    kept = set(held) - set(table.stale())
    assert all(held[uid] >= heard.get(uid, -1) for uid in kept)
    assert table.lacks() == len([uid for uid in heard if held.get(uid, -1) < heard[uid]])
