"""What one node has received of a client, no other accepts, wherever the VIP goes.

Packets are those of docs/threat-model.md, "Replay of a client's packets": received by the old
master since its last report, and sent again to the new one.
"""

from __future__ import annotations

import pytest

from ovpnha.model import CounterKind, Role
from ovpnha.node.cluster.predecessor import LISTEN_ON, Predecessor
from ovpnha.node.outputs import WriteManagement
from ovpnha.node.role.succession import KEEP, SAY_HELD
from ovpnha.node.role.vip import Vip
from ovpnha.node.standby.counters import CounterRelay
from ovpnha.replication.events import CountersReceived
from tests.model_cluster import ModelNode, Network
from tests.unit.node.doubles import INSTANCE, A, B, Desk, NoteTaker
from tests.unit.node.test_bounce import openvpn_of
from tests.unit.node.test_switchover import ask, cluster, run_to_end
from tests.unit.node.test_takeover import serve

HOP = 0.01  # seconds: marks are told, passed on and applied


def receive(node: ModelNode, *numbers: int) -> None:
    """Each client sends these packets, all of them new to this node."""
    openvpn = openvpn_of(node)
    assert openvpn.clients
    for uid in openvpn.clients:
        assert all(openvpn.receive_packet(uid, number) for number in numbers)


def expect_refused(node: ModelNode, *numbers: int) -> None:
    """What another node received is sent to this one, which accepts nothing of it."""
    openvpn = openvpn_of(node)
    for uid in openvpn.clients:
        accepted = [number for number in numbers if openvpn.receive_packet(uid, number)]
        assert not accepted


def commands(node: ModelNode, name: str) -> int:
    return sum(line.split()[0] == name for line in openvpn_of(node).commands)


def test_in_a_switchover_nothing_is_accepted_twice() -> None:
    """The target is promoted ahead of the VIP; until that leaves, clients send to the master."""
    world = cluster(2)
    a, b = world.nodes.values()
    receive(a, 1)
    ask(world, "a", "b")
    world.run_until(lambda: b.plays(Role.MASTER))
    receive(a, 2, 3)
    openvpn_of(a).report()  # the second is over while the target is ahead
    a.pump()
    world.run_until(lambda: b.vip)
    receive(b, 8)
    receive(a, 5, 6)
    assert run_to_end(world, "a") == ""
    world.run(HOP)
    expect_refused(b, 1, 2, 3, 5, 6, 8)
    receive(b, 7, 9)
    world.run(1.0)
    assert a.in_sync


@pytest.mark.parametrize("ahead", [False, True])
def test_nor_when_the_vip_is_moved_by_its_manager(ahead: bool) -> None:
    """It may come here before it has left the other node."""
    world, a, b = serve(100)
    receive(a, 1, 2)
    if ahead:
        b.set_vip(True)
        world.run(0.3)
    receive(a, 3)
    world.move_vip("b")
    world.run(HOP)
    receive(b, 10)
    expect_refused(b, 1, 2, 3)


def test_nor_when_it_comes_back_to_a_node_that_kept_its_clients() -> None:
    """A held node goes on above its heir, which tells it what it received meanwhile."""
    world, a, b = serve(20)
    world.run(KEEP)
    receive(a, 1)
    world.move_vip("b")
    world.run(0.3)
    receive(b, 2)
    openvpn_of(b).report()
    b.pump()
    world.run(HOP)
    assert a.plays(Role.HELD)
    receive(b, 4, 5)
    world.move_vip("a")
    world.run(2 * SAY_HELD)
    assert a.plays(Role.MASTER)
    assert commands(a, "cluster-demote") == 0
    expect_refused(a, 1, 2, 4, 5)
    receive(a, 6)


def test_nor_when_two_nodes_have_the_vip_and_the_better_one_goes_on() -> None:
    """It serves all the while, above its heir, which has received something meanwhile."""
    world, a, b = serve(20)
    receive(a, 1)
    b.set_vip(True)
    world.run(0.3)
    assert a.plays(Role.MASTER)
    assert b.plays(Role.MASTER)
    receive(b, 2)
    openvpn_of(b).report()
    b.pump()
    world.run(HOP)
    receive(b, 4, 5)
    b.set_vip(False)
    world.run(SAY_HELD)
    assert (commands(a, "cluster-promote"), commands(a, "cluster-hold")) == (2, 0)
    expect_refused(a, 1, 2, 4, 5)
    receive(a, 6)


def test_nor_when_the_vip_leaves_the_new_master_for_a_moment() -> None:
    """What the old one told got lost, and is asked for again behind that moment."""
    world, a, b = serve(20)
    receive(a, 1, 2)
    world.network = Network(keep=lambda sender, _: sender == "a" and a.plays(Role.HELD))
    world.move_vip("b")
    world.run(HOP)
    b.set_vip(False)
    b.set_vip(True)
    world.network = Network()
    world.run(2 * SAY_HELD)
    assert b.plays(Role.MASTER)
    assert (commands(b, "cluster-hold"), commands(b, "cluster-promote")) == (1, 2)
    expect_refused(b, 1, 2)


