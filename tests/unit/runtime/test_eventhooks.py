"""Programs that run for what happens: which, with what environment, in what order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from ovpnha.config.hook import MEANINGS, VARIABLES, HookEvent, HookSection
from ovpnha.runtime.eventhooks import FIELDS, WAITING_LIMIT, EventHooks, classify, environment
from ovpnha.runtime.events import EventBook, NodeEvent

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
HOOKS = Path(__file__).parents[3] / "deploy" / "hooks"
NOTE = 'echo "$OVPNHA_EVENT $OVPNHA_OTHER_NODE" >> "$1"'


def event(kind: str, **fields: str) -> NodeEvent:
    return NodeEvent(1, 9.5, kind, "info", "it happened", "udp", "b", fields)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (event("role_changed", old="standby", new="master"), ["role_changed"]),
        (event("role_changed", old="master", new="fault"), ["role_changed", "fault"]),
        (event("role_changed", old="fault", new="standby"), ["role_changed", "fault_over"]),
        (event("node_joined"), ["node_joined"]),
        (event("node_left"), ["node_left"]),
        (event("sync_lost"), ["not_in_sync"]),
        (event("sync_gained"), ["in_sync"]),
        (event("check", verdict="failed"), ["check_failed"]),
        (event("check", verdict="ok", recovered="True"), ["check_recovered"]),
        (event("check", verdict="ok", recovered="False"), []),
        (event("check", verdict="unknown", recovered="False"), []),
        (event("problem", problem="two_masters"), ["problem", "split_brain"]),
        (event("problem_over", problem="two_masters"), ["problem_over", "split_brain_over"]),
        (event("problem", problem="unprotected"), ["problem", "unprotected"]),
        (event("problem_over", problem="ids_low"), ["problem_over", "ids_low_over"]),
        (event("problem", problem="link_down"), ["problem"]),
        (event("switchover_begun"), ["switchover_begun"]),
        (event("switchover_done"), ["switchover_done"]),
        (event("switchover_failed"), ["switchover_failed"]),
        (event("grade_changed"), []),
    ],
)
def test_what_an_event_is_to_hooks(what: NodeEvent, expected: list[str]) -> None:
    assert [str(one) for one in classify(what)] == expected


def test_every_event_and_variable_is_documented() -> None:
    assert set(MEANINGS) == set(HookEvent)
    assert set(FIELDS.values()) < set(VARIABLES)
    fields = dict.fromkeys(FIELDS, "x\0y")
    told = environment(event("problem", **fields), HookEvent.PROBLEM, "a")
    assert {name for name in told if name.startswith("OVPNHA_")} == set(VARIABLES)
    assert (told["OVPNHA_FIX"], told["OVPNHA_TIME"]) == ("x?y", "9.500")


def hook(path: Path, *events: str, text: str = NOTE, **keys: Any) -> HookSection:
    command = ["/bin/sh", "-c", text, "sh", str(path)]
    return HookSection.model_validate({"events": events, "command": command, **keys})


@contextlib.asynccontextmanager
async def running(*sections: HookSection) -> AsyncIterator[EventBook]:
    book = EventBook()
    task = asyncio.create_task(EventHooks(sections, "a", book.follow).run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    try:
        yield book
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def happen(book: EventBook, kind: str, node: str = "", **fields: str) -> None:
    book.note(kind, "info", kind, instance="udp", node=node, fields=fields)


async def test_each_hook_runs_in_order_and_waits_for_no_other(tmp_path: Path, until: Until) -> None:
    out = tmp_path / "out"
    slow = hook(tmp_path / "slow", "node_left", text="sleep 600", timeout=0.5)
    async with running(slow, hook(out, "node_joined", "node_left")) as book:
        for number in range(4):
            happen(book, "node_left" if number % 2 else "node_joined", str(number))
        await until(lambda: len(lines(out)) == 4)
    assert lines(out) == ["node_joined 0", "node_left 1", "node_joined 2", "node_left 3"]


async def test_one_that_hangs_or_fails_is_told(
    tmp_path: Path, until: Until, logged: list[MutableMapping[str, Any]]
) -> None:
    slow = hook(tmp_path / "a", "node_left", text="sleep 600", timeout=0.2)
    bad = hook(tmp_path / "b", "node_left", text="exit 4")
    async with running(slow, bad) as book:
        happen(book, "node_left")
        await until(lambda: len(logged) == 2)
    assert {one["reason"] for one in logged} == {"killed after 0.2 s", "exit code 4"}


async def test_of_too_many_the_oldest_are_left_out(
    tmp_path: Path, until: Until, logged: list[MutableMapping[str, Any]]
) -> None:
    gate, out = tmp_path / "gate", tmp_path / "out"
    text = f"while [ ! -e {gate} ]; do sleep 0.05; done; {NOTE}"
    async with running(hook(out, "node_left", text=text, timeout=60.0)) as book:
        happen(book, "node_left", "first")
        await until(lambda: book)
        await asyncio.sleep(0)
        for number in range(WAITING_LIMIT + 3):
            happen(book, "node_left", str(number))
            await asyncio.sleep(0)
        await until(lambda: any(one["event"] == "hook too slow" for one in logged))
        gate.touch()
        await until(lambda: lines(out)[-1:] == [f"node_left {WAITING_LIMIT + 2}"])
    assert len(lines(out)) <= WAITING_LIMIT + 1


async def test_what_does_not_last_is_not_told_nor_its_end(tmp_path: Path, until: Until) -> None:
    out = tmp_path / "out"
    events = ("unprotected", "unprotected_over", "role_changed")
    async with running(hook(out, *events, after=0.3)) as book:
        happen(book, "problem", problem="unprotected")
        happen(book, "problem", problem="unprotected")
        happen(book, "problem_over", problem="unprotected")
        happen(book, "role_changed", old="standby", new="master")
        await until(lambda: lines(out) == ["role_changed "])
        happen(book, "problem", problem="unprotected")
        await until(lambda: len(lines(out)) == 2)
        happen(book, "problem_over", problem="unprotected")
        await until(lambda: len(lines(out)) == 3)
    assert lines(out)[1:] == ["unprotected ", "unprotected_over "]


async def test_only_of_its_instance_and_until_the_sidecar_ends(
    tmp_path: Path, until: Until
) -> None:
    out = tmp_path / "out"
    async with running(hook(out, "node_left", instance="tcp")) as book:
        happen(book, "node_left", "of udp")
        book.note("node_left", "info", "x", node="of all")
        book.note("node_left", "info", "x", instance="tcp", node="of tcp")
        book.stop()
        await until(lambda: len(lines(out)) == 2)
    assert lines(out) == ["node_left of all", "node_left of tcp"]


async def test_without_hooks_nobody_follows() -> None:
    await EventHooks((), "a", EventBook().follow).run()


def test_the_example_that_mails(tmp_path: Path) -> None:
    (tmp_path / "sendmail").write_text(
        f"#!/bin/sh\necho $* > {tmp_path}/to\ncat > {tmp_path}/mail\n"
    )
    (tmp_path / "sendmail").chmod(0o755)
    told = environment(event("node_left"), HookEvent.NODE_LEFT, "a")
    told |= {"SENDMAIL": str(tmp_path / "sendmail"), "OVPNHA_OTHER_NODE": "b\nBcc: evil"}
    subprocess.run([HOOKS / "mail", "admin@example.org"], env=told, check=True)
    head, _, body = (tmp_path / "mail").read_text().partition("\n\n")
    assert (tmp_path / "to").read_text() == "-i -- admin@example.org\n"
    assert "Subject: ovpnha a: node_left udp b?Bcc: evil" in head.splitlines()
    assert body.startswith("it happened\n")


@pytest.mark.parametrize(("codes", "result"), [([200], 0), ([503, 200], 0), ([503] * 3, 1)])
def test_the_example_that_posts(codes: list[int], result: int) -> None:
    bodies: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            bodies.append(json.loads(self.rfile.read(length)))
            self.send_response(codes[len(bodies) - 1])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/x"
        told = environment(event("node_left"), HookEvent.NODE_LEFT, "a")
        done = subprocess.run([HOOKS / "webhook", url], env=told, check=False, capture_output=True)
        server.shutdown()
        thread.join()
    assert (done.returncode, len(bodies)) == (result, len(codes))
    assert bodies[0]["text"] == "a: it happened"
    assert bodies[0]["other_node"] == "b"


async def test_a_hook_with_a_fault_ends_nothing(tmp_path: Path, until: Until) -> None:
    """A text with a zero byte cannot be given to a program."""
    path = tmp_path / "told"
    with structlog.testing.capture_logs() as told:
        async with running(hook(path, "node_left", "node_joined")) as book:
            [follower] = book._followers
            follower.put(NodeEvent(1, 1.0, "node_left", "info", "\0", node="b"))
            book.note("node_joined", "info", "x", node="c")
            await until(lambda: lines(path) == ["node_joined c"])
    assert [line["event"] for line in told] == ["hook has a fault", "hook failed"]
