"""What a sidecar answers to the steps of a restart, and the units that are started for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restartsteps
from ovpnha.runtime import control

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
AGAINST: dict[str, Any] = {**LOOK, "obstacles": ["OpenVPN shares its socket with nobody"]}
FAILED: dict[str, Any] = {**LOOK, "phase": "failed", "reason": "it differs"}


OLD = 9
"""The number of a process that is older than the command."""

Daemon = tuple[list[str], list[dict[str, Any]]]


def watch_after_the_second_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has the role again is seen to serve for longer than the one before."""
    ask, moves = control.ask_plain, itertools.count(1)

    def asked(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "move" and next(moves) == 2:
            monkeypatch.setattr(restartsteps, "WATCH", 60.0)
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", asked)


def end_while_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C as soon as the command waits for the move; all else is answered as ever."""
    ask = control.ask_plain

    def interrupt(path: Path, request: Any, timeout: float) -> dict[str, Any]:
        if request.step == "wait":
            raise KeyboardInterrupt
        return ask(path, request, timeout)

    monkeypatch.setattr(control, "ask_plain", interrupt)


def answer_steps(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], dict[str, Any]]
) -> list[str]:
    """Each step is answered so, from now on; returns those that are asked for."""
    asked: list[str] = []

    def ask(_path: Path, request: Any, _timeout: float) -> dict[str, Any]:
        asked.append(request.step)
        return answer(request.step)

    monkeypatch.setattr(control, "ask_plain", ask)
    return asked
