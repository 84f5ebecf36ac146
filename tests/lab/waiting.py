"""Waiting for things to happen, with a deadline, and reading files that others append to."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.lab.errors import LabError

POLL = 0.005

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float) -> T:
    """Poll ``condition`` until it gives something true and return that; else raise LabError."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise LabError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL)


def wait_patiently(condition: Callable[[], object], seconds: float) -> bool:
    """Poll ``condition`` for so long; whether it came true. For what is judged afterwards."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def connect(path: Path, what: str, seconds: float) -> socket.socket:
    """Connect to a Unix socket: its file is there a moment before anybody listens at it.

    The socket's timeout is ``seconds``, too. Raises LabError, naming ``what``, after them.
    """
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(seconds)
    try:
        wait_until(lambda: try_connect(one, path), what, seconds)
    except BaseException:
        one.close()
        raise
    return one


def try_connect(one: socket.socket, path: Path) -> bool:
    """Whether somebody listens there now; then ``one`` is connected."""
    try:
        one.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


class Tail:
    """The complete lines of a growing file, each given once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> list[str]:
        """What was completed since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        return data[:end].decode(errors="replace").splitlines()
