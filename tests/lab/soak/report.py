"""The tables at the end of a soak, from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from tests.lab.managers.report import spread
from tests.lab.soak.usage import MOST, trends

WIDTH = 110


def kinds_table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each kind of failover: what it cost, and what was lost in it."""
    table = Table(title="Failovers in a row", title_justify="left", min_width=WIDTH)
    table.add_column("kind", no_wrap=True)
    for name in ("failovers", "longest outage of a client", "restarts", "lost sessions"):
        table.add_column(name, justify="right")
    for kind in sorted({row["kind"] for row in rows[1:]}):
        mine = [at for at, row in enumerate(rows) if row["kind"] == kind]
        table.add_row(
            kind,
            str(len(mine)),
            spread([rows[at]["outage_ms"] for at in mine]),
            *(str(_rise(rows, mine, name)) for name in ("restarts", "lost_sessions")),
        )
    table.caption = "milliseconds, median (smallest…largest), from a ping every 200 ms"
    return table


def _rise(rows: Sequence[dict[str, Any]], places: Sequence[int], figure: str) -> int:
    return sum(rows[at][figure] - rows[at - 1][figure] for at in places)


def usage_table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each program: is it flat?"""
    table = Table(title="Memory and descriptors", title_justify="left", min_width=WIDTH)
    table.add_column("program", no_wrap=True)
    for name in ("MB early", "MB late", "MB most", "fds early", "fds late", "fds most"):
        table.add_column(name, justify="right")
    found = [trends(rows, figure) for figure in MOST]
    for name in found[0]:
        table.add_row(name, *(f"{value:g}" for one in found for value in one[name]))
    table.caption = "medians of the second quarter of the failovers and of the last"
    return table
