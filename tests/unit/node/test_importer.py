"""A standby's duties, one by one."""

from __future__ import annotations

from ovpnha.management.codes import Code
from ovpnha.management.commands import Drop, Import, Status, Update
from ovpnha.management.notices import DownNotice
from ovpnha.management.replies import DemoteReply, Done, ImportReply, Refused, UpdateReply
from ovpnha.model import NO_EPOCH, CounterKind, Epoch, Grant, StoredRange, Sync, Uid
from ovpnha.node.openvpn.pipeline import BULK_IN_FLIGHT, IN_FLIGHT
from ovpnha.node.openvpn.refusals import LASTS_AFTER
from ovpnha.node.standby.completeness import RANGELESS_AFTER, SETTLE_WAIT
from ovpnha.node.standby.counters import COUNTERS_WAITING, CounterRelay
from ovpnha.node.standby.importer import Importer, ImporterStatistics
from ovpnha.node.standby.retries import EAGER_TRIES
from ovpnha.node.standby.table import Copy
from ovpnha.replication.events import RenegotiationHeard
from tests.unit.node.doubles import (
    EPOCH,
    GRANT,
    HOLDER,
    INSTANCE,
    KEY,
    STORED,
    A,
    B,
    Desk,
    record,
    uid,
)


class Standby(Desk):
    """An importer that follows node a."""

    def __init__(self) -> None:
        super().__init__()
        self.importer = Importer(self.openvpn, self.backchannel)
        self.relay = CounterRelay(self.openvpn)
        self.importer.follow(A, EPOCH, 0.0)
        self.backchannel.taken()

    def answer(self, command: Import, *stored: StoredRange) -> None:
        self.importer.imported(ImportReply(command, stored), 1.0)

    def refuse(self, command: Import, now: float) -> None:
        self.importer.refused(command, Refused(command, Code.FULL, "no room"), now)


def import_of(number: int = 0, generation: int = 1) -> Import:
    return Import(record(number, generation), (GRANT,))


def test_a_snapshot_is_imported_piece_by_piece() -> None:
    desk = Standby()
    records = [record(number) for number in range(200)]
    for one in records:
        desk.importer.take_record(one, 0.0)
    assert len(desk.commands()) == BULK_IN_FLIGHT
    desk.importer.end_snapshot({one.uid: 1 for one in records}, 0.0)
    for one in records:
        assert desk.importer.sync(EPOCH, 0.0) is Sync.SYNCING
        desk.answer(Import(one, (GRANT,)), STORED)
    assert desk.importer.sync(EPOCH, 0.0) is Sync.IN_SYNC
    assert desk.importer.sync(Epoch(2, B), 0.0) is Sync.SYNCING
    assert len(desk.backchannel.taken()) == 200
    for number in range(200, 400):
        desk.importer.take_record(record(number), 0.0)
    assert len(desk.commands()) == 200 - BULK_IN_FLIGHT + IN_FLIGHT


def test_only_own_grants_are_imported_and_none_before_the_holder_is_known() -> None:
    desk = Standby()
    other = Grant(type(HOLDER)(b"x" * 16), KEY, 20, 30)
    desk.openvpn.holder = None
    desk.importer.take_record(record(grants=(GRANT, other)), 0.0)
    assert desk.commands() == []
    drawn = DemoteReply(HOLDER)
    desk.openvpn.take(drawn, 0.0)
    desk.importer.take(drawn, 0.0)
    desk.openvpn.flush()
    written = desk.outputs.popleft()
    assert b"GRANT," + HOLDER.hex().encode() in written.data  # type: ignore[union-attr]
    assert b"GRANT," + (b"x" * 16).hex().encode() not in written.data  # type: ignore[union-attr]


def test_what_openvpn_holds_already_is_only_acknowledged() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.answer(Import(one, (GRANT,)), STORED)
    desk.commands()
    desk.backchannel.taken()
    desk.importer.take_record(record(), 0.0)
    assert desk.commands() == []
    assert desk.backchannel.taken() == [("acknowledge", uid(), 1, (STORED,))]


