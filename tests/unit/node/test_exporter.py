"""A source's duties, one by one."""

from __future__ import annotations

import pytest

from ovpnha.management.codes import Code
from ovpnha.management.commands import Export
from ovpnha.management.notices import (
    ChangedNotice,
    CountersNotice,
    RenegotiationNotice,
    StaleNotice,
)
from ovpnha.management.replies import ExportReply, Refused
from ovpnha.model import CounterKind, Grant, HolderId, NodeName, StoredRange
from ovpnha.node.master.exporter import NEWS, Exporter
from ovpnha.node.openvpn.pipeline import BULK_IN_FLIGHT
from ovpnha.replication.events import Acknowledged, Rejected
from tests.unit.node.doubles import (
    GRANT,
    HOLDER,
    KEY,
    STORED,
    B,
    C,
    Desk,
    record,
    uid,
)

SECOND = HolderId(b"s" * 16)


class Master(Desk):
    """An exporter whose OpenVPN grants to node b."""

    def __init__(self, clients: int = 0) -> None:
        super().__init__()
        self.exporter = Exporter(self.openvpn, self.backchannel)
        self.exporter.set_holders({B: HOLDER}, 0.0, granting=True)
        self.exporter.start(0.0)
        self.exporter.take_list({uid(number): 1 for number in range(clients)}, 0.0)

    def answer(self, number: int = 0, generation: int = 1, *holders: HolderId) -> None:
        command = Export(uid(number), holders or (HOLDER,))
        self.exporter.exported(ExportReply(command, record(number, generation)), 1.0)

    def refuse(self, number: int, code: Code, now: float) -> None:
        command = Export(uid(number))
        self.exporter.refused(command, Refused(command, code, "in its own words"), now)


def test_an_empty_source_is_complete_at_once() -> None:
    desk = Master()
    assert desk.backchannel.taken() == [("begin_source",), ("source_complete",)]


def test_a_source_is_complete_when_all_is_published() -> None:
    desk = Master(2)
    assert desk.commands() == [f"cluster-export {uid(n).hex()} {HOLDER.hex()}" for n in (0, 1)]
    desk.answer(0)
    assert not desk.exporter.complete
    desk.answer(1)
    assert desk.exporter.complete
    assert desk.openvpn.counters["exports"] == 2
    assert desk.backchannel.taken() == [
        ("begin_source",),
        ("publish", uid(0), 1),
        ("publish", uid(1), 1),
        ("source_complete",),
    ]


def test_what_was_exported_before_the_list_came_is_not_exported_again() -> None:
    desk = Master()
    desk.exporter.start(0.0)
    desk.exporter.take_changed(ChangedNotice(uid(0), 1, "connect"), 0.0)
    desk.answer(0)
    desk.commands()
    desk.exporter.take_list({uid(0): 1}, 0.0)
    assert desk.commands() == []
    assert desk.exporter.complete


def test_a_new_client_overtakes_the_exports_for_a_new_holder() -> None:
    desk = Master(100)
    for number in range(100):
        desk.answer(number)
    desk.commands()
    desk.exporter.set_holders({B: HOLDER, C: SECOND}, 1.0, granting=True)
    assert len(desk.commands()) == BULK_IN_FLIGHT
    desk.exporter.take_changed(ChangedNotice(uid(200), 1, "connect"), 1.0)
    both = f"{HOLDER.hex()},{SECOND.hex()}"
    assert desk.commands() == [f"cluster-export {uid(200).hex()} {both}"]


def test_what_a_new_holder_has_exported_again_is_named_from_begin_to_end() -> None:
    desk = Master(2)
    desk.answer(0)
    desk.answer(1)
    desk.commands()
    desk.backchannel.taken()
    desk.exporter.set_holders({B: HOLDER, C: SECOND}, 1.0, granting=True)
    assert desk.backchannel.taken() == [("renew", False)]
    desk.answer(0, 1, HOLDER, SECOND)
    assert desk.backchannel.taken() == [("publish", uid(0), 1)]
    both = Export(uid(1), (HOLDER, SECOND))
    desk.exporter.refused(both, Refused(both, Code.UNKNOWN_CLIENT, "unknown client"), 1.0)
    assert desk.backchannel.taken() == [("withdraw", uid(1)), ("renew", True)]
    desk.exporter.set_holders({B: HOLDER}, 2.0, granting=True)
    assert desk.backchannel.taken() == [], "every record serves who is left"
    desk.exporter.stop(3.0)
    desk.exporter.set_holders({B: HOLDER, C: SECOND}, 4.0, granting=True)
    assert desk.backchannel.taken() == [("end_source",)]


