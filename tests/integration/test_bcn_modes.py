"""A failover over every kind of BCN, and among three nodes that list each other's addresses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from tests.integration.conftest import configure
from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.session import Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

LINK = f'interface = "{plan.BCN.interface}"'
NUMBERS = [plan.node_number(name) for name in "abc"]


def unicast(addresses: Sequence[str]) -> str:
    return f'mode = "unicast"\nlinks = [{{ {LINK}, nodes = {json.dumps(addresses)} }}]'


MODES = {
    "multicast": f'mode = "multicast"\nlinks = [{{ {LINK} }}]',
    "multicast IPv6": f'mode = "multicast"\nlinks = [{{ {LINK}, address = "ff02::6f76" }}]',
    "unicast IPv6": unicast([plan.BCN.address6(number) for number in NUMBERS[:2]]),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_client_survives_over_this_bcn(manual_lab: Lab, mode: str) -> None:
    lab = manual_lab
    configure(lab, f"links = [{{ {LINK} }}]", MODES[mode])
    lab.start_cluster()
    session = Session(lab)
    killed = session.strike(kill_openvpn)
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    assert session.noticed(killed).nothing
    assert session.finish() == ""


def holds_the_client(lab: Lab, name: str) -> bool:
    one = lab.nodes[name].sidecar.instance() or {}
    return (one.get("role"), one.get("sync"), one.get("records")) == ("standby", "in_sync", 1)


def test_three_nodes_with_a_list_of_addresses(make_lab: Callable[..., Lab]) -> None:
    """The client goes from a, which dies, to c, and from c, which gives the VIP up, to b."""
    lab = make_lab(nodes=3, vip_manager=None)
    listed = unicast([plan.BCN.address(number) for number in NUMBERS])
    configure(lab, f"links = [{{ {LINK} }}]", listed)
    lab.start_cluster()
    session = Session(lab)
    a = lab.nodes["a"]
    assert (a.sidecar.instance() or {})["protected"] == 1
    killed = session.strike(kill_openvpn)
    lab.move_vips("c")
    lab.wait_master("c")
    assert session.recovers(killed, PATIENCE)
    wait_until(lambda: holds_the_client(lab, "b"), "b follows c", PATIENCE)
    moved = session.mark()
    lab.move_vips("b")
    lab.wait_master("b")
    assert session.recovers(moved, PATIENCE)
    wait_until(lambda: holds_the_client(lab, "c"), "c follows b", PATIENCE)
    a.openvpn.start()
    wait_until(lambda: holds_the_client(lab, "a"), "a follows b", PATIENCE)
    heard = (lab.nodes["b"].sidecar.instance() or {})["nodes"]
    assert {one["name"] for one in heard if one["believed"]} == {"a", "c"}
    assert session.noticed(killed).nothing
    assert session.finish() == ""
