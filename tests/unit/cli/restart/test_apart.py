"""``ovpnha restart-openvpn`` on a node that serves nobody: each process anew where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restart
from ovpnha.runtime import control
from tests.unit.cli.answers import run
from tests.unit.cli.restart.answers import APART, BOTH, OLD, UNIT, Daemon, answer_steps


def test_where_none_is_served_one_that_comes_back_is_not_taken_for_another_one(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = {"policy": "always"}
    away = APART | policy | {"places": {"main": "standby", "spare": "absent"}, "pids": {"main": 10}}
    there = APART | policy | {"pids": {"main": 10, "spare": OLD}}

    def answer(step: str) -> dict[str, Any]:
        return there if step == "wait" else away

    answer_steps(monkeypatch, answer)
    code, _, err = run("restart-openvpn", "-c", config, "--within", "100ms")
    assert code == 1
    assert "the spare process has not come up anew" in err
    assert orders == [f"restart --no-block {UNIT}"]


@pytest.mark.parametrize("policy", ["always", "restart"])
def test_where_no_client_is_served_each_is_started_anew_and_nothing_is_moved(
    config: Path, daemon: Daemon, orders: list[str], policy: str
) -> None:
    asked, answers = daemon
    there = APART | {"policy": policy}
    first = there | {"pids": {"main": 10, "spare": 21}}
    gone = first | {"places": {"main": "absent", "spare": "standby"}, "pids": {"spare": 21}}
    answers += [there, there, there, first, first, gone, first | {"pids": {"main": 11}}]
    code, out, err = run("restart-openvpn", "-c", config)
    assert (code, out) == (0, "udp: OpenVPN was started anew; no client is served on this node\n")
    assert asked == ["look", "renew", "wait", "wait", "renew", "wait", "wait"]
    assert orders == [f"start --no-block {one}" for one in BOTH]
    assert "moved" not in err


def test_the_second_one_is_ended_when_the_first_one_is_whole(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """Another node that dies in between is gone on from by one of the two."""
    asked, answers = daemon
    whole = {"copies": {"main": "in_sync", "spare": "in_sync"}}
    partly = {"pids": {"main": 10, "spare": 21}, "copies": {"main": "in_sync", "spare": "syncing"}}
    first = {"pids": {"main": 10, "spare": 21}} | whole
    last = {"pids": {"main": 11, "spare": 21}}
    unheard = {"copies": {"main": "none", "spare": "in_sync"}}
    told = (whole, whole, partly, first, first, last | unheard, last | whole)
    answers += [APART | one for one in told]
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert asked == ["look", "renew", "wait", "wait", "renew", "wait", "wait"]
    assert orders == [f"start --no-block {one}" for one in BOTH]


def test_one_that_does_not_come_in_sync_leaves_the_other_one_alone(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [APART, APART]
    apart = {"pids": {"main": 10, "spare": 21}, "copies": {"main": "in_sync", "spare": "none"}}

    def answer(*_: Any) -> dict[str, Any]:
        return answers.pop() if answers else APART | apart

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config, "--within", "100ms")
    assert (code, orders) == (1, [f"start --no-block {UNIT}"])
    assert "the spare process has not come in sync; no client is served here" in err
    assert daemon[0] == []


def test_one_without_a_spare_is_started_anew_alone(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    asked, answers = daemon
    alone = APART | {"places": {"main": "standby", "spare": "absent"}}
    answers += [alone, alone, alone | {"pids": {"main": 11}}]
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert asked == ["look", "renew", "wait"]
    assert orders == [f"start --no-block {BOTH[1]}"]


def test_one_that_does_not_come_up_anew_is_told(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = daemon
    monkeypatch.setattr(control, "ask_plain", lambda _path, _request, _timeout: APART)
    code, _, err = run("restart-openvpn", "-c", config, "--within", "100ms")
    assert (code, asked) == (1, [])
    assert "has not come up anew: it is standby; no client is served" in err
    assert len(orders) == 1


def test_one_that_waits_for_what_does_not_suit_it_says_why(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = daemon
    places = {"main": "standby", "spare": "waiting"}
    waits = APART | {"places": places, "problems": {"spare": "port differs"}}
    monkeypatch.setattr(control, "ask_plain", lambda _path, _request, _timeout: waits)
    code, _, err = run("restart-openvpn", "-c", config, "--within", "100ms")
    assert (code, asked, len(orders)) == (1, [], 1)
    assert "the spare process has not come up anew: port differs" in err


def test_a_reload_waits_for_no_process_that_is_started_when_it_is_over(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = daemon
    assert orders == []
    monkeypatch.setenv("MAINPID", "77")
    alone = APART | {"places": {"main": "standby", "spare": "absent"}}
    answers += [alone, alone]
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert asked == ["look", "renew"]


@pytest.mark.parametrize("serving", ["main", "spare"])
@pytest.mark.parametrize(("reloaded", "first"), [("10", "spare"), ("20", "main")])
def test_a_reload_where_none_is_served_renews_the_other_unit_s_process_first(
    config: Path,
    orders: list[str],
    monkeypatch: pytest.MonkeyPatch,
    reloaded: str,
    first: str,
    serving: str,
) -> None:
    """And waits for it, since that of its own unit is there again only afterwards."""
    pids = {"main": 10, "spare": 20}
    own = next(name for name, pid in pids.items() if str(pid) == reloaded)
    renewed: list[str] = []

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        if request.step == "renew":
            renewed.append(request.process)
            pids[request.process] = 0 if request.process == own else 99
        places = {name: "standby" if pid else "absent" for name, pid in pids.items()}
        told = {"serving": serving, "places": places, "pids": dict(pids), "policy": "always"}
        return APART | told

    monkeypatch.setenv("MAINPID", reloaded)
    monkeypatch.setattr(control, "ask_plain", answer)
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert renewed == [first, own]
    assert len(orders) == 2


def test_a_dry_run_says_that_nothing_would_be_moved(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    daemon[1].append(APART)
    code, out, _ = run("restart-openvpn", "-c", config, "--dry-run")
    assert (code, out) == (0, f"{restart.APART}\n")
    assert orders == []
