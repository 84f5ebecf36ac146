"""Nodes whose OpenVPN has not the patch: roles, leases, the pool file, and who is beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ovpnha.model import Grade, InstanceState, NodeName, Role, ServerClient, StockState, Sync
from ovpnha.node.cluster.two_masters import ALARM_AFTER
from ovpnha.node.cluster.view import ClusterView
from ovpnha.node.outputs import KeepPool, ProbeClients, WriteManagement
from ovpnha.node.stock import pool as pools
from ovpnha.node.stock import stock as stocks
from ovpnha.node.stock.pool import AWAY_FOR, AddressPool, find_addresses, is_safe
from ovpnha.node.stock.stock import (
    ASK_EVERY,
    ASK_LESS,
    MOVED_NOTABLE,
    PROBE_AFTER,
    PROBE_EVERY,
    STARTS_WITHIN,
)
from ovpnha.node.stocksteps import choose_stock
from ovpnha.problems import ProblemKind
from ovpnha.replication.events import RecordReceived
from ovpnha.replication.leases import FORMAT, Lease, pack_lease
from tests.model_cluster import INSTANCE, ModelNode, World
from tests.unit.node.doubles import A, B, C, record, state

SIGNAL = b"signal SIGUSR1\n"


def lease(name: str = "one", virtual: str = "10.8.0.6", virtual6: str = "") -> Lease:
    return Lease(FORMAT, name, "UNDEF", "192.0.2.1:5000", virtual, virtual6, 1790000000)


def pair(count: int = 3, **options: object) -> tuple[World, ModelNode, ModelNode]:
    """Node a has the VIP and so many clients, node b is beside it; neither has the patch."""
    world = World()
    usual: dict[str, Any] = {"patched": False, "stock": True, "pool": "", **options}
    a, b = (world.add(name, **usual) for name in "ab")
    world.run(1)
    world.move_vip("a")
    world.run(1)
    connect(a, count)
    world.run(6)
    return world, a, b


def connect(node: ModelNode, count: int, begin: int = 0, first: int = 10) -> None:
    assert node.openvpn is not None
    for number in range(begin, begin + count):
        node.openvpn.connect_client(f"client-{number}", f"10.8.0.{first + number}")


def files(node: ModelNode) -> list[KeepPool]:
    return [one for one in node.outputs if isinstance(one, KeepPool)]


def orders(node: ModelNode) -> list[bytes]:
    written = [one.data for one in node.outputs if isinstance(one, WriteManagement)]
    return [data for data in written if SIGNAL in data]


def probes(node: ModelNode) -> list[ProbeClients]:
    return [one for one in node.outputs if isinstance(one, ProbeClients)]


def leases_of(node: ModelNode) -> tuple[ServerClient, ...]:
    assert node.node is not None
    return node.node._instances[INSTANCE].parts.stock.clients()


TEXT = "client-0,10.8.0.10,\nclient-1,10.8.0.11,\nclient-2,10.8.0.12,\n"


class TestRoles:
    def test_the_role_is_where_the_vip_is(self) -> None:
        world, a, b = pair()
        assert (a.figures.role, b.figures.role) == (Role.MASTER, Role.STANDBY)
        assert (a.grade, b.grade) == (Grade.MASTER, Grade.IN_SYNC)
        world.move_vip("b")
        world.run(3)
        assert (a.figures.role, b.figures.role) == (Role.STANDBY, Role.MASTER)
        told = [(one.old, one.new) for one in b.roles]
        assert told == [(Role.INIT, Role.STANDBY), (Role.STANDBY, Role.MASTER)]
        for node in (a, b):
            assert node.openvpn is not None
            words = {line.split(" ")[0] for line in node.openvpn.commands}
            ordered = {one for one in words if one.startswith("cluster-")}
            assert ordered == {"cluster-status", "cluster-list"}

    def test_an_openvpn_that_ends_is_a_fault_and_comes_back(self) -> None:
        world, a, _b = pair()
        a.kill_openvpn()
        assert a.plays(Role.FAULT)
        assert a.grade == Grade.FAULT
        a.start_openvpn(patched=False)
        world.run(1)
        assert a.plays(Role.MASTER)

    def test_one_that_hangs_is_a_fault(self) -> None:
        world, a, _b = pair()
        a.busy = 1000.0
        world.run(6)
        assert a.grade == Grade.FAULT

    def test_one_that_was_only_slow_is_taken_up_as_what_it_is(self) -> None:
        world = World()
        a, b = world.add("a", start=False), world.add("b")
        a.start()
        openvpn = a.start_openvpn()
        world.move_vip("a")
        while world.now < 1004:
            openvpn.refuse["cluster-status"] = "not now"
            world.run(0.01)
        assert a.figures.discovery.stock
        assert a.plays(Role.MASTER)
        openvpn.refuse.clear()
        world.run(6)
        assert a.plays(Role.MASTER)
        assert a.figures.discovery.seamless
        assert b.in_sync
        openvpn.connect_client()
        a.pump()
        world.run(1)
        assert a.figures.exporter.protected == 1

    def test_a_demote_lowers_the_grade_so_that_the_vip_moves(self) -> None:
        _world, a, _b = pair()
        a.step(lambda node, now: node.ask_demote(INSTANCE, now))
        assert a.grade == Grade.DEGRADED
        a.step(lambda node, now: node.ask_renegotiate(INSTANCE, None, 50.0, now))
        assert a.openvpn is not None
        assert not [line for line in a.openvpn.commands if "reneg" in line]

    def test_it_stays_low_until_another_node_has_the_vip(self) -> None:
        world, a, b = pair()
        a.step(lambda node, now: node.ask_demote(INSTANCE, now))
        world.move_vip(None)
        world.run(3)
        assert (a.figures.role, a.grade, b.grade) == (Role.STANDBY, Grade.DEGRADED, Grade.IN_SYNC)
        world.move_vip("b")
        world.run(1)
        assert a.grade == Grade.IN_SYNC
        world.move_vip(None)
        world.run(1)
        assert a.grade == Grade.IN_SYNC, "what was asked has been done"

    def test_two_that_have_the_vip_raise_the_alarm(self) -> None:
        world, a, b = pair()
        a.set_vip(True)
        b.set_vip(True)
        world.run(ALARM_AFTER - 0.5)
        assert not b.told_problems
        world.run(1)
        for node, other in ((a, "b"), (b, "a")):
            (problem,) = node.figures.problems
            assert problem.kind is ProblemKind.TWO_MASTERS
            assert problem.text == f"{other} has the VIP too and is master"
            assert len(node.logged("two masters have the vip")) == 1
        world.move_vip("b")
        world.run(1)
        assert not a.figures.problems
        assert not b.figures.problems

    def test_the_alarm_ends_with_the_openvpn(self) -> None:
        world, a, b = pair()
        a.set_vip(True)
        b.set_vip(True)
        world.run(ALARM_AFTER + 1)
        a.kill_openvpn()
        world.run(1)
        kinds = {one.kind for node in (a, b) for one in node.figures.problems}
        assert ProblemKind.TWO_MASTERS not in kinds

    def test_a_node_that_does_not_know_of_its_vip_says_nothing(self) -> None:
        world = World()
        a = world.add("a", start=False, patched=False)
        a.vip = None  # type: ignore[assignment]
        a.start()
        a.start_openvpn(patched=False)
        world.run(3)
        assert a.plays(Role.INIT)

    def test_what_is_meant_is_no_problem(self) -> None:
        for meant, kinds in ((True, []), (False, [ProblemKind.SERVER_STOCK])):
            world = World()
            a = world.add("a", patched=False, stock=meant)
            world.run(1)
            assert [one.kind for one in a.figures.problems] == kinds
            (line,) = a.logged("openvpn lacks the patch")
            assert line.level == ("info" if meant else "warning")

    def test_the_figures_of_all_clients_are_asked_for_and_no_packet_ids(self) -> None:
        world, a, _b = pair()
        world.run(6)
        assert a.figures.traffic.server is not None
        assert a.figures.traffic.server.clients == 3
        assert a.openvpn is not None
        assert "cluster-room" not in a.openvpn.commands


class TestLeases:
    def test_a_standby_knows_who_is_connected_and_with_which_address(self) -> None:
        world, a, b = pair()
        assert b.node is not None
        b.step(lambda node, now: node.ask_clients(INSTANCE, now))
        world.run(0.1)
        roster = b.node.roster(INSTANCE, world.now)
        assert roster.answers == 1
        found = {one.client.name: one.client.virtual for one in roster.clients}
        assert found == {f"client-{number}": f"10.8.0.{10 + number}" for number in range(3)}
        assert {(one.uid, one.moved, one.origin) for one in roster.clients} == {(None, True, "a")}
        assert (b.figures.stock.leases, b.figures.stock.leases_from) == (3, A)
        assert (b.figures.sync, a.figures.sync) == (Sync.IN_SYNC, Sync.NONE)
        assert a.node is not None
        assert len(a.node.roster(INSTANCE, world.now).clients) == 0  # nobody has asked there

    def test_who_leaves_is_no_lease_any_more_and_keeps_the_address(self) -> None:
        world, a, b = pair()
        assert a.openvpn is not None
        a.openvpn.disconnect_client(next(iter(a.openvpn.clients)))
        world.run(4)
        assert b.figures.stock.leases == 2
        assert b.figures.stock.leases_remembered == 3
        assert files(b)[-1].text == TEXT

    def test_a_client_with_another_name_at_an_address_is_told_anew(self) -> None:
        world, a, b = pair(1)
        assert a.openvpn is not None
        a.openvpn.clients.clear()
        a.openvpn.connect_client("another", "10.8.0.10")
        world.run(4)
        assert files(b)[-1].text == "another,10.8.0.10,\n"

    def test_a_sidecar_that_starts_anew_tells_what_there_is(self) -> None:
        world, a, b = pair()
        assert a.openvpn is not None
        a.kill_sidecar()
        a.openvpn.disconnect_client(next(iter(a.openvpn.clients)))
        world.run(4)
        alone = b.figures.stock
        assert (alone.leases, alone.leases_from) == (3, None)
        assert b.grade == Grade.IN_SYNC
        a.start()
        world.run(4)
        assert (b.figures.stock.leases, b.figures.stock.leases_from) == (2, A)

    def test_of_many_clients_it_is_asked_less_often(self) -> None:
        world, a, b = pair(0)
        assert a.openvpn is not None

        def asked(seconds: float) -> int:
            assert a.openvpn is not None
            a.openvpn.commands.clear()
            world.run(seconds)
            return a.openvpn.commands.count("status 3")

        assert asked(4 * ASK_EVERY) == pytest.approx(4, abs=1)
        b.kill()
        for number in range(2 * ASK_LESS):
            a.openvpn.connect_client(f"c{number}", f"10.8.{number // 250}.{number % 250}")
        world.run(ASK_EVERY)
        assert asked(8 * ASK_EVERY) == pytest.approx(4, abs=1)

    def test_what_is_no_lease_is_refused_and_counted(self) -> None:
        _world, _a, b = pair()
        assert b.node is not None
        parts = b.node._instances[INSTANCE].parts
        parts.stock.take(RecordReceived(INSTANCE, A, record()), 0.0)
        assert b.figures.openvpn.counters["leases_refused"] == 1
        assert b.figures.stock.leases == 3


class TestPool:
    def test_openvpn_reads_the_addresses_when_the_vip_comes(self) -> None:
        world, a, b = pair()
        assert files(b)[-1] == KeepPool(INSTANCE, TEXT, to_be_read=False)
        assert not orders(b)
        a.kill()
        world.run(3)
        world.move_vip("b")
        last = files(b)[-1]
        assert last == KeepPool(INSTANCE, TEXT, to_be_read=True)
        at = b.outputs.index(last)
        after = [one for one in b.outputs[at:] if isinstance(one, WriteManagement)]
        assert after[0].data.endswith(SIGNAL)
        world.run(1)
        assert b.openvpn is not None
        assert b.openvpn.starts == 2
        connect(b, 2)
        b.openvpn.connect_client("client-2", "10.8.0.99")
        world.run(4)
        assert (b.figures.stock.addresses_kept, b.figures.stock.addresses_changed) == (2, 1)
        assert not b.told_problems

    def test_what_it_has_read_it_need_not_read_again(self) -> None:
        world, _a, b = pair()
        for _ in range(3):
            world.move_vip("b")
            world.run(0.5)
            world.move_vip("a")
            world.run(0.5)
        assert len(orders(b)) == 1
        assert not b.logged("management channel broken")

    def test_one_that_has_its_clients_is_left_alone(self) -> None:
        world, a, _b = pair()
        world.move_vip(None)
        world.run(0.2)
        world.move_vip("a")
        world.run(1)
        assert not orders(a)
        assert a.openvpn is not None
        assert len(a.openvpn.clients) == 3

    def test_without_a_file_nothing_is_written_and_nothing_starts_anew(self) -> None:
        world, _a, b = pair(pool=None)
        world.move_vip("b")
        world.run(1)
        assert b.figures.stock.leases_remembered == 3
        assert not files(b)
        assert not orders(b)

    def test_without_any_addresses_nothing_starts_anew(self) -> None:
        world, _a, b = pair(0)
        world.move_vip("b")
        world.run(1)
        assert not orders(b)

    def test_what_stood_in_the_file_is_kept(self) -> None:
        _world, _a, b = pair(1, pool="away,10.8.0.77,fd00::77\nclient-9,10.8.0.10,\nnonsense\n")
        assert files(b)[-1].text == "client-0,10.8.0.10,\naway,10.8.0.77,fd00::77\n"
        assert AddressPool(files(b)[-1].text).text(0.0) == files(b)[-1].text

    def test_who_has_been_away_for_long_is_not_in_the_file_any_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """OpenVPN gives a fixed address to nobody else: new names would be refused in the end."""
        monkeypatch.setattr(pools, "AWAY_FOR", 20.0)
        monkeypatch.setattr(stocks, "FORGET_EVERY", 2.0)
        world, a, b = pair(3, pool="long ago,10.8.0.77,\n")
        assert a.openvpn is not None
        a.openvpn.disconnect_client(next(iter(a.openvpn.clients)))
        world.run(4)
        assert files(b)[-1].text == TEXT + "long ago,10.8.0.77,\n"
        world.run(24)
        for node in (a, b):
            assert files(node)[-1].text == TEXT.split("\n", 1)[1]
            assert node.figures.stock.leases_remembered == 2
        a.openvpn.clients.clear()
        world.run(4)
        assert files(b)[-1].text == TEXT.split("\n", 1)[1]
        world.run(24)
        world.move_vip("b")
        world.run(1)
        assert files(b)[-1].text == ""
        assert not orders(b)

    def test_while_it_is_not_known_who_is_connected_nothing_starts_anew(self) -> None:
        """The VIP comes before OpenVPN has said how many clients it has."""
        for count, begun in ((2, 0), (0, 1)):
            world, a, b = pair()
            a.kill()
            world.run(1)
            connect(b, count, 7)
            assert b.node is not None
            parts = b.node._instances[INSTANCE].parts
            parts.discovery.stock_clients = None
            assert parts.clients == 0
            world.move_vip("b")
            assert not orders(b)
            world.run(3)
            assert b.plays(Role.MASTER)
            assert len(orders(b)) == begun
            assert files(b)[-1].to_be_read is bool(begun)

    def test_a_vip_that_is_gone_again_decides_nothing(self) -> None:
        world, a, b = pair()
        a.kill()
        world.run(1)
        assert b.node is not None
        b.node._instances[INSTANCE].parts.discovery.stock_clients = None
        world.move_vip("b")
        world.move_vip(None)
        world.run(3)
        assert not orders(b)

    def test_addresses_that_openvpn_does_not_read_are_a_problem(self) -> None:
        world, a, b = pair(MOVED_NOTABLE)
        a.kill()
        world.move_vip("b")
        world.run(1)
        connect(b, MOVED_NOTABLE - 1, first=100)
        world.run(3)
        assert not b.told_problems
        connect(b, 1, MOVED_NOTABLE - 1, first=100)
        world.run(3)
        (problem,) = b.figures.problems
        assert problem.kind is ProblemKind.ADDRESSES_CHANGED
        assert problem.text.startswith("4 clients")

    def test_one_that_ends_by_the_order_does_not_get_it_again(self) -> None:
        """Else it would be ended anew whenever the VIP comes back to it, and serve nobody."""
        world, a, b = pair()
        a.kill()
        for _ in range(3):
            world.move_vip("b")
            world.run(1)
            b.kill_openvpn()
            assert b.grade == Grade.FAULT
            world.move_vip(None)
            b.start_openvpn(patched=False)
            world.run(1)
        world.move_vip("b")
        world.run(5)
        assert len(orders(b)) == 1
        assert b.plays(Role.MASTER)
        (problem,) = b.figures.problems
        assert problem.kind is ProblemKind.ADDRESSES_CHANGED
        assert "SIGUSR1" in problem.text
        assert "persist-key" in problem.fix

    def test_one_that_somebody_starts_anew_gets_it_again(self) -> None:
        world, a, b = pair()
        a.kill()
        world.move_vip("b")
        world.run(1)
        b.kill_openvpn()
        b.start_openvpn(patched=False)
        world.run(STARTS_WITHIN)
        b.kill_openvpn()
        b.start_openvpn(patched=False)
        world.run(1)
        assert not b.told_problems
        world.move_vip(None)
        world.run(1)
        world.move_vip("b")
        world.run(1)
        assert len(orders(b)) == 2

    def test_a_process_that_ends_has_read_nothing(self) -> None:
        world, a, b = pair()
        world.move_vip("b")
        world.run(STARTS_WITHIN)
        world.move_vip("a")
        b.kill_openvpn()
        b.start_openvpn(patched=False)
        world.run(1)
        world.move_vip("b")
        world.run(1)
        assert len(orders(b)) == 2
        assert a.plays(Role.STANDBY)


class TestProbes:
    """Clients over TCP are told of a takeover."""

    def test_the_clients_of_the_other_node_are_told_and_who_is_not_back_again(self) -> None:
        world, a, b = pair(tcp_port=1194, vips=("10.0.0.10", "2001:db8::10"))
        assert a.openvpn is not None
        known = {one.name: one.address for one in leases_of(b)}
        a.kill()
        world.run(1)
        assert not probes(b)
        world.move_vip("b")
        assert not probes(b)  # OpenVPN starts anew
        world.run(PROBE_AFTER + 0.1)
        (first,) = probes(b)
        assert first == ProbeClients(INSTANCE, "10.0.0.10", 1194, tuple(known.values()))
        connect(b, 2)
        world.run(PROBE_EVERY + 4 * PROBE_EVERY)
        assert [one.clients for one in probes(b)[1:]] == [(known["client-2"],)]

    def test_when_all_are_back_nobody_is_told_again(self) -> None:
        world, a, b = pair(tcp_port=1194, vips=("10.0.0.10",), pool=None)
        a.kill()
        world.move_vip("b")
        world.run(0.1)
        assert len(probes(b)) == 1  # nothing starts anew
        connect(b, 3)
        world.run(4 * PROBE_EVERY)
        assert len(probes(b)) == 1

    def test_over_udp_and_after_the_vip_has_gone_nobody_is_told(self) -> None:
        for options in ({}, {"tcp_port": 1194}):
            world, _a, b = pair(**options)
            world.move_vip("b")
            world.move_vip("a")
            world.run(PROBE_AFTER + PROBE_EVERY)
            assert not probes(b)


class TestAddressPool:
    def test_a_name_has_one_address_and_an_address_one_name(self) -> None:
        pool = AddressPool()
        pool.note([lease("a", "10.8.0.2", "fd00::2"), lease("b", "10.8.0.3")], 0.0)
        pool.note([lease("a", "10.8.0.4", "fd00::4")], 1.0)
        pool.note([lease("c", "10.8.0.9", "fd00::4")], 2.0)
        assert pool.text(2.0) == "b,10.8.0.3,\nc,10.8.0.9,fd00::4\n"
        assert len(pool) == 2

    def test_a_name_that_is_connected_twice_is_left_out(self) -> None:
        pool = AddressPool()
        twice = [lease("a", "10.8.0.2"), lease("a", "10.8.0.3"), lease("b", "", "fd00::5")]
        pool.note(twice, 0.0)
        assert pool.text(0.0) == "b,,fd00::5\n"
        assert find_addresses(twice) == {"b": "fd00::5"}

    def test_what_is_no_address_is_left_out(self) -> None:
        pool = AddressPool("a,10.8.0.2\nb,x,y\nc,10.8.0.3,,\n\nd,10.8.0.4,fd00:0::4\n")
        assert pool.text(0.0) == "d,10.8.0.4,fd00::4\n"

    @pytest.mark.parametrize(
        "name", ["", "UNDEF", "a,b", "#a", ";a", "a\\x0a", "a\nb", " a", "a ", "\x7f", "n" * 65]
    )
    def test_a_name_that_could_be_taken_for_another_is_left_out(self, name: str) -> None:
        assert not is_safe(name)
        pool = AddressPool()
        pool.note([lease(name)], 0.0)
        assert not pool.text(0.0)

    def test_names_as_they_are_chosen_are_safe(self) -> None:
        assert all(map(is_safe, ("client-1", "Jörg Müller", "a@b.example", "a#b", "CN=x/y")))

    def test_the_oldest_makes_room(self) -> None:
        pool = AddressPool("".join(f"n{i},,fd00::{i}\n" for i in range(1, 12)), limit=10)
        assert len(pool) == 10
        assert "n1," not in pool.text(0.0)
        assert "n2,," in pool.text(0.0)

    def test_those_who_are_away_never_fill_the_pool(self) -> None:
        """A pool of a hundred, in which forty are connected at once and many come and go."""
        pool = AddressPool()
        for moment in range(300):
            names = range(moment, moment + 40)
            leases = [lease(f"n{name}", f"10.8.0.{name % 100}") for name in names]
            pool.note(leases, float(moment))
            kept = pool.kept(float(moment))
            assert {one.name for one in leases} <= kept
            assert len(kept) <= 50
        assert "n298" in kept
        assert "n298" not in pool.kept(300 + AWAY_FOR).difference(f"n{n}" for n in names)

    def test_all_who_are_away_at_once_are_kept_for_a_while(self) -> None:
        """The line of the node was down before it was lost: every client has timed out."""
        pool = AddressPool()
        pool.note([lease(f"n{name}", f"10.8.0.{name}") for name in range(80)], 0.0)
        pool.note([], 60.0)
        assert len(pool.kept(60.0)) == 80
        pool.note([], AWAY_FOR + 59)
        assert len(pool.kept(AWAY_FOR + 59)) == 80
        assert pool.anyone_away
        pool.note([], AWAY_FOR + 61)
        assert not pool.kept(AWAY_FOR + 61)
        assert not pool.anyone_away


class TestMixed:
    """One node has the patch, another has not: nothing is copied, and both say so."""

    def test_a_patched_master_counts_no_client_as_protected(self) -> None:
        world = World()
        a, b = world.add("a"), world.add("b", patched=False, stock=True, pool="")
        world.move_vip("a")
        world.run(1)
        assert a.openvpn is not None
        a.openvpn.connect_client("one", "10.8.0.2")
        a.pump()
        world.run(15)
        assert a.plays(Role.MASTER)
        assert a.figures.exporter.protected == 0
        assert a.figures.exporter.oldest_unprotected > 10
        assert b.figures.stock.leases_from is None
        assert b.figures.stock.leases == 0
        for node, whose in ((a, "its OpenVPN runs"), (b, "our OpenVPN runs")):
            (other,) = node.figures.nodes
            assert other.problem is not None
            assert other.problem.kind is ProblemKind.NODE_MIXED
            assert other.problem.text.startswith(whose)
        assert not a.figures.nodes[0].seamless
        assert a.figures.nodes[0].role is Role.STANDBY
        assert b.figures.nodes[0].seamless

    def test_a_patched_standby_follows_no_stock_master_and_is_promoted_without_it(self) -> None:
        world = World()
        a, b = world.add("a", patched=False, stock=True, pool=""), world.add("b")
        world.move_vip("a")
        connect(a, 3)
        world.run(15)
        assert (a.figures.role, b.figures.role) == (Role.MASTER, Role.STANDBY)
        assert b.figures.importer.following is None
        assert b.figures.nodes[0].role is Role.MASTER
        assert b.openvpn is not None
        assert not b.openvpn.clients
        world.move_vip("b")
        world.run(5)
        assert b.plays(Role.MASTER)
        assert not b.figures.own.lacking
        assert not [one for one in b.figures.problems if one.kind is ProblemKind.CLIENTS_ELSEWHERE]
        world.move_vip("a")
        world.run(5)
        assert a.plays(Role.MASTER)
        assert b.plays(Role.HELD)

    def test_two_that_have_the_vip_raise_the_alarm_on_both(self) -> None:
        world = World()
        a, b = world.add("a"), world.add("b", patched=False, stock=True, pool="")
        world.run(1)
        a.set_vip(True)
        b.set_vip(True)
        world.run(ALARM_AFTER + 2)
        for node in (a, b):
            kinds = [one.kind for one in node.figures.problems]
            assert ProblemKind.TWO_MASTERS in kinds

    def test_a_third_node_of_the_same_kind_is_still_followed(self) -> None:
        world = World()
        a, b, c = world.add("a"), world.add("b"), world.add("c", patched=False, stock=True)
        world.move_vip("a")
        world.run(1)
        assert a.openvpn is not None
        a.openvpn.connect_client("one", "10.8.0.2")
        a.pump()
        world.run(2)
        assert a.figures.exporter.protected == 1
        assert b.in_sync
        assert c.figures.stock.leases_from is None

    def test_no_switchover_leads_to_a_node_without_the_patch(self) -> None:
        world = World()
        a, _b = world.add("a"), world.add("b", patched=False, stock=True)
        world.move_vip("a")
        world.run(2)
        assert a.node is not None
        plan = a.node.plan_switchover(INSTANCE, NodeName("b"), world.now)
        assert plan.obstacles


def test_whose_leases_are_kept() -> None:
    def stock(role: Role) -> InstanceState:
        return replace(state(Role.INIT), stock=StockState(role, whole=True))

    master, standby = stock(Role.MASTER), stock(Role.STANDBY)
    assert choose_stock([(A, state(Role.MASTER)), (B, standby)], None) is None
    assert choose_stock([(C, master), (B, master)], None) == B
    assert choose_stock([(C, master), (B, master)], C) == C
    assert choose_stock([(C, standby), (B, master)], C) == B
    assert choose_stock([(C, standby)], C) is None


def test_a_lease_is_shown_as_a_client() -> None:
    assert lease().client == ServerClient(
        "one", "UNDEF", "192.0.2.1:5000", "10.8.0.6", "1790000000", 0, 0
    )


def test_the_clients_of_a_node_without_the_patch_are_none_that_a_patched_one_lacks() -> None:
    view = ClusterView(INSTANCE, 0.0, 10.0)
    told = replace(state(Role.INIT, clients=9), stock=StockState(Role.MASTER, whole=True))
    view.hello(A, told, 0.0)
    assert not view.anyone_may_have_more(0)
    assert view.most_clients() == 0
    view.hello(A, replace(told, stock=None), 0.0)
    assert view.anyone_may_have_more(0)
    assert view.most_clients() == 9


def test_only_the_node_that_is_followed_is_heard() -> None:
    _world, a, b = pair()
    other = pack_lease(lease("other", "10.8.0.99"), 1)
    for node in (a, b):
        event = RecordReceived(INSTANCE, C, other)
        assert node.node is not None
        node.node._dispatch[INSTANCE].take_backchannel(event, 0.0)
        assert node.figures.stock.leases == 3
        node.node._dispatch[INSTANCE].take_backchannel(replace(event, node=A), 0.0)
    assert (a.figures.stock.leases, b.figures.stock.leases) == (3, 4)
