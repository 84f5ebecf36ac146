"""A standby throws its copy away and fetches it anew, when an administrator wants that."""

from __future__ import annotations

from ovpnha.model import Role, Sync
from tests.model_cluster import INSTANCE, ModelNode
from tests.unit.node.test_takeover import connect, serve


def resync(node: ModelNode) -> bool:
    taken: list[bool] = []
    node.step(lambda core, now: taken.append(core.ask_resync(INSTANCE, now)))
    return taken[0]


def test_the_copy_is_fetched_anew_under_a_new_holder_id() -> None:
    world, a, b = serve(20)
    assert b.openvpn is not None
    holder = b.openvpn.holder
    assert resync(b)
    assert b.figures.sync is Sync.SYNCING
    assert not resync(b)  # one at a time
    world.run_until(lambda: b.in_sync)
    assert b.openvpn.holder != holder
    assert b.plays(Role.STANDBY)
    assert world.same_tables("a", "b")
    world.run_until(lambda: a.figures.exporter.protected == 20)
    assert [one.new for one in b.roles] == [Role.STANDBY]


def test_what_is_fetched_anew_can_take_over() -> None:
    world, a, b = serve(20)
    connect(a, 1)
    assert resync(b)
    world.run_until(lambda: b.in_sync)
    world.run_until(lambda: a.figures.exporter.protected == 21)
    before = a.openvpn.table() if a.openvpn is not None else {}
    a.kill()
    world.move_vip("b")
    world.run(0.1)
    assert b.openvpn is not None
    assert b.openvpn.table() == before
    assert all(b.openvpn.send_packet(uid) for uid in before)


def test_no_last_copy_is_thrown_away() -> None:
    world, a, b = serve()
    assert not resync(a)
    a.kill()
    world.run(5.0)
    assert not resync(b)
    b.set_vip(True)
    assert not resync(b)
    world.run(0.1)
    assert b.figures.clients == 10


def test_no_copy_is_thrown_away_that_is_promised_the_vip() -> None:
    _, _, b = serve()
    assert b.node is not None
    b.node._instances[INSTANCE].parts.vip.promise(1e9)
    assert not resync(b)


def test_no_copy_is_thrown_away_of_clients_that_the_master_lacks() -> None:
    """The VIP was left with an OpenVPN that lost everything: what is here is nowhere else."""
    world, a, b = serve()
    a.kill_openvpn()
    world.run(0.1)
    a.start_openvpn()
    world.run(3.0)
    assert a.plays(Role.MASTER)
    assert (a.figures.clients, b.figures.clients) == (0, 10)
    assert b.figures.importer.following == "a"
    assert not resync(b)
    world.run(0.5)
    assert b.figures.clients == 10


def test_a_wipe_that_is_lost_with_the_channel_is_ordered_again() -> None:
    world, _, b = serve(20)
    assert b.openvpn is not None
    holder = b.openvpn.holder
    b.busy = 0.01
    assert resync(b)
    lose_what_is_written(b)
    world.run(0.001)
    assert b.openvpn.holder == holder
    b.busy = 0.0
    world.run_until(lambda: b.in_sync)
    assert b.openvpn.holder != holder
    assert b.openvpn.commands.count("cluster-demote") == 1
    assert world.same_tables("a", "b")


def test_a_wipe_that_was_lost_is_not_ordered_of_the_last_copy() -> None:
    world, a, b = serve(20)
    b.busy = 0.01
    assert resync(b)
    lose_what_is_written(b)
    a.kill()
    world.move_vip("b")
    b.busy = 0.0
    world.run(5.0)
    assert b.figures.clients == 20
    assert b.plays(Role.MASTER)


def lose_what_is_written(node: ModelNode) -> None:
    """The management channel breaks before OpenVPN has read what was written last."""
    assert node.openvpn is not None
    node.openvpn.notify("what is this")
    node.pump()
