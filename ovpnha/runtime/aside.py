"""Looks at what may hang for ever, where nobody waits for it but who asked.

A file on a disk or a share that does not answer holds whoever opens it, and a program that is
started from there holds the whole process: the kernel lets it go on only when the program has
begun. So a look at such a file is made in a thread of its own, which nobody waits for at the end,
and before a program is started its file is looked at in this way.

Decides that one look at a thing is under way at most: who asks again waits for the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Found = TypeVar("Found")

HEAD = 4096
"""Bytes of a program's file that the kernel needs to begin with it, at most."""

_under_way: dict[str, asyncio.Future[Any]] = {}


async def aside(what: str, look: Callable[[], Found]) -> Found:
    """What the look finds, or what it raises; ``what`` says what is looked for, and where."""
    loop = asyncio.get_running_loop()
    found = _under_way.get(what)
    if found is None or found.done() or found.get_loop() is not loop:
        found = _under_way[what] = loop.create_future()
        found.add_done_callback(lambda one: one.cancelled() or one.exception())
        _start(found, look)
    seen: Found = await asyncio.shield(found)
    return seen


def _start(found: asyncio.Future[Any], look: Callable[[], Any]) -> None:
    thread = threading.Thread(target=_look, args=(found, look), name="aside", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # as many threads as there may be
        found.set_exception(OSError(errno.EAGAIN, str(error)))


def _look(found: asyncio.Future[Any], look: Callable[[], Any]) -> None:
    try:
        seen, error = look(), None
    except Exception as failure:  # it is for who asked
        seen, error = None, failure
    with contextlib.suppress(RuntimeError):  # the loop has ended
        found.get_loop().call_soon_threadsafe(_tell, found, seen, error)


def _tell(found: asyncio.Future[Any], seen: object, error: Exception | None) -> None:
    if found.done():
        return
    if error is None:
        found.set_result(seen)
    else:
        found.set_exception(error)


async def see_program(name: str, environment: Mapping[str, str]) -> None:
    """Return when its file, wherever PATH has it, was read; what is wrong, the start says."""
    path = environment.get("PATH", os.defpath)
    await aside(f"program\0{path}\0{name}", lambda: _see(name, path))


def _see(name: str, path: str) -> None:
    folders = [""] if "/" in name else path.split(os.pathsep)
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            file = os.path.join(folder, name)
            if stat.S_ISREG(os.stat(file).st_mode):
                with open(file, "rb", buffering=0) as opened:
                    opened.read(HEAD)
                return
