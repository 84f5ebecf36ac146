"""``python -m tests.faults``: the faults that outsiders found, provoked again with real processes.

    --only WORD …    those whose name contains one of the words
    --runs N         of each, instead of its own number
    --sample N       only N of them, drawn by --seed
    --seed N         which; the commit's when it is left out
    --list           their names, and nothing else
    --json           the result on standard output as well
    --output DIR     where faults.json goes (build/lab)

Needs root and the patched OpenVPN. Exits with 1 when a fault shows, and when there was none to try.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests import sampling
from tests.faults.fault import Fault, Say, Verdict

console = Console(stderr=True)


def main(arguments: list[str]) -> int:
    """Try the chosen faults, write and show what came of it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--runs", type=int)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    options = parser.parse_args(arguments)
    faults = [fault for fault in find_faults() if _is_chosen(fault.name, options.only)]
    if options.sample is not None:
        faults = _sample(faults, options.sample, options.seed)
    if options.list:
        print("\n".join(fault.name for fault in faults))
        return 0
    if not faults:
        console.print("faults: none has such a name; --list shows them all", style="red")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    verdicts = [try_fault(fault, options.runs or fault.runs) for fault in faults]
    text = json.dumps([asdict(verdict) for verdict in verdicts], indent=2)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "faults.json").write_text(text + "\n")
    if options.json:
        print(text)
    console.print(_table(verdicts))
    return 0 if all(verdict.good for verdict in verdicts) else 1


def find_faults() -> list[Fault]:
    """Every fault of every module beside this one, in the order of the modules' names."""
    found: list[Fault] = []
    for module in sorted(pkgutil.iter_modules([str(Path(__file__).parent)]), key=lambda m: m.name):
        if module.name != "__main__":
            found += getattr(importlib.import_module(f"tests.faults.{module.name}"), "FAULTS", ())
    return found


def _sample(faults: list[Fault], count: int, seed: int | None) -> list[Fault]:
    """Some of them, in their order."""
    seed = sampling.seed_of_commit() if seed is None else seed
    console.print(f"faults: {count} of {len(faults)}, drawn by --seed {seed}", markup=False)
    drawn = {fault.name for fault in sampling.draw({"faults": faults}, {"faults": count}, seed)}
    return [fault for fault in faults if fault.name in drawn]


def try_fault(fault: Fault, runs: int) -> Verdict:
    """All runs of one fault, with a line for each."""
    held, good, bad = 0, "", ""
    for number in range(1, runs + 1):
        start = time.monotonic()
        prefix = f"{fault.name} {number}/{runs}"
        try:
            good = fault.try_once(_progress(prefix))
            held += 1
            outcome, style = f"held; {good}", "green"
        except Exception as error:  # one that breaks must not hide how the others went
            reason = str(error) or type(error).__name__
            bad = bad or reason
            outcome, style = f"DID NOT HOLD: {reason}", "red"
        seconds = f"{time.monotonic() - start:.0f} s"
        console.print(f"{prefix}: {outcome} ({seconds})", style=style, markup=False)
    return Verdict(fault.name, runs, held, bad or good)


def _is_chosen(name: str, words: list[str]) -> bool:
    return not words or any(word in name for word in words)


def _progress(prefix: str) -> Say:
    return lambda text: console.print(f"{prefix}: {text}", style="dim", markup=False)


def _table(verdicts: list[Verdict]) -> Table:
    table = Table(title="Faults provoked again", title_justify="left")
    table.add_column("fault")
    table.add_column("held", justify="right")
    table.add_column("detail")
    for verdict in verdicts:
        style = None if verdict.good else "red"
        held = f"{verdict.held} of {verdict.runs}"
        table.add_row(verdict.fault, held, verdict.detail, style=style)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
