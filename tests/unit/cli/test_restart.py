"""``ovpnha restart-openvpn``: its order, what it starts and stops, what it says, its exit codes."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restart, restartfarewell, restartlook, restartsteps
from ovpnha.cli.lint import lint
from ovpnha.config import load_config
from ovpnha.runtime import control, restartlock, restartunits
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.restartlock import LOCK
from ovpnha.runtime.restartunits import OtherUnits, UnitError
from ovpnha.runtime.trialmarks import mark_of
from tests.unit.cli.answers import run

PLACES = {"main": "master", "spare": "standby"}
LOOK: dict[str, Any] = {
    "instance": "udp",
    "policy": "restart",
    "serving": "main",
    "places": PLACES,
    "pids": {"main": 10, "spare": 0},
}
TOLD = {"clients": 2, "told": 2, "parted": True}
SPARE: dict[str, Any] = {
    **LOOK,
    "serving": "spare",
    "phase": "done",
    "seconds": 0.4,
    "places": {"main": "held", "spare": "master"},
    "pids": {"main": 10, "spare": 20},
}
MAIN: dict[str, Any] = {**SPARE, "serving": "main", "places": PLACES, "pids": {"main": 11}}
THERE: dict[str, Any] = {**LOOK, "pids": {"main": 10, "spare": 20}}
STARTED: dict[str, Any] = {**LOOK, "pids": {"main": 11, "spare": 0}}
PLACES_OF_SPARE = {"main": "standby", "spare": "master"}
APART: dict[str, Any] = {
    **LOOK,
    "pids": {"main": 10, "spare": 20},
    "places": {"main": "standby", "spare": "standby"},
}
UNIT = "openvpn-cluster-spare@udp.service"
BOTH = [UNIT, "openvpn-cluster@udp.service"]
SHOWN = (
    "{ path=/usr/sbin/openvpn-cluster ; argv[]=/usr/sbin/openvpn-cluster --status s.log --config"
    " udp.conf ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 }\n"
)
FAILED: dict[str, Any] = {**LOOK, "phase": "failed", "reason": "it differs"}


OLD = 9
"""The number of a process that is older than the command."""


@pytest.fixture(autouse=True)
def ages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which processes of this host have the numbers of those tests is an accident."""
    monkeypatch.setattr(restartlook, "is_older", lambda pid: pid == OLD)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """The steps that were asked for, and what is answered, one after the other.

    What is looked at again once nobody else is at it is as it was, and is not among them.
    """
    asked: list[str] = []
    answers: list[dict[str, Any]] = []
    last: list[dict[str, Any]] = []
    telling = iter(({"clients": 2, "told": 1, "telling": True}, TOLD))
    again: list[dict[str, Any]] = []
    lock = restartlock.alone

    def answer(_path: Path, request: Any, _timeout: float) -> dict[str, Any]:
        if again:
            assert request.step == "look"
            return again.pop()
        if request.step in ("farewell", "stay"):
            asked.append(request.step)
            return {**LOOK, **next(telling, {})}
        asked.append(request.step)
        last[:] = [answers.pop(0)]
        return last[0]

    @contextlib.contextmanager
    def locked(*arguments: Any) -> Iterator[None]:
        with lock(*arguments):
            again[:] = last
            yield

    monkeypatch.setattr(restartsteps, "alone", locked)
    monkeypatch.setattr(control, "ask_plain", answer)
    monkeypatch.setattr(restartsteps, "WATCH", 0.0)
    monkeypatch.setattr(restartsteps, "FOUND_WITHIN", 0.0)
    monkeypatch.delenv("MAINPID", raising=False)
    yield asked, answers
    assert not answers


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What systemd was told."""
    told: list[str] = []

    def order(*arguments: str) -> str:
        if "--property=MainPID" in arguments:
            return "20\n" if "-spare@" in arguments[-1] else "10\n"
        if arguments[0] == "show":
            return SHOWN
        told.append(" ".join(arguments))
        return ""

    monkeypatch.setattr(restartunits, "_systemctl", order)
    monkeypatch.setattr(restartunits, "DROP_INS", tmp_path / "units")
    return told


Daemon = tuple[list[str], list[dict[str, Any]]]


def watch_after_the_second_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has the role again is seen to serve for longer than the one before."""
    ask, moves = control.ask_plain, itertools.count(1)

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "move" and next(moves) == 2:
            monkeypatch.setattr(restartsteps, "WATCH", 60.0)
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)


