"""What a sidecar leaves to the next is there, and says when somebody last looked."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ovpnha.config.paths import draft_of
from ovpnha.model import NO_EPOCH, Epoch, HolderId, NodeName
from ovpnha.node.memory import AWAY_MAX, Remembered
from ovpnha.replication.records import NUMBER_LIMIT
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.memoryfile import SIZE_LIMIT, MemoryFile

HOLDER = HolderId(b"h" * 16)
COPY = Remembered(HOLDER, False, Epoch(3, NodeName("a")), whole=True)
SOURCES = (
    Remembered(HOLDER, True, Epoch(4, NodeName("b")), Epoch(3, NodeName("a")), whole=False),
    Remembered(HOLDER, True, Epoch(4, NodeName("b")), NO_EPOCH, whole=None),
    Remembered(HOLDER, True, Epoch(5, NodeName("b:spare")), Epoch(4, NodeName("b")), whole=True),
)


class Kept:
    """A memory file in a directory, and what is told of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self.connected = True
        self.file = MemoryFile(path, self.told.append, lambda: self.connected)

    def recall(self) -> Remembered | None:
        """What the next sidecar knows of that process."""
        memory = MemoryFile(self.path, self.told.append, bool).load()
        return memory.recall(HOLDER, time.monotonic())

    def age(self, seconds: float) -> None:
        """The file was touched so long ago."""
        then = time.clock_gettime(time.CLOCK_BOOTTIME) - seconds
        os.utime(self.path, (then, then))

    def old(self) -> float:
        """How long ago it was touched."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.path.stat().st_mtime

    def write(self, **values: object) -> None:
        """The file says of COPY something else, and was touched now."""
        self.path.write_text(json.dumps({**to_plain(COPY), **values}))
        self.age(0.0)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "udp.memory")


@pytest.mark.parametrize("known", [COPY, *SOURCES])
def test_what_is_kept_is_found(kept: Kept, known: Remembered) -> None:
    kept.file.keep(known)
    assert kept.recall() == known
    assert [one.name for one in kept.path.parent.iterdir()] == ["udp.memory"]
    assert kept.told == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"null", b'{"holder": "xx"}', b"\xff", b"[" * SIZE_LIMIT],
)
def test_what_cannot_be_read_is_nothing(kept: Kept, content: bytes) -> None:
    assert kept.recall() is None
    kept.path.write_bytes(content)
    assert kept.recall() is None


def test_a_copy_that_nobody_has_looked_after_is_old(kept: Kept) -> None:
    kept.file.keep(COPY)
    kept.age(AWAY_MAX + 60.0)
    old = kept.recall()
    assert old is not None
    assert old.whole is False
    kept.connected = False
    kept.file.touch()
    assert kept.recall() == old, "without OpenVPN nobody knows"
    kept.connected = True
    kept.file.touch()
    assert kept.recall() == COPY


@pytest.mark.parametrize("ahead", [60.0, 1e9])
def test_a_time_that_has_not_come_is_of_another_start_of_the_host(kept: Kept, ahead: float) -> None:
    kept.file.keep(COPY)
    kept.age(-ahead)
    assert kept.recall() == replace(COPY, whole=False)


@pytest.mark.parametrize("known", [COPY, *SOURCES])
def test_a_time_of_day_is_of_an_earlier_release(kept: Kept, known: Remembered) -> None:
    kept.file.keep(known)
    os.utime(kept.path)
    assert kept.recall() == (known if known.source else replace(known, whole=False))


def test_a_clock_that_was_set_changes_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.file.keep(COPY)
    kept.age(AWAY_MAX + 60.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert kept.recall() == replace(COPY, whole=False)
    kept.file.touch()
    assert kept.old() < AWAY_MAX
    assert kept.recall() == COPY


def test_a_sidecar_that_finds_nothing_new_touches_what_it_found(kept: Kept) -> None:
    kept.file.keep(COPY)
    kept.age(AWAY_MAX / 2)
    after = Kept(kept.path)
    memory = after.file.load()
    after.connected = False
    after.file.touch()
    assert after.old() > AWAY_MAX / 3, "without OpenVPN nobody knows"
    after.connected = True
    assert not memory.note(COPY, time.monotonic())
    after.file.touch()
    assert after.old() < AWAY_MAX / 3
    kept.path.unlink()
    after.file.touch()
    assert kept.recall() == COPY


def test_what_was_found_too_old_does_not_become_new(kept: Kept) -> None:
    kept.file.keep(COPY)
    kept.age(AWAY_MAX + 60.0)
    after = Kept(kept.path)
    memory = after.file.load()
    after.file.touch()
    assert kept.recall() == replace(COPY, whole=False)
    known = memory.recall(HOLDER, time.monotonic())
    assert known is not None
    assert memory.note(known, time.monotonic())
    after.file.keep(known)
    kept.age(AWAY_MAX + 60.0)
    after.file.touch()
    assert kept.old() < AWAY_MAX
    assert kept.recall() == known


def test_what_is_no_file_is_not_read_nor_waited_for(kept: Kept) -> None:
    elsewhere = kept.path.with_name("elsewhere")
    MemoryFile(elsewhere, kept.told.append, bool).keep(COPY)
    kept.path.symlink_to(elsewhere)
    assert kept.recall() is None
    kept.path.unlink()
    os.mkfifo(kept.path)
    assert kept.recall() is None
    kept.path.unlink()
    kept.path.mkdir()
    assert kept.recall() is None
    kept.file.keep(COPY)
    assert kept.told == [f"{kept.path}: Is a directory"]
    assert sorted(one.name for one in kept.path.parent.iterdir()) == ["elsewhere", "udp.memory"]


def test_a_draft_that_lies_there_is_not_written_to(kept: Kept) -> None:
    victim = kept.path.with_name("victim")
    victim.write_bytes(b"as it was")
    draft_of(kept.path).symlink_to(victim)
    kept.file.keep(COPY)
    assert victim.read_bytes() == b"as it was"
    assert not kept.path.is_symlink()
    assert kept.recall() == COPY
    os.mkfifo(draft_of(kept.path))
    kept.file.keep(SOURCES[0])
    assert kept.recall() == SOURCES[0]
    assert kept.path.stat().st_mode & 0o137 == 0


def test_what_the_wire_can_say_counts(kept: Kept) -> None:
    kept.write()
    assert kept.recall() == COPY
    kept.write(epoch=f"{NUMBER_LIMIT - 1}/a", unknown="of a later release")
    assert kept.recall() == replace(COPY, epoch=Epoch(NUMBER_LIMIT - 1, NodeName("a")))
    kept.write(epoch="0/")
    assert kept.recall() == replace(COPY, epoch=NO_EPOCH)


@pytest.mark.parametrize("key", ["epoch", "origin"])
@pytest.mark.parametrize(
    "epoch",
    [
        *(f"{counter}/a" for counter in (NUMBER_LIMIT, 2**64, 10**100)),
        *(f"3/{name}" for name in ("", "\ud800", "a b", "a\n", "\x1b[2J", "ä", "a" * 33)),
    ],
)
def test_an_epoch_that_no_node_could_say_is_nothing(kept: Kept, key: str, epoch: str) -> None:
    kept.write(**{key: epoch})
    assert kept.recall() is None


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_holder_of_another_size_is_nothing(kept: Kept, size: int) -> None:
    kept.write(holder="00" * size)
    memory = MemoryFile(kept.path, kept.told.append, bool).load()
    assert memory.recall(HolderId(bytes(size)), time.monotonic()) is None


def test_a_file_that_somebody_has_removed_is_written_again(kept: Kept) -> None:
    kept.file.touch()
    assert not kept.path.exists()
    kept.file.keep(COPY)
    kept.path.unlink()
    kept.file.touch()
    assert kept.recall() == COPY


def test_what_cannot_be_written_is_told_once_and_written_when_it_can(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "none" / "udp.memory")
    kept.file.keep(COPY)
    kept.file.touch()
    assert kept.told == [f"{kept.path}: No such file or directory"]
    kept.path.parent.mkdir()
    kept.file.touch()
    assert kept.recall() == COPY
    assert len(kept.told) == 1
