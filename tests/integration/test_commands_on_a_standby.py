"""Commands that OpenVPN refuses: its own on a node that does not serve, and those of the cluster.

What a program goes by is the code.
"""

from __future__ import annotations

import base64

import pytest

from tests.integration.test_without_cluster import ask
from tests.lab.lab import Lab

pytestmark = pytest.mark.integration

COMMANDS = (
    *("kill client", "client-kill 0", "client-kill 0 RESTART", "client-deny 0 0 reason"),
    *("client-auth-nt 0 0", "client-pending-auth 0 0 x 9"),
)
NOBODY = "0011223344556677"
REFUSED = {
    "cluster-hold": "cluster-hold: wrong-role",
    "cluster-room": "cluster-room: wrong-role",
    f"cluster-export {NOBODY}": f"cluster-export {NOBODY}: wrong-role",
    "cluster-promote a?b": "cluster-promote: malformed",
    "cluster-drop 00": "cluster-drop: malformed",
    f"cluster-drop {NOBODY}": f"cluster-drop {NOBODY}: unknown-client",
    f"cluster-import {NOBODY} 1\nHOT,AAAA\nEND": f"cluster-import {NOBODY}: bad-record",
    "cluster-import\nnonsense\nEND": "cluster-import: malformed",
    f"cluster-import {NOBODY} 1\nGRANT,{'0' * 32},{NOBODY},1,9\nEND": (
        f"cluster-import {NOBODY}: other-holder"
    ),
    "cluster-update\nHW,AAAA\nEND": "cluster-update: malformed",
    "cluster-cookie\nEND": "cluster-cookie: malformed",
    "cluster-nonsense": "cluster-nonsense: unknown-command",
}
BELONGS = "wrong-role this server is standby and serves no client: use the command on the master"


def code(line: str) -> str:
    """An error without its text."""
    about, _, rest = line.removeprefix("ERROR: ").partition(": ")
    return f"{about}: {rest.split()[0]}"


def test_a_standby_says_where_the_command_belongs(manual_lab: Lab) -> None:
    manual_lab.start_cluster()
    manual_lab.start_client()
    manual_lab.wait_in_sync("b")
    for node in manual_lab.nodes.values():  # an operator's turn
        node.sidecar.process.stop()
    said = {
        name: ask(node.directory / "openvpn.sock", *COMMANDS).splitlines()
        for name, node in manual_lab.nodes.items()
    }
    words = [command.split()[0] for command in COMMANDS]
    errors = [line for line in said["b"] if line.startswith("ERROR")]
    assert errors == [f"ERROR: {word}: {BELONGS}" for word in words]
    assert "SUCCESS: common name 'client' found, 1 client(s) killed" in said["a"]
    assert not any(BELONGS in line for line in said["a"])
    refused = ask(manual_lab.nodes["b"].directory / "openvpn.sock", *REFUSED).splitlines()
    assert [code(line) for line in refused if line.startswith("ERROR")] == [*REFUSED.values()]


MARK, COUNT = (base64.b64encode(bytes(size)).decode() for size in (20, 24))
UPDATES = {
    f"cluster-update\nHW,{MARK}\nEND": "SUCCESS: cluster-update applied=0,unknown=1",
    f"cluster-update\nHW,{MARK}\nHW,AAAA\nEND": "ERROR: cluster-update: malformed",
    f"cluster-update\nHW,{MARK}\nBYTES,{COUNT}\nEND": "ERROR: cluster-update: wrong-role",
}


def test_one_that_serves_or_is_held_takes_receive_marks_and_no_byte_counts(lab: Lab) -> None:
    lab.start_cluster()
    node = lab.nodes["a"]
    node.sidecar.process.stop()
    path = node.directory / "openvpn.sock"
    for order in ((), ("cluster-hold",)):
        lines = ask(path, *order, *UPDATES).splitlines()
        told = [line for line in lines if "cluster-update" in line]
        assert len(told) == len(UPDATES)
        for line, expected in zip(told, UPDATES.values(), strict=True):
            assert line.startswith(expected)
