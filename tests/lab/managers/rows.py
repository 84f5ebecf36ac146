"""The rows of ``make scenarios`` in their file: measured over any number of sittings, merged here.

The matrix takes hours. Whatever part of it a sitting measures goes into the same file, a row as
soon as it is over; the next sitting leaves out what is there. A run in which the lab could not do
its work is kept as ``failed``, without figures, and is made again. Rows name the commit that they
are of: what has been changed since is for a person to judge. Sittings may be side by side, each
with VIP managers of its own: a row that another one added meanwhile is kept.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from tests.lab.errors import LabError
from tests.lab.managers.run import Planned

Row = dict[str, Any]
Key = tuple[str, str, str, int]
FIRST_GUESS = 30.0
"""Seconds of a run, where none has been measured."""
FIGURES = ("outage_ms", "vip_move_ms", "probes_lost")
ROOT = Path(__file__).parents[3]


def commit() -> str:
    """The commit that is measured, with a ``+`` where files have been changed since."""
    words = ("describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12")
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip() or "unknown"


def key_of(row: Row) -> Key:
    """What is measured anew when it is measured again."""
    return row["scenario"], row["manager"], row["servers"], row["run"]


def key_of_planned(one: Planned) -> Key:
    """The key of the row that a run will have."""
    return one.scenario.name, one.manager, one.servers, one.index


def failed_row(one: Planned, why: str) -> Row:
    """The row of a run without figures."""
    return {
        "scenario": one.scenario.name,
        "manager": one.manager,
        "run": one.index,
        "control": one.control is not None,
        **dict.fromkeys(FIGURES),
        "client_restarts": 0,
        "tcp_alive": False,
        "phases": {},
        "load": round(os.getloadavg()[0], 1),
        "failed": why,
    }


class Rows:
    """All rows of a file; one that cannot be read is a LabError that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = self._read()

    def _read(self) -> dict[Key, Row]:
        if not self._path.exists():
            return {}
        try:
            return {key_of(row): row for row in json.loads(self._path.read_text())}
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(
                f"{self._path} has no rows of this version ({error!r}); move it away"
            ) from error

    def of(self, planned: Iterable[Planned]) -> list[Row]:
        """Those of these runs that are there."""
        keys = (key_of_planned(one) for one in planned)
        return [self._rows[key] for key in keys if key in self._rows]

    def missing(self, planned: Sequence[Planned]) -> list[Planned]:
        """The runs that have no row with figures."""
        return [one for one in planned if not self._is_measured(key_of_planned(one))]

    def _is_measured(self, key: Key) -> bool:
        return key in self._rows and "failed" not in self._rows[key]

    def add(self, row: Row) -> None:
        """Keep a row in place of an earlier one, in the file, too."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._rows = self._rows | self._read() | {key_of(row): row}
            draft = self._path.with_suffix(".draft")
            draft.write_text(json.dumps(list(self._rows.values()), indent=2) + "\n")
            draft.replace(self._path)

    def seconds_left(self, planned: Sequence[Planned]) -> float:
        """How long these runs will take: each as those most like it have."""
        return sum(self._guess(one) for one in planned)

    def _guess(self, one: Planned) -> float:
        key = key_of_planned(one)
        alike: tuple[Callable[[Key], bool], ...] = (
            lambda other: other[:3] == key[:3],
            lambda other: (other[0], other[2]) == (key[0], key[2]),
            lambda other: other[1:3] == key[1:3],
            lambda _other: True,
        )
        for is_alike in alike:
            known = [float(row["seconds"]) for other, row in self._rows.items() if is_alike(other)]
            if known:
                return mean(known)
        return FIRST_GUESS + (one.patience if one.control else 0.0)


def in_words(seconds: float) -> str:
    """A time that is left, for people."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
