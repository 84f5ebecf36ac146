"""The table of VIP managers: what is run, what is promised, what a person sees."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.lab.managers import __main__ as command
from tests.lab.managers import report
from tests.lab.managers.run import MANAGERS, Planned, broken_promises, make_setup
from tests.lab.openvpn import STOCK
from tests.lab.scenarios import Place, all_at, find
from tests.lab.vip_manager import preferred_of

DETAIL = {"keepalive": "10 60", "recovered": True, "moved": True, "tcp_problem": ""}


def row(scenario: str = "node-loss", **changes: Any) -> dict[str, Any]:
    detail = DETAIL | changes.pop("detail", {})
    whole = {
        "scenario": scenario,
        "manager": "keepalived",
        "run": 1,
        "control": False,
        "outage_ms": 150.0,
        "vip_move_ms": 140.0,
        "probes_lost": 15,
        "client_restarts": 0,
        "client_hard_resets": 0,
        "tcp_alive": True,
        "phases": {"kill": 0.0},
        "detail": detail,
    }
    return whole | changes


def broken(scenario: str = "node-loss", **changes: Any) -> list[str]:
    return broken_promises(row(scenario, **changes), find(scenario))


def test_a_good_run_keeps_every_promise() -> None:
    assert broken() == []
    assert broken("bcn-cut", detail={"moved": False}) == []
    assert broken("link-flapping") == []
    assert broken("all-off-and-on", client_restarts=1, client_hard_resets=1, tcp_alive=False) == []


@pytest.mark.parametrize(
    ("scenario", "changes"),
    [
        ("node-loss", {"client_restarts": 1}),
        ("node-loss", {"client_hard_resets": 1}),
        ("node-loss", {"tcp_alive": False}),
        ("node-loss", {"detail": {"recovered": False}}),
        ("node-loss", {"detail": {"moved": False}}),
        ("bcn-cut", {}),
        ("failback-sticky", {}),
        ("all-off-and-on", {"detail": {"recovered": False}}),
    ],
)
def test_what_breaks_one(scenario: str, changes: dict[str, Any]) -> None:
    assert len(broken(scenario, **changes)) == 1


def test_a_control_run_promises_nothing() -> None:
    assert broken(control=True, client_restarts=3, tcp_alive=False) == []


def options(*arguments: str) -> Any:
    return command._parse(arguments)


def test_every_scenario_is_run_for_every_manager_that_is_named() -> None:
    planned = command.plan_runs(options("--runs", "2", "--manager", "keepalived", "ucarp"))
    seamless = [(one.scenario.name, one.manager, one.index) for one in planned if not one.keepalive]
    names = [one.name for one in all_at(Place.MANAGERS)]
    assert len(seamless) == len(set(seamless)) == 2 * 2 * len(names)
    assert [one.title for one in planned if one.keepalive] == [
        f"{name}, keepalived, stock OpenVPN, keepalive {keepalive}, run 1"
        for name in ("node-loss", "openvpn-crash")
        for keepalive in ("10 60", "1 5")
    ]


def test_what_is_chosen() -> None:
    planned = command.plan_runs(
        options("--only", "cut", "--manager", "ucarp", "--runs", "1", "--no-control")
    )
    assert [one.scenario.name for one in planned] == ["vip-network-cut", "bcn-cut", "both-cut"]
    quick = command.plan_runs(options("--quick"))
    assert [one.manager for one in quick] == ["keepalived"] * command.QUICK_COUNT
    assert quick == command.plan_runs(options("--quick")), "the same commit, the same runs"
    assert all(one.scenario.name in command.QUICK for one in quick)


@pytest.mark.parametrize("arguments", [["--manager", "carpe"], ["--only", "power-cut"]])
def test_what_is_not_there_is_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    assert "scenarios: " in capsys.readouterr().err


def test_the_cluster_of_a_run() -> None:
    fast = Planned(find("failback-preferred"), "keepalived-fast", 1)
    setup = make_setup(fast, Path("/patched"))
    assert (setup.openvpn, setup.seamless) == (Path("/patched"), True)
    assert setup.priorities == (100, 60)
    control = make_setup(Planned(find("node-loss"), "keepalived", 1, "1 5"), Path("/patched"))
    assert (control.openvpn, control.seamless, control.keepalive) == (STOCK, False, "1 5")


def test_a_preferred_node_stands_far_above_the_others() -> None:
    assert preferred_of({"a": 100, "b": 99}) == ""
    assert preferred_of({"a": 60, "b": 100}) == "b"


def test_the_table_has_a_line_for_each_kind(tmp_path: Path) -> None:
    rows = [row(run=1), row(run=2, outage_ms=170.0, vip_move_ms=None), row("bcn-cut")]
    rows.append(row(control=True, detail={"keepalive": "1 5"}, client_restarts=1))
    out = StringIO()
    Console(file=out, width=report.WIDTH).print(report.make_table(rows))
    text = out.getvalue()
    assert "160 (150…170)" in text
    assert "stock, keepalive 1 5" in text
    assert text.count("keepalived ") >= 3
    assert "60.2 s" in text
    report.draw(rows, tmp_path / "scenarios.png")
    assert (tmp_path / "scenarios.png").stat().st_size > 0
    assert report.spread([None]) == "-"
    json.dumps(rows, allow_nan=False)


def test_the_list_is_that_of_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(one.name in said for one in all_at(Place.MANAGERS))
    assert all(name in said for name in MANAGERS)
