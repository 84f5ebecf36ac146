"""New clients wait until they are protected, and never for nothing."""

from __future__ import annotations

from ovpnha.model import Role
from ovpnha.node.master.protection import BOUNDS, MISSES, RECENT, RENEW_AFTER, Protection
from tests.model_cluster import ModelNode, World
from tests.unit.node.doubles import Desk, uid

WAIT = 0.1
NOW = 0.0


class Waiting(Desk):
    """A master's protection; a standby is in sync unless told otherwise."""

    def __init__(self, wait: float = WAIT, *, ready: bool = True) -> None:
        super().__init__()
        self.protection = Protection(self.openvpn, wait)
        self.protection.set_ready(ready, NOW)

    def miss(self, count: int, now: float = 0.0) -> None:
        """So many clients wait in vain, one after the other."""
        for number in range(count):
            self.protection.arrive(uid(100 + number), now)
            self.protection.handle_timer(now + WAIT)


def release(number: int) -> str:
    return f"cluster-release {uid(number).hex()}"


def test_waiting_follows_whether_a_standby_is_in_sync() -> None:
    desk = Waiting(ready=False)
    assert desk.commands() == []
    desk.protection.set_ready(True, NOW)
    desk.protection.set_ready(True, NOW)
    assert desk.commands() == ["cluster-wait on 3"]
    desk.protection.set_ready(False, NOW)
    assert desk.commands() == ["cluster-wait off"]
    assert desk.logs == []


def test_a_client_goes_on_as_soon_as_it_is_protected() -> None:
    desk = Waiting()
    desk.commands()
    desk.protection.arrive(uid(1), 0.0)
    desk.protection.reach(uid(1), 0.004)
    assert desk.commands() == [release(1)]
    assert desk.protection.get_timer() == RENEW_AFTER
    desk.protection.reach(uid(1), 0.005)
    desk.protection.handle_timer(WAIT)
    assert desk.commands() == []
    assert desk.openvpn.counters == {"released_by_ack": 1}


def test_a_client_goes_on_at_its_deadline() -> None:
    desk = Waiting()
    desk.commands()
    desk.protection.arrive(uid(1), 0.0)
    desk.protection.arrive(uid(2), 0.05)
    assert desk.protection.get_timer() == WAIT
    desk.protection.handle_timer(0.09)
    assert desk.commands() == []
    desk.protection.handle_timer(WAIT)
    assert desk.commands() == [release(1)]
    assert desk.protection.get_timer() == 0.05 + WAIT
    desk.protection.reach(uid(1), 0.12)
    assert desk.commands() == []
    assert desk.openvpn.counters == {"released_by_deadline": 1}
    assert desk.protection.times().recent == (0.12,)


def test_a_client_that_connects_again_has_its_whole_time() -> None:
    desk = Waiting()
    desk.protection.arrive(uid(1), 0.0)
    desk.protection.arrive(uid(2), 0.01)
    desk.protection.arrive(uid(1), 0.05)
    assert desk.protection.get_timer() == 0.01 + WAIT


def test_a_client_that_is_gone_is_not_waited_for() -> None:
    desk = Waiting()
    desk.commands()
    desk.protection.arrive(uid(1), 0.0)
    desk.protection.leave(uid(1))
    desk.protection.handle_timer(0.9)
    desk.protection.reach(uid(1), 0.9)
    assert desk.commands() == []


def test_nobody_waits_after_deadlines_missed_in_a_row() -> None:
    desk = Waiting()
    desk.miss(MISSES - 1)
    desk.protection.arrive(uid(1), 0.0)
    desk.protection.reach(uid(1), 0.01)  # the row is broken
    desk.miss(MISSES - 1, 1.0)
    assert "cluster-wait off" not in desk.commands()
    desk.protection.arrive(uid(2), 2.0)
    desk.protection.arrive(uid(3), 2.01)
    desk.protection.handle_timer(2.0 + WAIT)
    assert desk.commands() == [release(2), "cluster-wait off"]
    assert [one.event for one in desk.logs] == ["new clients do not wait"]
    assert desk.protection.get_timer() is None
    desk.protection.arrive(uid(4), 3.0)
    assert desk.protection.get_timer() is None


def test_waiting_comes_back_when_a_client_is_protected_in_time() -> None:
    desk = Waiting()
    desk.miss(MISSES)
    desk.protection.arrive(uid(1), 1.0)
    desk.protection.arrive(uid(2), 1.0)
    desk.commands()
    desk.protection.reach(uid(1), 2.0)
    assert desk.commands() == []
    desk.protection.reach(uid(2), 1.0 + WAIT / 2)
    assert desk.commands() == ["cluster-wait on 3"]


def test_waiting_comes_back_when_a_standby_comes_in_sync() -> None:
    desk = Waiting()
    desk.miss(MISSES)
    desk.protection.set_ready(False, NOW)
    desk.commands()
    desk.protection.set_ready(True, NOW)
    assert desk.commands() == ["cluster-wait on 3"]


def test_what_was_ordered_of_a_master_counts_for_nothing_afterwards() -> None:
    desk = Waiting()
    desk.protection.arrive(uid(1), 0.0)
    desk.commands()
    desk.protection.stop()
    desk.protection.handle_timer(1.0)
    assert desk.commands() == []
    desk.protection.set_ready(True, NOW)
    assert desk.commands() == ["cluster-wait on 3"]


