"""Runs a program beside the daemon: bounded in time and in what it says, and never left behind.

Decides what bounded means: a run is ended at its limit with its whole process group, what it prints
is read to the end, unhurried, and forgotten after ``OUTPUT_LIMIT``, and nothing of a run outlives
it but what has left its session on purpose. Nobody waits for it but who asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovpnha.errors import printable
from ovpnha.runtime.aside import see_program

OUTPUT_LIMIT = 4096  # bytes that are kept of what it prints
LINE_LIMIT = 200  # characters of the line that is shown
DRAIN = 0.5  # seconds for the rest of its output once it has ended
REAP = 2.0  # seconds for a killed process to go; one that the kernel keeps is left to it
PIPE = 64 * 1024  # bytes that are read at once
FORGET = 0.01  # seconds between two reads of what is forgotten
ORDINARY_NICE, ORDINARY_SCORE = 0, 0
OWN_SCORE = Path("/proc/self/oom_score_adj")
SHORT = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.ENOSPC}
)
"""Errors of a host, or of this process, that is short of something: nobody else is to blame."""
INHERITED = ("PATH", "LANG", "TZ")


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    code: int | None  # exit code, negative for a signal; None: it was killed at its limit
    output: str = ""  # the beginning of what it printed
    error: str = ""  # why it could not be started
    short: bool = False  # because this host is short of something: the program is not to blame

    @property
    def good(self) -> bool:
        """Whether it has ended by itself, and well."""
        return self.code == 0 and not self.error

    @property
    def first_line(self) -> str:
        """The first line that says something, as it may be shown."""
        lines = (line.strip() for line in self.output.splitlines())
        line = next((line for line in lines if line), "")
        return printable(line)[:LINE_LIMIT]

    def describe(self, limit: float) -> str:
        """How it ended, in words; "" when it did so well."""
        if self.error:
            return self.error
        if self.code is None:
            return f"killed after {limit:g} s"
        return "" if self.code == 0 else f"exit code {self.code}"


def plain_environment(**added: str) -> dict[str, str]:
    """What such a program sees: little of ours, and what it is to know."""
    return {**{key: os.environ[key] for key in INHERITED if key in os.environ}, **added}


def encode(text: str) -> bytes:
    """For a program: what this locale has no bytes for is UTF-8."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


@dataclass(frozen=True)
class Program:
    """One that runs, and what it prints; ``end`` it, whatever happens."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader | None  # None: it prints where this process does
    pipe: asyncio.ReadTransport | None

    async def end(self) -> None:
        """Nothing of a run outlives it: kill what is left of its session, and wait, bounded.

        The pipe is closed here, even if one that has left the session still holds its other end.
        """
        try:
            await _end_group(self.process)
        finally:
            if self.pipe is not None:
                self.pipe.close()


async def run_bounded(
    command: Sequence[str], environment: Mapping[str, str], limit: float, *, capture: bool = False
) -> Ran:
    """Run a program to its end, or to its limit in seconds, which its start has, too."""
    try:
        async with asyncio.timeout(limit):
            program = await start_program(command, environment, capture=capture)
    except TimeoutError:
        return Ran(None, error=f"{command[0]}: cannot be started within {limit:g} s")
    except OSError as error:
        told = f"{command[0]}: {error.strerror or error}"
        return Ran(None, error=told, short=error.errno in SHORT)
    kept = bytearray()
    reading = asyncio.ensure_future(_read(program.output, kept))
    code: int | None = None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                code = await program.process.wait()
        if code is not None:
            _kill_group(program.process)
            await asyncio.wait({reading}, timeout=DRAIN)
    finally:
        await program.end()
        reading.cancel()
    return Ran(code, kept.decode("utf-8", "replace"))


async def start_program(
    command: Sequence[str], environment: Mapping[str, str], *, capture: bool
) -> Program:
    """Start it in a session of its own, so that all of it can be ended; OSError if it cannot."""
    await see_program(command[0], environment)  # all of this process waits until it has begun
    if not capture:
        return Program(await spawn(command, environment, None), None, None)
    ours, theirs = os.pipe()
    try:
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
        )
        try:
            return Program(await spawn(command, environment, theirs), reader, pipe)
        except BaseException:
            pipe.close()
            raise
    finally:
        os.close(theirs)


async def spawn(
    command: Sequence[str], environment: Mapping[str, str], output: int | None
) -> asyncio.subprocess.Process:
    """Start it in a session of its own, as an ordinary program: OSError if it cannot be.

    It runs before this is over. Where nobody waits any more, what it has started by then ends, too.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *map(encode, command),
            env={encode(name): encode(value) for name, value in environment.items()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    )
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _end_group(await starting)
        raise
    _make_ordinary(process.pid)
    return process


def _make_ordinary(pid: int) -> None:
    """The sidecar comes before OpenVPN, and is spared when memory is short; what it starts is not.

    Both may be given up without any right. What has gone already needs nothing.
    """
    with contextlib.suppress(OSError, ValueError):
        if os.getpriority(os.PRIO_PROCESS, 0) < ORDINARY_NICE:
            os.setpriority(os.PRIO_PGRP, pid, ORDINARY_NICE)
    with contextlib.suppress(OSError, ValueError):
        if int(OWN_SCORE.read_text(encoding="ascii")) < ORDINARY_SCORE:
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(ORDINARY_SCORE), encoding="ascii")


async def _read(stream: asyncio.StreamReader | None, kept: bytearray) -> None:
    while stream is not None and (chunk := await stream.read(PIPE)):
        kept += chunk[: OUTPUT_LIMIT - len(kept)]
        if len(kept) >= OUTPUT_LIMIT:  # one that prints without end shall not keep this one busy
            await asyncio.sleep(FORGET)


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """Kill what is in its session still.

    Its number stays its session's while anybody is in that. If it has ended and there is a process
    with the number all the same, the session was empty, and this is somebody else's.
    """
    if process.returncode is not None and Path(f"/proc/{process.pid}").exists():
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _end_group(process: asyncio.subprocess.Process) -> None:
    _kill_group(process)
    waiting = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({waiting}, timeout=REAP)
    except asyncio.CancelledError:
        await asyncio.wait({waiting}, timeout=REAP)
        raise
    finally:
        waiting.cancel()
