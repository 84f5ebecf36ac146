"""One restart of an instance at a time, whoever has given the command: a person or a package.

A second one would end the process that the first falls back on. The lock ends with the process that
has it, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ovpnha.model import InstanceName
from ovpnha.runtime.control import ControlError

LOCK = "restart-{}.lock"
"""Beside the control socket."""


@contextlib.contextmanager
def alone(control: Path, name: InstanceName, say: Callable[[str], None]) -> Iterator[bool]:
    """No other restart of this instance goes on meanwhile; False: it is not known.

    Who may not write beside the control socket has no lock, and is told: ``say``.

    Raises:
        ControlError: One does.
    """
    known = True
    with contextlib.ExitStack() as stack:
        path = control.with_name(LOCK.format(name))
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlError("another restart of it is under way: wait for its end") from None
        except OSError as error:
            known = False
            say(f"{path}: {error.strerror}; nothing keeps another restart from going on meanwhile")
        yield known
