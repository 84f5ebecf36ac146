"""A program beside the daemon is bounded in time and in what it says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ovpnha.runtime import bounded
from ovpnha.runtime.bounded import OUTPUT_LIMIT, Ran, plain_environment, run_bounded
from tests.lab.processes import is_running

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


async def sh(text: str, limit: float = 10.0, *arguments: str) -> Ran:
    command = ("/bin/sh", "-c", text, "sh", *arguments)
    return await run_bounded(command, plain_environment(WHO="me"), limit, capture=True)


async def test_how_it_ended_and_what_it_said() -> None:
    ran = await sh('echo; printf " hello\\033 $WHO\\nmore"; echo oops >&2')
    assert (ran.good, ran.code, ran.first_line, ran.describe(10.0)) == (True, 0, "hello? me", "")
    ran = await sh("exit 3")
    assert (ran.good, ran.first_line, ran.describe(10.0)) == (False, "", "exit code 3")
    ran = await run_bounded(("/nowhere",), {}, 1.0)
    assert (ran.good, ran.describe(1.0)) == (False, "/nowhere: No such file or directory")


async def test_what_it_says_is_read_to_the_end_and_kept_in_part() -> None:
    ran = await sh("head -c 3000000 /dev/zero | tr '\\0' x")
    assert ran.good
    assert len(ran.output) == OUTPUT_LIMIT


async def test_it_is_an_ordinary_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score = tmp_path / "score"
    score.write_text("-900\n")
    monkeypatch.setattr(bounded, "OWN_SCORE", score)
    monkeypatch.setattr(bounded, "ORDINARY_SCORE", 700)
    monkeypatch.setattr(bounded, "ORDINARY_NICE", 19)
    text = 'while [ "$(cat /proc/self/oom_score_adj) $(nice)" != "700 19" ]; do :; done'
    assert (await sh(text)).good


async def test_what_this_locale_has_no_bytes_for_is_utf8() -> None:
    environment = plain_environment(WHO="a\ud800b")
    ran = await run_bounded(
        ("/bin/sh", "-c", 'echo "$WHO $1"', "sh", "c\ud800"), environment, 10.0, capture=True
    )
    assert ran.first_line == "a?b c?"


async def test_one_that_leaves_a_child_with_its_output_open_is_over_with_it(
    tmp_path: Path, until: Until
) -> None:
    ran = await sh('sleep 600 & echo $! > "$1/child"; echo done', 60.0, str(tmp_path))
    assert (ran.good, ran.first_line) == (True, "done")
    child = int((tmp_path / "child").read_text())
    await until(lambda: not is_running(child))


@pytest.mark.parametrize("cancelled", [False, True])
async def test_at_its_limit_or_when_nobody_waits_it_is_ended_with_its_children(
    tmp_path: Path, until: Until, *, cancelled: bool
) -> None:
    text = 'trap "" TERM INT; sleep 600 & echo $! > "$1/new"; mv "$1/new" "$1/child"; wait'
    child = tmp_path / "child"
    task = asyncio.create_task(sh(text, 60.0 if cancelled else 0.5, str(tmp_path)))
    await until(child.exists)
    if cancelled:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        ran = await task
        assert (ran.code, ran.describe(0.5)) == (None, "killed after 0.5 s")
    assert task.cancelled() is cancelled
    await until(lambda: not is_running(int(child.read_text())))


async def test_who_is_waited_for_no_more_while_it_starts_leaves_no_child(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, goes_on = asyncio.create_subprocess_exec, asyncio.Event()

    async def slow(*command: bytes, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*command, **options)
        await goes_on.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    text = 'sleep 600 & echo $! > "$1/new"; mv "$1/new" "$1/child"; wait'
    task = asyncio.create_task(sh(text, 60.0, str(tmp_path)))
    child = tmp_path / "child"
    await until(child.exists)
    task.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not is_running(int(child.read_text())))


def test_a_number_that_is_another_one_s_by_now_is_not_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _signal: killed.append(group))
    with subprocess.Popen(["true"]) as over:
        over.wait()
    for pid, code in ((os.getpid(), 0), (os.getpid(), None), (over.pid, 0)):
        bounded._kill_group(SimpleNamespace(pid=pid, returncode=code))  # type: ignore[arg-type]
    assert killed == [os.getpid(), over.pid]
