"""A paused node watches and replicates, and does not act."""

from __future__ import annotations

import pytest

from ovpnha.model import Grade, Role
from ovpnha.problems import ProblemKind
from tests.model_cluster import INSTANCE, LINK, ModelNode
from tests.unit.node.test_takeover import connect, serve


def pause(node: ModelNode, seconds: float = 600.0) -> None:
    node.step(lambda core, now: core.ask_pause(INSTANCE, seconds, now))


def resume(node: ModelNode) -> None:
    node.step(lambda core, now: core.ask_resume(INSTANCE, now))


def kinds(node: ModelNode) -> set[ProblemKind]:
    return {one.kind for one in node.figures.problems}


def test_a_paused_standby_does_not_take_over_but_replicates() -> None:
    world, a, b = serve()
    pause(b)
    connect(a, 1)
    world.run_until(lambda: b.figures.importer.records == 11)
    a.kill()
    b.set_vip(True)
    world.run(30.0)
    assert b.plays(Role.STANDBY)
    assert b.grade == Grade.IN_SYNC
    assert kinds(b) >= {ProblemKind.PAUSED, ProblemKind.PAUSED_WITH_VIP}
    resume(b)
    assert b.plays(Role.MASTER)
    assert b.figures.pause.paused_for == 0.0
    assert not kinds(b) & {ProblemKind.PAUSED, ProblemKind.PAUSED_WITH_VIP}


def test_a_paused_master_is_held_and_goes_on_and_keeps_its_clients() -> None:
    world, a, _ = serve()
    assert a.openvpn is not None
    before = a.openvpn.table()
    pause(a)
    world.move_vip(None)
    assert a.plays(Role.HELD)
    world.run(200.0)  # longer than held_max
    assert a.plays(Role.HELD)
    assert a.grade == Grade.MASTER
    a.set_vip(True)
    assert a.plays(Role.MASTER)
    world.run(0.1)
    assert a.openvpn.table() == before


def test_who_was_replaced_meanwhile_fetches_when_the_vip_comes_back() -> None:
    world, a, b = serve()
    pause(a)
    world.move_vip("b")
    world.run(10.0)
    assert b.plays(Role.MASTER)
    assert a.plays(Role.HELD)
    assert a.grade == Grade.LONE  # it draws the VIP from nobody
    connect(b, 1)
    world.run(0.1)
    world.move_vip("a")
    world.run(3.0)
    assert a.plays(Role.MASTER)
    assert a.figures.clients == 11


def test_a_fault_is_said_all_the_same() -> None:
    world, a, _ = serve()
    pause(a)
    a.kill_openvpn()
    world.run(0.1)
    assert a.grade == Grade.FAULT


def test_it_ends_by_itself_and_may_be_made_longer() -> None:
    world, a, b = serve()
    pause(b, 10.0)
    world.run(5.0)
    pause(b, 10.0)
    a.kill()
    b.set_vip(True)
    world.run(9.9)
    assert b.plays(Role.STANDBY)
    world.run(0.2)
    assert b.plays(Role.MASTER)


def test_who_acts_goes_on_to_act() -> None:
    world, a, _ = serve()
    resume(a)
    world.run(1.0)
    assert a.plays(Role.MASTER)
    assert not a.logged("acts again after a pause")


@pytest.mark.parametrize("what", ["promise", "demote"])
def test_what_was_asked_for_before_is_forgotten(what: str) -> None:
    world, a, b = serve()
    if what == "promise":
        a.reachable = False
        world.run(3.0)
        pause(b)
        b.step(lambda node, now: node.ask_promote(INSTANCE, 5.0, now))
        assert b.plays(Role.STANDBY)
    else:
        a.step(lambda node, now: node.ask_demote(INSTANCE, now))
        assert a.grade == Grade.DEGRADED
        pause(a)
        resume(a)
        assert a.grade == Grade.MASTER


def test_every_node_sees_it() -> None:
    world, a, b = serve()
    pause(b)
    world.run(0.1)
    [view] = a.figures.nodes
    assert view.paused
    assert a.node is not None
    plan = a.node.plan_switchover(INSTANCE, None, world.now)
    assert [one.reason.name for one in plan.obstacles] == ["PAUSED"]
    pause(a)
    plan = a.node.plan_switchover(INSTANCE, None, world.now)
    assert [one.reason.name for one in plan.obstacles] == ["PAUSED", "PAUSED"]


def test_a_paused_standby_is_worth_less_than_who_serves_or_would() -> None:
    world, a, b = serve()
    c = world.add("c")
    world.run_until(lambda: c.in_sync)
    pause(b)
    assert b.grade == Grade.DEGRADED  # below a master whose check fails
    world.run(0.1)
    a.kill()
    world.run(5.0)
    assert (b.grade, c.grade) == (Grade.DEGRADED, Grade.IN_SYNC)
    pause(c)
    world.run(0.1)
    assert b.grade == Grade.IN_SYNC  # nobody would serve: as good as any
    resume(b)
    world.run(0.1)
    assert (b.grade, c.grade) == (Grade.IN_SYNC, Grade.DEGRADED)


def test_a_paused_master_that_lost_its_clients_draws_the_vip_from_nobody() -> None:
    world, a, b = serve()
    pause(a)
    a.kill_openvpn()
    world.move_vip("b")
    world.run(0.2)
    a.start_openvpn()
    told = len(a.grades)
    world.run_until(lambda: a.in_sync)
    assert a.plays(Role.STANDBY)
    world.run(0.1)
    assert {one.grade for one in a.grades[told:]} <= {Grade.DEGRADED, Grade.IN_SYNC}
    assert a.grade == Grade.IN_SYNC
    assert b.plays(Role.MASTER)
    world.move_vip("a")  # it would serve all the same
    world.run(0.2)
    assert a.plays(Role.MASTER)
    assert a.grade == Grade.MASTER


def test_a_paused_node_without_the_network_is_not_as_good_as_who_took_over() -> None:
    world, a, _ = serve()
    pause(a)
    a.step(lambda node, now: node.link_changed(LINK, False, now))
    assert a.grade == Grade.MASTER  # work on the network moves nothing
    world.move_vip("b")
    assert a.plays(Role.HELD)
    assert a.grade == Grade.DEGRADED  # it cannot hear that b was promoted


def test_who_was_paused_before_its_role_was_known_serves_when_it_did() -> None:
    world, a, _ = serve()
    a.kill_sidecar()
    a.start()
    pause(a)
    world.run(0.2)
    assert a.plays(Role.MASTER)
    world.move_vip("b")
    world.run(0.5)
    connect(a if a.plays(Role.MASTER) else world.nodes["b"], 1)
    world.run(0.2)
    world.move_vip("a")
    world.run(3.0)
    assert a.plays(Role.MASTER)
    assert a.grade == Grade.MASTER
