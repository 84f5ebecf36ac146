"""Marks beside drop-ins of units: which program is on trial, and what was there before.

Decides when a trial was cut off: its mark is there, and nobody holds it. Who tries a program holds
the mark until the trial has passed or was called off, and loses it by whatever ends him, SIGKILL
too. systemd reads no file of that name. Must never count a program that has passed its trial.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovpnha.config.paths import draft_of

SUFFIX = ".before"
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


@dataclass(frozen=True)
class MarkFile:
    """What the mark beside one drop-in says."""

    held: bool
    """The trial is under way."""
    program: str
    """What is tried."""
    before: str | None
    """The drop-in's text from before; None: there was none."""


def put_marks(before: Mapping[Path, str | None], program: Path) -> contextlib.ExitStack:
    """Mark each drop-in before it is written; what this gives releases all marks and removes them.

    Raises:
        OSError: A mark cannot be written; then there is none.
    """
    with contextlib.ExitStack() as marks:
        for file, text in before.items():
            marks.enter_context(_holding(_mark_of(file), f"{program}\n{text or ''}"))
        return marks.pop_all()


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
        with _removing_at_error(mark):
            yield
        mark.unlink(missing_ok=True)


@contextlib.contextmanager
def _removing_at_error(mark: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        mark.unlink(missing_ok=True)
        raise


def find_marks(files: Iterable[Path]) -> dict[Path, MarkFile]:
    """Those of drop-ins that have one; one that cannot be read is none."""
    found = {}
    for file in files:
        with contextlib.suppress(OSError):
            found[file] = _read(_mark_of(file))
    return found


def _read(mark: Path) -> MarkFile:
    with mark.open(errors="replace") as file:
        held = False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        program, _, before = file.read().partition("\n")
    return MarkFile(held, program, before or None)


def remove_mark(file: Path) -> None:
    """The drop-in is as it was before.

    Raises:
        OSError: It cannot be removed.
    """
    _mark_of(file).unlink(missing_ok=True)


def _mark_of(file: Path) -> Path:
    return file.with_name(f"{file.name}{SUFFIX}")
