"""A VIP that bounces: nobody destroys what may be the last current copy of a client."""

from __future__ import annotations

import pytest

from ovpnha.model import Grade, RekeyPolicy, Role
from ovpnha.node.role import reasons
from ovpnha.node.role.succession import FETCH_MAX, KEEP, SAY_HELD
from tests.model_cluster import INSTANCE, ModelNode, World
from tests.model_openvpn import ModelOpenvpn
from tests.unit.node.test_takeover import serve

STAYS = (0.001, 0.02, 0.1, 0.5, KEEP, KEEP + 0.005, KEEP + 0.02, KEEP + 0.1, KEEP + 1.0)


def openvpn_of(node: ModelNode) -> ModelOpenvpn:
    assert node.openvpn is not None
    return node.openvpn


def bounce(world: World, stay: float, *names: str | None) -> None:
    for name in names:
        world.move_vip(name)
        world.run(stay)


def serves(node: ModelNode) -> int:
    """How many clients OpenVPN serves here that it can send to."""
    openvpn = openvpn_of(node)
    assert openvpn.plays(Role.MASTER)
    return sum(openvpn.send_packet(uid) is not None for uid in openvpn.clients)


def keys_of(node: ModelNode) -> dict[bytes, tuple[bytes, ...]]:
    return {uid: keys for uid, (_, keys) in openvpn_of(node).table().items()}


@pytest.mark.parametrize("stay", STAYS)
def test_a_bounce_costs_nobody_anything(stay: float) -> None:
    world, a, b = serve(20)
    world.run(KEEP)
    bounce(world, stay, "b", "a")
    world.run(FETCH_MAX)
    assert serves(a) == 20
    assert a.grade == Grade.MASTER
    world.run(KEEP + 1.0)
    assert b.in_sync
    assert world.same_tables("a", "b")


@pytest.mark.parametrize("stay", STAYS[1::2])
@pytest.mark.parametrize("third", [False, True])
def test_nor_does_one_there_and_back_again(stay: float, third: bool) -> None:
    world, a, b = serve(20)
    if third:
        world.add("c")
    world.run(KEEP)
    bounce(world, stay, "b", "a", "b", "a", "b")
    world.run(FETCH_MAX)
    assert serves(b) == 20
    world.run(KEEP + 1.0)
    assert a.in_sync
    assert world.same_tables(*world.nodes)


@pytest.mark.parametrize("stay", [0.05, 0.5, KEEP + 0.01])
def test_what_changed_meanwhile_is_fetched(stay: float) -> None:
    world, a, b = serve(20, rekey=RekeyPolicy.NEVER)
    world.run(KEEP)
    bounce(world, stay, "b")
    for uid in list(openvpn_of(b).clients)[:10]:
        openvpn_of(b).renegotiate(uid)
    openvpn_of(b).connect_client("new")
    b.pump()
    world.run(0.01)
    keys = keys_of(b)
    bounce(world, FETCH_MAX, "a")
    assert serves(a) == 21
    assert keys_of(a) == keys


def test_a_return_that_was_not_heard_of_is_fetched_from() -> None:
    """Node b goes on in its epoch, and hears then that a has gone on above it."""
    world, a, b = serve(20, rekey=RekeyPolicy.NEVER)
    world.run(KEEP)
    bounce(world, 0.2, "b")
    b.reachable = False
    bounce(world, SAY_HELD + 0.01, "a")
    assert serves(a) == 20
    bounce(world, 0.005, "b")
    assert serves(b) == 20
    b.reachable = True
    world.run_until(lambda: b.logged("demoted") != [])
    world.run(FETCH_MAX)
    assert serves(b) == 20
    assert not b.logged("overtaking an epoch without master")


def test_if_clients_changed_here_all_get_new_keys_at_once() -> None:
    world, _a, b = serve(5)
    world.run(KEEP)
    bounce(world, 0.2, "b")
    b.reachable = False
    bounce(world, SAY_HELD + 0.01, "a")
    bounce(world, 0.005, "b")
    openvpn_of(b).renegotiate(next(iter(openvpn_of(b).clients)))
    b.pump()
    world.run(0.01)
    b.reachable = True
    world.run_until(lambda: b.logged("overtaking an epoch without master") != [])
    world.run(1.0)
    assert serves(b) == 5
    assert any(one.startswith("cluster-reneg") for one in openvpn_of(b).commands)


