"""A silent master is fenced before, or beside, a promotion; one that speaks never is."""

from __future__ import annotations

import pytest

from ovpnha.model import FencePolicy, Grade, NodeName, Role
from ovpnha.node.cluster.fence import CAPPED_FOR, QUIET, RETRIES, TRIES
from ovpnha.node.outputs import RunFence
from ovpnha.problems import ProblemKind
from tests.model_cluster import INSTANCE, ModelNode, World
from tests.unit.node.test_takeover import connect

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
FENCE_KINDS = {ProblemKind.FENCE_FAILED, ProblemKind.FENCE_UNKNOWN, ProblemKind.NOT_FENCED}


def cluster(
    policy: FencePolicy = FencePolicy.REQUIRED, names: str = "ab", *, unknown_waits: bool = True
) -> tuple[World, list[ModelNode]]:
    """The first node is master with some clients, the others are in sync."""
    world = World(1)
    nodes = [world.add(name, fence=policy, fence_unknown_waits=unknown_waits) for name in names]
    world.run(1.0)
    world.move_vip("a")
    world.run_until(lambda: nodes[0].plays(Role.MASTER))
    world.run(0.2)
    connect(nodes[0], 5)
    world.run_until(lambda: nodes[0].figures.exporter.protected == 5)
    world.run_until(lambda: all(one.in_sync for one in nodes[1:]))
    return world, nodes


def asked(node: ModelNode) -> list[NodeName]:
    """The nodes that it had fenced, in order."""
    return [one.node for one in node.outputs if isinstance(one, RunFence)]


def ran(node: ModelNode, target: NodeName = A, text: str = "") -> None:
    node.step(lambda core, now: core.fence_done(target, text, now))


def problems(node: ModelNode) -> set[ProblemKind]:
    return {one.kind for one in node.figures.problems} & FENCE_KINDS


def overrule(node: ModelNode) -> None:
    node.step(lambda core, now: core.ask_promote(INSTANCE, 2.0, now, unfenced=True))


def test_without_a_fence_nothing_is_asked() -> None:
    world, (a, b) = cluster(FencePolicy.OFF)
    a.kill()
    b.set_vip(True)
    assert b.plays(Role.MASTER)
    world.run(5.0)
    assert not asked(b)


def test_a_silent_master_is_fenced_before_a_promotion() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    assert b.plays(Role.STANDBY)
    assert b.figures.fence.fence_waits
    world.run(QUIET - 0.01)
    assert not asked(b)
    world.run(0.02)
    assert asked(b) == [A]
    assert b.figures.fence.fencing == "a"
    world.run(20.0)  # it hangs
    assert b.plays(Role.STANDBY)
    assert asked(b) == [A]
    ran(b)
    assert b.plays(Role.MASTER)
    assert not problems(b)
    assert not b.figures.fence.fence_waits


def test_one_that_was_known_to_be_silent_is_fenced_at_once() -> None:
    world, (a, b) = cluster()
    a.kill()
    world.run(5.0)
    b.set_vip(True)
    assert asked(b) == [A]


def test_one_that_is_lost_while_its_fence_is_due_has_no_second_more() -> None:
    """A VIP manager that is slow; the sidecar gives its master up a moment later."""
    world, (a, b) = cluster()
    a.kill()
    world.run(2.0)
    b.set_vip(True)
    assert not asked(b)
    world.run(QUIET - 0.01)
    assert not asked(b)
    world.run(0.02)
    assert asked(b) == [A]


def test_a_planned_move_needs_none() -> None:
    world, (a, b) = cluster()
    a.step(lambda core, now: core.ask_demote(INSTANCE, now))
    world.move_vip("b")
    assert world.run_until(lambda: b.plays(Role.MASTER)) < 0.1
    world.run(10.0)
    assert a.plays(Role.STANDBY)
    assert not asked(b)


def test_a_promise_needs_none_while_the_master_is_heard() -> None:
    _, (_, b) = cluster()
    b.step(lambda core, now: core.ask_promote(INSTANCE, 2.0, now))
    assert b.plays(Role.MASTER)
    assert not asked(b)


def test_a_master_that_is_heard_is_not_silent() -> None:
    world, (a, b) = cluster()
    b.set_vip(True)
    took = world.run_until(lambda: b.plays(Role.MASTER))
    assert took == pytest.approx(QUIET, abs=0.1)
    assert a.plays(Role.MASTER)
    assert not asked(b)


def test_the_goodbye_of_a_sidecar_is_not_the_end_of_its_openvpn() -> None:
    world, (a, b) = cluster()
    a.step(lambda core, now: core.stop(now))
    a.kill_sidecar()
    world.run(0.1)
    b.set_vip(True)
    assert b.plays(Role.STANDBY)
    world.run(QUIET)
    assert asked(b) == [A]


def stop_process(world: World, node: ModelNode, seconds: float) -> None:
    """The machine stands still: it hears nothing, and its clock goes on."""
    node.reachable = False
    node._timer += 1  # the one that is set does not fire
    world.run(seconds)
    node.reachable = True


