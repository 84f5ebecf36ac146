"""The frame of `make faults`: what shows makes it fail, and nothing tried is no success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults import __main__ as faults
from tests.faults.fault import Fault, Say


def fine(_say: Say) -> str:
    return "12 ms"


def broken(_say: Say) -> str:
    raise AssertionError("3 clients lost")


def run(monkeypatch: pytest.MonkeyPatch, output: Path, *found: Fault) -> int:
    monkeypatch.setattr(faults, "find_faults", lambda: list(found))
    return faults.main(["--output", str(output)])


def test_every_run_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, Fault("bounce", 2, fine)) == 0
    assert json.loads((tmp_path / "faults.json").read_text()) == [
        {"fault": "bounce", "runs": 2, "held": 2, "detail": "12 ms"}
    ]


def test_one_that_shows_fails_the_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Fault("bounce", 1, fine), Fault("rekey", 2, broken)
    assert run(monkeypatch, tmp_path, *found) == 1
    verdict = json.loads((tmp_path / "faults.json").read_text())[1]
    assert verdict == {"fault": "rekey", "runs": 2, "held": 0, "detail": "3 clients lost"}


def test_nothing_to_try_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path) == 1


def test_a_sample_is_so_many_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [Fault(f"fault {number}", 1, fine) for number in range(9)]
    monkeypatch.setattr(faults, "find_faults", lambda: found)
    assert faults.main(["--output", str(tmp_path), "--sample", "4", "--seed", "7"]) == 0
    names = [row["fault"] for row in json.loads((tmp_path / "faults.json").read_text())]
    assert len(names) == 4
    assert names == sorted(names)


def test_names_are_unique() -> None:
    names = [fault.name for fault in faults.find_faults()]
    assert len(names) == len(set(names))
