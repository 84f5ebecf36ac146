"""A file that cannot be read holds who asked for it, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ovpnha.checks.judge import CheckOutcome
from ovpnha.config import CheckKind, CheckSection
from ovpnha.runtime.aside import aside
from ovpnha.runtime.bounded import plain_environment, run_bounded
from ovpnha.runtime.probes import run_probe

HANG = 30.0
"""Seconds for which the file hangs unless it is let go."""
PROMPT = 5.0
"""Seconds, on a busy machine, in which an event loop that waits for nothing has its turn."""


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Path]:
    """A program that nobody can open: whoever tries waits until its lease ends."""
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\necho done\n")
    path.chmod(0o755)
    read, write = os.pipe()
    if (keeper := os.fork()) == 0:
        _keep(path, write)
    os.close(write)
    assert os.read(read, 1)
    yield path
    os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)
    os.close(read)


def _keep(path: Path, ready: int) -> None:
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # it is told that somebody waits
    fcntl.fcntl(os.open(path, os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
    os.write(ready, b".")
    time.sleep(HANG)
    os._exit(0)


async def longest_wait(stop: asyncio.Event) -> float:
    """Seconds for which the event loop had no turn, at most."""
    longest, last = 0.0, time.monotonic()
    while not stop.is_set():
        await asyncio.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


async def test_a_program_that_cannot_be_read_holds_nothing_else(hanging: Path) -> None:
    stop = asyncio.Event()
    watching = asyncio.create_task(longest_wait(stop))
    await asyncio.sleep(0.05)
    threads = threading.active_count()
    for _ in range(3):
        ran = await run_bounded((str(hanging),), plain_environment(), 0.3, capture=True)
        assert ran.describe(0.3) == f"{hanging}: cannot be started within 0.3 s"
    assert threading.active_count() <= threads + 1
    stop.set()
    assert await watching < PROMPT


async def test_a_check_that_looks_for_long_holds_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(os, "listdir", lambda _path: ["1"] if go_on.wait(2 * PROMPT) else [])
    keys = {"name": "one", "kind": "process", "target": "nobody", "timeout": 0.3}
    stop = asyncio.Event()
    watching = asyncio.create_task(longest_wait(stop))
    found = await run_probe(CheckSection.model_validate(keys), plain_environment())
    assert found == (CheckOutcome.BAD, "no result within 0.3 s")
    stop.set()
    assert await watching < PROMPT
    go_on.set()


async def test_what_it_finds_and_what_goes_wrong() -> None:
    def fail(error: Exception) -> None:
        raise error

    assert await aside("one", lambda: 7) == 7
    for error in (OSError(errno.EIO, "oops"), ValueError("oops")):
        async with asyncio.timeout(60.0):
            with pytest.raises(type(error), match="oops"):
                await aside("one", partial(fail, error))


async def test_two_that_look_at_one_file_for_different_things(tmp_path: Path) -> None:
    """Each has its own answer, while the other's look is under way as well."""
    path = tmp_path / "client.ovpn"
    path.write_text("daemon\n")
    kinds: tuple[dict[str, object], ...] = (
        {"kind": "client", "client_config": str(path)},
        {"kind": "process", "target": str(path)},
    )
    checks = [CheckSection.model_validate({"name": "one", **keys}) for keys in kinds]
    for one, other in (checks, checks[::-1]):
        found = dict(
            zip(
                (one.kind, other.kind),
                await asyncio.gather(*(run_probe(of, plain_environment()) for of in (one, other))),
                strict=True,
            )
        )
        assert found[CheckKind.CLIENT][1].endswith("remove that line")
        assert found[CheckKind.PROCESS][1] == f"{path}: has no process id"


async def test_as_many_threads_as_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="can't start new thread"):
        await aside("one", lambda: 7)


async def test_a_program_is_looked_for_where_path_has_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "true")  # nothing to read there, and none that can be started
    environment = {"PATH": f"{tmp_path / 'none'}:{tmp_path}:/bin"}
    assert (await run_bounded(("true",), environment, 10.0)).good
    ran = await run_bounded((str(tmp_path / "true"),), environment, 10.0)
    assert ran.error == f"{tmp_path / 'true'}: Permission denied"


def test_a_look_that_outlives_its_loop_disturbs_nobody() -> None:
    go_on = threading.Event()

    async def give_up() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await aside("one", go_on.wait)

    asyncio.run(give_up())
    go_on.set()
    assert asyncio.run(aside("one", lambda: 7)) == 7
