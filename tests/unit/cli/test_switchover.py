"""``ovpnha switchover`` on a terminal: what is printed where, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ovpnha.runtime import control
from tests.unit.cli.answers import run

BEGUN: dict[str, Any] = {
    "instance": "udp",
    "master": "a",
    "target": "b",
    "id": "00ff00ff00ff00ff",
    "phase": "wished",
}
TIMES = {"frozen": 0.01, "promoted": 0.03, "moved": 0.19, "served": 0.2}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the daemon answers, one after the other."""
    answers: list[dict[str, Any]] = []
    monkeypatch.setattr(control, "ask_plain", lambda *_: answers.pop(0))
    return answers


def test_each_phase_is_told_once(config: Path, said: list[dict[str, Any]]) -> None:
    phases = ("wished", "preparing", "preparing", "moving", "done")
    said += [{**BEGUN, "phase": phase} for phase in phases[:-1]]
    said += [{**BEGUN, "phase": "done", "times": TIMES}]
    code, out, err = run("switchover", "-c", config)
    assert code == 0
    assert [line.split(":")[0] for line in err.splitlines()] == ["udp"] * 4
    assert out.splitlines()[0] == "udp: b is master, a is standby"
    assert out.splitlines()[3].split() == ["160.0", "ms", "the", "VIP", "left", "a"]
    assert out.splitlines()[-1].split() == ["200.0", "ms", "in", "all"]


def test_without_times_none_are_told(config: Path, said: list[dict[str, Any]]) -> None:
    """The master's sidecar has died, and the target serves."""
    said.append({**BEGUN, "phase": "done"})
    assert run("switchover", "-c", config)[:2] == (0, "udp: b is master, a is standby\n")


def test_what_was_called_off_is_a_failure(config: Path, said: list[dict[str, Any]]) -> None:
    said.append({**BEGUN, "phase": "failed", "reason": "not_moved", "text": "not moved"})
    code, out, err = run("switchover", "-c", config)
    assert (code, out, err) == (1, "", "ovpnha: udp: not moved\n")


def test_what_stands_against_it_has_its_own_code(config: Path, said: list[dict[str, Any]]) -> None:
    refused = {"instance": "udp", "master": "a", "target": "b", "obstacles": ["b: asleep"]}
    said.append(refused)
    assert run("switchover", "-c", config) == (3, "", "udp: b: asleep\n")
    said.append({**refused, "steps": ["wake it"]})
    assert run("switchover", "-c", config, "--dry-run")[:2] == (3, "1. wake it\nudp: b: asleep\n")


def test_a_dry_run_says_what_would_be_done(config: Path, said: list[dict[str, Any]]) -> None:
    said.append({"instance": "udp", "master": "a", "target": "b", "steps": ["one", "two"]})
    code, out, _ = run("switchover", "-c", config, "--dry-run")
    assert (code, out) == (0, "1. one\n2. two\nNothing stands against it.\n")


def test_programs_get_all_of_it(config: Path, said: list[dict[str, Any]]) -> None:
    said.append({**BEGUN, "phase": "done", "times": TIMES})
    code, out, _ = run("switchover", "-c", config, "--json")
    assert (code, json.loads(out)["times"]) == (0, TIMES)


def test_a_time_that_is_no_time_is_refused(config: Path) -> None:
    code, _, err = run("switchover", "-c", config, "--within", "90s")
    assert code == 2
    assert "100ms to 60s" in err
