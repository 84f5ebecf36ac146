"""keepalived of this host: its files with what they include, what it says of them, its scripts.

Decides which files are read: those that the running keepalived was given, else /etc/keepalived.
What its configuration means is ``ovpnha.doctor.keepalived``'s.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ovpnha.doctor.facts import KeepalivedFacts, UnitFacts, Unread
from ovpnha.doctor.keepalived import KeepalivedBlock, read_blocks
from ovpnha.doctor.vipmanager import script_paths
from ovpnha.runtime.hostprocesses import (
    find_option,
    list_processes,
    read_command,
    read_directory,
    read_process,
)
from ovpnha.runtime.keepalivedfiles import KeepalivedReader

DEFAULT_FILE = Path("/etc/keepalived/keepalived.conf")
PROGRAM = "keepalived"
PROGRAM_PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
SHOWN_LIMIT = 5
_HARMLESS = re.compile(r"^\s*$|Starting |Opening file|Configuration file|^SECURITY VIOLATION")
_OF_SCRIPTS = re.compile(r"script|insecure|permission|privilege", re.IGNORECASE)


def read_keepalived(
    named: Path | None, unit: UnitFacts | Unread | None, within: float
) -> KeepalivedFacts:
    """All that is known of it; ``named`` is the file that somebody asked for."""
    program = find_program(PROGRAM)
    pid, words = _find_running()
    path = named or (_used_file(pid, words) if pid is not None else None) or DEFAULT_FILE
    blocks = _read_blocks(str(path.absolute()))
    known = () if blocks is None or isinstance(blocks, Unread) else blocks
    return KeepalivedFacts(
        installed=program is not None,
        path=str(path),
        blocks=blocks,
        tested=_test(program, path, within) if program is not None and known else (),
        unit=unit,
        process=read_process(pid) if pid is not None else None,
        scripts={one: _judge_script(Path(one)) for one in script_paths(known)},
    )


def find_program(name: str) -> str | None:
    """Where a program of the host is, also one that is for root only."""
    return shutil.which(name, path=PROGRAM_PATHS)


def _find_running() -> tuple[int | None, list[str]]:
    """The oldest that runs and its command line, which one that ends meanwhile has no more."""
    for pid in list_processes(PROGRAM):
        if words := read_command(pid):
            return pid, words
    return None, []


def _used_file(pid: int, words: list[str]) -> Path | None:
    """The file that a running keepalived was given; None for the usual one."""
    used = find_option(words, "-f", "--use-file")
    return (read_directory(pid) or Path("/")) / used if used else None


def _read_blocks(path: str) -> tuple[KeepalivedBlock, ...] | Unread | None:
    reader = KeepalivedReader(_raise)
    try:
        return read_blocks(list(reader.lines(path)))
    except FileNotFoundError as error:
        return None if not reader.texts else Unread(f"{error.filename} is included, and not there")
    except OSError as error:
        return Unread(f"{error.filename}: {error.strerror}; run as root")


def _raise(error: OSError) -> None:
    raise error


def _test(program: str, path: Path, within: float) -> tuple[str, ...] | Unread:
    """What keepalived says against a configuration; it says nothing when all is well."""
    command = [program, "--vrrp", "--config-test", "--use-file", str(path)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within,
            check=False,
            cwd=path.parent,
        )
    except subprocess.TimeoutExpired:
        return Unread(f"no answer within {within:g} s")
    except OSError as error:
        return Unread(f"{program}: {error.strerror}")
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    told = [line for line in dict.fromkeys(said) if not _HARMLESS.search(line)]
    if os.geteuid() != 0:  # it cannot judge whom scripts belong to
        told = [line for line in told if not _OF_SCRIPTS.search(line)]
    if done.returncode and not told:
        told = [f"exit code {done.returncode}"]
    return tuple(told[:SHOWN_LIMIT])


def _judge_script(path: Path) -> str:
    """What keeps keepalived from running a script; "" when nothing does."""
    try:
        status = path.stat()
    except OSError as error:
        return f"it cannot be found: {error.strerror}" if error.strerror else "it is not there"
    if not status.st_mode & 0o111:
        return "it is not executable"
    if status.st_uid != 0 or status.st_mode & 0o022:
        return "others than root may change it, and keepalived refuses it for that"
    return ""
