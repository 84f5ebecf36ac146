"""What a sidecar leaves to the next is there, and says when somebody last looked."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ovpnha.model import NO_EPOCH, Epoch, HolderId, NodeName
from ovpnha.node.memory import AWAY_MAX, Remembered
from ovpnha.runtime.memoryfile import SIZE_LIMIT, MemoryFile

HOLDER = HolderId(b"h" * 16)
COPY = Remembered(HOLDER, False, Epoch(3, NodeName("a")), whole=True)
SOURCES = (
    Remembered(HOLDER, True, Epoch(4, NodeName("b")), Epoch(3, NodeName("a")), whole=False),
    Remembered(HOLDER, True, Epoch(4, NodeName("b")), NO_EPOCH, whole=None),
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
        then = time.time() - seconds
        os.utime(self.path, (then, then))


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


def test_a_clock_that_was_set_back_makes_nothing_old(kept: Kept) -> None:
    kept.file.keep(COPY)
    kept.age(-3600.0)
    assert kept.recall() == COPY


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