def test_without_a_time_nobody_waits_but_times_are_taken() -> None:
    desk = Waiting(wait=0.0)
    desk.protection.arrive(uid(1), 0.0)
    desk.protection.reach(uid(1), 0.003)
    assert desk.commands() == []
    assert desk.protection.times().recent == (0.003,)


def test_times_are_counted_in_a_histogram_and_the_last_ones_kept() -> None:
    desk = Waiting()
    for number in range(RECENT + 1):
        desk.protection.arrive(uid(number), 0.0)
        desk.protection.reach(uid(number), 0.002 if number else 9.0)
    times = desk.protection.times()
    assert len(times.recent) == RECENT
    assert set(times.recent) == {0.002}
    assert [times.buckets[bound] for bound in BOUNDS[:3]] == [0, RECENT, RECENT]
    assert times.buckets[float("inf")] == RECENT + 1
    assert round(times.total, 3) == 11.0


# Whole nodes.


def pair() -> tuple[World, ModelNode, ModelNode]:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(2)
    assert a.plays(Role.MASTER)
    assert b.in_sync
    return world, a, b


def connect(node: ModelNode) -> bytes:
    assert node.openvpn is not None
    client = node.openvpn.connect_client()
    node.pump()
    return client


def test_a_client_is_connected_only_once_a_standby_has_it() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    assert b.openvpn is not None
    client = connect(a)
    assert a.openvpn.held_back == {client}
    while a.openvpn.held_back:
        world.run(0.001)
    assert client in b.openvpn.clients
    assert a.figures.openvpn.counters["released_by_ack"] == 1
    assert len(a.figures.exporter.protect_times.recent) == 1
    assert a.figures.exporter.protect_times.recent[0] < WAIT


def test_a_client_gets_its_new_key_only_once_a_standby_has_it() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    assert b.openvpn is not None
    client = connect(a)
    world.run(1)
    a.openvpn.make_pending(client)
    a.pump()
    pending = a.openvpn.clients[client].keys[0].fingerprint
    assert a.openvpn.messages_held == {client}
    while a.openvpn.messages_held:
        world.run(0.001)
    assert pending in [key.fingerprint for key in b.openvpn.clients[client].keys]
    assert b.openvpn.clients[client].keys[0].imported  # packet ids for it
    assert a.figures.openvpn.counters["released_by_ack"] == 2
    world.run(1)
    assert b.openvpn.table() == a.openvpn.table()


def test_a_cut_costs_a_new_key_its_deadline() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    client = connect(a)
    world.run(1)
    b.reachable = False
    a.openvpn.make_pending(client)
    a.pump()
    world.run(WAIT / 2)
    assert a.openvpn.messages_held == {client}
    world.run(WAIT / 2 + 0.01)
    assert not a.openvpn.messages_held
    assert a.figures.openvpn.counters["released_by_deadline"] == 1


def test_a_cut_costs_three_clients_their_deadline_and_no_more() -> None:
    world, a, b = pair()
    assert a.openvpn is not None
    b.reachable = False
    for number in range(1, MISSES + 1):
        client = connect(a)
        world.run(WAIT / 2)
        assert a.openvpn.held_back == {client}
        world.run(WAIT / 2 + 0.01)
        assert not a.openvpn.held_back
        assert a.figures.openvpn.counters["released_by_deadline"] == number
    connect(a)
    assert not a.openvpn.held_back
    b.reachable = True
    world.run(5)
    assert connect(a) in a.openvpn.held_back
    world.run(WAIT)
    assert not a.openvpn.held_back


def test_nobody_waits_without_a_standby() -> None:
    world = World()
    a = world.add("a")
    world.move_vip("a")
    world.run(2)
    connect(a)
    assert a.openvpn is not None
    assert not a.openvpn.held_back


def test_a_master_that_was_held_lets_new_clients_wait_again() -> None:
    world, a, _ = pair()
    assert a.openvpn is not None
    a.set_vip(False)
    world.run(0.1)
    assert not a.openvpn.holds_new
    a.set_vip(True)
    world.run(0.1)
    assert a.openvpn.holds_new
    a.kill_sidecar()
    assert not a.openvpn.holds_new
    a.start()
    world.run(3)
    assert a.openvpn.holds_new


def test_openvpn_hears_again_and_again_that_it_is_to_wait() -> None:
    """Else it would wait for a sidecar that hangs."""
    desk = Waiting()
    desk.commands()
    assert desk.protection.get_timer() == RENEW_AFTER
    desk.protection.handle_timer(RENEW_AFTER)
    assert desk.commands() == ["cluster-wait on 3"]
    assert desk.protection.get_timer() == 2 * RENEW_AFTER
    desk.protection.set_ready(False, RENEW_AFTER)
    assert desk.commands() == ["cluster-wait off"]
    assert desk.protection.get_timer() is None


def test_a_wait_is_counted_below_the_first_bound_that_it_does_not_exceed() -> None:
    """An operator's queries name these bounds."""
    bounds = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, float("inf"))
    desk = Waiting()
    for number, bound in enumerate(bounds):
        desk.protection.arrive(uid(number), 0.0)
        desk.protection.reach(uid(number), min(bound, 9.0))
    buckets = desk.protection.times().buckets
    assert tuple(buckets.items()) == tuple(zip(bounds, range(1, 13), strict=True))
