"""What is held of a check after a row of results: a small machine, and nothing else.

::

                  good, once                     bad, ``fall`` times in a row
      unknown ──────────────────► ok ─────────────────────────────► failed
         │                        ▲                                   │ ▲
         │                        └───────────────────────────────────┘ │
         │                     good, ``rise`` times in a row (*)        │
         └──────────────────────────────────────────────────────────────┘
                              bad, ``fall`` times in a row

(*) Never, where a failure is sticky: then it stays until somebody resets it.

* *Later* (a slow command says "not yet known, ask again") changes nothing: the verdict stays, and
  it neither begins nor ends a row.
* A row is of results that follow one another: a good one ends a row of bad ones, and the other way.
* A check that has rested begins with a new row, whatever came before: what was bad an hour ago says
  nothing of now. Its verdict stays: a node that was found to serve nobody is not thought well again
  by having been silent since.

Rules: docs/roles.md, "Checks".
"""

from __future__ import annotations

import enum

from ovpnha.model import Verdict


class CheckOutcome(enum.Enum):
    """What one run of a check says."""

    GOOD = "good"
    BAD = "bad"
    LATER = "later"


class Judge:
    """The verdict over one check."""

    def __init__(self, *, rise: int, fall: int, sticky: bool, stuck: bool = False) -> None:
        self._rise = rise
        self._fall = fall
        self._sticky = sticky
        self._row = 0  # results of one kind that follow one another
        self._last: CheckOutcome | None = None
        self.verdict = Verdict.FAILED if stuck else Verdict.UNKNOWN

    @property
    def stuck(self) -> bool:
        """Whether it has failed and stays so until somebody resets it."""
        return self._sticky and self.verdict is Verdict.FAILED

    def take(self, outcome: CheckOutcome) -> None:
        """One more result."""
        if outcome is CheckOutcome.LATER:
            return
        self._row = self._row + 1 if outcome is self._last else 1
        self._last = outcome
        if outcome is CheckOutcome.BAD:
            if self._row >= self._fall:
                self.verdict = Verdict.FAILED
        elif not self.stuck and self._row >= self._needed():
            self.verdict = Verdict.OK

    def rest(self) -> None:
        """It does not run for some time: the next result begins a row."""
        self._row, self._last = 0, None

    def reset(self) -> None:
        """Somebody says that it is mended: nothing is known of it."""
        self.rest()
        self.verdict = Verdict.UNKNOWN

    def _needed(self) -> int:
        return self._rise if self.verdict is Verdict.FAILED else 1
