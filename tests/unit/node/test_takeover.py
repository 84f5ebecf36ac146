"""The VIP moves, machines die and come back: who serves, with whose clients."""

from __future__ import annotations

from ovpnha.model import Epoch, Grade, NodeName, RekeyPolicy, Role, Sync
from ovpnha.node.master.rekey import QUIET
from ovpnha.node.openvpn.refusals import LASTS_AFTER
from ovpnha.node.outputs import RoleChanged, SetGrade, WriteManagement
from ovpnha.node.role.succession import FETCH_MAX, SAY_HELD
from tests.model_cluster import INSTANCE, ModelNode, Network, World


def serve(
    count: int = 10, seed: int = 1, rekey: RekeyPolicy = RekeyPolicy.AUTO
) -> tuple[World, ModelNode, ModelNode]:
    """Node a is master of some clients, node b is in sync."""
    world = World(seed)
    a, b = (world.add(name, rekey_after_promotion=rekey) for name in ("a", "b"))
    world.run(0.2)
    world.move_vip("a")
    world.run(0.2)
    connect(a, count)
    world.run_until(lambda: a.figures.exporter.protected == count)
    return world, a, b


def connect(node: ModelNode, count: int) -> list[bytes]:
    """Clients connect to the master."""
    assert node.openvpn is not None
    uids = [node.openvpn.connect_client(f"client{number}") for number in range(count)]
    node.pump()
    return uids


def test_a_standby_holds_what_the_master_holds() -> None:
    world, _, b = serve(100)
    assert world.same_tables("a", "b")
    assert b.in_sync
    assert b.grade == Grade.IN_SYNC
    assert b.figures.importer.records == 100
    assert b.figures.importer.following == "a"


def test_the_promotion_is_written_in_the_call_that_brings_the_vip() -> None:
    _, a, b = serve()
    a.kill()
    b.outputs.clear()
    b.set_vip(True)
    assert isinstance(b.outputs[0], WriteManagement)
    assert b.outputs[0].data == b"cluster-promote 2/b\n"
    assert b.plays(Role.MASTER)


def test_a_failover_keeps_every_client() -> None:
    world, a, b = serve(100)
    before = a.openvpn.table() if a.openvpn else {}
    a.kill()
    world.move_vip("b")
    world.run(0.01)
    assert b.openvpn is not None
    assert b.openvpn.plays(Role.MASTER)
    assert b.openvpn.table() == before
    assert all(b.openvpn.send_packet(uid) for uid in before)
    figures = b.figures
    assert figures.promotion.promotions == 1
    assert list(figures.promotion.last_promotion_phases) == [
        "ordered",
        "promoted",
        "listed",
        "published",
    ]
    assert figures.promotion.last_promotion_phases["promoted"] < 0.001
    assert figures.importer.stale == 0


def test_the_old_master_comes_back_as_standby_and_takes_over_again() -> None:
    world, a, b = serve(50, rekey=RekeyPolicy.NEVER)
    before = a.openvpn.table() if a.openvpn else {}
    a.kill()
    world.move_vip("b")
    world.run(3)
    a.start()
    a.start_openvpn()
    world.run_until(lambda: a.in_sync)
    assert world.same_tables("a", "b")
    b.kill()
    world.move_vip("a")
    world.run(0.01)
    assert a.openvpn is not None
    assert a.openvpn.table() == before
    assert all(a.openvpn.send_packet(uid) for uid in before)
    assert a.figures.epoch == Epoch(3, NodeName("a"))


def test_a_switchover_demotes_the_old_master_and_gives_it_a_new_holder_id() -> None:
    world, a, b = serve(20)
    assert a.openvpn is not None
    holder = a.openvpn.holder
    world.move_vip("b")
    world.run_until(lambda: a.in_sync)
    assert a.openvpn.holder != holder
    assert [one.new for one in a.roles[-2:]] == [Role.HELD, Role.STANDBY]
    assert world.same_tables("a", "b")
    world.run_until(lambda: b.figures.exporter.protected == 20)


