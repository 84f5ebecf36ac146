"""Statistics as plain values, for JSON: what ``ovpnha status --json`` and ``/status`` show."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from ovpnha.model import Epoch, Grade, Role
from ovpnha.node.part import PartStatistics
from ovpnha.node.statistics import InstanceStatistics, NodeStatistics


def to_plain(value: object) -> Any:
    """Turn dataclasses, enumerations and epochs into what JSON can say."""
    if isinstance(value, Epoch):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _to_mapping(value)
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def _to_mapping(record: Any) -> dict[str, Any]:
    """The figures of a part stand among those of its instance."""
    plain: dict[str, Any] = {}
    for one in dataclasses.fields(record):
        found = getattr(record, one.name)
        if isinstance(found, PartStatistics):
            plain.update(_to_mapping(found))
        else:
            plain[one.name] = to_plain(found)
    return plain


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
