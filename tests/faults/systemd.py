"""B9: the master's OpenVPN is ended, with `explicit-exit-notify`, without its machine going down.

What needs a service manager (B8, B10, restarts by systemctl, reboots) is in `make test-hosts`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults.fault import Fault, Say
from tests.lab.lab import Lab
from tests.lab.node import Node, Setup
from tests.lab.session import Session

OPENVPN = Path(os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")).resolve()
RECOVERY = 30.0  # seconds
LATER = 3.0  # seconds for which a goodbye would still be on its way


def hand_over(lab: Lab, node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`ovpnha hand-over` on a node, as its unit asks."""
    namespace = ["ip", "netns", "exec", node.namespace, sys.executable, "-m", "ovpnha"]
    config = ["--config", str(lab.directory / "ovpnha.toml"), "--node", node.name]
    return subprocess.run(
        [*namespace, "hand-over", *config, *arguments],
        cwd=node.directory,
        capture_output=True,
        text=True,
        check=False,
    )


def terminate(_lab: Lab, node: Node) -> None:
    """What `kill` does."""
    node.openvpn.signal(signal.SIGTERM)


def restart(lab: Lab, node: Node) -> None:
    """What `systemctl restart` does, with the unit of deploy/systemd."""
    hand_over(lab, node, "--pid", str(node.openvpn.pid))
    node.openvpn.stop()
    node.openvpn.start()


def _try(deed: Callable[[Lab, Node], None], say: Say) -> str:
    with Lab(Setup(openvpn=OPENVPN, server_options=("explicit-exit-notify 1",)), say) as lab:
        lab.start_cluster()
        session = Session(lab)
        moment = session.strike(deed)
        lab.wait_master("b")
        assert session.recovers(moment, RECOVERY), "the client gets no answer"
        session.linger(LATER)
        seen, outage = session.noticed(moment), session.outage_ms(moment)
        problem = session.finish()
    assert seen.nothing, f"the client noticed: {seen}"
    assert not problem, problem
    return f"outage {outage:.0f} ms, 0 restarts"


FAULTS = (
    Fault("B9 SIGTERM to the master's OpenVPN", 1, lambda say: _try(terminate, say)),
    Fault("B9 restart of the master's OpenVPN", 1, lambda say: _try(restart, say)),
)
