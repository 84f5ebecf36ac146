"""What a person is told of two processes of which one is missing."""

from __future__ import annotations

import pytest

from ovpnha.machines import Process
from ovpnha.model import Sync
from ovpnha.node.pairproblems import MISSED_AFTER, Missed
from ovpnha.problems import Problem, ProblemKind
from tests.model_cluster import World
from tests.model_pair import MAIN, SPARE, ModelPair, add_pair

LATER = MISSED_AFTER + 1.0


def always(*, wanted: bool = True) -> tuple[World, ModelPair]:
    """A server that is always to have a second process, and has."""
    world = World()
    one = add_pair(world, "a", start=False)
    one.always = wanted
    for process in Process:
        one.run_process(process)
    one.set_vip(True)
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    one.openvpns[MAIN].connect_client("client")
    one.pump_process(MAIN)
    world.run_until(lambda: not one.told.obstacles)
    return world, one


def missing(one: ModelPair) -> list[Problem]:
    return [what for what in one.figures.problems if what.kind is ProblemKind.SPARE_MISSING]


def test_nothing_is_missing_where_both_are_there() -> None:
    world, one = always()
    world.run(LATER)
    assert not missing(one)


def test_one_that_does_not_run_is_told_until_another_one_has_everything() -> None:
    world, one = always()
    said = len(one.pair.history()) if one.pair is not None else 0
    one.kill_process(SPARE)
    world.run(MISSED_AFTER - 1.0)
    assert not missing(one)
    world.run(2.0)
    [problem] = missing(one)
    assert problem.text == "if OpenVPN dies its clients notice: the spare process does not run"
    assert "systemctl status openvpn-cluster-spare@NAME" in problem.fix
    assert problem.instance == "udp"
    assert one.pair is not None
    assert len(one.pair.history()) == said
    one.run_process(SPARE)
    world.run_until(lambda: not one.told.obstacles)
    assert not missing(one)


def test_where_the_spare_serves_it_is_the_usual_one_that_is_missing() -> None:
    world, one = always()
    one.kill_process(MAIN)
    world.run(LATER)
    [problem] = missing(one)
    assert "the main process does not run" in problem.text
    assert "openvpn-cluster@NAME" in problem.fix


def test_one_that_hangs_and_cannot_be_ended_is_told() -> None:
    world, one = always()
    one.ends = False
    one.deaf.add(SPARE)
    world.run(LATER + 5.0)
    for _ in range(60):  # whatever becomes of its connections meanwhile
        world.run(0.25)
        [problem] = missing(one)
        assert "the spare process does not answer" in problem.text
    one.hear_again()
    world.run_until(lambda: not missing(one))


def test_one_that_differs_is_told() -> None:
    world, one = always()
    one.kill_process(SPARE)
    world.run(0.1)
    one.run_process(SPARE, digest="other")
    world.run(LATER)
    [problem] = missing(one)
    assert "the spare process could not serve: " in problem.text


def test_one_without_a_complete_copy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world, one = always()
    assert one.pair is not None
    parts = one.pair._slots[one.config.name].parts(SPARE)
    monkeypatch.setattr(parts, "sync", lambda _now: Sync.SYNCING)
    world.run(LATER)
    [problem] = missing(one)
    assert "the spare process has no complete copy" in problem.text


def test_nobody_misses_one_that_is_there_for_restarts_only() -> None:
    world, one = always(wanted=False)
    one.kill_process(SPARE)
    world.run(LATER)
    assert not missing(one)


def test_what_comes_and_goes_is_not_told() -> None:
    missed = Missed()
    for second in range(0, 40, 8):
        missed.look("does not run", second)
        assert not missed.tell(second + 7.0)
        missed.look("", second + 7.5)
    missed.look("does not run", 50.0)
    missed.look("does not answer", 55.0)
    assert missed.tell(59.9) == ""
    assert missed.tell(60.0) == "does not answer"
