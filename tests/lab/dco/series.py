"""The cases that are to be run, over machines that may break: each is repeated once, none is lost.

What is tested is our servers, by the eyes of a kernel that is not ours and younger than they are.
When that kernel breaks, the case has no result, good or bad; so a new machine is booted and the
case begins anew. Its row says how the kernel broke, and a case in which it breaks twice has failed:
that is no accident, and perhaps what we sent. A machine that ends in any other way is a fault of
the lab's, and an error at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tests.lab.dco.cases import CRASHES_AT_MOST, Outcome
from tests.lab.dco.machine import MachineEnded

S = TypeVar("S")


@dataclass
class Series:
    """What is still to be run, the present case first, and what has come of the others."""

    cases: list[str]
    say: Callable[[str], None]
    outcomes: list[Outcome] = field(default_factory=list)
    crashes: tuple[str, ...] = ()
    """How the machines broke in the present case."""

    def run(
        self, boot: Callable[[], AbstractContextManager[S]], attempt: Callable[[str, S], Outcome]
    ) -> list[Outcome]:
        """Every case, on a stage from ``boot``, and on a new one whenever its machine breaks."""
        while self.cases:
            try:
                with boot() as stage:
                    while self.cases:
                        self._finish(attempt(self.cases[0], stage))
            except MachineEnded as ended:
                if not ended.crash:
                    raise
                self._broke(ended.crash)
        return self.outcomes

    def _broke(self, crash: str) -> None:
        """The machine is gone before the present case had a result."""
        name = self.cases[0]
        self.say(f"{name}: the machine broke: {crash}")
        self.crashes += (crash,)
        if len(self.crashes) > CRASHES_AT_MOST:
            self._finish(Outcome(name, 0, 0.0, None, reconnected=False))

    def _finish(self, outcome: Outcome) -> None:
        self.outcomes.append(replace(outcome, crashes=self.crashes))
        self.crashes = ()
        del self.cases[0]


def lines_of(outcomes: Iterable[Outcome]) -> list[str]:
    """One line for each machine that broke."""
    return [f"{one.case}: {crash}" for one in outcomes for crash in one.crashes]
