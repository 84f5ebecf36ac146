"""``python -m tests.lab.restart``: one server, with a spare and without, whatever befalls it.

    --runs N          of each case (what the case says)
    --only WORD …     only cases with one of these words in their name
    --again           measure anew what there is
    --clients N       in the cases of a crowd (1000)
    --mbit N          of TCP, each way (100)
    --output DIR      where restart.json and the other two files go (build/lab)

There is no other node. The control is stock OpenVPN on such a server, restarted by the rules of
Debian's unit (``tests/lab/restartserver.py``); it has ``explicit-exit-notify``, as the other. A row
of ``restart.json`` for each case, and for its control where it has one: ``probes_lost`` and
``client_restarts`` of all runs together, and ``longest_gap_ms``, the longest time between two
answers in any of them.
``restart-runs.json`` has every run, with what the machine did by itself just before
(``tests/lab/restartrun.py``); the next call goes on from there. ``packet ids`` is a case of its own
(``tests/lab/restarttrace.py``), in a row, with ``restart-trace.json``. Exits with 1 when a client
of the server with a spare noticed what it must not, 2 when the lab could not do its work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.lab import restarttrace
from tests.lab.ending import run_to_end
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.managers.rows import commit
from tests.lab.node import Setup
from tests.lab.openvpn import STOCK
from tests.lab.restartcases import CASES, Case, Ground
from tests.lab.restartclients import Guests, check, gather
from tests.lab.restartrun import Bench, Run, make_run
from tests.lab.restartserver import Spared, Stock
from tests.lab.session import Watch
from tests.lab.sparelab import SPARE_OPTIONS, SpareLab

OPENVPN = Path(os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")).resolve()
GOODBYE = "explicit-exit-notify 1"
MBIT, CLIENTS = 100.0, 1000
TRACE, ROUNDS = "packet ids", 50
ROOM = ("max-clients 1100",)

console = Console(stderr=True)


@dataclass(frozen=True)
class Row:
    """All runs of one case."""

    case: str
    runs: int
    probes_lost: int
    client_restarts: int
    longest_gap_ms: float
    control: bool


class Runs:
    """Every run of a file; a case goes on where it was ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        told = json.loads(path.read_text()) if path.exists() else []
        self.all = [Run(**one) for one in told]

    def of(self, case: str, *, control: bool) -> list[Run]:
        """Those of one case."""
        return [one for one in self.all if (one.case, one.control) == (case, control)]

    def add(self, run: Run) -> None:
        """Keep one, in the file, too."""
        self.all.append(run)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps([asdict(one) for one in self.all], indent=1)
        self._path.write_text(f"{text}\n")

    def forget(self, cases: Sequence[Case]) -> None:
        """Measure these anew."""
        names = {one.name for one in cases}
        self.all = [one for one in self.all if one.case not in names]


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    runs: int | None
    mbit: float
    clients: int

    def count(self, case: Case, *, control: bool) -> int:
        """How many runs of it are wanted."""
        most = case.control_runs if control else case.runs
        return most if self.runs is None else min(self.runs, most) if control else self.runs


@contextmanager
def spared(options: Options, ground: Ground) -> Iterator[Bench]:
    """A server with a spare, under load."""
    with TemporaryDirectory(prefix="ovpnha-restart-") as home, ExitStack() as stack:
        program = Path(home) / "openvpn"
        shutil.copy2(OPENVPN, program)
        more = ROOM if ground is Ground.CROWD else ()
        setup = Setup(
            openvpn=program,
            vip_manager=None,
            server_options=(*SPARE_OPTIONS, GOODBYE, *more),
        )
        lab = stack.enter_context(Lab(setup, keep_logs=bool(os.environ.get("KEEP_LOGS"))))
        server = stack.enter_context(SpareLab(lab, "always"))
        server.start()
        server.keep()
        bench = _watch(lab, Spared(server, program, OPENVPN), options)
        if ground is Ground.CROWD:
            bench.crowd = gather(lab, options.clients)
        if ground is Ground.BUSY:
            bench.guests = stack.enter_context(Guests(lab))
        yield bench


@contextmanager
def stock(options: Options) -> Iterator[Bench]:
    """A stock server, under the same load."""
    setup = Setup(
        openvpn=STOCK,
        seamless=False,
        vip_manager=None,
        server_options=(*SPARE_OPTIONS[1:], GOODBYE),
    )
    with Lab(setup) as lab:
        lab.vips.start()
        lab.move_vips("a")
        lab.nodes["a"].start()
        yield _watch(lab, Stock(lab), options)


def _watch(lab: Lab, server: Spared | Stock, options: Options) -> Bench:
    client = lab.start_client()
    stream, _ = lab.start_probes()
    return Bench(server, Watch(lab, client, stream), options.mbit)


def measure(cases: Sequence[Case], runs: Runs, options: Options) -> None:
    """All that is missing, on one server after the other."""
    for ground in Ground:
        todo = [one for one in cases if one.ground is ground]
        if any(_missing(one, runs, options, control=False) for one in todo):
            with spared(options, ground) as bench:
                _measure_on(bench, todo, runs, options)
                if bench.guests is not None:
                    check(bench.guests)
    if any(_missing(one, runs, options, control=True) for one in cases):
        with stock(options) as bench:
            _measure_on(bench, cases, runs, options)


