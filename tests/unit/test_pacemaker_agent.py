"""``deploy/pacemaker/ovpnha`` says a score that has not changed again, whatever the clock does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

AGENT = Path(__file__).parents[2] / "deploy/pacemaker/ovpnha"
HARNESS = """
set -eu
OCF_RESKEY_addresses='' poll=0 name=x round=0 found=5
judge() { :; }
ocf_log() { :; }
nap() { :; }
say() { echo said; }
score() { # a clock that is set back in every round
    round=$((round + 1)) SECONDS=$((9000 - round))
    ((round <= 350)) || exit 0
}
"""


def test_a_score_is_said_again_though_the_clock_is_set_back() -> None:
    text = AGENT.read_text()
    (again,) = re.findall(r"^again=\d+", text, re.MULTILINE)
    (watch,) = re.findall(r"^watch\(\) \{\n.*?^\}\n", text, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", f"{HARNESS}{again}\n{watch}watch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["said"] * 4
