"""A switchover, from the word of an administrator on any node to the old master as standby.

Whole nodes in virtual time; the VIP manager is a function of the grades.
"""

from __future__ import annotations

from functools import partial

import pytest

from ovpnha.model import Grade, NodeName, Role
from ovpnha.node.cluster.conductor import FREEZE, PREPARE_MAX, QUIET_MAX, READY_MAX
from ovpnha.node.cluster.obstacles import SwitchPlan
from ovpnha.node.cluster.switchover import (
    ANSWER_MAX,
    GRACE,
    SHOWN,
    SwitchFigures,
    Switchover,
)
from ovpnha.node.node import Node
from ovpnha.node.openvpn.openvpn import QUIESCE_FOR
from tests.model_cluster import INSTANCE, World
from tests.unit.node.test_takeover import connect

NUMBER = b"request!"
WITHIN = 5.0
ELECTION = 0.05


def cluster(count: int = 3, clients: int = 10, *, managed: bool = True) -> World:
    """Node a is master, all others are in sync; the highest grade has the VIP."""
    world = World(1)
    nodes = [world.add(name) for name in "abcd"[:count]]
    world.run(0.2)
    world.move_vip("a")
    world.run(0.2)
    connect(nodes[0], clients)
    world.run_until(lambda: all(one.in_sync for one in nodes[1:]))
    world.run(1.0)
    if managed:
        elect(world)
    return world


def elect(world: World) -> None:
    """keepalived: whoever has the best grade gets the VIP; who has it keeps it among equals."""
    alive = [one for one in world.nodes.values() if one.node is not None and one.grades]
    holder = next((one for one in alive if one.vip), None)
    best = max(alive, key=lambda one: (one.grade, one is holder))
    if best is not holder:
        best.set_vip(True)
        if holder is not None:
            world.later(0.001, holder.set_vip, False)
    world.later(ELECTION, elect, world)


def ask(world: World, on: str, to: str | None, within: float = WITHIN) -> None:
    target = NodeName(to) if to is not None else None
    world.nodes[on].step(
        lambda node, now: node.ask_switchover(INSTANCE, NUMBER, target, within, now)
    )


def told(world: World, on: str) -> SwitchFigures:
    """What the node knows on which it was asked for."""
    node = world.nodes[on].node
    assert node is not None
    found = node.switchover(INSTANCE, NUMBER)
    assert found is not None
    return found


def run_to_end(world: World, on: str, limit: float = 30.0) -> str:
    """Wait for its end; the reason, or "" when it was done."""
    world.run_until(lambda: told(world, on).phase in {"done", "failed"}, limit)
    return told(world, on).reason


def phase(world: World, name: str) -> str | None:
    figures = world.nodes[name].figures.switchover
    return figures.phase if figures is not None else None


def expect_as_before(world: World) -> None:
    """Node a serves on, and in the end everybody is in sync with it."""
    a = world.nodes["a"]
    assert a.vip
    assert a.plays(Role.MASTER)
    others = [one for one in world.nodes.values() if one is not a and one.openvpn is not None]
    world.run_until(lambda: a.grade == Grade.MASTER)
    world.run_until(lambda: all(one.in_sync for one in others))
    assert world.same_tables("a", *(one.name for one in others))


@pytest.mark.parametrize("on", ["a", "b", "c"])
def test_the_role_goes_where_it_is_asked_for_from_any_node(on: str) -> None:
    world = cluster()
    before = world.nodes["a"].openvpn.table()  # type: ignore[union-attr]
    ask(world, on, "c")
    assert run_to_end(world, on) == ""
    assert told(world, on).times.keys() == {"frozen", "promoted", "moved", "served"}
    assert (told(world, on).master, told(world, on).target) == ("a", "c")
    world.run(1.0)
    a, b, c = world.nodes.values()
    assert [one.figures.role for one in (a, b, c)] == [Role.STANDBY, Role.STANDBY, Role.MASTER]
    assert c.openvpn is not None
    assert c.openvpn.table() == before
    world.run_until(lambda: a.in_sync and b.in_sync)
    assert a.figures.openvpn.counters["switchovers"] == 1
    assert [one.grade for one in (a, b, c)] == [Grade.IN_SYNC, Grade.IN_SYNC, Grade.MASTER]


