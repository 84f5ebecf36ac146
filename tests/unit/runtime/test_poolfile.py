"""The pool file: who stopped at its end reads what is written for it, and nothing else."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import BinaryIO

import pytest

from ovpnha.runtime import poolfile
from ovpnha.runtime.poolfile import SLOT, PoolFile

ONE, TWO = "a,10.8.0.2,\nb,10.8.0.3,\n", "a,10.8.0.4,\n"


class Reader:
    """OpenVPN: it opens the file once, reads to the end, and goes on there when it starts anew."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self) -> str:
        """The lines that count."""
        lines = self._file.read().decode(errors="replace").splitlines()
        return "".join(f"{line}\n" for line in lines if line and line[0] != "#")


def read(path: Path) -> str:
    """What a process reads that begins now."""
    with path.open("rb") as file:
        return Reader(file).read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pool"


def make(path: Path) -> tuple[PoolFile, list[str]]:
    told: list[str] = []
    return PoolFile(path, told.append), told


def test_a_file_that_is_not_there_is_made_for_openvpn_to_open(path: Path) -> None:
    file, told = make(path)
    assert file.load() == ""
    assert path.read_bytes() == b""
    assert path.stat().st_mode & 0o777 == 0o600
    assert not told


def test_what_is_to_be_read_stands_behind_all_that_was(path: Path) -> None:
    file, _ = make(path)
    file.load()
    file.keep(ONE, to_be_read=False)
    with path.open("rb", buffering=0) as opened:
        openvpn = Reader(opened)
        assert openvpn.read() == ONE
        for text in (TWO, ONE, "", TWO + ONE):
            file.keep("x,10.8.0.99,\n" * 3, to_be_read=False)  # not to be read in this process
            file.keep(TWO, to_be_read=False)
            file.keep(text, to_be_read=True)
            assert openvpn.read() == text
    assert read(path) == TWO + ONE
    assert make(path)[0].load() == TWO + ONE


def test_a_process_that_begins_reads_what_stands_there_now(path: Path) -> None:
    file, _ = make(path)
    file.keep(ONE, to_be_read=True)
    file.keep(TWO, to_be_read=False)
    assert read(path) == TWO
    size = path.stat().st_size
    assert size == 3 * SLOT
    next_one, _ = make(path)
    assert next_one.load() == TWO
    next_one.keep(ONE, to_be_read=False)
    assert read(path) == ONE
    assert path.stat().st_size == size


def test_who_reads_at_any_moment_finds_whole_lines(path: Path) -> None:
    """A person's SIGUSR1: OpenVPN goes on where the file once ended, whatever was written since."""
    draw = random.Random(1)  # noqa: S311
    file, _ = make(path)
    file.load()
    ends = {0}
    for _round in range(200):
        names = draw.sample(range(40), draw.randrange(12))
        lines = {f"client-{name:x},10.8.0.{draw.randrange(250)},\n" for name in names}
        file.keep("".join(sorted(lines)), to_be_read=draw.random() < 0.1)
        assert sorted(read(path).splitlines(keepends=True)) == sorted(lines)
        for end in ends:
            with path.open("rb") as opened:
                opened.seek(end)
                assert set(Reader(opened).read().splitlines(keepends=True)) <= lines
        ends.add(path.stat().st_size)
    assert path.stat().st_size < 400 * SLOT


@pytest.mark.parametrize("to_be_read", [False, True])
def test_between_two_writes_lines_are_whole_and_agree(
    path: Path, monkeypatch: pytest.MonkeyPatch, to_be_read: bool
) -> None:
    """OpenVPN reads in the middle of a change: what is there is of before, or of now."""
    before = "a,10.8.0.2,\nb,10.8.0.3,\nc,10.8.0.4,\n"
    now = "a,10.8.0.3,\nb,10.8.0.2,\nc,10.8.0.4,\nd,10.8.0.5,\n"
    file, _ = make(path)
    file.keep(before, to_be_read=False)
    real, seen = os.pwrite, []

    def write(opened: int, data: bytes, at: int) -> int:
        """A byte less than asked for, as a full disk does; then somebody reads."""
        written = real(opened, data[: max(1, len(data) - 1)], at)
        lines = read(path).splitlines(keepends=True)
        seen.append(lines)
        assert len({line.split(",")[0] for line in lines}) == len(lines)
        assert len({line.split(",")[1] for line in lines}) == len(lines)
        assert set(lines) <= {*before.splitlines(True), *now.splitlines(True)}
        return written

    monkeypatch.setattr(os, "pwrite", write)
    file.keep(now, to_be_read=to_be_read)
    assert sorted(seen[-1]) == sorted(now.splitlines(True))
    assert len(seen) > 6


