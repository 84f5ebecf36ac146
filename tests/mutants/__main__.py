"""``python -m tests.mutants``: do the tests notice a small change of what decides everything?

    --count N      mutants to try (100)
    --seed N       which ones; drawn and shown when it is not given
    --only WORD    only files whose path contains it
    --workers N    mutants tried side by side (2)
    --json FILE    what became of each, for a machine

Changes are drawn at random from all that ``changes`` knows in the pure packages, each is tried in a
copy of the tree against the unit and property tests that come to it. What no test notices is shown
with its line; fewer than 95 of 100 noticed is exit status 1. A change that alters no behaviour
stands in ``equivalent.toml`` with the reason why, and is not drawn.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.changes import Mutant, find_mutants
from tests.mutants.measuring import SUITES, WARM
from tests.mutants.nursery import Nursery
from tests.mutants.trial import NOTICED, Outcome, Touched, Workshop, copy_tree, touch
from tests.mutants.warm import Warm

PURE = (
    *("errors", "model", "problems", "checks", "management", "replication", "firewall"),
    *("node", "setup", "doctor"),
)
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
COUNT = 100
SHARE = 0.95
WORKERS = 2


@dataclass(frozen=True)
class Equivalent:
    """A change that alters nothing, by the line it stands in: files and lines may move."""

    line: str
    change: str
    reason: str

    def means(self, mutant: Mutant) -> bool:
        """Whether this is the change that it names."""
        return self.line == mutant.text and self.change == mutant.change


@dataclass(frozen=True)
class Trial:
    """One mutant, and what became of it."""

    mutant: Mutant
    outcome: Outcome
    test: str
    seconds: float


def main(arguments: list[str]) -> int:
    """Try mutants; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", default="")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    top = ["git", "rev-parse", "--show-toplevel"]
    root = Path(subprocess.run(top, check=True, capture_output=True, text=True).stdout.strip())
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        trees = [Path(name) / str(number) for number in range(options.workers)]
        whole = Path(name) / "whole"
        for tree in (whole, *trees):
            copy_tree(root, tree)
        every = _every_mutant(trees[0])
        listed = read_equivalent(EQUIVALENT)
        drawn = draw(every, listed, options.only, options.count, seed)
        print(
            f"seed {seed}: {len(drawn)} of {len(every)} mutants, {len(listed)} listed", flush=True
        )
        files = sorted({mutant.path for mutant in every})
        collected = Warm(whole, SUITES, WARM, options.workers)
        touched = touch(collected, whole, files, drawn, root / "build" / "mutants")
        trials = _try_all(drawn, trees, collected, touched)
    print(table(trials))
    unknown = [one for one in listed if not any(one.means(mutant) for mutant in every)]
    for one in unknown:
        print(f"{EQUIVALENT.name} names what is not there: {one.line}: {one.change}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report(seed, trials), indent=1) + "\n")
    noticed = sum(trial.outcome in NOTICED for trial in trials)
    print(f"seed {seed}: {noticed} of {len(trials)} noticed")
    return int(bool(unknown) or noticed < SHARE * len(trials))


def _every_mutant(tree: Path) -> list[Mutant]:
    paths = [path for part in PURE for path in (tree / "ovpnha").glob(f"{part}.py")]
    paths += [path for part in PURE for path in (tree / "ovpnha" / part).rglob("*.py")]
    names = sorted(str(path.relative_to(tree)) for path in paths)
    return [mutant for name in names for mutant in find_mutants(name, (tree / name).read_bytes())]


def read_equivalent(path: Path) -> list[Equivalent]:
    """The list of changes that alter nothing; each has a reason."""
    entries = tomllib.loads(path.read_text())["equivalent"]
    return [Equivalent(entry["line"], entry["change"], entry["reason"]) for entry in entries]


def draw(
    every: list[Mutant], listed: list[Equivalent], only: str, count: int, seed: int
) -> list[Mutant]:
    """So many of those that may be drawn, the same ones for the same seed and tree."""
    known = {(one.line, one.change) for one in listed}
    free = [one for one in every if only in one.path and (one.text, one.change) not in known]
    chance = random.Random(seed)  # noqa: S311 - repeatable, no secret
    return chance.sample(free, min(count, len(free)))


def _try_all(
    drawn: list[Mutant], trees: list[Path], collected: Warm, touched: Touched
) -> list[Trial]:
    nurseries = [Nursery(tree) for tree in trees]
    workshops: queue.Queue[Workshop] = queue.Queue()
    for tree, worker, nursery in zip(trees, collected.workers, nurseries, strict=True):
        workshops.put(Workshop(tree, worker, nursery))
    done: list[Trial] = []
    lock = threading.Lock()

    def try_one(mutant: Mutant) -> None:
        workshop = workshops.get()
        begun = time.monotonic()
        outcome, test = workshop.try_mutant(mutant, touched)
        workshops.put(workshop)
        with lock:
            done.append(Trial(mutant, outcome, test, time.monotonic() - begun))
            place = f"{mutant.path}:{mutant.line}"
            number = f"{len(done):3}/{len(drawn)}"
            took = f"{done[-1].seconds:5.1f} s"
            print(f"{number} {took} {outcome.value:16} {place}: {mutant.change}", flush=True)

    with ThreadPoolExecutor(len(trees)) as pool:
        for future in [pool.submit(try_one, mutant) for mutant in drawn]:
            future.result()
    for nursery in nurseries:
        nursery.close()
    collected.close()
    return done


def table(trials: list[Trial]) -> str:
    """Per package, then all that was not noticed."""
    tried = Counter(_package(trial.mutant) for trial in trials)
    noticed = Counter(_package(trial.mutant) for trial in trials if trial.outcome in NOTICED)
    lines = ["", f"{'package':14}{'tried':>6}{'noticed':>9}"]
    lines += [f"{name:14}{tried[name]:6}{noticed[name]:9}" for name in sorted(tried)]
    for trial in sorted(trials, key=lambda trial: (trial.mutant.path, trial.mutant.line)):
        if trial.outcome not in NOTICED:
            mutant = trial.mutant
            lines += ["", f"{trial.outcome.value}: {mutant.path}:{mutant.line}"]
            lines += [f"    {mutant.text}", f"    {mutant.change}"]
    return "\n".join(lines)


def _package(mutant: Mutant) -> str:
    return mutant.path.split("/")[1].removesuffix(".py")


def report(seed: int, trials: list[Trial]) -> dict[str, object]:
    """All trials, as JSON has them."""
    rows = [
        {
            "path": trial.mutant.path,
            "line": trial.mutant.line,
            "text": trial.mutant.text,
            "change": trial.mutant.change,
            "outcome": trial.outcome.value,
            "test": trial.test,
            "seconds": round(trial.seconds, 1),
        }
        for trial in trials
    ]
    return {"seed": seed, "trials": rows}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
