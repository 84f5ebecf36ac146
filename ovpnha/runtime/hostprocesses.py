"""Processes of this host as /proc shows them: who serves a socket, what one may do.

Decides nothing. What this user may not see is missing, not an error; only processes of our own
network namespace are looked at, so that containers and labs beside us are not ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from ovpnha.doctor.facts import ProcessFacts
from ovpnha.runtime.processstat import ProcessStat, parse_stat

PROC = Path("/proc")
BITS = {
    0: "cap_chown",
    5: "cap_kill",
    12: "cap_net_admin",
    13: "cap_net_raw",
    14: "cap_ipc_lock",
}
"""Of the capabilities that somebody asks about."""


def list_processes(name: str) -> Iterator[int]:
    """Process ids of a program in our network namespace, the oldest first.

    Those that its own processes have forked are left out: a child bears its parent's name until it
    is another program, and process ids begin anew, so that a lower one says nothing of age.
    """
    every = [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
    seen = {pid: one for pid in every if (one := parse_stat(_read(pid, "stat"))) is not None}
    found = [pid for pid, one in seen.items() if one.name == name and one.runs]
    roots = [pid for pid in found if not _descends(pid, seen, name)]
    return (pid for pid in sorted(roots, key=lambda pid: seen[pid].begun) if _is_near(pid))


def _descends(pid: int, seen: Mapping[int, ProcessStat], name: str) -> bool:
    parent = seen.get(seen[pid].parent)
    return parent is not None and parent.name == name


def _is_near(pid: int) -> bool:
    try:
        theirs = (PROC / str(pid) / "ns/net").readlink()
    except PermissionError:  # another user's: nobody can tell
        return True
    except OSError:  # it has ended since its name was read, and was anybody's
        return False
    return theirs == (PROC / "self/ns/net").readlink()


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text(errors="replace")
    except OSError:
        return ""


def read_command(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone."""
    return [word for word in _read(pid, "cmdline").split("\0") if word]


def find_option(words: list[str], *names: str) -> str:
    """The value behind an option of a command line, or after its equals sign; "" without it."""
    for at, word in enumerate(words):
        if word in names:
            return next(iter(words[at + 1 :]), "")
        name, sign, value = word.partition("=")
        if sign and name in names:
            return value
    return ""


def read_directory(pid: int) -> Path | None:
    """Where a process works; None when this user may not know."""
    try:
        return (PROC / str(pid) / "cwd").readlink()
    except OSError:
        return None


def read_process(pid: int) -> ProcessFacts | None:
    """What is known of a process; None when it is gone."""
    status = _read(pid, "status")
    if not status:
        return None
    return ProcessFacts(
        pid=pid,
        replaced=_is_replaced(pid),
        locked_memory=_locked_memory(pid),
        capabilities=_capabilities(status),
        real_time=_is_real_time(pid),
    )


def read_user(pid: int) -> int | None:
    """The effective user id of a process."""
    found = re.search(r"^Uid:\s+\d+\s+(\d+)", _read(pid, "status"), re.M)
    return int(found[1]) if found else None


def _is_replaced(pid: int) -> bool:
    try:
        return str((PROC / str(pid) / "exe").readlink()).endswith(" (deleted)")
    except OSError:
        return False


def _locked_memory(pid: int) -> int | None:
    found = re.search(r"^Max locked memory\s+(\d+|unlimited)", _read(pid, "limits"), re.M)
    return int(found[1]) if found and found[1].isdigit() else None


def _capabilities(status: str) -> frozenset[str]:
    found = re.search(r"^CapEff:\s+([0-9a-f]+)", status, re.M)
    mask = int(found[1], 16) if found else 0
    return frozenset(name for bit, name in BITS.items() if mask >> bit & 1)


def _is_real_time(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return os.sched_getscheduler(pid) in {os.SCHED_RR, os.SCHED_FIFO}
    return False


def serving_process(path: Path) -> int:
    """Who listens at a unix socket; OSError when nobody does, or this user may not connect."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(1.0)
        one.connect(str(path))
        told = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", told)[0])