def test_the_target_is_master_before_the_vip_is_let_go() -> None:
    world = cluster(2)
    a, b = world.nodes.values()
    ask(world, "a", None)
    world.run_until(lambda: a.grade == Grade.DEGRADED)
    assert b.plays(Role.MASTER)
    assert not b.vip
    assert a.plays(Role.MASTER)
    assert run_to_end(world, "a") == ""


def test_with_ipv6_the_target_is_promoted_when_the_vip_comes() -> None:
    """Before, it would ping clients from an address that it does not have."""
    world = World(1)
    a, b, c = (world.add(name, start=False, vips=()) for name in "abc")
    for one in (a, b, c):
        one.start_openvpn().local = "2001:db8::10"
        one.start()
    world.move_vip("a")
    world.run(0.5)
    connect(a, 5)
    world.run(1.5)
    elect(world)
    ask(world, "b", "c")
    world.run_until(lambda: a.grade == Grade.DEGRADED)
    assert (b.grade, c.grade) == (Grade.DEGRADED, Grade.IN_SYNC)
    assert c.plays(Role.STANDBY)
    assert run_to_end(world, "b") == ""
    assert c.plays(Role.MASTER)


def open_to_all(early: tuple[bool, bool]) -> World:
    """Two nodes with any address; node a is master. Whether the kernel lets each speak early."""
    world = World(1)
    for name, one in zip("ab", early, strict=True):
        node = world.add(name, start=False, vips=())
        node.start_openvpn(addresses=("192.0.2.10", "2001:db8::10")).early = one
        node.start()
    world.move_vip("a")
    world.run(0.5)
    connect(world.nodes["a"], 5)
    world.run(1.5)
    elect(world)
    return world


@pytest.mark.parametrize("target", [False, True])
@pytest.mark.parametrize("master", [False, True])
def test_what_the_kernels_of_the_two_allow_may_differ(master: bool, target: bool) -> None:
    world = open_to_all((master, target))
    a, b = world.nodes.values()
    ask(world, "a", "b")
    world.run_until(lambda: a.grade == Grade.DEGRADED)
    assert b.plays(Role.STANDBY if target else Role.MASTER)
    assert not b.vip
    assert run_to_end(world, "a") == ""
    assert b.plays(Role.MASTER)
    world.run(4.0)
    back = b"and back"  # while the first one is still told of
    b.step(lambda node, now: node.ask_switchover(INSTANCE, back, NodeName("a"), WITHIN, now))
    world.run_until(lambda: a.vip and a.plays(Role.MASTER), 2.0)
    world.run_until(lambda: bool(b.logged("switchover done")), 1.0)


def test_who_went_along_says_so_no_longer_than_its_master_does() -> None:
    world = open_to_all((True, True))
    a, b = world.nodes.values()
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "b") == "ready")
    assert b.node is not None
    one = b.node._instances[INSTANCE].parts.switchover
    world.run_until(lambda: one.said is not None)
    a.kill_openvpn()
    world.run_until(lambda: one.said is None, 2.0)


def test_what_the_kernel_allows_is_asked_when_it_counts() -> None:
    """It was told otherwise since OpenVPN was found."""
    world = open_to_all((False, False))
    a, b = world.nodes.values()
    assert b.openvpn is not None
    b.openvpn.early = True
    ask(world, "a", "b")
    world.run_until(lambda: a.grade == Grade.DEGRADED)
    assert b.plays(Role.STANDBY)
    assert run_to_end(world, "a") == ""
    assert b.plays(Role.MASTER)


@pytest.mark.parametrize("early", [False, True])
def test_it_is_asked_before_a_promise_too(early: bool) -> None:
    world = open_to_all((False, False))
    a, b = world.nodes.values()
    assert b.openvpn is not None
    b.openvpn.early = early
    b.step(lambda node, now: node.ask_promote(INSTANCE, 5.0, now))
    assert not [one for one in b.openvpn.commands if one.startswith("cluster-promote")]
    world.run(0.5)
    assert b.plays(Role.STANDBY if early else Role.MASTER)
    broken = b.logged("promise broken: openvpn would speak before the vip")
    assert bool(broken) is early
    assert a.plays(Role.MASTER)


