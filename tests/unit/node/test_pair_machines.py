"""A machine of two processes beside others, and one whose spare nobody wants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ovpnha.machines import Process
from ovpnha.model import Descriptors, FencePolicy, Grade, NodeName, Role, Silence, Sync
from ovpnha.node.config import InstanceConfig
from ovpnha.node.openvpn.discovery import ANSWER_WITHIN
from ovpnha.node.outputs import OpenvpnFound, RunFence, SendDatagram, WriteManagement
from ovpnha.node.pair import Pair
from ovpnha.node.parts import Parts
from ovpnha.node.slot import VipSlot
from ovpnha.problems import ProblemKind
from tests.model_cluster import INSTANCE, World
from tests.model_pair import MAIN, SPARE, ModelPair, add_pair
from tests.unit.node.pairs import GAP, lone, move, serve, told_by, two, unwanted

# With other machines.


def test_where_there_are_other_machines_the_spare_protects_nobody() -> None:
    world, one, other = two()
    assert one.figures.exporter.protected == 3
    other.reachable = False
    world.run(3.0)
    assert one.told.obstacles == ()
    assert one.figures.exporter.protected == 0
    assert one.figures.exporter.oldest_unprotected > 0.0
    assert not one.openvpns[MAIN].holds_new
    other.reachable = True
    world.run(3.0)
    assert one.figures.exporter.protected == 3
    assert one.openvpns[MAIN].holds_new


def test_a_machine_that_is_cut_off_is_so_whatever_its_spare_says() -> None:
    world, one, other = two()
    assert other.grades[-1].grade == Grade.IN_SYNC
    one.reachable = False
    world.run(20.0)
    assert other.grades[-1].grade == Grade.LONE
    assert other.grades[-1].reason == "no other node is heard"


def test_a_machine_takes_over_from_another_and_its_spare_is_in_sync_again() -> None:
    world, one, other = two()
    table = one.openvpns[MAIN].table()
    one.end_sidecar()
    one.openvpns.clear()
    one.vip = False
    other.set_vip(True)
    assert world.run_until(lambda: other.serves is MAIN) < GAP
    assert other.openvpns[MAIN].table() == table
    world.run_until(lambda: not other.told.obstacles)
    assert other.roles[-1].new is Role.MASTER


def test_a_standby_whose_main_process_dies_is_as_good_by_its_spare() -> None:
    world, one, other = two()
    said = len(other.grades)
    other.kill_process(MAIN)
    world.run(5.0)
    assert other.told.figures.serving is SPARE
    assert len(other.grades) == said
    other.run_process(MAIN)
    world.run_until(lambda: other.told.figures.serving is MAIN)
    world.run(0.1)
    assert other.openvpns[SPARE].silence is Silence.LEAVE
    assert other.openvpns[MAIN].silence is Silence.DRAIN
    assert one.serves is MAIN


def test_the_role_goes_to_another_machine_and_never_to_a_spare() -> None:
    world, one, other = two()
    assert one.pair is not None
    assert one.pair.plan_switchover(INSTANCE, None, world.now).target == "b"
    kill, back = MAIN, MAIN
    other.kill_process(kill)
    world.run(1.0)
    plan = one.pair.plan_switchover(INSTANCE, None, world.now)
    assert (plan.target, plan.obstacles) == ("b:spare", ())
    asked = one.pair.plan_switchover(INSTANCE, NodeName("b"), world.now)
    assert (asked.target, asked.obstacles) == ("b:spare", ())
    other.run_process(back)
    world.run(3.0)
    assert one.pair.plan_switchover(INSTANCE, NodeName("b"), world.now).target == "b"
    named = one.pair.plan_switchover(INSTANCE, NodeName("b:spare"), world.now)
    assert named.target == "b"
    assert one.pair.plan_switchover(INSTANCE, NodeName("a"), world.now).obstacles


def test_a_switchover_from_machine_to_machine() -> None:
    world, one, other = two()
    one.do(lambda pair, now: pair.ask_switchover(INSTANCE, b"12345678", NodeName("b"), 5.0, now))
    world.run_until(lambda: other.serves is MAIN)
    world.run_until(lambda: one.grades[-1].grade == Grade.DEGRADED)
    assert one.told.obstacles
    one.set_vip(False)
    other.set_vip(True)
    world.run(1.0)
    assert one.pair is not None
    figures = one.pair.switchover(INSTANCE, b"12345678")
    assert figures is not None
    assert (one.serves, other.serves) == (None, MAIN)
    assert len(other.openvpns[MAIN].clients) == 3


def test_what_a_switchover_has_promised_ends_with_its_process() -> None:
    """The master calls it off: who serves meanwhile would be a second one."""
    world, one, other = two()
    one.do(lambda pair, now: pair.ask_switchover(INSTANCE, b"12345678", NodeName("b"), 5.0, now))
    world.run_until(lambda: other.serves is MAIN)
    other.kill_process(MAIN)
    for _ in range(300):
        world.run(0.01)
        assert other.openvpns[SPARE].role is Role.STANDBY
    assert one.serves is MAIN


def test_a_move_on_one_machine_is_none_to_the_other() -> None:
    world, one, other = two()
    table, said = one.openvpns[MAIN].table(), len(other.grades)
    move(world, one)
    assert one.serves is SPARE
    world.run_until(lambda: other.figures.sync is Sync.IN_SYNC)
    assert other.openvpns[MAIN].table().keys() == table.keys()
    assert {one.grade for one in other.grades[said:]} <= {Grade.IN_SYNC, Grade.DEGRADED}
    world.run(1.0)
    assert other.grades[-1].grade == Grade.IN_SYNC
    assert one.figures.exporter.protected == 3


@pytest.mark.parametrize("serving", list(Process))
def test_a_required_fence_asks_for_nobody_when_a_process_has_crashed(serving: Process) -> None:
    world = World()
    one = ModelPair(world, "a", fenced())
    world.nodes["a"] = one
    one.run_process(MAIN)
    one.run_process(SPARE)
    one.boot()
    one.set_vip(True)
    world.run(1.0)
    assert one.serves is None  # nobody knows who was master before
    overruled = 30.0
    one.do(lambda pair, now: pair.ask_promote(INSTANCE, overruled, now, unfenced=True))
    serve(world, one)
    if serving is SPARE:
        move(world, one)
        world.run_until(lambda: not one.told.obstacles)
    one.kill_process(serving)
    assert world.run_until(lambda: one.serves is serving.other) < GAP
    assert not [output for output in one.outputs if isinstance(output, RunFence)]


def fenced() -> InstanceConfig:
    return InstanceConfig(INSTANCE, ("192.0.2.10",), fence=FencePolicy.REQUIRED)


def test_a_fence_cuts_off_a_machine_and_no_spare() -> None:
    world = World()
    one, other = add_pair(world, "a"), ModelPair(world, "b", fenced())
    world.nodes["b"] = other
    other.run_process(MAIN)
    other.boot()
    one.set_vip(True)
    serve(world, one)
    move(world, one)
    world.run_until(lambda: other.figures.sync is Sync.IN_SYNC)
    world.run(0.01)
    one.end_sidecar()
    one.openvpns.clear()
    world.run(3.0)
    other.set_vip(True)
    world.run(2.0)
    [asked] = [output for output in other.outputs if isinstance(output, RunFence)]
    assert (asked.node, asked.epoch.node) == ("a", "a:spare")
    assert other.serves is None
    other.do(lambda pair, now: pair.fence_done(NodeName("a"), "", now))
    world.run_until(lambda: other.serves is MAIN)


def test_other_machines_show_no_spare_that_is_not_there() -> None:
    world, one, other = two()
    assert sorted(node.name for node in one.figures.nodes) == ["b", "b:spare"]
    other.kill_process(SPARE)
    world.run(0.5)
    assert [node.name for node in one.figures.nodes] == ["b"]
    other.run_process(SPARE)
    world.run(0.5)
    assert sorted(node.name for node in one.figures.nodes) == ["b", "b:spare"]


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize("proof", ["before the end of the connection", "behind it"])
def test_the_step_that_proves_a_death_has_the_promotion(proof: str, unread: bool) -> None:
    """Whatever of both comes last; also when the spare has just been told news."""
    _, one = lone()
    pair, now = one.pair, one.world.now
    assert pair is not None
    if unread:
        one.openvpns[MAIN].connect_client("late")
        pair.receive_management(INSTANCE, one.openvpns[MAIN].take_output(), now, MAIN)
    steps: list[Callable[[], None]] = [
        lambda: pair.process_ended(INSTANCE, MAIN, now),
        lambda: pair.management_down(INSTANCE, "closed by openvpn", now, MAIN),
    ]
    for step in steps if proof.startswith("before") else reversed(steps):
        assert b"cluster-promote" not in take_written(pair, SPARE)
        step()
    assert b"cluster-promote" in take_written(pair, SPARE)


def take_written(pair: Pair, process: Process) -> bytes:
    """Take all that a pair wants done; returns what it has for this process."""
    outputs = iter(pair.next_output, None)
    return b"".join(
        output.data
        for output in outputs
        if isinstance(output, WriteManagement) and output.process is process
    )


# A spare that nobody wants.


def test_where_there_is_one_process_only_a_step_looks_at_no_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, one = unwanted()
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    world.run(2.0)
    looks, advance, parts = list[str](), VipSlot.advance, VipSlot.parts

    def note_step(slot: VipSlot, now: float) -> bool:
        looks.append("step")
        return advance(slot, now)

    def note_parts(slot: VipSlot, process: Process) -> Parts:
        looks.append("parts")
        return parts(slot, process)

    monkeypatch.setattr(VipSlot, "advance", note_step)
    monkeypatch.setattr(VipSlot, "parts", note_parts)
    one.openvpns[MAIN].connect_client("laptop")
    one.pump_process(MAIN)
    one.do(lambda pair, now: pair.handle_timer(now))
    assert not looks, "its instance is asked for its time by that"
    one.run_process(SPARE)
    world.run_until(lambda: "parts" in looks)


def test_where_no_spare_is_wanted_and_none_is_there_is_one_node() -> None:
    world, one = unwanted()
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    world.run(20.0)
    assert one.pair is not None
    assert one.pair.restart_figures(INSTANCE, world.now) is None
    assert one.figures.spare is None
    assert ProblemKind.SPARE_UNWANTED not in told_by(one)
    assert [change.new for change in one.roles] == [Role.STANDBY, Role.MASTER]
    assert one.grades[-1].grade == Grade.MASTER
    assert {event.event for event in one.logs}.isdisjoint({"process changed its role"})
    sent = [output for output in one.outputs if isinstance(output, SendDatagram)]
    one.pair._spare.greet(world.now)
    one.do(lambda pair, now: pair.grade_read(INSTANCE, True, now))
    assert [output for output in one.outputs if isinstance(output, SendDatagram)] == sent


def test_a_machine_without_a_spare_refuses_the_vip_at_once_without_its_openvpn() -> None:
    world, one = unwanted()
    one.openvpns.clear()
    one.boot()
    assert one.grades[-1].grade == Grade.FAULT
    assert "nobody has the socket open" in one.grades[-1].reason
    one.run_process(MAIN)
    world.run_until(lambda: one.serves is MAIN)
    assert one.grades[-1].grade == Grade.MASTER


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("barred", [False, True])
def test_an_openvpn_that_is_not_reached_is_a_fault(*, barred: bool, wanted: bool) -> None:
    """Where the VIP is not known before OpenVPN has said it, and where the sockets are closed."""
    world, one = unwanted()
    one.wanted, one.knows_vip, one.barred = wanted, barred, set(Process) if barred else set()
    one.openvpns.clear()
    one.boot()
    world.run(ANSWER_WITHIN - 0.1)
    assert not one.grades
    world.run(0.2)
    assert [one.new for one in one.roles] == [Role.FAULT]
    assert one.grades[-1].grade == Grade.FAULT
    assert ("Permission denied" if barred else "nobody has") in one.grades[-1].reason
    assert ProblemKind.SERVER_DOWN in told_by(one)
    assert "openvpn lost" in [event.event for event in one.logs]
    one.barred.clear()
    one.run_process(MAIN)
    one.tell_vip()
    if barred:
        one._miss(SPARE)
    world.run_until(lambda: one.serves is MAIN)
    assert one.grades[-1].grade == Grade.MASTER


@pytest.mark.parametrize("wanted", [False, True])
def test_a_spare_that_is_found_meanwhile_serves_on(*, wanted: bool) -> None:
    """Nobody knows the VIP yet; the main process is not there, and nobody's fault."""
    world, one = lone()
    move(world, one)
    world.run(4.0)
    one.kill_process(MAIN)
    one.end_sidecar()
    before, grades = len(one.outputs), len(one.grades)
    one.wanted, one.knows_vip = wanted, False
    one.boot()
    world.run(ANSWER_WITHIN + 1.0)
    found = [output for output in one.outputs[before:] if isinstance(output, OpenvpnFound)]
    assert {output.process for output in found} == {SPARE}
    assert len(one.grades) == grades
    one.tell_vip()
    world.run(1.0)
    assert (one.serves, one.grades[-1].grade) == (SPARE, Grade.MASTER)


