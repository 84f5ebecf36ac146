"""The table and the picture of ``make scenarios``, from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from tests.lab.managers.run import PHASES
from tests.lab.scenarios import Place, all_at

Row = dict[str, Any]
WIDTH = 210
SEEDS = {
    "seed: the thesis of 2013": 7970.0,
    "seed: OSPF service routing, best": 1000.0,
    "seed: OSPF service routing, worst": 9000.0,
}
"""What the systems say of themselves that had the idea first: milliseconds at a node's loss."""
NEVER = "never"


def groups(rows: Iterable[Row]) -> list[tuple[tuple[str, str, str], list[Row]]]:
    """The rows of each scenario, manager and kind of server, in the order of the registry."""
    order = {one.name: at for at, one in enumerate(all_at(Place.MANAGERS))}

    def key(row: Row) -> tuple[int, bool, str, str]:
        return order[row["scenario"]], row["control"], row["manager"], row["servers"]

    found = []
    for (_, _, manager, servers), group in groupby(sorted(rows, key=key), key=key):
        members = list(group)
        found.append(((members[0]["scenario"], manager, servers), members))
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
    heads = ("runs", "outage", *(name.replace("_", " ") for name in PHASES))
    for name in (*heads, "probes lost", "restarts", "TCP alive", "load"):
        table.add_column(name, justify="right")
    for names, group in groups(rows):
        table.add_row(*names, *_figures(group))
    seeds = "; ".join(f"{name}: {value / 1000:.2f} s" for name, value in SEEDS.items())
    table.caption = f"milliseconds, median (smallest…largest); {seeds}"
    return table


def _figures(group: Sequence[Row]) -> list[str]:
    """The cells of a line, from the first figure on."""
    measured = [row for row in group if "failed" not in row]
    failed = len(group) - len(measured)
    alive = sum(row["tcp_alive"] for row in measured)
    return [
        str(len(measured)) + (f", {failed} failed" if failed else ""),
        spread_of_outages(measured),
        *(spread([row["phases"].get(name) for row in measured]) for name in PHASES),
        spread([row["probes_lost"] for row in measured]),
        str(sum(row["client_restarts"] for row in measured)),
        f"{alive} of {len(measured)}",
        spread([row["load"] for row in measured]),
    ]


def spread_of_outages(rows: Sequence[Row]) -> str:
    """The same of the outages; those that did not end within the run are told apart."""
    ended = [row["outage_ms"] for row in rows if row["detail"]["recovered"]]
    endless = len(rows) - len(ended)
    if not endless:
        return spread(ended)
    return f"{NEVER} ({endless} of {len(rows)})" + (f", {spread(ended)}" if ended else "")


def draw(rows: Sequence[Row], path: Path) -> None:
    """The outages of all runs on one logarithmic scale, a line for each scenario and manager."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    found = list(reversed(groups(rows)))
    names = [", ".join(name) for name, _ in found]
    figure, axis = pyplot.subplots(figsize=(11, 1.5 + 0.24 * (len(found) + len(SEEDS))))
    for at, (_, group) in enumerate(found):
        colour = "#cf222e" if group[0]["control"] else "#1a7f37"
        _plot_outages(axis, at, group, colour)
    for at, value in enumerate(SEEDS.values(), start=len(found)):
        axis.scatter([value], [at], s=22, color="#0969da", marker="D")
    axis.set_yticks(range(len(found) + len(SEEDS)), [*names, *SEEDS], fontsize=8)
    axis.set_ylim(-0.7, len(found) + len(SEEDS) - 0.3)
    axis.set_xscale("log")
    axis.grid(axis="x", color="0.9")
    axis.set_axisbelow(True)
    axis.set_xlabel(
        "milliseconds without an answer (10 ms probes through the tunnel); arrow: it did not end"
    )
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _plot_outages(axis: Any, at: int, group: Sequence[Row], colour: str) -> None:
    """The runs of one line, the median as a stroke."""
    values = [max(1.0, row["outage_ms"]) for row in group]
    axis.plot([min(values), max(values)], [at, at], color=colour, linewidth=1)
    for row, value in zip(group, values, strict=True):
        mark = "o" if row["detail"]["recovered"] else ">"
        axis.scatter([value], [at], s=16, color=colour, marker=mark)
    axis.scatter([median(values)], [at], s=60, color=colour, marker="|")
