"""What OpenVPN says on its management interface when it ends."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_digest import files, server

__all__ = ["files"]  # a fixture

pytestmark = pytest.mark.integration

# One read of OpenVPN's; the answers are several times what a unix socket takes.
QUESTIONS = b"help\n" * 50
ONE_READ = 256
ANSWER = b"\nManagement Interface for "
"""How the answer to a question begins, behind what nobody has asked for."""

LAST = b">CLUSTER:END\r\n"


def begin_of_answer(channel: socket.socket) -> bytes:
    """What is said until the first answer begins, and no byte more: the rest is left to wait.

    OpenVPN has read all questions by then, since they came in one piece and fit into one read.
    """
    assert len(QUESTIONS) <= ONE_READ
    said = b""
    while not said.endswith(ANSWER):
        said += (more := channel.recv(1))
        assert more, said
    return said


def pieces(channel: socket.socket) -> Iterator[bytes]:
    """To the end, which is an error where OpenVPN has questions left that it did not read."""
    with contextlib.suppress(ConnectionResetError):
        while data := channel.recv(1 << 16):
            yield data


def test_an_end_is_told_behind_all_that_waits_to_be_read(files: Path) -> None:
    """With a signal to end by, OpenVPN itself leaves all but a kilobyte of it."""
    with server(files, "") as (channel, process):
        channel.settimeout(20)
        channel.sendall(QUESTIONS)
        begin = begin_of_answer(channel)
        process.terminate()
        said = begin + b"".join(pieces(channel))
    assert said.count(b"\r\nEND\r\n") == QUESTIONS.count(b"\n")
    assert said.endswith(LAST)