def test_an_heir_that_dies_when_it_has_said_held_is_not_fetched_from() -> None:
    """It is believed for 2 s yet; what this node has is all that there is."""
    world, a, b = serve(20, rekey=RekeyPolicy.NEVER)
    world.run(KEEP)
    bounce(world, 0.2, "b")
    openvpn_of(b).renegotiate(next(iter(openvpn_of(b).clients)))
    b.pump()
    world.run(0.01)
    bounce(world, 0.01, None)
    b.kill()
    world.move_vip("a")
    world.run(SAY_HELD + 0.01)
    assert serves(a) == 20
    assert not a.logged("demoted")


def stand_back_busy(rekey: RekeyPolicy) -> tuple[World, ModelNode, ModelNode]:
    """Node b has written a hold, for a has gone on above it, and a client changes at b."""
    world, a, b = serve(20, rekey=rekey)
    world.run(KEEP)
    bounce(world, 0.2, "b")
    b.reachable = False
    bounce(world, SAY_HELD + 0.01, "a")
    b.busy = 0.05
    bounce(world, 0.06, "b")
    holds = len(b.logged("held"))
    b.reachable = True
    world.run_until(lambda: len(b.logged("held")) > holds)
    openvpn_of(b).renegotiate(next(iter(openvpn_of(b).clients)))
    b.pump()
    return world, a, b


def test_who_goes_on_after_that_renews_all_keys_at_once() -> None:
    world, _a, b = stand_back_busy(RekeyPolicy.AUTO)
    assert b.roles[-1].reason == reasons.STOOD_BACK
    world.run_until(lambda: b.logged("returned above another epoch") != [])
    assert b.roles[-1].reason == reasons.CHANGED
    world.run(FETCH_MAX)
    assert any(one.startswith("cluster-reneg") for one in openvpn_of(b).commands)


def test_nor_is_wiped_what_changes_before_a_busy_openvpn_is_silent() -> None:
    """The hold is written; until it is carried out a client gets a key that nobody else has."""
    world, a, b = stand_back_busy(RekeyPolicy.NEVER)
    keys = keys_of(b)
    world.run(FETCH_MAX)
    assert not b.logged("demoted")
    assert serves(b) == 20
    assert keys_of(b) == keys
    world.run_until(lambda: a.in_sync)
    assert keys_of(a) == keys


def test_copies_without_packet_ids_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, b = serve(5)
    assert b.node is not None
    monkeypatch.setattr(b.node._instances[INSTANCE].parts.importer, "rangeless", lambda _: 3)
    (problem,) = b.told_problems
    assert problem.startswith("3 of a's clients have no packet ids here; they get them")


@pytest.mark.parametrize("overlap", [0.05, 0.25, FETCH_MAX + 0.5])
def test_what_changed_is_fetched_from_a_node_that_has_the_vip_still(overlap: float) -> None:
    """As by VRRP: the other node gives it up when it hears the next advert."""
    world, a, b = serve(20, rekey=RekeyPolicy.NEVER)
    world.run(KEEP)
    bounce(world, 0.2, "b")
    for name in ("new", "newer"):
        openvpn_of(b).connect_client(name)
    b.pump()
    world.run(0.05)
    a.set_vip(True)
    world.run(overlap)
    b.set_vip(False)
    world.run(FETCH_MAX)
    assert serves(a) == 22
    world.run(KEEP + 1.0)
    assert world.same_tables("a", "b")


@pytest.mark.parametrize("stay", [0.3, 0.6, 0.9, 1.2])
def test_what_an_heir_had_that_has_died_is_kept(stay: float) -> None:
    """It is believed for longer than it lives, and so it seemed to have served for long enough."""
    world, a, b = serve(20)
    world.run(KEEP)
    world.move_vip("b")
    world.run_until(lambda: b.plays(Role.MASTER))
    world.run(stay)
    b.kill()
    world.run(4.0)
    assert a.plays(Role.HELD)
    a.set_vip(True)
    world.run(FETCH_MAX)
    assert serves(a) == 20


def test_nothing_is_fetched_from_a_node_that_may_be_dead() -> None:
    """It said master with the VIP, and says nothing since."""
    world, a, b = serve(20, rekey=RekeyPolicy.NEVER)
    world.run(KEEP)
    bounce(world, 0.5, "b")
    openvpn_of(b).connect_client("new")
    b.pump()
    world.run(0.05)
    b.reachable = False
    bounce(world, SAY_HELD + 0.01, "a")
    assert serves(a) == 20


