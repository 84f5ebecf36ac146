"""The program by which keepalived learns that a sidecar is gone, without one that vouches."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "deploy/keepalived/check-grade"
HOUR = 3600.0


@pytest.mark.parametrize(
    ("ago", "believed"), [(0.0, True), (4.0, True), (HOUR, False), (-HOUR, False)]
)
def test_a_grade_is_believed_while_it_is_fresh(tmp_path: Path, ago: float, believed: bool) -> None:
    """One from the future was written before the clock was set back: its sidecar may be gone."""
    grade = tmp_path / "udp.grade"
    grade.write_text("90\n")
    written = time.time() - ago
    os.utime(grade, (written, written))
    ended = subprocess.run(["sh", PROGRAM, grade, "60"], check=False)
    assert (ended.returncode == 0) is believed
