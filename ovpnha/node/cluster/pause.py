"""That this node shall watch and replicate, and not act: for work on its VIP manager or network.

Decides for how long, and what of the next step is left out meanwhile. A pause must never let two
nodes serve: a master that loses the VIP is held, paused or not. Rules: docs/roles.md, "A pause".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.model import SOURCES, Grade, Role
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part, PartStatistics
from ovpnha.node.role.succession import Situation, Step
from ovpnha.node.role.vip import Vip
from ovpnha.problems import Problem, ProblemKind

RESUME_FIX = "ovpnha resume on this node, or wait"


@dataclass(frozen=True)
class PauseStatistics(PartStatistics):
    """Whether this node is paused."""

    paused_for: float = 0.0  # seconds that are left; 0.0 when it is not


class Pause(Part):
    """Of one instance."""

    def __init__(self, openvpn: Openvpn, vip: Vip) -> None:
        self._openvpn = openvpn
        self._vip = vip
        self._until: float | None = None
        self._served = False  # it had clients of its own when it was paused
        self._idle = False  # the VIP is here, and is not served because of the pause
        self.grade: tuple[Grade, str] | None = None  # that it had then

    @property
    def active(self) -> bool:
        """Whether this node is paused."""
        return self._until is not None

    @property
    def serves(self) -> bool:
        """Whether this node would serve on the VIP."""
        return self._served or not self.active

    def begin(self, seconds: float, role: Role, grade: tuple[Grade, str], now: float) -> None:
        """Pause for so long; one that is paused already stays so, as it was.

        What was asked for before, and is not done yet, is not done any more.
        """
        if not self.active:
            self._served = role in SOURCES
            self.grade = grade
        self._until = now + seconds
        self._vip.break_promise()
        self._vip.keep()
        self._openvpn.log("warning", "paused", seconds=seconds)

    def end(self) -> None:
        """Act again, if this node is paused."""
        if self.active:
            self._until = self.grade = None
            self._idle = False
            self._openvpn.log("info", "acts again after a pause")

    def pass_on(self, other: Pause) -> None:
        """The other process of this machine goes on with what this one served."""
        if self.active and other.active and self._served:
            other._served, other.grade = True, self.grade

    def filter(self, step: Step, situation: Situation) -> Step:
        """What is left of the step that the situation demands.

        A standby does not take over. A node without the VIP does not give its clients up.
        """
        if not self.active:
            return step
        self._served |= situation.role in SOURCES  # its role was not known before
        takes = step is Step.PROMOTE and not self._served
        gives_up = step is Step.DEMOTE and not situation.vip
        self._idle = takes and situation.vip
        return Step.STAY if takes or gives_up else step

    def get_timer(self) -> float | None:
        """When it ends by itself."""
        return self._until

    def handle_timer(self, now: float) -> None:
        """It is over."""
        if self._until is not None and now >= self._until:
            self.end()

    def statistics(self, now: float) -> PauseStatistics:
        """How long it lasts."""
        return PauseStatistics(max(0.0, self._until - now) if self._until is not None else 0.0)

    def problems(self, now: float) -> Iterator[Problem]:
        """That nobody may rely on this node."""
        if self._until is None:
            return
        minutes = max(1, round((self._until - now) / 60))
        what = f"paused for {minutes} min more: does not act"
        yield Problem(ProblemKind.PAUSED, what, RESUME_FIX)
        if self._idle:
            what = "the VIP is here, and nobody serves, because this node is paused"
            yield Problem(ProblemKind.PAUSED_WITH_VIP, what, "ovpnha resume here, at once")
