"""The sidecar dies and starts again on either node, under traffic and with a full table."""

from __future__ import annotations

import json
import time

import pytest

from ovpnha.node.memory import AWAY_MAX
from tests.integration.pace import PATIENCE
from tests.lab.lab import Lab
from tests.lab.measure import lost
from tests.lab.session import Session
from tests.lab.sidecar import Sidecar
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

CLIENTS = 100
# The promise is 2 s on a machine that has nothing else to do; a busy one starts Python slowly, and
# keepalived may meanwhile have moved the address away from a sidecar that says nothing.


def tables_equal(lab: Lab, clients: int) -> bool:
    """There is one master, and the standby holds every client of it at its generation."""
    found = [node.sidecar.instance() for node in lab.nodes.values()]
    by_role = {one["role"]: one for one in found if one is not None}
    if set(by_role) != {"master", "standby"}:
        return False
    master, standby = by_role["master"], by_role["standby"]
    counts = [master["clients"], master["protected"], standby["clients"], standby["records"]]
    return set(counts) == {clients} and not standby["stale"]


def is_remembered(sidecar: Sidecar) -> bool:
    """Whether the next sidecar will find what this one knows of its OpenVPN."""
    known, told = json.loads(sidecar.memory.read_text()), sidecar.instance() or {}
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return (
        (known["source"], known["epoch"]) == (told.get("role") == "master", told.get("epoch"))
        and known["whole"] is not False
        and 0 <= since_boot - sidecar.memory.stat().st_mtime < AWAY_MAX
    )


@pytest.mark.parametrize("node", ["a", "b"], ids=["master", "standby"])
def test_tables_are_equal_again(lab: Lab, node: str) -> None:
    lab.start_cluster()
    session = Session(lab)
    lab.start_clients(CLIENTS)
    clients = CLIENTS + 1
    wait_until(lambda: tables_equal(lab, clients), f"{clients} clients on both nodes", 90)
    since = session.mark()
    lab.nodes[node].sidecar.process.kill()
    session.linger(0.5)
    lab.nodes[node].sidecar.process.start()
    started = time.monotonic()
    wait_until(lambda: tables_equal(lab, clients), "equal tables after the restart", PATIENCE)
    print(f"tables equal after {time.monotonic() - started:.2f} s")
    lab.wait_standbys(PATIENCE)  # a copy counts as whole a moment after it has everything
    sidecar = lab.nodes[node].sidecar
    wait_until(lambda: is_remembered(sidecar), "it is written down", PATIENCE)
    session.linger(1.0)
    session.forward.stop()
    during = [probe for probe in session.forward.probes() if probe.sent > since.monotonic]
    assert lost(during) == 0
    assert session.noticed(since).nothing
    assert session.finish() == ""
