"""Making a failing schedule smaller: steps are left out as long as the same rule is broken."""

from __future__ import annotations

from tests.simulation.cluster import Defect
from tests.simulation.run import Verdict, run

TRIES = 80


def shrink(verdict: Verdict, defect: Defect | None = None) -> Verdict:
    """The smallest failure of the same rule that few tries find."""
    rule = verdict.violations[0].rule
    size = max(1, len(verdict.schedule.steps) // 2)
    tries = 0
    while size:
        at, found = 0, False
        while at < len(verdict.schedule.steps) and tries < TRIES:
            tries += 1
            trial = run(verdict.schedule.without(frozenset(range(at, at + size))), defect)
            if trial.violations and trial.violations[0].rule == rule:
                verdict, found = trial, True
            else:
                at += size
        size = size if found and tries < TRIES else size // 2
    return verdict
