"""The alert rules, under Prometheus' own tool: each fires when it must, and only then."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.prometheus.make import CASES, Case, firing, make

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "ovpnha.rules.yml"
WHEN = "100s"

pytestmark = pytest.mark.integration


def promtool(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def test_the_rules_are_valid() -> None:
    done = promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_and_a_runbook() -> None:
    text = RULES.read_text()
    assert re.findall(r"alert: (\w+)", text) == [case.alert for case in CASES]
    document = (ROOT / "docs" / "operations.md").read_text()
    anchors = re.findall(r"runbook: docs/operations.md#([a-z-]+)", text)
    assert len(anchors) == len(CASES)
    headings = {
        line.removeprefix("### ").lower().replace(" ", "-")
        for line in document.splitlines()
        if line.startswith("### ")
    }
    assert set(anchors) <= headings


@pytest.mark.parametrize("case", CASES, ids=[case.alert for case in CASES])
def test_an_alert(case: Case, tmp_path: Path) -> None:
    """Firing in the first series, silent in the second."""
    file = tmp_path / "rules_test.yml"
    content = make(RULES)
    at = CASES.index(case)
    fires, calm = content["tests"][at], content["tests"][at + len(CASES)]
    query = {"expr": firing(case.alert), "eval_time": WHEN}
    fires["promql_expr_test"] = [{**query, "exp_samples": [{"labels": "{}", "value": 1}]}]
    calm["promql_expr_test"] = [{**query, "exp_samples": []}]
    file.write_text(json.dumps({**content, "tests": [fires, calm]}))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
