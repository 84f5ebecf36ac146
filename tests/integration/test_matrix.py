"""Every kind of client and server survives its server's death, and a renegotiation after it.

The addresses are moved by hand as soon as the master is dead: here counts that nobody notices, the
figures are the lab's business.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.integration.conftest import OLD_CLIENT, MakeLab
from tests.integration.pace import PATIENCE, is_short
from tests.integration.rows import ROWS, Row, write_files
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.openvpn import STOCK
from tests.lab.session import Moment, Session
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

EXPORTER = "tls-ekm"  # what a client says whose keys come from TLS itself, since 2.6
HAND_WINDOW = 2
COMMON = (f"hand-window {HAND_WINDOW}", "status status.log 1", "status-version 2")


def take_over(lab: Lab, session: Session) -> Moment:
    """The master's OpenVPN dies, and the VIP manager sees it."""
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
    assert is_short(session, asked, 1000)


def expect_large_packets(lab: Lab) -> None:
    """Full packets go both ways: whole, in fragments, compressed.

    On a busy machine a burst may outlive ping's patience, which is two round trips: then once more.
    """
    for size in (1200, 1372):
        what = f"all of 20 packets of {size} bytes"
        wait_until(lambda size=size: have_answers(lab, size), what, PATIENCE)  # type: ignore[misc]


def have_answers(lab: Lab, size: int) -> bool:
    """Whether each of some packets of so many bytes to the client was answered."""
    command = ["ping", "-c", "20", "-i", "0.02", "-W", "2", "-s", str(size), lab.tunnel_address()]
    host = ["ip", "netns", "exec", lab.topology.namespace("lan")]
    done = subprocess.run([*host, *command], capture_output=True, text=True, check=False)
    print(done.stdout)
    return " 0% packet loss" in done.stdout


def read_decompressed(lab: Lab) -> tuple[int, int]:
    """Bytes that the client got so far, and what it made of them, as of its last status."""

    def read() -> tuple[int, int] | None:
        text = (lab.directory / "client.status").read_text()
        found = re.search(r"^pre-decompress bytes,(\d+)\npost-decompress bytes,(\d+)\n", text, re.M)
        return (int(found[1]), int(found[2])) if found else None

    figures = wait_until(read, "a status that is written whole", PATIENCE)
    assert figures is not None
    return figures


def expect_compressed(lab: Lab) -> None:
    """What the server sends from now on is shorter than what the client makes of it."""
    short, long = read_decompressed(lab)

    def compressed() -> bool:
        got, made = read_decompressed(lab)
        return made - long > 40_000 and got - short < 0.9 * (made - long)

    expect_large_packets(lab)
    wait_until(compressed, "the client decompresses", PATIENCE)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_the_client_notices_nothing(make_lab: MakeLab, row: Row) -> None:
    lab = make_lab(
        vip_manager=None,
        tls_crypt=row.tls_crypt,
        client_openvpn=OLD_CLIENT if row.old_client else STOCK,
        server_options=(*COMMON, *row.server),
        client_options=(f"hand-window {HAND_WINDOW}", *row.client),
    )
    write_files(row, lab)
    lab.start_cluster()
    session = Session(lab)
    log = "\n".join(line.text for line in session.client.log())
    assert row.client_log in log
    assert (EXPORTER in log) is not row.old_client
    expect_large_packets(lab)
    killed = take_over(lab, session)
    expect_large_packets(lab)
    status = lab.directory / "b" / "status.log"
    for text in row.status:
        wait_until(lambda one=text: one in status.read_text(), f"status says {text}", PATIENCE)  # type: ignore[misc]
    renegotiate(lab, session)
    expect_large_packets(lab)
    if row.compresses:
        expect_compressed(lab)
    assert session.recovers(session.mark(), PATIENCE)
    seen = session.noticed(killed)
    assert seen.nothing, seen
    assert session.finish() == ""
