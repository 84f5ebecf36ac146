"""After a promotion clients get keys of this node: who, in which order, how fast."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable

import pytest

from ovpnha.management.replies import MovedClient
from ovpnha.model import RekeyPolicy, Role, Uid
from ovpnha.node.master.pacing import BEHIND_LIMIT, FIRST_WINDOW, LATE
from ovpnha.node.master.rekey import CAUGHT_PATIENCE, QUIET, ROOM_STEP, SHORT, Rekey, RekeyProgress
from tests.model_cluster import ModelNode, World
from tests.unit.node.doubles import Desk, uid

RATE = 10.0
SPARE = ROOM_STEP * 10


def moved(numbers: Iterable[int], *, unattended: bool = True) -> dict[Uid, MovedClient]:
    return {uid(number): MovedClient(SPARE, unattended) for number in numbers}


def renegotiate(number: int) -> str:
    return f"cluster-reneg {uid(number).hex()} {RATE:.0f}"


class Rekeying(Desk):
    """A node that is to be promoted."""

    def __init__(self, policy: RekeyPolicy = RekeyPolicy.AUTO) -> None:
        super().__init__()
        self.rekey = Rekey(self.openvpn, policy, RATE)

    def run(self, until: float, *, silent: Collection[int] = ()) -> list[tuple[float, str]]:
        """Follow the timer, clients answering at once; the commands, with their times."""
        seen = []
        quiet = {uid(number).hex() for number in silent}
        while (due := self.rekey.get_timer()) is not None and due <= until:
            self.rekey.handle_timer(due)
            fresh = self.commands()
            seen += [(due, command) for command in fresh]
            for name in {command.split()[1] for command in fresh} - quiet:
                self.rekey.rekeyed(Uid(bytes.fromhex(name)), due)
        return seen


def test_clients_are_renegotiated_at_the_rate_least_room_first() -> None:
    desk = Rekeying()
    desk.rekey.promote([], 0.0)
    few = {uid(7): MovedClient(ROOM_STEP, unattended=True)}
    desk.rekey.take_list(moved(range(3)) | few, 5.0)
    seen = desk.run(10.0)
    assert [command for _, command in seen] == [renegotiate(number) for number in (7, 0, 1, 2)]
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
    assert desk.run(0.1, silent=[0]) == [(0.1, renegotiate(0))]
    assert [(one.event, one.fields["left"]) for one in desk.logs] == [("rekeying", 1)]
    desk.rekey.rekeyed(uid(1), 0.1)
    desk.rekey.leave(uid(0))
    assert desk.run(10.0, silent=[2])[-1][1] == renegotiate(2)
    progress = desk.rekey.statistics(0.0)
    assert (progress.pending, progress.done, progress.left) == (1, 1, 1)
    desk.rekey.rekeyed(uid(2), 10.0)
    desk.rekey.rekeyed(uid(9), 10.0)  # the client itself began
    assert desk.commands() == []
    assert [one.event for one in desk.logs] == ["rekeyed"]
    progress = desk.rekey.statistics(0.0)
    assert (progress.pending, progress.done, progress.left) == (0, 2, 0)
    assert desk.rekey.get_timer() is None


@pytest.mark.parametrize(
    ("policy", "ordered", "left"),
    [(RekeyPolicy.AUTO, 1, 1), (RekeyPolicy.ALWAYS, 2, 0), (RekeyPolicy.NEVER, 0, 2)],
)
def test_policies(policy: RekeyPolicy, ordered: int, left: int) -> None:
    desk = Rekeying(policy)
    desk.rekey.take_list(moved([0]) | moved([1], unattended=False), 0.0)
    assert desk.rekey.statistics(0.0).left == left
    assert len(desk.run(10.0)) == ordered


def test_a_second_list_orders_nobody_twice() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(2)), 0.0)
    desk.rekey.take_list(moved(range(3)), 0.0)
    assert [command for _, command in desk.run(9.0)] == [renegotiate(number) for number in range(3)]


def test_held_pauses_and_a_demote_ends_it() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(3)), 0.0)
    assert desk.run(0.1, silent=[0]) == [(0.1, renegotiate(0))]
    desk.rekey.pause()
    desk.rekey.take_list(moved([8]), 1.0)
    desk.rekey.handle_timer(1.0)
    desk.rekey.rekeyed(uid(0), 1.0)
    assert desk.rekey.get_timer() is None
    assert desk.commands() == []
    desk.rekey.resume(2.0)
    assert [command for _, command in desk.run(9.0)] == [renegotiate(1), renegotiate(2)]
    desk.rekey.stop(9.0)
    assert desk.rekey.statistics(0.0).pending == 0
    desk.rekey.resume(9.0)
    assert desk.rekey.get_timer() is None


def test_a_client_caught_in_a_renegotiation_has_its_turn_late() -> None:
    desk = Rekeying()
    desk.rekey.promote([uid(0), uid(2), uid(3)], 0.0)
    desk.rekey.leave(uid(3))
    desk.rekey.take_list(moved([0, 1, 2]), 0.0)
    assert desk.run(QUIET + 1.0) == [(QUIET, renegotiate(1))]
    desk.rekey.rekeyed(uid(2), QUIET + 1.0)  # it has finished
    assert desk.run(2 * CAUGHT_PATIENCE) == [(CAUGHT_PATIENCE, renegotiate(0))]


def test_the_quiet_does_not_hold_for_whom_few_packet_ids_are_left_to() -> None:
    desk = Rekeying()
    desk.rekey.promote([], 0.0)
    few = {uid(7): MovedClient(SHORT - 1, unattended=True)}
    desk.rekey.take_list(moved([1]) | few, 0.0)
    assert desk.run(QUIET - 0.1) == [(1.0 / RATE, renegotiate(7))]
    assert desk.run(QUIET) == [(QUIET, renegotiate(1))]


def test_nor_when_no_client_may_hear_us_before() -> None:
    desk = Rekeying()
    desk.rekey.resume(0.0)
    desk.rekey.take_list(moved([1]), 0.0)
    desk.rekey.hurry()
    assert desk.run(QUIET - 0.1) == [(1.0 / RATE, renegotiate(1))]


def test_a_young_key_is_renegotiated_when_it_is_not() -> None:
    desk = Rekeying()
    young = {uid(7): MovedClient(SPARE, unattended=True, wait=30.0)}
    desk.rekey.take_list(moved([1]) | young, 5.0)
    assert desk.run(60.0)[-1] == (35.0, renegotiate(7))


def test_nobody_is_ordered_anything_but_a_renegotiation_if_some_are_silent() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(30)), 0.0)
    seen = [command for _, command in desk.run(600.0, silent=range(30))]
    assert sorted(seen) == sorted(renegotiate(number) for number in range(30))
    assert desk.rekey.statistics(0.0).pending == 30


def test_few_are_asked_before_the_first_has_answered() -> None:
    desk = Rekeying()
    desk.rekey.take_list(moved(range(100)), 0.0)
    seen = desk.run(LATE - 0.1, silent=range(100))
    assert len(seen) == FIRST_WINDOW


def test_an_administrator_has_all_renegotiated_at_the_same_pace() -> None:
    desk = Rekeying()
    desk.rekey.order([uid(number) for number in range(20)], 1000.0, 0.0)
    desk.rekey.order([uid(3)], 1000.0, 0.0)  # has been asked for already
    seen = [command for _, command in desk.run(1.0, silent=range(20))]
    assert seen == [renegotiate(number) for number in range(int(FIRST_WINDOW))]
    desk.rekey.leave(uid(5))
    for number in [*range(5), *range(6, 20)]:
        desk.rekey.renegotiated(uid(number), 1.0 + number)
        seen += desk.commands()
    assert seen == [renegotiate(number) for number in range(20) if number != 5]
    assert desk.rekey.statistics(0.0) == RekeyProgress(0, 0, 0)


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
    world.run(QUIET)
    assert b.plays(Role.MASTER)
    assert orders(b) == 0
    world.run(0.3)
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
    world.run(3 + QUIET)
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
    world.run(CAUGHT_PATIENCE - 1)
    assert b.figures.rekey.pending == 1
    assert f"cluster-reneg {client.hex()} {RATE:.0f}" not in b.openvpn.commands
    world.run(2)
    assert f"cluster-reneg {client.hex()} {RATE:.0f}" in b.openvpn.commands
