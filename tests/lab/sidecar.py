"""The sidecar of one lab node: the daemon and the one configuration file that users run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovpnha.config.problems import toml_value
from ovpnha.runtime.control import (
    ControlError,
    RenegotiateRequest,
    Request,
    StatusRequest,
    ask_plain,
)
from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.process import Process
from tests.lab.topology import Topology

PACKAGE_ROOT = Path(__file__).parents[2]
OVPNHA = (sys.executable, "-m", "ovpnha")
ENVIRONMENT = {"PYTHONPATH": str(PACKAGE_ROOT)}
INSTANCE = "udp"
ANSWER_SECONDS = 10.0


def write_shared_files(
    directory: Path, topology: Topology, vips: Sequence[str], vip_manager: str, *, conntrack: bool
) -> None:
    """The cluster key and the configuration that all nodes of the lab read."""
    key = directory / "cluster.key"
    run_command("keygen", key)
    nodes = topology.nodes
    text = _config(key, vips, vip_manager, topology)
    if conntrack:
        text += _conntrack_config(len(nodes))
    text += "".join(_node_config(directory / name, name, conntrack=conntrack) for name in nodes)
    (directory / "ovpnha.toml").write_text(text)
    run_command("check-config", "--config", directory / "ovpnha.toml", "--node", nodes[0])


def configure(directory: Path, old: str, new: str) -> None:
    """Change a part of the configuration that all nodes read, before they start."""
    file = directory / "ovpnha.toml"
    text = file.read_text()
    if old not in text:
        raise LabError(f"{file} has no {old.strip()}")
    file.write_text(text.replace(old, new))


def run_command(*arguments: str | Path, namespace: str = "") -> str:
    """Run an ``ovpnha`` command to its end, in a namespace or here; give what it printed."""
    where = ("ip", "netns", "exec", namespace) if namespace else ()
    done = subprocess.run(
        [*where, *OVPNHA, *map(str, arguments)],
        cwd=PACKAGE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"ovpnha {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def conntrack_socket(home: Path) -> Path:
    """Where conntrackd of the node with this directory takes commands."""
    return home / "conntrackd.ctl"


def _config(key: Path, vips: Sequence[str], vip_manager: str, topology: Topology) -> str:
    return f"""\
[cluster]
name = "lab"
key_file = "{key}"

[bcn]
{topology.bcn_links}

[[instance]]
name = "{INSTANCE}"
management = "/run/openvpn/openvpn.sock"
vip = {toml_value(vips[0] if len(vips) == 1 else list(vips))}
vip_interface = "{topology.vip_interface}"
vip_manager = "{vip_manager}"

[log]
level = "debug"
format = "json"
"""


def _conntrack_config(nodes: int) -> str:
    """Two nodes say nothing of the mode: the usual one is for them, and only for them."""
    flows = [str(flow) for flow in (plan.TUNNEL, plan.TUNNEL6, plan.OUT.vip, plan.OUT.vip6)]
    lines = ["", "[conntrack]", 'manager = "conntrackd"', f"flows = {flows}"]
    if nodes > 2:
        lines.append('mode = "notrack"')
    return "\n".join([*lines, ""])


def _node_config(home: Path, name: str, *, conntrack: bool) -> str:
    tracked = f'\n[node.{name}.conntrack]\nsocket = "{conntrack_socket(home)}"\n'
    return f"""{tracked if conntrack else ""}
[node.{name}.control]
socket = "{home}/control.sock"

[node.{name}.history]
file = "{home}/history.jsonl"

[node.{name}.instance.{INSTANCE}]
management = "{home}/openvpn.sock"
track_file = "{home}/{INSTANCE}.grade"
"""


class Sidecar:
    """``ovpnha run`` of one node."""

    def __init__(self, node: str, home: Path, namespace: str, config: Path) -> None:
        self._socket = home / "control.sock"
        self.memory = home / f"{INSTANCE}.memory"
        self.process = Process(
            [*OVPNHA, "run", "--config", config, "--node", node],
            namespace=namespace,
            directory=home,
            log=home / f"ovpnha-{node}.log",
            environment=ENVIRONMENT,
        )

    def ask(self, request: Request) -> dict[str, Any]:
        """Give a command over the control socket, as the command line does."""
        return ask_plain(self._socket, request, ANSWER_SECONDS)

    def instance(self) -> dict[str, Any] | None:
        """What the node says about its OpenVPN, None while the sidecar does not answer."""
        try:
            return dict(self.ask(StatusRequest())["status"]["instances"][0])
        except ControlError:
            return None

    def renegotiate(self) -> None:
        """Have the master renegotiate with every client."""
        self.ask(RenegotiateRequest())
