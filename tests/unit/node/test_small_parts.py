"""Small parts by themselves, at the moment when something begins and when it ends."""

from __future__ import annotations

import pytest

from ovpnha.management.commands import Import
from ovpnha.model import NO_EPOCH, Epoch, Grade, NodeName, Role, Sync
from ovpnha.node.cluster.pause import Pause
from ovpnha.node.role.ownepoch import OwnEpoch
from ovpnha.node.role.promotion import Promotion
from ovpnha.node.role.vip import Vip
from ovpnha.node.standby.caught import CaughtClients
from ovpnha.node.standby.importpipeline import ImportPipeline
from ovpnha.node.standby.retries import ImportJob
from tests.unit.node.doubles import EPOCH, A, Desk, record, uid

SLACK = 0.001
NEXT, LATER = Epoch(2, A), Epoch(3, NodeName("b"))
GRADE = (Grade.IN_SYNC, "in sync with the master")


class TestOwnEpoch:
    @pytest.mark.parametrize(
        ("whole", "lacked", "sync", "due"),
        [
            (True, 0, Sync.IN_SYNC, None),
            (True, 1, Sync.IN_SYNC, 160.0),
            (False, 0, Sync.SYNCING, 160.0),
            (False, 2, Sync.SYNCING, 160.0),
        ],
    )
    def test_what_is_lacking_is_looked_for_a_while(
        self, whole: bool, lacked: int, sync: Sync, due: float | None
    ) -> None:
        own = OwnEpoch(60.0)
        own.begin(NEXT, EPOCH, lacked, 100.0, whole=whole)
        assert (own.sync, own.get_timer(), own.statistics(100.0).lacking) == (sync, due, lacked)
        own.handle_timer(160.0 - SLACK)
        assert (own.sync, own.lacked) == (sync, lacked)
        own.handle_timer(160.0)
        assert (own.sync, own.lacked, own.get_timer()) == (Sync.IN_SYNC, 0, None)

    @pytest.mark.parametrize(
        ("whole", "sync", "due"),
        [(True, Sync.IN_SYNC, None), (False, Sync.SYNCING, 160.0), (None, Sync.NONE, None)],
    )
    def test_so_it_is_when_a_former_sidecar_knew(
        self, whole: bool | None, sync: Sync, due: float | None
    ) -> None:
        own = OwnEpoch(60.0)
        own.take_up(NEXT)
        assert (own.epoch, own.origin, own.whole, own.sync) == (NEXT, NO_EPOCH, None, Sync.NONE)
        own.recall(EPOCH, whole, 100.0)
        assert (own.epoch, own.origin, own.whole) == (NEXT, EPOCH, whole)
        assert (own.sync, own.get_timer()) == (sync, due)
        own.go_on(LATER)
        assert (own.epoch, own.origin, own.whole) == (LATER, NEXT, whole)
        own.forget()
        assert (own.epoch, own.origin, own.whole) == (NO_EPOCH, NO_EPOCH, None)
        assert own.get_timer() is None


def test_a_node_that_was_never_promoted_tells_no_moment_of_it() -> None:
    told = Promotion().statistics(500.0)
    assert (told.promotions, told.last_promotion) == (0, 0.0)


class TestCaughtClients:
    @pytest.mark.parametrize(
        ("held", "caught"), [(-1, False), (0, True), (4, True), (5, True), (6, False)]
    )
    def test_one_is_caught_whose_record_is_not_newer_than_its_renegotiation(
        self, held: int, caught: bool
    ) -> None:
        clients = CaughtClients()
        clients.hear(uid(1), 5)
        clients.hear(uid(1), 3)
        assert clients.take(lambda _: held) == ([uid(1)] if caught else [])
        assert clients.take(lambda _: held) == []

    def test_one_that_began_at_its_first_generation_is_caught_there_only(self) -> None:
        clients = CaughtClients()
        for number in range(3):
            clients.hear(uid(number), 0)
        clients.gone(uid(0))
        assert clients.take({uid(1): 0, uid(2): 1}.__getitem__) == [uid(1)]


class TestImportPipeline:
    def started(self) -> tuple[ImportPipeline, ImportJob]:
        jobs, job = ImportPipeline(), ImportJob(record(1, generation=5), EPOCH)
        jobs.put(uid(1), job, urgent=False)
        assert not jobs.brings(uid(1), 5), "it waits, and may be replaced"
        assert jobs.start() is job
        return jobs, job

    def test_what_is_under_way_brings_its_generation_and_every_older_one(self) -> None:
        jobs, _ = self.started()
        found = [jobs.brings(uid(1), generation) for generation in (4, 5, 6)]
        assert found == [True, True, False]
        assert not jobs.brings(uid(2), 1)

    def test_an_answer_counts_once_and_for_its_own_record(self) -> None:
        jobs, job = self.started()
        assert jobs.answered(Import(record(1, generation=5), ())) is None, "another one"
        assert jobs.answered(Import(job.record, ())) is job
        assert jobs.answered(Import(job.record, ())) is None

    def test_what_was_cancelled_answers_to_nobody(self) -> None:
        jobs, job = self.started()
        jobs.cancel(uid(2))
        jobs.cancel(uid(1))
        assert [jobs.is_cancelled(uid(number)) for number in (1, 2)] == [True, False]
        assert jobs.answered(Import(job.record, ())) is None
        assert not jobs.is_cancelled(uid(1))


class TestPause:
    def paused(self, role: Role) -> Pause:
        pause = Pause(Desk().openvpn, Vip(0.0))
        assert pause.serves
        pause.begin(600.0, role, GRADE, 100.0)
        return pause

    def test_it_ends_by_itself_to_the_moment(self) -> None:
        pause = self.paused(Role.STANDBY)
        assert (pause.active, pause.serves, pause.get_timer()) == (True, False, 700.0)
        assert pause.statistics(100.0).paused_for == 600.0
        pause.handle_timer(700.0 - SLACK)
        assert pause.active
        assert pause.statistics(701.0).paused_for == 0.0, "its timer is late"
        pause.handle_timer(700.0)
        assert (pause.active, pause.serves, pause.get_timer()) == (False, True, None)
        assert (pause.grade, list(pause.problems(701.0))) == (None, [])

    @pytest.mark.parametrize(
        ("now", "minutes"), [(100.0, 10), (131.0, 9), (649.0, 1), (699.0, 1), (701.0, 1)]
    )
    def test_people_are_told_how_many_minutes_are_left_one_at_least(
        self, now: float, minutes: int
    ) -> None:
        [problem] = self.paused(Role.STANDBY).problems(now)
        assert problem.text == f"paused for {minutes} min more: does not act"

    @pytest.mark.parametrize(
        ("role", "serves"),
        [(Role.MASTER, True), (Role.HELD, True), (Role.STANDBY, False), (Role.INIT, False)],
    )
    def test_who_had_clients_of_its_own_goes_on_with_them(self, role: Role, serves: bool) -> None:
        pause = self.paused(role)
        pause.begin(60.0, Role.STANDBY, (Grade.LONE, "another"), 200.0)
        assert (pause.serves, pause.grade, pause.get_timer()) == (serves, GRADE, 260.0)
