"""A configuration without ``cluster``: the patched OpenVPN is the distribution's in all it says.

Both serve the same client from the same configuration. What they log at verb 4, what their
management interface offers, and the mode of its socket are compared; figures, addresses, random
numbers and the lines about the build itself are not.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovpnha.lab.clientlog import parse_line
from ovpnha.lab.lab import Lab
from ovpnha.lab.openvpn import STOCK
from ovpnha.lab.waiting import wait_until
from tests.integration.conftest import OPENVPN, MakeLab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

VARIABLE = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|[0-9a-f]+(:[0-9a-f]*){2,}|\d+(\.\d+)*")
BUILD = re.compile(r"^OpenVPN [\d.]+ |^library versions|^DCO version|\[git:")


@dataclass(frozen=True)
class Said:
    """All that is compared."""

    log: frozenset[str]
    management: dict[str, list[str]]
    socket_mode: int


def normal(text: str) -> str:
    return VARIABLE.sub("#", text)


def ask(path: Path, command: str) -> list[str]:
    """One command on the management interface: the lines of its answer, sorted."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10)
        one.connect(str(path))
        one.sendall(f"{command}\n".encode())
        said, deadline = b"", time.monotonic() + 10
        while b"\nEND" not in said and b"SUCCESS: nclients" not in said:
            assert time.monotonic() < deadline, said
            said += one.recv(65536)
    return sorted(normal(said.decode()).splitlines())


def serve(lab: Lab) -> Said:
    """Let node a serve one client, and end."""
    node = lab.nodes["a"]
    lab.vips.start()
    lab.move_vips("a")
    node.openvpn.start()
    lab.start_client()
    path = node.directory / "stock.sock"
    wait_until(path.exists, "the management socket", 10)
    commands = ("help", "status 3", "load-stats")
    management = {command: ask(path, command) for command in commands}
    mode = path.stat().st_mode
    lab.clients[0].process.stop()
    node.openvpn.stop()
    lines = node.openvpn.log.read_text(errors="replace").splitlines()
    texts = [
        line.text.replace(str(lab.directory), "DIR")
        for one in lines
        if (line := parse_line(one)) is not None
    ]
    return Said(
        frozenset(normal(text) for text in texts if not BUILD.search(text)), management, mode
    )


def served_by(make_lab: MakeLab, binary: Path) -> Said:
    options = ("management stock.sock unix", "explicit-exit-notify 1")
    lab = make_lab(
        openvpn=binary,
        seamless=False,
        keepalived=False,
        server_options=options,
        client_options=("explicit-exit-notify 1",),
    )
    return serve(lab)


def test_all_it_says_is_the_same(make_lab: MakeLab) -> None:
    theirs, ours = served_by(make_lab, STOCK), served_by(make_lab, OPENVPN)
    assert len(theirs.log) > 200
    assert ours.socket_mode == theirs.socket_mode
    assert ours.management["status 3"] == theirs.management["status 3"]
    assert ours.management["load-stats"] == theirs.management["load-stats"]
    assert ours.log == theirs.log
    more = set(ours.management["help"]) ^ set(theirs.management["help"])
    assert [one for one in more if not one.startswith("cluster-")] == []
