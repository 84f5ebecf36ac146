"""Why a machine ended, by what its kernel and its emulator said. Pure.

There are three kinds of reasons, and what is to be done differs. Its kernel broke, or the emulator
did: neither is ours, so that the case has no result, and is run once more. Or the lab is at fault:
the machine's first program ended (``init.sh``; a kernel answers that with a panic, too), it was too
small, it was switched off, somebody ended the emulator. Warnings of a kernel that lived on say
nothing of it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence

_STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? *")
_BROKEN = re.compile(
    r"BUG: |Oops|general protection fault|kernel BUG at |Kernel panic|divide error|invalid opcode"
    r"|stack segment|double fault|watchdog: BUG|Internal error|Unable to handle "
)
_WHERE = re.compile(r"RIP: 0010:(\S+)")  # of the kernel: 0033 is of a program
_EMULATOR_BREAKS = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
)
_OURS = ("Attempted to kill init", "No working init", "Unable to mount root", "out of memory")
"""Panics that say something of the lab: of its first program, of its files, of the machine's size;
unless the kernel was broken before."""


def crash_line(lines: Iterable[str]) -> str:
    """With what a kernel first said that it is broken, and where; "" when the fault is not its."""
    said = [_STAMP.sub("", line.strip()) for line in lines]
    broken = [number for number, text in enumerate(said) if _BROKEN.match(text)]
    if not broken or any(word.lower() in said[broken[0]].lower() for word in _OURS):
        return ""
    places = (_WHERE.match(text) for text in said[broken[0] :])
    where = next((f", in {found[1]}" for found in places if found), "")
    return said[broken[0]] + where


def emulator_line(status: int, lines: Sequence[str]) -> str:
    """How the emulator broke, by its exit status and its log; "" when it did not."""
    if -status not in _EMULATOR_BREAKS:
        return ""
    last = f": {lines[-1].strip()}" if lines else ""
    return f"the emulator ended with {signal.Signals(-status).name}{last}"
