"""What the lab shows at its end: the verdict, a table, the result file and the picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from tests.lab.measure import Curve, Run
from tests.lab.rules import Rules
from tests.lab.scenarios import find

WIDTH = 132
GOOD, BAD, MARK = "#1a7f37", "#cf222e", "#0969da"


def broken_promises(runs: Iterable[Run]) -> list[str]:
    """One line for each promise that the seamless runs did not keep."""
    seamless = [run for run in runs if not run.control]
    broken: list[str] = []
    for scenario, group in _by_scenario(seamless):
        own = median(run.own_ms for run in group)
        # NaN (the address never moved) is a broken promise too.
        bound = find(scenario).expected.own_ms
        if not own <= bound:
            broken.append(
                f"{scenario}: outage without the VIP's move is {own:.0f} ms, median of "
                f"{len(group)}; promised are {bound:.0f}"
            )
    return broken + [text for run in seamless for text in _broken_in(run)]


def _broken_in(run: Run) -> list[str]:
    name = f"{run.scenario}, run {run.detail['run']}"
    found = noticed_by_client(run)
    if run.detail["renegotiations_in_gap"] > 0:
        found.append("a renegotiation came in the longest gap")
    return [f"{name}: {text}" for text in found]


def noticed_by_client(run: Run) -> list[str]:
    """What the client noticed beside the outage, of which it must be nothing (``Expected``)."""
    checks = {
        "no probe was answered after the kill": not run.detail["recovered"],
        f"the client saw {run.client_hard_resets} hard resets": run.client_hard_resets > 0,
        f"the client restarted {run.client_restarts} times": run.client_restarts > 0,
        f"the TCP session broke: {run.detail['tcp_problem']}": not run.tcp_alive,
    }
    return [text for text, is_broken in checks.items() if is_broken]


def _by_scenario(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    ordered = sorted(runs, key=lambda run: run.scenario)
    return [(name, list(group)) for name, group in groupby(ordered, key=lambda run: run.scenario)]


def describe(run: Run) -> str:
    """One line about one run, as soon as it is over."""
    return (
        f"{run.scenario}, {_servers(run)}, run {run.detail['run']}: "
        f"{run.outage_ms:.0f} ms without an answer, of which the VIP took {run.vip_move_ms:.0f}; "
        f"{run.client_restarts} restarts, TCP session {'alive' if run.tcp_alive else 'broken'}"
    )


def make_table(runs: Sequence[Run]) -> Table:
    """The table a person reads: one row for each scenario and kind of server."""
    table = Table(
        title="What the client sees when its server dies", title_justify="left", min_width=WIDTH
    )
    table.add_column("scenario", no_wrap=True)
    table.add_column("servers", no_wrap=True)
    for name in ("outage", "VIP moved", "own share", "probes lost", "hard resets", "restarts"):
        table.add_column(name, justify="right")
    table.add_column("TCP session")
    for control in (False, True):
        for scenario, group in _by_scenario([run for run in runs if run.control is control]):
            table.add_row(scenario, _servers(group[0]), *_figures(group))
    table.caption = "\n".join(
        ["milliseconds, median (smallest…largest); own share = outage - VIP moved", *_behind(runs)]
    )
    return table


def _behind(runs: Sequence[Run]) -> list[str]:
    """What the traffic of the runs went through, for the reader of the table."""
    filtered = [run for run in runs if run.detail["rules"] != Rules.NONE]
    if not filtered:
        return ["the nodes only route: no firewall, no NAT"]
    words = []
    if any(run.detail["conntrack"] for run in filtered):
        words.append("ovpnha with conntrackd beside it")
    if not all(run.detail["conntrack"] for run in filtered):
        words.append("stock OpenVPN without conntrackd")
    return [
        "every node translates to the inside VIP (SNAT) and filters statefully;",
        ", ".join(words),
    ]


def _servers(run: Run) -> str:
    kind = "stock OpenVPN" if run.control else "ovpnha"
    return f"{kind} (keepalive {run.detail['keepalive']})"


def _figures(group: Sequence[Run]) -> list[str]:
    alive = sum(run.tcp_alive for run in group)
    return [
        _spread(group, lambda run: run.outage_ms),
        _spread(group, lambda run: run.vip_move_ms),
        _spread(group, lambda run: run.own_ms),
        _spread(group, lambda run: run.probes_lost),
        _coloured(sum(run.client_hard_resets for run in group)),
        _coloured(sum(run.client_restarts for run in group)),
        f"[{GOOD if alive == len(group) else BAD}]{alive} of {len(group)} alive",
    ]


def _spread(group: Sequence[Run], figure: Callable[[Run], float]) -> str:
    values = sorted(figure(run) for run in group)
    middle = f"{median(values):.0f}"
    return middle if len(values) == 1 else f"{middle} ({values[0]:.0f}…{values[-1]:.0f})"


def _coloured(count: int) -> str:
    return f"[{BAD if count else GOOD}]{count}"


def write_result(runs: Sequence[Run], path: Path) -> None:
    """Write the result file, a list of runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([run.as_json() for run in runs], indent=2) + "\n")


