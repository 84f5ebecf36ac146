"""Who writes the log waits for nobody who reads it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest
import structlog

from ovpnha.config import LogConfig, LogFormat
from ovpnha.runtime import logstream
from ovpnha.runtime.logs import configure_logs
from ovpnha.runtime.logstream import LogStream

pytestmark = pytest.mark.usefixtures("logs_as_before")

LINES = 2000
TEXT = "x" * 200
"""Of so many such lines a pipe takes a few hundred."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Nobody reads it yet."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        yield read, stream
        os.close(read)
        # Who writes still has an error now; it would write to whoever gets the number next.
        for thread in threading.enumerate():
            if thread.name == "log":
                thread.join(30.0)


def log_lines() -> None:
    log = structlog.get_logger()
    for number in range(LINES):
        log.info(f"line {number}", text=TEXT)


def read_all(descriptor: int) -> list[dict[str, object]]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return [json.loads(line) for line in file]


def read_late(read: int, stream: TextIO) -> list[dict[str, object]]:
    """All lines, which somebody begins to read when they have been logged."""
    found: list[dict[str, object]] = []
    reading = threading.Thread(target=lambda: found.extend(read_all(read)))
    with LogStream(stream, end_within=30.0) as output:
        configure_logs(LogConfig(format=LogFormat.JSON), output)
        log_lines()
        reading.start()
    stream.close()
    reading.join(30.0)
    return found


def test_a_log_that_nobody_reads_holds_nobody(pipe: tuple[int, TextIO]) -> None:
    with LogStream(pipe[1], end_within=0.1) as output:
        configure_logs(LogConfig(format=LogFormat.JSON), output)
        logging_thread = threading.Thread(target=log_lines, daemon=True)
        logging_thread.start()
        logging_thread.join(30.0)
        assert not logging_thread.is_alive()
        assert output.fileno() == pipe[1].fileno()
        assert not output.isatty()


@pytest.mark.parametrize("blocking", [True, False])
def test_who_reads_late_finds_every_line(pipe: tuple[int, TextIO], *, blocking: bool) -> None:
    """A program of a hook, which has the same output, may have made it one that does not wait."""
    read, stream = pipe
    os.set_blocking(stream.fileno(), blocking)
    found = read_late(read, stream)
    assert [one["event"] for one in found] == [f"line {number}" for number in range(LINES)]


def test_what_there_is_no_room_for_is_left_out_and_counted(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logstream, "WAITING_LIMIT", 100 * len(TEXT))
    read, stream = pipe
    found = read_late(read, stream)
    told = [int(str(one["lines"])) for one in found if one["event"] == "log lines left out"]
    assert told
    assert len(found) - len(told) + sum(told) == LINES
    assert found[0]["event"] == "line 0"


def test_a_log_that_cannot_be_written_ends_nothing(pipe: tuple[int, TextIO]) -> None:
    with LogStream(pipe[1]) as output, open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), pipe[1].fileno())
        configure_logs(LogConfig(format=LogFormat.JSON), output)
        log_lines()
