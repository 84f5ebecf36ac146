from __future__ import annotations

import os
from pathlib import Path

from ovpnha.runtime.track import UNREAD_LIMIT, TrackFile, Vouched


def make(path: Path) -> tuple[TrackFile, list[str]]:
    problems: list[str] = []
    return TrackFile(path, problems.append), problems


def test_a_grade_is_written_at_once_for_everyone_to_read(tmp_path: Path) -> None:
    track, problems = make(tmp_path / "udp.grade")
    before = os.umask(0o077)
    try:
        track.set_grade(-254)
    finally:
        os.umask(before)
    assert (tmp_path / "udp.grade").read_text() == "-254\n"
    assert (tmp_path / "udp.grade").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["udp.grade"]
    assert not problems


def test_a_reader_never_sees_half_a_grade(tmp_path: Path) -> None:
    track, _ = make(tmp_path / "udp.grade")
    track.set_grade(90)
    with (tmp_path / "udp.grade").open() as reader:
        track.set_grade(120)
        assert reader.read() == "90\n"


def test_touching_renews_the_time_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "udp.grade"
    track, _ = make(path)
    track.set_grade(90)
    os.utime(path, (1, 1))
    track.touch()
    assert path.stat().st_mtime > 1
    assert path.read_text() == "90\n"


class Watched:
    """A track file, what it said of readers, and a clock that the test moves."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "udp.grade"
        self.told: list[bool] = []
        self.vouched: Vouched | None = Vouched(4711, ("192.0.2.10",))
        self.now = 0.0
        self.track = TrackFile(
            self.path, _fail, lambda: self.vouched, self.told.append, lambda: self.now
        )
        self.track.set_grade(90)

    def pass_seconds(self, count: int, *, read: bool) -> None:
        for _ in range(count):
            if read:
                self.path.read_bytes()
            self.now += 1.0
            self.track.touch()


def _fail(reason: str) -> None:
    raise AssertionError(reason)


def test_a_file_that_nobody_reads_is_told_after_some_seconds(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.pass_seconds(UNREAD_LIMIT - 1, read=False)
    assert watched.told == []
    watched.pass_seconds(3, read=False)
    assert watched.told == [False]
    watched.pass_seconds(3, read=True)
    assert watched.told == [False, True]
    watched.pass_seconds(UNREAD_LIMIT - 1, read=False)
    watched.pass_seconds(2, read=True)
    assert watched.told == [False, True]


def test_a_grade_that_has_just_changed_may_still_be_read(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    for grade in range(20):
        watched.track.set_grade(grade)
        watched.track.touch()
    assert watched.told == []


def test_the_openvpn_that_the_grade_speaks_of_is_named_beside_it(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    beside = tmp_path / "udp.grade.openvpn"
    assert beside.read_text() == "4711 192.0.2.10\n"
    assert beside.stat().st_mode & 0o777 == 0o644
    watched.vouched = None
    watched.track.set_grade(-254)
    assert not beside.exists()
    watched.vouched = Vouched(4712, ("192.0.2.10",))
    watched.track.touch()
    assert beside.read_text() == "4712 192.0.2.10\n"
    watched.vouched = Vouched(4712, ("192.0.2.10", "2001:db8::10"), 33)
    watched.track.touch()
    assert beside.read_text() == "4712 192.0.2.10 2001:db8::10\n33\n"


def test_a_removed_file_comes_back(tmp_path: Path) -> None:
    track, _ = make(tmp_path / "udp.grade")
    track.set_grade(90)
    (tmp_path / "udp.grade").unlink()
    track.touch()
    assert (tmp_path / "udp.grade").read_text() == "90\n"


def test_without_a_grade_there_is_no_file(tmp_path: Path) -> None:
    track, _ = make(tmp_path / "udp.grade")
    track.touch()
    assert not (tmp_path / "udp.grade").exists()


def test_a_failure_is_told_once_until_it_works_again(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    track, problems = make(directory / "udp.grade")
    track.set_grade(90)
    track.touch()
    assert problems == [f"{directory}/udp.grade: No such file or directory"]
    directory.mkdir()
    track.touch()
    assert (directory / "udp.grade").read_text() == "90\n"
    (directory / "udp.grade").unlink()
    directory.rmdir()
    track.touch()
    assert len(problems) == 2


def test_a_grade_that_could_not_be_written_is_not_vouched_for(tmp_path: Path) -> None:
    path = tmp_path / "udp.grade"
    track, problems = make(path)
    track.set_grade(90)
    os.utime(path, (1, 1))
    draft = tmp_path / ".udp.grade.new"
    draft.mkdir()
    track.set_grade(-254)
    track.touch()
    assert (path.read_text(), path.stat().st_mtime) == ("90\n", 1.0)
    assert len(problems) == 1
    draft.rmdir()
    track.touch()
    assert path.read_text() == "-254\n"


def test_what_somebody_else_wrote_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "udp.grade"
    track, _ = make(path)
    track.set_grade(90)
    path.write_text("-254\n")
    track.touch()
    assert path.read_text() == "90\n"
