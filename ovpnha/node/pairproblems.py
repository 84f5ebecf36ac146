"""What is wrong with there being two OpenVPN processes of an instance on this machine, or only one.

Decides only what a person is told, and what is to be done. Rules: docs/roles.md, "A spare".
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.machines import Process
from ovpnha.node.arbiter import Place, Sides
from ovpnha.problems import Problem, ProblemKind

RUNS = 'stop it: systemctl disable --now openvpn-cluster-spare@NAME; or write spare = "always"'
SERVES = (
    'write spare = "restart", restart ovpnha, then ovpnha restart-openvpn: the main one serves; to'
    " stop the second one now costs its clients a reconnect"
)
MISSED_AFTER = 10.0
"""Seconds for which no other process could go on until a person is told: one that is started anew
has its copy sooner."""
MISSED_FIX = (
    'see systemctl status {} and its log; or write spare = "restart", if it is not wanted any more'
)


class Missed:
    """Where a second process is always wanted: since when none could go on, and why."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._why = ""

    def look(self, why: str, now: float) -> None:
        """What the process without the slot lacks now; "": nothing."""
        self._why = why
        if not why:
            self._since = None
        elif self._since is None:
            self._since = now

    def tell(self, now: float) -> str:
        """What it lacks, if that lasts; else nothing."""
        lasts = self._since is not None and now >= self._since + MISSED_AFTER
        return self._why if lasts else ""


def find_pair_problems(
    sides: Sides, serving: Process, *, wanted: bool, missed: str = ""
) -> Iterator[Problem]:
    """Of both processes.

    Args:
        sides: Both.
        serving: Which of them has the slot.
        wanted: The configuration wants a spare.
        missed: What the other one has lacked for some time to go on in its place.
    """
    if missed:
        other = serving.other
        what = f"if OpenVPN dies its clients notice: the {other} process {missed}"
        yield Problem(ProblemKind.SPARE_MISSING, what, MISSED_FIX.format(f"{other.unit}NAME"))
    spare = sides[Process.SPARE]
    if not wanted and not (spare.place is Place.ABSENT and spare.ended):
        serves = serving is Process.SPARE
        does, fix = ("may serve", SERVES) if serves else ("runs", RUNS)
        what = f"a second OpenVPN process {does} on this machine, and spare is never"
        yield Problem(ProblemKind.SPARE_UNWANTED, what, fix)
