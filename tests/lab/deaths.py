"""How masters die in network namespaces: a deed for each victim that this lab can kill."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.scenarios import Victim
from tests.lab.sidecar import INSTANCE, run_command


def kill_openvpn(_lab: Lab, master: Node) -> None:
    """End the master's OpenVPN with SIGKILL."""
    master.openvpn.kill()


def cut_node(lab: Lab, master: Node) -> None:
    """Pull all cables of the master."""
    lab.topology.set_links(master.name, "down")


def silence_node(lab: Lab, master: Node) -> None:
    """Pull all cables of the master, such that it cannot say any more that it stands back.

    Cables are pulled one by one. A VIP manager gives its addresses up with the first of them, and
    the sidecar says so where it can still be heard: then nobody is silent, and no fence is needed.
    """
    for segments in ((plan.BCN,), (plan.OUT, plan.LAN)):
        lab.topology.set_links(master.name, "down", segments)


def demote(lab: Lab, node: Node) -> None:
    """The planned move, as an operator has it."""
    run_command("demote", "--config", lab.directory / "ovpnha.toml", "--node", node.name)


def stop_manager(_lab: Lab, node: Node) -> None:
    """The VIP manager goes in order, and takes its addresses along."""
    node.vip_manager.stop()


def restart_openvpn(lab: Lab, node: Node) -> None:
    """A restart that nobody notices; of a stock server what `systemctl restart` does."""
    if lab.setup.seamless:
        where = ("--config", lab.directory / "ovpnha.toml", "--node", node.name)
        run_command("restart-openvpn", INSTANCE, *where, "--no-start")
    else:
        node.openvpn.stop()
        node.openvpn.start()


DEATHS: dict[Victim, Callable[[Lab, Node], None]] = {
    Victim.OPENVPN: kill_openvpn,
    Victim.CABLES: cut_node,
    Victim.RESTARTED: restart_openvpn,
}
