"""Samples of long matrices: a part of the rows in every run, by a seed that is printed.

A test that is marked ``sampled(count)`` has a row for each case; with ``--sample`` a run takes
``count`` of them. The seed is that of the commit, so that two shards of one run draw the same rows,
a run of the same commit is the same run, and another commit brings others; ``--seed`` repeats any.
Without ``--sample``, and for rows that are asked for by name, all are taken.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

Row = TypeVar("Row")

ROOT = Path(__file__).parents[1]
SEED_DIGITS = 8


def seed_of_commit() -> int:
    """The same for all that run on one commit; 0 where there is no repository."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return int(done.stdout.strip()[:SEED_DIGITS] or "0", 16)


def draw(groups: Mapping[str, list[Row]], counts: Mapping[str, int], seed: int) -> list[Row]:
    """For each group that has a count, so many of its rows; all of the others."""
    taken: list[Row] = []
    for group, rows in groups.items():
        count = min(counts.get(group, len(rows)), len(rows))
        # Of its own dice, so that a row more in one group draws no other rows in the next.
        dice = random.Random(f"{seed} {group}")  # noqa: S311 - repeatable, no secret
        taken += dice.sample(rows, count)
    return taken


def grouped(pairs: Iterable[tuple[str, Row]]) -> dict[str, list[Row]]:
    """Rows by their group, both in their order."""
    groups: dict[str, list[Row]] = {}
    for group, row in pairs:
        groups.setdefault(group, []).append(row)
    return groups
