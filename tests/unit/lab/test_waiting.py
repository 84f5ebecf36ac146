"""Waiting with a deadline, and following a file."""

from __future__ import annotations

import socket
from pathlib import Path
from threading import Timer

import pytest

from tests.lab.errors import LabError
from tests.lab.waiting import Tail, connect, wait_patiently, wait_until


def test_what_is_there_is_given_back() -> None:
    values = iter([0, None, "", "here"])
    assert wait_until(lambda: next(values), "a value", 5) == "here"


def test_what_never_comes_is_named() -> None:
    with pytest.raises(LabError, match="not within 0 s: the impossible"):
        wait_until(lambda: False, "the impossible", 0)


def test_what_may_never_come_is_no_error() -> None:
    values = iter([0, None, "here"])
    assert wait_patiently(lambda: next(values), 5)
    assert not wait_patiently(lambda: False, 0)


def test_an_error_ends_all_patience() -> None:
    def fails() -> bool:
        raise LabError("the agent has ended")

    with pytest.raises(LabError, match="the agent has ended"):
        wait_patiently(fails, 5)


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


def test_a_socket_that_nobody_listens_at_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(LabError, match="not within 0 s: the server"):
            connect(path, "the server", 0)
        listening = Timer(0.05, server.listen)
        listening.start()
        with connect(path, "the server", 5) as client:
            assert client.getpeername() == str(path)
        listening.join()


def test_a_socket_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not within 0 s: the server"):
        connect(tmp_path / "socket", "the server", 0)
