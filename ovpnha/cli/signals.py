"""Signals that end a command, while something is to be put right.

Decides which are taken; what was there before comes back.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


def ended_by_signals() -> contextlib.AbstractContextManager[None]:
    """A lost terminal or SIGTERM ends it as Ctrl-C does, with all that is to be put right."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    ending = (one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN)
    return handling(signal.default_int_handler, *ending)


@contextlib.contextmanager
def handling(
    handler: Callable[[int, FrameType | None], Any] | signal.Handlers, *numbers: signal.Signals
) -> Iterator[None]:
    """These signals are taken so meanwhile."""
    before = {one: signal.signal(one, handler) for one in numbers}
    try:
        yield
    finally:
        for one, was in before.items():
            signal.signal(one, was)
