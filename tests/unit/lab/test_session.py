"""What a client noticed is counted where it belongs."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.lab.clientlog import CONTROL_CHANNEL, LogLine
from tests.lab.measure import Gap
from tests.lab.session import Moment, Watch

MS = 1_000_000
HOUR = 3_600_000 * MS
"""By which the wall clock is ahead of the lab's."""
GAP = Gap(5_000 * MS, 5_015 * MS)


class _Client:
    def __init__(self, at: int) -> None:
        self._at = at

    def log(self) -> list[LogLine]:
        return [LogLine(HOUR + self._at, f"{CONTROL_CHANNEL}v1.3")]


@pytest.mark.parametrize(
    ("at", "count"),
    [
        pytest.param(4_999 * MS, 0, id="since the moment, before the gap"),
        pytest.param(5_007 * MS, 1, id="in the gap"),
        pytest.param(5_016 * MS, 0, id="after the gap"),
    ],
)
def test_only_a_renegotiation_in_the_gap_counts_as_one_in_it(at: int, count: int) -> None:
    moment = Moment("a", 2_000 * MS, HOUR + 2_000 * MS)
    watch = Watch(cast("Any", None), cast("Any", _Client(at)), cast("Any", None))
    assert watch.noticed_in(GAP, moment).renegotiations == count