def test_held_demotes_when_its_time_is_over() -> None:
    world = World()
    a = world.add("a", held_max=5.0)
    world.move_vip("a")
    world.run(1)
    connect(a, 3)
    world.move_vip(None)
    world.run(4.9)
    assert a.plays(Role.HELD)
    world.run(0.2)
    assert a.plays(Role.STANDBY)
    assert a.openvpn is not None
    assert not a.openvpn.clients


def test_held_grants_packet_ids_to_a_node_that_comes_meanwhile() -> None:
    world, _a, _b = serve(5)
    c = world.add("c")
    world.run(0.5)
    world.move_vip(None)
    world.run(0.1)
    c.kill_openvpn()
    c.start_openvpn()
    world.run(1)
    assert c.in_sync
    assert c.openvpn is not None
    assert len(c.openvpn.clients) == 5
    assert all(key.imported for one in c.openvpn.clients.values() for key in one.keys)


def test_openvpn_dies_on_the_master_and_the_vip_manager_hears_it_first() -> None:
    world, a, _b = serve(5)
    a.outputs.clear()
    a.kill_openvpn()
    first = a.outputs[0]
    assert isinstance(first, SetGrade)
    assert first.grade == Grade.FAULT
    assert "closed by openvpn" in first.reason
    assert isinstance(a.outputs[1], RoleChanged)
    assert a.plays(Role.FAULT)
    world.run(0.1)
    world.move_vip("b")
    a.start_openvpn()
    world.run_until(lambda: a.in_sync)
    assert world.same_tables("a", "b")


def test_openvpn_comes_back_under_the_vip_and_serves_again() -> None:
    world, a, b = serve(5)
    a.kill_openvpn()
    world.run(0.1)
    a.start_openvpn()
    world.run(0.1)
    assert a.plays(Role.STANDBY)
    assert a.grade == Grade.FAULT  # the VIP manager is to give the VIP to b
    world.run(FETCH_MAX)
    assert a.plays(Role.MASTER)
    assert a.figures.epoch.counter == 2
    world.run_until(lambda: b.in_sync)
    assert b.figures.clients == 5  # the VIP may still be moved to them
    world.run(60.0)
    assert b.in_sync
    assert b.figures.clients == 0


def test_a_vip_that_arrives_without_openvpn_is_served_as_soon_as_it_is_there() -> None:
    world, a, b = serve(5)
    b.kill_openvpn()
    assert b.grade == Grade.FAULT
    a.kill()
    world.move_vip("b")
    assert b.plays(Role.FAULT)
    b.start_openvpn()
    world.run(0.01 + SAY_HELD)
    assert b.plays(Role.MASTER)
    assert b.logged("promoted")[0].fields["lacking"] == 5
    assert b.logged("promoted")[0].level == "warning"


def test_openvpn_back_under_the_vip_waits_while_another_serves() -> None:
    world, a, b = serve(5)
    a.kill_openvpn()
    b.set_vip(True)
    world.run(0.1)
    a.start_openvpn()
    world.run(0.5)
    assert a.plays(Role.STANDBY)
    assert a.in_sync
    b.kill()
    world.run_until(lambda: a.plays(Role.MASTER))
    assert len(a.openvpn.clients if a.openvpn else ()) == 5


def test_a_promotion_amid_a_sync_serves_what_is_current() -> None:
    world, a, b = serve(0)
    connect(a, 500)
    world.run_until(lambda: b.figures.clients >= 100)
    a.kill()
    world.move_vip("b")
    world.run(0.1)
    promoted = b.logged("promoted")[0].fields
    assert b.openvpn is not None
    assert len(b.openvpn.clients) >= 100
    assert b.figures.clients == len(b.openvpn.clients)
    assert promoted["dropped"] == 0


