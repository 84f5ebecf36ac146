"""Which epoch was made from the clients of which, and who may go on above whom.

Every promotion names its *origin*: the epoch whose clients it was made with. A process owns what
lies above everything that it granted, so it may go on in a higher epoch above all *heirs* of its
own, however many lie between: their packet ids came out of its grants, and a client accepts any
jump forward. What it may not do is go on above an epoch that is such a return of a node further
up: that node has jumped over its range already (decisions 6 and 19). Of epochs whose line is not
known nothing is said: *not an heir of mine* does not mean outlived.
"""

from __future__ import annotations

import enum
from itertools import takewhile

from ovpnha.model import NO_EPOCH, Epoch

LINES_LIMIT = 64
"""Most epochs whose origin is remembered: the newest."""


class Kin(enum.Enum):
    """What a higher epoch is to ours."""

    HEIR = "heir"  # made from our clients: our packet ids lie above its
    ABOVE = "above"  # a return of the node that ours were made from: its lie above ours
    UNKNOWN = "unknown"


class Lineage:
    """The origins of the epochs that were heard of."""

    def __init__(self) -> None:
        self._origins: dict[Epoch, Epoch] = {}
        self._touched: set[Epoch] = set()  # of these: clients came, changed or went there

    def note(self, epoch: Epoch, origin: Epoch, *, touched: bool = False) -> None:
        """This epoch began with the clients of that one; it is always a lower one."""
        if NO_EPOCH < origin < epoch:
            self._origins[epoch] = origin
            if len(self._origins) > LINES_LIMIT:
                oldest = min(self._origins)
                del self._origins[oldest]
                self._touched.discard(oldest)
        if touched and epoch in self._origins:
            self._touched.add(epoch)

    def judge(self, ours: Epoch, theirs: Epoch) -> Kin:
        """What their epoch is to ours."""
        mine, other = self._line(ours), self._line(theirs)
        common = next((epoch for epoch in other if epoch in mine), None)
        if common is None:
            return Kin.UNKNOWN
        if _is_owner(mine, common):
            return Kin.HEIR
        return Kin.ABOVE if _is_owner(other, common) else Kin.UNKNOWN

    def has_changed(self, ours: Epoch, theirs: Epoch) -> bool:
        """Whether clients are known to have changed in their epoch, or on its way from ours."""
        if not self._touched:
            return False
        mine = self._line(ours)
        way = takewhile(lambda epoch: epoch not in mine, self._line(theirs))
        return any(epoch in self._touched for epoch in way)

    def _line(self, epoch: Epoch) -> list[Epoch]:
        """An epoch, its origin, and so on to the first that is known."""
        line = [epoch]
        while line[-1] in self._origins:
            line.append(self._origins[line[-1]])
        return line


def _is_owner(line: list[Epoch], common: Epoch) -> bool:
    """Whether a line is the common epoch's own, or a return of its node."""
    at = line.index(common)
    return at == 0 or line[at - 1].node == common.node
