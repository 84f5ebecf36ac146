"""What a node says of itself, of its links and of other nodes; grades in whole clusters."""

from __future__ import annotations

from ovpnha.coordinator.node import CONFLICT_SHOWN
from ovpnha.model import BOOT_SIZE, BootId, Grade, InstanceName, NodeName, Role
from ovpnha.replication.events import (
    NameConflict,
    OneWayLink,
    OtherKey,
    RecordWithdrawn,
    RenegotiationHeard,
)
from tests.model_cluster import INSTANCE, World
from tests.unit.coordinator.desk import uid

BOOT = BootId(bytes(BOOT_SIZE))


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
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
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
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
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


def test_a_missing_vip_interface_is_one_clear_line() -> None:
    world = World()
    a = world.add("a")
    world.move_vip("a")
    world.run(1)
    a.step(lambda node, now: node.vip_interface_missing(INSTANCE, "eth9", now))
    (event,) = a.logged("vip interface missing")
    assert event.fields["interface"] == "eth9"
    assert event.fields["vip"] == "192.0.2.10"
    assert a.plays(Role.HELD)


def test_many_clients_are_not_as_many_hellos() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
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
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
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
    assert b.figures.counters["updates_unknown"] == 0


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
    counters = a.figures.counters
    assert counters["stale_ranges"] > 0
    assert counters["capped"] == 1
    assert a.logged("no packet ids left")


def test_a_renegotiation_on_the_master_is_heard() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
    assert a.openvpn is not None
    one = a.openvpn.connect_client()
    a.pump()
    world.run(1)
    a.openvpn.renegotiate(one)
    a.pump()
    world.run(1)
    assert b.figures.counters["renegotiations_heard"] == 1


def test_events_that_come_too_late_or_concern_nobody_change_nothing() -> None:
    world = World()
    a = world.add("a")
    world.run(1)
    assert a.node is not None
    a.node._take(RecordWithdrawn(INSTANCE, NodeName("x"), uid()), world.now)
    a.node._take(RenegotiationHeard(InstanceName("tcp"), NodeName("x"), uid(), 1), world.now)
    assert a.figures.counters["events_late"] == 1


def test_trouble_with_another_node_is_logged_and_shown() -> None:
    world = World()
    a = world.add("a")
    assert a.node is not None
    a.node._take(NameConflict(NodeName("x"), BOOT), world.now)
    a.node._take(NameConflict(NodeName("x"), BOOT), world.now)
    a.node._take(OneWayLink(NodeName("y")), world.now)
    a.node._take(OtherKey("unknown_key", "bcn0"), world.now)
    world.run(0.1)
    a.step(lambda node, now: node.handle_timer(now))
    problems = {one.name: one.problem for one in a.figures.nodes}
    assert problems == {
        "x": "another machine has the same node name",
        "y": "it does not hear us",
    }
    assert len([one for one in a.logs if one.level == "error"]) == 2
    (other,) = [one for one in a.logs if one.event == "datagrams under another key"]
    assert other.fields == {"reason": "unknown_key", "link": "bcn0"}
    assert a.figures.counters["name_conflicts"] == 2
    world.run(CONFLICT_SHOWN)
    assert [one.problem for one in a.figures.nodes] == ["", "it does not hear us"]


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
    assert b.figures.counters["name_conflicts"] > 3
    assert [one.problem for one in b.figures.nodes] == ["another machine has the same node name"]
    a.kill()  # the one that b refuses
    world.run(60)
    assert not [one.problem for one in b.figures.nodes if one.problem]


def test_refused_commands_are_counted() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
    assert a.openvpn is not None
    assert b.openvpn is not None
    one = a.openvpn.connect_client()
    a.pump()
    world.run(0.5)
    b.openvpn.refuse["cluster-update"] = "only possible while standby"
    a.openvpn.report("HW")
    a.openvpn.clients[one].generation += 1
    a.pump()
    world.run(0.5)
    b.openvpn.refuse["cluster-drop"] = "no"
    a.openvpn.disconnect_client(one)
    a.pump()
    world.run(0.5)
    assert b.figures.counters["commands_refused"] == 1


def test_an_export_that_openvpn_refuses_is_no_client() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(1)
    assert a.openvpn is not None
    a.openvpn.refuse["cluster-export"] = "unknown client"
    a.openvpn.connect_client()
    a.pump()
    world.run(0.5)
    assert a.figures.counters["exports_refused"] == 1
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
    assert figures.instances[0].management_up
    assert figures.instances[0].oldest_unprotected == 0.0


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
    assert (a.figures.room or 0) > 0
    assert b.node.clients(INSTANCE) == ()
    assert b.figures.room is None
