"""The master's OpenVPN is stopped, with `explicit-exit-notify`: who is told goodbye."""

from __future__ import annotations

import pytest

from tests.faults.systemd import hand_over, terminate
from tests.integration.conftest import MakeLab
from tests.lab import plan, topology
from tests.lab.node import Node
from tests.lab.openvpn import IPV6
from tests.lab.session import Moment, Session
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

GOODBYE = ("explicit-exit-notify 1",)
# Longer than an OpenVPN remembers, once its sidecar is gone, that another node has its clients.
FORGOTTEN = 11.5


@pytest.fixture
def session(make_lab: MakeLab) -> Session:
    lab = make_lab(server_options=GOODBYE)
    lab.start_cluster()
    return Session(lab)


def expect_unnoticed(session: Session, moment: Moment) -> None:
    session.linger(3.0)
    session.forward.stop()
    assert session.noticed(moment).nothing
    assert session.finish() == ""


def is_alone(node: Node) -> bool:
    """The master has a client that no other node has."""
    status = node.sidecar.instance()
    return status is not None and not status["protected"]


def test_sigterm_is_silent_while_another_node_has_the_clients(session: Session) -> None:
    moment = session.strike(terminate)
    session.lab.wait_master("b")
    assert session.recovers(moment, 20)
    expect_unnoticed(session, moment)


def test_who_is_alone_says_goodbye(session: Session) -> None:
    lab = session.lab
    for process in lab.nodes["b"].processes:
        process.kill()
    wait_until(lambda: is_alone(lab.nodes["a"]), "node b is missed", 20)
    session.linger(0.5)  # until OpenVPN has read what its sidecar wrote then
    moment = session.strike(terminate)
    wait_until(lambda: session.noticed(moment).restarts, "the client is told", 20)


def test_who_has_said_goodbye_answers_nobody_who_comes_again(make_lab: MakeLab) -> None:
    """A client with a port of its own tries again after 1 s, while this process has another 1 s.

    It would connect to what ends in a moment, and be served by nobody until its `ping-restart`.
    """
    lab = make_lab(server_options=GOODBYE, client_options=("lport 1195",))
    lab.start_cluster()
    session, node = Session(lab), lab.nodes["a"]
    for process in lab.nodes["b"].processes:
        process.kill()
    wait_until(lambda: is_alone(node), "node b is missed", 20)
    session.linger(0.5)
    moment = session.strike(terminate)
    assert node.openvpn.wait() == 0
    node.openvpn.start()
    lab.wait_master("a")
    assert session.recovers(session.mark(), 30)
    assert session.noticed(moment).restarts == 1


def test_without_a_sidecar_it_remembers_for_a_while(session: Session) -> None:
    lab = session.lab
    moment = session.mark()
    lab.nodes["a"].sidecar.process.stop()
    terminate(lab, lab.nodes["a"])
    lab.wait_master("b")
    assert session.recovers(session.mark(), 30)
    expect_unnoticed(session, moment)


def test_without_the_address_nobody_is_told(make_lab: MakeLab) -> None:
    """An old master without a sidecar, long after its clients went on elsewhere.

    By IPv6, where the kernel lets it send from an address that it does not have.
    """
    lab = make_lab(transport=IPV6, server_options=GOODBYE)
    lab.start_cluster()
    session = Session(lab)
    moment = session.mark()
    lab.nodes["a"].sidecar.process.kill()
    lab.nodes["a"].vip_manager.stop()
    lab.wait_master("b")
    assert plan.OUT.vip6 not in topology.addresses(lab.nodes["a"].namespace, plan.OUT.interface)
    session.linger(FORGOTTEN)
    terminate(lab, lab.nodes["a"])
    assert lab.nodes["a"].openvpn.wait() == 0
    expect_unnoticed(session, moment)


def test_a_hand_over_lets_the_other_node_serve(session: Session) -> None:
    lab, node = session.lab, session.lab.nodes["a"]
    moment = session.mark()
    stranger = hand_over(lab, node, "--pid", "1")
    assert (stranger.returncode, lab.master.name) == (0, "a")
    done = hand_over(lab, node, "--pid", str(node.openvpn.pid))
    assert (done.returncode, done.stdout) == (0, "udp: standby, b is master\n")
    lab.wait_master("b")
    node.openvpn.stop()
    node.openvpn.start()
    lab.wait_in_sync("a")
    expect_unnoticed(session, moment)
