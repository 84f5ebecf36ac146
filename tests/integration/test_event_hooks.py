"""Hooks of a real cluster: what an operator is told, in order, on the node that sees it."""

from __future__ import annotations

import pytest

from tests.integration.conftest import MakeLab, configure
from tests.lab.node import Node
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PATIENCE = 40.0
HOOK = """
[[hook]]
events = ["role_changed", "fault", "fault_over", "node_joined", "node_left", "check_failed"]
command = ["{script}"]

[[check]]
name = "lan"
kind = "process"
target = "/nowhere.pid"
period = 0.5
fall = 2

[log]"""
SCRIPT = """\
#!/bin/sh
what="$OVPNHA_ROLE$OVPNHA_CHECK$OVPNHA_OTHER_NODE"
echo "$OVPNHA_EVENT $what" >>"{directory}/$OVPNHA_NODE.hooked"
"""


def told(node: Node) -> list[str]:
    """What the hook of a node has been run for."""
    path = node.directory.parent / f"{node.name}.hooked"
    return path.read_text().splitlines() if path.exists() else []


def in_order(found: list[str], *wanted: str) -> bool:
    """Whether these stand in the list in this order, whatever is between."""
    rest = iter(found)
    return all(one in rest for one in wanted)


def test_what_happens_is_told_in_order(make_lab: MakeLab) -> None:
    lab = make_lab(vip_manager=None)
    script = lab.directory / "hook"
    script.write_text(SCRIPT.format(directory=lab.directory))
    script.chmod(0o755)
    configure(lab, "\n[log]", HOOK.format(script=script))
    lab.start_cluster()
    a, b = lab.nodes["a"], lab.nodes["b"]
    lab.start_client()
    lab.wait_in_sync("b")
    wait_until(lambda: "check_failed lan" in told(b), "the check is told", PATIENCE)
    a.openvpn.kill()
    a.sidecar.process.kill()
    lab.move_vips("b")
    lab.wait_master("b", PATIENCE)
    first = ("node_joined a", "role_changed master")
    wait_until(lambda: in_order(told(b), *first), "b has told of its role", PATIENCE)
    wait_until(lambda: "node_left a" in told(b), "b has told who left", PATIENCE)
    b.openvpn.kill()
    wanted = (*first, "role_changed fault", "fault fault")
    wait_until(lambda: in_order(told(b), *wanted), "the fault is told", PATIENCE)
