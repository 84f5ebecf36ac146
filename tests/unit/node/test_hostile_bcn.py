"""Somebody on the BCN without the key drops some datagrams, or holds hellos back for later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ovpnha.model import Grade, Role, Sync
from ovpnha.replication import entries as en
from ovpnha.replication.config import Timings
from tests.model_cluster import KEY, LINK, ModelNode, World
from tests.unit.node.test_takeover import connect, serve
from tests.unit.replication.network import holds, is_hello

HELD = 45.0
NOTICED = Timings().sync_timeout + 1.1


def drop_state(world: World, wanted: Callable[[bytes], bool] = lambda _data: True) -> None:
    world.network.keep = lambda sender, data: (
        sender == "a" and not is_hello(data, KEY) and wanted(data)
    )


def let_go(world: World) -> None:
    world.network.keep = lambda _sender, _data: False


def problems(node: ModelNode) -> list[str]:
    return [one for one in node.told_problems if "does not arrive here" in one]


def test_who_drops_state_makes_a_standby_that_is_not_in_sync_and_says_so() -> None:
    world, a, b = serve(1)
    assert a.openvpn is not None
    (uid,) = a.openvpn.clients
    world.run(1)
    drop_state(world)
    for _ in range(2):
        a.openvpn.renegotiate(uid)
        a.pump()
        world.run(NOTICED / 2)
    assert (b.grade, b.figures.sync) == (Grade.DEGRADED, Sync.SYNCING)
    assert b.figures.announcer.grade_reason == "what the master says it has does not arrive"
    assert "what a says it has" in problems(b)[0]
    assert b.logged("what the master has does not arrive")
    a.kill()
    world.move_vip("b")
    world.run(0.2)
    assert b.plays(Role.MASTER)
    (promoted,) = b.logged("promoted")
    assert (promoted.level, promoted.fields["lacking"]) == ("warning", 1)


def test_a_standby_is_in_sync_again_when_it_has_caught_up() -> None:
    world, a, b = serve(3)
    world.run(1)
    drop_state(world)
    connect(a, 1)
    world.run(NOTICED)
    assert not b.in_sync
    let_go(world)
    world.run(1)
    assert b.in_sync
    assert b.grade == Grade.IN_SYNC
    assert not problems(b)
    assert world.same_tables("a", "b")
    assert b.logged("what the master has arrives")


@pytest.mark.parametrize("what", ["openvpn", "sidecar"])
def test_a_source_that_tells_no_more_of_its_log_proves_nothing(what: str) -> None:
    """The master's OpenVPN dies, or its sidecar starts anew, while a standby lacks clients."""
    world, a, b = serve(5)
    world.run(1)
    drop_state(world)
    connect(a, 2)
    world.run(NOTICED)
    assert b.grade == Grade.DEGRADED
    if what == "openvpn":
        a.kill_openvpn()
    else:
        a.kill_sidecar()
        a.start()
    for _ in range(30):
        world.run(0.1)
        assert b.grade == Grade.DEGRADED
    if what == "openvpn":
        world.move_vip("b")
        world.run(0.2)
        (promoted,) = b.logged("promoted")
        assert (promoted.level, promoted.fields["lacking"]) == ("warning", 1)


def test_of_two_standbys_the_one_that_was_lied_to_stands_back() -> None:
    world, a, b = serve(3)
    c = world.add("c")
    world.run(2)
    deliver = world._deliver

    def deliver_but(receiver: ModelNode, data: bytes) -> None:
        if receiver is not c or is_hello(data, KEY):
            deliver(receiver, data)

    world._deliver = deliver_but  # type: ignore[method-assign]
    connect(a, 3)
    world.run(NOTICED + 1)
    a.kill_openvpn()
    world.run(0.2)
    assert (b.grade, c.grade) == (Grade.IN_SYNC, Grade.DEGRADED)


@pytest.mark.parametrize("dies", [False, True])
def test_a_verdict_outlives_the_node_that_it_was_about(dies: bool) -> None:
    world, a, b = serve(1)
    world.run(1)
    drop_state(world)
    connect(a, 1)
    world.run(NOTICED)
    if dies:
        a.kill()
        world.run(4)
    else:
        world.network.keep = lambda _sender, _data: True
        world.run(4)
        let_go(world)
        world.run(2)
    assert b.in_sync is not dies


def test_who_drops_counters_makes_a_standby_that_is_not_in_sync() -> None:
    world, a, b = serve(5)
    assert a.openvpn is not None
    world.run(1)
    drop_state(world, lambda data: holds(en.Counters, data, KEY))
    for _ in range(20):
        a.openvpn.report()
        a.pump()
        world.run(1)
    assert b.grade == Grade.DEGRADED
    let_go(world)
    world.run(2)
    assert b.grade == Grade.IN_SYNC


def test_hellos_that_were_held_back_do_not_keep_a_node_from_serving() -> None:
    """Its OpenVPN starts anew under the VIP, while a dead node still seems to be master with it."""
    world, a, b = serve(5)
    held: list[bytes] = []
    passed: list[bytes] = []

    def keep(sender: str, data: bytes) -> bool:
        wanted = sender == "a" and is_hello(data, KEY)
        keeps = wanted and len(held) < len(passed)
        if wanted:
            (held if keeps else passed).append(data)
        return keeps

    world.network.keep = keep
    world.run(HELD)
    assert b.in_sync
    a.kill()
    world.move_vip("b")
    for at, data in enumerate(held):
        b.step(lambda node, now, one=data: node.receive_datagram(one, LINK, now))  # type: ignore[misc]
        world.run(1.0)
        if at == 0:
            b.kill_openvpn()
            b.start_openvpn()
        if at > 0 and b.plays(Role.MASTER):
            break
    assert at <= Timings().proof_timeout + 1, f"served after {at} s"