def _missing(case: Case, runs: Runs, options: Options, *, control: bool) -> range:
    done = len(runs.of(case.name, control=control))
    return range(done + 1, options.count(case, control=control) + 1)


def _measure_on(bench: Bench, cases: Sequence[Case], runs: Runs, options: Options) -> None:
    control = isinstance(bench.server, Stock)
    for case in cases:
        for number in _missing(case, runs, options, control=control):
            runs.add(measure_case(bench, case, number))
            _tell(runs.all[-1])


def measure_case(bench: Bench, case: Case, number: int) -> Run:
    """One run of it."""
    case.prepare(bench)
    run = make_run(bench, case.name, number, lambda: case.deed(bench), sudden=case.sudden)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(run, at=at, commit=commit())


def _tell(run: Run) -> None:
    console.print(
        f"{run.case}{', stock OpenVPN' if run.control else ''} {run.run}: {run.probes_lost} of"
        f" {run.probes_sent} lost, gap {run.longest_gap_ms:g} ms (before {run.window_gap_ms:g},"
        f" {run.window_lost} lost), {run.client_restarts} restarts, {run.mbit:g} Mbit/s,"
        f" full {run.server_full}/{run.client_full}/{run.processors_full},"
        f" load {run.load:g} {run.tcp} {run.more}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def summarise(runs: Sequence[Run]) -> list[Row]:
    """A row for each case and its control."""
    keys = list(dict.fromkeys((one.case, one.control) for one in runs))
    rows = []
    for case, control in sorted(keys, key=lambda key: key[1]):
        mine = [one for one in runs if (one.case, one.control) == (case, control)]
        rows.append(
            Row(
                *(case, len(mine)),
                sum(one.probes_lost for one in mine),
                sum(one.client_restarts for one in mine),
                max(one.longest_gap_ms for one in mine),
                control,
            )
        )
    return rows


def find_problems(runs: Sequence[Run]) -> list[str]:
    """Where a client has noticed something that it must not."""
    found = []
    for case in CASES:
        mine = [one for one in runs if one.case == case.name and not one.control]
        found += [
            f"{case.name}, run {one.run}: {text}" for one in mine for text in broken(case, one)
        ]
        own = [one.own_ms for one in mine]
        if own and median(own) > case.most_ms:
            found.append(
                f"{case.name}: {median(own):.0f} ms beyond what the machine does by itself, median"
                f" of {len(own)}; promised are {case.most_ms:.0f}"
            )
    return found


def broken(case: Case, run: Run) -> list[str]:
    """What one run has broken of what its case promises."""
    crowd = int(run.more.get("crowd_restarts", 0))
    checks = {
        f"the client restarted {run.client_restarts} times": run.client_restarts,
        f"{crowd} clients of the crowd noticed something": crowd,
        f"failed: {'; '.join(run.more.get('failed', []))}": run.more.get("failed"),
        "a renegotiation came in the gap": run.renegotiations_in_gap,
        f"the TCP session broke: {run.tcp}": run.tcp,
    }
    return [text for text, is_broken in checks.items() if is_broken and not case.reconnects]


def main(arguments: Sequence[str]) -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.restart")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--mbit", type=float, default=MBIT)
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    told = parser.parse_args(arguments)
    return run_to_end("restart", lambda: _work(told), console)


def choose(words: Sequence[str]) -> list[Case]:
    """Those whose name has one of the words, all without words; LabError where there is none."""
    found = [one for one in CASES if is_meant(one.name, words)]
    if not (found or is_meant(TRACE, words)):
        names = ", ".join([*(one.name for one in CASES), TRACE])
        raise LabError(f"no case has such a name; there are: {names}")
    return found


def is_meant(name: str, words: Sequence[str]) -> bool:
    """Whether a name has one of the words, or there are none."""
    return not words or any(word in name for word in words)


def _trace(told: argparse.Namespace) -> list[str]:
    """Every packet id that was used over many rounds in a row; what is wrong with them."""
    traced = restarttrace.run(told.runs or ROUNDS, console.print)
    text = json.dumps(traced.summary(), indent=2)
    told.output.mkdir(parents=True, exist_ok=True)
    (told.output / "restart-trace.json").write_text(f"{text}\n")
    console.print(text)
    return [] if traced.good else [f"{TRACE}: {traced.nonces}, {traced.client_restarts} restarts"]


def _work(told: argparse.Namespace) -> int:
    cases = choose(told.only)
    runs = Runs(told.output / "restart-runs.json")
    if told.again:
        runs.forget(cases)
    try:
        measure(cases, runs, Options(told.runs, told.mbit, told.clients))
    finally:
        text = json.dumps([asdict(one) for one in summarise(runs.all)], indent=2)
        told.output.mkdir(parents=True, exist_ok=True)
        (told.output / "restart.json").write_text(f"{text}\n")
    problems = find_problems(runs.all) + (_trace(told) if is_meant(TRACE, told.only) else [])
    for problem in problems:
        console.print(f"restart: {problem}", style="red", markup=False)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
