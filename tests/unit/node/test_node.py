"""What a node says of itself, of its links and of other nodes; grades in whole clusters."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from ovpnha.management.codes import VERSION
from ovpnha.management.notices import ApartNotice, RoleNotice
from ovpnha.management.replies import StatusReply
from ovpnha.model import (
    BOOT_SIZE,
    BootId,
    Grade,
    InstanceName,
    NodeName,
    Role,
    Unreachable,
    VipPlace,
)
from ovpnha.node.cluster.vip_problems import PARTED_AFTER, VipProblems
from ovpnha.node.node import CONFLICT_SHOWN, Node
from ovpnha.node.openvpn.apart import Apart
from ovpnha.node.outputs import ConnectedClient, LogEvent
from ovpnha.problems import ProblemKind
from ovpnha.replication.events import (
    HelloReceived,
    NameConflict,
    NodeDown,
    NodeUp,
    OneWayLink,
    OtherKey,
    OtherVersion,
    RecordWithdrawn,
    RenegotiationHeard,
)
from tests.model_cluster import INSTANCE, KEY, ModelNode, World
from tests.unit.node.doubles import HOLDER, STATUS, Desk, state, uid

BOOT = BootId(bytes(BOOT_SIZE))


def pair() -> tuple[World, ModelNode, ModelNode]:
    """Node a has had the VIP for a second, node b is beside it."""
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
    return world, a, b


def test_a_cold_start_of_the_whole_cluster_reaches_equal_grades() -> None:
    world = World()
    nodes = [world.add(name) for name in "abc"]
    world.run(5)
    assert {one.grade for one in nodes} == {Grade.DEGRADED}
    world.run(6)
    assert {one.grade for one in nodes} == {Grade.LONE}
    world.move_vip("b")
    world.run(1)
    assert nodes[1].plays(Role.MASTER)
    assert [one.grade for one in nodes] == [Grade.IN_SYNC, Grade.MASTER, Grade.IN_SYNC]


def test_a_lone_node_waits_and_then_serves() -> None:
    world = World()
    a = world.add("a", lone_after=10.0)
    world.run(9.9)
    assert a.grade == Grade.DEGRADED
    world.run(0.2)
    assert a.grade == Grade.LONE


def test_the_death_of_a_master_leaves_its_standby_above_a_fresh_node() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    a.openvpn.connect_client()
    a.pump()
    world.run(1)
    a.kill()
    world.run(5)
    assert b.grade == Grade.IN_SYNC
    world.run(10)
    assert b.grade == Grade.LONE
    a.start()
    a.start_openvpn()
    world.run(20)
    assert b.grade == Grade.IN_SYNC
    assert a.grade == Grade.DEGRADED
    assert a.grades[-1].reason == "another standby knows more clients"


def test_a_link_that_is_down_is_shown_and_degrades_who_hears_nobody() -> None:
    world, a, b = pair()
    b.step(lambda node, now: node.link_changed("bcn", False, now))
    b.step(lambda node, now: node.link_changed("bcn", False, now))
    assert b.grade == Grade.IN_SYNC
    b.reachable = False
    world.run(3)
    assert b.grade == Grade.DEGRADED
    assert len(b.logged("bcn link")) == 1
    assert b.node is not None
    assert b.node.statistics(world.now).links == {"bcn": False}
    b.reachable = True
    b.step(lambda node, now: node.link_changed("bcn", True, now))
    world.run(1)
    assert b.grade == Grade.IN_SYNC
    assert a.grade == Grade.MASTER


def place(node: ModelNode, **changes: object) -> None:
    """The shell tells where the VIP is, on a node where it counts on eth9 only."""
    told = replace(VipPlace("eth9", exists=True), **changes)  # type: ignore[arg-type]
    node.step(lambda core, now: core.vip_placed(INSTANCE, told, now))


def test_a_missing_vip_interface_is_one_clear_line_and_may_still_come() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("b")
    world.run(1)
    place(a, exists=False)
    place(a, exists=False)
    (event,) = a.logged("vip interface missing")
    assert event.fields == {"instance": INSTANCE, "interface": "eth9", "vip": "192.0.2.10"}
    assert a.grade == Grade.DEGRADED
    (problem,) = a.told_problems
    assert problem == (
        "the VIP's interface eth9 is missing; bring it up, or correct vip_interface in ovpnha.toml"
    )
    place(a)
    assert a.logged("vip interface found")
    assert a.grade == Grade.IN_SYNC
    assert not a.told_problems
    assert not b.told_problems


def test_a_node_without_a_vip_manager_says_so_everywhere() -> None:
    world, a, b = pair()
    b.step(lambda core, now: core.grade_read(INSTANCE, False, now))
    b.step(lambda core, now: core.grade_read(INSTANCE, False, now))
    world.run(1)
    assert len(b.logged("vip manager missing")) == 1
    assert [problem[:31] for problem in b.told_problems] == ["no VIP manager reads the grade,"]
    assert not b.figures.announcer.managed
    assert not a.figures.nodes[0].managed
    assert (a.figures.announcer.managed, a.grade, b.grade) == (True, Grade.MASTER, Grade.IN_SYNC)
    b.step(lambda core, now: core.grade_read(INSTANCE, True, now))
    world.run(1)
    assert b.logged("vip manager found")
    assert not b.told_problems
    assert a.figures.nodes[0].managed


def test_a_vip_that_comes_on_another_interface_is_refused_and_not_wanted_again() -> None:
    """Else a VIP manager that prefers this node would bring it back for ever."""
    world = World()
    a = world.add("a")
    world.add("b")
    world.move_vip("b")
    world.run(1)
    place(a, found="eth0")
    assert a.grade == Grade.FAULT
    place(a)
    assert a.grade == Grade.DEGRADED
    assert a.told_problems == (
        "the VIP came on eth0, and counts on eth9 only; correct vip_interface in ovpnha.toml, or"
        " take it out",
    )
    assert len(a.logged("vip is on another interface")) == 1
    place(a, here=True)
    place(a)
    assert a.grade == Grade.IN_SYNC


def test_a_vip_that_openvpn_does_not_serve_is_a_fault() -> None:
    world = World()
    a = world.add("a", vips=("192.0.2.99",))
    b = world.add("b")
    world.run(1)
    assert a.grade == Grade.FAULT
    assert a.plays(Role.STANDBY)
    (problem,) = a.told_problems
    assert problem.startswith("vip 192.0.2.99 is not OpenVPN's local 192.0.2.10; write the same")
    assert len(a.logged("vip is not openvpn's local")) == 1
    a.kill_openvpn()
    a.start_openvpn()
    world.run(1)
    assert len(a.logged("vip is not openvpn's local")) == 1
    assert b.grade != Grade.FAULT


@pytest.mark.parametrize(
    ("vip", "local", "problem"),
    [
        ("", "192.0.2.10", ""),
        ("", "vpn.example.com", "OpenVPN's local vpn.example.com is a name"),
        ("192.0.2.10", "vpn.example.com", ""),
        ("2001:db8::10", "2001:DB8:0:0::10", ""),
        ("2001:db8::10", "2001:db8::11", "vip 2001:db8::10 is not OpenVPN's local 2001:db8::11"),
    ],
)
def test_the_vip_and_local_are_compared_as_addresses(vip: str, local: str, problem: str) -> None:
    obstacles = VipProblems(Desk().openvpn, tuple(vip.split()))
    obstacles.take(StatusReply(replace(STATUS, local=local)), 0.0)
    assert (obstacles.first.problem.text if obstacles.first else "") == problem


def test_clients_at_an_address_that_does_not_move_are_told_while_they_are_there() -> None:
    apart = Apart()

    def told() -> list[str]:
        return [one.text for one in apart.problems(0.0)]

    assert told() == []
    apart.take(StatusReply(replace(STATUS, apart=1)), 0.0)
    assert told() == [
        "1 client came by an address of this node that does not move, and would be lost with it"
    ]
    apart.take(ApartNotice(3), 1.0)
    assert apart.statistics(1.0).apart == 3
    assert told()[0].startswith("3 clients came by an address of this node")
    apart.take(RoleNotice(Role.HELD, HOLDER), 2.0)
    assert told() == []
    apart.take(ApartNotice(2), 3.0)
    apart.stop(4.0)
    assert told() == []


def test_what_speaks_from_no_absent_address_may_go_ahead() -> None:
    world = World()
    a = world.add("a", vips=())
    assert a.node is not None
    parts = a.node._instances[INSTANCE].parts
    assert parts.goes_ahead
    for status, ahead in (
        (replace(STATUS, local="192.0.2.10"), True),
        (replace(STATUS, local="2001:db8::10"), False),
        (replace(STATUS, local="", addresses=BOTH), True),
        (replace(STATUS, local="", addresses=BOTH, early=True), False),
    ):
        parts.discovery.status = status
        assert parts.goes_ahead is ahead


BOTH = ("192.0.2.10", "2001:db8::10")


@pytest.mark.parametrize(
    ("vips", "problem"),
    [
        ((), ""),
        (("2001:DB8::10", "192.0.2.10"), ""),
        (
            ("192.0.2.10",),
            "vip 192.0.2.10 is not OpenVPN's cluster-address 192.0.2.10, 2001:db8::10",
        ),
    ],
)
def test_several_vips_are_all_that_openvpn_serves(vips: tuple[str, ...], problem: str) -> None:
    obstacles = VipProblems(Desk().openvpn, vips)
    obstacles.take(StatusReply(replace(STATUS, local="", addresses=BOTH)), 0.0)
    assert (obstacles.first.problem.text if obstacles.first else "") == problem


def test_of_several_vips_one_that_does_not_come_is_told_after_a_while() -> None:
    desk = Desk()
    obstacles = VipProblems(desk.openvpn, BOTH)
    some = VipPlace("", exists=False, here=True, missing=("2001:db8::10",))

    def told(now: float) -> list[str]:
        obstacles.handle_timer(now)
        return [one.text for one in obstacles.problems(now)]

    assert obstacles.get_timer() is None
    obstacles.take(some, 10.0)
    obstacles.take(some, 11.0)
    assert obstacles.get_timer() == 10.0 + PARTED_AFTER
    assert told(10.0 + PARTED_AFTER - 0.1) == []
    assert told(10.0 + PARTED_AFTER) == ["2001:db8::10 is not here, and another VIP is"]
    assert obstacles.get_timer() is None
    assert told(30.0) == ["2001:db8::10 is not here, and another VIP is"]
    assert obstacles.first is None  # it serves those that are here
    obstacles.take(VipPlace("", exists=False, here=True), 31.0)
    assert told(40.0) == []
    obstacles.take(some, 50.0)
    obstacles.take(VipPlace("", exists=False), 51.0)
    assert told(60.0) == []
    said = [one.event for one in desk.outputs if isinstance(one, LogEvent)]
    assert said == ["vips are not together", "vips are together again"]


NOT_THERE = Unreachable("management socket /run/x.sock: No such file (errno 2)", "does it run?")


def test_an_openvpn_that_is_never_reached_says_what_is_waited_for() -> None:
    world = World()
    a = world.add("a", start=False)
    a.start()
    a.step(lambda node, now: node.management_unreachable(INSTANCE, NOT_THERE, now))
    world.run(1)
    assert a.plays(Role.INIT)
    assert a.told_problems == (f"OpenVPN is not reached: {NOT_THERE.reason}; does it run?",)
    world.run(3)
    assert a.plays(Role.FAULT)
    assert a.figures.announcer.grade_reason == f"OpenVPN is down: {NOT_THERE.reason}"
    assert a.told_problems == (f"OpenVPN is down: {NOT_THERE.reason}; does it run?",)
    a.start_openvpn()
    world.run(1)
    assert a.plays(Role.STANDBY)
    assert not a.told_problems


def miss_openvpn(one: ModelNode, why: Unreachable) -> None:
    one.step(lambda node, now: node.management_unreachable(INSTANCE, why, now))


def test_a_socket_that_nobody_has_open_costs_the_vip_at_once() -> None:
    """SIGHUP while no sidecar was there, or an OpenVPN that ended with it."""
    world = World()
    a = world.add("a", start=False)
    a.vip = True
    a.start()
    absent = replace(NOT_THERE, absent=True)
    for why in (NOT_THERE, absent):
        miss_openvpn(a, why)
        assert a.plays(Role.FAULT) is why.absent
    assert a.grades[-1].reason == f"OpenVPN is down: {NOT_THERE.reason}"
    world.run(5)
    miss_openvpn(a, absent)
    world.run(5)
    assert len(a.logged("openvpn lost")) == 1
    a.start_openvpn()
    world.run(1)
    assert a.plays(Role.MASTER)


def test_an_openvpn_that_ended_says_why_it_is_not_reached_again() -> None:
    world = World()
    a = world.add("a")
    world.run(1)
    a.kill_openvpn()
    assert a.told_problems == ("OpenVPN is down: closed by openvpn",)
    a.step(lambda node, now: node.management_unreachable(INSTANCE, NOT_THERE, now))
    assert a.figures.announcer.grade_reason == f"OpenVPN is down: {NOT_THERE.reason}"


def test_an_openvpn_that_hangs_and_one_without_the_patch_say_what_to_do() -> None:
    world = World()
    a = world.add("a", start=False)
    a.start()
    a.step(lambda node, now: node.management_up(INSTANCE, now))
    world.run(11)
    (problem,) = a.told_problems
    assert problem.startswith("OpenVPN does not answer; see its log")
    stock = world.add("b", patched=False)
    world.run(1)
    (problem,) = stock.told_problems
    assert "install the patched OpenVPN" in problem


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_an_openvpn_of_another_release_is_one_clear_problem_and_goes_on(version: int) -> None:
    world = World()
    a, b = world.add("a", version=version), world.add("b")
    world.move_vip("a")
    world.run(1)
    assert a.plays(Role.MASTER)
    assert b.in_sync
    (problem,) = a.told_problems
    assert f"are of version {version}, ovpnha's of {VERSION}; install both" in problem
    assert not b.told_problems
    for _ in range(3):
        a.step(lambda node, now: node.receive_management(INSTANCE, b"nonsense\r\n", now))
        world.run(1)
    assert len(a.logged("openvpn is of another release")) == 1
    a.kill_openvpn()
    a.start_openvpn()
    world.run(1)
    assert not a.told_problems


def test_a_management_socket_with_a_password_is_one_clear_problem() -> None:
    """It goes on asking; whenever somebody looks, the problem is there, and it is logged once."""
    world = World()
    a, b = world.add("a", start=False), world.add("b")
    a.start()
    for _ in range(20):
        a.step(lambda node, now: node.management_up(INSTANCE, now))
        assert not a.told_problems or a.plays(Role.FAULT)
        a.step(lambda node, now: node.receive_management(INSTANCE, b"ENTER PASSWORD:", now))
        world.run(0.1)
        (problem,) = a.told_problems
        assert problem.startswith("OpenVPN's management socket asks for a password; remove")
    assert a.grade == Grade.FAULT
    assert len(a.logged("openvpn lost")) == 1
    (seen,) = b.figures.nodes
    assert (seen.has_instance, seen.grade) == (True, Grade.FAULT)
    a.start_openvpn()
    world.run(1)
    assert a.plays(Role.STANDBY)
    assert not a.told_problems


def test_two_masters_are_a_problem_to_fix() -> None:
    world, a, b = pair()
    b.set_vip(True)
    world.run(5)
    assert a.told_problems == (
        "b has the VIP too and is master; repair the network between the VIP managers",
    )


def test_an_instance_that_only_one_node_has_is_shown_on_both() -> None:
    world = World()
    a = world.add("a")
    other = NodeName("x")
    assert a.node is not None
    a.node._take(NodeUp(other, BOOT), world.now)
    a.node._take(HelloReceived(other, {InstanceName("tcp"): state()}), world.now)
    assert a.node.statistics(world.now).lacking == {"tcp": ("x",)}
    assert [one.has_instance for one in a.figures.nodes] == [True]  # it may have just started
    world.run(6)
    assert [one.has_instance for one in a.figures.nodes] == [False]
    a.node._take(HelloReceived(other, {INSTANCE: state()}), world.now)
    assert [one.has_instance for one in a.figures.nodes] == [True]
    a.node._take(HelloReceived(other, {}), world.now)
    world.run(6)
    assert [one.has_instance for one in a.figures.nodes] == [False]
    assert [one.lost for one in a.figures.nodes] == [False]
    a.node._take(NodeDown(other, "silent"), world.now)
    assert [one.lost for one in a.figures.nodes] == [True]
    assert [one.has_instance for one in a.figures.nodes] == [True]  # nothing is known now
    assert a.node.statistics(world.now).lacking == {}


def use_keys(keys: tuple[bytes, ...], node: Node, now: float) -> None:
    node.use_keys(keys, {INSTANCE: keys[0]}, now)


def test_cluster_keys_are_exchanged_while_it_runs() -> None:
    world, a, b = pair()
    other = bytes(32)
    for keys in ((KEY, other), (other, KEY), (other,)):
        for one in (b, a):
            one.step(partial(use_keys, keys))
            world.run(5)
    assert b.in_sync
    assert not a.logged("node lost")
    assert b.node is not None
    assert b.openvpn is not None
    assert b.openvpn.cookie_key == other
    refused = b.node.statistics(world.now).refused
    assert not refused.keys() & {"unknown_key", "unauthentic"}
    assert [one.fields for one in a.logged("cluster keys read again")] == [
        {"keys": 2},
        {"keys": 2},
        {"keys": 1},
    ]
    b.step(partial(use_keys, (KEY,)))
    world.run(5)
    assert a.logged("node lost")
    assert a.logged("datagrams under another key")


def test_a_master_lists_its_clients_by_uid() -> None:
    world, a, b = pair()
    assert a.node is not None
    assert a.openvpn is not None
    assert b.node is not None
    first = a.openvpn.connect_client()
    a.pump()
    world.run(1)
    b.kill()
    world.run(5)
    assert [one.uid for one in a.node.table(INSTANCE, world.now)] == [first]
    (one,) = a.node.table(INSTANCE, world.now)
    assert one.unprotected is not None
    assert one.unprotected > 1


def test_many_clients_are_not_as_many_hellos() -> None:
    world, a, b = pair()
    assert a.node is not None
    assert a.openvpn is not None
    before = a.node.statistics(world.now).sent["hello"]
    for _ in range(200):
        a.openvpn.connect_client()
        a.pump()
        world.run(0.002)
    assert a.node.statistics(world.now).sent["hello"] - before < 10
    world.run(2)
    (seen,) = b.figures.nodes
    assert seen.clients == 200
    assert seen.role is Role.MASTER
    assert seen.age < 1


def test_counters_reach_the_standby() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    assert b.openvpn is not None
    for _ in range(100):
        a.openvpn.connect_client()
    a.pump()
    world.run(1)
    for _ in range(3):
        a.openvpn.report("HW")
        a.openvpn.report("BYTES")
        a.pump()
        world.run(1)
    assert {one.high_water for one in b.openvpn.clients.values()} == {5}
    assert b.figures.openvpn.counters["updates_unknown"] == 0


def test_packet_ids_go_on_without_reuse_through_rounds_and_takeovers() -> None:
    world = World()
    nodes = {name: world.add(name, round_size=64) for name in "ab"}
    world.move_vip("a")
    world.run(1)
    openvpns = [one.openvpn for one in nodes.values() if one.openvpn is not None]
    one = openvpns[0].connect_client()
    nodes["a"].pump()
    world.run(1)
    for name in "abab":
        world.move_vip(name)
        world.run(3)
        openvpn = nodes[name].openvpn
        assert openvpn is not None
        for _ in range(20):
            for _ in range(10):
                openvpn.send_packet(one)
            nodes[name].pump()
            world.run(0.05)
    sent = [packet for openvpn in openvpns for packet in openvpn.sent]
    assert len(sent) == len(set(sent))
    assert len(openvpns[0].sent) > 200
    assert len(openvpns[1].sent) > 20


def test_what_a_slow_holder_missed_is_counted() -> None:
    world = World()
    a, b = world.add("a", round_size=64), world.add("b")
    world.move_vip("a")
    world.run(1)
    assert a.openvpn is not None
    one = a.openvpn.connect_client()
    a.pump()
    world.run(1)
    b.kill_sidecar()
    for _ in range(200):
        a.openvpn.send_packet(one)
    a.openvpn.notify(f">CLUSTER:CAPPED,{one.hex()},{'00' * 8}")
    a.openvpn.notify(f">CLUSTER:RENEG,{one.hex()},1")
    a.pump()
    world.run(1)
    counters = a.figures.openvpn.counters
    assert counters["stale_ranges"] > 0
    assert counters["capped"] == 1
    assert a.logged("no packet ids left")


def test_a_renegotiation_on_the_master_is_heard() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    one = a.openvpn.connect_client()
    a.pump()
    world.run(1)
    a.openvpn.renegotiate(one)
    a.pump()
    world.run(1)
    assert b.figures.openvpn.counters["renegotiations_heard"] == 1


def test_events_that_come_too_late_or_concern_nobody_change_nothing() -> None:
    world = World()
    a = world.add("a")
    world.run(1)
    assert a.node is not None
    a.node._take(RecordWithdrawn(INSTANCE, NodeName("x"), uid()), world.now)
    a.node._take(RenegotiationHeard(InstanceName("tcp"), NodeName("x"), uid(), 1), world.now)
    assert a.figures.openvpn.counters["events_late"] == 1


def test_trouble_with_another_node_is_logged_and_shown() -> None:
    world = World()
    a = world.add("a")
    assert a.node is not None
    a.node._take(NameConflict(NodeName("x"), BOOT), world.now)
    a.node._take(NameConflict(NodeName("x"), BOOT), world.now)
    a.node._take(OneWayLink(NodeName("y")), world.now)
    a.node._take(OtherKey("unknown_key", "bcn0"), world.now)
    a.node._take(OtherVersion("bcn0"), world.now)
    world.run(0.1)
    a.step(lambda node, now: node.handle_timer(now))
    problems = {one.name: one.problem.kind for one in a.figures.nodes if one.problem}
    assert problems == {
        "x": ProblemKind.NODE_HAS_OUR_NAME,
        "y": ProblemKind.NODE_DOES_NOT_HEAR,
    }
    assert len([one for one in a.logs if one.level == "error"]) == 3
    (older,) = [one for one in a.logs if one.event == "datagrams of another version of ovpnha"]
    assert older.fields == {"link": "bcn0"}
    (other,) = [one for one in a.logs if one.event == "datagrams under another key"]
    assert other.fields == {"reason": "unknown_key", "link": "bcn0"}
    assert a.figures.openvpn.counters["name_conflicts"] == 2
    world.run(CONFLICT_SHOWN)
    (one,) = a.figures.nodes
    assert one.problem
    assert (one.problem.kind, one.problem.node) == (ProblemKind.NODE_DOES_NOT_HEAR, "y")


def test_one_s_own_name_is_no_other_node_once_its_conflict_is_over() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.run(1)
    twin = world.add("a2", start=False)
    twin.config, twin.name = a.config, "a"
    twin.start()
    world.run(3)
    assert "a" in [one.name for one in (*a.figures.nodes, *twin.figures.nodes)]
    twin.kill()
    world.run(CONFLICT_SHOWN + 5)
    assert [one.name for one in a.figures.nodes] == ["b"]
    assert [one.name for one in b.figures.nodes] == ["a"]


def test_two_machines_with_one_name_are_noticed() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.run(1)
    b.config = a.config
    twin = world.add("a2", start=False)
    twin.name = "a"
    twin.start()
    world.run(5)
    assert b.logged("two machines have one node name")
    world.run(60)
    assert len(b.logged("two machines have one node name")) == 1
    assert b.figures.openvpn.counters["name_conflicts"] > 3
    assert [str(one.problem) for one in b.figures.nodes] == [
        "another machine has the same node name"
    ]
    a.kill()  # the one that b refuses
    world.run(60)
    assert not [one.problem for one in b.figures.nodes if one.problem]


def test_refused_commands_are_counted() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    assert b.openvpn is not None
    one = a.openvpn.connect_client()
    a.pump()
    world.run(0.5)
    b.openvpn.refuse["cluster-update"] = "wrong-role only possible while standby"
    a.openvpn.report("HW")
    a.openvpn.clients[one].generation += 1
    a.pump()
    world.run(0.5)
    b.openvpn.refuse["cluster-drop"] = "no"
    a.openvpn.disconnect_client(one)
    a.pump()
    world.run(0.5)
    assert b.figures.openvpn.counters["commands_refused"] == 1


def test_an_export_that_openvpn_refuses_is_no_client() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    a.openvpn.refuse["cluster-export"] = "unknown-client no such client"
    a.openvpn.connect_client()
    a.pump()
    world.run(0.5)
    assert a.figures.openvpn.counters["exports_refused"] == 1
    assert a.figures.clients == 0
    assert b.in_sync


def test_statistics_are_complete_and_immutable() -> None:
    world = World()
    a = world.add("a")
    world.run(1)
    assert a.node is not None
    figures = a.node.statistics(world.now)
    assert figures.node == "a"
    assert figures.uptime == 1.0
    assert len(figures.boot) == 32
    assert figures.sent["hello"] > 0
    assert figures.instances[0].openvpn.management_up
    assert figures.instances[0].exporter.oldest_unprotected == 0.0


def test_a_master_tells_of_each_client_and_of_the_least_room() -> None:
    world = World()
    a = world.add("a", per_client=True)
    b = world.add("b", per_client=True)
    world.move_vip("a")
    world.run(1)
    assert a.openvpn is not None
    assert a.node is not None
    assert b.node is not None
    a.openvpn.connect_client()
    a.pump()
    world.run(20)
    assert [one.name for one in a.node.clients(INSTANCE)] == ["client"]
    assert (a.figures.traffic.room or 0) > 0
    assert b.node.clients(INSTANCE) == ()
    assert b.figures.traffic.room is None


def test_who_is_connected_is_told_on_any_node() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    client = a.openvpn.connect_client("alice")
    a.pump()
    world.run(1)
    assert [(one.uid, one.moved, one.origin) for one in who(world, a)] == [(client, False, None)]
    assert [(one.uid, one.moved, one.origin) for one in who(world, b)] == [(client, True, "a")]
    world.move_vip("b")
    world.run(1)
    (one,) = who(world, b)
    assert (one.client.name, one.moved, one.origin) == ("alice", True, "a")


def who(world: World, one: ModelNode) -> tuple[ConnectedClient, ...]:
    assert one.node is not None
    before = one.node.roster(INSTANCE, 0.0).answers
    one.step(lambda node, now: node.ask_clients(INSTANCE, now))
    world.run(0.1)
    roster = one.node.roster(INSTANCE, 0.0)
    assert roster.answers == before + 1
    return roster.clients
