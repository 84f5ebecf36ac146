"""A handshake fails, and the client begins anew within its connection: later ones must not fail.

The first renegotiation after that needs a control channel key which both sides make of the new
session. A client whose data channel is in the kernel is another matter: `make test-dco`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.measure import MS
from tests.lab.node import Setup
from tests.lab.packetfilter import CONTROL, PacketFilter
from tests.lab.renegotiation import CLIENT_WINDOW, SERVER_WINDOW
from tests.lab.session import TURNS, Session
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PATIENCE = 40.0
PUSHED_AGAIN = 31.0
"""Seconds after which OpenVPN itself answers another request for what is pushed."""

BOUND_MS = 2500.0


def begin_anew(session: Session, after: float) -> None:
    """Spoil a renegotiation until the client gives it up."""
    lab = session.lab
    packets = PacketFilter(lab.master.namespace)
    session.linger(after)
    begun = session.mark()
    packets.refuse(CONTROL)
    lab.master.sidecar.renegotiate()
    wait_until(lambda: session.noticed(begun).hard_resets, "a hard reset", PATIENCE)
    packets.lift()
    wait_until(lambda: session.noticed(begun).reconnects, "a new session", PATIENCE)
    assert not session.noticed(begun).restarts, "the client did not get what is pushed"


def renegotiate(session: Session) -> None:
    """Have the master renegotiate once the key is old enough, and wait until that is done."""
    session.linger(max(SERVER_WINDOW, CLIENT_WINDOW) + 2.0)
    asked = session.mark()
    session.lab.master.sidecar.renegotiate()
    wait_until(lambda: session.noticed(asked).renegotiations, "a new key", PATIENCE)
    session.linger(CLIENT_WINDOW + 1.0)


def try_renegotiation_after_reset(openvpn: Path, *, moved: bool) -> str:
    """The gap that it cost; ``moved``: another server goes on with the new session."""
    setup = Setup(
        openvpn=openvpn,
        vip_manager=None,
        server_options=(f"hand-window {SERVER_WINDOW}",),
        client_options=(f"hand-window {CLIENT_WINDOW}",),
    )
    with Lab(setup) as lab:
        lab.start_cluster()
        session = Session(lab)
        begin_anew(session, PUSHED_AGAIN if moved else SERVER_WINDOW + 1.5)
        begun = session.mark()
        assert session.recovers(begun, PATIENCE), "the client has not come back"
        if moved:
            lab.wait_in_sync("b")
            session.strike(kill_openvpn)
            lab.move_vips("b")
            lab.wait_master("b")
        since = session.mark()
        renegotiate(session)
        gap = session.gap(since).length / MS
        assert session.noticed(begun).nothing, "the client has begun anew once more"
        bound = BOUND_MS + TURNS * session.late_ms(since)
        assert gap < bound, f"{gap:.0f} ms without an answer"
        return f"{gap:.0f} ms"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("moved", [False, True], ids=["same-server", "another-server"])
def test_a_client_that_began_anew_can_be_renegotiated_with(moved: bool) -> None:
    try_renegotiation_after_reset(OPENVPN, moved=moved)
