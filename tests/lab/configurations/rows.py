"""The result of each configuration: what a row has, what it must keep, how it is shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.lab.configurations.shapes import Shape


@dataclass(frozen=True)
class Row:
    """One configuration; the last three are None where there was no client to lose anything."""

    name: str
    kind: str
    starts: bool
    given_up: tuple[str, ...] = ()
    """A line for each thing that cannot be had."""
    takeover: bool | None = None
    """Whether the client went on, its TCP session too, and noticed nothing."""
    client_restarts: int | None = None
    outage_ms: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The row as an object of the result file."""
        return asdict(self)


def broken_promise(shape: Shape, row: Row) -> str:
    """What is not as it is expected of this configuration; "" when all is."""
    if row.starts and shape.stops:
        return "the server starts, though init says that it cannot"
    if not row.starts and not shape.stops:
        return "the server does not start, and init has nothing against it"
    if row.takeover is False:
        return f"the client noticed the takeover ({row.client_restarts} restarts)"
    return ""


def table(rows: Sequence[Row]) -> str:
    """The rows, for people; what is given up stands below each."""
    wide = max((len(row.name) for row in rows), default=0)
    head = f"{'':{wide}}  {'kind':9}  starts  takeover  restarts  outage"
    return "\n".join([head, *(_shown(row, wide) for row in rows)])


def _shown(row: Row, wide: int) -> str:
    restarts = "-" if row.client_restarts is None else str(row.client_restarts)
    outage = "-" if row.outage_ms is None else f"{row.outage_ms:.0f} ms"
    takeover = "-" if row.takeover is None else _word(row.takeover)
    figures = f"{_word(row.starts):6}  {takeover:8}  {restarts:>8}  {outage:>7}"
    lines = [f"{row.name:{wide}}  {row.kind:9}  {figures}"]
    return "\n".join([*lines, *(f"{'':{wide}}    {text}" for text in row.given_up)])


def _word(value: bool) -> str:
    return "yes" if value else "no"
