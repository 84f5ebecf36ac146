"""The table and the picture of ``make scenarios``, from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from tests.lab.scenarios import Place, all_at

Row = dict[str, Any]
WIDTH = 140
TODAY = (
    "keepalived and keepalive 10 60: 60.2 s; keepalive 1 5: 5.4 s; two `remote` lines: 122.8 s;"
    " ucarp: 5.2 s, and never for a killed process; planned restart: 1.0 to 3.0 s"
)
"""Today's practice with stock OpenVPN at a node's loss, as it was measured with the same clock."""


def groups(rows: Iterable[Row]) -> list[tuple[tuple[str, str, str], list[Row]]]:
    """The rows of each scenario, manager and kind of server, in the order of the registry."""
    order = {one.name: at for at, one in enumerate(all_at(Place.MANAGERS))}

    def key(row: Row) -> tuple[int, str, bool, str]:
        keepalive = row["detail"]["keepalive"]
        return order[row["scenario"]], row["manager"], row["control"], keepalive

    found = []
    for (_, manager, control, keepalive), group in groupby(sorted(rows, key=key), key=key):
        members = list(group)
        kind = f"stock, keepalive {keepalive}" if control else "ovpnha"
        found.append(((members[0]["scenario"], manager, kind), members))
    return found


def spread(values: Sequence[float | None]) -> str:
    """Median, smallest and largest of what is known; ``-`` where nothing is."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return "-"
    middle = f"{median(known):.0f}"
    return middle if len(known) == 1 else f"{middle} ({known[0]:.0f}…{known[-1]:.0f})"


def make_table(rows: Sequence[Row]) -> Table:
    """One line for each scenario, VIP manager and kind of server."""
    table = Table(
        title="What the client sees, by VIP manager", title_justify="left", min_width=WIDTH
    )
    for name in ("scenario", "manager", "servers"):
        table.add_column(name, no_wrap=True)
    for name in ("runs", "outage", "VIP moved", "probes lost", "restarts", "TCP alive"):
        table.add_column(name, justify="right")
    for (scenario, manager, kind), group in groups(rows):
        alive = sum(row["tcp_alive"] for row in group)
        table.add_row(
            *(scenario, manager, kind, str(len(group))),
            *(spread([row[name] for row in group]) for name in ("outage_ms", "vip_move_ms")),
            spread([row["probes_lost"] for row in group]),
            str(sum(row["client_restarts"] for row in group)),
            f"{alive} of {len(group)}",
        )
    table.caption = f"milliseconds, median (smallest…largest). Today's practice: {TODAY}"
    return table


def draw(rows: Sequence[Row], path: Path) -> None:
    """The outages of all runs on one logarithmic scale, a line for each scenario and manager."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    found = list(reversed(groups(rows)))
    figure, axis = pyplot.subplots(figsize=(11, 1.5 + 0.3 * len(found)))
    for at, (_, group) in enumerate(found):
        values = [max(1.0, row["outage_ms"]) for row in group]
        colour = "#cf222e" if group[0]["control"] else "#1a7f37"
        axis.plot([min(values), max(values)], [at, at], color=colour, linewidth=1)
        axis.scatter(values, [at] * len(values), s=16, color=colour)
    axis.set_yticks(range(len(found)), [", ".join(name) for name, _ in found], fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds without an answer (10 ms probes through the tunnel)")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
