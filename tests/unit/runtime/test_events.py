"""Events: remembered within bounds, told to whoever follows, and never waiting for a reader."""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from ovpnha.config import LogConfig, LogLevel
from ovpnha.model import Sync
from ovpnha.node.statistics import NodeStatistics
from ovpnha.problems import Problem, ProblemKind
from ovpnha.runtime import eventstream
from ovpnha.runtime.control import ControlError, ControlServer, Request
from ovpnha.runtime.eventclient import follow_events
from ovpnha.runtime.events import (
    DROPPED,
    FOLLOWER_LIMIT,
    JOURNAL_LIMIT,
    SPARED,
    STOPPING,
    EventBook,
    NodeEvent,
)
from ovpnha.runtime.eventstream import FOLLOWERS_LIMIT, EventStreams
from ovpnha.runtime.logs import BURST, configure_logs

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


def kinds(events: tuple[NodeEvent, ...]) -> list[tuple[str, str]]:
    return [(one.kind, one.node) for one in events]


def note(book: EventBook, count: int = 1) -> None:
    for number in range(count):
        book.note("thing", "info", f"thing {number}")


@pytest.fixture
def moment() -> list[float]:
    return [100.0]


@pytest.fixture
def book(moment: list[float]) -> EventBook:
    return EventBook(lambda: moment[0])


def test_what_is_remembered_is_bounded(book: EventBook, moment: list[float]) -> None:
    note(book, 2 * JOURNAL_LIMIT)
    assert len(book.since(0.0)) == JOURNAL_LIMIT
    assert book.since(0.0)[-1].number == 2 * JOURNAL_LIMIT
    moment[0] = 200.0
    note(book)
    assert len(book.since(150.0)) == 1


async def test_a_slow_follower_misses_the_oldest_and_is_told(book: EventBook) -> None:
    with book.follow(None) as slow, book.follow(None) as quick:
        note(book, FOLLOWER_LIMIT)
        assert len(quick.take()) == FOLLOWER_LIMIT
        note(book, 7)
        missed, first, *rest = slow.take()
        assert (missed.kind, missed.fields) == (DROPPED, {"events": "7"})
        assert first.number == 8
        assert len(rest) == FOLLOWER_LIMIT - 1
        assert [one.kind for one in quick.take()] == ["thing"] * 7
        assert slow.take() == []


async def test_a_follower_gets_what_is_remembered_first(book: EventBook) -> None:
    note(book, 2)
    with book.follow(0.0) as follower:
        note(book)
        assert [one.number for one in follower.take()] == [1, 2, 3]
    note(book)
    assert follower.take() == []


@pytest.mark.parametrize("level", [LogLevel.DEBUG, LogLevel.INFO, LogLevel.ERROR])
def test_lines_of_the_log_are_events_whatever_is_written(book: EventBook, level: LogLevel) -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(level=level), stream, tap=book.take_log)
    log = structlog.get_logger()
    log.debug("nobody's")
    log.warning("node lost", node="b", reason="silent", monotonic=1.0)
    log.info("role changed", instance="udp", old="standby", new="master", written=2.0)
    log.info("BCN sockets: opened")
    log.error("two\nlines\x1b[2J", instance="udp")
    lost, changed, opened, strange = book.since(0.0)
    assert (lost.kind, lost.level, lost.node) == ("node_left", "warning", "b")
    assert lost.text == "node lost: reason silent"
    assert (changed.kind, changed.instance) == ("role_changed", "udp")
    assert changed.fields == {"old": "standby", "new": "master"}
    assert opened.kind == "bcn_sockets_opened"
    assert strange.text.isprintable()
    written = stream.getvalue()
    assert ("nobody's" in written) is (level is LogLevel.DEBUG)
    assert ("node lost" in written) is (level is not LogLevel.ERROR)
    assert "lines" in written


def test_what_hooks_wait_for_is_never_left_out(book: EventBook) -> None:
    """Sixteen checks may change twice a second."""
    stream = io.StringIO()
    configure_logs(LogConfig(), stream, book.take_log, SPARED)
    for _ in range(2 * BURST):
        structlog.get_logger().warning("check", check="lan", verdict="failed")
        structlog.get_logger().warning("something else")
    told = [one.kind for one in book.since(0.0)]
    assert (told.count("check"), told.count("something_else")) == (2 * BURST, BURST)


async def test_a_line_of_another_thread_comes_with_the_loop(
    book: EventBook, statistics: NodeStatistics, until: Until
) -> None:
    task = asyncio.create_task(book.run(lambda: statistics))
    await asyncio.sleep(0)
    before = len(book.since(0.0))
    line: Any = {"event": "from a thread", "level": "info"}
    thread = threading.Thread(target=book.take_log, args=(None, "", line))
    thread.start()
    thread.join()
    assert len(book.since(0.0)) == before
    await until(lambda: len(book.since(0.0)) == before + 1)
    task.cancel()


def test_problems_come_and_go(book: EventBook, statistics: NodeStatistics) -> None:
    book.look(statistics)
    start = len(book.since(0.0))
    problem = Problem(ProblemKind.SERVER_SILENT, "OpenVPN does not answer", "see its log", "udp")
    ill = replace(statistics, instances=(replace(statistics.instances[0], problems=(problem,)),))
    for status in (ill, ill, statistics, statistics):
        book.look(status)
    come, gone = book.since(0.0)[start:]
    assert (come.kind, come.level, come.instance) == ("problem", "warning", "udp")
    assert come.fields["problem"] == "server_silent"
    assert come.text == "OpenVPN does not answer; see its log"
    assert (gone.kind, gone.text) == ("problem_over", "over: OpenVPN does not answer")


