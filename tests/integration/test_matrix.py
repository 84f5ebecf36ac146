"""Every kind of client and server survives its server's death, and a renegotiation after it.

The addresses are moved by hand as soon as the master is dead: here counts that nobody notices, the
figures are the lab's business.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ovpnha.lab.lab import Lab
from ovpnha.lab.scenarios import kill_openvpn
from ovpnha.lab.session import Moment, Session
from ovpnha.lab.waiting import wait_until
from tests.integration.conftest import OPENVPN, MakeLab
from tests.integration.rows import ROWS, Row

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PATIENCE = 20.0
HAND_WINDOW = 2
COMMON = (f"hand-window {HAND_WINDOW}", "status status.log 1", "status-version 2")


def write_files(row: Row, lab: Lab) -> None:
    files = row.files
    for name, text in files.items():
        path = lab.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    if "v2-server" in "".join(row.server):
        make_v2_keys(lab.directory)
    if "token.key" in "".join(row.server):
        genkey(lab.directory, "auth-token", "token.key")
    for name in lab.nodes:
        for kept in ("status.log", "ipp.txt", "scripts.log"):  # written by who is nobody then
            (lab.directory / name / kept).touch(0o666)
            (lab.directory / name / kept).chmod(0o666)


def genkey(directory: Path, kind: str, file: str, *more: str) -> None:
    command = [str(OPENVPN), *more, "--genkey", kind, file]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


def make_v2_keys(directory: Path) -> None:
    genkey(directory, "tls-crypt-v2-server", "v2-server.key")
    genkey(directory, "tls-crypt-v2-client", "v2-client.key", "--tls-crypt-v2", "v2-server.key")


def take_over(lab: Lab, session: Session) -> Moment:
    """The master's OpenVPN dies, and whoever moves addresses sees it."""
    killed = session.strike(kill_openvpn)
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    return killed


def renegotiate(lab: Lab, session: Session) -> None:
    """The new master renegotiates, once the key is old enough for that."""
    session.linger(HAND_WINDOW + 1.0)
    asked = session.mark()
    lab.nodes["b"].sidecar.renegotiate()
    wait_until(
        lambda: session.noticed(asked).renegotiations, "a renegotiation by the server", PATIENCE
    )
    session.linger(0.5)
    assert session.outage_ms(asked) < 1000


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_the_client_notices_nothing(make_lab: MakeLab, row: Row) -> None:
    lab = make_lab(
        keepalived=False,
        tls_crypt=row.tls_crypt,
        server_options=(*COMMON, *row.server),
        client_options=(f"hand-window {HAND_WINDOW}", *row.client),
    )
    write_files(row, lab)
    lab.start_cluster()
    session = Session(lab)
    assert row.client_log in "\n".join(line.text for line in session.client.log())
    killed = take_over(lab, session)
    status = lab.directory / "b" / "status.log"
    for text in row.status:
        wait_until(lambda one=text: one in status.read_text(), f"status says {text}", PATIENCE)  # type: ignore[misc]
    renegotiate(lab, session)
    assert session.recovers(session.mark(), PATIENCE)
    seen = session.noticed(killed)
    assert seen.nothing, seen
    assert session.finish() == ""