def test_a_stale_record_is_not_imported() -> None:
    desk = Standby()
    desk.importer.hear_generation(uid(), 3)
    desk.importer.take_record(record(generation=2), 0.0)
    assert desk.commands() == []


def test_a_generation_of_an_older_master_is_dropped_first() -> None:
    desk = Standby()
    desk.importer.table.find({uid(): 7})
    desk.importer.take_record(record(generation=6), 0.0)
    assert desk.commands() == [f"cluster-drop {uid().hex()}", f"cluster-import {uid().hex()} 6"]


def test_a_client_that_goes_while_it_is_imported_is_dropped_after() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.importer.withdraw(uid(), 0.0)
    assert desk.commands() == [f"cluster-import {uid().hex()} 1", f"cluster-drop {uid().hex()}"]
    again = record(generation=2)
    desk.importer.take_record(again, 0.0)
    assert desk.commands() == []
    desk.answer(Import(one, (GRANT,)), STORED)
    assert desk.backchannel.taken() == []
    assert desk.commands() == [f"cluster-import {uid().hex()} 2"]
    desk.answer(Import(again, (GRANT,)), STORED)
    assert desk.backchannel.taken() == [("acknowledge", uid(), 2, (STORED,))]


def test_a_client_that_is_not_there_is_not_dropped() -> None:
    desk = Standby()
    desk.importer.withdraw(uid(), 0.0)
    assert desk.commands() == []


def test_the_last_client_that_was_missing_goes_and_the_copy_is_complete() -> None:
    desk = Standby()
    desk.importer.end_snapshot({uid(): 1}, 0.0)
    assert desk.importer.sync(EPOCH, 0.0) is Sync.SYNCING
    desk.importer.withdraw(uid(), 0.0)
    assert desk.importer.sync(EPOCH, 0.0) is Sync.IN_SYNC


def test_ranges_that_were_not_stored_are_tried_once_more_from_nothing() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.commands()
    desk.answer(Import(one, (GRANT,)))
    assert desk.commands() == [f"cluster-drop {uid().hex()}", f"cluster-import {uid().hex()} 1"]
    desk.answer(Import(one, (GRANT,)))
    assert desk.commands() == []
    assert desk.backchannel.taken() == [("acknowledge", uid(), 1, ())]
    assert desk.importer.table.rangeless == 1


def test_an_answer_for_an_older_record_does_not_pass_for_that_of_a_newer_one() -> None:
    """The first was published before the master knew our holder id, and has no range for us."""
    desk = Standby()
    first, second = record(grants=()), record()
    desk.importer.take_record(first, 0.0)
    desk.importer.take_record(second, 0.0)
    desk.commands()
    desk.answer(Import(first, ()))
    assert desk.backchannel.taken() == []
    desk.answer(Import(second, (GRANT,)), STORED)
    assert desk.backchannel.taken() == [("acknowledge", uid(), 1, (STORED,))]


def test_a_refusal_of_an_older_record_does_not_pass_for_that_of_a_newer_one() -> None:
    desk = Standby()
    first, second = record(), record(generation=2)
    desk.importer.take_record(first, 0.0)
    desk.importer.take_record(second, 0.0)
    desk.commands()
    desk.refuse(Import(first, ()), 0.0)
    assert desk.backchannel.taken() == []
    desk.refuse(Import(second, ()), 0.0)
    assert desk.backchannel.taken() == [("reject", uid(), 2, "no room")]


def test_what_waited_for_its_second_try_goes_when_what_is_here_serves() -> None:
    """A grant came and went: the refused record is older than the one that the copy serves."""
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.answer(Import(one, (GRANT,)), STORED)
    more = record(grants=(GRANT, Grant(HOLDER, KEY, 500, 600)))
    desk.importer.take_record(more, 0.0)
    desk.refuse(Import(more, ()), 0.0)
    desk.commands()
    desk.backchannel.taken()
    desk.importer.take_record(record(), 1.0)
    assert desk.backchannel.taken() == [("acknowledge", uid(), 1, (STORED,))]
    desk.importer.handle_timer(60.0)
    assert desk.commands() == []


