"""All tests collected once; every run of some of them is a fork of that one process.

`Warm` starts pytest with the plugin `Collected` in a tree. When all is collected it forks once for
each worker, and each of these forks again for every order that it is given as a line of JSON: the
child puts the changed code in its place (``swap``) or counts lines, and runs the tests it was told.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import coverage
import pytest

from tests.mutants.swap import NotSwappableError, swap

PIPES = "MUTANTS_PIPES"
PASSED, FAILED, COLD, BROKEN = range(4)  # COLD: not to be had without another import


@dataclass(frozen=True)
class Order:
    """Tests to run, with one file changed or to see where they come; none: which there are."""

    tests: list[str]
    path: str = ""  # of the changed file, from the tree
    changed: str = ""
    line: int = 0
    measure: bool = False
    limits: dict[str, float] = field(default_factory=dict)  # seconds of the processor, by test
    seconds: int = 0  # that all may take; 0: as long as it likes


@dataclass(frozen=True)
class Answer:
    """How it ended."""

    status: int  # negative: the signal that ended it
    test: str = ""  # that failed
    seconds: dict[str, float] | None = None  # of the processor, by test
    lines: dict[str, dict[str, list[str]]] | None = None  # by file: by line, the tests
    opened: list[str] | None = None
    tests: list[str] | None = None


class Warm:
    """The processes that have collected all tests of a tree."""

    def __init__(
        self, tree: Path, suites: tuple[str, ...], options: tuple[str, ...], workers: int
    ) -> None:
        orders = [os.pipe() for _ in range(workers)]
        answers = [os.pipe() for _ in range(workers)]
        ours = [(read, write) for (read, _), (_, write) in zip(orders, answers, strict=True)]
        pipes = [fd for pair in ours for fd in pair]
        (tree / "build").mkdir(exist_ok=True)
        with (tree / "build" / "collected").open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-s", *options, *suites],
                cwd=tree,
                env=os.environ | {PIPES: json.dumps(ours)},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                pass_fds=pipes,
            )
        for fd in pipes:
            os.close(fd)
        self.workers = [
            Worker(write, read) for (_, write), (read, _) in zip(orders, answers, strict=True)
        ]

    def collected(self) -> dict[str, list[str]]:
        """All tests, by file."""
        found: dict[str, list[str]] = {}
        for test in self.workers[0].run(Order([])).tests or []:
            found.setdefault(test.partition("::")[0], []).append(test)
        return found

    def close(self) -> None:
        """Nothing of it remains."""
        for worker in self.workers:
            worker.close()
        self._process.wait()


class Worker:
    """One that runs an order at a time."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders = os.fdopen(orders, "w")
        self._answers = os.fdopen(answers)

    def run(self, order: Order) -> Answer:
        """Carry it out."""
        with contextlib.suppress(BrokenPipeError):
            self._orders.write(json.dumps(asdict(order)) + "\n")
            self._orders.flush()
        line = self._answers.readline()
        if not line:
            raise ValueError("the tests cannot be collected as the tree is")
        return Answer(**json.loads(line))

    def close(self) -> None:
        """It ends when it has nothing to do."""
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()
        self._answers.close()


class Collected:
    """Takes the place of the loop that runs all that was collected."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return False
        pipes = json.loads(os.environ[PIPES])
        children = []
        for pair in pipes:
            child = os.fork()
            if not child:
                for fd in (fd for other in pipes if other != pair for fd in other):
                    os.close(fd)
                _serve(session, *pair)
            children.append(child)
        for fd in (fd for pair in pipes for fd in pair):
            os.close(fd)
        for child in children:
            os.waitpid(child, 0)
        return True


def _serve(session: pytest.Session, orders: int, answers: int) -> None:
    """Never returns."""
    items = {item.nodeid: item for item in session.items}
    with os.fdopen(orders) as lines:
        for line in lines:
            read, write = os.pipe()
            child = os.fork()
            if not child:
                os.close(read)
                _obey(session, items, Order(**json.loads(line)), write)
            os.close(write)
            with os.fdopen(read) as told:
                said = told.read()
            _, status = os.waitpid(child, 0)
            ended = os.waitstatus_to_exitcode(status)
            answer = said if ended == PASSED else json.dumps(asdict(Answer(ended)))
            os.write(answers, answer.encode() + b"\n")
    os._exit(0)


def _obey(session: pytest.Session, items: dict[str, pytest.Item], order: Order, told: int) -> None:
    """Never returns."""
    try:
        os.setsid()
        signal.alarm(order.seconds)
        answer = Answer(PASSED, tests=list(items))
        if order.tests:
            answer = _run(session, [items[test] for test in order.tests], order)
        with os.fdopen(told, "w") as file:
            file.write(json.dumps(asdict(answer)))
        os._exit(PASSED)
    except BaseException as error:
        sys.stderr.write(f"{order.path}: {error!r}\n")
        sys.stderr.flush()
        os._exit(BROKEN)


def _run(session: pytest.Session, items: list[pytest.Item], order: Order) -> Answer:
    if order.path:
        try:
            swap(Path(order.path).resolve(), order.changed.encode(), order.line)
        except NotSwappableError:
            return Answer(COLD)
    counted, opened = (_count(), _listen()) if order.measure else (None, [])
    seconds = {}
    for item, following in zip(items, [*items[1:], None], strict=True):
        begun = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, order.limits.get(item.nodeid, 0.0))
        if counted:
            counted.switch_context(item.nodeid)
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        seconds[item.nodeid] = time.process_time() - begun
        if session.testsfailed:
            return Answer(FAILED, item.nodeid)
    if not counted:
        return Answer(PASSED)
    counted.stop()
    return Answer(PASSED, "", seconds, _lines(counted), opened)


def _count() -> coverage.Coverage:
    counted = coverage.Coverage(
        data_file=None, config_file=False, include=[str(Path.cwd() / "ovpnha" / "*")]
    )
    counted.start()
    return counted


def _listen() -> list[str]:
    opened: list[str] = []

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | Path):
            opened.append(str(arguments[0]))

    sys.addaudithook(hear)
    return opened


def _lines(counted: coverage.Coverage) -> dict[str, dict[str, list[str]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file of tests may come to no line of ours
        data = counted.get_data()
    return {
        str(Path(file).relative_to(Path.cwd())): {
            str(line): [name for name in names if name]
            for line, names in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }


def pytest_configure(config: pytest.Config) -> None:
    if PIPES in os.environ:
        config.pluginmanager.register(Collected(), "mutants-collected")
