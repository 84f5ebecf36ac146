"""The programs that a configuration names, for hooks, checks and the fence: can they be started?

Decides what keeps the kernel from starting one for the sidecar's user, which is seen otherwise only
when it is needed: a fence at the death of a master. Must never start one, nor blame what is not
certain: a program that may be run and not read is no script to who may not read it either (root
sees more).
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ovpnha.config import CheckKind, Config
from ovpnha.doctor.facts import Unread
from ovpnha.errors import printable
from ovpnha.runtime.hostaccess import ask_access

IN_TIME = 5.0
HEAD = 256  # bytes that the kernel looks at, at the beginning of a program
SCRIPT = b"#!"
WINDOWS = b"MZ"  # text by its bytes, and what a registered interpreter may take
CORRECT = "install it, or correct the name"


@dataclass(frozen=True)
class _Named:
    """A program that some part of the configuration names, and where it was found."""

    where: str
    word: str
    path: Path


def find_bad_programs(config: Config, user: int | None) -> Iterator[str]:
    """A line for each that this user (None: whoever asks) cannot start, naming the fix."""
    found = []
    for where, word in _programs(config):
        path = word if "/" in word else _find(word)
        if path:
            found.append(_Named(where, word, Path(path)))
        else:
            yield f"{where}: there is no program {word} on the PATH; {CORRECT}"
    yield from _judge(found, user)


def find_in_time(config: Config) -> list[str]:
    """The same for whoever asks, and never waits for long: a dead file system may for ever."""
    found: list[str] = []

    def look() -> None:
        found.extend(find_bad_programs(config, None))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(IN_TIME)
    if not thread.is_alive():
        return found
    return [
        f"the programs of [fence], hooks and checks could not be looked at within {IN_TIME:g} s;"
        " look after the network file system that one of them is on"
    ]


def _find(word: str) -> str:
    """Where a name without a directory is; "" for nowhere."""
    return shutil.which(word) or shutil.which(word, mode=os.F_OK) or _unseen(word)


def _unseen(word: str) -> str:
    """Where a name may be: below a directory of the PATH that cannot be looked at; else ""."""
    for path in (os.path.join(one, word) for one in os.get_exec_path()):
        try:
            Path(path).stat()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError:
            return path
    return ""


def _programs(config: Config) -> Iterator[tuple[str, str]]:
    """What each part of the configuration runs."""
    if config.fence is not None:
        yield "fence.command", config.fence.command[0]
    if config.hooks.role_changed:
        yield "hooks.role_changed", config.hooks.role_changed[0]
    for number, hook in enumerate(config.hook, 1):
        where = "hook" if len(config.hook) == 1 else f"hook[{number}]"
        yield f"{where}.command", hook.command[0]
    for one in config.check:
        if one.command:
            yield f"check[{one.name}].command", one.command[0]
        if one.kind is CheckKind.PING:
            yield f"check[{one.name}].kind", "ping"
        if one.kind is CheckKind.CLIENT:
            yield f"check[{one.name}].client_program", one.client_program


def _judge(found: list[_Named], user: int | None) -> Iterator[str]:
    """First what anybody sees, then what this user may."""
    left = []
    for one in found:
        if problem := _look(one.path):
            yield f"{one.where}: {problem}"
        else:
            left.append(one)
    wanted = [(letter, one.path) for one in left for letter in "xr"]
    said = ask_access(user, wanted)
    if isinstance(said, Unread):
        said = (True,) * len(wanted)
    for one, runs, reads in zip(left, said[::2], said[1::2], strict=True):
        if problem := _refused(one.path, _name(user), runs=runs, reads=reads):
            yield f"{one.where}: {problem}"


def _look(path: Path) -> str:
    """What is wrong with a file, whoever starts it; "" for nothing that can be seen."""
    try:
        return _look_file(path)
    except PermissionError:
        return ""  # this user may not start it either, or not look at its interpreter
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no program {path}; {CORRECT}"
    except OSError as error:
        return (
            f"{printable(str(error.filename or path))} cannot be looked at:"
            f" {error.strerror or error}; look after the file system that it is on"
        )


def _look_file(path: Path) -> str:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        return f"{path} is no file; name the program in it"
    if not mode & 0o111:
        return f"{path} is not executable; chmod a+rx {path}"
    head = _read_head(path)
    if head.startswith(SCRIPT):
        return _look_script(path, head)
    if not head or (_is_text(head) and not head.startswith(WINDOWS)):
        return f"{path} does not begin with the line of its interpreter; write #!/bin/sh, say"
    return ""


def _look_script(path: Path, head: bytes) -> str:
    line = head[len(SCRIPT) :].partition(b"\n")[0].strip(b" \t")
    interpreter = line.replace(b"\t", b" ").partition(b" ")[0].decode("utf-8", "replace")
    with suppress(FileNotFoundError, NotADirectoryError, ValueError):
        if stat.S_ISREG(Path(interpreter).stat().st_mode):
            return ""
    ends = " (its lines end as on Windows)" if interpreter.endswith("\r") else ""
    return (
        f"{path} is for the interpreter {printable(interpreter)}, which is not there{ends}; correct"
        " its first line, or install the interpreter"
    )


def _is_text(head: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\n\r\f" for byte in head)


def _read_head(path: Path) -> bytes:
    """The beginning; something that is no text where this user may not read it."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except PermissionError:
        return b"\0"


def _is_script(path: Path) -> bool:
    with suppress(OSError):
        return _read_head(path).startswith(SCRIPT)
    return False


def _refused(path: Path, name: str, *, runs: bool, reads: bool) -> str:
    """What keeps a user from it."""
    if not runs:
        return (
            f"{path} may not be run by {name}; chmod a+rx {path}, and a+x its directories"
            f" (namei -m {path} shows which); noexec of a mount, and ProtectHome of the unit for"
            " /home and /root, refuse it, too"
        )
    if not reads and _is_script(path):
        return f"{path} is a script, and may not be read by {name}; chmod a+rx {path}"
    return ""


def _name(user: int | None) -> str:
    number = os.geteuid() if user is None else user
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"
