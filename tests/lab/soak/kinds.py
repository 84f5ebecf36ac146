"""The kinds of failovers of a soak: what is done to a master so that another node must serve.

A deed only breaks or asks; ``mend`` makes everything run again, whatever the deed was.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.lab import plan
from tests.lab.deaths import cut_node, kill_openvpn
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.sidecar import INSTANCE, run_command
from tests.lab.stories import RESTART_SECONDS, signal_node, switch_over
from tests.lab.topology import change_vip
from tests.lab.waiting import wait_until

PATIENCE = 60.0

Deed = Callable[[Lab, Node], None]


@dataclass(frozen=True)
class Kind:
    """One kind of failover."""

    name: str
    deed: Deed


def _cut(*segments: plan.Segment) -> Deed:
    def cut(lab: Lab, master: Node) -> None:
        lab.topology.set_links(master.name, "down", segments)

    return cut


def _kill_sidecar_and_openvpn(_lab: Lab, master: Node) -> None:
    """Nobody is left who could tell the VIP manager."""
    master.sidecar.process.kill()
    master.openvpn.kill()


def _kill_the_successor_s_sidecar(lab: Lab, master: Node) -> None:
    """As the VIP arrives there; systemd would start it again."""
    successor = lab.nodes[lab.other(master.name)]
    cut_node(lab, master)
    wait_until(lambda: lab.vips.holder() == successor.name, "the VIP moves", PATIENCE)
    successor.sidecar.process.kill()
    time.sleep(RESTART_SECONDS)
    successor.sidecar.process.start()


def _demote(lab: Lab, master: Node) -> None:
    config = lab.directory / "ovpnha.toml"
    run_command("demote", "--config", config, "--node", master.name, "--instance", INSTANCE)


def _freeze(lab: Lab, master: Node) -> None:
    signal_node(lab, master, signal.SIGSTOP)


def _stop(_lab: Lab, master: Node) -> None:
    """The manager first, as at a reboot: it gives the addresses away."""
    master.vip_manager.stop()
    _end(master, Process.stop)


def _cut_power(lab: Lab, master: Node) -> None:
    """Nothing is told to anybody, and neither addresses nor pid files (/run) outlive it."""
    cut_node(lab, master)
    master.vip_manager.kill()
    _end(master, Process.kill)
    if lab.vips.holder() == master.name:
        for segment in (plan.OUT, plan.LAN):
            change_vip(master.namespace, segment, "del")
    for path in master.directory.rglob("*.pid"):
        path.unlink()


def _end(node: Node, verb: Callable[[Process], None]) -> None:
    for process in (node.openvpn, node.sidecar.process, node.conntrackd.process):
        if process.running:
            verb(process)


def _stop_manager(_lab: Lab, master: Node) -> None:
    master.vip_manager.stop()


KINDS = (
    Kind("openvpn-killed", kill_openvpn),
    Kind("node-cut", cut_node),
    Kind("sidecar-and-openvpn-killed", _kill_sidecar_and_openvpn),
    Kind("successor-sidecar-killed", _kill_the_successor_s_sidecar),
    Kind("vip-network-cut", _cut(plan.OUT)),
    Kind("both-cut", _cut(plan.OUT, plan.BCN)),
    Kind("switchover", switch_over),
    Kind("demote", _demote),
    Kind("frozen-master", _freeze),
    Kind("stop-and-start", _stop),
    Kind("power-cut", _cut_power),
    Kind("manager-stopped", _stop_manager),
)


def mend(lab: Lab, node: Node) -> None:
    """Everything of a node runs again and hears the others."""
    signal_node(lab, node, signal.SIGCONT)
    for process in (node.openvpn, node.sidecar.process):
        if not process.running:
            process.start()
    lab.topology.set_links(node.name, "up")
    if not node.processes[0].running:
        node.vip_manager.start()