def test_a_holder_that_appears_while_an_export_is_under_way_causes_another() -> None:
    desk = Master(1)
    desk.commands()
    desk.exporter.set_holders({B: HOLDER, C: SECOND}, 1.0, granting=True)
    desk.answer(0, 1, HOLDER)
    assert desk.commands() == [f"cluster-export {uid(0).hex()} {HOLDER.hex()},{SECOND.hex()}"]


def test_a_change_while_an_export_is_under_way_is_in_it() -> None:
    desk = Master(1)
    desk.commands()
    desk.exporter.take_changed(ChangedNotice(uid(0), 2, "keys"), 1.0)
    assert desk.commands() == []
    desk.answer(0, 2)
    assert desk.commands() == []


def test_a_held_openvpn_is_asked_for_no_grants_and_a_resumed_one_again() -> None:
    desk = Master(1)
    desk.answer(0)
    desk.commands()
    desk.exporter.set_holders({B: HOLDER}, 1.0, granting=False)
    desk.exporter.take_changed(ChangedNotice(uid(0), 2, "keys"), 1.0)
    assert desk.commands() == [f"cluster-export {uid(0).hex()}"]
    command = Export(uid(0))
    desk.exporter.exported(ExportReply(command, record(0, 2, ())), 1.0)
    desk.exporter.set_holders({B: HOLDER}, 1.0, granting=True)
    assert desk.commands() == [f"cluster-export {uid(0).hex()} {HOLDER.hex()}"]


def test_an_acknowledgement_is_told_to_openvpn_once_and_only_for_that_holder() -> None:
    desk = Master(1)
    desk.answer(0)
    desk.commands()
    desk.exporter.acknowledged(B, uid(0), 1, (STORED, StoredRange(KEY, 99)), 1.0)
    desk.exporter.acknowledged(B, uid(0), 1, (STORED,), 1.0)
    stored = f"cluster-stored {uid(0).hex()} {KEY.hex()} {HOLDER.hex()} {GRANT.end}"
    assert desk.commands() == [stored]
    assert desk.exporter.table.protected() == 1


def acknowledge(desk: Master, number: int = 0) -> None:
    event = Acknowledged(desk.openvpn.instance, B, uid(number), 1, (STORED,))
    desk.exporter.take(event, 2.0)


def test_an_answer_that_comes_before_its_node_is_known_to_be_back_is_not_lost() -> None:
    """It comes in one batch with the hello, and once: whoever asks again has heard it."""
    desk = Master(1)
    desk.answer(0)
    desk.commands()
    desk.exporter.set_holders({}, 1.0, granting=True)
    acknowledge(desk)
    assert (desk.commands(), desk.exporter.table.protected()) == ([], 0)
    desk.exporter.set_holders({C: SECOND}, 2.0, granting=True)
    assert desk.exporter.table.protected() == 0
    desk.commands()
    desk.exporter.set_holders({C: SECOND, B: HOLDER}, 2.0, granting=True)
    stored = f"cluster-stored {uid(0).hex()} {KEY.hex()} {HOLDER.hex()} {GRANT.end}"
    assert stored in desk.commands()
    assert desk.exporter.table.protected() == 1
    desk.exporter.set_holders({C: SECOND, B: HOLDER}, 3.0, granting=True)
    assert stored not in desk.commands()


def test_a_refusal_that_comes_so_early_is_not_lost_either() -> None:
    desk = Master(1)
    desk.answer(0)
    desk.exporter.set_holders({}, 1.0, granting=True)
    desk.exporter.take(Rejected(desk.openvpn.instance, B, uid(0), 1, "no room"), 2.0)
    assert desk.exporter.refusals == {}
    desk.exporter.set_holders({B: HOLDER}, 2.0, granting=True)
    assert list(desk.exporter.refusals) == [B]


