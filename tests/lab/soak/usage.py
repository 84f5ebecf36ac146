"""Memory and descriptors of the programs under soak, and whether they are flat. Pure but for /proc.

Programs that were killed begin anew, so a single process says little: of each program on each node
the second quarter of the rows, when everything has been in use, is held against the last.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tests.lab.lab import Lab
from tests.lab.processes import resident_kib

Usage = dict[str, dict[str, float]]
LEAST_ROWS = 16
"""Fewer say nothing of a trend."""
MOST = {"rss_mb": (1.15, 3.0), "descriptors": (1.0, 3.0)}
"""By what factor, and by how much beside it, a figure may be larger at the end."""


def read_usage(lab: Lab) -> Usage:
    """Of every program that runs now: megabytes, descriptors, and the process id."""
    found: Usage = {}
    for node in lab.nodes.values():
        for name, process in (("sidecar", node.sidecar.process), ("openvpn", node.openvpn)):
            if process.running:
                found[f"{name} {node.name}"] = _of(process.pid)
    return found


def _of(pid: int) -> dict[str, float]:
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return {"rss_mb": round(resident_kib(pid) / 1024, 2), "descriptors": descriptors, "pid": pid}


def total(usage: Usage, figure: str) -> float:
    """Of all programs together."""
    return round(sum(one[figure] for one in usage.values()), 2)


def trends(rows: Sequence[Mapping[str, Any]], figure: str) -> dict[str, tuple[float, float, float]]:
    """Of each program the median of the second quarter, that of the last, and the largest."""
    names = sorted({name for row in rows for name in row["programs"]})
    found = {}
    for name in names:
        values = [row["programs"][name][figure] for row in rows if name in row["programs"]]
        quarter = max(1, len(values) // 4)
        early = values[quarter : 2 * quarter] or values
        found[name] = (median(early), median(values[-quarter:]), max(values))
    return found


def growing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is not flat; nothing is said of few rows."""
    if len(rows) < LEAST_ROWS:
        return []
    found = []
    for figure, (factor, more) in MOST.items():
        for name, (early, late, _) in trends(rows, figure).items():
            if late > early * factor + more:
                found.append(f"{figure} of {name} grew from {early:g} to {late:g}")
    return found
