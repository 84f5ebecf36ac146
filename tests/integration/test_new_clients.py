"""A client that is connected is protected: its master may die in the very next moment."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.rows import CONTROL_CHANNEL, Row, write_files
from tests.lab import plan
from tests.lab.clientlog import CONNECTED, noticed
from tests.lab.lab import Lab
from tests.lab.openvpn import Client
from tests.lab.packetfilter import ACK, CONTROL, PacketFilter
from tests.lab.waiting import wait_patiently, wait_until

pytestmark = pytest.mark.integration

CONTROL_WKC = 11
"""Opcode P_CONTROL_WKC_V1: a client's second packet with tls-crypt-v2 and force-cookie."""

FIRST_ANSWER = "TLS: Initial packet from"
CONTROL_CHANNELS = (Row("tls-crypt"), *CONTROL_CHANNEL)
ROUNDS = 4
MISSES = 3
TOLD_SECONDS = 3.0
"""After which a counter of OpenVPN has come to be told."""


def reaches_the_lan(lab: Lab) -> bool:
    """Whether an answer comes through the tunnel."""
    command = ["ping", "-c", "1", "-W", "1", plan.LAN.address(100)]
    namespace = lab.topology.namespace("client")
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *command], capture_output=True, check=False
    )
    return done.returncode == 0


def connected_at(client: Client) -> int:
    """When the client was connected, on the wall clock."""
    return next(line.time for line in client.log() if CONNECTED in line.text)


def count(lab: Lab, counter: str) -> int:
    """A counter of the master."""
    figures = lab.nodes["a"].sidecar.instance()
    return 0 if figures is None else int(figures["counters"].get(counter, 0))


def wait_waiting(lab: Lab, name: str) -> None:
    """Let clients of this name connect until one waits for the standby."""
    numbers = iter(range(100))

    def waits() -> bool:
        before = count(lab, "released_by_ack")
        lab.start_client(f"{name}{next(numbers)}").process.stop()
        return count(lab, "released_by_ack") > before

    wait_until(waits, "new clients wait for the standby", PATIENCE)


def test_the_master_dies_right_after_a_client_connected(manual_lab: Lab) -> None:
    lab = manual_lab
    lab.start_cluster()
    master = "a"
    for number in range(ROUNDS):
        standby = lab.other(master)
        lab.wait_in_sync(standby)
        client = lab.start_client(f"new{number}")
        lab.nodes[master].openvpn.kill()
        lab.move_vips(standby)
        lab.wait_master(standby)
        wait_until(lambda: reaches_the_lan(lab), "an answer through the tunnel", PATIENCE)
        assert noticed(client.log(), connected_at(client) + 1).nothing
        client.process.stop()
        lab.nodes[master].openvpn.start()
        master = standby


@pytest.mark.sampled(2)
@pytest.mark.parametrize("row", CONTROL_CHANNELS, ids=[row.name for row in CONTROL_CHANNELS])
def test_the_master_dies_before_a_client_hello(make_lab: MakeLab, row: Row) -> None:
    """It has answered the client's first packet; another node takes the client's second one."""
    lab = make_lab(
        vip_manager=None,
        tls_crypt=row.tls_crypt,
        server_options=row.server,
        client_options=row.client,
    )
    write_files(row, lab)
    lab.start_cluster()
    lab.wait_in_sync("b")
    packets = PacketFilter(lab.nodes["a"].namespace)
    packets.refuse(CONTROL, ACK, CONTROL_WKC)
    client = lab.launch_client()
    wait_until(packets.refused, "an answer to the first packet", PATIENCE)
    lab.nodes["a"].openvpn.kill()
    lab.move_vips("b")
    client.wait_connected()
    assert sum(FIRST_ANSWER in line.text for line in client.log()) == 1
    assert reaches_the_lan(lab)


def test_the_master_dies_before_its_server_hello_arrives(manual_lab: Lab) -> None:
    """The client repeats its ClientHello, and another node answers that."""
    lab = manual_lab
    lab.start_cluster()
    lab.wait_in_sync("b")
    packets = PacketFilter(lab.nodes["a"].namespace)
    packets.withhold(CONTROL)
    client = lab.launch_client()
    wait_until(packets.refused, "a ServerHello", PATIENCE)
    lab.nodes["a"].openvpn.kill()
    lab.move_vips("b")
    client.wait_connected()
    assert sum(FIRST_ANSWER in line.text for line in client.log()) == 1
    assert reaches_the_lan(lab)


def test_a_cut_bcn_makes_three_clients_wait_in_vain_and_no_more(manual_lab: Lab) -> None:
    lab = manual_lab
    lab.start_cluster()
    lab.wait_in_sync("b")
    wait_waiting(lab, "before")
    attempts = itertools.count()

    def some_wait() -> int:
        """How many have waited in vain after the cable was pulled; it is in again."""
        attempt = next(attempts)
        lab.topology.set_links("b", "down")
        for number in range(MISSES + 2):
            lab.start_client(f"new{attempt}-{number}").process.stop()
        wait_patiently(lambda: count(lab, "released_by_deadline"), TOLD_SECONDS)
        waited = count(lab, "released_by_deadline")
        lab.topology.set_links("b", "up")
        lab.wait_in_sync("b")
        return waited

    # A busy machine may be so slow that the standby is believed dead before the first of them, or
    # the third.
    waited = wait_until(some_wait, "clients that wait in vain", PATIENCE)
    assert waited <= MISSES
    wait_waiting(lab, "after")
