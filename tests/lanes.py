"""``python3 tests/lanes.py LANE...``: make targets in lanes that run side by side.

A lane is a list of targets with commas between, done one after the other; `integration/2:1` is
`make integration SHARD=2:1`, `packages/trixie` is `make packages RELEASE=trixie`, and a lane that
begins with `nice:` leaves the processors to the others. Each target's output goes to
``build/ci/TARGET.log``. A target that fails is named with the end of its log, the rest goes on, and
the exit status is 1. ``--table`` shows all that ran since ``--begin`` (wall time, and the
processors' time of its processes, without what an engine did for them), below it the last lines of
what failed, and at the very end one line for each test that did, or the last ones of a part without
tests: who reads only the end of it all must see why. At ``OVPNHA_LANES_UNTIL`` (seconds
since the epoch; never when it is not set) what still runs is ended and has failed, and no other
part begins, so that the reason is told before somebody's patience ends. Only the standard library:
it runs before there is a virtual environment.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

LOGS = Path("build/ci")
TABLE = "parts.tsv"
UNTIL = "OVPNHA_LANES_UNTIL"
NICE = "nice:"
NICENESS = "10"
# Where the kernel shares the processors among sessions, a process's own niceness says nothing.
PATIENT = f'echo {NICENESS} 2>/dev/null >/proc/self/autogroup; exec nice -n {NICENESS} "$@"'
TAIL_LINES, LAST_LINES = 60, 15
TEST_LIMIT, WIDTH = 12, 200
WITHOUT_TESTS = 3
DURATION = re.compile(r"\d+\.\d+s (call|setup|teardown)\b")
FAILED_TEST = re.compile(r"(FAILED|ERROR) \S+::")
STILL_SECONDS = 60.0


@dataclass(frozen=True)
class Part:
    """A make target, perhaps one shard of it, or for one release."""

    target: str
    which: str = ""
    nice: bool = False

    @property
    def name(self) -> str:
        """As it is shown, and as its log is named."""
        return self.target + (f"-{self.which.replace(':', 'of')}" if self.which else "")

    @property
    def command(self) -> list[str]:
        """What runs it."""
        nice = ["sh", "-c", PATIENT, "sh"] if self.nice else []
        variable = "SHARD" if ":" in self.which else "RELEASE"
        return [*nice, "make", self.target, *([f"{variable}={self.which}"] if self.which else [])]


def read_lane(text: str) -> list[Part]:
    """The parts of a lane that is written as the module's text says."""
    nice = text.startswith(NICE)
    names = text.removeprefix(NICE).split(",")
    pairs = [name.partition("/") for name in names]
    return [Part(target, which, nice) for target, _, which in pairs]


class Runner:
    """Runs lanes until a moment of the wall clock, tells what happens, and ends what it started."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, subprocess.Popen[bytes]]] = {}
        self._stopped = threading.Event()
        self.failed: list[str] = []

    def run(self, lanes: list[list[Part]]) -> None:
        """All lanes side by side, to their ends."""
        threads = [threading.Thread(target=self._lane, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(max(1.0, min(STILL_SECONDS, self._deadline - time.time())))
                if time.time() >= self._deadline and not self._stopped.is_set():
                    self._give_up()
                self._say_what_runs()

    def stop(self) -> None:
        """End every part with all its processes; no other one starts."""
        self._stopped.set()
        for _, process in list(self._running.values()):
            os.killpg(process.pid, signal.SIGTERM)

    def _give_up(self) -> None:
        say(f"out of time; ending {', '.join(self._running) or 'what comes next'}")
        self.stop()

    def _lane(self, lane: list[Part]) -> None:
        for part in lane:
            if self._stopped.is_set():
                self._note(part, 0, 0, "NOT RUN")
            else:
                self._part(part)

    def _part(self, part: Part) -> None:
        log = LOGS / f"{part.name}.log"
        start = time.monotonic()
        say(f"{part.name} begins")
        with log.open("wb") as output:
            process = subprocess.Popen(
                part.command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._running[part.name] = (start, process)
        # Not process.wait(): only this one tells what it and its children have used.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        del self._running[part.name]
        outcome = "FAILED" if status else "passed"
        worked = round(usage.ru_utime + usage.ru_stime)
        self._note(part, round(time.monotonic() - start), worked, outcome)

    def _note(self, part: Part, seconds: int, worked: int, outcome: str) -> None:
        with self._lock:
            with (LOGS / TABLE).open("a") as table:
                table.write(f"{part.name}\t{seconds}\t{worked}\t{outcome}\n")
            if outcome == "FAILED":
                show_end(part.name, TAIL_LINES)
            if outcome != "passed":
                self.failed.append(part.name)
            say(f"{part.name} {outcome} after {seconds} s")

    def _say_what_runs(self) -> None:
        now = time.monotonic()
        running = [f"{name} ({now - start:.0f} s)" for name, (start, _) in self._running.items()]
        if running:
            say(f"running: {', '.join(running)}; load {os.getloadavg()[0]:.0f}")


def say(text: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def show_end(name: str, count: int) -> None:
    """Print the last lines that a part has said, without how long each test took."""
    told = [line for line in read_log(name) if not DURATION.match(line)]
    print("\n".join(f"{name} | {line}" for line in told[-count:]), flush=True)


def show_tests(name: str) -> None:
    """Print the tests of a part that failed, a short line for each; without any, its last lines."""
    told = read_log(name)
    found = [line for line in told if FAILED_TEST.match(line)] or told[-WITHOUT_TESTS:]
    for line in found[:TEST_LIMIT]:
        print(f"{name} | {line[:WIDTH]}", flush=True)
    if found[TEST_LIMIT:]:
        print(f"{name} | and {len(found) - TEST_LIMIT} more", flush=True)


def read_log(name: str) -> list[str]:
    """What a part has said, by lines."""
    log = LOGS / f"{name}.log"
    return log.read_text(errors="replace").splitlines() if log.exists() else ["not begun"]


def show_table() -> int:
    """Print every part since the beginning and the end of each that failed; 1 when there is one."""
    rows = [line.split("\t") for line in (LOGS / TABLE).read_text().splitlines()]
    width = max([len(name) for name, *_ in rows], default=0)
    for name, seconds, worked, outcome in rows:
        print(f"{name:{width}}  {seconds:>5} s  {worked:>5} s of processor  {outcome}")
    failed = [name for name, *_, outcome in rows if outcome != "passed"]
    for name in failed:
        print()
        show_end(name, LAST_LINES)
    print()
    for name in failed:
        show_tests(name)
    return int(bool(failed))


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    LOGS.mkdir(parents=True, exist_ok=True)
    if arguments == ["--begin"]:
        (LOGS / TABLE).write_text("")
        return 0
    if arguments == ["--table"]:
        return show_table()
    runner = Runner(float(os.environ.get(UNTIL, "inf")))

    def stop(number: int, _frame: FrameType | None) -> None:
        runner.stop()
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    runner.run([read_lane(argument) for argument in arguments])
    if runner.failed:
        say(f"FAILED: {', '.join(runner.failed)}; their logs are in {LOGS}")
    return int(bool(runner.failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
