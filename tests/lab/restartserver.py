"""The servers of ``make restart``: one with a spare, and a stock one as systemd restarts it.

Both have one node and no other, and do what befalls them by themselves: how a process ends, and who
starts it anew. The stock one does what Debian's ``openvpn-server@.service`` says: stopped, then
started; after a crash (``Restart=on-failure``) started anew ``RESTART_SECONDS`` later.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from ovpnha.runtime.restartunits import DROP_IN, DROP_INS
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.process import Process
from tests.lab.sidecar import ENVIRONMENT, INSTANCE, OVPNHA
from tests.lab.sparelab import PATIENCE, SpareLab
from tests.lab.waiting import wait_until

RESTART_SECONDS = 5.0
"""``RestartSec`` of Debian's openvpn-server@.service."""
HANG_SECONDS = 4.0
"""After which somebody ends a stock OpenVPN that hangs: as late as the sidecar does at most."""
APART = (
    *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
    f'mkdir -p {DROP_INS.parent} && mount -t tmpfs tmpfs {DROP_INS.parent} && exec "$@"',
    "sh",
)
"""Drop-ins of units are seen by the command and by its systemctl, and by nobody else."""
UNIT = f"openvpn-cluster@{INSTANCE}.service"
SYSTEMCTL = f"""\
#!/bin/sh
# What is started from now on comes in one step, as by a package.
case $* in
*--property=MainPID*-spare@*) echo {{spare}} ;;
*--property=MainPID*) echo {{main}} ;;
show*) echo "{{{{ path={{program}} ; argv[]={{program}} --config server.conf ; }}}}" ;;
daemon-reload)
    binary=$(sed -n 's,^ExecStart=\\(/[^ ]*\\) .*,\\1,p' {DROP_INS}/{UNIT}.d/{DROP_IN})
    cp "$binary" {{program}}.new && mv {{program}}.new {{program}}
    ;;
esac
"""


class Spared:
    """A server with a spare, started anew by ``keep``."""

    def __init__(self, server: SpareLab, program: Path, build: Path) -> None:
        self.server = server
        self._program = program
        self._build = build
        self._other = False

    def restart(self) -> None:
        """``ovpnha restart-openvpn``."""
        self.server.restart()

    def change_build(self, other: Path) -> None:
        """Restart with another build, and with the first one again the next time."""
        self._other = not self._other
        self._restart_with(other if self._other else self._build)

    def _restart_with(self, binary: Path) -> None:
        """``ovpnha restart-openvpn --binary``, with a systemctl that starts what it is told."""
        home = self.server.lab.directory / "systemd"
        home.mkdir(exist_ok=True)
        script = home / "systemctl"
        pids = {name: one.pid for name, one in self.server.processes.items()}
        script.write_text(SYSTEMCTL.format(program=self._program, **pids))
        script.chmod(0o755)
        config = self.server.lab.directory / "ovpnha.toml"
        order = ["restart-openvpn", INSTANCE, "--config", str(config)]
        order += ["--node", self.server.node.name, "--binary", str(binary)]
        done = subprocess.run(
            [*APART, *OVPNHA, *order],
            env=os.environ | ENVIRONMENT | {"PATH": f"{home}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"ovpnha restart-openvpn --binary: {done.stdout}{done.stderr}")
        serving = Path(f"/proc/{self._serving.pid}/exe")
        if serving.read_bytes() != binary.read_bytes():
            raise LabError(f"the process that serves is not {binary}")

    def kill(self) -> None:
        """A crash of the process that serves."""
        self._serving.signal(signal.SIGKILL)

    def kill_both(self) -> None:
        """Of both at once."""
        for one in self.server.processes.values():
            one.signal(signal.SIGKILL)

    def hang(self) -> None:
        """It does nothing any more, and lives, until the sidecar ends it."""
        before = self._serving
        pid = before.pid
        before.signal(signal.SIGSTOP)
        wait_until(lambda: not before.running or before.pid != pid, "its end", PATIENCE)

    @property
    def _serving(self) -> Process:
        return self.server.processes[self.server.serving()]

    @property
    def running(self) -> list[Process]:
        """Its processes."""
        return [one for one in self.server.processes.values() if one.running]

    def promoted(self) -> int:
        """When a process was last promoted, in nanoseconds of the lab's clock."""
        return int(float(self.server.status().get("last_promotion") or 0.0) * 1e9)

    def wait_ready(self, clients: int | None) -> None:
        """Until all is as it was before: a move would be possible, and cost nobody anything."""
        wait_until(self.server.serves, "a process that serves", PATIENCE)
        self.server.wait_spare(clients)


class Stock:
    """A stock server with one process, and systemd beside it."""

    def __init__(self, lab: Lab) -> None:
        self.node = lab.nodes["a"]

    def restart(self) -> None:
        """What `systemctl restart` does."""
        self.node.openvpn.stop()
        self.node.openvpn.start()

    def change_build(self, _other: Path) -> None:
        """A new program makes no difference to it."""
        self.restart()

    def kill(self) -> None:
        """A crash, and what systemd does about it."""
        self.node.openvpn.kill()
        time.sleep(RESTART_SECONDS)
        self.node.openvpn.start()

    kill_both = kill

    def hang(self) -> None:
        """Nobody sees it by himself; here somebody does, as soon as a sidecar would."""
        self.node.openvpn.signal(signal.SIGSTOP)
        time.sleep(HANG_SECONDS)
        self.kill()

    @property
    def running(self) -> list[Process]:
        """Its process."""
        return [self.node.openvpn] if self.node.openvpn.running else []

    def promoted(self) -> int:
        """Never."""
        return 0

    def wait_ready(self, _clients: int | None) -> None:
        """It runs."""
        wait_until(lambda: self.running, "a process that serves", PATIENCE)


Server = Spared | Stock
