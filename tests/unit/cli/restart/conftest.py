"""A sidecar that answers one step after the other, and a systemd that notes what it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovpnha.cli import restartlook, restartsteps
from ovpnha.runtime import control, restartlock, restartunits
from tests.unit.cli.restart.answers import LOOK, OLD, SHOWN, TOLD


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