@pytest.mark.parametrize("policy", [FencePolicy.REQUIRED, FencePolicy.OPTIONAL])
@pytest.mark.parametrize("vip_first", [True, False])
@pytest.mark.parametrize("seconds", [1.2, 2.5, 30.0])
def test_a_master_is_not_silent_because_this_node_stood_still(
    seconds: float, vip_first: bool, policy: FencePolicy
) -> None:
    """Its VIP manager stood still, too, and takes the VIP in the moment in which it goes on."""
    world, (a, b) = cluster(policy)
    stop_process(world, b, seconds)
    if vip_first:
        b.set_vip(True)
    b.step(lambda core, now: core.handle_timer(now))
    b.set_vip(True)
    world.run(3.0)
    assert not asked(b)
    assert a.plays(Role.MASTER)


@pytest.mark.parametrize("after", [0.0, 0.3])
@pytest.mark.parametrize("seconds", [1.6, 2.0, 2.5, 5.0])
def test_nor_because_it_stood_still_while_a_fence_was_due(seconds: float, after: float) -> None:
    world, (a, b) = cluster()
    b.set_vip(True)
    world.run(after)
    stop_process(world, b, seconds)
    b.step(lambda core, now: core.handle_timer(now))
    world.run(3.0)
    assert not asked(b)
    assert a.plays(Role.MASTER)


def test_one_that_has_died_meanwhile_is_fenced_all_the_same() -> None:
    world, (a, b) = cluster()
    b.set_vip(True)
    world.run(0.3)
    a.kill()
    stop_process(world, b, 5.0)
    b.step(lambda core, now: core.handle_timer(now))
    assert not asked(b)
    world.run(QUIET + 0.2)
    assert asked(b) == [A]


def test_a_fence_that_fails_is_tried_again_and_caps_the_grade() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    for tries, pause in enumerate((*RETRIES, RETRIES[-1]), start=1):
        assert len(asked(b)) == tries
        ran(b, text="exit code 1")
        assert b.figures.fence.fence_failures == tries
        assert b.grade == (Grade.LONE if tries < TRIES else Grade.DEGRADED)
        assert problems(b) == {ProblemKind.FENCE_FAILED}
        world.run(pause - 0.1)
        assert len(asked(b)) == tries
        world.run(0.2)
    assert b.plays(Role.STANDBY)
    ran(b)
    assert b.plays(Role.MASTER)
    assert b.grade == Grade.MASTER
    assert not problems(b)


def test_an_empty_node_gets_the_vip_when_a_fence_has_failed_for_long_enough() -> None:
    """Its options differ, so it has no clients. It would have to fence the same master, and all
    clients would begin anew, as they do in the end when nobody serves.
    """
    world = World(1)
    a, b = (world.add(name, fence=FencePolicy.REQUIRED) for name in "ab")
    c = world.add("c", fence=FencePolicy.REQUIRED, digest="d2")
    world.run(0.2)
    a.set_vip(True)
    world.run(1.5)
    connect(a, 5)
    world.run(1.0)
    assert c.grade == Grade.FAULT
    a.kill()
    world.run_until(lambda: (b.grade, c.grade) == (Grade.IN_SYNC, Grade.DEGRADED))
    world.run(QUIET + 0.5)  # both have lost it, whoever does so first
    b.set_vip(True)
    for tries, pause in enumerate(RETRIES[:TRIES], start=1):
        ran(b, text="exit code 1")
        world.run(1.0)
        last = tries == TRIES
        assert b.grade == (Grade.DEGRADED if last else Grade.LONE)
        assert c.grade == (Grade.LONE if last else Grade.DEGRADED)
        world.run(pause)
    b.set_vip(False)
    c.set_vip(True)
    world.run(0.5)
    assert asked(c) == [A]
    ran(c)
    assert c.plays(Role.MASTER)


def test_a_failure_is_forgotten_when_the_vip_has_left_for_long_enough() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    ran(b, text="exit code 1")
    b.set_vip(False)
    world.run(CAPPED_FOR - 1.0)
    assert b.figures.fence.fence_failures == 1
    world.run(2.0)
    assert b.figures.fence.fence_failures == 0
    assert not problems(b)


def test_a_failure_is_forgotten_when_the_master_is_back() -> None:
    world, (a, b) = cluster()
    a.reachable = False
    b.set_vip(True)
    world.run(QUIET + 0.1)
    ran(b, text="exit code 1")
    a.reachable = True
    a.set_vip(False)
    world.run_until(lambda: b.plays(Role.MASTER))
    assert not problems(b)
    assert len(asked(b)) == 1


def test_a_person_overrules_it() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    ran(b, text="exit code 1")
    overrule(b)
    assert b.plays(Role.MASTER)
    assert not problems(b)
    b.set_vip(False)
    b.set_vip(True)
    assert b.plays(Role.MASTER)  # it holds for the same node the next time