def test_a_newer_record_that_waits_takes_the_place_of_the_second_try() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.importer.take_record(record(generation=2), 0.0)
    desk.commands()
    desk.answer(Import(one, (GRANT,)))
    assert desk.commands() == [f"cluster-drop {uid().hex()}", f"cluster-import {uid().hex()} 2"]


def test_a_record_that_cannot_be_imported_in_place_is_imported_anew() -> None:
    desk = Standby()
    one = record()
    command = Import(one, ())
    why = Refused(command, Code.DROP_FIRST, "its options differ")
    desk.importer.take_record(one, 0.0)
    desk.commands()
    desk.importer.refused(command, why, 0.0)
    assert desk.commands() == [f"cluster-drop {uid().hex()}", f"cluster-import {uid().hex()} 1"]
    desk.importer.refused(command, why, 0.0)
    assert desk.commands() == []
    assert desk.backchannel.taken() == [("reject", uid(), 1, "its options differ")]


def test_a_refusal_is_told_and_counts_as_an_answer() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.importer.end_snapshot({uid(): 1}, 0.0)
    desk.refuse(Import(one, ()), 0.0)
    assert desk.backchannel.taken() == [("reject", uid(), 1, "no room")]
    assert desk.openvpn.counters["imports_refused"] == 1
    assert desk.importer.sync(EPOCH, 0.0) is Sync.SYNCING
    desk.importer.handle_timer(SETTLE_WAIT)
    assert desk.importer.sync(EPOCH, SETTLE_WAIT) is Sync.PARTIAL


def test_a_copy_is_not_whole_while_a_client_is_refused_for_long() -> None:
    desk = Standby()
    desk.importer.end_snapshot({}, 0.0)
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.refuse(Import(one, ()), 0.0)
    assert desk.importer.sync(EPOCH, LASTS_AFTER - 1.0) is Sync.IN_SYNC
    assert desk.importer.sync(EPOCH, LASTS_AFTER) is Sync.PARTIAL
    assert [one.reason for one in desk.importer.refusals.lasting(LASTS_AFTER)] == ["no room"]
    desk.importer.handle_timer(LASTS_AFTER)
    desk.answer(Import(one, (GRANT,)), STORED)
    assert desk.importer.sync(EPOCH, LASTS_AFTER) is Sync.IN_SYNC


def test_a_refused_client_that_goes_is_missed_no_more() -> None:
    desk = Standby()
    desk.importer.end_snapshot({}, 0.0)
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.refuse(Import(one, ()), 0.0)
    desk.importer.withdraw(uid(), LASTS_AFTER)
    assert desk.importer.sync(EPOCH, LASTS_AFTER) is Sync.IN_SYNC


def test_a_refused_record_is_tried_again_when_another_client_goes() -> None:
    """The address of a new client may still be held by the one that had it before."""
    desk = Standby()
    one = record()
    desk.importer.table.find({uid(5): 1})
    desk.importer.take_record(one, 0.0)
    desk.refuse(Import(one, ()), 0.0)
    desk.commands()
    desk.importer.withdraw(uid(5), 0.0)
    assert desk.commands() == [f"cluster-drop {uid(5).hex()}", f"cluster-import {uid().hex()} 1"]
    assert desk.importer.get_timer() == LASTS_AFTER
    desk.answer(Import(one, (GRANT,)), STORED)
    assert desk.importer.table.lacks() == 0


def test_a_refused_record_is_tried_again_less_and_less_often_and_told_once() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    now = 0.0
    for wait in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0):
        desk.commands()
        desk.refuse(Import(one, ()), now)
        desk.importer.handle_timer(now + wait - 0.5)
        assert desk.commands() == []
        assert desk.importer.get_timer() == now + wait or now < LASTS_AFTER
        now += wait
        desk.importer.handle_timer(now)
        assert desk.commands() == [f"cluster-import {uid().hex()} 1"]
    assert len(desk.backchannel.taken()) == 1


