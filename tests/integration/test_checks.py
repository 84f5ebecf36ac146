"""Checks of the service, under a real keepalived: who has the VIP when they fail, here and there.

Each node has a check that a file decides (``NODE/broken``), and one that connects a client.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import OPENVPN, MakeLab, configure
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.openvpn import client_config
from tests.lab.sidecar import OVPNHA
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PATIENCE = 40.0
CHECKS = """
[[check]]
name = "lan"
kind = "command"
command = ["{script}"]
period = 0.5
timeout = 2.0
critical = true
rise = 2
fall = 2

[log]"""
SCRIPT = """\
#!/bin/sh
cd "{directory}/$OVPNHA_NODE" || exit 1
if [ -e hangs ]; then sleep 600 & echo $! >>children; wait; fi
if [ -e later ]; then echo "still looking"; exit 75; fi
if [ -e broken ]; then echo "the LAN is gone"; exit 1; fi
echo "all is well"
"""
CLIENT = """
[[check]]
name = "client"
kind = "client"
client_config = "{config}"
client_program = "{openvpn}"
period = 2.0
timeout = 10.0
critical = true
rise = 1
fall = 2

[log]"""


def with_checks(lab: Lab) -> Lab:
    """The check that files decide."""
    script = lab.directory / "look"
    script.write_text(SCRIPT.format(directory=lab.directory))
    script.chmod(0o755)
    configure(lab, "\n[log]", CHECKS.format(script=script))
    return lab


def of(node: Node, name: str) -> dict[str, Any]:
    """What a node holds of a check of its own."""
    found = node.sidecar.instance() or {}
    return next((one for one in found.get("checks", []) if one["name"] == name), {})


def told(viewer: Node, node: Node, name: str) -> dict[str, Any]:
    """What a node has heard of another one's check."""
    nodes = (viewer.sidecar.instance() or {}).get("nodes", [])
    checks: list[dict[str, Any]] = next(
        (one["checks"] for one in nodes if one["name"] == node.name), []
    )
    return next((one for one in checks if one["name"] == name), {})