def test_an_optional_fence_delays_nothing() -> None:
    world, (a, b) = cluster(FencePolicy.OPTIONAL)
    a.kill()
    b.set_vip(True)
    assert b.plays(Role.MASTER)
    assert not asked(b)
    world.run(QUIET + 0.01)
    assert asked(b) == [A]
    ran(b, text="exit code 1")
    assert problems(b) == {ProblemKind.NOT_FENCED}
    assert b.grade == Grade.MASTER
    world.run(RETRIES[0] + 0.1)
    assert asked(b) == [A, A]
    ran(b)
    assert not problems(b)
    world.run(100.0)
    assert asked(b) == [A, A]


def test_an_optional_fence_ends_with_the_role() -> None:
    world, (a, b) = cluster(FencePolicy.OPTIONAL)
    a.kill()
    b.set_vip(True)
    b.set_vip(False)
    world.run(10.0)
    assert not asked(b)


@pytest.mark.parametrize("waits", [True, False])
def test_who_knows_of_no_master_waits_or_not(waits: bool) -> None:
    world = World(1)
    a, b = (
        world.add(name, start=False, fence=FencePolicy.REQUIRED, fence_unknown_waits=waits)
        for name in ("a", "b")
    )
    a.start()
    a.start_openvpn()
    world.run(20.0)
    a.set_vip(True)
    world.run(5.0)
    assert a.plays(Role.STANDBY if waits else Role.MASTER)
    assert problems(a) == ({ProblemKind.FENCE_UNKNOWN} if waits else set())
    assert (a.grade == Grade.DEGRADED) is waits
    b.start()
    b.start_openvpn()
    world.run(5.0)
    assert a.plays(Role.MASTER)
    assert not problems(a)


def test_who_knows_of_no_master_can_be_overruled() -> None:
    world = World(1)
    a = world.add("a", fence=FencePolicy.REQUIRED)
    world.run(1.0)
    a.set_vip(True)
    world.run(5.0)
    overrule(a)
    assert a.plays(Role.MASTER)
    a.set_vip(False)
    a.set_vip(True)
    assert a.plays(Role.MASTER)  # a held node knows who was master


def test_a_master_that_only_others_have_heard_is_fenced() -> None:
    world, (a, _, c) = cluster(names="abc")
    a.kill()
    c.kill_sidecar()
    world.run(5.0)
    c.start()
    world.run(2.0)
    c.set_vip(True)
    world.run(QUIET + 0.1)
    assert asked(c) == [A]
    assert c.plays(Role.STANDBY)
    ran(c)
    assert c.plays(Role.MASTER)


def test_two_silent_masters_are_fenced_one_after_the_other() -> None:
    world, (a, b, c) = cluster(names="abc")
    b.set_vip(True)
    world.run(5.0)
    assert a.plays(Role.MASTER)
    assert b.plays(Role.MASTER)
    a.kill()
    b.kill()
    c.set_vip(True)
    world.run(QUIET + 0.1)
    first = asked(c)
    assert len(first) == 1
    ran(c, first[0])
    assert c.plays(Role.STANDBY)
    assert set(asked(c)) == {A, B}
    ran(c, ({A, B} - set(first)).pop())
    assert c.plays(Role.MASTER)


def test_of_a_master_that_another_one_followed_nobody_need_take_care() -> None:
    world, (a, b, c) = cluster(names="abc")
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    ran(b)
    world.run(10.0)
    assert c.in_sync
    b.kill()
    c.set_vip(True)
    world.run(QUIET + 0.1)
    ran(c, B)
    assert asked(c) == [B]
    assert c.plays(Role.MASTER)


def test_one_that_was_fenced_and_is_back_is_fenced_again() -> None:
    world, (a, b) = cluster()
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    ran(b)
    a.start()
    a.start_openvpn()
    world.run_until(lambda: a.in_sync)
    world.move_vip("a")
    world.run_until(lambda: a.plays(Role.MASTER))
    world.run(5.0)
    a.kill()
    b.set_vip(True)
    world.run(QUIET + 0.1)
    assert asked(b) == [A, A]
    assert b.plays(Role.STANDBY)


def test_a_pause_that_ends_begins_with_the_fence() -> None:
    world, (a, b) = cluster()
    b.step(lambda core, now: core.ask_pause(INSTANCE, 60.0, now))
    a.kill()
    b.set_vip(True)
    world.run(10.0)
    assert not asked(b)
    b.step(lambda core, now: core.ask_resume(INSTANCE, now))
    assert b.plays(Role.STANDBY)
    assert asked(b) == [A]
    ran(b)
    assert b.plays(Role.MASTER)


def test_a_fence_of_another_instance_counts() -> None:
    _, (a, b) = cluster()
    a.kill()
    ran(b, C)
    ran(b, A)
    b.set_vip(True)
    assert b.plays(Role.MASTER)
    assert not asked(b)
