"""Two of the three nodes as the two OpenVPN processes of one machine, the main one and its spare.

The rules of packet ids know no machines, so a spare is one more holder and nothing is added to
them. What a machine adds takes steps away: both processes read one socket, so the one is promoted
only when the other one is dead or has answered its hold (docs/adr/0071). Death of one, of both at
once, a hold that comes back, and a demote are steps as ever; one that is frozen takes none, and
counts as what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.proof.model import Model, Step, Violation
from tests.proof.state import DEAD, MASTER, NOBODY, Node, State, with_node

MACHINE = (0, 1)
"""Its processes; node 2 is another machine."""


class Rivals(Violation):
    """Both processes of a machine serve."""


@dataclass(frozen=True)
class SpareModel(Model):
    """The same world, in which nodes 0 and 1 share a socket."""

    waits: bool = True  # False, a defect: one is promoted while the other one still sends

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that may happen now, but what the arbiter of the machine does not order."""
        for text, after in super().steps(state):
            if all(after.nodes[n].role == MASTER for n in MACHINE):
                if self.waits:
                    continue
                raise Rivals(text)
            yield text, after
        after = state
        for n in MACHINE:
            after = with_node(after, n, Node(DEAD, NOBODY, after.nodes[n].keys))
        yield "the machine crashes", after

    def canonical(self, state: State) -> State:
        """Nodes 1 and 2 are not alike here."""
        return self.renumber(state)
