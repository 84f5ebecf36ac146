"""Runs of pytest that begin where the last one had to import: forks of one process in a tree.

    python -m tests.mutants.nursery        in the tree, started by `Nursery`

A run of a dozen tests takes a moment, the imports before it take seconds. So one process in each
tree imports what is nobody's of ours (pytest, hypothesis and whatever else a run before has
needed), and every run is a fork of it, which imports the program and its tests itself. A line of
JSON asks for a run (`Order`), a line answers with the status that it ended with.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

OURS = ("ovpnha", "tests")
FIRST = ("pytest", "hypothesis")
FOREIGN = "MUTANTS_FOREIGN"  # names the file in which a run leaves what it has imported of others
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins are imported already


@dataclass(frozen=True)
class Order:
    """One run of pytest."""

    arguments: list[str]
    said: str  # the file for what it says
    environment: dict[str, str] = field(default_factory=dict)
    processor: int = 0  # seconds that it may use; 0: as many as it likes
    seconds: int = 0  # that it may take
    memory: int = 0  # bytes


class Nursery:
    """The process in one tree; ends with whoever started it."""

    def __init__(self, tree: Path) -> None:
        command = [sys.executable, "-m", "tests.mutants.nursery"]
        self._process = subprocess.Popen(
            command, cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, order: Order) -> int:
        """The status that a run ended with; negative: the signal that ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Nothing of it remains."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def _serve() -> None:
    """Every order, until there is no one to give any."""
    answers = os.fdopen(os.dup(1), "w")
    foreign = Path("build") / f"foreign-{os.getpid()}"
    foreign.parent.mkdir(exist_ok=True)
    _learn(FIRST)
    for line in sys.stdin:
        status = _fork(Order(**json.loads(line)), foreign)
        if foreign.exists():
            _learn(foreign.read_text().split())
            foreign.unlink()
        answers.write(f"{status}\n")
        answers.flush()


def _learn(names: tuple[str, ...] | list[str]) -> None:
    for name in names:
        if name not in sys.modules and name.partition(".")[0] not in (*OURS, "__main__"):
            with contextlib.suppress(Exception):  # it is imported by those who need it
                importlib.import_module(name)


def _fork(order: Order, foreign: Path) -> int:
    gc.freeze()
    child = os.fork()
    if not child:
        _run(order, foreign)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it has left
    return os.waitstatus_to_exitcode(status)


def _run(order: Order, foreign: Path) -> None:
    """Never returns."""
    status = 3
    try:
        os.setsid()
        said = os.open(order.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (said, 1), (said, 2)):
            os.dup2(old, new)
        os.environ.update(order.environment | {FOREIGN: str(foreign.resolve())})
        if order.processor:
            limits = (order.processor, order.processor + 5)
            resource.setrlimit(resource.RLIMIT_CPU, limits)
        if order.memory:
            resource.setrlimit(resource.RLIMIT_AS, (order.memory, order.memory))
        signal.alarm(order.seconds)
        import pytest

        status = int(pytest.main([*QUIET, *order.arguments]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
