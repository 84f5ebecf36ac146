"""A client whose machine has a link-local address only: it means nothing without an interface."""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.conftest import MakeLab
from tests.lab import plan, topology
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.openvpn import IPV6
from tests.lab.session import Session
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PATIENCE = 40.0


def link_local(namespace: str, interface: str) -> list[str]:
    found = topology.addresses(namespace, interface)
    return [address for address in found if address.startswith("fe80")]


def leave_link_local(lab: Lab) -> None:
    """The client's machine keeps no other address, and goes on using it beside the tunnel's."""
    client, out = lab.topology.namespace("client"), plan.OUT
    found = wait_until(lambda: link_local(client, out.interface), "such an address", PATIENCE)
    own = found[0]
    device = ("dev", out.interface)
    for change in (
        ("address", "del", f"{out.address6(100)}/64", *device),
        ("route", "add", str(out.network6), *device, "src", own),
    ):
        subprocess.run(["ip", "-n", client, "-6", *change], check=True)


def test_a_client_with_a_link_local_address_goes_on(make_lab: MakeLab) -> None:
    lab = make_lab(transport=IPV6)
    leave_link_local(lab)
    lab.start_cluster()
    session = Session(lab)
    killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    assert session.noticed(killed).nothing
    assert session.finish() == ""
