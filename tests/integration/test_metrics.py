"""What Prometheus sees of real nodes: room, distance, clocks, and each client when wanted."""

from __future__ import annotations

import re
import subprocess
from functools import partial

import pytest

from tests.integration.conftest import configure
from tests.integration.pace import PATIENCE
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration


FAR = 1.0
"""Seconds: no node of a lab is as far away. One figure is the best of eight, so a busy machine
comes below it sooner or later."""

WRONG = 0.05
"""Seconds by which a clock may seem wrong beyond half the way: both nodes have the same clock, and
the way there takes no less than nothing and no more than all of it."""

FULL_KEY = 1 << 31
"""Packet ids: a new key has more than this left, whatever was granted."""


def scrape(lab: Lab, name: str) -> dict[str, float]:
    """Samples of a node, by name and labels; none while its sidecar serves no page yet."""
    command = [
        "ip",
        "netns",
        "exec",
        lab.topology.namespace(name),
        "curl",
        "-sS",
        "--max-time",
        "5",
    ]
    page = subprocess.run(
        [*command, "http://127.0.0.1:9594/metrics"], capture_output=True, text=True, check=False
    ).stdout
    pairs = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return {key: float(value) for key, value in pairs}


def measures(lab: Lab, name: str, other: str) -> bool:
    """Whether a node knows how far the other is, and that its clock is right."""
    samples, place = scrape(lab, name), f'{{instance="udp",other_node="{other}"}}'
    away = samples.get(f"ovpnha_node_round_trip_seconds{place}", FAR)
    offset = samples.get(f"ovpnha_node_clock_offset_seconds{place}", FAR)
    return 0 < away < FAR and abs(offset) < away / 2 + WRONG


def test_figures_of_real_nodes(manual_lab: Lab) -> None:
    lab = manual_lab
    configure(lab, 'name = "udp"', 'name = "udp"\nclient_metrics = "names"')
    lab.start_cluster()
    lab.start_clients(2)
    client = re.compile(r'openvpn_server_client_received_bytes_total\{common_name="[^"]+"')

    def told() -> dict[str, float] | None:
        samples = scrape(lab, "a")
        received = [value for key, value in samples.items() if client.match(key)]
        return samples if len(received) == 2 and all(received) else None

    master = wait_until(told, "every client has its figures", PATIENCE)
    standby = wait_until(lambda: scrape(lab, "b"), "the standby serves its page", PATIENCE)
    assert master is not None
    assert master['ovpnha_packet_id_room_lowest{instance="udp"}'] > FULL_KEY
    assert not [key for key in standby if key.startswith("ovpnha_packet_id_room")]
    assert not [key for key in standby if client.match(key)]
    for name, other in (("a", "b"), ("b", "a")):
        wait_until(partial(measures, lab, name, other), "a true distance and clock", PATIENCE)
    assert master["ovpnha_digest_mismatches_total"] == 0
    assert master['ovpnha_last_promotion_phase_seconds{instance="udp",phase="promoted"}'] > 0
