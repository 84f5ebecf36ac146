"""Breadth first over all states of a model: the first violation found has the shortest trace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.proof.model import Model, Step, Violation
from tests.proof.state import State


@dataclass(frozen=True, repr=False)
class Result:
    """What a search found."""

    states: int
    steps: int  # transitions tried
    depth: int
    complete: bool  # no state was left unexplored
    violation: Violation | None
    trace: tuple[str, ...]  # from the start to the violation
    came: Mapping[State, State | None]  # each state, and the one before it

    def __str__(self) -> str:
        head = f"{self.states} states, {self.steps} steps, depth {self.depth}"
        if self.violation is None:
            return head + (", complete: none violates" if self.complete else ", NOT complete")
        lines = [f"  {i:2}. {text}" for i, text in enumerate(self.trace, 1)]
        return "\n".join((head, *lines, f"  {type(self.violation).__name__}: {self.violation}"))


def search(
    model: Model, limit: int = 10_000_000, progress: Callable[[int, int], None] | None = None
) -> Result:
    """Explore every state, up to ``limit`` of them."""
    start = model.canonical(model.start())
    came: dict[State, State | None] = {start: None}
    frontier, depth, steps = [start], 0, 0
    while frontier and len(came) < limit:
        if progress:
            progress(depth, len(came))
        reached: list[State] = []
        for state in frontier:
            try:
                for _, after in model.steps(state):
                    steps += 1
                    if after == state:
                        continue
                    after = model.canonical(after)
                    if after not in came:
                        came[after] = state
                        reached.append(after)
            except Violation as violation:
                trace, violation = _trace(model, came, state, violation)
                return Result(len(came), steps, depth, False, violation, trace, came)
        frontier = reached
        depth += bool(reached)
    return Result(len(came), steps, depth, not frontier, None, (), came)


def _trace(
    model: Model, came: dict[State, State | None], last: State, violation: Violation
) -> tuple[tuple[str, ...], Violation]:
    """The steps to the last state and what goes wrong there, nodes under one name throughout."""
    path = []
    at: State | None = last
    while at is not None:
        path.append(at)
        at = came[at]
    texts = []
    state = model.start()
    for wanted in reversed(path[:-1]):
        text, after = next(
            (text, after)
            for text, after in _steps(model, state)
            if model.canonical(after) == wanted
        )
        texts.append(text)
        state = model.renumber(after)
    try:
        list(model.steps(state))
    except Violation as same:
        violation = same
    return tuple(texts), violation


def _steps(model: Model, state: State) -> Iterator[Step]:
    with contextlib.suppress(Violation):
        yield from model.steps(state)
