"""The repository speaks of the project alone: no machine's paths, no package archive's address."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Archives are the machine's business (apt and pip know them). Written in two halves, so that this
# file passes its own test.
HALVES = (
    ("pypi.", "org"),
    ("python", "hosted."),
    ("deb.", "debian."),
    ("snapshot.", "debian."),
    ("security.", "debian."),
    ("archive.", "ubuntu."),
    ("registry.", "npmjs"),
    ("crates", r"\.io"),
    ("proxy.", "golang."),
    ("docker", r"\.io"),
    ("ghcr", r"\.io"),
    ("quay", r"\.io"),
)
ARCHIVES = re.compile("|".join("".join(halves) for halves in HALVES))
# Someone's home, and where this very checkout lies.
PLACES = re.compile("|".join([r"/(home|Users)/\w", "/root" + "/", rf"{re.escape(str(ROOT))}\b"]))


LONGEST = 400  # lines of a source file


def committed_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text_lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError:
        return []


@pytest.mark.parametrize("pattern", [ARCHIVES, PLACES], ids=["archives", "places"])
def test_no_line_names_what_belongs_to_a_machine(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in committed_files()
        for number, line in enumerate(text_lines(path), start=1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_file_of_ovpnha_is_longer_than_can_be_read_at_once() -> None:
    """A file that outgrows it has a thing in it that deserves a file of its own."""
    lengths = {path: len(text_lines(path)) for path in (ROOT / "ovpnha").rglob("*.py")}
    long = {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LONGEST}
    assert not long


def test_no_empty_file_lies_at_the_root() -> None:
    """Programs that are tried by hand in the checkout leave such files behind."""
    assert not [
        one.name for one in committed_files() if one.parent == ROOT and one.read_text() == ""
    ]


def test_a_run_that_leaves_a_file_in_the_working_directory_fails(tmp_path: Path) -> None:
    (tmp_path / "test_litter.py").write_text(
        "import pathlib\n\ndef test() -> None:\n    pathlib.Path('ipp.txt').touch()\n"
    )
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_litter.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "left behind in the working directory: ipp.txt" in done.stdout
