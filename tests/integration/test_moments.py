"""Takeovers at awkward moments of a client's life, and for many clients at once."""

from __future__ import annotations

import pytest

from tests.faults.rekey import NAME, NEVER
from tests.integration.conftest import MakeLab, configure
from tests.integration.pace import PATIENCE, is_short
from tests.lab import plan
from tests.lab.clientlog import noticed
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.session import Moment, Session
from tests.lab.topology import open_route
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

HAND_WINDOW = 3
MANY = 40


def begin(lab: Lab) -> Session:
    lab.start_cluster()
    return Session(lab)


def take_over(lab: Lab, session: Session, to: str = "b") -> Moment:
    killed = session.strike(kill_openvpn)
    lab.move_vips(to)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master(to)
    return killed


def expect_unnoticed(session: Session, since: Moment) -> None:
    assert session.recovers(session.mark(), PATIENCE)
    seen = session.noticed(since)
    assert seen.nothing, seen
    assert session.finish() == ""


def wait_protected(lab: Lab, clients: int = 1) -> None:
    def protected() -> bool:
        master = lab.master.sidecar.instance()
        return master is not None and master["protected"] == master["clients"] == clients

    wait_until(protected, f"{clients} protected clients", PATIENCE)


def wait_clients(lab: Lab, name: str, clients: int) -> None:
    """Wait until a node has so many: not as long as one that has vanished is kept."""

    def has_them() -> bool:
        status = lab.nodes[name].sidecar.instance()
        return status is not None and status["clients"] == clients

    wait_until(has_them, f"node {name} has {clients} clients", PATIENCE)


def move_client(lab: Lab, old: int, new: int) -> None:
    """The client's own address changes, as a telephone's does."""
    with open_route(lab.topology.namespace("client")) as route:
        index = route.link_lookup(ifname=plan.OUT.interface)[0]
        prefix = plan.OUT.network.prefixlen
        route.addr("del", index=index, address=plan.OUT.address(old), prefixlen=prefix)
        route.addr("add", index=index, address=plan.OUT.address(new), prefixlen=prefix)


@pytest.mark.parametrize("by", ["server", "client"])
def test_right_after_a_renegotiation(make_lab: MakeLab, by: str) -> None:
    """Both sides still send on the old key, the lame duck, when the master dies."""
    lab = make_lab(
        vip_manager=None,
        server_options=(f"hand-window {HAND_WINDOW}",),
        client_options=("hand-window 20", *(["reneg-sec 8"] if by == "client" else [])),
    )
    session = begin(lab)
    session.linger(HAND_WINDOW + 1.0)
    before = session.mark()
    if by == "server":
        lab.nodes["a"].sidecar.renegotiate()
    wait_until(lambda: session.noticed(before).renegotiations, "a renegotiation", PATIENCE)
    wait_protected(lab)
    killed = take_over(lab, session)
    session.linger(2.0)
    assert is_short(session, killed, 1500)
    expect_unnoticed(session, before)


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_client_s_address_changes(make_lab: MakeLab, when: str) -> None:
    """It floats shortly before the master dies, or when the new one has begun to serve."""
    lab = make_lab(vip_manager=None, server_options=("float",))
    session = begin(lab)
    begun = session.mark()
    if when == "before":
        move_client(lab, 100, 101)
        assert session.recovers(session.mark(), PATIENCE)
        wait_protected(lab)
    take_over(lab, session)
    if when == "after":
        move_client(lab, 100, 101)
        assert session.recovers(session.mark(), PATIENCE)
    expect_unnoticed(session, begun)


def test_back_without_a_renegotiation_between(manual_lab: Lab) -> None:
    """A to B to A to B on the keys of the first handshake, however long it takes."""
    lab = manual_lab
    configure(lab, NAME, NEVER)
    session = begin(lab)
    first = take_over(lab, session)
    for dead, alive in (("a", "b"), ("b", "a")):
        lab.nodes[dead].openvpn.start()
        lab.wait_in_sync(dead)
        wait_protected(lab)
        assert lab.master.name == alive
        take_over(lab, session, to=dead)
    assert session.noticed(first).renegotiations == 0
    expect_unnoticed(session, first)


def test_many_clients_at_once(manual_lab: Lab) -> None:
    lab = manual_lab
    session = begin(lab)
    lab.start_clients(MANY)
    wait_protected(lab, MANY + 1)
    killed = take_over(lab, session)
    wait_clients(lab, "b", MANY + 1)
    session.linger(3.0)
    lab.nodes["b"].sidecar.renegotiate()
    for client in lab.clients:
        seen = noticed(client.log(), killed.wall)
        assert seen.nothing, (client.process.name, seen)
    expect_unnoticed(session, killed)


def test_a_client_that_says_goodbye_before_a_takeover_is_gone(make_lab: MakeLab) -> None:
    lab = make_lab(vip_manager=None, client_options=("explicit-exit-notify 1",))
    session = begin(lab)
    (extra,) = lab.start_clients(1)
    wait_protected(lab, 2)
    extra.process.stop()
    wait_protected(lab, 1)
    killed = take_over(lab, session)
    wait_clients(lab, "b", 1)
    expect_unnoticed(session, killed)