def test_an_early_answer_protects_nobody_while_its_node_is_not_there() -> None:
    """Nor does it after the client, or the epoch, has ended."""
    desk = Master(2)
    for number in range(2):
        desk.answer(number)
    desk.exporter.set_holders({}, 1.0, granting=True)
    acknowledge(desk, 0)
    desk.exporter.take_down(uid(0), 2.0)
    desk.exporter.set_holders({}, 2.0, granting=True)
    acknowledge(desk, 1)
    desk.exporter.stop(3.0)
    desk.exporter.start(3.0)
    desk.exporter.take_list({uid(0): 1, uid(1): 1}, 3.0)
    desk.commands()
    desk.exporter.set_holders({B: HOLDER}, 3.0, granting=True)
    assert not [line for line in desk.commands() if line.startswith("cluster-stored")]
    assert desk.exporter.table.protected() == 0


def test_ends_that_are_another_holders_are_not_told() -> None:
    desk = Master(1)
    other = Grant(SECOND, KEY, 20, 30)
    reply = ExportReply(Export(uid(0), (HOLDER,)), record(0, 1, (GRANT, other)))
    desk.exporter.exported(reply, 1.0)
    desk.commands()
    desk.exporter.acknowledged(B, uid(0), 1, (StoredRange(KEY, 30),), 1.0)
    assert desk.commands() == []


def test_a_node_whose_openvpn_is_another_protects_nobody_any_more() -> None:
    desk = Master(1)
    desk.answer(0)
    desk.exporter.acknowledged(B, uid(0), 1, (STORED,), 1.0)
    desk.exporter.set_holders({B: SECOND}, 2.0, granting=True)
    assert desk.exporter.table.protected() == 0


def test_a_stale_holder_is_unprotected_and_exported_for_again() -> None:
    desk = Master(1)
    desk.answer(0)
    desk.exporter.acknowledged(B, uid(0), 1, (STORED,), 1.0)
    desk.commands()
    desk.exporter.take_stale(StaleNotice(uid(0), KEY, SECOND), 2.0)
    assert desk.exporter.table.protected() == 1
    desk.exporter.take_stale(StaleNotice(uid(0), KEY, HOLDER), 2.0)
    assert desk.exporter.table.protected() == 0
    assert desk.commands() == [f"cluster-export {uid(0).hex()} {HOLDER.hex()}"]
    desk.exporter.take_stale(StaleNotice(uid(7), KEY, HOLDER), 2.0)
    assert desk.commands() == []


def test_a_refused_export_means_that_the_client_is_gone() -> None:
    desk = Master(2)
    desk.answer(0)
    desk.backchannel.taken()
    desk.refuse(1, Code.UNKNOWN_CLIENT, 1.0)
    desk.refuse(1, Code.UNKNOWN_CLIENT, 1.0)
    assert desk.backchannel.taken() == [("withdraw", uid(1)), ("source_complete",)]


def test_a_client_that_cannot_be_exported_now_is_unprotected_and_tried_again() -> None:
    desk = Master(2)
    desk.answer(0)
    desk.commands()
    desk.exporter.handle_timer(0.0)
    for now in (1.0, 3.0):
        desk.refuse(1, Code.NO_KEY, now)
        assert desk.exporter.get_timer() == now + 2.0
        desk.exporter.handle_timer(now + 1.0)
        assert desk.commands() == []
        desk.exporter.handle_timer(now + 2.0)
        assert desk.commands() == [f"cluster-export {uid(1).hex()} {HOLDER.hex()}"]
        assert desk.exporter.complete
    assert desk.exporter.table.oldest_unprotected(5.0) == 5.0
    desk.answer(1)
    assert desk.exporter.get_timer() is None
    assert ("publish", uid(1), 1) in desk.backchannel.taken()
    desk.refuse(9, Code.NO_KEY, 9.0)
    assert desk.exporter.get_timer() is None


def test_a_client_that_is_gone_is_not_published_by_a_late_export() -> None:
    desk = Master(1)
    desk.exporter.take_down(uid(0), 1.0)
    desk.backchannel.taken()
    desk.answer(0)
    assert desk.backchannel.taken() == []


def test_a_rejected_record_leaves_the_client_unprotected() -> None:
    desk = Master(1)
    desk.answer(0)
    desk.exporter.acknowledged(B, uid(0), 1, (STORED,), 1.0)
    desk.exporter.rejected(B, uid(0), 1, "no room", 2.0)
    assert desk.exporter.table.protected() == 0
    assert desk.openvpn.counters["rejected"] == 1