def test_what_was_refused_often_waits_for_its_turn_when_another_client_goes() -> None:
    desk = Standby()
    desk.importer.table.find({uid(5): 1})
    one = record()
    desk.importer.take_record(one, 0.0)
    for _ in range(EAGER_TRIES + 1):
        desk.refuse(Import(one, ()), 0.0)
        desk.importer.handle_timer(100.0)
    desk.refuse(Import(one, ()), 100.0)
    desk.commands()
    desk.importer.withdraw(uid(5), 100.0)
    assert desk.commands() == [f"cluster-drop {uid(5).hex()}"]


def test_a_newer_record_takes_the_place_of_a_refused_one() -> None:
    desk = Standby()
    one, newer = record(), record(generation=2)
    desk.importer.take_record(one, 0.0)
    desk.importer.take_record(newer, 0.0)
    desk.commands()
    desk.refuse(Import(one, ()), 0.0)
    assert desk.commands() == [f"cluster-import {uid().hex()} 2"]
    desk.importer.take_record(record(generation=3), 0.0)
    desk.importer.handle_timer(2.0)
    desk.refuse(Import(newer, ()), 0.0)
    assert desk.commands() == [f"cluster-import {uid().hex()} 3"]
    desk.importer.handle_timer(9.0)
    desk.refuse(Import(newer, ()), 9.0)
    assert desk.commands() == []


def test_a_copy_without_ranges_waits_for_them_for_a_while() -> None:
    desk = Standby()
    one = record(grants=())
    desk.importer.take_record(one, 0.0)
    assert desk.importer.get_timer() is None
    desk.importer.end_snapshot({uid(): 1}, 1.0)
    desk.answer(Import(one, ()))
    assert desk.importer.sync(EPOCH, 1.0) is Sync.SYNCING
    assert desk.importer.get_timer() == 1.0 + SETTLE_WAIT
    desk.importer.judge(1.0 + SETTLE_WAIT)
    assert desk.importer.sync(EPOCH, 1.0 + SETTLE_WAIT) is Sync.PARTIAL
    assert desk.importer.get_timer() is None
    granted = record()
    desk.importer.take_record(granted, 7.0)
    desk.answer(Import(granted, (GRANT,)), STORED)
    assert desk.importer.sync(EPOCH, 7.0) is Sync.IN_SYNC


def test_a_whole_copy_that_lacks_packet_ids_for_a_moment_is_whole() -> None:
    desk = Standby()
    desk.importer.end_snapshot({}, 0.0)
    one = record(grants=())
    desk.importer.take_record(one, 0.0)
    desk.answer(Import(one, ()))
    assert desk.importer.sync(EPOCH, RANGELESS_AFTER) is Sync.IN_SYNC
    assert desk.importer.get_timer() == 1.0 + RANGELESS_AFTER
    assert desk.importer.sync(EPOCH, 1.0 + RANGELESS_AFTER) is Sync.PARTIAL
    assert desk.importer.rangeless(1.0 + RANGELESS_AFTER) == 1


def test_answers_that_come_after_the_end_change_nothing() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.importer.stop(0.0)
    desk.backchannel.taken()
    desk.answer(Import(one, (GRANT,)), STORED)
    desk.refuse(Import(one, ()), 0.0)
    assert desk.backchannel.taken() == []
    assert desk.importer.table.copies == 0


def test_an_import_for_the_last_master_is_not_acknowledged_to_the_next() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.importer.follow(B, Epoch(2, B), 0.0)
    desk.backchannel.taken()
    desk.answer(Import(one, (GRANT,)), STORED)
    assert desk.backchannel.taken() == []
    assert desk.importer.table.copy(uid()) == Copy(1, (STORED,), EPOCH)