def test_the_role_comes_back_to_the_usual_process(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    asked, answers = daemon
    waits = {**LOOK, "phase": "waiting", "reason": "its copy is not complete"}
    answers += [LOOK, LOOK, waits, waits, SPARE, SPARE, MAIN]
    code, out, err = run("restart-openvpn", "-c", config)
    assert (code, out) == (0, "udp: the main process serves, no client was told\n")
    assert asked == ["look", "renew", "move", "wait", "wait", "renew", "move"]
    main = "openvpn-cluster@udp.service"
    assert orders == [f"start --no-block {UNIT}", f"start --no-block {main}", f"stop {UNIT}"]
    assert err.count("its copy is not complete") == 1


def test_who_dies_after_the_role_came_back_still_has_a_spare(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = daemon
    answers += [LOOK, LOOK, SPARE, SPARE, MAIN, SPARE]
    watch_after_the_second_move(monkeypatch)
    code, _, err = run("restart-openvpn", "-c", config)
    assert code == 1
    assert "the main process has died, see the log of OpenVPN; the spare process serves on" in err
    assert asked[-1] == "wait"
    assert f"stop {UNIT}" not in orders


def test_a_process_that_is_not_another_one_is_no_success(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    _, answers = daemon
    there = {**LOOK, "pids": {"main": 10, "spare": 20}}
    answers += [there, there, SPARE]
    code, out, err = run("restart-openvpn", "-c", config)
    assert (code, out) == (1, "")
    assert "nothing was started anew" in err
    assert f"stop {UNIT}" not in orders


def test_one_that_was_not_reached_and_comes_back_is_not_another_one(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """Its number is known only when the daemon reaches it again: it runs the old program."""
    _, answers = daemon
    away = {**LOOK, "places": {"main": "master", "spare": "absent"}}
    came = {**SPARE, "pids": {"main": 10, "spare": OLD}}
    answers += [away, away, came, came]
    code, out, err = run("restart-openvpn", "-c", config)
    assert (code, out) == (1, "")
    assert "nothing was started anew" in err
    assert f"stop {UNIT}" not in orders


def test_one_that_somebody_else_has_started_just_before_is_another_one(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """Its age says nothing where the command starts no process."""
    _, answers = daemon
    away = {**LOOK, "places": {"main": "master", "spare": "absent"}}
    came = {**SPARE, "pids": {"main": 10, "spare": OLD}}
    answers += [away, away, came, came]
    code, out, _ = run("restart-openvpn", "-c", config, "--no-start")
    assert (code, out) == (0, "udp: the spare process serves, no client was told\n")
    assert orders == []


def test_one_that_is_not_reached_is_ended_by_its_unit(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """The daemon can tell it nothing, and a unit that runs is not started again."""
    _, answers = daemon
    away = {**LOOK, "places": {"main": "master", "spare": "absent"}}
    answers += [away, away, SPARE, SPARE, MAIN]
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert orders[0] == f"restart --no-block {UNIT}"


BEGUN: dict[str, Any] = {
    **LOOK,
    "policy": "always",
    "places": {"main": "standby", "spare": "absent"},
    "pids": {"main": 10},
}
"""What a sidecar says that has just begun, and does not reach the process that serves yet."""


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--force",)])
def test_a_sidecar_that_has_just_begun_finds_who_serves_first(
    config: Path,
    daemon: Daemon,
    orders: list[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    """Nothing is refused, nor ended: an upgrade restarts both in one go."""
    asked, answers = daemon
    monkeypatch.setattr(restartsteps, "FOUND_WITHIN", 60.0)
    unsettled = {"settled": False, "obstacles": ["it is not known yet which process serves"]}
    serves = {**SPARE, "policy": "always", "phase": "", "places": PLACES_OF_SPARE}
    answers += [BEGUN | unsettled, BEGUN | unsettled, serves]
    if "--dry-run" not in options:
        moved = {**MAIN, "policy": "always"}
        answers += [serves, moved, moved]
    assert run("restart-openvpn", "-c", config, *options)[0] == 0
    assert asked[:3] == ["look", "wait", "wait"]
    assert orders == ([] if "--dry-run" in options else [f"start --no-block {BOTH[1]}"])


def test_where_it_never_finds_who_serves_nothing_begins(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    asked, answers = daemon
    unsettled = {"settled": False, "obstacles": ["it is not known yet which process serves"]}
    answers += [BEGUN | unsettled]
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, asked, orders) == (3, ["look"], [])
    assert "not known yet which process serves" in err


@pytest.mark.parametrize(
    "then",
    [
        {"settled": False},
        {"serving": "spare"},
        {"places": {"main": "standby", "spare": "standby"}, "pids": {"main": 10, "spare": OLD}},
    ],
)
def test_the_unit_of_one_that_may_serve_is_not_restarted(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch, then: dict[str, Any]
) -> None:
    """The sidecar is started anew after the look, or has found by now who serves."""

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        return BEGUN if request.step == "look" else BEGUN | then

    monkeypatch.setattr(control, "ask_plain", answer)
    assert run("restart-openvpn", "-c", config, "--within", "100ms")[0] == 1
    assert orders == [f"start --no-block {UNIT}"]


def test_where_none_is_served_one_that_comes_back_is_not_taken_for_another_one(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = {"policy": "always"}
    away = APART | policy | {"places": {"main": "standby", "spare": "absent"}, "pids": {"main": 10}}
    there = APART | policy | {"pids": {"main": 10, "spare": OLD}}

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        return there if request.step == "wait" else away

    monkeypatch.setattr(control, "ask_plain", answer)
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


def test_a_spare_that_is_always_there_goes_on_serving(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    asked, answers = daemon
    always = {"policy": "always"}
    answers += [LOOK | always, LOOK | always, SPARE | always, SPARE | always]
    assert run("restart-openvpn", "-c", config, "udp")[0] == 0
    assert asked == ["look", "renew", "move", "renew"]
    assert orders == [f"start --no-block {UNIT}"]


def test_a_reload_leaves_both_running(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = daemon
    monkeypatch.setenv("MAINPID", "77")
    answers += [LOOK, LOOK, SPARE, SPARE]
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert asked == ["look", "renew", "move", "renew"]
    assert orders == [f"start --no-block {UNIT}"]


def test_a_reload_that_would_wait_for_itself_is_refused_at_once(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd starts no process of a unit anew while its reload runs: the second one of a row."""
    asked, answers = daemon
    monkeypatch.setenv("MAINPID", "10")
    answers += [SPARE]
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, asked, orders) == (3, ["look"], [])
    assert "the spare process serves, by another unit" in err
    assert f"systemctl reload {UNIT}, or ovpnha restart-openvpn udp" in " ".join(err.split())


def test_one_restart_of_a_server_goes_on_at_a_time(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """The second one would end what the first one falls back on."""
    asked, answers = daemon
    answers += [LOOK, LOOK, LOOK]
    lock = config.with_name(LOCK.format("udp"))
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = run("restart-openvpn", "-c", config)
        assert (code, asked, orders) == (1, ["look", "look"], [])
        assert "another restart of it is under way" in err
        assert run("restart-openvpn", "-c", config, "--dry-run")[0] == 0
    answers += [LOOK, LOOK, FAILED]
    run("restart-openvpn", "-c", config)
    assert "move" in asked


def test_what_another_restart_has_changed_until_now_is_looked_at_again(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended between the first look and the lock: the role is elsewhere by now."""
    answers = [LOOK, {**SPARE, "obstacles": ["another restart is under way"]}]

    def answer(*_: Any) -> dict[str, Any]:
        return answers.pop(0)

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders, answers) == (3, [], [])
    assert "another restart is under way" in err


def test_a_lock_that_cannot_be_had_is_told(config: Path, daemon: Daemon, orders: list[str]) -> None:
    lock = config.with_name(LOCK.format("udp"))
    lock.symlink_to(config)
    daemon[1].extend([LOOK, LOOK, SPARE, SPARE, MAIN])
    code, _, err = run("restart-openvpn", "-c", config)
    assert code == 0
    assert f"{lock}: " in err.replace("\n", "")
    assert "nothing keeps another restart from going on meanwhile" in " ".join(err.split())
    assert orders[-1] == f"stop {UNIT}"


def test_a_spare_that_serves_gives_the_role_back_and_is_stopped(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    _, answers = daemon
    there = {**SPARE, "phase": ""}
    answers += [there, there, MAIN]
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert orders[-1] == f"stop {UNIT}"


def test_one_that_waits_for_a_socket_is_ended(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answers = daemon
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _number: ended.append(pid))
    failed = {**LOOK, "phase": "failed", "reason": "the other process does not run"}
    answers += [LOOK, {**LOOK, "waiting": 88}, failed]
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, ended) == (1, [88])
    assert err.endswith("udp: the other process does not run; the main process serves on\n")
    assert orders == [f"start --no-block {UNIT}"]


def test_one_that_waits_and_that_an_ordinary_user_cannot_end_is_told(
    config: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    daemon[1].extend([LOOK, {**LOOK, "waiting": 88}, LOOK, LOOK])
    code, _, err = run("restart-openvpn", "-c", config, "--no-start")
    assert code == 1
    assert "process 88, which waits for descriptors, cannot be ended: be root; the main" in err


# What was lent is taken back.

ALONE: dict[str, Any] = {**LOOK, "places": {"main": "master", "spare": "absent"}}


def test_a_spare_that_was_lent_is_stopped_when_nothing_comes_of_it(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """It has everything, and would go on when the usual unit is stopped or restarted."""
    daemon[1].extend([ALONE, ALONE, FAILED, FAILED])
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (1, [f"restart --no-block {UNIT}", f"stop --no-block {UNIT}"])
    assert err.endswith("it differs; the main process serves on\n")


def test_so_is_one_that_cannot_start_at_all_when_the_command_is_ended(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon gives the move up first, which would have gone on for its time."""
    asked, answers = daemon
    waits = {**ALONE, "phase": "waiting", "reason": "the other process does not run"}
    answers.extend([ALONE, ALONE, waits, *[{**ALONE, "phase": "failed"}] * 3])
    ask = control.ask_plain

    def interrupt(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "wait":
            raise KeyboardInterrupt
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", interrupt)
    assert run("restart-openvpn", "-c", config)[0] == 1
    assert asked == ["look", "renew", "move", "cancel", "look", "look"]
    assert orders == [f"restart --no-block {UNIT}", f"stop --no-block {UNIT}"]


@pytest.mark.parametrize(
    ("last", "says"),
    [
        ({**SPARE, "phase": ""}, "the spare process stays, as it serves"),
        ({**LOOK, "places": {}, "pids": {}}, "the spare process stays, as it may serve"),
        (
            {**LOOK, "places": {"main": "standby"}, "pids": {"main": 10}, "settled": False},
            "the spare process stays, as it may serve",
        ),
    ],
)
def test_a_spare_that_was_lent_and_may_serve_stays(
    config: Path, daemon: Daemon, orders: list[str], last: dict[str, Any], says: str
) -> None:
    """Also where the sidecar has just begun, and knows of no process."""
    forgot = {**LOOK, "places": {}, "pids": {}}
    daemon[1].extend([ALONE, ALONE, forgot, last])
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (1, [f"restart --no-block {UNIT}"])
    assert says in err


def test_one_that_is_about_to_serve_stays(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar is one that gives no move up: it has not been started anew for an upgrade."""
    asked, answers = daemon
    waits = {**LOOK, "phase": "waiting"}
    answers.extend([ALONE, ALONE, waits, waits, waits])
    ask = control.ask_plain

    def interrupt(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "wait":
            raise KeyboardInterrupt
        if request.step == "cancel":
            raise ControlError("not a valid request")
        if request.step == "renew" and "renew" in asked:
            raise ControlError("udp: the spare process cannot be ended now; try again")
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", interrupt)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (1, [f"restart --no-block {UNIT}"])
    assert f"as it may serve; if it does not: systemctl stop {UNIT}" in " ".join(err.split())


def test_who_tries_a_program_ends_nobody_whom_a_new_sidecar_does_not_know_yet(
    trial: Trial,
) -> None:
    trial.answers.extend([LOOK, LOOK, FAILED, {**LOOK, "places": {}, "pids": {}}])
    code, _, err = trial.run()
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process may run what was tried: start it anew" in err


def test_a_new_process_that_dies_is_told(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answers = daemon
    monkeypatch.setattr(restartsteps, "WATCH", 60.0)
    answers += [LOOK, LOOK, SPARE, LOOK]
    code, out, err = run("restart-openvpn", "-c", config)
    assert (code, out, len(orders)) == (1, "", 1)
    assert "the spare process has died, see the log of OpenVPN; the main process serves on" in err


def test_what_stands_against_it_begins_nothing(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    asked, answers = daemon
    answers.append({**LOOK, "obstacles": ["OpenVPN is absent"]})
    assert run("restart-openvpn", "-c", config) == (3, "", "ovpnha: udp: OpenVPN is absent\n")
    assert (asked, orders) == (["look"], [])


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The units whose processes run, by their numbers, as ``put`` has them written."""
    monkeypatch.setattr(restartunits, "PROCESSES", tmp_path / "proc")
    return {}


def put(processes: dict[int, str], tmp_path: Path) -> None:
    for pid, unit in processes.items():
        (tmp_path / "proc" / str(pid)).mkdir(parents=True)
        text = f"0::/system.slice/system-openvpn.slice/{unit}\n"
        (tmp_path / "proc" / str(pid) / "cgroup").write_text(text)


STOCK = "openvpn-server@udp.service"


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--force",)])
def test_a_server_of_another_unit_is_not_touched(
    config: Path,
    daemon: Daemon,
    orders: list[str],
    tmp_path: Path,
    processes: dict[int, str],
    options: tuple[str, ...],
) -> None:
    """To start ours would have systemd stop the one that serves."""
    asked, answers = daemon
    answers.append({**LOOK, "pids": {"main": 30}, "places": {"main": "master"}})
    processes[30] = STOCK
    put(processes, tmp_path)
    code, out, err = run("restart-openvpn", "-c", config, *options)
    assert (code, out, asked, orders) == (3, "", ["look"], [])
    err = " ".join(err.split())
    assert f"the main process (pid 30, of {STOCK}) is not that of {BOTH[1]}" in err
    assert f"systemctl disable --now {STOCK}, then systemctl enable --now {BOTH[1]}" in err


def test_nor_is_a_spare_of_no_unit_that_serves(
    config: Path, daemon: Daemon, orders: list[str], tmp_path: Path, processes: dict[int, str]
) -> None:
    """The way back would start a main process, and stop what is not there."""
    daemon[1].append({**SPARE, "pids": {"main": 10, "spare": 31}})
    processes |= {10: BOTH[1], 31: "session-1.scope"}
    put(processes, tmp_path)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (3, [])
    assert "the spare process (pid 31) is not that of" in err
    assert "end process 31; or start and end processes yourself" in " ".join(err.split())


@pytest.mark.parametrize(
    ("pid", "unit", "says"),
    [
        (30, "openvpn-cluster@server.service", 'server_config = "/etc/openvpn/server/server.conf"'),
        (30, UNIT, "exchange management and spare_management"),
        (30, BOTH[1], f"in {BOTH[1]}, but not its main process (pid 10): let ExecStart="),
    ],
)
@pytest.mark.parametrize("options", [("--dry-run",), ("--force",)])
def test_nobody_is_told_to_end_a_process_of_our_own_units(  # noqa: PLR0913
    config: Path,
    daemon: Daemon,
    orders: list[str],
    tmp_path: Path,
    processes: dict[int, str],
    pid: int,
    unit: str,
    says: str,
    options: tuple[str, ...],
) -> None:
    """It is the server: what is to be corrected is the name, or how it is started."""
    daemon[1].append({**LOOK, "pids": {"main": pid}, "places": {"main": "master"}})
    processes[pid] = unit
    put(processes, tmp_path)
    code, _, err = run("restart-openvpn", "-c", config, *options)
    assert (code, orders) == (3, [])
    err = " ".join(err.split())
    assert says in err
    assert "disable" not in err
    assert "end process" not in err


def test_one_that_its_unit_has_left_behind_is_ended_first(
    config: Path,
    daemon: Daemon,
    orders: list[str],
    tmp_path: Path,
    processes: dict[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The unit has no main process, and would start another one beside it."""
    monkeypatch.setattr(restartunits, "_systemctl", lambda *_: "0\n")
    daemon[1].append({**LOOK, "pids": {"main": 30}, "places": {"main": "master"}})
    processes[30] = BOTH[1]
    put(processes, tmp_path)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (3, [])
    assert f"end process 30, then systemctl enable --now {BOTH[1]}" in " ".join(err.split())


def test_a_process_whose_number_nobody_knows_is_its_units_if_that_runs_any(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it has none in the sidecar's container."""
    unknown = {**LOOK, "pids": {}}
    daemon[1].append(unknown)
    assert run("restart-openvpn", "-c", config, "--dry-run")[0] == 0
    monkeypatch.setattr(restartunits, "_systemctl", lambda *_: "0\n")
    daemon[1].append(unknown)
    code, _, err = run("restart-openvpn", "-c", config, "--dry-run")
    assert (code, orders) == (3, [])
    assert "the main process (no process of this host) is not that of" in err


def test_a_process_that_has_ended_meanwhile_is_nobodys(
    config: Path, daemon: Daemon, orders: list[str], processes: dict[int, str]
) -> None:
    """One that systemd starts anew all the time has always another number."""
    assert (orders, processes) == ([], {})
    daemon[1].append({**LOOK, "pids": {"main": 10, "spare": 44}})
    assert run("restart-openvpn", "-c", config, "--dry-run")[0] == 0


def test_where_systemd_does_not_answer_nothing_begins(
    config: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> str:
        raise UnitError("systemctl show: no bus")

    monkeypatch.setattr(restartunits, "_systemctl", refuse)
    daemon[1].append(LOOK)
    assert run("restart-openvpn", "-c", config) == (3, "", "ovpnha: udp: systemctl show: no bus\n")
    daemon[1].append(LOOK)
    assert run("restart-openvpn", "-c", config, "--no-start", "--dry-run")[0] == 0


def test_a_dry_run_says_what_would_be_done(config: Path, daemon: Daemon, orders: list[str]) -> None:
    _, answers = daemon
    answers.append(LOOK)
    code, out, _ = run("restart-openvpn", "-c", config, "--dry-run")
    assert (code, len(out.splitlines()), orders) == (0, 6, [])
    assert "the spare process is stopped" in out


def test_programs_get_the_outcome(config: Path, daemon: Daemon) -> None:
    _, answers = daemon
    answers += [LOOK, LOOK, SPARE, SPARE]
    code, out, _ = run("restart-openvpn", "-c", config, "--json", "--no-start")
    assert code == 0
    assert '"serving": "spare"' in out


def test_a_unit_that_cannot_be_started_ends_it(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = restartunits._systemctl
    assert orders == []

    def refuse(*arguments: str) -> str:
        if arguments[0] == "start":
            raise UnitError("systemctl start: no such unit")
        return order(*arguments)

    monkeypatch.setattr(restartunits, "_systemctl", refuse)
    daemon[1].extend([LOOK, LOOK, LOOK, LOOK])
    code, _, err = run("restart-openvpn", "-c", config)
    assert code == 1
    assert "no such unit; the main process serves" in err


@pytest.mark.parametrize(
    ("option", "says"),
    [(("--within", "4000s"), "100ms to 1h"), (("--binary", "/none"), "no program")],
)
def test_what_makes_no_sense_is_refused(config: Path, option: tuple[str, str], says: str) -> None:
    code, _, err = run("restart-openvpn", "-c", config, *option)
    assert code == 2
    assert says in err


# Another program.


def used(tmp_path: Path) -> dict[str, str]:
    """What the drop-ins of the units start."""
    found = (tmp_path / "units").glob("*.d/ovpnha-binary.conf")
    return {one.parent.name.removesuffix(".d"): one.read_text() for one in found}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    made = tmp_path / "openvpn-new"
    made.touch(0o755)
    return made


@dataclass(frozen=True)
class Trial:
    """A restart to another program, and what comes of it."""

    config: Path
    program: Path
    answers: list[dict[str, Any]]  # the daemon's
    orders: list[str]
    directory: Path

    def run(self, *options: str) -> tuple[int, str, str]:
        return run("restart-openvpn", "-c", self.config, "--binary", self.program, *options)

    @property
    def used(self) -> dict[str, str]:
        return used(self.directory)


@pytest.fixture
def trial(config: Path, daemon: Daemon, orders: list[str], tmp_path: Path, program: Path) -> Trial:
    return Trial(config, program, daemon[1], orders, tmp_path)


def note_renewals(monkeypatch: pytest.MonkeyPatch, orders: list[str]) -> None:
    """Among the orders, when a process is told to end."""
    ask = control.ask_plain

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "renew":
            orders.append("renew")
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)


@pytest.mark.parametrize("policy", ["restart", "always"])
def test_another_program_is_that_of_both_units_before_a_process_ends(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """systemd starts anew what has ended, within 0.2 s."""
    note_renewals(monkeypatch, trial.orders)
    answers = (
        [LOOK, LOOK, SPARE, SPARE, MAIN] if policy == "restart" else [LOOK, LOOK, SPARE, SPARE]
    )
    trial.answers.extend(answer | {"policy": policy} for answer in answers)
    assert trial.run()[0] == 0
    assert trial.orders[:2] == ["daemon-reload", "renew"]
    line = f"ExecStart={trial.program} --status s.log --config udp.conf\n"
    assert trial.used == dict.fromkeys(BOTH, f"[Service]\nExecStart=\n{line}")


def test_the_next_restart_is_to_the_installed_program(
    config: Path, daemon: Daemon, orders: list[str], tmp_path: Path, program: Path
) -> None:
    for more in (["--binary", str(program)], []):
        daemon[1].extend([LOOK, LOOK, SPARE, SPARE, MAIN])
        assert run("restart-openvpn", "-c", config, *more)[0] == 0
    assert used(tmp_path) == {}
    assert orders.count("daemon-reload") == 2


@pytest.fixture
def cut_off(trial: Trial) -> Trial:
    """Somebody has tried the program, and was killed."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        OtherUnits(load_config(trial.config, "a").instance[0]).use(trial.program)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert str(trial.program) in trial.used[UNIT]
    return trial


@pytest.mark.parametrize("again", [False, True])
def test_what_was_cut_off_is_taken_back_first(cut_off: Trial, again: bool) -> None:
    """Also when the next one fails: what was there before both is there again."""
    cut_off.answers.extend([THERE, THERE, {**THERE, **FAILED}, *([THERE] if again else [])])
    options: list[str | Path] = ["--binary", cut_off.program] if again else []
    code, _, err = run("restart-openvpn", "-c", cut_off.config, *options)
    assert code == 1
    assert f"an earlier restart with {cut_off.program} was cut off" in err
    assert cut_off.orders[0] == "daemon-reload"
    assert cut_off.used == {}
    assert not list(cut_off.directory.glob("units/*.d/*"))


def test_what_was_cut_off_is_told(cut_off: Trial) -> None:
    config = load_config(cut_off.config, "a")
    said = [line for line in lint(config, NetworkTable()) if "cut off" in line]
    assert said == [
        f"instance[udp]: a restart that tried {cut_off.program} was cut off, and its units start"
        " that program still; ovpnha restart-openvpn udp"
    ]


def test_of_two_that_try_a_program_the_second_is_refused(trial: Trial) -> None:
    units = OtherUnits(load_config(trial.config, "a").instance[0])
    units.use(trial.program)
    assert OtherUnits(load_config(trial.config, "a").instance[0]).find_cut_off() == ""
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert code == 1
    assert f"another restart is under way, which tries {trial.program}" in err
    units.keep()
    assert str(trial.program) in trial.used[UNIT]
    assert units.find_cut_off() == ""


def test_a_mark_that_cannot_be_written_leaves_none(trial: Trial) -> None:
    units = OtherUnits(load_config(trial.config, "a").instance[0])
    trial.directory.joinpath("units").mkdir()
    (trial.directory / "units" / f"{BOTH[1]}.d").touch()
    with pytest.raises(UnitError, match="File exists"):
        units.use(trial.program)
    assert units.find_cut_off() == ""
    assert trial.used == {}


def test_a_program_that_passed_once_comes_back_after_a_trial_that_was_cut_off(
    cut_off: Trial,
) -> None:
    units = OtherUnits(load_config(cut_off.config, "a").instance[0])
    before = dict.fromkeys(map(str, units._files().values()), "[Service]\nExecStart=/passed\n")
    text = json.dumps({"program": "/tried", "before": before})
    mark_of(units._marked).write_text(text)
    assert units.take_back_cut_off() == "/tried"
    assert cut_off.used == dict.fromkeys(BOTH, "[Service]\nExecStart=/passed\n")
    assert units.take_back_cut_off() == ""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_program_that_has_passed_has_passed_in_both_units_whenever_it_is_killed(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """By SIGKILL at any file that is taken away, or afterwards: all of it counts, or nothing."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        units = OtherUnits(load_config(trial.config, "a").instance[0])
        units.use(trial.program)
        calls, unlink = itertools.count(1), Path.unlink

        def killed(path: Path, missing_ok: bool = False) -> None:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", killed)
        units.keep()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    OtherUnits(load_config(trial.config, "a").instance[0]).take_back_cut_off()
    assert set(trial.used) in (set(), set(BOTH))


def test_a_program_that_has_passed_stays_whatever_becomes_of_the_way_back(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes it for one that was cut off, from the moment on in which it has passed."""
    ask, moves = control.ask_plain, itertools.count(1)
    seen: list[str] = []

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "move" and next(moves) == 2:
            marks = trial.directory.glob("units/*.d/*.before")
            seen.extend(one.name for one in marks)
            seen.append("moves back")
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)
    trial.answers.extend([LOOK, LOOK, SPARE, SPARE, MAIN])
    assert trial.run()[0] == 0
    assert seen == ["moves back"]
    assert set(trial.used) == set(BOTH)


@pytest.mark.parametrize("text", ["", "/tried\n", "[]", '{"program": "x"}', '{"before": 3}'])
def test_a_mark_that_says_nothing_is_none(trial: Trial, text: str) -> None:
    units = OtherUnits(load_config(trial.config, "a").instance[0])
    units._marked.parent.mkdir(parents=True)
    mark_of(units._marked).write_text(text)
    assert (units.find_cut_off(), units.take_back_cut_off()) == ("", "")


def test_a_program_that_did_not_come_to_serve_is_started_by_nobody_later(trial: Trial) -> None:
    trial.answers.extend([THERE, THERE, {**THERE, **FAILED}, THERE])
    assert trial.run()[0] == 1
    assert trial.used == {}
    assert trial.orders[-2:] == ["daemon-reload", f"restart --no-block {UNIT}"]


@pytest.mark.parametrize("policy", ["restart", "always"])
def test_a_program_that_served_and_died_is_started_by_nobody_later(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Nor does it stay beside the one that serves, to go on when that dies."""
    monkeypatch.setattr(restartsteps, "WATCH", 60.0)
    gone = {**LOOK, "places": {"main": "master", "spare": "absent"}}
    answers = (gone, LOOK, SPARE, LOOK, LOOK)
    trial.answers.extend(answer | {"policy": policy} for answer in answers)
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    order = "stop" if policy == "restart" else "restart"
    assert trial.orders[-2:] == ["daemon-reload", f"{order} --no-block {UNIT}"]
    assert err.endswith("see the log of OpenVPN; the main process serves on\n")


def test_one_that_died_with_the_role_that_it_had_again_is_not_started_either(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_after_the_second_move(monkeypatch)
    trial.answers.extend([LOOK, LOOK, SPARE, SPARE, MAIN, SPARE, SPARE])
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    assert trial.orders[-2:] == ["daemon-reload", f"restart --no-block {BOTH[1]}"]
    assert err.endswith("see the log of OpenVPN; the spare process serves on\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_it_leaves_no_program_that_has_not_served(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A lost terminal or SIGTERM is as Ctrl-C; a second one does not keep it from that."""
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)]
    waits = {**LOOK, "phase": "waiting"}
    trial.answers.extend([THERE, LOOK, waits, *[{**LOOK, "phase": "failed"}] * 3])
    ask, order = control.ask_plain, restartunits._systemctl

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step in ("wait", "cancel"):
            signal.raise_signal(number)
        return ask(path, request, timeout)

    def ordered(*arguments: str) -> str:
        if arguments[0] == "restart":
            signal.raise_signal(number)
        return order(*arguments)

    monkeypatch.setattr(control, "ask_plain", asked)
    monkeypatch.setattr(restartunits, "_systemctl", ordered)
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    assert trial.orders[-1] == f"restart --no-block {UNIT}"
    assert err.endswith("ovpnha: udp: was ended; the main process serves\n")
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)] == before


def test_who_ends_it_in_the_midst_of_a_move_ends_no_process_that_gets_the_role(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended then, it would cost every client a second takeover."""
    waits, holds = {**LOOK, "phase": "waiting"}, {**APART, "phase": "holding"}
    done = {**SPARE, "phase": "done"}
    trial.answers.extend([THERE, LOOK, waits, holds, done, done, done])
    ask = control.ask_plain
    interrupted: list[str] = []

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "wait" and not interrupted:
            interrupted.append(request.step)
            raise KeyboardInterrupt
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)
    code, _, err = trial.run()
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process runs what was tried, until it is started anew" in err


def test_who_cannot_ask_ends_nobody_who_may_serve(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = control.ask_plain

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if not trial.answers:
            raise control.ControlError("control.sock: ovpnha does not run here")
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process may run what was tried" in err
    assert "ovpnha does not run here; who serves is not known" in err


def test_one_that_serves_is_not_ended_for_what_it_runs(trial: Trial) -> None:
    """The sidecar that was to move the role was started anew, and finds it moved."""
    forgot = {**SPARE, "phase": ""}
    trial.answers.extend([LOOK, LOOK, forgot, forgot])
    code, _, err = trial.run("--force")
    assert (code, trial.used, trial.orders[-1]) == (1, {}, "daemon-reload")
    assert "the spare process runs what was tried, until it is started anew" in err
    assert err.endswith(f"{restartsteps.FORGOTTEN}; the spare process serves on\n")


def test_who_cannot_take_a_program_out_again_says_so(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = restartunits._systemctl

    def refuse(*arguments: str) -> str:
        if arguments[0] == "daemon-reload" and not trial.used:
            raise UnitError("systemctl daemon-reload: refused")
        return order(*arguments)

    monkeypatch.setattr(restartunits, "_systemctl", refuse)
    trial.answers.extend([LOOK, LOOK, FAILED, LOOK])
    code, _, err = trial.run()
    assert (code, len(trial.orders)) == (1, 2)
    assert "refused; the units may start what was tried, until that is done" in err
    assert err.endswith("; the main process serves\n")


def test_a_directory_that_cannot_be_written_is_told(trial: Trial) -> None:
    (trial.directory / "units").touch()
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert (code, trial.orders) == (1, [])
    assert "be root; the main process serves" in err


def test_a_unit_that_is_not_there_gets_no_program(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = restartunits._systemctl
    known = "--property=MainPID"
    monkeypatch.setattr(restartunits, "_systemctl", lambda *a: order(*a) if known in a else "\n")
    trial.answers.extend([LOOK, LOOK])
    code, _, err = trial.run()
    assert (code, trial.used) == (1, {})
    assert "no unit openvpn-cluster@udp.service that starts OpenVPN; the main process serves" in err


# By force.


@pytest.mark.parametrize("policy", ["restart", "always"])
def test_by_force_clients_may_notice(
    config: Path, daemon: Daemon, orders: list[str], policy: str
) -> None:
    """The usual process is restarted by one job of systemd's, which nothing leaves half done."""
    answers = (LOOK, LOOK, FAILED, LOOK, STARTED)
    daemon[1].extend(answer | {"policy": policy} for answer in answers)
    code, out, err = run("restart-openvpn", "-c", config, "--force")
    main, spare = "openvpn-cluster@udp.service", UNIT
    again = [f"start --no-block {spare}"] if policy == "always" else []
    assert code == 0
    assert orders[1:] == [f"stop {spare}", f"restart {main}", *again]
    assert "it differs; the main process serves on" in err
    assert err.endswith(
        "udp: OpenVPN is stopped and started, its clients reconnect\n"
        "udp: 1 of 2 clients are told to reconnect\n"
        "udp: 2 clients were told to reconnect, one after the other\n"
    )
    assert daemon[0][-4:] == ["farewell", "farewell", "stay", "wait"]
    assert out == "udp: OpenVPN was stopped and started; the main process serves\n"


def test_a_sidecar_that_tells_nobody_is_no_end_of_it(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of before, or one that hangs: OpenVPN itself tells the clients, or they find out."""
    against = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        if request.step in ("farewell", "stay"):
            raise ControlError("no such step")
        return STARTED if f"restart {BOTH[1]}" in orders else against

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, orders[-1]) == (0, f"restart {BOTH[1]}")
    assert "clients are not told one after the other: no such step" in err


def test_one_that_comes_to_no_end_of_telling_is_not_waited_for(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restartfarewell, "AT_MOST", 0.0)
    against = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        if request.step == "farewell":
            return {**against, "clients": 5, "telling": True}
        return STARTED if f"restart {BOTH[1]}" in orders else against

    monkeypatch.setattr(control, "ask_plain", answer)
    assert run("restart-openvpn", "-c", config, "--force")[0] == 0


def test_who_changes_his_mind_while_they_are_told_ends_nothing(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has been told comes back to the one that serves on."""
    against = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}
    asked: list[str] = []

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        asked.append(request.step)
        if asked.count("farewell") > 1:
            asked.clear()
            raise KeyboardInterrupt
        return {**against, "clients": 5, "told": 1, "telling": True}

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, asked[0]) == (1, "stay")
    assert not [one for one in orders if one.startswith("restart")]
    assert "was ended; the main process serves" in err


def test_who_changes_his_mind_before_they_are_told_ends_nothing(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the second process is stopped, which may take a while."""
    against = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}
    asked: list[str] = []

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        asked.append(request.step)
        return against

    def interrupt(_units: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(control, "ask_plain", answer)
    monkeypatch.setattr(restartunits.OtherUnits, "stop_spare", interrupt)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert code == 1
    assert "farewell" not in asked
    assert not [one for one in orders if one.startswith("restart")]
    assert "was ended; the main process serves" in err


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("job", [True, False])
def test_ended_when_all_are_told_they_come_back_unless_systemd_is_at_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, job: bool
) -> None:
    """It goes on without the command; who were let in then would be thrown out twice."""
    against = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}
    asked: list[str] = []

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        asked.append(request.step)
        return {**against, **TOLD} if request.step == "farewell" else against

    def interrupt(_units: Any, _serving: Any, farewell: Callable[[], None]) -> None:
        farewell()
        raise KeyboardInterrupt

    monkeypatch.setattr(control, "ask_plain", answer)
    monkeypatch.setattr(restartunits.OtherUnits, "restart", interrupt)
    monkeypatch.setattr(restartunits.OtherUnits, "is_at_it", lambda _: job)
    assert run("restart-openvpn", "-c", config, "--force")[0] == 1
    assert "farewell" in asked
    assert ("stay" in asked) is not job


@pytest.mark.parametrize(
    ("shown", "job"), [("", False), ("\n\n", False), ("0\n\n0\n", False), ("\n\n5124\n", True)]
)
def test_whether_systemd_is_at_it_is_asked_of_both_units(
    config: Path, monkeypatch: pytest.MonkeyPatch, shown: str, job: bool
) -> None:
    asked: list[str] = []

    def answer(*arguments: str) -> str:
        asked.extend(arguments)
        return shown

    units = OtherUnits(load_config(config, "a").instance[0])
    monkeypatch.setattr(restartunits, "_systemctl", answer)
    assert units.is_at_it() is job
    assert {UNIT, BOTH[1]} <= set(asked)


def test_a_systemd_that_does_not_say_is_at_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: str) -> str:
        raise UnitError("no bus")

    units = OtherUnits(load_config(config, "a").instance[0])
    monkeypatch.setattr(restartunits, "_systemctl", refuse)
    assert not units.is_at_it()


def test_when_the_sidecar_comes_to_tell_nobody_more_it_is_said(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its OpenVPN does not answer any more, or is no master for a moment: it may be soon."""
    monkeypatch.setattr(restartfarewell, "BY_NOBODY", 0.05)
    monkeypatch.setattr(restartfarewell, "LOOK_EVERY", 0.01)
    against = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}
    asked: list[str] = []

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        asked.append(request.step)
        if request.step == "farewell":
            return {**against, "clients": 5, "told": 3}
        return STARTED if f"restart {BOTH[1]}" in orders else against

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, orders[-1]) == (0, f"restart {BOTH[1]}")
    assert asked.count("farewell") > 1
    assert "3 of 5 clients were told to reconnect, no more" in err


def test_by_force_the_process_that_serves_goes_last(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """The usual one would serve for a moment when the other ends, and be ended, too."""
    failed = {**SPARE, "phase": "failed", "reason": "it differs"}
    served = {**SPARE, "phase": ""}
    daemon[1].extend([served, served, failed, served, STARTED])
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert code == 0
    assert orders[-2:] == [f"restart {BOTH[1]}", f"stop {UNIT}"]
    assert "it differs" in err


def test_by_force_one_that_does_not_end_when_it_is_asked_is_no_end_of_it(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = "the spare process was told to end and has not; see its log"

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        if request.step == "renew":
            raise ControlError(f"udp: {hangs}")
        return STARTED if f"restart {BOTH[1]}" in orders else LOOK

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert code == 0
    assert orders == [f"stop {UNIT}", f"restart {BOTH[1]}"]
    assert f"ovpnha: udp: {hangs}" in " ".join(err.split())


def test_by_force_nobody_is_thrown_out_when_the_answer_alone_was_lost(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar was away as the move came to its end: the new process serves."""
    lost: list[bool] = []

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        if request.step == "move":
            lost.append(True)
            raise ControlError("the daemon does not answer")
        return SPARE if lost else LOOK

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert code == 1
    assert "the spare process serves" in err
    assert not [one for one in orders if one.startswith(("restart", "stop"))]


YOUNG: dict[str, Any] = {**LOOK, "places": {}, "pids": {}}
"""A sidecar that has just begun, and has no word of a process."""


@pytest.mark.parametrize("after", [{**LOOK, "phase": "waiting"}, YOUNG, STARTED])
def test_by_force_only_with_proof_that_the_one_from_before_serves(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch, after: dict[str, Any]
) -> None:
    """The answer is lost while the move waits: by the next look the new process may serve."""
    answers = [LOOK, LOOK, LOOK, {**LOOK, "phase": "waiting"}, after]

    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        if request.step == "wait":
            raise ControlError("the daemon does not answer")
        return answers.pop(0) if answers else SPARE

    monkeypatch.setattr(control, "ask_plain", answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert code == 1
    assert "does not answer; the spare process serves" in err
    assert orders == [f"start --no-block {UNIT}"]


@pytest.mark.parametrize("young", [False, True])
def test_by_force_what_has_come_meanwhile_is_seen(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch, young: bool
) -> None:
    """A new sidecar knows nothing of the move, and finds the new process in a moment."""
    answers = [LOOK, LOOK, LOOK, YOUNG if young else FAILED, *([YOUNG] if young else [])]
    monkeypatch.setattr(
        control, "ask_plain", lambda *_: answers.pop(0) if answers else {**SPARE, "phase": ""}
    )
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert code == 1
    assert err.endswith(f"{restartsteps.CHANGED}; the spare process serves\n")
    assert orders == [f"start --no-block {UNIT}"]


def test_by_force_on_a_node_that_serves_nobody_one_that_hangs_is_no_end_of_it(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_path: Any, request: Any, _timeout: float) -> dict[str, Any]:
        if request.step == "renew":
            raise ControlError("udp: the spare process was told to end and has not; see its log")
        return APART | {"pids": {"main": 11 if f"restart {BOTH[1]}" in orders else 10}}

    monkeypatch.setattr(control, "ask_plain", answer)
    assert run("restart-openvpn", "-c", config, "--force")[0] == 0
    assert orders == [f"stop {UNIT}", f"restart {BOTH[1]}"]


@pytest.mark.parametrize("earlier", ["", "done", "failed"])
def test_by_force_nothing_stands_against_it(
    config: Path, daemon: Daemon, orders: list[str], earlier: str
) -> None:
    """Whatever has become of an earlier restart."""
    daemon[1].append(
        {**LOOK, "phase": earlier, "obstacles": ["OpenVPN shares its socket with nobody"]}
    )
    daemon[1].extend([LOOK, STARTED])
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, len(orders)) == (0, 2)
    assert "shares its socket with nobody" in err


def test_by_force_one_that_hangs_is_started_whatever_becomes_of_the_other(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spare that does not stop in time keeps nobody from starting the one that clients need."""
    order = restartunits._systemctl

    def late(*arguments: str) -> str:
        order(*arguments)
        if arguments[0] == "stop":
            raise UnitError("systemctl stop: timed out")
        return ""

    monkeypatch.setattr(restartunits, "_systemctl", late)
    gone = {**LOOK, "places": {"main": "absent", "spare": "absent"}, "obstacles": ["it is absent"]}
    daemon[1].extend([gone, gone, gone])
    code, out, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, out) == (1, "")
    assert orders == [f"stop {UNIT}", f"restart {BOTH[1]}"]
    assert err.endswith("timed out; no client is served here: the main process is absent\n")


def test_a_program_that_does_not_come_up_by_force_is_taken_out_again(
    config: Path,
    orders: list[str],
    tmp_path: Path,
    program: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restartsteps, "FOUND_WITHIN", 0.0)
    against = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}
    gone = {**LOOK, "places": {"main": "absent"}}
    first = [against, against]

    def answer(*_: Any) -> dict[str, Any]:
        return first.pop() if first else gone

    monkeypatch.setattr(control, "ask_plain", answer)
    options = ("--force", "--binary", str(program), "--within", "100ms")
    code, _, err = run("restart-openvpn", "-c", config, *options)
    assert (code, used(tmp_path)) == (1, {})
    assert orders[-2:] == ["daemon-reload", f"restart --no-block {BOTH[1]}"]
    assert err.endswith("it is absent; no client is served here: the main process is absent\n")


def test_a_new_process_that_serves_is_not_thrown_out_by_force(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """The clients that the first move brought it wait for new keys before they can go back."""
    keys = "7000 clients are still to have new keys"
    daemon[1].extend([LOOK, LOOK, SPARE, SPARE, {**SPARE, "phase": "failed", "reason": keys}])
    code, out, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, out) == (0, "udp: the spare process serves, no client was told\n")
    assert orders == [f"start --no-block {one}" for one in BOTH]
    assert keys in err


def test_nor_is_the_old_one_when_the_new_one_has_died(
    config: Path, daemon: Daemon, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restartsteps, "WATCH", 60.0)
    daemon[1].extend([LOOK, LOOK, SPARE, LOOK])
    assert run("restart-openvpn", "-c", config, "--force")[0] == 1
    assert orders == [f"start --no-block {UNIT}"]


def test_force_is_not_needed_where_nobody_notices(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    daemon[1].extend([LOOK, LOOK, SPARE, SPARE, MAIN])
    assert run("restart-openvpn", "-c", config, "--force")[0] == 0
    assert not any(one.startswith("stop openvpn-cluster@") for one in orders)


def test_a_dry_run_with_force_says_what_stands_against_it(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    daemon[1].append({**LOOK, "obstacles": ["OpenVPN is absent"]})
    assert run("restart-openvpn", "-c", config, "--force", "--dry-run")[0] == 3
    assert orders == []


@pytest.mark.parametrize("option", [("--force",), ("--binary", "/bin/true")])
def test_who_starts_no_units_cannot(config: Path, option: tuple[str, ...]) -> None:
    code, _, err = run("restart-openvpn", "-c", config, "--no-start", *option)
    assert (code, "does not go with --no-start" in err) == (2, True)


def test_a_reload_is_never_forced(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINPID", "77")
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, "a reload of the unit" in err) == (2, True)


def test_an_instance_is_found_by_the_name_of_its_unit(
    config: Path, daemon: Daemon, orders: list[str], tmp_path: Path
) -> None:
    """By which ExecReload and the package call it."""
    text = config.read_text().replace(
        'name = "udp"', f'name = "udp"\nserver_config = "{tmp_path}/office.conf"', 1
    )
    config.write_text(text)
    daemon[1].extend([LOOK, LOOK, SPARE, SPARE, MAIN])
    assert run("restart-openvpn", "-c", config, "office")[0] == 0
    assert orders[-1] == "stop openvpn-cluster-spare@office.service"
