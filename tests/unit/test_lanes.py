"""Parts that run side by side: none is lost, and what failed is named with the end of its log."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lanes import UNTIL, Part, read_lane

LANES = Path(__file__).parents[1] / "lanes.py"
AUTOGROUP = Path("/proc/self/autogroup")
MAKEFILE = """
good: ; @echo all is well
bad: ; @echo the reason; exit 3
sharded: ; @echo shard $(SHARD)
hangs: ; @echo began; exec tail -f /dev/null
group: ; @cat /proc/self/autogroup || echo none
works: ; @python3 -c "import time; any(time.process_time() > 1 for _ in iter(int, 1))"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def run(directory: Path, *arguments: str, until: str = "inf") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(LANES), *arguments]
    environment = {**os.environ, UNTIL: until}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


def test_a_lane_is_read_as_it_is_written() -> None:
    assert read_lane("nice:a,b/1:2") == [Part("a", nice=True), Part("b", "1:2", nice=True)]
    assert Part("b", "1:2", nice=True).command[-3:] == ["make", "b", "SHARD=1:2"]
    assert Part("b", "1:2").name == "b-1of2"
    assert Part("packages", "trixie").command == ["make", "packages", "RELEASE=trixie"]
    assert Part("packages", "trixie").name == "packages-trixie"


def test_all_lanes_run_to_their_ends(directory: Path) -> None:
    done = run(directory, "good,sharded/1:2", "nice:sharded/2:2")
    assert done.returncode == 0, done.stdout
    assert "all is well" in (directory / "build/ci/good.log").read_text()
    for number in (1, 2):
        log = directory / f"build/ci/sharded-{number}of2.log"
        assert f"shard {number}:2" in log.read_text()


def test_a_part_that_fails_is_named_and_the_rest_goes_on(directory: Path) -> None:
    done = run(directory, "bad,good")
    assert done.returncode == 1
    assert "bad | the reason" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("FAILED: bad; their logs are in build/ci")
    assert "good passed after" in done.stdout


def test_a_patient_part_is_so_among_sessions_too(directory: Path) -> None:
    """Of a kernel that knows no groups of sessions nothing is asked."""
    run(directory, "nice:group", "group/1:2")
    patient, equal = (
        (directory / f"build/ci/{name}.log").read_text() for name in ("group", "group-1of2")
    )
    assert patient.split()[1:] == (["nice", "10"] if AUTOGROUP.exists() else [])
    assert equal.split()[1:] == (["nice", "0"] if AUTOGROUP.exists() else [])


def test_the_table_has_every_part_since_the_beginning(directory: Path) -> None:
    assert run(directory, "--begin").returncode == 0
    run(directory, "good")
    assert run(directory, "--table").returncode == 0
    run(directory, "bad")
    shown = run(directory, "--table")
    assert shown.returncode == 1
    table, _, ends = shown.stdout.partition("\n\n")
    assert "bad | the reason" in ends
    assert "good |" not in ends
    rows = [line.split() for line in table.splitlines()]
    assert [(row[0], row[-1]) for row in rows] == [("good", "passed"), ("bad", "FAILED")]


def test_what_runs_when_the_time_is_over_is_ended_and_shown(directory: Path) -> None:
    run(directory, "--begin")
    done = run(directory, "hangs,good", until=str(time.time() + 3))
    assert done.returncode == 1
    assert "out of time; ending hangs" in done.stdout
    assert "hangs | began" in done.stdout
    shown = run(directory, "--table")
    rows = [line.split() for line in shown.stdout.partition("\n\n")[0].splitlines()]
    assert sorted((row[0], row[-1]) for row in rows) == [
        ("good", "RUN"),
        ("hangs", "FAILED"),
    ]
    assert "good | not begun" in shown.stdout


def test_the_last_lines_name_each_test_that_failed(directory: Path) -> None:
    logs = directory / "build/ci"
    run(directory, "--begin")
    run(directory, "first,second")
    for name, count in (("first", 1), ("second", 14)):
        told = [f"FAILED tests/test_{name}.py::test_{one} - {'why ' * 99}" for one in range(count)]
        took = [f"{one}.00s call     tests/test_{name}.py::test_{one}" for one in range(30)]
        text = ["E  what it saw", *took, "= short test summary info =", *told, "make: *** Error 1"]
        (logs / f"{name}.log").write_text("\n".join(text))
    shown = run(directory, "--table").stdout.splitlines()
    assert "first | E  what it saw" in shown
    assert not any("s call" in line for line in shown)
    last = shown[-14:]
    assert last[0].startswith("first | FAILED tests/test_first.py::test_0 - why")
    assert last[1].startswith("second | FAILED tests/test_second.py::test_0 - why")
    assert last[-1] == "second | and 2 more"
    assert max(map(len, last)) <= 220


def test_the_table_tells_what_the_processors_did(directory: Path) -> None:
    run(directory, "--begin")
    run(directory, "works")
    name, _, _, worked, *_ = run(directory, "--table").stdout.split()
    assert (name, int(worked) > 0) == ("works", True)
