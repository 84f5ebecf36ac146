"""Processes of a lab: started inside a namespace, ended by their own pid and nothing wider.

Each runs in a session of its own, so that Ctrl-C reaches only the lab, and dies with the thread
that started it (``setpriv --pdeathsig``), so that a killed lab leaves none behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.errors import LabError

STOP_SECONDS = 10.0


class Process:
    """One program in one namespace; its output goes to ``log``."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        namespace: str,
        directory: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = log.stem
        self.log = log
        self._argv = [
            *("setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", namespace),
            *map(str, argv),
        ]
        self._directory = directory
        self._environment = dict(os.environ) | dict(environment or {})
        self._popen: subprocess.Popen[bytes] | None = None
        self.begun_ns = 0  # of the wall clock, when it was last started

    @property
    def pid(self) -> int:
        """The process id of the program itself: every wrapper before it is an exec."""
        if self._popen is None:
            raise LabError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def started(self) -> bool:
        """Whether it ever was, however it fares."""
        return self._popen is not None

    @property
    def running(self) -> bool:
        """Started and not ended yet."""
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> Process:
        """Start it, appending to its log."""
        self.begun_ns = time.time_ns()
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=self._environment,
                start_new_session=True,
            )
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL, at once, and collect it."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and return the exit code."""
        if self._popen is None:
            return 0
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} (pid {self.pid}) did not end in {seconds:g} s") from None

    def stop(self) -> None:
        """Ask it to end, insist after a while, and take its children along."""
        if self._popen is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self.wait()
        except LabError:
            self.kill()
        kill_group(self._popen)

    def discard(self) -> None:
        """End it at once, children and all, if it was started and still runs."""
        if self._popen is not None:
            kill_group(self._popen)
            self.wait()

    def expect_running(self) -> None:
        """Raise LabError with its status and the end of its log when it has ended."""
        if not self.running:
            status = "" if self._popen is None else f" with status {self._popen.returncode}"
            raise LabError("\n".join([f"{self.name} has ended{status}:", *self.tail()]))

    def tail(self, count: int = 8) -> list[str]:
        """The last lines of its log."""
        return last_lines(self.log, count)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a file; none when it is not there."""
    return log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []


def kill_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process group that we started.

    The number of a leader that has ended is free again once its group is empty: whoever has it then
    is somebody else, and so is the group.
    """
    if leader.returncode is not None and Path(f"/proc/{leader.pid}").exists():
        return
    try:
        os.killpg(leader.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
