"""The master dies at each instant of a renegotiation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import OLD_CLIENT, OPENVPN, MakeLab
from tests.integration.pace import PATIENCE, is_short
from tests.lab.deaths import kill_openvpn
from tests.lab.packetfilter import CONTROL, PacketFilter
from tests.lab.renegotiation import BOUND_MS, INSTANTS, broken_promises, run
from tests.lab.session import Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

RUNS = 2
CLIENT_WINDOW = 2
"""Seconds until the client gives a handshake up: before the new master would tell it to."""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("instant", list(INSTANTS))
def test_the_master_dies_at_an_instant_of_a_renegotiation(instant: str) -> None:
    openvpn: Path = OPENVPN
    outcomes = [run(instant, number, openvpn) for number in range(1, RUNS + 1)]
    assert broken_promises(outcomes) == []


def test_an_old_client_is_told_its_key_too() -> None:
    """What it is told, and when, decides which keys it derives by OpenVPN's own function."""
    assert broken_promises([run("key-pending", 1, OPENVPN, OLD_CLIENT)]) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize("key_id", [0, 1])
def test_a_handshake_is_given_up_after_the_takeover(make_lab: MakeLab, key_id: int) -> None:
    """The key that the client goes on sending with is kept, also beside one of the same id."""
    window = f"hand-window {CLIENT_WINDOW}"
    lab = make_lab(
        vip_manager=None,
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
    assert not seen.restarts
    assert f"key {key_id} is kept" in lab.nodes["b"].openvpn.log.read_text()
    assert is_short(session, killed, BOUND_MS)