def test_what_is_known_to_be_stale_is_dropped_before_the_promotion() -> None:
    world, a, b = serve(5)
    assert a.openvpn is not None
    assert b.openvpn is not None
    b.openvpn.refuse["cluster-import"] = "in-the-way peer-id 3 is in use"
    uid = next(iter(a.openvpn.clients))
    a.openvpn.renegotiate(uid)
    a.pump()
    world.run(0.1)
    assert b.figures.importer.stale == 1
    assert a.figures.exporter.protected == 4
    assert a.figures.exporter.oldest_unprotected > 0
    assert a.logged("record refused by a standby")[0].fields["reason"].__class__ is str
    a.kill()
    b.outputs.clear()
    world.move_vip("b")
    write = b.outputs[0]
    assert isinstance(write, WriteManagement)
    assert write.data == f"cluster-drop {uid.hex()}\ncluster-promote 2/b\n".encode()
    world.run(0.1)
    assert uid not in b.openvpn.clients
    assert b.logged("promoted")[0].fields["dropped"] == 1


def test_a_client_that_is_refused_for_long_costs_the_grade_and_is_told_on_both_nodes() -> None:
    world, a, b = serve(5)
    assert a.openvpn is not None
    assert b.openvpn is not None
    b.openvpn.refuse_for_good["cluster-import"] = (
        "denied --learn-address refuses the virtual address here"
    )
    uid = next(iter(a.openvpn.clients))
    a.openvpn.renegotiate(uid)
    a.pump()
    world.run(1)
    assert b.grade == Grade.IN_SYNC
    assert not a.told_problems
    assert not b.told_problems
    world.run(LASTS_AFTER)
    assert b.grade == Grade.LONE
    assert b.figures.sync is Sync.PARTIAL
    assert b.figures.importer.refused == 1
    for node in (a, b):
        (problem,) = node.told_problems
        assert "refuses 1 of " in problem
        assert f"({uid.hex()}: --learn-address refuses the virtual address here)" in problem
    assert a.figures.nodes[0].sync is Sync.PARTIAL
    b.openvpn.refuse_for_good.clear()
    world.run_until(lambda: b.in_sync)
    assert b.grade == Grade.IN_SYNC
    world.run(0.2)
    assert not a.told_problems
    assert not b.told_problems


def test_who_is_promoted_without_a_refused_client_does_not_count_as_having_all() -> None:
    world, a, b = serve(5)
    assert a.openvpn is not None
    assert b.openvpn is not None
    b.openvpn.refuse_for_good["cluster-import"] = "no"
    uid = next(iter(a.openvpn.clients))
    a.openvpn.renegotiate(uid)
    a.pump()
    world.run(0.2)
    world.move_vip("b")
    world.run(1)
    assert b.figures.role is Role.MASTER
    assert a.figures.role is Role.HELD
    assert uid in a.openvpn.clients


def test_a_standby_that_refuses_every_client_is_not_in_sync() -> None:
    world, a, b = serve(5)
    b.kill_openvpn()
    b.start_openvpn().refuse_for_good["cluster-import"] = "no"
    world.run(2 * LASTS_AFTER)
    assert b.figures.clients == 0
    assert b.grade == Grade.DEGRADED
    assert a.grade == Grade.MASTER


def test_an_import_under_way_is_not_taken_for_stale() -> None:
    world, a, b = serve(5)
    assert a.openvpn is not None
    assert b.openvpn is not None
    uid = next(iter(a.openvpn.clients))
    a.openvpn.renegotiate(uid)
    a.pump()
    b.outputs.clear()
    world.run_until(lambda: any(b"cluster-import" in data for data in writes(b)))
    a.kill()
    world.move_vip("b")
    world.run(0.1)
    assert b.openvpn.clients[uid].generation == 2
    assert b.logged("promoted")[0].fields["dropped"] == 0


def writes(node: ModelNode) -> list[bytes]:
    return [one.data for one in node.outputs if isinstance(one, WriteManagement)]


def test_a_promise_promotes_before_the_vip_and_holds_without_it() -> None:
    world, a, b = serve(5)
    a.kill()
    b.step(lambda node, now: node.ask_promote(INSTANCE, 2.0, now))
    assert b.plays(Role.MASTER)
    world.run(1.9)
    assert b.plays(Role.MASTER)
    world.run(0.2)
    assert b.plays(Role.HELD)


