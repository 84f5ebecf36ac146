"""The sidecar of one lab node: the daemon and the one configuration file that users run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from ovpnha.runtime.control import ControlError, RenegotiateRequest, Request, StatusRequest, ask
from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.process import Process

PACKAGE_ROOT = Path(__file__).parents[2]
OVPNHA = (sys.executable, "-m", "ovpnha")
ENVIRONMENT = {"PYTHONPATH": str(PACKAGE_ROOT)}
INSTANCE = "udp"
ANSWER_SECONDS = 10.0


def write_shared_files(directory: Path, vip: str, vip_manager: str, *, conntrack: bool) -> None:
    """The cluster key and the configuration that all nodes of the lab read."""
    key = directory / "cluster.key"
    run_command("keygen", key)
    text = _config(directory, key, vip, vip_manager, conntrack=conntrack)
    (directory / "ovpnha.toml").write_text(text)
    run_command("check-config", "--config", directory / "ovpnha.toml", "--node", plan.NODES[0])


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


def _config(directory: Path, key: Path, vip: str, vip_manager: str, *, conntrack: bool) -> str:
    head = f"""\
[cluster]
name = "lab"
key_file = "{key}"

[bcn]
links = [{{ interface = "{plan.BCN.interface}" }}]

[[instance]]
name = "{INSTANCE}"
management = "/run/openvpn/openvpn.sock"
vip = "{vip}"
vip_interface = "{plan.OUT.interface}"
vip_manager = "{vip_manager}"

[log]
level = "debug"
format = "json"
"""
    if conntrack:
        flows = (plan.TUNNEL, plan.TUNNEL6, plan.OUT.vip, plan.OUT.vip6)
        listed = [str(flow) for flow in flows]
        head += f'\n[conntrack]\nmanager = "conntrackd"\nflows = {listed}\n'
    return head + "".join(
        _node_config(directory / name, name, conntrack=conntrack) for name in plan.NODES
    )


def _node_config(home: Path, name: str, *, conntrack: bool) -> str:
    tracked = f'\n[node.{name}.conntrack]\nsocket = "{conntrack_socket(home)}"\n'
    return f"""{tracked if conntrack else ""}
[node.{name}.control]
socket = "{home}/control.sock"

[node.{name}.instance.{INSTANCE}]
management = "{home}/openvpn.sock"
track_file = "{home}/{INSTANCE}.grade"
"""


class Sidecar:
    """``ovpnha run`` of one node."""

    def __init__(self, node: str, home: Path, namespace: str, config: Path) -> None:
        self._socket = home / "control.sock"
        self.process = Process(
            [*OVPNHA, "run", "--config", config, "--node", node],
            namespace=namespace,
            directory=home,
            log=home / f"ovpnha-{node}.log",
            environment=ENVIRONMENT,
        )

    def ask(self, request: Request) -> dict[str, Any]:
        """Give a command over the control socket, as the command line does."""
        return ask(self._socket, request, ANSWER_SECONDS)

    def instance(self) -> dict[str, Any] | None:
        """What the node says about its OpenVPN, None while the sidecar does not answer."""
        try:
            return dict(self.ask(StatusRequest())["status"]["instances"][0])
        except ControlError:
            return None

    def renegotiate(self) -> None:
        """Have the master renegotiate with every client."""
        self.ask(RenegotiateRequest())
