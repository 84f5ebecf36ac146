"""What Prometheus saw of the container lab: asked over its HTTP API, checked, and drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.lab.errors import LabError

ANSWER_SECONDS = 10.0
STEP_SECONDS = 1
NODE_COLOURS = ("#0969da", "#bc4c00", "#8250df")


@dataclass(frozen=True)
class Panel:
    """One graph: a PromQL expression whose series are told apart by the label ``node``."""

    title: str
    expression: str


PANELS = (
    Panel("master (1 = yes)", 'ovpnha_role{role="master"}'),
    Panel("grade, for the VIP manager", "ovpnha_grade"),
    Panel("clients in OpenVPN", "ovpnha_clients"),
    Panel("scraped (1 = yes)", 'up{job="ovpnha"}'),
)

Points = Sequence[tuple[float, float]]


class Prometheus:
    """One Prometheus server, at ``HOST:PORT``."""

    def __init__(self, address: str) -> None:
        self._base = f"http://{address}/api/v1"

    def nodes_up(self) -> dict[str, bool]:
        """Every node it scrapes, by name, and whether the last scrape worked."""
        targets = self._get("targets", state="active")["activeTargets"]
        return {target["labels"]["node"]: target["health"] == "up" for target in targets}

    def good_rules(self) -> int:
        """How many rules are loaded and have been evaluated without an error."""
        groups = self._get("rules")["groups"]
        return sum(rule["health"] == "ok" for group in groups for rule in group["rules"])

    def series(self, expression: str, start: float, end: float) -> dict[str, Points]:
        """The values of an expression over a time (seconds since 1970), by node."""
        data = self._get("query_range", query=expression, start=start, end=end, step=STEP_SECONDS)
        return {
            one["metric"].get("node", ""): [
                (float(at), float(value)) for at, value in one["values"]
            ]
            for one in data["result"]
        }

    def unanswered(self, dashboard: Path, start: float, end: float) -> list[str]:
        """The queries of a Grafana dashboard that show nothing between two times."""
        return [one for one in queries(dashboard) if not self.series(one, start, end)]

    def _get(self, path: str, **parameters: Any) -> dict[str, Any]:
        url = f"{self._base}/{path}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  # ours
                return dict(json.load(answer)["data"])
        except (OSError, ValueError, LookupError) as error:
            raise LabError(f"Prometheus: {path}: {error}") from None


def queries(dashboard: Path) -> list[str]:
    """Every query of a Grafana dashboard, for all instances."""
    panels = json.loads(dashboard.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    return [expression.replace("$instance", ".*") for expression in expressions]


def draw_failover(prometheus: Prometheus, death: float, end: float, path: Path, title: str) -> None:
    """Draw what Prometheus saw from 15 s before ``death`` (seconds since 1970) to ``end``."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(PANELS), 1, figsize=(9, 9), sharex=True)
    for axis, panel in zip(axes, PANELS, strict=True):
        seen = prometheus.series(panel.expression, death - 15, end)
        _draw_panel(axis, panel.title, seen, death)
    axes[0].legend(loc="center left", frameon=False)
    axes[-1].set_xlabel(f"seconds after {title}")
    figure.suptitle(f"{title}, as Prometheus saw it", x=0.01, ha="left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_panel(axis: Any, title: str, seen: Mapping[str, Points], death: float) -> None:
    for colour, (node, points) in zip(NODE_COLOURS, sorted(seen.items()), strict=False):
        times, values = zip(*((at - death, value) for at, value in points), strict=True)
        axis.step(times, values, where="post", color=colour, label=node, marker=".", markersize=3)
    axis.axvline(0, color="black", linewidth=1)
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
