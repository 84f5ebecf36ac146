"""The dashboard: every query is valid, and asks for metrics that exist.

That each gives data is seen by the container lab, whose Prometheus scrapes real nodes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ovpnha.runtime.definitions import TABLE
from tests.lab.compose.demo import DASHBOARD
from tests.lab.compose.prometheus import queries
from tests.prometheus.test_rules import promtool

pytestmark = pytest.mark.integration


def served() -> set[str]:
    names = set()
    for one in TABLE:
        if one.kind == "histogram":
            names |= {f"{one.name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            names.add(f"{one.name}_total" if one.kind == "counter" else one.name)
    return names


def test_every_query_is_valid(tmp_path: Path) -> None:
    """As recording rules, which promtool reads."""
    rules = [{"record": f"panel:{at}", "expr": one} for at, one in enumerate(queries(DASHBOARD))]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("query", queries(DASHBOARD))
def test_a_query_asks_for_what_is_served(query: str) -> None:
    assert set(re.findall(r"\b(?:ovpnha|openvpn)_\w+", query)) <= served()


def test_every_panel_has_a_place_and_a_query() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] and panel["gridPos"]["w"] > 0 for panel in panels)
