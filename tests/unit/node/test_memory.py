"""A sidecar that starts cut off from the others knows what its OpenVPN's clients are."""

from __future__ import annotations

import pytest

from ovpnha.model import NO_EPOCH, Epoch, Grade, HolderId, InstanceState, NodeName, Role, Sync
from ovpnha.node.memory import AWAY_MAX, Memory, Remembered
from ovpnha.node.role.succession import KEEP, LISTEN
from tests.model_cluster import INSTANCE, ModelNode, World
from tests.unit.node.test_takeover import connect, serve

HOLDER, OTHER = HolderId(b"h" * 16), HolderId(b"o" * 16)
COPY = Remembered(HOLDER, False, Epoch(3, NodeName("a")), whole=True)
SOURCE = Remembered(HOLDER, True, Epoch(3, NodeName("a")), Epoch(2, NodeName("b")), whole=True)


def test_what_is_known_is_told_once() -> None:
    memory = Memory()
    assert memory.recall(HOLDER, 10.0) is None
    assert memory.note(COPY, 10.0)
    assert not memory.note(COPY, 11.0)
    assert not memory.note(None, 12.0)
    assert memory.recall(HOLDER, 12.0) == COPY
    assert memory.note(SOURCE, 13.0)


def test_of_another_process_nothing_is_known() -> None:
    assert Memory(COPY, 10.0).recall(OTHER, 10.0) is None


def test_a_copy_that_nobody_looks_after_is_whole_for_a_while() -> None:
    memory = Memory(COPY, 10.0)
    assert memory.recall(HOLDER, 10.0 + AWAY_MAX) == COPY
    old = memory.recall(HOLDER, 10.1 + AWAY_MAX)
    assert old is not None
    assert (old.epoch, old.whole) == (COPY.epoch, False)
    assert Memory(SOURCE, 10.0).recall(HOLDER, 1e6) == SOURCE


def cut(world: World) -> None:
    """Nobody hears anybody."""
    world.network.keep = lambda _sender, _data: True


def mend(world: World) -> None:
    """Everybody hears everybody again."""
    world.network.keep = lambda _sender, _data: False


def said(node: ModelNode, world: World) -> InstanceState:
    """What its hello says."""
    assert node.node is not None
    parts = node.node._instances[INSTANCE].parts
    return parts.state(Grade.MASTER, world.now)


def late_epoch() -> tuple[World, ModelNode, ModelNode]:
    """Node a is master in epoch 3/a, and b is in sync with it, having been master itself."""
    world, a, b = serve()
    for name in ("b", "a"):
        world.move_vip(name)
        world.run_until(lambda: a.in_sync or b.in_sync)
        world.run_until(lambda: world.same_tables("a", "b"))
        world.run(1.0)
    assert a.figures.epoch == Epoch(3, NodeName("a"))
    assert b.in_sync
    return world, a, b


def empty_copy() -> tuple[World, ModelNode, ModelNode]:
    """Node a has 20 clients, and the OpenVPN of b has just started; neither hears the other."""
    world, a, b = serve()
    cut(world)
    world.run(3.0)
    connect(a, 10)
    b.kill_openvpn()
    b.start_openvpn()
    return world, a, b


def restart_cut_off(world: World, b: ModelNode, away: float = 0.4) -> None:
    """The sidecar of b dies and another one is given the VIP, and neither hears anybody."""
    cut(world)
    b.kill_sidecar()
    world.run(away)
    b.vip = True
    b.start()
    world.run(LISTEN + 0.1)


def test_it_goes_on_above_the_epoch_of_its_copy() -> None:
    world, a, b = late_epoch()
    restart_cut_off(world, b)
    state = said(b, world)
    assert (state.role, state.epoch) == (Role.MASTER, Epoch(4, NodeName("b")))
    assert (state.origin, state.sync) == (Epoch(3, NodeName("a")), Sync.IN_SYNC)
    assert b.figures.own.lacking == 0
    a.set_vip(False)
    mend(world)
    world.run_until(lambda: a.in_sync)
    assert b.figures.epoch == Epoch(4, NodeName("b"))
    assert [one.grade for one in b.grades[-1:]] == [Grade.MASTER]


