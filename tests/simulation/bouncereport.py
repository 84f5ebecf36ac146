"""Many bounces on every core, or one again, and what became of the clients."""

from __future__ import annotations

import functools
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import FrameType

from tests.simulation.bounces import draw_bounce
from tests.simulation.bouncing import Outcome, bounce_once

SEEDS = 1 << 30
TOLD_EVERY = 100
FAILURES_SHOWN = 3
TRACE_LINES = 120


def hunt_bounces(count: int, seed: int | None, spice: str, jobs: int) -> int:
    """So many from this seed on, or from any; returns the exit status."""
    first = secrets.randbelow(SEEDS) if seed is None else seed
    _say(f"{count} bounces from seed {first} on")
    begin = time.monotonic()
    outcomes: list[Outcome] = []
    ended = _collect(range(first, first + count), spice, jobs, outcomes)
    failed = [one for one in outcomes if one.violations]
    for outcome in failed[:FAILURES_SHOWN]:
        _show(outcome, spice)
    missing = f", {count - len(outcomes)} not run: {ended}" if ended else ""
    took = time.monotonic() - begin
    _say(*summarize(outcomes), f"in {took:.0f} s: {len(failed)} failed{missing}")
    return 1 if failed or ended else 0


def _collect(seeds: range, spice: str, jobs: int, outcomes: list[Outcome]) -> str:
    """Run them, on every core; what has been found is kept, and told, whatever ends it.

    Returns what ended it too early; "" when nothing did.
    """
    pool = ProcessPoolExecutor(jobs, initializer=_be_worker)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for outcome in pool.map(functools.partial(_run_seed, spice=spice), seeds):
            outcomes.append(outcome)
            if outcome.violations:
                _say(f"seed {outcome.bounce.seed}: {_first(outcome)}")
            if len(outcomes) % TOLD_EVERY == 0 and len(outcomes) < len(seeds):
                _say(f"{len(outcomes)} so far", summarize(outcomes)[-1])
    except KeyboardInterrupt:
        return "interrupted"
    except BrokenProcessPool as error:
        return f"a process died after seed {seeds[0] + len(outcomes) - 1}: {error}"
    finally:
        pool.shutdown(cancel_futures=True)  # what is under way takes seconds
        signal.signal(signal.SIGTERM, before)
    return ""


def _be_worker() -> None:
    """The one that started the processes decides when they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run_seed(seed: int, spice: str) -> Outcome:
    """One bounce, in whatever process."""
    return bounce_once(draw_bounce(seed, spice))


def _first(outcome: Outcome) -> str:
    bounce, rules = outcome.bounce, {one.rule: one.text for one in outcome.violations}
    told = "; ".join(f"{rule} ({text[:60]})" for rule, text in rules.items())
    return f"{bounce.how}, {bounce.spice}, {outcome.clients} clients: {told}"


def summarize(outcomes: Iterable[Outcome]) -> list[str]:
    """A line for each company that bounces were in, and one for all."""
    sums: dict[str, Counter[str]] = {}
    gaps: dict[str, tuple[float, float]] = {}
    for one in outcomes:
        for name in (one.bounce.spice, "all"):
            gap, late = gaps.get(name, (0.0, 0.0))
            gaps[name] = max(gap, one.longest), max(late, one.longest_changed)
            sums.setdefault(name, Counter()).update(
                bounces=1,
                clients=one.clients,
                changed=one.changed,
                lost=one.lost,
                late=one.lost_changed,
                half=int(2 * (one.lost + one.lost_changed) > one.clients),
                ids=sum(found.rule == "packet id sent twice" for found in one.violations),
                seeded=sum(found.rule == "stale record seeded" for found in one.violations),
            )
    return [_line(name, sums[name], gaps[name]) for name in sorted(sums, key=lambda n: n == "all")]


def _line(name: str, sums: Counter[str], gaps: tuple[float, float]) -> str:
    same = sums["clients"] - sums["changed"]
    return (
        f"{name:9}{sums['bounces']:5} bounces: lost {sums['lost']} of {same} that did not change, "
        f"{sums['late']} of {sums['changed']} that did; more than half in {sums['half']}; "
        f"longest {gaps[0]:.2f} s and {gaps[1]:.2f} s; "
        f"ids twice {sums['ids']}, stale seeded {sums['seeded']}"
    )


def _show(outcome: Outcome, spice: str) -> None:
    bounce = outcome.bounce
    words = f"--bounces 1 --seed {bounce.seed}" + (f" --spice {spice}" if spice else "")
    _say("", f"FAILED  python -m tests.simulation {words}", str(bounce), "")
    _say(*outcome.trace.splitlines()[-TRACE_LINES:], "")
    _say(*(f"broken at {one.at - 1000:.4f}: {one.rule}: {one.text}" for one in outcome.violations))


def _say(*lines: str) -> None:
    """Print at once."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
