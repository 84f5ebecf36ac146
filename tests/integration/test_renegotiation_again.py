"""A client that has been taken over before is caught in a renegotiation: known, and told so.

Its renegotiation begins together with a new generation, since the key before the last one goes. The
client's control packets are let through up to the Nth, then its master is killed.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.session import TURNS, Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

HAND_WINDOW = 6
OPTIONS = (f"hand-window {HAND_WINDOW}",)
SETTLE_SECONDS = HAND_WINDOW + 4.0
FROZEN_SECONDS = 0.5  # a handshake on a LAN is over, or stands still, after this
BOUND_MS = 2500.0
ALLOWED = (2, 6)


class Freeze:
    """Drops the client's control packets of a renegotiation after so many."""

    def __init__(self, lab: Lab, allowed: int) -> None:
        self._run = ["ip", "netns", "exec", lab.topology.namespace("client"), "nft"]
        self._allowed = allowed

    def __enter__(self) -> Freeze:
        # An opcode is the upper 5 bits of the first byte, a key id the lower 3.
        which = "udp dport 1194 @th,64,5 { 3, 4, 5 } @th,69,3 != 0"
        over = f"limit rate over 1/day burst {self._allowed} packets" if self._allowed else ""
        rules = f"""
            table inet oha-freeze {{
                counter begun {{ }}
                chain out {{
                    type filter hook output priority 0;
                    {which} counter name begun
                    {which} {over} drop
                }}
            }}"""
        subprocess.run([*self._run, "-f", "-"], input=rules, text=True, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._run, "delete", "table", "inet", "oha-freeze"], check=True)

    def begun(self) -> bool:
        """Whether the client has answered at all, whatever became of it."""
        command = [*self._run, "list", "counter", "inet", "oha-freeze", "begun"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return "packets 0 " not in found


def die(session: Session, allowed: int | None) -> float:
    """The master dies; the client's longest gap in milliseconds until everything has settled."""
    lab = session.lab
    session.linger(SETTLE_SECONDS)
    master = lab.master
    lab.wait_in_sync(lab.other(master.name))
    if allowed is None:
        killed = session.strike(kill_openvpn)
    else:
        with Freeze(lab, allowed) as freeze:
            master.sidecar.renegotiate()
            wait_until(freeze.begun, "a renegotiation", PATIENCE)
            session.linger(FROZEN_SECONDS)
            killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    session.linger(SETTLE_SECONDS)
    gap = session.outage_ms(killed) - TURNS * session.late_ms(killed)
    master.openvpn.start()
    return gap


def test_the_master_dies_in_later_renegotiations(make_lab: MakeLab) -> None:
    lab = make_lab(server_options=OPTIONS, client_options=OPTIONS)
    lab.start_cluster()
    session = Session(lab)
    gaps = {allowed: die(session, allowed) for allowed in (None, *ALLOWED)}
    assert {key: gap for key, gap in gaps.items() if gap > BOUND_MS} == {}
