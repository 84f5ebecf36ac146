"""How the fates of connections are judged: by what their ends say, however late they say it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.lab.lab import Lab
from tests.lab.nat.flows import ENDS, Flows
from tests.lab.nat.rows import Fate, Traffic
from tests.lab.process import Process
from tests.lab.waiting import wait_until

ADDRESS = "10.99.2.100"
SECONDS = 20.0


class FakeEnd:
    """An agent whose talkers never stop; its idle session is heard when ``answer`` says so."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self.idle = time.monotonic_ns()
        self.answer: Callable[[FakeEnd], None] = FakeEnd.hear

    def expect_running(self) -> None:
        """It always does."""

    def signal(self, _number: signal.Signals) -> None:
        self.answer(self)

    def hear(self) -> None:
        """The idle session is spoken to, or answered, at this very moment."""
        self.idle = time.monotonic_ns()
        self.report()

    def report(self) -> None:
        """What the agent writes every 0.2 s."""
        now = time.monotonic_ns()
        groups = {}
        for kind in Traffic:
            heard = self.idle if kind is Traffic.IDLE else now
            group = {"sessions": 2, "errors": [], "earliest": heard, "latest": heard}
            groups[f"{kind} {ADDRESS}"] = group
        with self._events.open("a") as file:
            file.write(json.dumps({"time": now, "groups": groups}) + "\n")


class FlowsWithoutProbes(Flows):
    """ICMP would need a namespace."""

    def _fate_of_probes(self, _family: str, _moment: int, _now: int) -> Fate:
        return Fate(alive=True, stall_ms=0.0)


@pytest.fixture
def ends(tmp_path: Path) -> dict[str, FakeEnd]:
    return {name: FakeEnd(tmp_path / f"flows-{name}.events") for name in ENDS}


@pytest.fixture
def flows(tmp_path: Path, ends: dict[str, FakeEnd]) -> Iterator[Flows]:
    """Sessions between two such agents, which report until the test is over."""

    def look_after(process: Process) -> Process:
        return cast(Process, ends.get(process.name.removeprefix("flows-"), process))

    namespaces = SimpleNamespace(namespace=lambda name: name)
    lab = SimpleNamespace(topology=namespaces, directory=tmp_path, look_after=look_after)
    over = threading.Event()

    def report() -> None:
        while not over.wait(0.02):
            for end in ends.values():
                end.report()

    made = FlowsWithoutProbes(cast(Lab, lab), ("ipv4",), 1)
    reporter = threading.Thread(target=report)
    reporter.start()
    files = [tmp_path / f"flows-{name}.events" for name in ENDS]
    # A file is there before anything is in it.
    wait_until(lambda: all(one.exists() and one.stat().st_size for one in files), "reports", 5)
    yield made
    over.set()
    reporter.join()


def is_alive(flows: Flows, patience: float) -> bool:
    return flows.judge(time.monotonic_ns(), patience)[Traffic.IDLE, "ipv4"].alive


def test_an_answer_that_is_there_before_we_have_our_turn_again_counts(flows: Flows) -> None:
    """The ends answer within the call that signals them: on a busy machine that is what happens."""
    spoken = flows.speak()
    assert flows.idle_heard(spoken)
    assert is_alive(flows, 0)


def test_an_answer_that_is_late_is_waited_for(flows: Flows, ends: dict[str, FakeEnd]) -> None:
    late: list[threading.Timer] = []

    def answer_late(end: FakeEnd) -> None:
        late.append(threading.Timer(0.3, end.hear))
        late[-1].start()

    ends["use"].answer = answer_late
    assert is_alive(flows, SECONDS)
    for timer in late:
        timer.join()


def test_one_that_never_answers_is_dead(flows: Flows, ends: dict[str, FakeEnd]) -> None:
    ends["use"].answer = lambda _end: None
    assert not is_alive(flows, 0.3)