def test_a_disk_that_is_full_leaves_what_was_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, told = make(path)
    file.keep(ONE, to_be_read=False)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda opened, data, at: real(opened, data[:50], at) % 50)
    file.keep(TWO * 1 + ONE, to_be_read=True)
    assert told == ["No space left on device"]
    assert read(path) == ONE
    monkeypatch.undo()
    with path.open("rb", buffering=0) as opened:
        openvpn = Reader(opened)
        openvpn.read()
        file.keep(TWO, to_be_read=True)
        assert openvpn.read() == TWO
    assert len(told) == 1
    assert read(path) == TWO


def test_what_others_wrote_meanwhile_is_seen(path: Path) -> None:
    file, _ = make(path)
    file.keep(ONE, to_be_read=False)
    path.write_text("x,10.8.0.7,\ny,10.8.0.8,\n")
    with path.open("rb", buffering=0) as opened:
        openvpn = Reader(opened)
        assert openvpn.read().startswith("x,")
        file.keep(ONE, to_be_read=False)
        assert openvpn.read() == ONE
    assert read(path) == ONE
    slot = b"#" * (SLOT - 1 - len("a,10.8.0.2,") - 1) + b"\na,10.8.0.2,\n"
    for foreign in (slot * 2, slot[:-1] + b"x", slot[:-3] + b"\n\n\n"):
        path.write_bytes(foreign)
        file.keep(TWO, to_be_read=False)
        assert read(path) == TWO


def test_a_line_that_has_no_room_is_left_out(path: Path) -> None:
    file, _ = make(path)
    longest = "n" * 64 + ",255.255.255.255," + "ffff:" * 7 + "ffff\n"
    file.keep(longest + "n" * SLOT + ",10.8.0.2,\n", to_be_read=False)
    assert read(path) == longest


def test_of_a_file_that_is_too_large_the_end_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poolfile, "SIZE_LIMIT", 30)
    path.write_text(ONE * 20 + TWO)
    file, _ = make(path)
    assert file.load().endswith("b,10.8.0.3,\na,10.8.0.4,\n")
    assert len(file.load()) < 30
    file.keep(TWO, to_be_read=False)
    assert read(path) == TWO


def test_it_is_small_again_when_nobody_has_it_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poolfile, "SHRINK_ABOVE", 4 * SLOT)
    file, told = make(path)
    for text in (ONE, TWO, ONE, TWO):
        file.keep(text, to_be_read=True)
    size = path.stat().st_size
    with path.open("rb", buffering=0) as opened:  # its channel is gone, and it is not
        openvpn = Reader(opened)
        openvpn.read()
        file.rest()
        assert path.stat().st_size == size
        file.keep(ONE, to_be_read=True)
        assert openvpn.read() == ONE
    file.rest()
    assert read(path) == ONE
    assert path.stat().st_size == 2 * SLOT
    file.rest()
    assert path.stat().st_size == 2 * SLOT
    path.unlink()
    file.keep(TWO, to_be_read=True)
    assert read(path) == TWO
    assert not told


def test_what_cannot_be_written_is_told_once_until_it_can(path: Path) -> None:
    file, told = make(path)
    path.mkdir()
    assert file.load() == ""
    file.keep(ONE, to_be_read=False)
    assert told == ["Is a directory"]
    path.rmdir()
    file.keep(ONE, to_be_read=False)
    path.unlink()
    path.symlink_to("/etc/hostname")
    file.keep(ONE, to_be_read=True)
    assert len(told) == 2
    path.unlink()
    file.keep(ONE, to_be_read=True)
    file.keep(ONE, to_be_read=True)


def test_a_name_of_any_letters_comes_back(path: Path) -> None:
    file, _ = make(path)
    file.keep("Jörg,10.8.0.2,\n", to_be_read=False)
    assert make(path)[0].load() == "Jörg,10.8.0.2,\n"
    path.write_bytes(b"\xff,10.8.0.2,\n")
    assert make(path)[0].load() == "\ufffd,10.8.0.2,\n"
    assert os.listdir(path.parent) == ["pool"]
