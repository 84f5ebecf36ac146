"""Figures that administrators and pages know: how often, how many, how long, in numbers."""

from __future__ import annotations

import pytest

from ovpnha.management.codes import Code
from ovpnha.management.replies import MovedClient
from ovpnha.model import CounterKind, RekeyPolicy
from ovpnha.node.master.protection import Protection
from ovpnha.node.master.rekey import Rekey
from ovpnha.node.openvpn.discovery import Discovery
from ovpnha.node.openvpn.pipeline import Pipeline
from ovpnha.node.role.promotion import Carried, Promotion
from ovpnha.node.role.vip import Vip
from ovpnha.node.standby.counters import CounterRelay
from ovpnha.node.standby.retries import ImportJob, Retries
from tests.unit.node.doubles import EPOCH, Desk, record, uid

SLACK = 0.001
INFINITY = float("inf")


class TestRetries:
    def test_the_waits_double_from_two_seconds_to_sixty_four(self) -> None:
        retries = Retries()
        job, now, waits = ImportJob(record(1), EPOCH), 100.0, []
        for _ in range(8):
            retries.put(job, now)
            due = retries.get_timer()
            assert due is not None
            waits.append(due - now)
            assert retries.take_due(due - SLACK) == []
            [job] = retries.take_due(due)
            now = due
        assert waits == [2, 4, 8, 16, 32, 64, 64, 64]
        assert retries.get_timer() is None

    @pytest.mark.parametrize(("refused", "eager"), [(0, True), (2, True), (3, False)])
    def test_who_was_tried_three_times_at_most_is_tried_when_a_client_goes(
        self, refused: int, eager: bool
    ) -> None:
        retries = Retries()
        retries.put(ImportJob(record(1), EPOCH, refused=refused), 100.0)
        assert bool(retries.take_eager(100.0)) is eager
        assert bool(retries.take_eager(200.0)) is not eager


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [
        (0.0, 0.001),
        (0.001, 0.001),
        (0.0011, 0.0025),
        (0.0025, 0.0025),
        (0.005, 0.005),
        (0.01, 0.01),
        (0.025, 0.025),
        (0.05, 0.05),
        (0.1, 0.1),
        (0.25, 0.25),
        (0.5, 0.5),
        (1.0, 1.0),
        (2.5, 2.5),
        (2.6, INFINITY),
    ],
)
def test_a_promotion_is_counted_below_each_bound_that_it_kept(seconds: float, bound: float) -> None:
    promotion = Promotion()
    assert promotion.statistics(0.0).promotion_times["ordered"].buckets[INFINITY] == 0
    promotion.begin(0.0, seconds, Carried(0))
    times = promotion.times()["ordered"]
    assert times.buckets == {at: int(at >= bound) for at in times.buckets}
    assert bound in times.buckets
    assert times.total == seconds
    assert promotion.times()["listed"].total == 0.0
    promotion.reach("ordered", 99.0)
    assert promotion.phases == {"ordered": seconds}, "only the first time counts"


@pytest.mark.parametrize(
    "bound", [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, INFINITY]
)
def test_so_is_a_client_that_was_protected(bound: float) -> None:
    protection = Protection(Desk().openvpn, 0.0)
    seconds = 3.0 if bound == INFINITY else bound
    protection.arrive(uid(1), 0.0)
    protection.reach(uid(1), seconds)
    times = protection.times()
    assert times.buckets == {at: int(at >= bound) for at in times.buckets}
    assert (times.total, times.recent) == (seconds, (seconds,))
    assert len(times.buckets) == 12


class TestVip:
    def test_a_handover_is_waited_for_a_minute(self) -> None:
        vip = Vip(0.0)
        vip.hand_over(100.0)
        assert vip.get_timer() is None, "what is not here cannot leave"
        vip.set(True, 100.0)
        vip.hand_over(100.0)
        assert vip.get_timer() == 160.0
        assert vip.handing_over(160.0 - SLACK)
        assert not vip.handing_over(160.0)
        vip.set(False, 160.0 - SLACK)
        assert vip.handed_over
        vip.set(True, 170.0)
        assert (vip.handed_over, vip.since) == (False, 170.0)
        vip.hand_over(170.0)
        vip.set(False, 230.0)
        assert not vip.handed_over, "it left too late for that"

    def test_a_promise_holds_until_its_end(self) -> None:
        vip = Vip(0.0)
        vip.promise(110.0)
        assert vip.wanted(110.0 - SLACK)
        assert not vip.wanted(110.0)
        assert vip.concerns
        vip.handle_timer(110.0 - SLACK)
        assert vip.get_timer() == 110.0
        vip.handle_timer(110.0)
        assert vip.get_timer() is None
        assert not vip.concerns