def test_a_promise_that_is_kept() -> None:
    world, a, b = serve(5)
    b.step(lambda node, now: node.ask_promote(INSTANCE, 2.0, now))
    world.run(0.1)
    world.move_vip("b")
    world.run(5)
    assert b.plays(Role.MASTER)
    assert a.plays(Role.STANDBY)
    assert a.in_sync
    assert len(b.openvpn.clients if b.openvpn else ()) == 5
    b.step(lambda node, now: node.ask_promote(INSTANCE, 2.0, now))
    world.move_vip(None)
    assert b.plays(Role.HELD)


def test_before_a_vip_of_ipv6_nobody_is_promoted_beside_a_node_that_serves() -> None:
    """It would ping all clients from an address that it does not have."""
    world = World(1)
    a, b = (world.add(name, start=False, vips=()) for name in "ab")
    for one in (a, b):
        one.start_openvpn().local = "2001:db8::10"
        one.start()
    world.move_vip("a")
    world.run(2.0)
    taken: list[bool] = []
    b.step(lambda node, now: taken.append(node.ask_promote(INSTANCE, 2.0, now)))
    assert b.plays(Role.STANDBY)
    a.kill()
    world.run(5.0)
    b.step(lambda node, now: taken.append(node.ask_promote(INSTANCE, 2.0, now)))
    assert b.plays(Role.MASTER)
    assert taken == [False, True]


def test_a_promise_while_openvpn_is_down_is_said_and_kept_later() -> None:
    world, _a, b = serve(5)
    b.kill_openvpn()
    b.step(lambda node, now: node.ask_promote(INSTANCE, 2.0, now))
    assert b.logged("promote asked while openvpn does not answer")
    b.start_openvpn()
    world.run(0.2)
    assert b.plays(Role.MASTER)


def test_a_held_node_resumes_on_a_promise() -> None:
    world, a, _b = serve(5)
    world.move_vip(None)
    a.step(lambda node, now: node.ask_promote(INSTANCE, 2.0, now))
    assert a.plays(Role.MASTER)


def test_demote_asked_of_a_held_node() -> None:
    world, a, b = serve(5)
    world.move_vip(None)
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    world.run(5.0)
    assert a.plays(Role.HELD)
    assert b.figures.sync is Sync.IN_SYNC
    world.move_vip("b")
    world.run(0.1)
    assert a.in_sync
    assert b.plays(Role.MASTER)


def test_a_demote_asked_of_a_held_node_is_forgotten_when_it_serves_again() -> None:
    world, a, _b = serve(5)
    world.move_vip(None)
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    world.move_vip("a")
    world.run(0.1)
    assert a.plays(Role.MASTER)
    world.move_vip("b")
    world.run(1.0)
    assert a.plays(Role.HELD)
    world.run(2.0)
    assert a.in_sync


def test_a_vip_that_left_because_of_a_demote_is_not_drawn_back_before_another_node_has_it() -> None:
    """A VIP manager needs a while in between; this node is held then, and was worth 120."""
    world, a, b = serve(5)
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    told = len(a.grades)
    world.move_vip(None)
    world.run(5.0)
    assert (a.figures.role, a.grade) == (Role.HELD, Grade.DEGRADED)
    assert b.grade == Grade.IN_SYNC
    world.move_vip("b")
    world.run_until(lambda: a.in_sync)
    assert max(one.grade for one in a.grades[told:-1]) < Grade.IN_SYNC


def test_it_is_where_no_other_node_could_serve() -> None:
    world, a, b = serve(5)
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    world.move_vip(None)
    assert a.grade == Grade.DEGRADED
    b.kill_openvpn()
    world.run(0.1)
    assert (a.figures.role, a.grade) == (Role.HELD, Grade.MASTER)
    world.move_vip("a")
    assert a.plays(Role.MASTER)


def test_demote_asked_of_a_master_hands_the_vip_over() -> None:
    world, a, _b = serve(5)
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    assert a.plays(Role.MASTER)
    assert a.grade == Grade.DEGRADED
    world.move_vip("b")
    world.run_until(lambda: a.in_sync)
    assert a.grade == Grade.IN_SYNC
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    assert a.logged("demote asked of no master")


