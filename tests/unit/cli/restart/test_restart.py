"""``ovpnha restart-openvpn``: its order, what it starts and stops, what it says, its exit codes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restartsteps
from ovpnha.runtime import control, restartunits
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.restartlock import LOCK
from ovpnha.runtime.restartunits import UnitError
from tests.unit.cli.answers import run
from tests.unit.cli.restart.answers import (
    BOTH,
    FAILED,
    LOOK,
    MAIN,
    OLD,
    PLACES_OF_SPARE,
    SPARE,
    UNIT,
    Daemon,
    answer_steps,
    end_while_waiting,
    watch_after_the_second_move,
)


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


def expect_nothing_anew(config: Path, orders: list[str]) -> None:
    """It fails, says so, and ends nothing."""
    code, out, err = run("restart-openvpn", "-c", config)
    assert (code, out) == (1, "")
    assert "nothing was started anew" in err
    assert f"stop {UNIT}" not in orders


def test_a_process_that_is_not_another_one_is_no_success(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    _, answers = daemon
    there = {**LOOK, "pids": {"main": 10, "spare": 20}}
    answers += [there, there, SPARE]
    expect_nothing_anew(config, orders)


def test_one_that_was_not_reached_and_comes_back_is_not_another_one(
    config: Path, daemon: Daemon, orders: list[str]
) -> None:
    """Its number is known only when the daemon reaches it again: it runs the old program."""
    _, answers = daemon
    away = {**LOOK, "places": {"main": "master", "spare": "absent"}}
    came = {**SPARE, "pids": {"main": 10, "spare": OLD}}
    answers += [away, away, came, came]
    expect_nothing_anew(config, orders)


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

    def answer(step: str) -> dict[str, Any]:
        return BEGUN if step == "look" else BEGUN | then

    answer_steps(monkeypatch, answer)
    assert run("restart-openvpn", "-c", config, "--within", "100ms")[0] == 1
    assert orders == [f"start --no-block {UNIT}"]


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
    end_while_waiting(monkeypatch)
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


def test_what_the_sidecar_refuses_is_told_with_one_name(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(step: str) -> dict[str, Any]:
        if step == "renew":
            raise ControlError("udp: the spare process cannot be ended now; try again")
        return LOOK

    answer_steps(monkeypatch, answer)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders) == (1, [])
    assert err.endswith(
        "ovpnha: udp: the spare process cannot be ended now; try again; the main process serves\n"
    )


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