@pytest.mark.parametrize("hears", ["at once", "late", "not at all"])
def test_nobody_is_promoted_beside_a_spare_that_nobody_wants(hears: str) -> None:
    """It serves; then the configuration, or an older one, says that there is none."""
    world, one = lone()
    move(world, one)
    world.run(4.0)
    table = one.openvpns[SPARE].table()
    one.end_sidecar()
    one.wanted = False
    if hears != "at once":
        one.deaf.add(SPARE)
    if hears == "not at all":
        one.ends = False
        one.barred.add(SPARE)
    one.boot()
    world.run(5.0)
    if hears == "late":
        one.hear_again()
    world.run(20.0)
    assert one.serves is SPARE
    assert one.openvpns[SPARE].table() == table
    [problem] = [what for what in one.figures.problems if what.kind is ProblemKind.SPARE_UNWANTED]
    assert 'spare = "restart"' in problem.fix
    assert one.grades[-1].grade == (Grade.FAULT if hears == "not at all" else Grade.MASTER)


def test_a_spare_that_is_started_unasked_never_leaves_the_main_process_waiting() -> None:
    world, one = unwanted()
    one.boot()
    world.run_until(lambda: one.serves is MAIN)
    world.run(5.0)
    one.run_process(SPARE)
    world.run(1.0)
    assert ProblemKind.SPARE_UNWANTED in told_by(one)
    assert (one.serves, one.grades[-1].grade) == (MAIN, Grade.MASTER)
    one.kill_process(MAIN)
    world.run(0.1)
    one.run_process(MAIN)
    world.run(3.0)
    assert one.serves is SPARE
    assert one.openvpns[MAIN].descriptors is Descriptors.TAKEN
    one.kill_process(SPARE)
    world.run(1.0)
    assert one.serves is MAIN
    assert ProblemKind.SPARE_UNWANTED not in told_by(one)