def run(node: Node, lab: Lab, *arguments: str) -> tuple[int, str]:
    """An ``ovpnha`` command on a node."""
    config = ("--config", str(lab.directory / "ovpnha.toml"), "--node", node.name)
    done = subprocess.run(
        [*OVPNHA, *arguments, *config], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def started(lab: Lab) -> tuple[Node, Node]:
    lab.start_cluster()
    lab.start_client()
    lab.wait_in_sync("b")
    return lab.nodes["a"], lab.nodes["b"]


def test_a_critical_check_that_fails_moves_the_vip_and_one_that_fails_everywhere_does_not(
    lab: Lab,
) -> None:
    a, b = started(with_checks(lab))
    for node in (a, b):
        wait_until(lambda: of(node, "lan").get("verdict") == "ok", "a good check", PATIENCE)  # noqa: B023
    (a.directory / "broken").touch()
    lab.wait_master("b", PATIENCE)
    wait_until(lambda: a.grade() == 30, "a is worth little", PATIENCE)
    # Each on its way: a says why when it has failed once, and what it is worth after that.
    wait_until(lambda: told(b, a, "lan").get("verdict") == "failed", "b has heard it", PATIENCE)
    assert told(b, a, "lan")["text"] == "the LAN is gone"
    code, text = run(b, lab, "checks", "--json")
    assert code == 1
    rows = {(one["node"], one["verdict"]): one for one in json.loads(text)["checks"]}
    assert rows["a", "failed"]["age"] < PATIENCE
    assert rows["b", "ok"]["text"] == "all is well"

    (b.directory / "broken").touch()
    wait_until(lambda: b.grade() == 60, "b fails as well", PATIENCE)
    moment = time.monotonic()
    wait_until(lambda: time.monotonic() > moment + 5.0, "some time passes", PATIENCE)
    assert lab.vips.holder() == "b"
    assert (a.grade(), b.grade()) == (30, 60)

    (a.directory / "broken").unlink()
    lab.wait_master("a", PATIENCE)
    (b.directory / "broken").unlink()
    lab.wait_in_sync("b", PATIENCE)


def test_the_last_one_that_is_left_serves_on(lab: Lab) -> None:
    with_checks(lab)
    lab.start_cluster()
    a, b = lab.nodes["a"], lab.nodes["b"]
    lab.start_client()
    lab.wait_in_sync("b")
    b.openvpn.kill()
    b.sidecar.process.kill()
    b.vip_manager.kill()
    (a.directory / "broken").touch()
    wait_until(lambda: a.grade() == 60, "the check of a fails", PATIENCE)
    moment = time.monotonic()
    wait_until(lambda: time.monotonic() > moment + 3.0, "some time passes", PATIENCE)
    assert lab.vips.holder() == "a"
    assert (a.sidecar.instance() or {})["role"] == "master"


def test_one_that_hangs_is_ended_with_its_children_and_later_keeps_the_verdict(
    make_lab: MakeLab,
) -> None:
    lab = with_checks(make_lab(vip_manager=None))
    a, _ = started(lab)
    wait_until(lambda: of(a, "lan").get("verdict") == "ok", "the check of a is good", PATIENCE)
    (a.directory / "later").touch()
    wait_until(lambda: of(a, "lan").get("text") == "still looking", "it says later", PATIENCE)
    assert of(a, "lan")["verdict"] == "ok"
    (a.directory / "hangs").touch()
    wait_until(lambda: of(a, "lan").get("verdict") == "failed", "it is ended", PATIENCE)
    assert "2 s" in of(a, "lan")["text"]
    (a.directory / "hangs").unlink()
    (a.directory / "later").unlink()
    wait_until(lambda: of(a, "lan").get("verdict") == "ok", "it is good again", PATIENCE)
    children = (a.directory / "children").read_text().split()
    wait_until(lambda: not any(map(is_there, children)), "no child is left", PATIENCE)


def is_there(pid: str) -> bool:
    """Whether such a process runs; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_client_of_its_own_finds_a_server_that_serves_nobody(make_lab: MakeLab) -> None:
    lab = make_lab(vip_manager=None)
    lab.pki.issue("check", server=False)
    config = lab.directory / "check.conf"
    config.write_text(client_config(lab.pki.directory, "check", lab.setup.transport, ["dev tun9"]))
    configure(lab, "\n[log]", CLIENT.format(config=config, openvpn=OPENVPN))
    a, b = started(lab)
    wait_until(lambda: of(a, "client").get("verdict") == "ok", "the client is served", PATIENCE)
    assert of(a, "client")["text"] == "connected, 10.8.0.1 answers through the tunnel"
    assert of(b, "client")["resting"]
    assert links_of(a).count("tun") >= 1

    block = "add table inet t; add chain inet t i { type filter hook input priority 0; }; "
    subprocess.run(
        ["ip", "netns", "exec", a.namespace, "nft", f"{block}add rule inet t i iif tun0 drop"],
        check=True,
    )
    wait_until(lambda: of(a, "client").get("verdict") == "failed", "nobody is served", PATIENCE)
    assert of(a, "client")["text"] == "connected, but 10.8.0.1 does not answer through the tunnel"
    wait_until(lambda: a.grade() == 60, "a is worth less", PATIENCE)
    subprocess.run(["ip", "netns", "exec", a.namespace, "nft", "delete table inet t"], check=True)
    wait_until(lambda: of(a, "client").get("verdict") == "ok", "the client is served", PATIENCE)

    # A sidecar that is killed leaves its client behind, and with it the device.
    wait_until(lambda: "ovpnha-check" in links_of(a), "a client has its device", PATIENCE)
    a.sidecar.process.kill()
    assert "ovpnha-check" in links_of(a)
    a.sidecar.process.start()
    wait_until(lambda: of(a, "client").get("verdict"), "the next sidecar answers", PATIENCE)
    wait_until(lambda: of(a, "client")["verdict"] != "unknown", "it has looked", PATIENCE)
    assert of(a, "client")["verdict"] == "ok"
    wait_until(lambda: links_of(a).count("ovpnha-check") <= 1, "the old client ends", PATIENCE)


def links_of(node: Node) -> str:
    """The devices of a node."""
    command = ["ip", "-n", node.namespace, "-o", "link"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
