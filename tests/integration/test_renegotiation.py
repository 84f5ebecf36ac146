"""The master dies at each instant of a renegotiation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovpnha.lab.packetfilter import CONTROL, PacketFilter
from ovpnha.lab.renegotiation import BOUND_MS, INSTANTS, broken_promises, run
from ovpnha.lab.scenarios import kill_openvpn
from ovpnha.lab.session import Session
from ovpnha.lab.waiting import wait_until
from tests.integration.conftest import OLD_CLIENT, OPENVPN, MakeLab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

RUNS = 2
PATIENCE = 20.0
CLIENT_WINDOW = 2
"""Seconds until the client gives a handshake up: before the new master would tell it to."""


@pytest.mark.parametrize("instant", list(INSTANTS))
def test_the_master_dies_at_an_instant_of_a_renegotiation(instant: str) -> None:
    openvpn: Path = OPENVPN
    outcomes = [run(instant, number, openvpn) for number in range(1, RUNS + 1)]
    assert broken_promises(outcomes) == []


def test_an_old_client_is_told_its_key_too() -> None:
    """What it is told, and when, decides which keys it derives by OpenVPN's own function."""
    assert broken_promises([run("key-pending", 1, OPENVPN, OLD_CLIENT)]) == []


@pytest.mark.parametrize("key_id", [0, 1])
def test_a_handshake_is_given_up_after_the_takeover(make_lab: MakeLab, key_id: int) -> None:
    """The key that the client goes on sending with is kept, unless the new one would hide it."""
    window = f"hand-window {CLIENT_WINDOW}"
    lab = make_lab(
        keepalived=False,
        server_options=(window,),
        client_options=(window, f"tls-timeout {4 * CLIENT_WINDOW}"),
    )
    lab.start_cluster()
    session = Session(lab)
    master = lab.nodes["a"]
    begun = session.mark()
    for _ in range(key_id):
        session.linger(CLIENT_WINDOW + 1.5)
        master.sidecar.renegotiate()
        wait_until(lambda: session.noticed(begun).renegotiations, "a new key", PATIENCE)
    session.linger(CLIENT_WINDOW + 1.5)
    lab.wait_in_sync("b")
    packets = PacketFilter(master.namespace)
    packets.refuse(CONTROL)
    master.sidecar.renegotiate()
    wait_until(packets.refused, "a ClientHello", PATIENCE)
    killed = session.strike(kill_openvpn)
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    wait_until(lambda: session.noticed(killed).hard_resets, "a hard reset", PATIENCE)
    session.linger(4 * CLIENT_WINDOW)
    seen = session.noticed(killed)
    if key_id:
        assert not seen.restarts
        assert "key 1 is kept" in lab.nodes["b"].openvpn.log.read_text()
    assert session.outage_ms(killed) < BOUND_MS