def test_who_hears_of_it_goes_on_above_it() -> None:
    """Clients that heard it refuse packet ids below its own: so its epoch must not be lower."""
    world, a, b = late_epoch()
    assert a.openvpn is not None
    assert b.openvpn is not None
    restart_cut_off(world, b)
    uids = list(b.openvpn.clients)
    heard = {uid: b.openvpn.send_packet(uid) or 0 for uid in uids}
    b.set_vip(False)
    mend(world)
    world.run_until(lambda: a.figures.epoch > Epoch(4, NodeName("b")))
    world.run(0.1)
    assert all((a.openvpn.send_packet(uid) or 0) > heard[uid] for uid in uids)
    sent = a.openvpn.sent + b.openvpn.sent
    assert len(sent) == len(set(sent))


def test_a_copy_that_was_left_alone_is_not_said_to_be_whole() -> None:
    world, _, b = late_epoch()
    restart_cut_off(world, b, away=AWAY_MAX + 1.0)
    state = said(b, world)
    assert (state.epoch, state.origin) == (Epoch(4, NodeName("b")), Epoch(3, NodeName("a")))
    assert state.sync is Sync.SYNCING


def test_nothing_is_claimed_before_the_others_can_be_heard() -> None:
    """Clients may have come while no sidecar was there: who serves must not count on this copy."""
    world, a, b = late_epoch()
    b.kill_sidecar()
    connect(a, 10)
    world.run(0.4)
    b.start()
    claimed: list[Sync] = []

    def look() -> bool:
        claimed.append(said(b, world).sync)
        return world.same_tables("a", "b")

    world.run_until(look)
    assert claimed[0] is Sync.NONE
    assert Sync.IN_SYNC not in claimed[:-1]
    world.run_until(lambda: b.in_sync)
    cut(world)
    b.kill_sidecar()
    b.start()
    world.run(LISTEN - 0.1)
    assert not b.in_sync
    world.run(0.2)
    assert b.in_sync, "nobody is there"
    assert b.grade == Grade.IN_SYNC


def test_another_process_has_no_such_copy() -> None:
    world, _, b = late_epoch()
    b.kill_openvpn()
    b.kill_sidecar()
    b.start_openvpn()
    restart_cut_off(world, b)
    assert said(b, world).origin == NO_EPOCH


def test_a_copy_stays_whole_when_its_channel_breaks_while_nobody_is_heard() -> None:
    world, a, b = late_epoch()
    a.kill()
    world.run(3.0)
    assert b.in_sync
    assert b.openvpn is not None
    b.openvpn.notify("what is this")
    b.pump()
    world.run(0.2)
    assert b.logged("management channel broken")
    assert b.in_sync
    assert b.grade == Grade.IN_SYNC


def test_a_master_that_lacks_clients_says_so_after_a_start_of_its_sidecar() -> None:
    """Or the held node that has them would wipe them."""
    world, a, b = empty_copy()
    world.run(0.2)
    world.move_vip("b")
    world.run(LISTEN + 0.1)
    assert b.plays(Role.MASTER)
    b.kill_sidecar()
    b.start()
    world.run(0.1)
    assert said(b, world).sync is Sync.SYNCING
    assert said(b, world).origin == Epoch(1, NodeName("a"))
    mend(world)
    world.run(KEEP + 1.0)
    assert a.plays(Role.HELD)
    assert a.figures.clients == 20


@pytest.mark.parametrize("holds", [False, True])
def test_a_start_of_the_sidecar_changes_nothing_that_a_source_says(holds: bool) -> None:
    world, a, _ = late_epoch()
    if holds:
        a.set_vip(False)
        world.run(0.1)
    before = said(a, world)
    a.kill_sidecar()
    a.start()
    world.run(0.2)
    after = said(a, world)
    assert (after.role, after.epoch) == (before.role, before.epoch)
    assert (after.origin, after.sync) == (before.origin, before.sync)
    assert after.origin == Epoch(2, NodeName("b"))


def test_without_a_memory_a_source_says_that_it_does_not_know() -> None:
    """An older sidecar has left nothing."""
    world, a, _ = late_epoch()
    a.kill_sidecar()
    a.memory = None
    a.start()
    world.run(0.2)
    state = said(a, world)
    assert (state.role, state.epoch) == (Role.MASTER, Epoch(3, NodeName("a")))
    assert (state.origin, state.sync) == (NO_EPOCH, Sync.NONE)
