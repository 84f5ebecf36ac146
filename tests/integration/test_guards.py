"""Nodes that must not replicate say so and refuse the VIP; two BCN links lose nothing with one."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ovpnha.runtime.control import StatusRequest
from tests.integration.conftest import configure
from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.measure import lost
from tests.lab.session import Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

GRADE_FAULT = -254


def change_server(lab: Lab, *options: str) -> None:
    file = lab.directory / "server.conf"
    file.write_text("\n".join([file.read_text(), *options, ""]))


def restart_openvpn(lab: Lab, name: str) -> None:
    lab.nodes[name].openvpn.kill()
    lab.nodes[name].openvpn.start()


def status(lab: Lab, name: str) -> dict[str, Any]:
    return dict(lab.nodes[name].sidecar.ask(StatusRequest())["status"])


def take_over(lab: Lab, session: Session) -> None:
    killed = session.strike(kill_openvpn)
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")


def expect_fault(lab: Lab, *words: str) -> None:
    """Node b says why it must not replicate, and the master does not count on it."""

    def told() -> bool:
        one = status(lab, "b")["instances"][0]
        reason = str(one["grade_reason"])
        return one["grade"] == GRADE_FAULT and all(word in reason for word in words)

    wait_until(told, f"node b in fault because of {' '.join(words)}", PATIENCE)
    wait_until(lambda: lab.nodes["b"].grade() == GRADE_FAULT, "the grade's file", PATIENCE)
    wait_until(
        lambda: status(lab, "a")["instances"][0]["protected"] == 0, "nothing counts on b", PATIENCE
    )


@pytest.mark.parametrize(
    ("option", "word"),
    [("data-ciphers CHACHA20-POLY1305", "data-ciphers"), ("max-clients 77", "max-clients")],
)
def test_another_option_is_named_and_corrected(manual_lab: Lab, option: str, word: str) -> None:
    lab = manual_lab
    lab.start_cluster()
    session = Session(lab)
    since = session.mark()
    before = (lab.directory / "server.conf").read_text()
    change_server(lab, option)
    restart_openvpn(lab, "b")
    expect_fault(lab, word)
    (lab.directory / "server.conf").write_text(before)
    restart_openvpn(lab, "b")
    lab.wait_in_sync("b")
    take_over(lab, session)
    assert session.noticed(since).nothing
    assert session.finish() == ""


def test_another_certificate_is_refused(manual_lab: Lab) -> None:
    lab = manual_lab
    lab.start_cluster()
    session = Session(lab)
    since = session.mark()
    lab.pki.issue("server", server=True)
    restart_openvpn(lab, "b")
    expect_fault(lab, "certificate")
    assert session.noticed(since).nothing


def test_a_certificate_is_replaced_node_by_node(manual_lab: Lab) -> None:
    """docs/operations.md, "Planned moves": with ``tolerate`` the clients notice nothing."""
    lab = manual_lab
    configure(lab, 'name = "udp"', 'name = "udp"\ntolerate = ["certificate"]')
    lab.start_cluster()
    session = Session(lab)
    since = session.mark()
    lab.pki.issue("server", server=True)
    restart_openvpn(lab, "b")
    lab.wait_in_sync("b")
    take_over(lab, session)
    lab.nodes["a"].openvpn.start()
    lab.wait_in_sync("a")
    assert session.noticed(since).nothing
    assert session.finish() == ""


def test_losing_one_of_two_bcn_links_loses_nothing(manual_lab: Lab) -> None:
    """That it causes no resync is shown without a clock, in tests/unit/replication: here a busy
    machine may cause one.
    """
    lab = manual_lab
    first, second = plan.BCN.interface, plan.LAN.interface
    configure(lab, f'"{first}" }}]', f'"{first}" }}, {{ interface = "{second}" }}]')
    lab.start_cluster()
    session = Session(lab)
    since = session.mark()
    namespace = lab.topology.namespace("a")
    subprocess.run(["ip", "-n", namespace, "link", "set", first, "down"], check=True)
    wait_until(lambda: not status(lab, "a")["links"][first], "the link is shown", PATIENCE)
    assert status(lab, "a")["links"][second]
    lab.start_clients(2)

    def protected() -> bool:
        one = status(lab, "a")["instances"][0]
        return bool(one["protected"] == one["clients"] == 3)

    wait_until(protected, "new clients protected over the other link", PATIENCE)
    lab.wait_in_sync("b")
    session.forward.stop()
    during = [probe for probe in session.forward.probes() if probe.sent > since.monotonic]
    assert lost(during) == 0
    killed = session.mark()
    kill_openvpn(lab, lab.master)
    lab.move_vips("b")
    lab.wait_master("b")
    assert session.noticed(killed).nothing
    assert session.finish() == ""
