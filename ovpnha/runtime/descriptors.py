"""Open files on their way from one OpenVPN process to another: its socket and its tun.

Decides who has to close them: whoever holds a pair closes it, once it has been passed on or is of
no use. One that stayed open here would keep port and tun alive when both processes are gone.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable

PAIR = 2
SPACE = socket.CMSG_SPACE(PAIR * array.array("i").itemsize)
"""Room for one pair; the kernel closes what goes beyond it."""


class DescriptorPair:
    """One pair, ours to close. ``link`` and ``tun`` are -1 afterwards."""

    def __init__(self, link: int, tun: int) -> None:
        self.link, self.tun = link, tun

    def numbers(self) -> tuple[int, int]:
        """In the order in which they travel."""
        return self.link, self.tun

    def close(self) -> None:
        """Close both; harmless when that is done."""
        numbers = [one for one in self.numbers() if one >= 0]
        self.link = self.tun = -1
        close_all(numbers)


def close_all(numbers: Iterable[int]) -> None:
    """Close open files."""
    for one in numbers:
        os.close(one)


def receive(source: socket.socket, size: int) -> tuple[bytes, DescriptorPair | None]:
    """Bytes, and the pair that came with one of them; anything but a pair is closed.

    Raises:
        OSError: As ``recvmsg``; BlockingIOError when there is nothing.
    """
    data, beside, flags, _ = source.recvmsg(size, SPACE, socket.MSG_CMSG_CLOEXEC)
    numbers = array.array("i")
    for level, kind, what in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(what[: len(what) - len(what) % numbers.itemsize])
    if len(numbers) == PAIR and not flags & socket.MSG_CTRUNC:
        return data, DescriptorPair(*numbers)
    close_all(numbers)
    return data, None


def send(target: socket.socket, data: bytes | memoryview, beside: DescriptorPair | None) -> int:
    """Send what goes at once, and the pair with its first byte; returns how many bytes went.

    Raises:
        OSError: As ``sendmsg``; then the pair has not left.
    """
    if beside is None:
        return target.send(data)
    return socket.send_fds(target, [data], beside.numbers())
