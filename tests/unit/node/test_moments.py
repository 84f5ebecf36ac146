"""When something is due, and since when something is so: to the moment."""

from __future__ import annotations

import pytest

from ovpnha.model import Epoch, NodeName, Role, Sync, Uid
from ovpnha.node.cluster.announcer import Announcer
from ovpnha.node.cluster.two_masters import ALARM_AFTER, TwoMasters
from ovpnha.node.cluster.view import ClusterView
from ovpnha.node.master.pacing import Pace
from ovpnha.node.master.reconnecting import Reconnecting
from ovpnha.node.master.table import SourceTable
from ovpnha.node.openvpn.liveness import Liveness
from ovpnha.node.openvpn.refusals import Refusals
from ovpnha.node.openvpn.traffic import Traffic
from ovpnha.node.outputs import WriteManagement
from ovpnha.problems import Problem, ProblemKind
from tests.unit.node.doubles import INSTANCE, B, C, Desk, state, uid

UID, OTHER = Uid(b"u" * 8), Uid(b"o" * 8)
SLACK = 0.001
WRONG = Problem(ProblemKind.OTHER, "why", "how")


def lines(desk: Desk) -> list[str]:
    """What was ordered since the last call, line by line."""
    desk.openvpn.flush()
    data = b"".join(one.data for one in desk.outputs if isinstance(one, WriteManagement))
    desk.outputs.clear()
    return data.decode().splitlines()


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


class TestPace:
    def test_four_may_be_under_way_at_first_and_one_more_for_each_quick_answer(self) -> None:
        pace = Pace(1_000.0)
        for number in range(4):
            assert not pace.full
            pace.begin(uid(number), 100.0)
        assert pace.full
        pace.end(uid(0), 100.1)
        for number in range(4, 6):
            assert not pace.full
            pace.begin(uid(number), 100.1)
        assert pace.full
        pace.leave(uid(4))
        pace.end(uid(5), 100.2)
        pace.begin(uid(6), 100.2)
        pace.begin(uid(7), 100.2)
        assert pace.full, "an answer while there was room shows nothing"

    def worked(self) -> Pace:
        """One renegotiation has taken an eighth of a second; of the last six it counts no more."""
        pace = Pace(1_000.0)
        for number, took in enumerate((0.125, 2.0, 2.0, 2.0, 2.0, 2.0)):
            pace.begin(uid(number), -100.0)
            pace.end(uid(number), -100.0 + took)
        return pace

    def fill(self, pace: Pace, now: float) -> list[Uid]:
        """Begin as many more as may."""
        begun: list[Uid] = []
        while not pace.full:
            begun.append(uid(round(now * 1e6) + 100 + len(begun)))
            pace.begin(begun[-1], now)
        return begun

    @pytest.mark.parametrize(
        ("took", "more"),
        [(0.625, 2), (0.625 + SLACK, 1), (1.125, 1), (1.125 + SLACK, 0)],
        ids=["quick", "not quick", "not slow", "slow"],
    )
    def test_what_is_quick_grows_the_window_and_what_is_slow_halves_it(
        self, took: float, more: int
    ) -> None:
        pace = self.worked()
        first, *others = self.fill(pace, 0.0)
        assert len(others) == 3
        pace.end(first, took)
        assert len(self.fill(pace, took)) == more

    def test_a_machine_that_is_slow_has_half_as_many_under_way(self) -> None:
        pace = self.worked()
        first, *others = self.fill(pace, 0.0)
        pace.end(first, 1.2)
        for other in others:
            pace.leave(other)
        assert len(self.fill(pace, 10.0)) == 2

    def test_who_is_silent_for_five_seconds_is_counted_no_more(self) -> None:
        pace = Pace(1_000.0)
        for number in range(4):
            pace.begin(uid(number), 100.0 + number)
        assert pace.get_timer() == 105.0
        pace.handle_timer(105.0 - SLACK)
        assert pace.full
        pace.handle_timer(105.0)
        assert pace.get_timer() == 106.0

    def test_turns_are_half_to_one_and_a_half_of_the_rate_apart(self) -> None:
        for last, share in ((0, 0.5), (255, 1.5)):
            pace = Pace(10.0)
            pace.start(100.0)
            assert pace.due == pytest.approx(100.1)
            pace.begin(uid(last), 100.1)
            assert pace.due == pytest.approx(100.1 + share / 10)
        pace.begin(uid(0), 200.0)
        assert pace.due == pytest.approx(200.0 - 0.1 + 0.05), "a tenth of a second is caught up"


