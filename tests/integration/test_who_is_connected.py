"""`ovpnha clients` on either node, before and after a takeover."""

from __future__ import annotations

from typing import Any

import pytest

from ovpnha.runtime.control import ClientsRequest
from tests.lab.lab import Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def told(lab: Lab, node: str) -> dict[str, Any]:
    answer = lab.nodes[node].sidecar.ask(ClientsRequest())
    (client,) = answer["clients"]
    return {"role": answer["role"], **client}


def test_who_is_connected(manual_lab: Lab) -> None:
    lab = manual_lab
    lab.start_cluster()
    lab.start_client()
    lab.wait_in_sync("b")
    here, copy = told(lab, "a"), told(lab, "b")
    assert (here["role"], here["moved"], here["origin"]) == ("master", False, None)
    assert (copy["role"], copy["moved"], copy["origin"]) == ("standby", True, "a")
    for key in ("uid", "name", "address", "virtual", "since"):
        assert here[key] == copy[key]
    assert here["name"] == "client"
    assert here["address"].count(":") == 1
    lab.nodes["a"].openvpn.kill()
    lab.move_vips("b")
    lab.wait_master("b")
    after = told(lab, "b")
    assert (after["role"], after["moved"], after["origin"]) == ("master", True, "a")
    assert (after["uid"], after["since"]) == (here["uid"], here["since"])
