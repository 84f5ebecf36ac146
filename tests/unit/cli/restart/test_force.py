"""``ovpnha restart-openvpn --force``: clients may notice, and are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restartfarewell, restartsteps
from ovpnha.config import load_config
from ovpnha.runtime import control, restartunits
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.restartunits import OtherUnits, UnitError
from tests.unit.cli.answers import run
from tests.unit.cli.restart.answers import (
    AGAINST,
    APART,
    BOTH,
    FAILED,
    LOOK,
    MAIN,
    SPARE,
    STARTED,
    TOLD,
    UNIT,
    Daemon,
    answer_steps,
)


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

    def answer(step: str) -> dict[str, Any]:
        if step in ("farewell", "stay"):
            raise ControlError("no such step")
        return STARTED if f"restart {BOTH[1]}" in orders else AGAINST

    answer_steps(monkeypatch, answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, orders[-1]) == (0, f"restart {BOTH[1]}")
    assert "clients are not told one after the other: no such step" in err


def test_one_that_comes_to_no_end_of_telling_is_not_waited_for(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restartfarewell, "AT_MOST", 0.0)

    def answer(step: str) -> dict[str, Any]:
        if step == "farewell":
            return {**AGAINST, "clients": 5, "telling": True}
        return STARTED if f"restart {BOTH[1]}" in orders else AGAINST

    answer_steps(monkeypatch, answer)
    assert run("restart-openvpn", "-c", config, "--force")[0] == 0


def test_who_changes_his_mind_while_they_are_told_ends_nothing(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has been told comes back to the one that serves on."""

    def answer(_step: str) -> dict[str, Any]:
        if asked.count("farewell") > 1:
            asked.clear()
            raise KeyboardInterrupt
        return {**AGAINST, "clients": 5, "told": 1, "telling": True}

    asked = answer_steps(monkeypatch, answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert (code, asked[0]) == (1, "stay")
    assert not [one for one in orders if one.startswith("restart")]
    assert "was ended; the main process serves" in err


def test_who_changes_his_mind_before_they_are_told_ends_nothing(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the second process is stopped, which may take a while."""

    def interrupt(_units: Any) -> None:
        raise KeyboardInterrupt

    asked = answer_steps(monkeypatch, lambda _step: AGAINST)
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

    def answer(step: str) -> dict[str, Any]:
        return {**AGAINST, **TOLD} if step == "farewell" else AGAINST

    def interrupt(_units: Any, _serving: Any, farewell: Callable[[], None]) -> None:
        farewell()
        raise KeyboardInterrupt

    asked = answer_steps(monkeypatch, answer)
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

    def answer(step: str) -> dict[str, Any]:
        if step == "farewell":
            return {**AGAINST, "clients": 5, "told": 3}
        return STARTED if f"restart {BOTH[1]}" in orders else AGAINST

    asked = answer_steps(monkeypatch, answer)
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

    def answer(step: str) -> dict[str, Any]:
        if step == "renew":
            raise ControlError(f"udp: {hangs}")
        return STARTED if f"restart {BOTH[1]}" in orders else LOOK

    answer_steps(monkeypatch, answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force")
    assert code == 0
    assert orders == [f"stop {UNIT}", f"restart {BOTH[1]}"]
    assert f"ovpnha: udp: {hangs}" in " ".join(err.split())


def test_by_force_nobody_is_thrown_out_when_the_answer_alone_was_lost(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar was away as the move came to its end: the new process serves."""
    lost: list[bool] = []

    def answer(step: str) -> dict[str, Any]:
        if step == "move":
            lost.append(True)
            raise ControlError("the daemon does not answer")
        return SPARE if lost else LOOK

    answer_steps(monkeypatch, answer)
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

    def answer(step: str) -> dict[str, Any]:
        if step == "wait":
            raise ControlError("the daemon does not answer")
        return answers.pop(0) if answers else SPARE

    answer_steps(monkeypatch, answer)
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
    def answer(step: str) -> dict[str, Any]:
        if step == "renew":
            raise ControlError("udp: the spare process was told to end and has not; see its log")
        return APART | {"pids": {"main": 11 if f"restart {BOTH[1]}" in orders else 10}}

    answer_steps(monkeypatch, answer)
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


def test_a_spare_that_cannot_be_started_hides_not_that_the_usual_one_has_not_come(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    always = {"policy": "always"}
    order = restartunits._systemctl

    def refuse(*arguments: str) -> str:
        if arguments[0] == "start":
            raise UnitError("systemctl start: refused")
        return order(*arguments)

    def answer(_step: str) -> dict[str, Any]:
        ended = f"restart {BOTH[1]}" in orders
        return {**LOOK, **always, "places": {}} if ended else AGAINST | always

    monkeypatch.setattr(restartunits, "_systemctl", refuse)
    answer_steps(monkeypatch, answer)
    code, _, err = run("restart-openvpn", "-c", config, "--force", "--within", "100ms")
    assert code == 1
    assert "has not come up anew: it is absent; systemctl start: refused; no client is" in err


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