def test_whom_it_follows() -> None:
    desk = Standby()
    importer = desk.importer
    importer.follow(A, EPOCH, 0.0)
    assert desk.backchannel.taken() == []
    importer.follow(A, Epoch(2, A), 0.0)
    assert desk.backchannel.taken() == [("follow", A), ("resync",)]
    importer.follow(None, NO_EPOCH, 0.0)
    importer.follow(None, NO_EPOCH, 0.0)
    assert desk.backchannel.taken() == [("follow", None)]
    assert importer.sync(EPOCH, 0.0) is Sync.NONE


def test_counters_go_one_command_at_a_time() -> None:
    desk = Standby()
    entry = bytes(20)
    desk.relay.push(CounterKind.HIGH_WATER, entry)
    desk.relay.push(CounterKind.HIGH_WATER, entry)
    desk.relay.push(CounterKind.BYTES, bytes(24))
    assert desk.commands() == ["cluster-update"]
    desk.relay.take(UpdateReply(1, 2), 0.0)
    assert desk.commands() == ["cluster-update"]
    assert desk.openvpn.counters["updates_unknown"] == 2
    desk.relay.take(Refused(Update(()), Code.FULL, ""), 0.0)
    assert desk.commands() == []


def test_counters_that_wait_are_bounded() -> None:
    desk = Standby()
    for _ in range(COUNTERS_WAITING + 3):
        desk.relay.push(CounterKind.HIGH_WATER, bytes(20))
    assert desk.openvpn.counters["updates_dropped"] == 2


def test_without_a_connection_counters_wait() -> None:
    desk = Standby()
    desk.openvpn.close()
    desk.relay.push(CounterKind.HIGH_WATER, bytes(20))
    desk.openvpn.send(Status())
    assert desk.commands() == []


def test_stale_is_what_openvpn_will_not_hold_in_time() -> None:
    desk = Standby()
    desk.importer.table.find({uid(0): 1, uid(1): 1, uid(2): 1})
    desk.importer.take_record(record(1, 2), 0.0)
    desk.importer.hear_generation(uid(2), 2)
    assert desk.importer.stale() == [uid(2)]


def test_a_very_long_list_of_ranges_is_acknowledged_by_its_newest() -> None:
    desk = Standby()
    one = record(grants=())
    ranges = tuple(StoredRange(KEY, end) for end in range(1, 30))
    desk.importer.take_record(one, 0.0)
    desk.answer(Import(one, ()), *ranges)
    assert desk.backchannel.taken() == [("acknowledge", uid(), 1, ranges[-16:])]


def test_an_import_under_way_that_is_overtaken_is_stale_too() -> None:
    desk = Standby()
    desk.importer.take_record(record(1), 0.0)
    desk.importer.take_record(record(2), 0.0)
    desk.importer.hear_generation(uid(1), 2)
    assert desk.importer.stale() == [uid(1)]
    desk.importer.withdraw(uid(1), 0.0)
    assert desk.importer.stale() == []


def test_what_is_stale_goes_before_another_epoch_is_followed() -> None:
    desk = Standby()
    for number in range(3):
        one = record(number)
        desk.importer.take_record(one, 0.0)
        desk.answer(Import(one, (GRANT,)), STORED)
    desk.importer.hear_generation(uid(0), 2)
    outdated = record(1, 2)
    desk.importer.take_record(outdated, 0.0)
    desk.importer.hear_generation(uid(1), 3)
    desk.importer.take_record(record(2, 2), 0.0)
    desk.commands()
    desk.importer.follow(A, EPOCH, 1.0)
    assert desk.commands() == []
    desk.importer.follow(B, Epoch(2, B), 1.0)
    assert desk.commands() == [f"cluster-drop {uid(0).hex()}", f"cluster-drop {uid(1).hex()}"]
    desk.answer(Import(outdated, (GRANT,)), STORED)
    assert desk.importer.table.copies == 1
    assert desk.importer.stale() == []


