"""What the history says of a cluster in virtual time."""

from __future__ import annotations

from ovpnha.model import Role
from ovpnha.node.outputs import HistoryChanged
from ovpnha.replication.history import HistoryEntry
from tests.model_cluster import INSTANCE, ModelNode, World
from tests.unit.node.test_takeover import connect, serve


def history(node: ModelNode) -> list[HistoryEntry]:
    assert node.node is not None
    return list(node.node.history())


def moves(node: ModelNode, of: str) -> list[tuple[Role, Role]]:
    return [(one.old, one.new) for one in history(node) if one.node == of]


def last(node: ModelNode, of: str, new: Role = Role.MASTER) -> HistoryEntry:
    own = [one for one in history(node) if one.node == of and one.new is new]
    return max(own, key=lambda one: one.epoch)


def fail_over(count: int = 10) -> tuple[World, ModelNode, ModelNode]:
    world, a, b = serve(count)
    a.kill()
    world.move_vip("b")
    return world, a, b


def test_both_nodes_know_every_change_of_both() -> None:
    world, a, b = serve()
    world.run(2.0)
    wanted = [(Role.INIT, Role.STANDBY), (Role.STANDBY, Role.MASTER)]
    for node in (a, b):
        assert sorted(moves(node, "a"), key=str) == sorted(wanted, key=str)
        assert moves(node, "b") == wanted[:1]
    assert sorted(history(a), key=str) == sorted(history(b), key=str)


def test_a_promotion_says_what_it_took_and_what_became_of_the_clients() -> None:
    world, _, b = fail_over(10)
    world.run(0.001)
    at_once = last(b, "b")
    assert at_once.figures["clients"] == 10
    assert at_once.figures["ordered"] == 0.0
    assert at_once.figures["silent"] >= 0.0
    assert at_once.reason == "the VIP arrived, or was promised"
    world.run(60.0)
    later = last(b, "b")
    assert (later.key, later.when) == (at_once.key, at_once.when)
    assert later.revision > at_once.revision
    assert later.figures["published"] >= later.figures["promoted"]
    assert later.figures["rekeyed"] == 10
    assert later.figures["rekey_pending"] == later.figures["lacking"] == 0
    assert sum(one.key == at_once.key for one in history(b)) == 1


def test_it_says_so_as_soon_as_all_have_new_keys() -> None:
    world, _, b = fail_over(10)
    assert b.node is not None
    rekey = b.node.instance(INSTANCE).parts.rekey
    world.run_until(lambda: rekey.statistics(world.now).done == 10, 60.0)
    world.run(0.1)
    figures = last(b, "b").figures
    assert (figures["rekeyed"], figures["rekey_pending"]) == (10, 0)


def test_what_a_promotion_is_told_of_is_bounded() -> None:
    world, _, b = fail_over(50)
    world.run(60.0)
    assert last(b, "b").revision <= 3
    connect(b, 5)
    world.run(5.0)
    assert last(b, "b").revision <= 3


def test_a_node_that_was_dead_hears_what_happened() -> None:
    world, a, b = fail_over()
    world.run(20.0)
    a.start_openvpn()
    a.start()
    world.run(10.0)
    assert history(a) == history(b)
    assert last(a, "b").figures["clients"] == 10


def test_the_end_of_a_role_ends_what_is_told_of_it() -> None:
    world, _, b = fail_over()
    world.run(0.5)
    world.move_vip("a")
    world.run(0.5)
    final = last(b, "b")
    assert [one.new for one in history(b) if one.node == "b"].count(Role.HELD) == 1
    held = last(b, "b", Role.HELD)
    assert set(held.figures) == {"clients"}
    world.run(20.0)
    assert last(b, "b") == final


def test_a_return_says_its_own_figures() -> None:
    world, a, b = serve()
    world.move_vip(None)
    world.run(0.5)
    world.move_vip("a")
    world.run(5.0)
    resumed = [one for one in history(a) if one.node == "a" and one.old is Role.HELD]
    assert [set(one.figures) for one in resumed] == [{"clients"}]
    del b


def test_a_sidecar_that_starts_again_and_again_is_one_entry() -> None:
    world, _, b = serve()
    for _ in range(3):
        kept = history(b)
        b.kill_sidecar()
        b.start(kept)
        world.run(1.0)
    found = [one for one in history(b) if one.node == "b" and one.old is Role.INIT]
    (entry,) = found
    assert entry.figures["times"] == 4.0
    assert entry.figures["until"] > 1000.0
    assert entry.revision == 3


def test_entries_of_one_moment_keep_their_order_and_a_clock_may_be_set_back() -> None:
    _, a, _ = serve()
    assert a.node is not None
    own = [one for one in history(a) if one.node == "a"]
    assert [one.new for one in own] == [Role.STANDBY, Role.MASTER]
    [chronicle] = a.node._chronicles.values()
    assert [chronicle._take_moment(now) for now in (5.0, 5.0, 4.5)] == [5.0, 5.000001, 5.000002]
    assert chronicle._take_moment(3.0) == 3.0


def test_the_shell_is_told_of_each_entry_and_of_those_of_others() -> None:
    world, a, b = serve()
    b.outputs.clear()
    a.kill()
    world.move_vip("b")
    world.run(1.0)
    told = [one.entry for one in b.outputs if isinstance(one, HistoryChanged)]
    assert {one.key for one in told} == {last(b, "b").key}
    assert told[-1] == last(b, "b")
