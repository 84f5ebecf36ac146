"""When a client that is watched has recovered."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from tests.lab.session import Watch


class Stream:
    """Probes, of which one has been answered: it was sent then."""

    def __init__(self) -> None:
        self.sent = 0

    def answered_since(self, since: int) -> int:
        return int(self.sent > since)


def make_watch() -> tuple[Watch, Any]:
    lab: Any = SimpleNamespace(master=SimpleNamespace(name="a"))
    stream: Any = Stream()
    return Watch(lab, lab, stream), stream


def test_an_answer_of_the_old_master_while_it_is_being_struck_is_no_recovery() -> None:
    watch, stream = make_watch()

    def deed(_lab: object, _master: object) -> None:
        stream.sent = time.monotonic_ns()

    moment = watch.strike(deed)
    assert moment.monotonic < stream.sent < moment.over
    assert not watch.recovers(moment, 0.0)
    stream.sent = time.monotonic_ns()
    assert watch.recovers(moment, 0.0)


def test_a_moment_without_a_deed_is_over_at_once() -> None:
    watch, stream = make_watch()
    moment = watch.mark()
    stream.sent = time.monotonic_ns()
    assert watch.recovers(moment, 0.0)