def kept() -> Standby:
    """A standby with client 1, whose new master lacks clients and has only client 2."""
    desk = Standby()
    one = record(1)
    desk.importer.take_record(one, 0.0)
    desk.answer(Import(one, (GRANT,)), STORED)
    desk.importer.end_snapshot({uid(1): 1}, 0.0)
    desk.importer.follow(B, Epoch(9, B), 1.0)
    desk.importer.keep(True, 1.0)
    desk.importer.end_snapshot({uid(2): 1}, 1.0)
    desk.commands()
    return desk


def test_what_a_master_lacks_is_kept_until_it_says_that_it_has_all() -> None:
    desk = kept()
    assert desk.importer.table.copies == 1
    desk.importer.keep(False, 2.0)
    assert desk.commands() == [f"cluster-drop {uid(1).hex()}"]
    desk.importer.keep(False, 3.0)
    assert desk.commands() == []


def test_a_client_that_its_master_has_is_no_more_kept() -> None:
    desk = kept()
    desk.importer.take_record(record(1, 2), 2.0)
    desk.commands()
    desk.importer.keep(False, 2.0)
    assert desk.commands() == []


def test_a_client_of_the_master_comes_before_what_is_kept() -> None:
    desk = kept()
    new = record(2)
    desk.importer.take_record(new, 2.0)
    desk.commands()
    desk.refuse(Import(new, (GRANT,)), 2.0)
    drop, again = desk.commands()
    assert drop == f"cluster-drop {uid(1).hex()}"
    assert again == f"cluster-import {uid(2).hex()} 1"


def test_a_client_is_caught_in_a_renegotiation_until_its_new_key_comes() -> None:
    desk = Standby()
    for number in range(4):
        desk.importer.table.store(uid(number), Copy(1, (STORED,), EPOCH))
        desk.importer.take(RenegotiationHeard(INSTANCE, A, uid(number), 3, 1), 0.0)
    desk.importer.take(RenegotiationHeard(INSTANCE, A, uid(2), 3), 0.0)  # does not tell
    desk.importer.table.store(uid(1), Copy(2, (STORED,), EPOCH))  # its new key has come
    desk.importer.take(RenegotiationHeard(INSTANCE, A, uid(5), 3, 1), 0.0)  # never imported
    desk.importer.take(DownNotice(uid(3)), 0.0)
    assert desk.importer.retire(1.0) == [uid(0), uid(2)]
    assert desk.importer.retire(1.0) == []
    assert desk.openvpn.counters["renegotiations_heard"] == 6


def test_a_standby_that_has_heard_nothing_says_so() -> None:
    desk = Desk()
    importer = Importer(desk.openvpn, desk.backchannel)
    assert importer.statistics(0.0) == ImporterStatistics() == ImporterStatistics(0, 0, 0, None)


def test_what_stood_in_the_way_is_imported_anew_before_what_waits() -> None:
    desk = Standby()
    records = [record(number) for number in range(2 * BULK_IN_FLIGHT)]
    for one in records:
        desk.importer.take_record(one, 0.0)
    desk.commands()
    command = Import(records[0], (GRANT,))
    desk.importer.refused(command, Refused(command, Code.DROP_FIRST, "differs"), 1.0)
    begun = desk.commands()
    assert begun[:2] == [f"cluster-drop {uid(0).hex()}", f"cluster-import {uid(0).hex()} 1"]


def test_proof_of_a_copy_is_wanted_again_of_the_same_node_only() -> None:
    desk = Standby()
    desk.importer.prove(proved=False)
    desk.importer.follow(A, Epoch(2, A), 1.0)
    assert not desk.importer.proved
    desk.importer.follow(None, NO_EPOCH, 2.0)
    assert not desk.importer.proved
    desk.importer.follow(B, Epoch(3, B), 3.0)
    assert desk.importer.proved


