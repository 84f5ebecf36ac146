"""Statistics as plain values, for JSON: what ``ovpnha status --json`` and ``/status`` show."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from ovpnha.coordinator.outputs import NodeStatistics
from ovpnha.model import Epoch, Grade, Role


def to_plain(value: object) -> Any:
    """Turn dataclasses, enumerations and epochs into what JSON can say."""
    if isinstance(value, Epoch):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(to_plain(key)): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.hex()
    return value


def find_problems(statistics: NodeStatistics) -> list[str]:
    """Why this node is not healthy: nothing here means that it serves or could serve."""
    problems = [f"link {name} is down" for name, up in statistics.links.items() if not up]
    for one in statistics.instances:
        if not one.management_up:
            why = one.problems or ("openvpn does not answer",)
            problems += [f"instance {one.name}: {problem}" for problem in why]
        elif one.role is Role.FAULT or (one.grade == Grade.FAULT and one.role is not Role.INIT):
            problems.append(f"instance {one.name}: fault: {one.grade_reason}")
    return problems
