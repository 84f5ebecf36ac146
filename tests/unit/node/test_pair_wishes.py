"""What was asked of a machine of two processes, and what its next sidecar finds."""

from __future__ import annotations

import pytest

from ovpnha.machines import Process
from ovpnha.model import Descriptors, Grade, Role
from ovpnha.node.moving import MovePhase
from ovpnha.node.outputs import SendDatagram
from tests.model_cluster import INSTANCE, World
from tests.model_pair import MAIN, SPARE, ModelPair, add_pair
from tests.unit.node.pairs import GAP, ask, ends_asked, lone, lone_serving, move, phase, unwanted

# Wishes.


def promote(one: ModelPair, within: float) -> None:
    one.do(lambda pair, now: pair.ask_promote(INSTANCE, within, now))


def demote(one: ModelPair) -> None:
    one.do(lambda pair, now: pair.ask_demote(INSTANCE, now))


def promised() -> tuple[World, ModelPair]:
    """One that serves because the VIP was promised to it, and dies."""
    world = World()
    one = add_pair(world, "a")
    world.run(3.0)
    promote(one, 5.0)
    world.run_until(lambda: one.serves is MAIN)
    one.kill_process(MAIN)
    return world, one


def test_who_loses_the_slot_has_no_promise() -> None:
    """It comes back beside the one that has the VIP."""
    world, one = promised()
    world.run(0.1)
    one.set_vip(True)
    world.run_until(lambda: one.serves is SPARE)
    one.run_process(MAIN)
    for _ in range(500):
        world.run(0.01)
        assert one.serves is SPARE
    assert one.openvpns[MAIN].descriptors is Descriptors.TAKEN


def test_what_was_promised_to_one_that_dies_the_other_one_keeps() -> None:
    world, one = promised()
    world.run_until(lambda: one.serves is SPARE)
    one.run_process(MAIN)
    world.run(2.0)
    assert one.serves is SPARE
    world.run(4.0)
    assert one.serves is None, "the VIP has not come in time"


@pytest.mark.parametrize(("within", "paused"), [(0.5, False), (5.0, False), (5.0, True)])
def test_a_promise_waits_until_it_is_known_whose_the_slot_is(
    within: float, *, paused: bool
) -> None:
    world, one = lone()
    move(world, one)
    world.run(4.0)
    one.end_sidecar()
    one.set_vip(False)
    one.deaf.add(SPARE)
    one.boot()
    world.run(0.2)
    promote(one, within)
    if paused:
        one.do(lambda pair, now: pair.ask_pause(INSTANCE, 0.1, now))
    world.run(1.0)
    assert one.told.obstacles == ("it is not known yet which process serves",)
    one.hear_again()
    for _ in range(300):
        world.run(0.01)
        assert one.openvpns[MAIN].role is Role.STANDBY
    assert one.serves is (SPARE if within > 1.0 and not paused else None)


def test_what_is_asked_in_a_move_is_done_after_it() -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, MovePhase.PROMOTING))
    demote(one)
    assert one.grades[-1].grade == Grade.MASTER
    world.run(0.1)
    assert (one.serves, one.told.phase) == (SPARE, MovePhase.DONE)
    assert "demote" in one.grades[-1].reason
    assert one.told.obstacles[0] == "a pause, a switchover or a demote is under way"


def test_a_demote_that_was_asked_outlives_a_crash() -> None:
    world, one = lone()
    demote(one)
    handed = one.grades[-1]
    assert handed.grade < Grade.MASTER
    one.kill_process(MAIN)
    world.run_until(lambda: one.serves is SPARE)
    world.run(1.0)
    assert one.grades[-1] == handed
    one.set_vip(False)
    world.run(1.0)
    assert one.openvpns[SPARE].role is Role.HELD


# The sidecar.


@pytest.mark.parametrize("serving", list(Process))
def test_a_new_sidecar_finds_who_serves(serving: Process) -> None:
    world, one = lone_serving(serving)
    one.end_sidecar()
    world.run(0.5)
    changes = len(one.roles)
    one.boot()
    world.run(3.0)
    assert one.serves is serving
    assert one.told.figures.serving is serving
    assert [change.new for change in one.roles[changes:]] == [Role.MASTER]