def test_that_the_copy_is_complete_is_told_once() -> None:
    desk = Standby()
    one = record()
    desk.importer.take_record(one, 0.0)
    desk.importer.end_snapshot({one.uid: 1}, 0.0)
    desk.answer(Import(one, (GRANT,)), STORED)
    desk.importer.judge(1.0)
    desk.importer.judge(2.0)
    desk.commands()
    assert [log.event for log in desk.logs].count("in sync") == 1


def ghost(desk: Standby, number: int = 0, generation: int = 1) -> None:
    """A client is imported and withdrawn, and the drop is written."""
    one = record(number, generation)
    desk.importer.take_record(one, 0.0)
    desk.answer(Import(one, (GRANT,)), STORED)
    desk.importer.withdraw(one.uid, 0.0)


def reconnect(desk: Standby, clients: dict[Uid, int]) -> list[str]:
    """The channel breaks; what OpenVPN lists then. Returns what it is told at once."""
    desk.importer.stop(2.0)
    desk.openvpn.close()
    desk.commands()
    desk.openvpn.open()
    desk.openvpn.holder = HOLDER
    desk.importer.find(clients)
    return desk.commands()


def test_a_drop_that_was_lost_with_the_channel_is_ordered_again() -> None:
    desk = Standby()
    ghost(desk)
    ghost(desk, 1)
    listed = {uid(): 1, uid(2): 5}
    assert reconnect(desk, listed) == [f"cluster-drop {uid().hex()}"]
    assert desk.importer.table.copies == 1
    assert desk.importer.stale() == []
    # It is lost once more.
    assert reconnect(desk, listed) == [f"cluster-drop {uid().hex()}"]
    # What was not listed is settled: it is another client's should it ever come again.
    assert reconnect(desk, {uid(1): 1, uid(2): 5}) == []


def test_a_drop_that_was_answered_is_not_ordered_again() -> None:
    for answer in (Done, lambda one: Refused(one, Code.UNKNOWN_CLIENT)):
        desk = Standby()
        ghost(desk)
        desk.openvpn.flush()
        other = Drop(uid())
        for command in (other, Status(), Drop(uid(3))):
            desk.importer.take(Done(command), 0.0)
        assert reconnect(desk, {uid(): 1}) == [f"cluster-drop {uid().hex()}"]
        desk.importer.take(answer(_unanswered(desk)), 0.0)
        desk.importer.take(Done(other), 0.0)
        assert reconnect(desk, {uid(): 1}) == []


def _unanswered(desk: Standby) -> Drop:
    (only,) = desk.importer.drops.unanswered
    return only


def test_a_demote_settles_every_drop() -> None:
    desk = Standby()
    ghost(desk)
    desk.importer.take(DemoteReply(HOLDER), 0.0)
    assert reconnect(desk, {uid(): 1}) == []


def test_what_was_imported_behind_a_lost_drop_stays_and_what_is_older_goes() -> None:
    for listed, told in ((1, [f"cluster-drop {uid().hex()}"]), (2, [])):
        desk = Standby()
        ghost(desk)
        desk.importer.take_record(record(generation=2), 0.0)
        assert reconnect(desk, {uid(): listed}) == told


def imported(desk: Standby, number: int = 0) -> None:
    one = record(number)
    desk.importer.take_record(one, 0.0)
    desk.answer(Import(one, (GRANT,)), STORED)
    desk.commands()


def test_a_copy_that_is_not_in_the_snapshot_is_dropped() -> None:
    desk = Standby()
    imported(desk)
    desk.importer.end_snapshot({}, 1.0)
    assert desk.commands() == [f"cluster-drop {uid().hex()}"]


def test_of_a_master_that_lacks_clients_copies_are_kept_until_it_has_them() -> None:
    desk = Standby()
    imported(desk)
    desk.importer.hear_generation(uid(1), 1)
    desk.importer.keep(True, 1.0)
    desk.importer.end_snapshot({}, 1.0)
    assert desk.commands() == []
    assert desk.importer.table.lacks() == 0  # who was only heard of is forgotten
    desk.importer.keep(False, 2.0)
    assert desk.commands() == [f"cluster-drop {uid().hex()}"]