def typical_curves(pairs: Sequence[tuple[Run, Curve]]) -> list[Curve]:
    """Of each scenario and kind the run with the median outage."""
    groups: dict[tuple[str, bool], list[tuple[Run, Curve]]] = {}
    for run, points in pairs:
        groups.setdefault((run.scenario, run.control), []).append((run, points))
    ordered = (sorted(group, key=lambda one: one[0].outage_ms) for group in groups.values())
    return [group[(len(group) - 1) // 2][1] for group in ordered]


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw the probes around the kill: both kinds on one scale, ovpnha once more from near."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    scenarios = sorted({curve.scenario for curve in curves})
    figure, axes = pyplot.subplots(
        3, len(scenarios), figsize=(7.5 * len(scenarios), 8.5), squeeze=False
    )
    for column, scenario in enumerate(scenarios):
        mine = {curve.control: curve for curve in curves if curve.scenario == scenario}
        end = max(curve.points[-1][0] for curve in mine.values())
        for row, control in enumerate((True, False)):
            _panel(axes[row][column], mine.get(control), (-1000.0, end), seconds=True)
        _panel(axes[2][column], mine.get(False), (-150.0, 600.0), seconds=False)
        axes[0][column].set_title(f"{scenario}: stock OpenVPN", loc="left")
        axes[1][column].set_title(f"{scenario}: ovpnha, same scale", loc="left")
        axes[2][column].set_title(f"{scenario}: ovpnha, from near", loc="left")
    figure.suptitle(
        "One echo request every 10 ms from the client through the tunnel to the LAN host",
        x=0.01,
        ha="left",
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _panel(axis: Any, curve: Curve | None, limits: tuple[float, float], *, seconds: bool) -> None:
    unit = 1000.0 if seconds else 1.0
    axis.set_xlim(limits[0] / unit, limits[1] / unit)
    axis.set_xlabel("seconds after the kill" if seconds else "milliseconds after the kill")
    axis.spines[["top", "right"]].set_visible(False)
    if curve is None:
        axis.text(0.5, 0.5, "not run", transform=axis.transAxes, ha="center")
        return
    _plot_probes(axis, curve, limits, unit)
    axis.axvline(0, color="black", linewidth=1)
    if not seconds:
        _plot_marks(axis, curve, limits)
    axis.legend(loc="upper right", frameon=False, ncols=2)


def _plot_probes(axis: Any, curve: Curve, limits: tuple[float, float], unit: float) -> None:
    shown = [point for point in curve.points if limits[0] <= point[0] <= limits[1]]
    answered = [(sent / unit, rtt) for sent, rtt in shown if rtt is not None]
    lost = [sent / unit for sent, rtt in shown if rtt is None]
    top = max([rtt for _, rtt in answered], default=1.0) * 1.6
    axis.vlines(lost, 0, top * 0.6, color=BAD, linewidth=1, alpha=0.55, label=f"{len(lost)} lost")
    if answered:
        axis.scatter(*zip(*answered, strict=True), s=7, color=GOOD, label="answered")
    axis.set_ylim(0, top)
    _grey_out(axis, curve.points[-1][0] / unit, limits[1] / unit)
    axis.set_ylabel("round trip, ms")


def _grey_out(axis: Any, start: float, end: float) -> None:
    """Nothing was measured from ``start`` on."""
    if end - start > 1:
        axis.axvspan(start, end, color="0.93", linewidth=0)
        axis.text((start + end) / 2, 0, "the run was over\n", ha="center", color="0.4")


def _plot_marks(axis: Any, curve: Curve, limits: tuple[float, float]) -> None:
    for at in curve.marks.values():
        if limits[0] <= at <= limits[1]:
            axis.axvline(at, color=MARK, linewidth=0.8, linestyle=":")
    lines = [f"{at:6.0f} ms  {name.replace('_', ' '):<18}" for name, at in curve.marks.items()]
    axis.text(
        *(0.99, 0.82, "\n".join(lines)),
        transform=axis.transAxes,
        family="monospace",
        fontsize=8,
        color=MARK,
        ha="right",
        va="top",
    )
