"""``deploy/docker/node`` ends a sidecar that hangs, whatever the clock does, and no other."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parents[2] / "deploy/docker/node"
ROUNDS = 20
HARNESS = """
set -euo pipefail
shopt -s nullglob
services=/run/service silent_seconds=8 round=0
sleep() {
    round=$((round + 1))
    ((round <= ROUNDS)) || exit 0
    STEP
}
sv() {
    [[ $1 == kill ]] && { echo killed $round >&2; return; }
    echo "run: $2: (pid PID) ${round}s"
}
"""


def watch(directory: Path, step: str, pid: str = "7") -> list[int]:
    """The rounds in which it was ended; ``step`` is what happens in each."""
    (found,) = re.findall(r"^watch\(\) \{\n.*?^\}\n", NODE.read_text(), re.MULTILINE | re.DOTALL)
    text = HARNESS.replace("ROUNDS", str(ROUNDS)).replace("STEP", step).replace("PID", pid)
    (directory / "udp.grade").touch()
    done = subprocess.run(
        ["bash", "-c", f"{text}{found}watch".replace("/run/ovpnha", str(directory))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in re.findall(r"killed (\d+)", done.stderr)]


CASES = {
    "it lives": ("touch -d @$((1000 + round)) DIR/udp.grade", "7", []),
    "the clock was set back while it lives": (
        "touch -d @$((9000000000 - round)) DIR/udp.grade",
        "7",
        [],
    ),
    "it hangs, the clock set back": ("touch -d @9000000000 DIR/udp.grade", "7", [6, 11, 16]),
    "it hangs": ("touch -d @1000 DIR/udp.grade", "7", [6, 11, 16]),
    "it is started again and again": ("touch -d @1000 DIR/udp.grade", "$round", []),
    "no grade yet": ("rm -f DIR/udp.grade", "7", []),
}


@pytest.mark.parametrize(("step", "pid", "ended"), CASES.values(), ids=CASES)
def test_who_is_ended(tmp_path: Path, step: str, pid: str, ended: list[int]) -> None:
    assert watch(tmp_path, step.replace("DIR", str(tmp_path)), pid) == ended
