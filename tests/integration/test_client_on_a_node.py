"""A stock client that runs on a node itself and connects to the VIP, wherever that is.

While its own node is master the datagrams never leave the machine; when the VIP goes, they do. The
client is none the wiser either way.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.pace import PATIENCE
from tests.lab.clientlog import noticed
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.openvpn import Client
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

DEVICE = "tun1"
OPTIONS = ("ifconfig-noexec", "status own.status 1")
"""Without the address, whose network the server on this node has, too."""


def set_up(namespace: str) -> None:
    """A device that is down takes no packet, and OpenVPN waits for it and reads nothing more."""
    subprocess.run(["ip", "-n", namespace, "link", "set", DEVICE, "up"], check=True)


def received(status: Path) -> list[int]:
    """Bytes that the client has read from its tunnel's carrier; none while the file is written."""
    found = re.findall(r"^TCP/UDP read bytes,(\d+)\n", status.read_text(), re.M)
    return [int(one) for one in found]


def hears(lab: Lab, client: Client) -> None:
    """Wait until the client has heard from a server twice, later than now."""
    status = lab.directory / "own.status"
    wait_until(status.exists, "a status of the client", PATIENCE)
    for _ in range(2):
        before = wait_until(lambda: received(status), "a whole status", PATIENCE)
        wait_until(lambda: received(status) > before, "something from the server", PATIENCE)  # noqa: B023
    client.process.expect_running()


def test_it_stays_connected_while_the_role_goes_away_and_comes_back(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(keepalive="1 15")
    lab.start_cluster()
    client = lab.launch_beside("own", OPTIONS, host="a")
    client.wait_connected()
    set_up(lab.nodes["a"].namespace)
    hears(lab, client)
    begin = time.time_ns()
    for old, new in ("ab", "ba"):
        lab.wait_in_sync(new)
        kill_openvpn(lab, lab.nodes[old])
        lab.wait_master(new)
        hears(lab, client)
        lab.nodes[old].openvpn.start()
    assert noticed(client.log(), begin).nothing
