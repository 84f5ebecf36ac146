"""What a fault is to `make faults`: something that once went wrong, tried again on purpose.

A module of this package that has `FAULTS` is found by itself. Every entry needs real processes;
what a pure test can show stands in `tests/unit` or `tests/simulation` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fault:
    """One fault: `try_once` provokes it `runs` times, each time on a lab of its own.

    It returns a short detail (figures) when the fault did not show, and raises when it did:
    AssertionError or LabError, which say what went wrong. It is told how to report progress.
    """

    name: str
    runs: int
    try_once: Callable[[Say], str]


@dataclass(frozen=True)
class Verdict:
    """How the runs of a fault ended; `detail` is that of the first bad run, else of the last."""

    fault: str
    runs: int
    held: int
    detail: str

    @property
    def good(self) -> bool:
        return self.runs > 0 and self.held == self.runs
