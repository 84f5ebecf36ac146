"""One server with a spare: two OpenVPN processes of one node, which has no other beside it.

The test is what systemd is elsewhere: ``keep`` starts a process anew that has ended.
"""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any, Literal

from ovpnha.runtime.control import ask
from ovpnha.runtime.restartrequest import RestartAnswer, RestartRequest
from tests.lab import sidecar
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.sidecar import INSTANCE
from tests.lab.waiting import POLL, wait_until

SPARE_OPTIONS = ("cluster-spare", "hand-window 8")
"""A client has new keys no sooner than that after its last ones."""
PATIENCE = 60.0

CONFIG = """\
[cluster]
alone = true

[[instance]]
name = "{instance}"
management = "{home}/openvpn.sock"
spare = "{policy}"

[control]
socket = "{home}/control.sock"

[history]
file = "{home}/history.jsonl"

[log]
level = "debug"
format = "json"
"""


class SpareLab:
    """The first node of a lab, alone, with both its processes. A context manager."""

    def __init__(self, lab: Lab, policy: str = "always") -> None:
        self.lab = lab
        self.node: Node = lab.nodes["a"]
        home = self.node.directory
        text = CONFIG.format(instance=INSTANCE, home=home, policy=policy)
        (lab.directory / "ovpnha.toml").write_text(text)
        self.spare = lab.look_after(self._make_spare(home))
        self._ends = threading.Event()
        self._kept: list[threading.Thread] = []

    def __enter__(self) -> SpareLab:
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        for one in self._kept:
            one.join()

    @property
    def processes(self) -> dict[str, Process]:
        """Both, by the names that the sidecar has for them."""
        return {"main": self.node.openvpn, "spare": self.spare}

    def start(self) -> None:
        """Everything, and wait until one serves and the other is in sync."""
        self.start_alone()
        self.spare.start()
        self.wait_spare()

    def start_alone(self) -> None:
        """The main process only."""
        self.lab.vips.start()
        self.lab.move_vips(self.node.name)
        self.node.start()
        wait_until(self.serves, "a process that serves", PATIENCE)

    def keep(self) -> None:
        """Start a process anew whenever it has ended, for ever: what a unit of systemd does."""
        for process in self.processes.values():
            thread = threading.Thread(target=self._look_after, args=[process])
            thread.start()
            self._kept.append(thread)

    def status(self) -> dict[str, Any]:
        """What the sidecar says of the instance; empty when it does not answer."""
        return self.node.sidecar.instance() or {}

    def serves(self) -> bool:
        """Whether the machine is master."""
        return self.status().get("role") == "master"

    def serving(self) -> str:
        """The process that serves."""
        return str(self.status()["spare"]["serving"])

    def other(self) -> str:
        """The one beside it."""
        return "spare" if self.serving() == "main" else "main"

    def wait_spare(self, clients: int | None = None) -> None:
        """Wait until the process that does not serve has everything."""
        wait_until(lambda: self._is_ready(clients), "a spare in sync", PATIENCE)

    def _is_ready(self, clients: int | None) -> bool:
        told = self.status().get("spare")
        if told is None:
            return False
        other = told["spare" if told["serving"] == "main" else "main"]
        ready = (other["place"], other["sync"]) == ("standby", "in_sync")
        return ready and clients in (None, other["clients"])

    def restart(self, *arguments: str) -> str:
        """``ovpnha restart-openvpn``; the test or ``keep`` starts the processes."""
        return self.order_restart("--no-start", *arguments)

    def ask(self, step: Literal["look", "move"]) -> RestartAnswer:
        """One step of a restart, of the sidecar."""
        path = self.node.directory / "control.sock"
        return ask(path, RestartRequest(instance=INSTANCE, step=step), RestartAnswer, PATIENCE)

    def move(self) -> None:
        """The other process serves; the one that served lives on."""
        other = self.other()
        self.ask("move")
        wait_until(lambda: self.serving() == other, "the other process serves", PATIENCE)

    def order_restart(self, *arguments: str) -> str:
        """The same, with units that it starts and stops."""
        return sidecar.run_command(*self._words(), *arguments)

    def begin_restart(self) -> subprocess.Popen[str]:
        """One that waits for a process that nobody starts, for whoever ends it."""
        words = (*sidecar.OVPNHA, *self._words(), "--no-start")
        pipe, place = subprocess.PIPE, sidecar.PACKAGE_ROOT
        begun = subprocess.Popen(words, cwd=place, stderr=pipe, text=True)
        wait_until(lambda: self.ask("look").phase == "waiting", "the move waits", PATIENCE)
        return begun

    def _words(self) -> tuple[str, ...]:
        config = str(self.lab.directory / "ovpnha.toml")
        return ("restart-openvpn", INSTANCE, "--config", config, "--node", self.node.name)

    def _make_spare(self, home: Path) -> Process:
        openvpn = self.lab.setup.openvpn
        return Process(
            [
                *(openvpn, "--cd", home, "--config", "../server.conf"),
                *("--management", "openvpn-spare.sock", "unix"),
            ],
            namespace=self.node.namespace,
            directory=home,
            log=home / "openvpn-a-spare.log",
        )

    def _look_after(self, process: Process) -> None:
        while not self._ends.wait(POLL):
            if process.started and not process.running:
                process.start()