def test_many_bounces_use_up_no_packet_ids() -> None:
    """Each is a promotion by a node that was granted a part of what the one before had."""
    world, _, _ = serve(5)
    world.run(KEEP)
    for number in range(24):
        bounce(world, 1.3, "ba"[number % 2])
        node = world.nodes["ba"[number % 2]]
        assert serves(node) == 5, f"after {number} bounces"
        uid = openvpn_of(node).connect_client(f"new{number}")
        node.pump()
        world.run(0.05)
        openvpn_of(node).disconnect_client(uid)
        node.pump()
    world.run(KEEP + 1.0)
    assert world.same_tables("a", "b")


def test_whose_keys_are_nowhere_is_told_to_reconnect() -> None:
    """The other node is gone when the VIP is back: what it published tells whose keys changed."""
    world, a, b = serve(20)
    world.run(KEEP)
    bounce(world, 0.5, "b")
    changed = sorted(openvpn_of(b).clients)[:3]
    for uid in changed:
        openvpn_of(b).renegotiate(uid)
    b.pump()
    world.run(0.1)
    b.kill()
    bounce(world, SAY_HELD + 0.01, "a")
    assert serves(a) == 20
    kicks = [one for one in openvpn_of(a).commands if one.startswith("cluster-kick")]
    assert sorted(kicks) == [f"cluster-kick {uid.hex()}" for uid in changed]


def test_a_node_that_was_promoted_without_clients_does_not_make_another_wipe_them() -> None:
    """The back channel was cut: both have been master, and only one has clients."""
    world, a, b = serve(20)
    b.kill()
    world.run(KEEP)
    a.reachable = False
    b.start_openvpn()
    b.start()
    world.move_vip("b")
    world.run(1.0)
    assert (serves(b), b.figures.own.lacking) == (0, 0)
    a.reachable = True
    world.run(5.0)
    assert len(openvpn_of(a).clients) == 20
    assert (a.grade, b.grade) == (Grade.MASTER, Grade.MASTER)
    world.move_vip("a")
    world.run(1.0)
    assert serves(a) == 20


def incomplete(count: int = 20) -> tuple[World, ModelNode, ModelNode]:
    """Node b is promoted with a part of what a, held, has: the fetch did not end in time."""
    world, a, b = serve(count)
    b.kill_openvpn()
    world.network.loss = 1.0
    b.start_openvpn()
    world.run(0.1)
    world.move_vip("b")
    world.run(FETCH_MAX + 0.01)
    world.network.loss = 0.0
    world.run(1.0)
    return world, a, b


@pytest.mark.parametrize("clients", [211, 220, 221, 222, 223, 402])
def test_a_fetch_that_goes_on_is_waited_for(clients: int) -> None:
    """It takes longer than a second, as with many clients or a bad network, for most of these.

    Of 30 % loss: whatever is drawn, all come. At 40 % a node may hear nothing for longer than it
    waits for a first word (0.1 s), or for another record (1 s), and then serves whom it has.
    """
    world, _a, b = serve(clients, rekey=RekeyPolicy.NEVER)
    world.run(KEEP)
    b.kill_openvpn()
    world.network.loss = 0.3
    b.start_openvpn()
    world.run(0.1)
    world.move_vip("b")
    world.run_until(lambda: openvpn_of(b).plays(Role.MASTER))
    assert serves(b) == clients


def test_one_that_stalls_is_not() -> None:
    world, _a, b = serve(200)
    b.kill_openvpn()
    b.start_openvpn()
    world.network.loss = 0.4
    world.run(0.1)
    world.move_vip("b")
    world.run(0.1)
    world.network.loss = 1.0
    world.run(FETCH_MAX + 0.01)
    assert 0 < serves(b) < 200


def test_a_master_that_lacks_what_another_has_says_so() -> None:
    world, a, b = incomplete()
    assert serves(b) == 0
    assert (a.grade, b.grade) == (Grade.MASTER, Grade.DEGRADED)
    assert b.figures.own.lacking == 20
    assert any("20 clients or more are on another node" in one for one in b.told_problems)
    (promoted,) = b.logged("promoted")
    assert (promoted.level, promoted.fields["lacking"]) == ("warning", 20)
    world.move_vip("a")
    world.run(1.0)
    assert serves(a) == 20
    world.run(KEEP + 1.0)
    assert b.in_sync
    assert not b.told_problems


