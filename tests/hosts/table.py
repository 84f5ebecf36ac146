"""How the rows of the hosts' labs are shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tests.hosts.rows import Row


def render(rows: Sequence[Row], title: str = "Whole hosts under systemd") -> Table:
    """One line for each deed; red where it did not hold."""
    table = Table(title=title, title_justify="left")
    for heading in ("what was done", "restarts", "longest gap", "held", "detail"):
        table.add_column(heading)
    for row in rows:
        held = "yes" if row.held else "NO"
        style = None if row.held else "red"
        gap = f"{row.outage_ms:.0f} ms"
        table.add_row(row.row, str(row.restarts), gap, held, row.detail, style=style)
    return table
