"""The epoch that this node was promoted in: what it was made from, and what was missing.

Decides what hello says of that, so that no other node wipes what this one lacks. What is lacking
counts for ``held_max``: that long another node keeps it. Rules: docs/roles.md, "Epochs".
"""

from __future__ import annotations

from dataclasses import dataclass

from ovpnha.model import NO_EPOCH, Epoch, Sync
from ovpnha.node.part import Part, PartStatistics
from ovpnha.problems import Problem, ProblemKind

LACKED_FIX = (
    "move the VIP there (if that node is held, a VIP manager that follows the grade does), or they "
    "reconnect when they have missed their server for long enough"
)


@dataclass(frozen=True)
class OwnEpochStatistics(PartStatistics):
    """What a promotion was made without."""

    lacking: int = 0  # as master: clients that another node had at the promotion, and this one not


class OwnEpoch(Part):
    """The last promotion of this node."""

    def __init__(self, held_max: float) -> None:
        self._held_max = held_max
        self.forget()

    def forget(self) -> None:
        """OpenVPN is not what was promoted any more."""
        self.take_up(NO_EPOCH)

    def take_up(self, epoch: Epoch) -> None:
        """OpenVPN was found in this epoch: how it came to it is not known."""
        self.epoch, self.origin = epoch, NO_EPOCH
        self._whole: bool | None = None
        self.lacked = 0  # clients known to be missing at the promotion
        self._due: float | None = None  # when they are given up by the node that has them

    def recall(self, origin: Epoch, whole: bool | None, now: float) -> None:
        """How OpenVPN came to the epoch that it was found in is known after all."""
        self.origin, self._whole = origin, whole
        self._due = now + self._held_max if whole is False else None

    def begin(self, epoch: Epoch, origin: Epoch, lacked: int, now: float, *, whole: bool) -> None:
        """A promotion with the clients of ``origin``; ``whole`` when with all of them."""
        self.epoch, self.origin, self._whole, self.lacked = epoch, origin, whole, lacked
        self._due = None if whole and not lacked else now + self._held_max

    def go_on(self, epoch: Epoch) -> None:
        """The same process, with what it has, in a higher epoch."""
        self.epoch, self.origin = epoch, self.epoch

    def get_timer(self) -> float | None:
        """When what was lacking is given up."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """What was lacking is nowhere any more."""
        if self._due is not None and now >= self._due:
            self._due, self.lacked, self._whole = None, 0, True

    def statistics(self, _now: float) -> OwnEpochStatistics:
        """What the last promotion was made without."""
        return OwnEpochStatistics(self.lacked)

    def describe_lacked(self) -> Problem:
        """What another node has that this one lacks."""
        what = f"{self.lacked} clients or more are on another node and not here"
        return Problem(ProblemKind.CLIENTS_ELSEWHERE, what, LACKED_FIX)

    @property
    def whole(self) -> bool | None:
        """Whether all clients that there were are here; None: not known."""
        return self._whole

    @property
    def sync(self) -> Sync:
        """What hello says: whether all clients that there were are here."""
        if self._whole is None:
            return Sync.NONE
        return Sync.IN_SYNC if self._whole else Sync.SYNCING
