"""A snapshot with some figures changed, whichever part has them."""

from __future__ import annotations

import dataclasses
from typing import Any

from ovpnha.node.part import PartStatistics
from ovpnha.node.statistics import InstanceStatistics


def change(one: InstanceStatistics, **figures: Any) -> InstanceStatistics:
    """The same instance with these figures."""
    for name, value in figures.items():
        one = dataclasses.replace(one, **_place(one, name, value))
    return one


def _place(one: InstanceStatistics, name: str, value: object) -> dict[str, Any]:
    fields = {field.name for field in dataclasses.fields(one)}
    for part in fields:
        record = getattr(one, part)
        if isinstance(record, PartStatistics) and hasattr(record, name):
            return {part: dataclasses.replace(record, **{name: value})}
    return {name: value}