def test_a_held_node_listens_to_its_heir_rather_than_to_whom_it_succeeded() -> None:
    """The time for which it would have listened to the latter ends meanwhile."""
    world = cluster(3)
    _, b, c = world.nodes.values()
    world.move_vip("b")
    world.run(LISTEN_ON - 1.0)
    world.move_vip("c")
    world.run(1.5)
    assert b.plays(Role.HELD)
    receive(c, 3)
    world.move_vip("b")
    world.run(2 * SAY_HELD)
    assert (b.plays(Role.MASTER), commands(b, "cluster-demote")) == (True, 0)
    expect_refused(b, 3)


@pytest.mark.parametrize("busy", [0.0, 2 * SAY_HELD], ids=["at-once", "busy"])
def test_what_is_lost_on_its_way_is_asked_for_again(busy: float) -> None:
    """A planned move has the old master demote at once; not before its marks can be repeated.

    These come when its OpenVPN gets to the hold.
    """
    lost: list[bytes] = []

    def keep(sender: str, data: bytes) -> bool:
        loses = sender == "a" and openvpn_of(a).role is Role.HELD and len(lost) < 3
        if loses:
            lost.append(data)
        return loses

    world = cluster(2)
    a, b = world.nodes.values()
    ask(world, "a", "b")
    world.run_until(lambda: b.vip)
    receive(a, 1, 2, 3)
    world.network = Network(keep=keep)
    a.busy = busy
    assert run_to_end(world, "a") == ""
    world.run(busy + 2 * SAY_HELD)
    assert len(lost) == 3
    expect_refused(b, 1, 2, 3)
    world.run_until(lambda: a.in_sync)


def test_of_another_master_only_marks_are_taken() -> None:
    """This one has byte counts of its own, and clients of its own."""
    world, a, b = serve(5)
    b.set_vip(True)
    world.run(0.1)
    assert b.plays(Role.MASTER)
    before = commands(b, "cluster-update"), commands(b, "cluster-import")
    openvpn_of(a).report("BYTES")
    openvpn_of(a).renegotiate(next(iter(openvpn_of(a).clients)))
    a.pump()
    world.run(0.1)
    assert (commands(b, "cluster-update"), commands(b, "cluster-import")) == before
    assert "events_late" not in b.figures.openvpn.counters
    openvpn_of(a).report()
    a.pump()
    world.run(0.1)
    assert commands(b, "cluster-update") == before[0] + 1
    world.run(LISTEN_ON)
    openvpn_of(a).report()
    a.pump()
    world.run(0.1)
    assert commands(b, "cluster-update") == before[0] + 1


def test_an_older_openvpn_refuses_and_all_goes_on() -> None:
    world, a, b = serve(5)
    openvpn_of(b).refuse_for_good["cluster-update"] = "wrong-role only possible while standby"
    receive(a, 1)
    world.move_vip("b")
    world.run(1.0)
    assert b.plays(Role.MASTER)
    assert commands(b, "cluster-status") == 1


def test_it_is_listened_to_until_the_vip_has_been_here_for_a_while() -> None:
    backchannel, vip = NoteTaker(), Vip(0.0)
    one = Predecessor(INSTANCE, backchannel, vip)
    assert one.get_timer() is None
    vip.unused = True
    one.begin(A, 1.0)
    assert one.get_timer() is None
    one.handle_timer(100.0)
    assert one.following == A
    vip.set(True, 100.0)
    assert one.get_timer() == 100.0 + LISTEN_ON
    one.handle_timer(100.0 + LISTEN_ON)
    assert backchannel.taken() == [("follow", None)]
    assert one.get_timer() is None
    one.begin(B, 200.0)
    assert one.get_timer() == 200.0 + LISTEN_ON
    one.stop(201.0)
    one.stop(202.0)
    assert backchannel.taken() == [("follow", None)]


def test_marks_that_wait_when_it_is_promoted_are_passed_on() -> None:
    """OpenVPN has still to answer the counters before."""
    desk = Desk()
    relay = CounterRelay(desk.openvpn)
    marks, counts = bytes(20), bytes(24)
    for kind, payload in [(CounterKind.BYTES, counts), (CounterKind.HIGH_WATER, marks)] * 2:
        relay.take(CountersReceived(INSTANCE, A, kind, payload), 0.0)
    assert desk.commands() == ["cluster-update"]
    relay.promote()
    relay.take(None, 0.0)
    desk.openvpn.flush()
    sent = b"".join(one.data for one in desk.outputs if isinstance(one, WriteManagement))
    assert (sent.count(b"HW,"), sent.count(b"BYTES,")) == (2, 0)