class TestRekey:
    def rekey(self) -> tuple[Desk, Rekey]:
        desk = Desk()
        rekey = Rekey(desk.openvpn, RekeyPolicy.AUTO, 1_000.0)
        rekey.promote([uid(3)], 100.0)
        return desk, rekey

    def test_nobody_is_renegotiated_for_two_and_a_half_seconds(self) -> None:
        desk, rekey = self.rekey()
        rekey.take_list({uid(1): MovedClient(1 << 18, True)}, 100.1)
        assert rekey.get_timer() == 102.5
        rekey.handle_timer(102.5 - SLACK)
        assert desk.commands() == []
        rekey.handle_timer(102.5)
        assert desk.commands() == [f"cluster-reneg {uid(1).hex()} 1000"]

    def test_but_who_has_less_than_262144_packet_ids_left(self) -> None:
        desk, rekey = self.rekey()
        rekey.take_list({uid(1): MovedClient((1 << 18) - 1, True)}, 100.1)
        rekey.handle_timer(100.2)
        assert len(desk.commands()) == 1

    def test_who_was_caught_is_left_alone_for_a_minute(self) -> None:
        desk, rekey = self.rekey()
        rekey.take_list({uid(3): MovedClient(1 << 30, True)}, 100.1)
        rekey.handle_timer(160.0 - SLACK)
        assert desk.commands() == []
        assert rekey.get_timer() == 160.0
        rekey.handle_timer(160.0)
        assert len(desk.commands()) == 1

    def test_least_room_first_in_steps_of_65536(self) -> None:
        desk, rekey = self.rekey()
        rooms = {1: 9 << 16, 2: (9 << 16) + 65_535, 4: (9 << 16) - 1, 0: 10 << 16}
        rekey.take_list({uid(n): MovedClient(room, True) for n, room in rooms.items()}, 100.1)
        for tick in range(400):
            rekey.handle_timer(102.5 + tick / 100)
        ordered = [line.split()[1] for line in desk.commands()]
        assert ordered == [uid(number).hex() for number in (4, 1, 2, 0)]


class TestDiscovery:
    def test_an_openvpn_has_three_seconds_to_answer_and_seven_more_if_it_is_there(self) -> None:
        desk = Desk()
        discovery = Discovery(desk.openvpn, 100.0, b"")
        assert discovery.get_timer() == 103.0
        discovery.handle_timer(103.0 - SLACK)
        assert discovery.get_timer() == 103.0
        discovery.handle_timer(103.0)
        assert not discovery.overdue
        assert discovery.get_timer() == 110.0
        discovery.handle_timer(110.0)
        assert discovery.overdue
        assert discovery.get_timer() is None

    def test_and_none_if_nobody_is(self) -> None:
        desk = Desk()
        desk.openvpn.close()
        discovery = Discovery(desk.openvpn, 100.0, b"")
        discovery.handle_timer(103.0 - SLACK)
        assert not discovery.overdue
        discovery.handle_timer(103.0)
        assert discovery.overdue

    def test_one_that_is_not_ready_is_asked_every_fifth_of_a_second_and_a_stock_one_every_two(
        self,
    ) -> None:
        discovery = Discovery(Desk().openvpn, 100.0, b"")
        discovery.take_refusal(Code.NOT_READY, 100.0)
        assert discovery.get_timer() == pytest.approx(100.2)
        discovery.take_refusal(Code.UNKNOWN_COMMAND, 101.0)
        assert discovery.stock
        assert discovery.get_timer() == 103.0


def test_thirty_two_of_many_are_under_way_and_twice_as_many_of_what_is_urgent() -> None:
    pipeline: Pipeline[int] = Pipeline()
    for number in range(200):
        pipeline.put(uid(number), number, urgent=False)
    bulk = [pipeline.start() for _ in range(33)]
    assert bulk == [*range(32), None]
    for number in range(200, 300):
        pipeline.put(uid(number), number, urgent=True)
    urgent = [pipeline.start() for _ in range(33)]
    assert urgent == [*range(200, 232), None]
    assert len(pipeline) == 300
    assert len(pipeline.under_way()) == 64


def test_1024_messages_of_counters_wait_and_the_oldest_go() -> None:
    desk = Desk()
    relay = CounterRelay(desk.openvpn)
    relay.push(CounterKind.BYTES, bytes(24))
    for _ in range(1_024):
        relay.push(CounterKind.BYTES, bytes(24))
    assert desk.openvpn.counters["updates_dropped"] == 0
    relay.push(CounterKind.BYTES, bytes(24))
    assert desk.openvpn.counters["updates_dropped"] == 1
    assert desk.commands() == ["cluster-update"]
