"""The history on disk: what a power cut, a full disk or a stranger leaves is told."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config.paths import draft_of
from ovpnha.model import Epoch, InstanceName, NodeName, Role
from ovpnha.node.outputs import HistoryChanged
from ovpnha.replication.history import HistoryEntry
from ovpnha.runtime import historyfile
from ovpnha.runtime.answers import HistoryAnswer
from ovpnha.runtime.control import HistoryRequest
from ovpnha.runtime.historyfile import FoundHistory, HistoryFile, find_history_file
from ovpnha.runtime.historykeeper import WAITING_LIMIT, HistoryKeeper
from ovpnha.runtime.historypage import describe_history, select_history

A = NodeName("a")
Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


def make(number: int, *, revision: int = 0, node: str = "a", **figures: float) -> HistoryEntry:
    place = (number.to_bytes(8, "big"), revision, NodeName(node), InstanceName("udp"))
    roles = (Role.STANDBY, Role.MASTER, Epoch(number, A))
    return HistoryEntry(*place, 1.79e9 + number, *roles, "the VIP arrived", figures)


def write(file: HistoryFile, *entries: HistoryEntry) -> None:
    file.append(entries)


@pytest.fixture
def file(tmp_path: Path) -> HistoryFile:
    return HistoryFile(tmp_path / "history.jsonl")


def test_a_directory_that_cannot_be_looked_at_is_none(tmp_path: Path) -> None:
    assert find_history_file(tmp_path / "history.jsonl") is not None
    assert find_history_file(tmp_path / "none" / "history.jsonl") is None
    assert find_history_file(tmp_path / ("x" * 300) / "history.jsonl") is None


def test_what_is_written_is_read(file: HistoryFile) -> None:
    assert file.read() == FoundHistory()
    write(file, make(1, clients=3.0))
    write(file, make(2), make(1, revision=1))
    assert file.read().entries == (make(1, clients=3.0), make(2), make(1, revision=1))
    lines = file.path.read_text().splitlines()
    assert json.loads(lines[0])["v"] == 1
    assert file.path.stat().st_mode & 0o137 == 0


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_a_power_cut_tore_costs_that_line_only(file: HistoryFile, cut: int) -> None:
    write(file, make(1), make(2))
    file.path.write_bytes(file.path.read_bytes()[:-cut])
    found = HistoryFile(file.path).read()
    assert (found.entries, found.skipped) in (((make(1),), 1), ((make(1), make(2)), 0))
    write(file, make(3))
    assert HistoryFile(file.path).read().entries[-1] == make(3)
    assert HistoryFile(file.path).read().entries[0] == make(1)


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        "7",
        "null",
        "{}",
        '{"v": 2}',
        "\x00" * 50,
        "[" * 50_000,
        '{"v": 1, "key": "00"}',
        "WHEN NaN",
        "WHEN Infinity",
        'KEY "00"',
        'KEY "zz"',
        'NODE "' + "n" * 70 + '"',
        'NODE "\\ud800"',
        'NODE "\\u001b[2J"',
        'INSTANCE "u\\u202ep"',
        'EPOCH {"counter": 1, "node": "\\u0007"}',
        'REASON "a\\nb"',
        'NEW "king"',
        'FIGURES {"a b": 1}',
    ],
)
def test_what_is_no_entry_is_skipped(file: HistoryFile, line: str) -> None:
    write(file, make(1))
    name, _, value = line.partition(" ")
    if name.isupper():
        whole = file.path.read_text().splitlines()[0]
        plain = json.loads(whole)
        kept = json.dumps(plain[name.lower()])
        line = whole.replace(f'"{name.lower()}": {kept}', f'"{name.lower()}": {value}')
        assert line != whole
    with file.path.open("a") as raw:
        raw.write(line + "\n")
    assert file.read() == FoundHistory((make(1),), 1)


def test_only_the_end_of_a_huge_file_is_read(
    file: HistoryFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, *map(make, range(100)))
    monkeypatch.setattr(historyfile, "BYTES", 2000)
    found = file.read()
    assert found.entries[-1] == make(99)
    assert 0 < len(found.entries) < 20
    assert file.append([make(100)]), "it is to be made anew"


def test_a_file_with_many_lines_is_made_anew(
    file: HistoryFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(historyfile, "LINES", 3)
    assert [file.append([make(number)]) for number in range(4)] == [False, False, False, True]
    file.rewrite([make(3)])
    assert file.read().entries == (make(3),)
    assert not file.append([make(4)])


@pytest.mark.parametrize("make_bad", [Path.mkdir, os.mkfifo])
def test_a_file_that_is_none_is_told(file: HistoryFile, make_bad: Callable[[Path], None]) -> None:
    make_bad(file.path)
    assert str(file.path) in file.read().problem


def fill(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The disk has room for so many bytes more."""
    left = [after]
    really = os.write

    def limited(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        count = really(descriptor, bytes(data)[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(os, "write", limited)


def test_a_full_disk_leaves_whole_lines(file: HistoryFile, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, make(1))
    with monkeypatch.context() as patch:
        fill(patch, 20)
        with pytest.raises(OSError, match="No space"):
            file.append([make(2)])
    assert file.read() == FoundHistory((make(1),), 0)
    write(file, make(3))
    assert file.read().entries == (make(1), make(3))


def test_one_that_cannot_be_made_anew_stays(file: HistoryFile) -> None:
    write(file, make(1))
    draft_of(file.path).mkdir()
    with pytest.raises(OSError):
        file.rewrite([make(2)])
    assert file.read().entries == (make(1),)


async def keep(keeper: HistoryKeeper, *entries: HistoryEntry) -> asyncio.Task[None]:
    task = asyncio.create_task(keeper.run(lambda: entries))
    await asyncio.sleep(0)
    return task


async def test_changes_are_kept_beside_everything_else(file: HistoryFile, until: Until) -> None:
    keeper = HistoryKeeper(file)
    assert keeper.load() == ()
    task = await keep(keeper)
    keeper.changed(HistoryChanged(make(1)))
    await until(lambda: file.read().entries == (make(1),))
    keeper.changed(HistoryChanged(make(2)))
    keeper.changed(HistoryChanged(make(2, revision=1)))
    await until(lambda: file.read().entries == (make(1), make(2, revision=1)))
    assert keeper.problem == ""
    task.cancel()
    assert HistoryKeeper(file).load() == (make(1), make(2, revision=1))


async def test_what_could_not_be_written_is_when_there_is_room(
    tmp_path: Path, until: Until, logged: list[MutableMapping[str, Any]]
) -> None:
    directory = tmp_path / "there"
    file = HistoryFile(directory / "history.jsonl")
    keeper = HistoryKeeper(file, retry=0.01)
    task = await keep(keeper, make(1), make(2))
    keeper.changed(HistoryChanged(make(1)))
    await until(lambda: keeper.problem)
    keeper.changed(HistoryChanged(make(2)))
    directory.mkdir()
    await until(lambda: not keeper.problem)
    assert file.read().entries == (make(1), make(2))
    assert [entry["event"] for entry in logged] == ["history not kept", "history kept again"]
    task.cancel()


async def test_a_disk_that_hangs_costs_a_bounded_room(file: HistoryFile, until: Until) -> None:
    keeper = HistoryKeeper(file)
    for number in range(2 * WAITING_LIMIT):
        keeper.changed(HistoryChanged(make(number)))
    assert len(keeper._waiting) <= WAITING_LIMIT
    task = await keep(keeper, make(7))
    await until(lambda: file.read().entries == (make(7),))
    task.cancel()


async def test_damage_is_told_and_mended(
    file: HistoryFile, until: Until, logged: list[MutableMapping[str, Any]]
) -> None:
    file.path.write_text("torn\n")
    keeper = HistoryKeeper(file)
    assert keeper.load() == ()
    assert logged[0] == {
        "event": "lines of the history skipped",
        "log_level": "warning",
        "lines": 1,
    }
    task = await keep(keeper, make(1))
    keeper.changed(HistoryChanged(make(1)))
    await until(lambda: file.read() == FoundHistory((make(1),), 0))
    task.cancel()


def test_a_file_that_cannot_be_read_does_not_stop_the_start(tmp_path: Path) -> None:
    keeper = HistoryKeeper(HistoryFile(tmp_path))
    assert keeper.load() == ()
    assert "regular" in keeper.problem or "directory" in keeper.problem


async def test_where_nothing_is_kept_nothing_is_written() -> None:
    keeper = HistoryKeeper(None, missing="/var/lib/x is not there")
    assert keeper.load() == ()
    assert keeper.problem == "/var/lib/x is not there"
    keeper.changed(HistoryChanged(make(1)))
    await keeper.run(tuple)


def test_what_is_asked_for_is_shown() -> None:
    entries = [make(1), make(2, node="b"), make(3)]
    everything = select_history(A, entries, HistoryRequest(), None)
    assert everything.entries == tuple(entries)
    assert select_history(A, entries, HistoryRequest(here=True), None).entries == (make(1), make(3))
    since = HistoryRequest(since=1.79e9 + 2.5)
    assert select_history(A, entries, since, None).entries == (make(3),)
    assert select_history(A, entries, HistoryRequest(), InstanceName("tcp")).entries == ()
    newest = select_history(A, entries, HistoryRequest(last=1), None)
    assert (newest.entries, newest.more) == ((make(3),), 2)


def texts(answer: HistoryAnswer) -> list[list[str]]:
    grid = describe_history(answer).changes
    assert grid is not None
    return [[cell.text for cell in row] for row in grid.rows]


def test_a_page_says_what_a_promotion_took() -> None:
    entry = make(
        7, promoted=0.0042, first_packet=0.061, silent=1.25, clients=12.0, lacking=1.0, rekeyed=12.0
    )
    [row] = texts(HistoryAnswer(A, (entry,)))
    assert row[1:5] == ["a", "standby", "master", "7"]
    assert row[5:8] == ["1.25 s", "4.2 ms", "61.0 ms"]
    assert row[8] == "12 clients, 1 lacking, 12 with new keys"
    assert row[9] == "the VIP arrived"


@pytest.mark.parametrize(
    ("name", "seconds", "text"),
    [
        ("fenced", 12.25, "done in 12.25 s"),
        ("fence_failed", 30.0, "failed after 30.00 s"),
        ("fence_overruled", 0.5, "overruled after 500.0 ms"),
        ("fence_asked", 0.0, "asked"),
    ],
)
def test_a_page_says_what_became_of_a_fence(name: str, seconds: float, text: str) -> None:
    """An entry of another promotion, or of an older release, has nothing of it."""
    promotion = replace(make(2), figures={name: seconds})
    answer = HistoryAnswer(A, (make(1, silent=1.25, promoted=0.0042), promotion))
    page = describe_history(answer)
    assert page.changes is not None
    assert page.changes.columns[5:8] == ("silence", "fence", "serves")
    older, row = texts(answer)
    assert older[5:8] == ["1.25 s", "", "4.2 ms"]
    assert row[5:8] == ["", text, ""]
    alone = describe_history(HistoryAnswer(A, answer.entries[:1])).changes
    assert alone is not None
    assert "fence" not in alone.columns


def test_a_page_says_what_is_not_there() -> None:
    page = describe_history(HistoryAnswer(A, (), more=3, problem="disk: full"))
    assert page.changes is None
    assert page.notes == (
        "3 older ones are not shown: --last",
        "not kept over a restart: disk: full",
    )
    again = describe_history(HistoryAnswer(A, (make(1, times=3.0, until=9.0),)))
    assert "1 change of a role" in again.heading
    [row] = texts(HistoryAnswer(A, (make(1, times=3.0, until=9.0),)))
    assert "3 times in a row" in row[-1]


def test_several_instances_are_told_apart() -> None:
    other = HistoryEntry(
        *(b"otherkey", 0, A, InstanceName("tcp"), 1.0, Role.INIT, Role.FAULT, Epoch(0, A), "gone")
    )
    rows = texts(HistoryAnswer(A, (make(1), other)))
    assert [row[2] for row in rows] == ["udp", "tcp"]
