"""One run of a check: what each kind looks at, and what it says of what it found.

Decides what is good, bad, and not known yet. Every probe is bounded by who calls it (``checks``):
it may be cancelled at any moment, and then leaves no process and no socket behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from ovpnha.checks.judge import CheckOutcome
from ovpnha.config import LATER_CODE, CheckKind, CheckSection, split_listen, split_url
from ovpnha.runtime.aside import aside
from ovpnha.runtime.bounded import SHORT, Ran, run_bounded
from ovpnha.runtime.clientprobe import probe_client
from ovpnha.runtime.processstat import read_stat

Result = tuple[CheckOutcome, str]
Probe = Callable[[CheckSection, Mapping[str, str]], Awaitable[Result]]
HEAD_LIMIT = 64 * 1024  # bytes of an answer's first line, at most
NAME_SHOWN = 15  # letters of a program's name that the kernel keeps
STATUS = re.compile(rb"[1-9][0-9]{2}")
BOUND = 0.1
"""Seconds by which a program's own limit is longer than the one of the run: the text of a run that
was ended is made in one place."""


async def run_probe(one: CheckSection, environment: Mapping[str, str]) -> Result:
    """Run it once, to its end or to its time limit."""
    try:
        async with asyncio.timeout(one.timeout):
            return await PROBES[one.kind](one, environment)
    except TimeoutError:
        return CheckOutcome.BAD, f"no result within {one.timeout:g} s"


async def _process(one: CheckSection, _environment: Mapping[str, str]) -> Result:
    target = one.target or ""
    named = not target.startswith("/")
    look = partial(_by_name, target) if named else partial(_by_file, Path(target))
    found = await aside(f"process\0{target}", look)
    if isinstance(found, str):
        return CheckOutcome.BAD, found
    return CheckOutcome.GOOD, f"process {found}"


def _by_file(path: Path) -> int | str:
    try:
        # A pipe that somebody has put there must not be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, encoding="ascii", errors="replace") as file:
            text = file.read(32).strip()
    except OSError as error:
        if error.errno in SHORT:
            raise
        return f"{path}: {error.strerror}"
    if not text.isdecimal():
        return f"{path}: has no process id"
    alive = _name_of(text) is not None
    return int(text) if alive else f"process {text} of {path} does not run"


def _by_name(name: str) -> int | str:
    """What a kernel thread or a zombie has as name counts for nothing."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        if _name_of(pid) == name:
            return int(pid)
    return f"no process {name} runs"


def _name_of(pid: str) -> str | None:
    """The name of a process that runs; one that has ended and was not buried does not."""
    stat = read_stat(pid)
    return stat.name[:NAME_SHOWN] if stat is not None and stat.runs else None


async def _command(one: CheckSection, environment: Mapping[str, str]) -> Result:
    ran = await run_bounded(one.command, environment, one.timeout, capture=True)
    if ran.code == LATER_CODE:
        return CheckOutcome.LATER, ran.first_line or "not yet known"
    return _of_program(ran, one.timeout)


def _of_program(ran: Ran, limit: float) -> Result:
    if ran.good:
        return CheckOutcome.GOOD, ran.first_line
    if ran.short:
        return CheckOutcome.LATER, ran.error
    return CheckOutcome.BAD, ran.first_line or ran.describe(limit)


async def _ping(one: CheckSection, environment: Mapping[str, str]) -> Result:
    target = one.target or ""
    whole = max(1, int(one.timeout))
    command = ("ping", "-n", "-q", "-c", "1", "-W", str(whole), target)
    ran = await run_bounded(command, environment, one.timeout + BOUND, capture=True)
    if ran.good:
        return CheckOutcome.GOOD, f"{target} answers"
    if ran.short:
        return CheckOutcome.LATER, ran.error
    return CheckOutcome.BAD, ran.error or f"{target} does not answer"


async def _tcp(one: CheckSection, _environment: Mapping[str, str]) -> Result:
    host, port = split_listen(one.target or "")
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return _blame(one, error)
    writer.transport.abort()
    return CheckOutcome.GOOD, f"{one.target} takes connections"


async def _http(one: CheckSection, _environment: Mapping[str, str]) -> Result:
    parts = split_url(one.target or "")
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        reader, writer = await asyncio.open_connection(
            parts.hostname, port, ssl=_any_certificate() if secure else None, limit=HEAD_LIMIT
        )
        with contextlib.closing(writer.transport):
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
            writer.write(f"{head}User-Agent: ovpnha\r\nAccept: */*\r\n\r\n".encode())
            line = await reader.readline()
            writer.transport.abort()
    except (OSError, ValueError) as error:
        return _blame(one, error)
    return _judge_status(line, one.target or "")


def _judge_status(line: bytes, url: str) -> Result:
    words = line.split()
    if not line.startswith(b"HTTP/") or len(words) < 2 or not STATUS.fullmatch(words[1]):
        return CheckOutcome.BAD, f"{url}: no HTTP answer"
    status = int(words[1])
    return CheckOutcome.GOOD if 200 <= status < 400 else CheckOutcome.BAD, f"{url}: status {status}"


def _any_certificate() -> ssl.SSLContext:
    """Whether it answers is what is looked at, not who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _blame(one: CheckSection, error: Exception) -> Result:
    """Bad, unless this host itself is short of something."""
    if isinstance(error, OSError) and error.errno in SHORT:
        raise error
    return CheckOutcome.BAD, f"{one.target}: {_reason(error)}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


async def _client(one: CheckSection, environment: Mapping[str, str]) -> Result:
    return await probe_client(one, environment)


PROBES: dict[CheckKind, Probe] = {
    CheckKind.PROCESS: _process,
    CheckKind.COMMAND: _command,
    CheckKind.TCP: _tcp,
    CheckKind.PING: _ping,
    CheckKind.HTTP: _http,
    CheckKind.CLIENT: _client,
}