def test_to_other_machines_it_is_a_node_only_from_when_it_is_there() -> None:
    world, one = unwanted()
    one.boot()
    other = ModelPair(world, "b", InstanceConfig(INSTANCE, ("192.0.2.10",)))
    world.nodes["b"] = other
    other.wanted = False
    other.run_process(MAIN)
    other.boot()
    world.run_until(lambda: one.serves is MAIN)
    one.openvpns[MAIN].connect_client("early")
    one.pump_process(MAIN)
    world.run(30.0)
    assert [node.name for node in other.figures.nodes] == ["a"]
    assert other.figures.sync is Sync.IN_SYNC
    one.run_process(SPARE)
    world.run(3.0)
    assert sorted(node.name for node in other.figures.nodes) == ["a", "a:spare"]
    assert one.openvpns[SPARE].table() == one.openvpns[MAIN].table()
    assert not [event for event in (*one.logs, *other.logs) if event.event == "node lost"]


def test_its_own_spare_is_nobody_to_whom_the_vip_was_handed_over() -> None:
    """After a demote the grade is low while another node could take the VIP, and no longer."""
    world = World(1)
    a, b = add_pair(world, "a"), world.add("b")
    world.run(0.5)
    world.move_vip("a")
    serve(world, a)
    world.run_until(lambda: b.in_sync)
    a.do(lambda pair, now: pair.ask_demote(INSTANCE, now))
    world.move_vip(None)
    world.run(0.1)
    assert a.grades[-1].grade == Grade.DEGRADED
    b.kill_openvpn()
    world.run(0.2)
    assert a.grades[-1].grade == Grade.MASTER
