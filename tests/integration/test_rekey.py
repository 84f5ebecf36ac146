"""A client that was taken over gets new keys; one whose newest key never arrived is healed."""

from __future__ import annotations

import pytest

from tests.integration.conftest import MakeLab, configure
from tests.integration.pace import PATIENCE, is_short
from tests.integration.rows import LOGIN, VERIFY, Row, genkey, write_files
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.session import Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

# OpenVPN starts no renegotiation while its newest key is younger than this, and a client sends on
# its old key for as long.
HAND_WINDOW = 4
OPTIONS = (f"hand-window {HAND_WINDOW}",)
# A few seconds until it is clear that the key is unknown, then a reconnection.
HEALED_WITHIN = 20.0


def rekeyed(lab: Lab, name: str) -> tuple[int, int, int]:
    """How far a node has come: pending, done, left."""
    figures = lab.nodes[name].sidecar.instance()
    rekey = figures["rekey"] if figures else {"pending": -1, "done": -1, "left": -1}
    return rekey["pending"], rekey["done"], rekey["left"]


def test_a_client_gets_new_keys_after_a_takeover_by_itself(make_lab: MakeLab) -> None:
    lab = make_lab(server_options=OPTIONS)
    lab.start_cluster()
    session = Session(lab)
    killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    wait_until(lambda: rekeyed(lab, "b") == (0, 1, 0), "the client has a new key", PATIENCE)
    session.linger(HAND_WINDOW + 1.0)  # both ends have sent under it
    assert session.noticed(killed).renegotiations == 1
    assert is_short(session, killed, 1000)
    now = session.mark()
    assert session.recovers(now, PATIENCE)
    assert session.noticed(killed).nothing
    assert session.finish() == ""


def test_a_client_that_would_be_asked_for_its_password_is_left_alone(make_lab: MakeLab) -> None:
    """Its auth-token is of another server, which shares no secret with this one."""
    own_secrets = ("auth-gen-token 0", "auth-gen-token-secret token.key")
    row = Row(
        "own-token-secrets",
        server=(*VERIFY, *own_secrets, *OPTIONS),
        client=("auth-user-pass login", "auth-nocache"),
        files=LOGIN,
    )
    lab = make_lab(server_options=row.server, client_options=row.client)
    write_files(row, lab)
    for name in lab.nodes:
        genkey(lab.directory / name, "auth-token", "token.key")
    configure(lab, 'name = "udp"', 'name = "udp"\ntolerate = ["digest"]')  # they differ in it
    lab.start_cluster()
    session = Session(lab)
    killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    wait_until(lambda: rekeyed(lab, "b") == (0, 0, 1), "the client is left alone", PATIENCE)
    session.linger(HAND_WINDOW + 2.0)
    assert session.noticed(killed).renegotiations == 0
    assert session.noticed(killed).nothing
    assert session.finish() == ""


@pytest.mark.sampled(1)
@pytest.mark.parametrize("rounds", [1, 2], ids=["one-key-behind", "two-keys-behind"])
def test_a_client_whose_newest_key_never_arrived_is_healed(make_lab: MakeLab, rounds: int) -> None:
    lab = make_lab(vip_manager=None, server_options=OPTIONS)
    lab.start_cluster()
    session = Session(lab)
    lab.topology.set_links("b", "down")
    begun = session.mark()
    for number in range(1, rounds + 1):
        session.linger(HAND_WINDOW + 1.0)
        lab.nodes["a"].sidecar.renegotiate()
        wait_until(
            lambda number=number: session.noticed(begun).renegotiations >= number,  # type: ignore[misc]
            "a renegotiation",
            PATIENCE,
        )
    session.linger(HAND_WINDOW + 1.0)  # the client sends under its newest key now
    killed = session.strike(kill_openvpn)
    lab.nodes["a"].sidecar.process.kill()
    lab.topology.set_links("b", "up")
    lab.move_vips("b")
    assert session.recovers(killed, HEALED_WITHIN)
    session.linger(2.0)
    assert is_short(session, killed, HEALED_WITHIN * 1000)
