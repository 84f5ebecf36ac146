"""ucarp with deploy/ucarp: who gets the addresses, who is told of it, and who is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.pace import PATIENCE
from tests.integration.vip_cells import watch
from tests.lab import plan
from tests.lab.deaths import cut_node, demote, kill_openvpn, stop_manager
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.session import Moment, Session
from tests.lab.topology import open_route
from tests.lab.traffic import agent
from tests.lab.ucarp import Ucarp
from tests.lab.waiting import Tail, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PLACES = {"client": plan.OUT, "lan": plan.LAN}


class Neighbours:
    """What the hosts outside and inside hear of the addresses that move."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._files = {host: lab.directory / f"arp-{host}.events" for host in PLACES}
        for host, segment in PLACES.items():
            arguments = [segment.interface, str(self._files[host])]
            namespace = lab.topology.namespace(host)
            label = f"arpwatch-{host}"
            one = agent("arpwatch", label, arguments, namespace=namespace, directory=lab.directory)
            lab.look_after(one).start()
        wait_until(lambda: all(map(Path.exists, self._files.values())), "arpwatch", PATIENCE)

    def announced(self, host: str, since: int) -> set[tuple[str, str]]:
        """The pairs of node and address that this host heard of after a moment."""
        found = set()
        for line in Tail(self._files[host]).lines()[1:]:
            time, mac, address = line.split()
            if int(time) >= since:
                found.add((self._node_of(PLACES[host], mac), address))
        return found

    def _node_of(self, segment: plan.Segment, mac: str) -> str:
        macs = {mac_of(node, segment): name for name, node in self._lab.nodes.items()}
        return macs.get(mac, mac)

    def expect(self, node: str, moment: Moment) -> None:
        """Both addresses of both networks are announced as this node's, and are in the tables."""
        for host, segment in PLACES.items():
            self._expect_at(host, segment, node, moment)

    def _expect_at(self, host: str, segment: plan.Segment, node: str, moment: Moment) -> None:
        wanted = {(node, segment.vip), (node, segment.vip6)}
        mac = mac_of(self._lab.nodes[node], segment)
        wait_until(
            lambda: wanted <= self.announced(host, moment.monotonic),
            f"{host} is told that the addresses are at {node}",
            PATIENCE,
        )
        wait_until(
            lambda: self._known(host, segment) == mac,
            f"the neighbour table of {host} says {node}",
            PATIENCE,
        )

    def _known(self, host: str, segment: plan.Segment) -> str:
        with open_route(self._lab.topology.namespace(host)) as route:
            found = [one for one in route.get_neighbours() if one.get("dst") == segment.vip]
        return str(found[0].get("lladdr")) if found else ""


def mac_of(node: Node, segment: plan.Segment) -> str:
    """The hardware address of a node on a network."""
    with open_route(node.namespace) as route:
        (link,) = route.get_links(ifname=segment.interface)
        return str(link.get("address"))


def ucarp_of(node: Node) -> Ucarp:
    assert isinstance(node.vip_manager, Ucarp)
    return node.vip_manager


def log_of(node: Node) -> str:
    return (node.directory / f"ucarp-{node.name}.log").read_text()


@pytest.fixture
def equal(make_lab: Callable[..., Lab]) -> Lab:
    lab = make_lab(vip_manager=Ucarp)
    lab.start_cluster()
    return lab


def test_equal_nodes_who_comes_back_stays_backup_and_every_neighbour_is_told(equal: Lab) -> None:
    session, told = Session(equal), Neighbours(equal)
    begun = session.mark()

    def moves(deed: Callable[[Lab, Node], None], to: str) -> None:
        equal.wait_in_sync(to, PATIENCE)
        moment = session.strike(deed)
        equal.wait_master(to, PATIENCE)
        assert session.recovers(moment, PATIENCE), f"{deed.__name__}: no answer"
        told.expect(to, moment)
        print(f"{deed.__name__}: {session.outage_ms(moment):.0f} ms")

    moves(stop_manager, "b")
    equal.nodes["a"].vip_manager.start()
    equal.wait_in_sync("a", PATIENCE)
    assert watch(equal, "b", session.mark().monotonic / 1e9 + 5.0) is None, "the VIP went back"
    moves(demote, "a")
    moves(kill_openvpn, "b")
    equal.nodes["a"].openvpn.start()
    moves(cut_node, "a")
    late = session.mark()
    session.linger(3.0)
    for host in PLACES:
        assert {node for node, _address in told.announced(host, late.monotonic)} <= {"a"}
    assert session.noticed(begun).nothing
    assert session.finish() == ""


def test_a_preferred_node_gets_the_vip_whoever_started_first_once_it_is_in_sync(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(vip_manager=Ucarp, priorities=(60, 100))
    lab.start_cluster()  # a starts first, and b is the preferred one
    session = Session(lab)
    begun = session.mark()
    lab.wait_master("b", PATIENCE)
    lab.wait_in_sync("a", PATIENCE)
    killed = session.strike(kill_openvpn)
    lab.wait_master("a", PATIENCE)
    assert session.recovers(killed, PATIENCE)
    back = session.mark()
    lab.nodes["b"].openvpn.start()
    lab.wait_master("b", PATIENCE)
    assert session.recovers(session.mark(), PATIENCE)
    print(f"killed {session.outage_ms(killed):.0f} ms, back {session.outage_ms(back):.0f} ms")
    assert session.noticed(begun).nothing
    assert session.finish() == ""


def test_a_wrong_password_makes_no_second_master(make_lab: Callable[..., Lab]) -> None:
    """ucarp itself would: it says `Bad digest`, and takes the address."""
    lab = make_lab(vip_manager=Ucarp)
    ucarp_of(lab.nodes["b"]).set_password("another")
    lab.start_cluster()
    session, told = Session(lab), Neighbours(lab)
    begun = session.mark()
    wait_until(lambda: log_of(lab.nodes["b"]).count("refused here") >= 2, "two refusals", PATIENCE)
    assert "b is master" not in log_of(lab.nodes["b"])
    for host in PLACES:
        assert "b" not in {node for node, _address in told.announced(host, begun.monotonic)}
    assert [one.node for one in lab.vips.events() if one.address == plan.OUT.vip] == ["a"]
    dead = session.strike(cut_node)
    lab.wait_master("b", PATIENCE)
    assert session.recovers(dead, PATIENCE), "who was refused does not take over"
    assert session.noticed(begun).nothing
    assert session.finish() == ""


def test_a_ucarp_that_is_killed_costs_nothing(equal: Lab) -> None:
    session = Session(equal)
    pid = ucarp_of(equal.nodes["a"]).ucarp_pid()
    assert pid is not None
    moment = session.mark()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: log_of(equal.nodes["a"]).count("addresses are here") == 2, "again", PATIENCE)
    assert session.recovers(session.mark(), PATIENCE)
    moved = [one for one in equal.vips.events() if one.address == plan.OUT.vip]
    assert all(one.present and one.node == "a" for one in moved), moved
    assert session.noticed(moment).nothing
    assert session.finish() == ""