def with_sync(status: NodeStatistics, sync: Sync, *, believed: bool = True) -> NodeStatistics:
    [instance] = status.instances
    [node] = instance.nodes
    other = replace(node, sync=sync, believed=believed)
    return replace(status, instances=(replace(instance, nodes=(other,)),))


def test_copies_are_lost_and_regained(book: EventBook, statistics: NodeStatistics) -> None:
    book.look(statistics)  # in sync from the start: no news
    for sync in (Sync.SYNCING, Sync.SYNCING, Sync.IN_SYNC, Sync.PARTIAL):
        book.look(with_sync(statistics, sync))
    book.look(with_sync(statistics, Sync.PARTIAL, believed=False))
    found = [one for one in kinds(book.since(0.0)) if one[0].startswith("sync")]
    assert found == [("sync_lost", "b"), ("sync_gained", "b"), ("sync_lost", "b")]


async def answer(_request: Request) -> object:
    raise AssertionError("nobody asks")


async def serve(path: Path, book: EventBook) -> asyncio.Task[None]:
    server = ControlServer(path, answer, EventStreams(book.follow))
    server.bind()
    task = asyncio.create_task(server.run())
    await asyncio.sleep(0)
    return task


def collect(path: Path, found: list[NodeEvent], since: float | None = None) -> str:
    """Follow to the end; returns how it ended."""
    try:
        found.extend(follow_events(path, since))
    except ControlError as error:
        return str(error)
    return ""


async def test_several_follow_and_end_with_the_sidecar(
    tmp_path: Path, book: EventBook, until: Until
) -> None:
    path = tmp_path / "control.sock"
    task = await serve(path, book)
    note(book, 2)
    found: list[list[NodeEvent]] = [[], [], []]
    since = (None, 0.0, None)
    readers = [
        asyncio.create_task(asyncio.to_thread(collect, path, *one))
        for one in zip(found, since, strict=True)
    ]
    await until(lambda: len(book._followers) == 3)
    note(book)
    await until(lambda: all(found))
    book.stop()
    assert await asyncio.gather(*readers) == ["", "", ""]
    assert [one.kind for one in found[0]] == ["thing", STOPPING]
    assert [one.kind for one in found[1]] == ["thing", "thing", "thing", STOPPING]
    assert not book._followers
    task.cancel()


async def test_a_reader_that_goes_is_forgotten(
    tmp_path: Path, book: EventBook, until: Until
) -> None:
    task = await serve(tmp_path / "control.sock", book)
    for _ in range(2 * FOLLOWERS_LIMIT):
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
        writer.write(b'{"command": "events", "follow": true}\n')
        await until(lambda: book._followers)
        writer.close()
        await until(lambda: not book._followers)
    task.cancel()


def has_followers(book: EventBook, count: int) -> bool:
    return len(book._followers) == count


async def test_too_many_are_refused_and_commands_still_find_a_place(
    tmp_path: Path, book: EventBook, until: Until
) -> None:
    path = tmp_path / "control.sock"
    task = await serve(path, book)
    writers = []
    for number in range(FOLLOWERS_LIMIT):
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'{"command": "events", "follow": true}\n')
        writers.append(writer)
        await until(partial(has_followers, book, number + 1))
    assert "follow the events already" in await asyncio.to_thread(collect, path, [])
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"command": "nonsense"}\n')
    assert not json.loads(await reader.readline())["ok"]
    for one in (*writers, writer):
        one.close()
    task.cancel()


async def test_who_reads_nothing_delays_nobody_and_is_cut_off_at_the_end(
    tmp_path: Path, book: EventBook, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventstream, "END_WITHIN", 0.05)
    path = tmp_path / "control.sock"
    task = await serve(path, book)
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1)
    writer.write(b'{"command": "events", "follow": true}\n')
    await until(lambda: book._followers)
    [follower] = book._followers
    for _ in range(50):
        for number in range(500):
            book.note("thing", "info", f"{number} " + "x" * 300)
        await asyncio.sleep(0)
    await until(lambda: follower._missed)
    book.stop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not path.exists()
    writer.close()
    del reader


async def test_a_stuck_reader_is_sent_away(
    tmp_path: Path, book: EventBook, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventstream, "STUCK_AFTER", 0.05)
    task = await serve(tmp_path / "control.sock", book)
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"), limit=1)
    writer.write(b'{"command": "events", "follow": true}\n')
    await until(lambda: book._followers)
    connected = count_descriptors()

    def gone() -> bool:
        book.note("thing", "info", "x" * 400)
        for _ in range(500):
            book.note("thing", "info", "x" * 400)
        return not book._followers

    await until(gone)
    await until(lambda: count_descriptors() < connected)
    writer.close()
    task.cancel()


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_sidecar_that_dies_is_told(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"ok": true}\n')
        writer.close()

    async with await asyncio.start_unix_server(die, str(path)):
        assert "ended without a word" in await asyncio.to_thread(collect, path, [])
    assert "does not run" in await asyncio.to_thread(collect, path.with_name("nobody"), [])


@pytest.mark.parametrize("said", [b"", b"no JSON\n", b'{"ok": true}\nno JSON\n'])
async def test_what_is_no_answer_is_one_line(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "control.sock"

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    async with await asyncio.start_unix_server(babble, str(path)):
        assert "hung up" in await asyncio.to_thread(collect, path, [])
