"""The table of VIP managers: what is run, what is promised, what a person sees."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.lab.errors import LabError
from tests.lab.managers import __main__ as command
from tests.lab.managers import report
from tests.lab.managers.rows import FIRST_GUESS, Rows, in_words
from tests.lab.managers.run import MANAGERS, Planned, broken_promises, divide, make_setup
from tests.lab.managers.today import CONTROLS, Control
from tests.lab.measure import MS, Probe
from tests.lab.openvpn import STOCK, Transport, client_config, server_config
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
        "phases": {"detection": 110.0, "vip": 1.0, "promotion": 39.0, "first_packet": 2.0},
        "marks": {"kill": 0.0, "first_answer": 150.0},
        "servers": "ovpnha",
        "load": 3.0,
        "detail": detail,
    }
    return whole | changes


def broken(scenario: str = "node-loss", **changes: Any) -> list[str]:
    return broken_promises(row(scenario, **changes), find(scenario))


def test_a_good_run_keeps_every_promise() -> None:
    assert broken() == []
    assert broken("bcn-cut", detail={"moved": False}) == []
    assert broken("link-flapping") == []
    back = {"kill": 0.0, "vip_arrived": 158.0, "first_answer": 162.0}
    assert broken("frozen-master", detail={"moved": False}, marks=back) == []
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


@pytest.mark.parametrize(
    ("marks", "kept"),
    [
        ({"first_answer": 1500.0, "fence_allowed": 1400.0}, True),
        ({"first_answer": 1300.0, "fence_allowed": 1400.0}, False),
        ({"first_answer": 150.0}, False),
    ],
)
def test_nobody_serves_before_its_fence_allows_it(marks: dict[str, float], *, kept: bool) -> None:
    assert (broken("fence-fails", marks=marks) == []) is kept
    assert broken("node-loss", marks=marks) == []


def test_the_phases_follow_each_other() -> None:
    probes = [Probe(at, at * MS, (at + 1) * MS) for at in (10, 155, 161, 170)]
    marks = {"address_moved": 120.0, "vip_arrived": 121.0, "promote_answered": 160.5}
    assert divide(marks, probes, 0) == {
        "detection": 120.0,
        "vip": 1.0,
        "promotion": 39.5,
        "first_packet": 1.5,
    }
    planned = {"address_moved": -3.0, "vip_arrived": 12.0, "promote_answered": 2.0}
    assert divide(planned, probes, 0) == {
        "detection": 0.0,
        "vip": 12.0,
        "promotion": 0.0,
        "first_packet": 144.0,
    }
    stock = divide({"address_moved": 200.0, "vip_arrived": 200.0}, probes, 0)
    assert stock == {"detection": 200.0, "vip": 0.0}, "no answer, and nothing was promoted"
    assert divide({"kill": 0.0}, probes, 0) == {}


def options(*arguments: str) -> Any:
    return command._parse(arguments)


def titles(*arguments: str) -> list[str]:
    return [one.title for one in command.plan_runs(options(*arguments))]


def test_every_scenario_is_run_for_every_manager_that_is_named() -> None:
    planned = command.plan_runs(options("--runs", "2", "--manager", "keepalived", "pacemaker"))
    seamless = [(one.scenario.name, one.manager, one.index) for one in planned if not one.control]
    names = [one.name for one in all_at(Place.MANAGERS)]
    assert len(seamless) == len(set(seamless)) == 2 * 2 * len(names)
    assert [one.title for one in planned if one.control and one.index == 2] == [
        f"{name}, keepalived, stock, keepalive {keepalive}, run 2"
        for name in ("node-loss", "openvpn-crash")
        for keepalive in ("10 60", "1 5")
    ]


def test_what_is_chosen() -> None:
    assert titles("--scenario", "cut", "--manager", "ucarp", "--runs", "1") == [
        f"{name}, ucarp, ovpnha, run 1" for name in ("vip-network-cut", "bcn-cut", "both-cut")
    ]
    assert titles("--scenario", "switchover", "--manager", "frr", "--runs", "1") == [
        "switchover, frr, ovpnha, run 1"
    ]
    assert titles("--manager", "one-server", "--runs", "1") == [
        "switchover, one-server, stock, keepalive 10 60, run 1"
    ]
    assert "stock" not in "".join(titles("--no-control"))


def test_the_quick_ones_are_drawn_by_the_commit() -> None:
    quick = command.plan_runs(options("--quick"))
    assert {(one.manager, one.index, one.control) for one in quick} == {("keepalived", 1, None)}
    assert quick == command.plan_runs(options("--quick")), "the same commit, the same runs"
    named = {one.scenario.name for one in quick}
    assert named == {one.name for one in all_at(Place.MANAGERS)} - set(command.SLOW)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--manager", "carpe"],
        ["--scenario", "power-cut"],
        ["--manager", "two-remotes", "--scenario", "bcn-cut"],
    ],
)
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


@pytest.mark.parametrize("control", CONTROLS, ids=lambda one: f"{one.manager} {one.keepalive}")
def test_today_s_practice(control: Control) -> None:
    one = Planned(find(control.scenarios[0]), control.manager, 1, control)
    setup = make_setup(one, Path("/patched"))
    assert (setup.openvpn, setup.seamless, setup.keepalive) == (STOCK, False, control.keepalive)
    assert one.patience > float(control.keepalive.split()[1])
    assert len(setup.transport.remotes) == (2 if control.manager == "two-remotes" else 0)
    assert all(find(name) in all_at(Place.MANAGERS) for name in control.scenarios)


def test_a_client_has_a_line_for_each_server_and_no_server_an_address() -> None:
    both = Transport(remotes=("10.99.1.11", "10.99.1.12"))
    client = client_config(Path("/pki"), "client", both, [])
    assert [line for line in client.splitlines() if line.startswith("remote ")] == [
        "remote 10.99.1.11 1194 udp4",
        "remote 10.99.1.12 1194 udp4",
    ]
    server = server_config(Path("/pki"), keepalive="10 60", transport=both, cluster=False)
    assert "local" not in server


def test_rows_are_kept_over_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def run_row(one: Planned, *_rest: object) -> dict[str, Any]:
        made.append(one.title)
        if one.manager == "ucarp" and len(made) == 2:
            raise LabError("the machine broke")
        return row(one.scenario.name, manager=one.manager, run=one.index)

    monkeypatch.setattr(command, "run_row", run_row)
    monkeypatch.setattr(report, "draw", lambda *_: None)
    chosen = ["--output", str(tmp_path), "--scenario", "node-loss", "--no-control", "--runs", "1"]
    both = [*chosen, "--manager", "keepalived", "ucarp"]
    assert command.main(both) == 1, "a run without figures"
    kept = json.loads((tmp_path / "scenarios.json").read_text())
    assert [one.get("failed") for one in kept] == [None, "the machine broke"]
    assert command.main(both) == 0
    assert command.main(both) == 0
    loss = "node-loss, {}, ovpnha, run 1"
    assert made == [loss.format(name) for name in ("keepalived", "ucarp", "ucarp")]
    assert command.main([*chosen, "--manager", "keepalived", "--again"]) == 0
    assert command.main([*both, "--show"]) == 0
    assert len(made) == 4
    assert len(json.loads((tmp_path / "scenarios.json").read_text())) == 2


def test_sittings_side_by_side_keep_each_other_s_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    first, second = Rows(path), Rows(path)
    first.add(row())
    second.add(row(manager="ucarp"))
    first.add(row("bcn-cut"))
    kept = [(one["scenario"], one["manager"]) for one in json.loads(path.read_text())]
    assert sorted(kept) == [
        ("bcn-cut", "keepalived"),
        ("node-loss", "keepalived"),
        ("node-loss", "ucarp"),
    ]


def test_a_promise_that_was_not_kept_earlier_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run_row", lambda *_: row(client_restarts=1))
    chosen = ["--output", str(tmp_path), "--scenario", "node-loss", "--no-control", "--runs", "1"]
    for _ in range(2):
        assert command.main([*chosen, "--manager", "keepalived"]) == 1
        assert "promise not kept: node-loss, keepalived, run 1" in capsys.readouterr().err


def test_a_file_of_another_kind_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scenarios.json"
    file.write_text('[{"scenario": "node-loss"}]')
    assert command.main(["--output", str(tmp_path)]) == 2
    assert "has no rows of this version" in " ".join(capsys.readouterr().err.split())
    assert file.read_text() == '[{"scenario": "node-loss"}]'


def test_the_quick_ones_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    clock = iter(range(0, 10_000, 20))

    def run_row(one: Planned, *_rest: object) -> dict[str, Any]:
        made.append(one.title)
        moves = one.scenario.expected.moves
        marks = {"first_answer": 2.0, "fence_allowed": 1.0}
        return row(one.scenario.name, marks=marks, detail={"moved": moves})

    monkeypatch.setattr(command, "run_row", run_row)
    monkeypatch.setattr("tests.lab.managers.__main__.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(report, "draw", lambda *_: None)
    assert command.main(["--quick", "--output", str(tmp_path)]) == 0
    assert 0 < len(made) < 5
    assert (tmp_path / "scenarios-quick.json").exists()


def test_the_time_that_is_left_is_that_of_runs_alike(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.json")
    planned = command.plan_runs(
        options("--runs", "2", "--manager", "keepalived", "ucarp", "--scenario", "node-loss")
    )
    assert rows.seconds_left(planned[:1]) == FIRST_GUESS
    rows.add(row() | {"seconds": 20.0})
    rows.add(row(manager="ucarp") | {"seconds": 40.0})
    seamless = [one for one in planned if not one.control]
    assert rows.seconds_left(seamless) == 2 * 20.0 + 2 * 40.0
    assert (in_words(100), in_words(8000)) == ("2 min", "2 h 13 min")


def test_a_preferred_node_stands_far_above_the_others() -> None:
    assert preferred_of({"a": 100, "b": 99}) == ""
    assert preferred_of({"a": 60, "b": 100}) == "b"


def test_the_table_has_a_line_for_each_kind(tmp_path: Path) -> None:
    rows = [row(run=1), row(run=2, outage_ms=170.0, vip_move_ms=None), row("bcn-cut")]
    stock = row(control=True, servers="stock, keepalive 1 5", client_restarts=1)
    endless = row(control=True, servers="stock, keepalive 10 60", detail={"recovered": False})
    failed = {**row(run=3), "failed": "the machine broke", "outage_ms": None}
    out = StringIO()
    Console(file=out, width=report.WIDTH).print(report.make_table([*rows, stock, endless, failed]))
    text = out.getvalue()
    assert "160 (150…170)" in text
    assert "2, 1 failed" in text
    assert "stock, keepalive 1 5" in text
    assert "never (1 of 1)" in text
    assert "39" in text
    assert "7.97 s" in text
    report.draw([*rows, stock, endless], tmp_path / "scenarios.png")
    assert (tmp_path / "scenarios.png").stat().st_size > 0
    assert report.spread([None]) == "-"
    assert report.spread_of_outages([stock, endless]) == "never (1 of 2), 150"
    json.dumps(rows, allow_nan=False)


def test_the_list_is_that_of_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    said = capsys.readouterr().out
    assert all(one.name in said for one in all_at(Place.MANAGERS))
    assert all(name in said for name in (*MANAGERS, *command.CONTROL_NAMES))
