"""What ``ovpnha restart-openvpn`` has asked for ends with it, however it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restartsteps
from ovpnha.cli.restartcancel import cancelled
from ovpnha.runtime import control, restartunits
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.restartlock import LOCK
from ovpnha.runtime.restartrequest import DONE, RestartAnswer
from tests.unit.cli.answers import run

OBSTACLE = "another restart is under way: wait until it is over"


class Sidecar:
    """One whose main process serves; a move waits until it is cancelled, or ends at once."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.serving, self.phase = "main", ""
        self.pids = {"main": 10, "spare": 20}
        self.asked: list[str] = []
        self.waits = 1  # which move does not end at once
        self.on_wait: Callable[[], None] = lambda: None

    def answer(self, _path: Path, request: Any, _timeout: float) -> dict[str, Any]:
        self.asked.append(request.step)
        match request.step:
            case "move" if self.asked.count("move") == self.waits:
                self.phase = "waiting"
            case "move":
                other = {"main": "spare", "spare": "main"}[self.serving]
                self.serving, self.phase = other, "done"
            case "renew":
                self.pids[request.process] += 1
            case "wait" if self.phase == "waiting":
                self.on_wait()
            case "cancel" if self.phase == "waiting":
                self.phase = "failed"
            case _:
                pass
        return {
            "instance": "udp",
            "policy": self.policy,
            "serving": self.serving,
            "places": {"main": "standby", "spare": "standby", self.serving: "master"},
            "pids": dict(self.pids),
            "phase": self.phase,
            "obstacles": [OBSTACLE] if self.phase == "waiting" else [],
        }


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What systemd was told."""
    told: list[str] = []

    def order(*arguments: str) -> str:
        told.append(" ".join(arguments))
        return ""

    monkeypatch.setattr(restartunits, "_systemctl", order)
    monkeypatch.setattr(restartunits, "DROP_INS", tmp_path / "units")
    monkeypatch.setattr(restartunits.OtherUnits, "find_strangers", lambda *_: ())
    monkeypatch.setattr(restartsteps, "WATCH", 0.0)
    monkeypatch.setattr(restartsteps, "FOUND_WITHIN", 0.0)
    monkeypatch.delenv("MAINPID", raising=False)
    return told


def begin(monkeypatch: pytest.MonkeyPatch, policy: str, error: BaseException) -> Sidecar:
    """A command that is ended as soon as its move waits."""
    one = Sidecar(policy)

    def end() -> None:
        raise error

    one.on_wait = end
    monkeypatch.setattr(control, "ask_plain", one.answer)
    return one


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("options", [(), ("--no-start",)])
@pytest.mark.parametrize("policy", ["always", "restart"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ControlError("control.sock: no answer")])
def test_a_move_that_waits_does_not_outlive_the_command(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    policy: str,
    options: tuple[str, ...],
) -> None:
    one = begin(monkeypatch, policy, error)
    code, _, err = run("restart-openvpn", "-c", config, *options)
    assert (code, one.phase, one.serving) == (1, "failed", "main")
    assert err.endswith("; the main process serves\n")
    one.on_wait = lambda: None
    one.waits = 0
    assert run("restart-openvpn", "-c", config, *options)[0] == 0


def test_nor_does_one_before_the_way_back(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role stays where a line says that it is."""
    one = begin(monkeypatch, "restart", KeyboardInterrupt())
    one.waits = 2
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, one.phase, one.serving) == (1, "failed", "spare")
    assert err.endswith("was ended; the spare process serves\n")
    assert not any(order.startswith("stop") for order in orders)


@pytest.mark.usefixtures("orders")
def test_what_ends_well_is_not_given_up(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Sidecar("restart")
    one.waits = 0
    monkeypatch.setattr(control, "ask_plain", one.answer)
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert "cancel" not in one.asked


@pytest.mark.usefixtures("orders")
def test_with_force_it_is_stopped_and_started_once_nothing_moves(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the wait is one that may be forced, but not while the role may still go."""
    one = begin(monkeypatch, "restart", ControlError("control.sock: no answer"))
    forced: list[str] = []

    def force(this: restartsteps.Restart) -> RestartAnswer:
        forced.append(one.phase)
        return replace(this.first, phase=DONE)

    monkeypatch.setattr(restartsteps.Restart, "force", force)
    assert run("restart-openvpn", "-c", config, "--force")[0] == 0
    assert forced == ["failed"]


@pytest.mark.usefixtures("orders")
def test_what_one_that_was_killed_has_left_is_given_up_by_the_next(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Sidecar("restart")
    one.phase, one.waits = "waiting", 0
    monkeypatch.setattr(control, "ask_plain", one.answer)
    assert run("restart-openvpn", "-c", config)[0] == 0
    assert one.asked.count("cancel") == 1


def test_but_not_where_another_one_may_be_at_it(
    config: Path, orders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config.with_name(LOCK.format("udp")).symlink_to(config)
    one = Sidecar("restart")
    one.phase, one.waits = "waiting", 0
    monkeypatch.setattr(control, "ask_plain", one.answer)
    code, _, err = run("restart-openvpn", "-c", config)
    assert (code, orders, one.phase) == (3, [], "waiting")
    assert OBSTACLE in " ".join(err.split())


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("x")])
def test_a_terminal_that_is_gone_and_a_fault_of_ours_end_it_too(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    one = Sidecar("restart")
    one.phase = "waiting"
    monkeypatch.setattr(control, "ask_plain", one.answer)
    with pytest.raises(type(error)), cancelled(Path("control.sock"), "udp"):
        raise error
    assert one.phase == "failed"


def test_a_sidecar_that_is_gone_waits_for_nobody(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), cancelled(tmp_path / "control.sock", "udp"):
        raise KeyboardInterrupt