def test_the_others_stand_back_until_it_is_over() -> None:
    world = cluster(4)
    c = world.nodes["c"]
    ask(world, "d", "b")
    world.run_until(lambda: c.grade == Grade.DEGRADED)
    assert phase(world, "c") == "ready"
    assert world.nodes["a"].grade != Grade.DEGRADED
    assert run_to_end(world, "d") == ""
    world.run(0.5)
    assert c.grade == Grade.IN_SYNC
    assert world.nodes["b"].vip


def test_a_vip_that_is_not_moved_costs_nothing() -> None:
    world = cluster(managed=False)
    ask(world, "b", "b")
    assert run_to_end(world, "b") == "not_moved"
    assert world.nodes["a"].figures.openvpn.counters["switchovers_failed"] == 1
    expect_as_before(world)
    assert world.nodes["b"].roles[-1].new is Role.STANDBY


def test_a_target_that_dies_midway_costs_nothing() -> None:
    world = cluster(managed=False)
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "a") == "moving")
    world.nodes["b"].kill_openvpn()
    assert run_to_end(world, "a") == "target_lost"
    expect_as_before(world)


def test_a_target_that_falls_silent_midway_costs_nothing() -> None:
    world = cluster(managed=False)
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "a") == "moving")
    world.nodes["b"].kill()
    assert run_to_end(world, "a") == "target_lost"
    expect_as_before(world)


@pytest.mark.parametrize("deed", ["hang", "die"])
def test_a_target_that_does_not_promote_itself_costs_nothing(deed: str) -> None:
    world = cluster(managed=False)
    a, b = world.nodes["a"], world.nodes["b"]
    b.busy = 2 * READY_MAX
    if deed == "hang":
        connect(a, 1)  # what is imported late keeps the copy from being whole
    ask(world, "a", "b")
    if deed == "die":
        world.run_until(lambda: phase(world, "a") == "ready")
        b.kill_openvpn()
    assert run_to_end(world, "a") in {"busy", "not_promoted", "target_lost"}
    b.busy = 0.0
    world.run(2.0)
    assert a.plays(Role.MASTER)


def test_a_master_that_loses_its_openvpn_gives_it_up() -> None:
    world = cluster()
    ask(world, "c", "b")
    world.run_until(lambda: phase(world, "a") == "ready")
    world.nodes["a"].kill_openvpn()
    world.run(1.0)
    assert told(world, "c").reason == "server_lost"
    assert world.nodes["b"].plays(Role.MASTER)
    assert world.nodes["b"].vip


def test_a_master_whose_sidecar_dies_midway_leaves_the_vip_where_it_is() -> None:
    world = cluster(managed=False)
    a, b = world.nodes["a"], world.nodes["b"]
    ask(world, "c", "b")
    world.run_until(lambda: b.plays(Role.MASTER))
    a.kill_sidecar()
    world.run(WITHIN + READY_MAX + 0.5)
    assert b.plays(Role.HELD)
    world.run(12.0)
    assert b.grade == Grade.LONE  # whoever serves without its sidecar keeps the VIP
    assert run_to_end(world, "c") == "master_lost"
    a.start()
    world.run(0.5)
    expect_as_before(world)


def test_a_master_whose_sidecar_dies_when_the_vip_is_on_its_way() -> None:
    world = cluster(managed=False)
    a, b = world.nodes["a"], world.nodes["b"]
    ask(world, "c", "b")
    world.run_until(lambda: a.grade == Grade.DEGRADED)
    a.kill_sidecar()
    a.set_vip(False)
    b.set_vip(True)
    assert run_to_end(world, "c") == ""
    assert b.plays(Role.MASTER)
    a.start()
    world.run_until(lambda: a.in_sync)


def test_a_client_that_changes_while_the_vip_stays_calls_it_off() -> None:
    world = cluster(2, managed=False)
    a = world.nodes["a"]
    ask(world, "a", "b", 60.0)
    world.run_until(lambda: phase(world, "a") == "moving")
    begun = world.now
    connect(a, 1)
    assert a.openvpn is not None
    assert run_to_end(world, "a") == "changed"
    assert world.now - begun <= FREEZE
    expect_as_before(world)


def test_handshakes_are_waited_for_but_not_for_ever() -> None:
    world = cluster(2)
    a = world.nodes["a"]
    assert a.node is not None
    exporter = a.node._instances[INSTANCE].parts.exporter
    exporter._renegotiating = {b"uid": object()}  # type: ignore[dict-item]
    ask(world, "a", "b")
    assert run_to_end(world, "a") == ""
    assert QUIET_MAX <= told(world, "a").times["frozen"] < QUIET_MAX + 0.1


