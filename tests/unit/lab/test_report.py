"""The verdict: which promises a run has kept; the table, the file and the picture."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.lab import report
from tests.lab.measure import Curve, Run
from tests.lab.rules import Rules


def make_run(
    *,
    own: float = 30.0,
    control: bool = False,
    index: int = 1,
    recovered: bool = True,
    fault: str = "",
    rules: Rules = Rules.SNAT_STATEFUL,
) -> Run:
    return Run(
        scenario="kill-openvpn",
        control=control,
        outage_ms=40.0 + own,
        vip_move_ms=40.0,
        probes_sent=100,
        probes_lost=6,
        client_hard_resets=int(fault == "hard_resets"),
        client_renegotiations=0,
        client_restarts=int(fault == "restarts"),
        tcp_alive=fault != "tcp_broken",
        phases={"kill": 0.0, "vip_arrived": 40.0},
        detail={
            "run": index,
            "recovered": recovered,
            "renegotiations_in_gap": int(fault == "renegotiations"),
            "tcp_problem": "reset",
            "keepalive": "10 60",
            "rules": rules.value,
            "conntrack": rules is not Rules.NONE and not control,
        },
    )


def test_good_runs_keep_every_promise() -> None:
    assert report.broken_promises([make_run(index=index) for index in range(5)]) == []


def test_the_median_counts_not_the_worst() -> None:
    runs = [make_run(own=own) for own in (10, 20, 30, 500, 600)]
    assert report.broken_promises(runs) == []
    assert len(report.broken_promises([*runs, make_run(own=500), make_run(own=501)])) == 1


@pytest.mark.parametrize("fault", ["hard_resets", "restarts", "tcp_broken", "renegotiations"])
def test_what_the_client_noticed_breaks_a_promise_in_any_run(fault: str) -> None:
    (line,) = report.broken_promises([make_run(), make_run(index=7, fault=fault)])
    assert line.startswith("kill-openvpn, run 7: ")


def test_a_run_that_never_recovered_breaks_a_promise() -> None:
    assert any("no probe" in line for line in report.broken_promises([make_run(recovered=False)]))


def test_an_address_that_never_moved_breaks_a_promise() -> None:
    assert report.broken_promises([make_run(own=float("nan"))])


def test_the_control_run_promises_nothing() -> None:
    assert report.broken_promises([make_run(own=9000, control=True, fault="restarts")]) == []


def shown(*runs: Run) -> str:
    console = Console(width=report.WIDTH, record=True, file=StringIO())
    console.print(report.make_table(runs))
    return console.export_text()


def test_the_table_says_who_served_and_how_it_went() -> None:
    text = shown(make_run(), make_run(own=50, control=True, fault="restarts"))
    assert "ovpnha (keepalive 10 60)" in text
    assert "stock OpenVPN (keepalive 10 60)" in text


def test_the_table_says_what_the_traffic_went_through() -> None:
    behind = "every node translates to the inside VIP (SNAT) and filters statefully"
    ours, theirs = "ovpnha with conntrackd beside it", "stock OpenVPN without conntrackd"
    both = shown(make_run(), make_run(control=True))
    assert behind in both
    assert f"{ours}, {theirs}" in both
    assert theirs not in shown(make_run())
    assert ours not in shown(make_run(control=True))
    assert "the nodes only route: no firewall, no NAT" in shown(make_run(rules=Rules.NONE))


def test_the_result_file_is_a_list_of_runs(tmp_path: Path) -> None:
    report.write_result([make_run(), make_run(control=True)], tmp_path / "new" / "result.json")
    written = json.loads((tmp_path / "new" / "result.json").read_text())
    assert [run["control"] for run in written] == [False, True]


def test_the_picture_shows_the_typical_runs(tmp_path: Path) -> None:
    points = [(float(at), None if 0 < at < 50 else 0.4) for at in range(-100, 300, 10)]
    marks = {"kill": 0.0, "vip_arrived": 20.0}
    pairs = [
        (make_run(own=own, control=control), Curve("kill-openvpn", control, points, marks))
        for own, control in ((10, False), (30, False), (20, False), (9000, True))
    ]
    curves = report.typical_curves(pairs)
    assert curves[0] is pairs[2][1]
    assert len(curves) == 2
    report.draw(curves, tmp_path / "result.png")
    assert (tmp_path / "result.png").stat().st_size > 10_000