@pytest.mark.parametrize("wanted", [MovePhase.HOLDING, MovePhase.PROMOTING])
def test_a_sidecar_that_dies_in_a_move_is_followed_by_one_that_serves(wanted: MovePhase) -> None:
    world, one = lone()
    ask(one)
    world.run_until(phase(one, wanted))
    one.end_sidecar()
    world.run(0.2)
    one.boot()
    world.run(3.0)
    assert one.serves is not None
    assert len(one.openvpns[one.serves].clients) == 3


@pytest.mark.parametrize("vip", ["stays", "comes back"])
@pytest.mark.parametrize("serving", list(Process))
def test_nobody_is_promoted_beside_one_that_a_script_holds_up(serving: Process, vip: str) -> None:
    """The sidecar starts anew meanwhile: it has seen neither as it was."""
    world, one = lone_serving(serving)
    one.ends = False
    one.end_sidecar()
    one.deaf.add(serving)
    one.boot()
    if vip == "comes back":
        world.run(1.0)
        one.set_vip(False)
        world.run(20.0)
        one.set_vip(True)
    world.run(30.0)
    assert one.serves is serving
    assert one.told.figures.serving is serving
    assert one.grades[-1].grade == Grade.FAULT
    assert {asked.process for asked in ends_asked(one)} == {serving}
    one.hear_again()
    world.run(5.0)
    assert one.serves is serving
    one.kill_process(serving)
    assert world.run_until(lambda: one.serves is serving.other) < GAP


@pytest.mark.parametrize("serving", list(Process))
def test_nobody_is_promoted_beside_one_that_cannot_be_reached(serving: Process) -> None:
    world, one = lone_serving(serving)
    one.end_sidecar()
    one.barred.add(serving)
    one.boot()
    world.run(20.0)
    assert one.serves is serving
    assert one.told.figures.serving is serving
    assert one.grades[-1].grade == Grade.FAULT
    assert "Permission denied" in one.grades[-1].reason
    assert not ends_asked(one)  # it is not known that there is one
    one.barred.clear()
    one.attach(serving)
    world.run(1.0)
    assert (one.serves, one.grades[-1].grade) == (serving, Grade.MASTER)


def test_a_process_that_hangs_when_the_vip_leaves_is_not_followed_when_it_comes_back() -> None:
    world, one = lone()
    one.ends = False
    one.deaf.add(MAIN)
    world.run_until(lambda: one.grades[-1].grade == Grade.FAULT, 10.0)
    one.set_vip(False)
    world.run(1.0)
    one.set_vip(True)
    world.run(10.0)
    assert (one.serves, one.told.figures.serving) == (MAIN, MAIN)


def test_one_that_is_connected_again_and_hangs_then_is_ended() -> None:
    world, one = lone()
    one._detach(MAIN, "closed by openvpn")
    world.run(0.1)
    one.deaf.add(MAIN)
    one.attach(MAIN)
    world.run_until(lambda: one.serves is SPARE, 15.0)
    assert "does not answer" in ends_asked(one)[-1].reason


def test_one_that_was_stopped_for_a_while_believes_in_both() -> None:
    world, one = lone()
    exports = one.figures.openvpn.counters["exports"]
    assert one.pair is not None
    one._timer += 1  # no timer is due for a while
    world.run(10.0)
    one.do(lambda pair, now: pair.handle_timer(now))
    world.run(0.5)
    assert not [event for event in one.logs if event.event == "node lost"]
    assert one.figures.openvpn.counters["exports"] == exports


@pytest.mark.parametrize("wanted", [False, True])
def test_a_spare_that_sleeps_says_no_goodbye(*, wanted: bool) -> None:
    world, one = unwanted()
    one.wanted = wanted
    one.boot()
    world.run(1.0)
    before = len(one.outputs)
    one.do(lambda pair, now: pair.stop(now))
    assert len(one.outputs) - before == (2 if wanted else 1)


def test_a_stop_says_goodbye_for_both_and_nothing_else() -> None:
    _, one = lone()
    before = len(one.outputs)
    one.do(lambda pair, now: pair.stop(now))
    rest = one.outputs[before:]
    assert len(rest) > 1
    assert all(isinstance(output, SendDatagram) for output in rest)


def test_the_log_names_the_spare() -> None:
    _, one = lone()
    tagged = [event for event in one.logs if "process" in event.fields]
    assert tagged
    assert not [event for event in one.logs if event.event == "vip manager missing"]
