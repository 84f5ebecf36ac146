"""What a sidecar has left of its OpenVPN: what became of it since, and who may know better."""

from __future__ import annotations

import pytest

from ovpnha.model import Epoch, Grade, NodeName, Role, Sync
from ovpnha.node.role.succession import KEEP, LISTEN
from tests.model_cluster import ModelNode, World
from tests.unit.node.test_memory import cut, empty_copy, late_epoch, mend, said
from tests.unit.node.test_resync import lose_what_is_written
from tests.unit.node.test_takeover import connect, serve


def openvpn_clients(node: ModelNode) -> int:
    assert node.openvpn is not None
    return len(node.openvpn.clients)


def send_to_all(node: ModelNode) -> dict[object, int]:
    """A packet to each client of a node, and its packet id."""
    assert node.openvpn is not None
    return {uid: node.openvpn.send_packet(uid) or 0 for uid in list(node.openvpn.clients)}


def restart(world: World, node: ModelNode, away: float = 0.3) -> None:
    node.kill_sidecar()
    world.run(away)
    node.start()


def die_in_promotion(world: World, node: ModelNode) -> None:
    """The VIP comes; the sidecar dies when OpenVPN has been promoted, before it hears that."""
    node.set_vip(True)
    openvpn = node.openvpn
    assert openvpn is not None
    world.run_until(lambda: openvpn.role is Role.MASTER)
    restart(world, node, away=0.0)
    world.run(0.2)


def test_a_sidecar_that_died_before_the_answer_to_its_promotion_knows_of_what_copy_it_was() -> None:
    """It would say that nothing is known, and the held node would wipe what this one lacks."""
    world, a, b = empty_copy()
    world.run(1.0)
    a.set_vip(False)
    die_in_promotion(world, b)
    assert said(b, world).sync is Sync.SYNCING
    mend(world)
    world.run(KEEP + 1.0)
    assert openvpn_clients(a) == 20


def test_the_first_master_of_all_lacks_nothing() -> None:
    world = World(1)
    a = world.add("a")
    world.run(LISTEN + 0.2)
    die_in_promotion(world, a)
    assert a.grade == Grade.MASTER
    assert said(a, world).sync is not Sync.SYNCING


def test_a_copy_that_was_left_is_doubted_when_another_standby_has_more() -> None:
    world = World(1)
    a, b, c = (world.add(name) for name in "abc")
    world.run(0.2)
    world.move_vip("a")
    world.run(0.2)
    connect(a, 10)
    world.run_until(lambda: b.in_sync and c.in_sync)
    b.kill_sidecar()
    connect(a, 10)
    world.run_until(lambda: world.same_tables("a", "c"))
    world.run(1.0)
    a.kill()
    b.start()
    for _ in range(200):
        world.run(0.01)
        assert not b.in_sync
    b.set_vip(True)
    world.run(2.0)
    assert said(b, world).sync is Sync.SYNCING
    world.run(KEEP + 1.0)
    assert openvpn_clients(c) == 20


def test_a_copy_of_a_master_that_this_node_must_not_follow_is_nothing_to_claim() -> None:
    """It is touched for hours, and it is of an epoch that has long been another."""
    world, a, b = serve()
    a.kill_openvpn()
    world.run(0.1)
    a.start_openvpn(digest="other")
    world.run(1.0)
    connect(a, 5)
    world.run(60.0)
    assert b.plays(Role.FAULT)
    assert b.memory is not None
    assert not b.memory.whole
    cut(world)
    restart(world, b)
    world.run(LISTEN + 0.2)
    assert not b.in_sync
    b.set_vip(True)
    world.run(1.0)
    assert b.figures.epoch > a.figures.epoch


def test_the_highest_epoch_outlives_the_sidecar_of_a_held_node() -> None:
    """Or it would resume its own, and who was answered by the higher one would refuse it."""
    world, a, b = serve()
    world.move_vip("b")
    world.run(1.0)
    heard = send_to_all(b)
    b.kill()
    world.run(0.2)
    assert a.plays(Role.HELD)
    restart(world, a)
    world.run(0.2)
    a.set_vip(True)
    world.run(2.0)
    assert a.figures.epoch == Epoch(3, NodeName("a"))
    assert all(number > heard[uid] for uid, number in send_to_all(a).items())


def test_the_highest_epoch_outlives_an_overtaking_that_was_lost() -> None:
    world, a, b = serve()
    b.reachable = False
    world.run(3.0)
    b.set_vip(True)
    world.run(0.1)
    heard = send_to_all(b)
    b.set_vip(False)
    b.reachable, a.busy = True, 0.01
    world.run_until(lambda: bool(a.logged("overtaking an epoch without master")))
    lose_what_is_written(a)
    a.set_vip(False)
    a.busy = 0.0
    world.run(0.5)
    cut(world)
    b.kill()
    restart(world, a)
    a.set_vip(True)
    world.run(1.0)
    assert a.plays(Role.MASTER)
    assert all(number > heard[uid] for uid, number in send_to_all(a).items())


@pytest.mark.parametrize("restarts", [False, True])
def test_clients_that_openvpn_refused_are_not_forgotten_with_their_master(restarts: bool) -> None:
    """The copy lacks them still, and who has them must keep them."""
    world, a, b = serve()
    assert a.openvpn is not None
    assert b.openvpn is not None
    b.openvpn.refuse_for_good["cluster-import"] = "denied --learn-address refuses"
    for number in range(2):
        a.openvpn.connect_client(f"refused-{number}")
    a.pump()
    world.run(10.0)
    assert said(b, world).sync is Sync.PARTIAL
    a.reachable = False
    if restarts:
        restart(world, b)
    world.run(3.0)
    assert not b.in_sync
    world.move_vip("b")
    world.run(0.2)
    a.reachable = True
    world.run(KEEP + 1.0)
    assert openvpn_clients(a) == 12


def test_a_promotion_that_was_lost_is_ordered_again_and_lacks_nothing() -> None:
    world, a, b = serve()
    world.run(3.0)
    b.busy = 0.01
    world.move_vip("b")
    lose_what_is_written(b)
    world.run(0.001)
    b.busy = 0.0
    world.run(0.3)
    assert b.figures.epoch == Epoch(2, NodeName("b"))
    assert b.figures.own.lacking == 0
    assert said(b, world).sync is Sync.IN_SYNC
    world.run_until(lambda: a.in_sync)


def test_the_grade_claims_no_more_than_the_copy_until_it_has_listened() -> None:
    world, _, b = late_epoch()
    cut(world)
    b.kill_sidecar()
    world.run(0.4)
    before = len(b.grades)
    b.start()
    world.run(LISTEN - 0.1)
    assert all(one.grade < Grade.IN_SYNC for one in b.grades[before:])
    world.run(0.2)
    assert b.grade == Grade.IN_SYNC
