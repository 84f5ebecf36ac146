"""The mark of a trial: which program two units are to start for now, and what they started before.

Decides when a trial was cut off: its mark is there, and nobody holds it. Who tries a program holds
the mark until the trial has passed or was called off, and loses it by whatever ends him, SIGKILL
too. One file speaks of all drop-ins, so that a trial has passed for all of them, or for none.
systemd reads no file of that name. Must never count a program that has passed its trial.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovpnha.config.paths import draft_of

SUFFIX = ".before"
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
BROKEN = (ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True)
class MarkFile:
    """What a mark says."""

    held: bool
    """The trial is under way."""
    program: str
    """What is tried."""
    before: Mapping[Path, str | None]
    """The text of each drop-in from before; None: there was none."""


def put_mark(file: Path, before: Mapping[Path, str | None], program: Path) -> contextlib.ExitStack:
    """Mark a trial before a drop-in is written; what this gives removes the mark.

    Args:
        file: The drop-in that the mark stands beside.
        before: All drop-ins, and what is in them.
        program: What is to be tried.

    Raises:
        OSError: It cannot be written; then there is none.
    """
    plain = {"program": str(program), "before": {str(one): text for one, text in before.items()}}
    with contextlib.ExitStack() as mark:
        mark.enter_context(_holding(mark_of(file), json.dumps(plain)))
        return mark.pop_all()


@contextlib.contextmanager
def _holding(mark: Path, text: str) -> Iterator[None]:
    """It is held before it has its name."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(mark)
    with os.fdopen(os.open(draft, FLAGS, 0o644), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(text)
        file.flush()
        draft.replace(mark)
        yield
        mark.unlink(missing_ok=True)


def find_mark(file: Path) -> MarkFile | None:
    """That beside this drop-in; one that cannot be read, or says nothing, is none."""
    with contextlib.suppress(OSError, *BROKEN):
        return _read(mark_of(file))
    return None


def _read(mark: Path) -> MarkFile:
    with mark.open(errors="replace") as file:
        held = False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        plain: dict[str, Any] = json.load(file)
    before = {Path(name): text for name, text in plain["before"].items()}
    return MarkFile(held, plain["program"], before)


def remove_mark(file: Path) -> None:
    """The drop-ins are as they were before.

    Raises:
        OSError: It cannot be removed.
    """
    mark_of(file).unlink(missing_ok=True)


def mark_of(file: Path) -> Path:
    """Beside a drop-in, the mark."""
    return file.with_name(f"{file.name}{SUFFIX}")
