"""conntrackd of one lab node, with what ``ovpnha conntrackd-config`` prints on that node."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab import sidecar
from tests.lab.process import Process
from tests.lab.waiting import wait_until

PROGRAM = Path("/usr/sbin/conntrackd")
SECONDS = 10.0


class Conntrackd:
    """The daemon of one node, which has a control socket and files of its own."""

    def __init__(self, node: str, home: Path, namespace: str, config: Path) -> None:
        self._node = node
        self._namespace = namespace
        self._ovpnha_config = config
        self.socket = sidecar.conntrack_socket(home)
        self._file = home / "conntrackd.conf"
        self.process = Process(
            [PROGRAM, "-C", self._file],
            namespace=namespace,
            directory=home,
            log=home / f"conntrackd-{node}.log",
        )

    def start(self) -> None:
        """Make its configuration and start it; on return it takes commands."""
        arguments = ("--config", self._ovpnha_config, "--node", self._node)
        text = sidecar.run_command("conntrackd-config", *arguments, namespace=self._namespace)
        self._file.write_text(text)
        self.restart()

    def restart(self) -> None:
        """Start it, after it has ended."""
        for left in (self.socket, self.socket.with_suffix(".lock")):
            left.unlink(missing_ok=True)
        self.process.start()
        wait_until(self._listens, f"{self.process.name} takes commands", SECONDS)

    def _listens(self) -> bool:
        self.process.expect_running()
        return self.socket.exists() and takes_commands(self._file, self._namespace)


def takes_commands(file: Path, namespace: str) -> bool:
    """Whether conntrackd answers: its socket is there before it hears its kernel and the others."""
    command = ["ip", "netns", "exec", namespace, str(PROGRAM), "-C", str(file), "-s"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
