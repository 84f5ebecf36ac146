"""The answer to ``status``, and whether a node is healthy.

Decides what makes a node unhealthy for ``/health``. What ``status`` says to the eye: ``rows``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ovpnha.model import Grade, Role
from ovpnha.node.statistics import STATUS_VERSION, InstanceStatistics, NodeStatistics


@dataclass(frozen=True)
class StatusAnswer:
    """Everything about a node at one moment.

    Raises:
        ValueError: The figures are of another version: they may mean something else.
    """

    status: NodeStatistics

    def __post_init__(self) -> None:
        if self.status.version != STATUS_VERSION:
            raise ValueError(f"status: version {self.status.version} instead of {STATUS_VERSION}")


def find_problems(statistics: NodeStatistics) -> list[str]:
    """Why this node is not healthy: nothing here means that it serves or could serve."""
    problems = [f"link {name} is down" for name, up in statistics.links.items() if not up]
    if statistics.tracking is not None and statistics.tracking.problem:
        problems.append(statistics.tracking.problem)
    if statistics.firewall:
        problems.append(statistics.firewall)
    for one in statistics.instances:
        problems += (f"instance {one.name}: {problem}" for problem in _find_instance_problems(one))
    return problems


def _find_instance_problems(one: InstanceStatistics) -> Sequence[str]:
    grade = one.announcer
    if not one.openvpn.management_up:
        return one.problems or ("openvpn does not answer",)
    if one.role is Role.FAULT or (grade.grade == Grade.FAULT and one.role is not Role.INIT):
        return (f"fault: {grade.grade_reason}",)
    if not grade.managed and not one.vip:
        return ("no VIP manager reads the grade",)
    return ()