def test_a_standby_that_takes_a_client_or_hears_that_it_is_gone_refuses_it_no_more() -> None:
    desk = Master(3)
    for number in range(3):
        desk.exporter.rejected(B, uid(number), 1, "no room", 2.0)
    desk.exporter.rejected(B, uid(9), 1, "no room", 2.0)
    desk.exporter.acknowledged(B, uid(0), 1, (STORED,), 3.0)
    desk.exporter.take_down(uid(1), 3.0)
    assert [one.uid for one in desk.exporter.refusals[B].lasting(9.0)] == [uid(2)]
    desk.exporter.set_holders({}, 9.0, granting=True)
    assert not desk.exporter.refusals


def test_counters_and_renegotiations_pass_through() -> None:
    desk = Master()
    desk.backchannel.taken()
    desk.exporter.take_counters(CountersNotice(CounterKind.BYTES, bytes(24)), 1.0)
    desk.exporter.take_renegotiation(RenegotiationNotice(uid(0), 3, 1), 1.0)
    assert desk.backchannel.taken() == [
        ("publish_counters", CounterKind.BYTES, bytes(24)),
        ("announce_renegotiation", uid(0), 3, 1),
    ]


def test_a_renegotiation_is_told_until_a_later_record_ends_it() -> None:
    desk = Master(1)
    desk.answer(0, 1)
    desk.exporter.take_renegotiation(RenegotiationNotice(uid(0), 1, 2), 1.0)
    desk.exporter.take_changed(ChangedNotice(uid(0), 2, "keys"), 1.0)
    desk.backchannel.taken()
    told = ("announce_renegotiation", uid(0), 1, 2)
    desk.answer(0, 2)
    assert desk.backchannel.taken() == [("publish", uid(0), 2), told]
    for generation in (3, 4):
        desk.exporter.take_changed(ChangedNotice(uid(0), generation, "keys"), 1.0)
        desk.answer(0, generation)
        assert desk.backchannel.taken() == [("publish", uid(0), generation)]


def test_more_standbys_than_openvpn_grants_to_are_said_once() -> None:
    desk = Master()
    nodes = {NodeName(f"n{n}"): HolderId(bytes([n] * 16)) for n in range(16)}
    desk.exporter.set_holders(nodes, 1.0, granting=True)
    desk.exporter.set_holders(nodes, 1.0, granting=True)
    desk.commands()
    assert [one.event for one in desk.logs if one.level == "error"] == [
        "more standbys than can be granted packet ids"
    ]


def test_who_is_no_source_does_nothing() -> None:
    desk = Master(1)
    desk.exporter.stop(1.0)
    assert desk.backchannel.taken()[-1] == ("end_source",)
    desk.commands()
    exporter = desk.exporter
    exporter.stop(1.0)
    exporter.take_list({uid(1): 1}, 1.0)
    exporter.take_changed(ChangedNotice(uid(1), 1, "connect"), 1.0)
    exporter.take_down(uid(1), 1.0)
    exporter.take_counters(CountersNotice(CounterKind.BYTES, bytes(24)), 1.0)
    exporter.take_renegotiation(RenegotiationNotice(uid(0), 3, 1), 1.0)
    exporter.take_stale(StaleNotice(uid(0), KEY, HOLDER), 2.0)
    exporter.acknowledged(B, uid(0), 1, (STORED,), 1.0)
    desk.answer(0)
    assert desk.commands() == []
    assert desk.backchannel.taken() == []


@pytest.mark.parametrize(
    ("reason", "touched"),
    [(reason, True) for reason in NEWS] + [("address", False), ("a later one", False)],
)
def test_only_what_another_node_cannot_make_up_for_touches_the_table(
    reason: str, touched: bool
) -> None:
    desk = Master(1)
    desk.exporter.take_changed(ChangedNotice(uid(0), 2, reason), 7.0)
    assert desk.exporter.touched is touched
    assert (desk.exporter.touched_at == 7.0) is touched


def test_a_client_that_has_gone_touches_the_epoch_and_one_that_never_came_does_not() -> None:
    desk = Master(2)
    desk.answer(0)
    desk.answer(1)
    desk.exporter.take_down(uid(7), 6.0)
    assert not desk.exporter.touched
    assert desk.openvpn.counters["withdrawn"] == 0
    desk.exporter.take_down(uid(0), 8.0)
    assert desk.exporter.touched
    assert desk.exporter.touched_at == 8.0
    assert desk.openvpn.counters["withdrawn"] == 1
