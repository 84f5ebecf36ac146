"""One server and nothing beside it: no other node, no back channel, no VIP manager."""

from __future__ import annotations

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.pace import PATIENCE
from tests.lab.clientlog import noticed
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.session import Watch
from tests.lab.sidecar import INSTANCE
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

CONFIG = """\
[cluster]
alone = true

[[instance]]
name = "{instance}"
management = "{home}/openvpn.sock"

[control]
socket = "{home}/control.sock"

[history]
file = "{home}/history.jsonl"
"""


def start_alone(lab: Lab) -> Node:
    """The server with its own address, and the configuration of one that is alone."""
    node = lab.nodes["a"]
    text = CONFIG.format(instance=INSTANCE, home=node.directory)
    (lab.directory / "ovpnha.toml").write_text(text)
    (lab.directory / "cluster.key").unlink()
    lab.vips.start()
    lab.move_vips(node.name)
    node.start()
    return node


def is_serving(node: Node) -> bool:
    told = node.sidecar.instance()
    return told is not None and told["role"] == "master"


def test_it_serves_and_says_that_all_is_well(make_lab: MakeLab) -> None:
    lab = make_lab(vip_manager=None, keepalive="1 5")
    node = start_alone(lab)
    wait_until(lambda: is_serving(node), "it serves", PATIENCE)
    client = lab.start_client()
    stream, _ = lab.start_probes()
    watch = Watch(lab, client, stream)
    moment = watch.mark()
    told = node.sidecar.instance()
    assert told is not None
    assert told["problems"] == []

    node.sidecar.process.kill()
    node.sidecar.process.start()
    wait_until(lambda: is_serving(node), "the next sidecar has found it", PATIENCE)
    assert watch.recovers(watch.mark(), PATIENCE)

    assert noticed(client.log(), moment.wall).nothing
    node.openvpn.kill()
    node.openvpn.start()
    wait_until(lambda: is_serving(node), "the next OpenVPN serves", PATIENCE)
    assert watch.recovers(watch.mark(), PATIENCE)
