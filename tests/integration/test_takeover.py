"""The master dies, comes back, dies again; keys change: the client must not notice any of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ovpnha.runtime.control import DemoteRequest
from tests.integration.pace import PATIENCE, is_short
from tests.lab.deaths import cut_node, kill_openvpn
from tests.lab.lab import GRADE_MASTER, Lab
from tests.lab.node import Node
from tests.lab.openvpn import IPV4, IPV6, Transport
from tests.lab.session import Moment, Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

# OpenVPN starts no renegotiation while its newest key is younger than this.
HAND_WINDOW = 4
MakeLab = Callable[..., Lab]


def begin(lab: Lab) -> Session:
    lab.start_cluster()
    return Session(lab)


def expect_unnoticed(session: Session, since: Moment) -> None:
    """The client has traffic and has seen nothing but ordinary renegotiations since then."""
    now = session.mark()
    assert session.recovers(now, PATIENCE)
    seen = session.noticed(since)
    assert seen.nothing, seen
    assert session.finish() == ""


def restart_openvpn(node: Node) -> None:
    node.openvpn.start()


def plug_in(lab: Lab, name: str) -> None:
    lab.topology.set_links(name, "up")


@pytest.mark.parametrize("transport", [IPV4, IPV6], ids=["IPv4", "IPv6"])
def test_there_and_back(make_lab: MakeLab, transport: Transport) -> None:
    """A dies and B serves; A comes back, resynchronises and serves when B dies."""
    lab = make_lab(transport=transport)
    session = begin(lab)
    first = session.strike(kill_openvpn)
    assert session.recovers(first, PATIENCE)
    lab.wait_master("b")
    restart_openvpn(lab.nodes["a"])
    lab.wait_in_sync("a")
    second = session.strike(kill_openvpn)
    assert session.recovers(second, PATIENCE)
    lab.wait_master("a")
    expect_unnoticed(session, first)


def test_a_node_that_was_cut_off_comes_back(lab: Lab) -> None:
    session = begin(lab)
    first = session.strike(cut_node)
    assert session.recovers(first, PATIENCE)
    lab.wait_master("b")
    plug_in(lab, "a")
    lab.wait_in_sync("a")
    assert lab.master.name == "b"
    second = session.strike(cut_node)
    assert session.recovers(second, PATIENCE)
    lab.wait_master("a")
    expect_unnoticed(session, first)


def test_a_preferred_node_takes_over_again_once_it_is_in_sync(make_lab: MakeLab) -> None:
    lab = make_lab(priorities=(100, 60))
    session = begin(lab)
    first = session.strike(kill_openvpn)
    assert session.recovers(first, PATIENCE)
    lab.wait_master("b")
    restart_openvpn(lab.nodes["a"])
    lab.wait_master("a")
    lab.wait_in_sync("b")
    expect_unnoticed(session, first)


def test_a_planned_switchover(lab: Lab) -> None:
    session = begin(lab)
    asked = session.mark()
    lab.nodes["a"].sidecar.ask(DemoteRequest())
    lab.wait_master("b")
    lab.wait_in_sync("a")
    expect_unnoticed(session, asked)


def test_the_server_renegotiates_after_a_takeover(make_lab: MakeLab) -> None:
    lab = make_lab(server_options=(f"hand-window {HAND_WINDOW}",))
    session = begin(lab)
    killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    session.linger(HAND_WINDOW + 2.0)
    asked = session.mark()
    lab.nodes["b"].sidecar.renegotiate()
    wait_until(
        lambda: session.noticed(asked).renegotiations, "a renegotiation by the server", PATIENCE
    )
    session.linger(2.0)
    assert is_short(session, asked, 500)
    expect_unnoticed(session, killed)


def test_the_client_renegotiates_after_a_takeover(make_lab: MakeLab) -> None:
    lab = make_lab(client_options=("reneg-sec 12",))
    session = begin(lab)
    killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    after = session.mark()
    wait_until(lambda: session.noticed(after).renegotiations >= 2, "two renegotiations", 60)
    assert is_short(session, after, 500)
    expect_unnoticed(session, killed)


def test_keepalived_restarts_on_the_master(lab: Lab) -> None:
    session = begin(lab)
    restarted = session.mark()
    lab.nodes["a"].vip_manager.restart()
    wait_until(
        lambda: lab.vips.holder() is not None and lab.master.grade() == GRADE_MASTER,
        "a master after the restart",
        PATIENCE,
    )
    session.linger(3.0)
    expect_unnoticed(session, restarted)


@pytest.mark.parametrize("other_promoted", [False, True], ids=["alone", "other-promoted"])
@pytest.mark.parametrize("away", [0.1, 1.0, 3.0])
def test_the_vip_goes_and_comes_again(manual_lab: Lab, away: float, other_promoted: bool) -> None:
    session = begin(manual_lab)
    gone = session.mark()
    manual_lab.move_vips(None)
    if other_promoted:
        manual_lab.move_vips("b")
        manual_lab.wait_master("b")
    session.linger(away)
    manual_lab.move_vips("a")
    manual_lab.wait_master("a")
    expect_unnoticed(session, gone)
