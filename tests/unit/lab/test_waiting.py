"""Waiting with a deadline, and following a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovpnha.lab.errors import LabError
from ovpnha.lab.waiting import Tail, wait_until


def test_what_is_there_is_given_back() -> None:
    values = iter([0, None, "", "here"])
    assert wait_until(lambda: next(values), "a value", 5) == "here"


def test_what_never_comes_is_named() -> None:
    with pytest.raises(LabError, match="not within 0 s: the impossible"):
        wait_until(lambda: False, "the impossible", 0)


def test_a_tail_gives_each_complete_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    path.write_text("one\ntw")
    assert tail.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert tail.lines() == ["two", "three"]
    assert tail.lines() == []
