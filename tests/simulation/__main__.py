"""``python -m tests.simulation``: many schedules on every core, or one again.

    --schedules N   how many, from the first seed on
    --sample N      so many of the usual ones, drawn by the commit
    --seed S        the first seed; alone: this one only, with its trace and a smaller version
    --bounces N     how many bounces of the VIP instead, from a seed that is printed
    --spice WORD    only bounces in this company
    --spares SHARE  of the schedules, how many have machines with spares: 0.0 to 1.0
    --jobs N        processes

Exits with 1 when a rule was broken. The order of sets must not depend on the process, so it runs
itself again with PYTHONHASHSEED=0 where that is not set.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

from tests import sampling
from tests.simulation.bouncereport import hunt_bounces
from tests.simulation.bounces import SPICES
from tests.simulation.run import Verdict, run
from tests.simulation.schedule import draw
from tests.simulation.shrink import shrink
from tests.simulation.sparing import SHARE

SCHEDULES = 500
FAILURES_SHOWN = 5
TRACE_LINES = 150


def main(arguments: list[str]) -> int:
    """Run schedules; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--schedules", type=int, default=None)
    parser.add_argument("--sample", type=int, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--bounces", type=int, default=None)
    parser.add_argument("--spice", choices=list(SPICES), default="")
    parser.add_argument("--spares", type=float, default=SHARE)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    if options.bounces is not None:
        return hunt_bounces(options.bounces, options.seed, options.spice, options.jobs)
    if options.seed is not None and options.schedules is None:
        return replay(options.seed, options.spares)
    count = SCHEDULES if options.schedules is None else options.schedules
    first = options.seed or 0
    sampled = options.sample is not None
    seeds = sample(options.sample) if sampled else range(first, first + count)
    return hunt(seeds, options.spares, options.jobs)


def sample(count: int) -> list[int]:
    """Some of the usual seeds, in their order."""
    seed = sampling.seed_of_commit()
    say(f"{count} of the schedules 0 to {SCHEDULES - 1}, drawn by {seed}")
    name = "schedules"
    return sorted(sampling.draw({name: list(range(SCHEDULES))}, {name: count}, seed))


def replay(seed: int, spares: float) -> int:
    """One seed again, made smaller if it fails."""
    verdict = run(draw(seed, spares))
    if not verdict.violations:
        say(f"seed {seed}: nothing is wrong; settled {verdict.converged:.2f} s after the healing")
        return 0
    show(shrink(verdict))
    return 1


def hunt(seeds: Sequence[int], spares: float, jobs: int) -> int:
    """Many seeds; what fails is told at once."""
    begin = time.monotonic()
    failed: list[Verdict] = []
    settled: list[float] = []
    simulated = 0.0
    for done, verdict in enumerate(verdicts(seeds, spares, jobs), 1):
        simulated += verdict.simulated
        settled.append(verdict.converged)
        if verdict.violations:
            failed.append(verdict)
            first = verdict.violations[0]
            say(f"seed {verdict.schedule.seed}: {first.rule}: {first.text[:200]}")
        if done % 1000 == 0:
            say(f"{done} of {len(seeds)} schedules, {len(failed)} failed")
    for verdict in failed[:FAILURES_SHOWN]:
        show(shrink(verdict))
    settled.sort()
    say(
        f"{len(settled)} schedules, {simulated / 3600:.1f} simulated hours in "
        f"{time.monotonic() - begin:.0f} s: {len(failed)} failed; settled after the healing: "
        f"median {quantile(settled, 0.5):.2f} s, 99 % {quantile(settled, 0.99):.2f} s, "
        f"most {settled[-1]:.2f} s"
    )
    return 1 if failed else 0


def verdicts(seeds: Sequence[int], spares: float, jobs: int) -> Iterator[Verdict]:
    """The verdicts, in the order of the seeds."""
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap(partial(run_seed, spares=spares), seeds, chunksize=4)


def run_seed(seed: int, spares: float) -> Verdict:
    """One schedule, in whatever process."""
    return run(draw(seed, spares))


def quantile(values: list[float], part: float) -> float:
    """A quantile of sorted values."""
    return values[min(len(values) - 1, int(part * len(values)))]


def show(verdict: Verdict) -> None:
    """What was broken, by which steps, and what led to it."""
    seed = verdict.schedule.seed
    say("", f"FAILED  make sim SEED={seed}", str(verdict.schedule), "")
    say(*verdict.trace.splitlines()[-TRACE_LINES:], "")
    say(*(f"broken at {one.at - 1000:.4f}: {one.rule}: {one.text}" for one in verdict.violations))


def say(*lines: str) -> None:
    """Print at once."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606
    sys.exit(main(sys.argv[1:]))
