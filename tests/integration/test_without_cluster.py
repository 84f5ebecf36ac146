"""A configuration without ``cluster``: the patched OpenVPN is the distribution's in all it says.

Both serve the same client from the same configuration. What they log at verb 4 and the mode of the
management interface's socket are compared; figures, addresses, random numbers and the lines about
the build itself are not. What the management interface says is compared byte by byte, but for the
figures of what is different each time.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN, MakeLab
from tests.integration.pace import PATIENCE
from tests.lab.clientlog import parse_line
from tests.lab.lab import Lab
from tests.lab.openvpn import STOCK
from tests.lab.waiting import connect

pytestmark = pytest.mark.integration

VARIABLE = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|[0-9a-f]+(:[0-9a-f]*){2,}|\d+(\.\d+)*")
NOT_THERE = (
    *("cluster", "cluster-status", "cluster-list", "cluster-promote 1.a", "cluster-nonsense"),
    *("cluster-import 0123456789abcdef 1", "nonsense"),
)
EXACTLY = (
    *("help", "version", *NOT_THERE, "hold", "mute", "verb", "echo", "needok x y"),
    *("kill nobody", "kill 192.0.2.1:1194", "kill udp:192.0.2.1:1194", "client-kill 77"),
    *("client-deny 77 0 reason", "client-auth-nt 77 0", "client-pending-auth 77 0 x 9"),
    *("remote-entry-count", "username Auth x", "password Auth x", "signal", "bytecount"),
)
LAST = "pid"
ATTEMPTS = 3
"""A full machine may make one of them say a line more, of a packet that came late or twice; what is
different each time is no chance."""
FIGURES = ("status 1", "status 3", "load-stats", "state", "state all")
BUILD = re.compile(r"^OpenVPN [\d.]+ |^library versions|^DCO version|\[git:")


@dataclass(frozen=True)
class Said:
    """All that is compared."""

    log: frozenset[str]
    management: dict[str, str]
    socket_mode: int


def normal(text: str) -> str:
    return VARIABLE.sub("#", text)


def ask(path: Path, *commands: str) -> str:
    """What the management interface says in a session in which these commands are given."""
    with connect(path, "the management socket", PATIENCE) as one:
        one.sendall("".join(f"{command}\n" for command in (*commands, LAST)).encode())
        said = b""
        while not (end := re.search(rb"SUCCESS: pid=\d+\r\n", said)):
            more = one.recv(65536)
            assert more, said
            said += more
    return said[: end.start()].decode()


def serve(lab: Lab) -> Said:
    """Let node a serve one client, and end."""
    node = lab.nodes["a"]
    lab.vips.start()
    lab.move_vips("a")
    node.openvpn.start()
    lab.start_client()
    path = node.directory / "stock.sock"
    management = {command: normal(ask(path, command)) for command in FIGURES}
    management["exactly"] = ask(path, *EXACTLY)
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
        vip_manager=None,
        server_options=options,
        client_options=("explicit-exit-notify 1",),
    )
    return serve(lab)


def test_all_it_says_is_the_same(make_lab: MakeLab) -> None:
    different: list[frozenset[str]] = []
    while len(different) < ATTEMPTS and (not different or frozenset.intersection(*different)):
        theirs, ours = served_by(make_lab, STOCK), served_by(make_lab, OPENVPN)
        assert len(theirs.log) > 200
        assert ours.socket_mode == theirs.socket_mode
        assert theirs.management["exactly"].count("ERROR") > len(NOT_THERE)
        assert ours.management == theirs.management
        different.append(ours.log ^ theirs.log)
    assert frozenset.intersection(*different) == frozenset()


def test_options_that_are_not_used_change_no_other(tmp_path: Path) -> None:
    """All that ``--help`` and ``--version`` say besides the options themselves and the build's."""
    for option in ("--help", "--version"):
        theirs, ours = (_said_by(binary, option, tmp_path) for binary in (STOCK, OPENVPN))
        assert len(theirs) >= 5
        assert [line for line in ours if line in set(theirs)] == theirs


def _said_by(binary: Path, option: str, directory: Path) -> list[str]:
    done = subprocess.run([binary, option], capture_output=True, text=True, cwd=directory)
    return [line for line in done.stdout.splitlines() if not line.startswith("Compile time")]