def test_nor_does_it_draw_the_vip_back_when_it_is_held() -> None:
    """A VIP manager needs a while in between, and would give the VIP to the one that it prefers."""
    world, a, b = incomplete()
    world.move_vip(None)
    world.run(1.0)
    assert (a.figures.role, b.figures.role) == (Role.HELD, Role.HELD)
    assert (a.grade, b.grade) == (Grade.MASTER, Grade.DEGRADED)
    world.move_vip("a")
    world.run(1.0)
    assert serves(a) == 20
    world.run(KEEP + 1.0)
    assert b.in_sync


def test_what_it_lacks_is_kept_until_held_max_only() -> None:
    world, a, b = incomplete()
    world.run(55.0)
    assert a.plays(Role.HELD)
    world.run(6.0)
    assert a.in_sync
    assert (b.grade, b.figures.own.lacking, b.told_problems) == (Grade.MASTER, 0, ())


def test_a_planned_move_demotes_when_what_was_received_last_is_told() -> None:
    world, a, b = serve(20)
    b.step(lambda node, now: node.ask_promote(INSTANCE, 2.0, now))
    world.run(0.05)
    world.move_vip("b")
    world.run(SAY_HELD + 0.1)
    assert a.in_sync
    a.step(lambda node, now: node.ask_demote(INSTANCE, now))
    b.step(lambda node, now: node.ask_demote(INSTANCE, now))
    world.move_vip("a")
    world.run(SAY_HELD + 0.1)
    assert b.in_sync
    assert serves(a) == 20


def test_an_openvpn_that_lost_its_clients_leaves_the_vip_to_who_has_them() -> None:
    """As SIGUSR1 does: the connection stays, and OpenVPN is an empty standby."""
    world, a, b = serve(20)
    openvpn_of(a)._do_demote([], [])
    a.pump()
    world.run(0.05)
    assert a.plays(Role.STANDBY)
    assert (a.grade, b.grade) == (Grade.FAULT, Grade.IN_SYNC)
    world.move_vip("b")
    world.run(0.05)
    assert serves(b) == 20
    world.run_until(lambda: a.in_sync)
    assert a.grade == Grade.IN_SYNC


def test_an_openvpn_that_says_its_end_is_a_fault_at_once() -> None:
    """As SIGUSR1 does: a pause follows, in which it answers nothing, and then it is standby."""
    world, a, b = serve(20)
    openvpn_of(a)._do_demote([], [])
    openvpn_of(a).take_output()
    openvpn_of(a).notify(">CLUSTER:END")
    a.pump()
    world.run(0.01)
    assert a.plays(Role.FAULT)
    assert a.grade == Grade.FAULT
    world.move_vip("b")
    world.run(SAY_HELD)
    assert serves(b) == 20
    world.run(1.0)
    assert a.in_sync


@pytest.mark.parametrize("later", [5.0, 50.0, 70.0])
def test_if_nobody_moves_the_vip_the_other_keeps_them_for_held_max(later: float) -> None:
    """The VIP manager knows no grades, and somebody moves the VIP by hand."""
    world, a, b = serve(20)
    openvpn_of(a)._do_demote([], [])
    a.pump()
    world.run(FETCH_MAX + 0.1)
    assert serves(a) == 0
    openvpn_of(a).connect_client("new")
    a.pump()
    world.run(later)
    assert b.grade == Grade.IN_SYNC
    assert bool(a.told_problems) is (later < 60.0)
    world.move_vip("b")
    world.run(0.1)
    assert serves(b) == (21 if later < 60.0 else 1)
    world.run(KEEP + 1.0)
    assert world.same_tables("a", "b")


def test_nor_does_one_whose_sidecar_was_away_meanwhile() -> None:
    world, a, b = serve(20)
    a.kill_sidecar()
    openvpn_of(a)._do_demote([], [])
    world.run(0.05)
    a.start()
    world.run(0.1)
    assert a.plays(Role.STANDBY)
    assert a.grade == Grade.FAULT
    world.move_vip("b")
    world.run(0.05)
    assert serves(b) == 20


def test_who_has_other_options_is_no_reason_to_wait() -> None:
    world, a, _b = serve(5)
    world.nodes["b"].kill()
    world.run(3.0)
    world.add("c", digest="other")
    world.run(1.0)
    openvpn_of(a)._do_demote([], [])
    a.pump()
    world.run(0.05)
    assert a.plays(Role.MASTER)


def test_a_held_node_hears_of_its_heir_through_a_bad_network() -> None:
    world, a, _ = serve(20)
    world.network.loss, world.network.repeat = 0.2, 0.5
    bounce(world, 0.3, "b", "a", "b", "a")
    world.network.loss = 0.0
    world.run(FETCH_MAX + KEEP + 2.0)
    assert serves(a) == 20