class TestView:
    def view(self) -> ClusterView:
        return ClusterView(INSTANCE, 100.0, 10.0)

    def test_an_instance_that_is_not_told_of_for_five_seconds_is_not_there(self) -> None:
        view = self.view()
        view.node_up(B, 100.0)
        view.hello(B, None, 100.5)
        [(_, other)] = view.others(101.0)
        assert not other.lacks(105.0 - SLACK)
        assert other.lacks(105.0)
        assert view.anyone_begins(103.0 - SLACK, 3.0)
        assert not view.anyone_begins(103.0, 3.0)
        view.hello(B, state(), 110.0)
        view.hello(B, None, 120.0)
        [(_, other)] = view.others(121.0)
        assert not other.lacks(125.0 - SLACK)
        assert other.lacks(125.0)

    def test_a_problem_lasts_as_long_as_it_was_said_to(self) -> None:
        view = self.view()
        assert view.set_problem(B, WRONG, 100.0, 60.0)
        assert not view.set_problem(B, WRONG, 159.0, 60.0)
        assert [name for name, _ in view.others(219.0 - SLACK)] == [B]
        assert list(view.others(219.0)) == []
        assert view.set_problem(B, WRONG, 219.0, 60.0)

    def test_silence_and_links_have_their_moments(self) -> None:
        view = self.view()
        assert view.get_timer() == 110.0
        view.handle_timer(110.0)
        assert view.get_timer() is None
        view.set_links(False, 120.0)
        view.set_links(True, 130.0)
        view.set_links(True, 131.0)
        assert view.get_timer() == 131.0
        view.hello(B, state(), 130.5)
        view.node_down(B, 140.0)
        view.handle_timer(140.0)
        assert view.lone_since() == view.silent_since() == 140.0
        assert view.get_timer() == 150.0

    def test_who_knows_more_has_more_clients_or_all(self) -> None:
        view = self.view()
        for clients, more in ((4, False), (5, False), (6, True)):
            assert view.knows_more(state(clients=clients), 5) is more
        assert view.knows_more(state(clients=0, sync=Sync.IN_SYNC), 5)
        assert not view.knows_more(state(Role.MASTER, clients=6), 5)

    def test_the_master_of_an_epoch_that_was_followed_may_be_followed_again(self) -> None:
        view = self.view()
        view.hello(B, state(Role.MASTER, epoch=Epoch(3, B), vip=True), 100.0)
        view.hello(C, state(Role.MASTER, epoch=Epoch(2, C), vip=True), 100.0)
        assert view.choose_master(None, Epoch(3, B)) == B
        assert view.is_outranked(Epoch(2, B))
        assert not view.is_outranked(Epoch(3, B))
        assert view.heir(Epoch(3, B)) is None
        assert view.heir(Epoch(2, B)) is not None


class TestOpenvpnIsAsked:
    def test_for_its_figures_every_five_seconds_and_for_each_client_every_fifteen(self) -> None:
        desk = Desk()
        traffic = Traffic(desk.openvpn, lambda: Role.MASTER, per_client=True)
        traffic.start(100.0)
        traffic.start(103.0)
        asked: list[tuple[float, bool]] = []
        while len(asked) < 5:
            due = traffic.get_timer()
            assert due is not None
            traffic.handle_timer(due - SLACK)
            assert lines(desk) == []
            traffic.handle_timer(due)
            asked.append((due, "status 3" in lines(desk)))
        assert asked == [(105, True), (110, False), (115, False), (120, True), (125, False)]

    def test_whether_it_lives_after_a_second_of_silence(self) -> None:
        desk = Desk()
        liveness = Liveness(desk.openvpn, 10.0)
        liveness.hear(100.0)
        assert liveness.get_timer() == 101.0
        liveness.handle_timer(101.0 - SLACK)
        assert lines(desk) == []
        liveness.handle_timer(101.0)
        assert lines(desk) == ["load-stats"]
        assert liveness.get_timer() == 111.0
        liveness.handle_timer(112.0)
        assert not liveness.hangs, "a timer that is a second late counts anew"
        assert liveness.get_timer() == 122.0
        liveness.handle_timer(123.0 - SLACK)
        assert liveness.hangs


class TestRefusals:
    def test_one_lasts_after_five_seconds(self) -> None:
        refusals = Refusals()
        refusals.note(uid(1), "first", 100.0)
        refusals.note(uid(1), "second", 103.0)
        refusals.note(uid(2), "other", 104.0)
        assert refusals.lasting(105.0 - SLACK) == []
        assert [(one.uid, one.reason) for one in refusals.lasting(105.0)] == [(uid(1), "second")]
        assert refusals.next_lasting(105.0 - SLACK) == 105.0
        assert refusals.next_lasting(105.0) == 109.0
        assert refusals.next_lasting(109.0) is None


class TestAnnouncer:
    def test_a_number_of_clients_waits_for_a_second_and_nothing_else_does(self) -> None:
        desk = Desk()
        announcer = Announcer(desk.openvpn, desk.backchannel)
        announcer.say_state(state(clients=1), 100.0)
        announcer.say_state(state(clients=2), 101.0 - SLACK)
        assert announcer.get_timer() == 101.0
        assert desk.backchannel.taken() == [("announce", state(clients=1))]
        announcer.handle_timer(101.0 - SLACK)
        assert announcer.get_timer() == 101.0
        announcer.handle_timer(101.0)
        assert announcer.get_timer() is None
        announcer.say_state(state(clients=3), 101.0)
        assert desk.backchannel.taken() == [("announce", state(clients=3))]
        announcer.say_state(state(clients=3, vip=True), 101.0 + SLACK)
        assert desk.backchannel.taken() == [("announce", state(clients=3, vip=True))]


class TestReconnecting:
    def test_a_client_is_told_three_times_a_second_apart(self) -> None:
        desk = Desk()
        reconnecting = Reconnecting(desk.openvpn)
        reconnecting.begin([uid(1), uid(2)], 100.0)
        assert desk.commands() == [f"cluster-kick {uid(n).hex()}" for n in (1, 2)]
        assert reconnecting.get_timer() == 101.0
        reconnecting.handle_timer(101.0 - SLACK)
        assert desk.commands() == []
        for due, again in ((101.0, 102.0), (102.0, None)):
            reconnecting.handle_timer(due)
            assert len(desk.commands()) == 2
            assert reconnecting.get_timer() == again
        assert desk.openvpn.counters["told_to_reconnect"] == 6
