"""After a promotion clients get keys of this node: who, in which order, how fast."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from ovpnha.coordinator.rekey import BEHIND_LIMIT, CAUGHT_KICKS, CAUGHT_PATIENCE, ROOM_STEP, Rekey
from ovpnha.management.replies import MovedClient
from ovpnha.model import RekeyPolicy, Role, Uid
from ovpnha.store.standby import Copy, StandbyTable
from tests.model_cluster import ModelNode, World
from tests.unit.coordinator.desk import EPOCH, Desk, uid

RATE = 10.0
SPARE = ROOM_STEP * 10


def moved(numbers: Iterable[int], *, unattended: bool = True) -> dict[Uid, MovedClient]:
    return {uid(number): MovedClient(SPARE, unattended) for number in numbers}


def renegotiate(number: int) -> str:
    return f"cluster-reneg {uid(number).hex()} {RATE:.0f}"


def kick(number: int) -> str:
    return f"cluster-kick {uid(number).hex()}"


class Rekeying(Desk):
    """A node that is to be promoted."""

    def __init__(self, policy: RekeyPolicy = RekeyPolicy.AUTO) -> None:
        super().__init__()
        self.rekey = Rekey(self.openvpn, policy, RATE)
        self.table = StandbyTable()

    def store(self, number: int, generation: int = 1) -> None:
        self.table.store(uid(number), Copy(generation, (), EPOCH))

    def run(self, until: float) -> list[tuple[float, str]]:
        """Follow the timer; the commands, with their times."""
        seen = []
        while (due := self.rekey.get_timer()) is not None and due <= until:
            self.rekey.handle_timer(due)
            seen += [(due, command) for command in self.commands()]
        return seen


def test_clients_are_renegotiated_at_the_rate_least_room_first() -> None:
    desk = Rekeying()
    desk.rekey.promote(desk.table, 0.0)
    few = {uid(7): MovedClient(ROOM_STEP, unattended=True)}
    desk.rekey.take_list(moved(range(3)) | few, 5.0)
    seen = desk.run(10.0)
    assert [command for _, command in seen] == [renegotiate(number) for number in (7, 0, 1, 2)]
    assert seen[0][0] == 5.0
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(seen)]
    assert all(0.49 / RATE <= gap <= 1.51 / RATE for gap in gaps)
    assert len(set(gaps)) > 1  # jitter


def test_a_late_timer_does_not_cause_a_burst() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(100)), 0.0)
    desk.rekey.handle_timer(60.0)
    assert 1 <= len(desk.commands()) <= 1 + BEHIND_LIMIT * RATE * 2


def test_progress_ends_with_the_last_client() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(3)) | moved([9], unattended=False), 0.0)
    assert desk.commands() == []
    assert [(one.event, one.fields["left"]) for one in desk.logs] == [("rekeying", 1)]
    desk.rekey.rekeyed(uid(1))
    desk.rekey.leave(uid(0))
    assert desk.run(10.0)[-1][1] == renegotiate(2)
    progress = desk.rekey.progress()
    assert (progress.pending, progress.done, progress.left) == (1, 1, 1)
    desk.rekey.rekeyed(uid(2))
    desk.rekey.rekeyed(uid(9))  # the client itself began
    assert desk.commands() == []
    assert [one.event for one in desk.logs] == ["rekeyed"]
    progress = desk.rekey.progress()
    assert (progress.pending, progress.done, progress.left) == (0, 2, 0)
    assert desk.rekey.get_timer() is None


@pytest.mark.parametrize(
    ("policy", "ordered", "left"),
    [(RekeyPolicy.AUTO, 1, 1), (RekeyPolicy.ALWAYS, 2, 0), (RekeyPolicy.NEVER, 0, 2)],
)
def test_policies(policy: RekeyPolicy, ordered: int, left: int) -> None:
    desk = Rekeying(policy)
    desk.rekey.take_list(moved([0]) | moved([1], unattended=False), 0.0)
    assert desk.rekey.progress().left == left
    assert len(desk.run(10.0)) == ordered


def test_a_second_list_orders_nobody_twice() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(2)), 0.0)
    desk.rekey.take_list(moved(range(3)), 0.0)
    assert [command for _, command in desk.run(9.0)] == [renegotiate(number) for number in range(3)]


def test_held_pauses_and_a_demote_ends_it() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(3)), 0.0)
    desk.rekey.handle_timer(0.0)
    desk.commands()
    desk.rekey.pause()
    desk.rekey.take_list(moved([8]), 1.0)
    desk.rekey.handle_timer(1.0)
    assert desk.rekey.get_timer() is None
    assert desk.commands() == []
    desk.rekey.resume(2.0)
    assert [command for _, command in desk.run(9.0)] == [renegotiate(1), renegotiate(2)]
    desk.rekey.stop()
    assert desk.rekey.progress().pending == 0
    desk.rekey.resume(9.0)
    assert desk.rekey.get_timer() is None


def test_a_client_caught_in_a_renegotiation_may_finish_it() -> None:
    desk = Rekeying()
    for number in range(4):
        desk.store(number)
        desk.rekey.hear(uid(number), 1)
    desk.store(1, 2)  # its new key has come
    desk.rekey.hear(uid(5), 1)  # never imported
    desk.rekey.leave(uid(3))
    desk.rekey.promote(desk.table, 0.0)
    desk.rekey.take_list(moved([0, 1, 2]), 0.0)
    desk.rekey.rekeyed(uid(2))
    seen = desk.run(60.0)
    assert [command for at, command in seen if at < CAUGHT_PATIENCE] == [renegotiate(1)]
    assert [command for at, command in seen if at >= CAUGHT_PATIENCE] == [kick(0)] * CAUGHT_KICKS
    assert desk.openvpn.counters["caught_kicked"] == CAUGHT_KICKS


# Whole nodes.


def pair(policy: RekeyPolicy = RekeyPolicy.AUTO) -> tuple[World, ModelNode, ModelNode]:
    world = World()
    a, b = (world.add(name, rekey_after_promotion=policy, rekey_rate=RATE) for name in ("a", "b"))
    world.move_vip("a")
    world.run(2)
    assert a.openvpn is not None
    for number in range(10):
        a.openvpn.connect_client(f"client{number}")
    a.pump()
    world.run(1)
    assert b.in_sync
    return world, a, b


def orders(node: ModelNode) -> int:
    assert node.openvpn is not None
    return sum(command.startswith("cluster-reneg") for command in node.openvpn.commands)


def test_a_promoted_node_rekeys_everyone() -> None:
    world, a, b = pair()
    a.kill()
    world.move_vip("b")
    world.run(0.3)
    assert b.plays(Role.MASTER)
    assert 0 < b.figures.rekey.done < 10
    world.run(3)
    assert (b.figures.rekey.pending, b.figures.rekey.done) == (0, 10)
    assert orders(b) == 10


def test_a_restarted_sidecar_goes_on_rekeying() -> None:
    world, a, b = pair()
    a.kill()
    world.move_vip("b")
    world.run(0.3)
    done = b.figures.rekey.done
    b.kill_sidecar()
    b.start()
    world.run(4)
    assert b.figures.rekey.done == 10 - done
    assert orders(b) == 10


def test_a_master_that_loses_the_vip_stops_and_goes_on() -> None:
    world, a, b = pair()
    a.kill()
    world.move_vip("b")
    world.run(0.3)
    b.set_vip(False)
    world.run(0.1)
    before = orders(b)
    world.run(3)
    assert b.plays(Role.HELD)
    assert orders(b) == before
    b.set_vip(True)
    world.run(3)
    assert b.figures.rekey.done == 10


def test_never_leaves_everyone() -> None:
    world, a, b = pair(RekeyPolicy.NEVER)
    a.kill()
    world.move_vip("b")
    world.run(3)
    assert orders(b) == 0
    assert b.figures.rekey.left == 10


@pytest.mark.parametrize("old_key_goes", [False, True])
def test_the_start_of_a_renegotiation_is_known_to_the_standby(old_key_goes: bool) -> None:
    """Also when it begins with a new generation: the key before the last one has gone."""
    world, a, b = pair()
    assert a.openvpn is not None
    assert b.openvpn is not None
    client = next(iter(a.openvpn.clients))
    if old_key_goes:
        a.openvpn.clients[client].generation += 1
        a.openvpn.notify(f">CLUSTER:CHANGED,{client.hex()},2,0,keys")
    generation = a.openvpn.clients[client].generation
    a.openvpn.notify(f">CLUSTER:RENEG,{client.hex()},1,{generation}")
    a.pump()
    world.run(0.5)
    a.kill()
    world.move_vip("b")
    world.run(CAUGHT_PATIENCE + 1)
    assert f"cluster-kick {client.hex()}" in b.openvpn.commands
    assert f"cluster-reneg {client.hex()} {RATE:.0f}" not in b.openvpn.commands