def test_a_target_that_does_not_get_everything_is_not_waited_for_for_ever() -> None:
    world = cluster(2)
    a, b = world.nodes.values()
    b.busy = 3600.0
    connect(a, 1)
    world.run(0.05)
    ask(world, "a", "b")
    begun = world.now
    assert run_to_end(world, "a", 10.0) == "busy"
    assert world.now - begun < PREPARE_MAX + 0.1


def test_the_vip_may_go_elsewhere() -> None:
    world = cluster(managed=False)
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "a") == "moving")
    world.move_vip("c")
    assert run_to_end(world, "a") == "elsewhere"
    elect(world)
    world.run(20.0)
    roles = [one.figures.role for one in world.nodes.values()]
    assert sorted(one.value for one in roles) == ["master", "standby", "standby"]
    assert sum(one.in_sync for one in world.nodes.values()) == 2


def test_a_vip_that_goes_nowhere_is_told() -> None:
    world = cluster(2, managed=False)
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "a") == "moving")
    world.move_vip(None)
    assert run_to_end(world, "a") == "not_moved"
    world.move_vip("a")
    world.run(0.1)
    expect_as_before(world)


def test_who_is_cut_off_while_it_is_promised_the_vip_gives_it_up_in_time() -> None:
    world = cluster(2, managed=False)
    b = world.nodes["b"]
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "a") == "moving")
    b.reachable = False
    assert run_to_end(world, "a") == "target_lost"
    world.run(WITHIN + READY_MAX)
    assert b.plays(Role.HELD)
    b.reachable = True
    world.run(3.0)
    expect_as_before(world)


def test_a_master_that_does_not_know_of_switchovers_is_told() -> None:
    world = cluster(2)
    a = world.nodes["a"]
    assert a.node is not None
    a.node._instances[INSTANCE].parts.switchover._take_wishes = (  # type: ignore[method-assign]
        lambda *_: None
    )
    begun = world.now
    ask(world, "b", "b")
    assert run_to_end(world, "b") == "no_answer"
    assert ANSWER_MAX <= world.now - begun < ANSWER_MAX + 0.1


def test_a_wish_that_is_meant_for_another_epoch_does_nothing() -> None:
    world = cluster(2)
    b = world.nodes["b"]
    assert b.node is not None
    stale = SwitchPlan(NodeName("a"), NodeName("b"))
    switchover = b.node._instances[INSTANCE].parts.switchover
    b.step(lambda _node, now: switchover.ask(NUMBER, stale, WITHIN, now))
    b.step(lambda node, now: node.grade_read(INSTANCE, True, now))
    assert run_to_end(world, "b") == "no_answer"
    assert world.nodes["a"].plays(Role.MASTER)


def test_what_is_sent_again_moves_nothing() -> None:
    world = cluster(2)
    ask(world, "b", None)
    recorded: list[bytes] = []

    def keep(_name: str, data: bytes) -> bool:
        recorded.append(data)
        return False

    world.network.keep = keep
    assert run_to_end(world, "b") == ""
    world.run(SHOWN + 1.0)
    before = len(world.nodes["b"].roles)
    for data in recorded:  # an attacker sends all of it again
        for one in ("a", "b"):
            world.nodes[one].step(
                lambda node, now, data=data: node.receive_datagram(data, "bcn", now)  # type: ignore[misc]
            )
    world.run(5.0)
    assert len(world.nodes["b"].roles) == before
    assert world.nodes["b"].plays(Role.MASTER)


def test_a_second_one_is_refused_while_the_first_is_under_way() -> None:
    world = cluster(3, managed=False)
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "c") == "moving")
    c = world.nodes["c"].node
    assert c is not None
    plan = c.plan_switchover(INSTANCE, NodeName("c"), world.now)
    assert "UNDER_WAY" in [one.reason.name for one in plan.obstacles]


