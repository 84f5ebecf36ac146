"""The slot of one instance, as those see it who look.

Decides nothing: it describes the two processes, what stands against a planned move, and what the
machine is. What becomes of the slot is decided by ``slot``. Rules: docs/roles.md, "A spare".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ovpnha.machines import Process
from ovpnha.model import InstanceName
from ovpnha.node.arbiter import Side
from ovpnha.node.moving import Move, RestartFigures, find_obstacles
from ovpnha.node.node import Node
from ovpnha.node.pairproblems import Missed, find_pair_problems
from ovpnha.node.parts import Parts
from ovpnha.node.role.reasons import CRASHED, RESTARTED
from ovpnha.node.sides import ProcessEnd, describe_process, look, place_of
from ovpnha.node.statistics import InstanceStatistics, SpareFigures

Wish = Callable[[Node, float], bool]
"""What is asked of the process that has the slot, and when; False: it is refused."""


class SlotView:
    """Of one instance."""

    _wanted: bool
    _name: InstanceName
    _cores: Mapping[Process, Node]
    _ends: Mapping[Process, ProcessEnd]
    _counts: dict[str, int]
    _slot: Process | None
    _move: Move | None
    _wish: Wish | None
    _owed: str | None
    _seen: float
    _missed: Missed

    @property
    def serving(self) -> Process:
        """Whose the slot is; the main one's, as long as that is open."""
        return self._slot or Process.MAIN

    @property
    def used(self) -> bool:
        """Whether there is more to it than the main process: a spare is wanted, or may be there."""
        return self._wanted or self._ends[Process.SPARE].seen or self._slot is Process.SPARE

    @property
    def idle(self) -> bool:
        """Whether the main process is alone, has the slot, and nothing is owed to it or wished.

        Until that changes nothing follows from any event: the voice passes on what it says.
        """
        alone = self._slot is Process.MAIN and not self.used
        return alone and self._owed is None and self._wish is None and self._move is None

    def parts(self, process: Process) -> Parts:
        """What is known of one of the two."""
        return self._cores[process].instance(self._name).parts

    def obstacles(self, now: float) -> tuple[str, ...]:
        """What stands against a move now."""
        if self._slot is None:
            return ("it is not known yet which process serves",)
        mine, other = self.parts(self._slot), self.parts(self._slot.other)
        return tuple(find_obstacles(mine, other, place_of(other), now))

    def figures(self, now: float) -> RestartFigures:
        """For those who look."""
        move, settled = self._move, self._slot is not None
        farewell = self.parts(self.serving).farewell.statistics(now)
        figures = RestartFigures(
            self._figures(now), self.obstacles(now), settled, farewell=farewell
        )
        if move is None:
            return figures
        seconds = (now if move.ended_at is None else move.ended_at) - move.begun
        return replace(
            figures, number=move.number, phase=move.phase, reason=move.reason, seconds=seconds
        )

    def _figures(self, now: float) -> SpareFigures:
        return SpareFigures(
            self.serving,
            describe_process(self.parts(Process.MAIN), now),
            describe_process(self.parts(Process.SPARE), now),
            self._counts[RESTARTED],
            self._counts[CRASHED],
        )

    def describe(self, now: float) -> InstanceStatistics:
        """The instance, as the process that has the slot is; of the other one what counts."""
        core = self._cores[self.serving]
        sibling = self._cores[self.serving.other].name
        all_figures = {one.name: one for one in core.statistics(now).instances}
        mine = all_figures[self._name]
        nodes = tuple(node for node in mine.nodes if node.name != sibling)
        sides = {one: self._look(one) for one in Process}
        missed = self._missed.tell(now)
        found = find_pair_problems(sides, self.serving, wanted=self._wanted, missed=missed)
        problems = (*mine.problems, *(replace(one, instance=self._name) for one in found))
        return replace(mine, nodes=nodes, spare=self._figures(now), problems=problems)

    def _look(self, process: Process) -> Side:
        """One process, as the arbiter sees it."""
        return look(self.parts(process), self._ends[process], self._seen)
