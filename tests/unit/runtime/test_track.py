from __future__ import annotations

import os
from pathlib import Path

from ovpnha.runtime.track import TrackFile


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
    inode = path.stat().st_ino
    track.touch()
    assert path.stat().st_mtime > 1
    assert path.stat().st_ino == inode


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
