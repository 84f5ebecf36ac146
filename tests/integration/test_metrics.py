"""What Prometheus sees of real nodes: room, distance, clocks, and each client when wanted."""

from __future__ import annotations

import re
import subprocess

import pytest

from ovpnha.coordinator.serverfigures import CLIENTS_EVERY
from ovpnha.lab.lab import Lab
from ovpnha.lab.waiting import wait_until
from tests.integration.test_guards import configure

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PATIENCE = 2 * CLIENTS_EVERY + 10.0

FULL_KEY = 1 << 31
"""Packet ids: a new key has more than this left, whatever was granted."""


def scrape(lab: Lab, name: str) -> dict[str, float]:
    """Samples of a node, by name and labels."""
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
        [*command, "http://127.0.0.1:9594/metrics"], capture_output=True, text=True, check=True
    ).stdout
    pairs = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return {key: float(value) for key, value in pairs}


def test_figures_of_real_nodes(manual_lab: Lab) -> None:
    lab = manual_lab
    configure(lab, 'name = "udp"', 'name = "udp"\nclient_metrics = "names"')
    lab.start_cluster()
    lab.start_clients(2)
    client = re.compile(r'openvpn_server_client_received_bytes_total\{common_name="[^"]+"')

    def told() -> bool:
        return len([key for key in scrape(lab, "a") if client.match(key)]) == 2

    wait_until(told, "every client has its figures", PATIENCE)
    master, standby = scrape(lab, "a"), scrape(lab, "b")
    assert master['ovpnha_packet_id_room_lowest{instance="udp"}'] > FULL_KEY
    assert not [key for key in standby if key.startswith("ovpnha_packet_id_room")]
    assert not [key for key in standby if client.match(key)]
    assert all(value > 0 for key, value in master.items() if client.match(key))
    for samples, other in ((master, "b"), (standby, "a")):
        place = f'{{instance="udp",other_node="{other}"}}'
        assert 0 < samples[f"ovpnha_node_round_trip_seconds{place}"] < 0.1
        assert abs(samples[f"ovpnha_node_clock_offset_seconds{place}"]) < 0.1
    assert master["ovpnha_digest_mismatches_total"] == 0
    assert master['ovpnha_last_promotion_phase_seconds{instance="udp",phase="promoted"}'] > 0
