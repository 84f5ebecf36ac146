"""What the checks of the service say, as far as one instance is concerned.

Decides nothing: the verdicts are made in ``ovpnha/checks``, what a critical failure costs is
decided in ``grading``. Rules: docs/roles.md, "Checks".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.model import CheckState, Verdict
from ovpnha.node.part import Part, PartStatistics
from ovpnha.problems import Problem, ProblemKind

RESET = "when it is mended: ovpnha reset {name}"
RESTS = "it is run again when this node is master; when it is mended: ovpnha reset {name}"


@dataclass(frozen=True)
class CheckStatistics(PartStatistics):
    """Every check that counts for the instance."""

    checks: tuple[CheckState, ...] = ()


class ServiceChecks(Part):
    """Those that count for one instance."""

    def __init__(self) -> None:
        self.states: tuple[CheckState, ...] = ()

    @property
    def failing(self) -> bool:
        """Whether a critical one has failed."""
        return any(one.critical and one.verdict is Verdict.FAILED for one in self.states)

    def statistics(self, _now: float) -> CheckStatistics:
        """All of them."""
        return CheckStatistics(self.states)

    def problems(self, _now: float) -> Iterator[Problem]:
        """Those that have failed."""
        for one in self.states:
            if one.verdict is Verdict.FAILED:
                kind = ProblemKind.CHECK_CRITICAL if one.critical else ProblemKind.CHECK_FAILED
                what = f"{'critical check' if one.critical else 'check'} {one.name} fails"
                fix = RESET if one.stuck else RESTS if one.resting else ""
                text = f"{what}: {one.text}" if one.text else what
                yield Problem(kind, text, fix.format(name=one.name))
