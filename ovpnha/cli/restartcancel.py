"""A move that ``ovpnha restart-openvpn`` has asked for ends with the command.

Decides when the daemon is told that it is not wanted any more: however the command ends before it,
and by the next one where it was killed. Must never leave before a move that has begun is over.
Rules: docs/adr/0070-either-process-may-serve.md.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from ovpnha.cli.common import ANSWER_TIMEOUT
from ovpnha.cli.signals import handling
from ovpnha.runtime.control import ControlError, ask
from ovpnha.runtime.restartrequest import CRITICAL, RestartAnswer, RestartRequest


def cancel(control: Path, name: str | None) -> None:
    """No move waits any more, and none is in the midst, where the daemon answers."""
    with contextlib.suppress(ControlError):
        request = RestartRequest(instance=name, step="cancel")
        told = ask(control, request, RestartAnswer, ANSWER_TIMEOUT)
        while told.phase in CRITICAL:
            request = RestartRequest(instance=name, step="wait", known=told.known)
            told = ask(control, request, RestartAnswer, ANSWER_TIMEOUT)


@contextlib.contextmanager
def cancelled(control: Path, name: str | None) -> Iterator[None]:
    """What is left by an error or by a signal leaves no move that waits."""
    try:
        yield
    except BaseException:
        with handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            cancel(control, name)
        raise