def test_a_vip_that_nobody_moves_ends_the_handover() -> None:
    world, a, _b = serve(5)
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    world.run(59)
    assert a.grade == Grade.DEGRADED
    world.run(2)
    assert a.grade == Grade.MASTER


def test_renegotiation_is_for_masters() -> None:
    world, a, b = serve(2)
    assert a.openvpn is not None
    uid = next(iter(a.openvpn.clients))
    a.step(lambda node, now: node.ask_renegotiate(INSTANCE, uid, 20.0, now))  # type: ignore[arg-type]
    a.step(lambda node, now: node.ask_renegotiate(INSTANCE, None, 20.0, now))
    b.step(lambda node, now: node.ask_renegotiate(INSTANCE, None, 20.0, now))
    world.run(1.0 + QUIET)
    asked = [one for one in a.openvpn.commands if one.startswith("cluster-reneg")]
    assert asked[0] == f"cluster-reneg {uid.hex()} 50"
    assert {one.split()[1] for one in asked} == {one.hex() for one in a.openvpn.clients}
    assert b.logged("renegotiate asked of no master")


def test_two_masters_are_an_alarm_and_end_with_the_vip() -> None:
    world, a, b = serve(5)
    b.set_vip(True)
    world.run(2)
    assert not a.logged("two masters have the vip")
    world.run(2)
    assert a.logged("two masters have the vip")
    assert b.logged("two masters have the vip")
    assert a.plays(Role.MASTER)
    assert b.plays(Role.MASTER)
    b.set_vip(False)
    world.run(0.5)
    assert a.plays(Role.MASTER)
    assert a.figures.epoch == Epoch(3, NodeName("a"))
    assert a.logged("only one master has the vip again")
    world.run_until(lambda: b.in_sync)


def test_a_partition_with_two_vips_is_over_when_one_leaves() -> None:
    world, a, b = serve(5)
    b.reachable = False
    world.run(3)
    b.set_vip(True)
    world.run(3)
    connect(b, 2)
    b.reachable = True
    world.run(5)
    assert a.plays(Role.MASTER)
    assert b.plays(Role.MASTER)
    a.set_vip(False)
    world.run_until(lambda: a.in_sync)
    assert world.same_tables("a", "b")


def test_a_third_node_follows_the_one_that_has_the_vip() -> None:
    world, a, b = serve(5)
    c = world.add("c")
    world.run_until(lambda: c.in_sync)
    a.kill()
    world.move_vip("b")
    world.run_until(lambda: c.figures.importer.following == "b" and c.in_sync)
    assert world.same_tables("b", "c")
    world.run_until(lambda: b.figures.exporter.protected == 5)


def test_a_generation_that_a_new_master_never_had_is_replaced() -> None:
    """Node b misses a renegotiation, is promoted, and renegotiates otherwise; c had the first."""
    world, a, b = serve(3)
    c = world.add("c")
    world.run_until(lambda: c.in_sync)
    assert a.openvpn is not None
    assert b.openvpn is not None
    assert c.openvpn is not None
    uid = next(iter(a.openvpn.clients))
    b.reachable = False
    for _ in range(3):
        a.openvpn.renegotiate(uid)
        a.pump()
        world.run(0.1)
    assert c.openvpn.clients[uid].generation == 4
    a.kill()
    b.reachable = True
    world.move_vip("b")
    b.openvpn.renegotiate(uid)
    b.pump()
    world.run(3)
    assert world.same_tables("b", "c")
    assert b.figures.exporter.protected == 3


def test_over_a_bad_network_the_tables_converge() -> None:
    world = World(7, Network(delay=0.001, jitter=0.01, loss=0.2, repeat=0.2))
    a, _b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(3)
    uids = connect(a, 50)
    assert a.openvpn is not None
    world.run(1)
    for uid in uids[:10]:
        a.openvpn.renegotiate(uid)
    for uid in uids[10:20]:
        a.openvpn.disconnect_client(uid)
    a.pump()
    world.run_until(lambda: world.same_tables("a", "b"))
    world.run_until(lambda: a.figures.exporter.protected == 40)