def test_two_that_are_asked_for_at_once_are_one() -> None:
    world = cluster(3, managed=False)
    ask(world, "b", "b")
    other = b"another!"
    world.nodes["c"].step(
        lambda node, now: node.ask_switchover(INSTANCE, other, NodeName("c"), WITHIN, now)
    )
    world.run_until(lambda: phase(world, "a") == "moving")
    world.run(0.2)
    b, c = world.nodes["b"].node, world.nodes["c"].node
    assert b is not None
    assert c is not None
    first, second = b.switchover(INSTANCE, NUMBER), c.switchover(INSTANCE, other)
    assert first is not None
    assert second is not None
    assert {(first.phase, first.reason), (second.phase, second.reason)} == {
        ("moving", ""),
        ("failed", "under_way"),
    }


def wish(one: Switchover, number: bytes, plan: SwitchPlan, node: Node, now: float) -> None:
    """Ask for what this node would not ask for."""
    one.ask(number, plan, WITHIN, now)
    node.grade_read(INSTANCE, True, now)


def test_the_master_looks_itself_at_what_stands_against_it() -> None:
    """What the other node sees may be old."""
    world = cluster(3)
    a, b = world.nodes["a"], world.nodes["b"]
    assert a.node is not None
    parts = a.node._instances[INSTANCE].parts
    for target, reason in (("a", "is_master"), ("x", "unknown")):
        plan = SwitchPlan(NodeName("a"), NodeName(target), parts.own.epoch)
        assert b.node is not None
        one = b.node._instances[INSTANCE].parts.switchover
        number = reason.ljust(8)[:8].encode()
        b.step(partial(wish, one, number, plan))
        world.run(0.5)
        found = one.wished(number)
        assert found is not None
        assert (found.phase, found.reason) == ("failed", reason)
    assert a.plays(Role.MASTER)


def test_how_it_ended_is_said_for_a_while() -> None:
    world = cluster(2)
    ask(world, "a", "b")
    assert run_to_end(world, "a") == ""
    assert phase(world, "a") == "done"
    world.run(SHOWN + 1.0)
    node = world.nodes["a"].node
    assert node is not None
    assert node._instances[INSTANCE].parts.switchover.said is None
    assert phase(world, "b") is None
    assert node.switchover(INSTANCE, b"other one") is None


def test_who_stands_back_does_not_do_so_for_ever() -> None:
    """Whatever the master says."""
    world = cluster(3, managed=False)
    a, c = world.nodes["a"].node, world.nodes["c"]
    assert a is not None
    ask(world, "a", "b", 1.0)
    world.run_until(lambda: phase(world, "a") == "moving")
    a._instances[INSTANCE].parts.switchover._conduct = (  # type: ignore[method-assign]
        lambda *_: None
    )
    world.run(READY_MAX + 1.0 + GRACE + 0.5)
    assert c.grade != Grade.DEGRADED


def test_a_renegotiation_waits_until_it_is_over() -> None:
    world = cluster(2, managed=False)
    a = world.nodes["a"]
    assert a.node is not None
    rekey = a.node._instances[INSTANCE].parts.rekey
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "a") == "moving")
    assert rekey._paused
    run_to_end(world, "a")
    assert not rekey._paused


def quiesced(world: World) -> list[str]:
    openvpn = world.nodes["a"].openvpn
    assert openvpn is not None
    commands = openvpn.commands
    return [line.partition(" ")[2] for line in commands if line.startswith("cluster-quiesce")]


def test_no_handshake_begins_in_one() -> None:
    world = cluster(2, managed=False)
    assert not quiesced(world)
    ask(world, "a", "b")
    world.run_until(lambda: phase(world, "a") == "moving")
    assert quiesced(world) == [str(QUIESCE_FOR)]
    world.run_until(lambda: phase(world, "a") == "failed")
    world.run(0.01)
    assert quiesced(world) == [str(QUIESCE_FOR), "0"]


def test_an_older_openvpn_that_knows_no_such_command_has_not_refused_one() -> None:
    world = cluster(2)
    a = world.nodes["a"]
    assert a.openvpn is not None
    a.openvpn.refuse_for_good["cluster-quiesce"] = "unknown command"
    ask(world, "a", "b")
    assert run_to_end(world, "a") == ""
    assert "commands_refused" not in a.figures.openvpn.counters
    assert not [one for one in a.outputs if "refused" in str(one)]


def test_what_cannot_be_done_is_not_begun() -> None:
    world = cluster(2)
    ask(world, "b", "a")
    world.run(1.0)
    node = world.nodes["b"].node
    assert node is not None
    assert node.switchover(INSTANCE, NUMBER) is None
    assert phase(world, "a") is None
