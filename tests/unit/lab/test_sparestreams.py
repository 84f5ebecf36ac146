"""What is counted of a stream on a full machine: what is late is not lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.sparestreams import FLOWING, RATE, Stream
from tests.lab.waiting import wait_until

PATIENCE = 30.0
END, MACHINE = "127.0.0.1", "127.0.0.2"
PACE = 10 / RATE
"""Seconds between two datagrams that a full machine delivers: it is ten times too slow."""


class SlowMachine:
    """Takes what a stream sends and hands it on, from the second one on when it is let go."""

    def __init__(self, stack: ExitStack) -> None:
        self._taken, arrives, source = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)
        )
        arrives.bind((END, 0))
        self._to = arrives.getsockname()
        self._taken.bind((MACHINE, self._to[1]))
        self.go, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hand_on)
        self._thread.start()
        stack.callback(self._end)
        self.stream = Stream(source, arrives, MACHINE)

    def _end(self) -> None:
        self.go.set()
        self.stream.end()
        self._over.set()
        self._thread.join()

    def _hand_on(self) -> None:
        self._taken.settimeout(PACE)
        while not self._over.is_set():
            try:
                data = self._taken.recv(2048)
            except TimeoutError:
                continue
            self._taken.sendto(data, self._to)
            self.go.wait()
            self._over.wait(PACE)


@pytest.fixture
def slow() -> Iterator[SlowMachine]:
    with ExitStack() as stack:
        yield SlowMachine(stack)


def test_what_comes_late_is_waited_for_as_long_as_it_comes(slow: SlowMachine) -> None:
    slow.go.set()
    wait_until(lambda: slow.stream.sent > 100, "many are on their way", PATIENCE)
    assert slow.stream.end().missing == ()


def test_what_is_on_its_way_is_not_missing(slow: SlowMachine) -> None:
    wait_until(lambda: slow.stream.sent > 2 * FLOWING, "many are on their way", PATIENCE)
    wait_until(lambda: slow.stream.arrived, "the first one is there", PATIENCE)
    assert not slow.stream.lacks(1)
    slow.go.set()
    assert slow.stream.end().missing == ()
