"""When something is due, and since when something is so: to the moment."""

from __future__ import annotations

from ovpnha.model import NodeName, Uid
from ovpnha.node.cluster.two_masters import ALARM_AFTER, TwoMasters
from ovpnha.node.master.table import SourceTable
from tests.unit.node.doubles import B, C, Desk

UID, OTHER = Uid(b"u" * 8), Uid(b"o" * 8)
SLACK = 0.001


class TestUnprotected:
    def test_a_client_waits_from_the_change_that_nobody_has(self) -> None:
        table = SourceTable()
        table.take_list({UID: 1}, 10.0)
        table.change(OTHER, 1, 14.0)
        assert dict(table.waits(16.0)) == {UID: 6.0, OTHER: 2.0}
        assert table.oldest_unprotected(16.0) == 6.0
        table.change(UID, 2, 15.0)
        assert dict(table.waits(16.0))[UID] == 6.0, "it was not protected in between"


class TestTwoMasters:
    def test_the_alarm_comes_when_both_have_served_for_its_time(self) -> None:
        desk = Desk()
        watch = TwoMasters(desk.openvpn)
        assert watch.get_timer() is None
        watch.watch([B], 100.0)
        assert watch.get_timer() == 100.0 + ALARM_AFTER
        watch.watch([B, C], 100.0 + ALARM_AFTER - SLACK)
        assert not watch.alarmed
        assert list(watch.problems(102.0)) == []
        watch.watch([B], 100.0 + ALARM_AFTER)
        assert watch.alarmed
        assert watch.get_timer() is None
        assert desk.openvpn.counters["two_masters"] == 1
        watch.watch([B, C], 200.0)
        assert desk.openvpn.counters["two_masters"] == 1

    def test_a_master_that_gives_way_ends_the_count(self) -> None:
        desk = Desk()
        watch = TwoMasters(desk.openvpn)
        watch.watch([B], 100.0)
        watch.watch([], 100.0 + ALARM_AFTER - SLACK)
        assert watch.get_timer() is None
        watch.watch([NodeName("d")], 110.0)
        assert watch.get_timer() == 110.0 + ALARM_AFTER
        watch.watch([NodeName("d")], 110.0 + ALARM_AFTER - SLACK)
        assert not watch.alarmed
