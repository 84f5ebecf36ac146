"""What a client noticed is counted where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.lab.clientlog import CONTROL_CHANNEL, LogLine
from tests.lab.measure import Gap
from tests.lab.session import Moment, Watch
from tests.lab.traffic import ProbeStream

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


def test_what_was_not_asked_yet_is_no_gap(tmp_path: Path) -> None:
    """However late the events are read: a busy machine does so a second after the last of them."""
    stream = ProbeStream("probe", "nowhere", "192.0.2.1", tmp_path)
    events = [
        f"{word} {number} {number * 10 * MS + (word == 'answered') * MS}\n"
        for number in range(100)
        for word in ("sent", "answered")
    ]
    (tmp_path / "probe.events").write_text("".join(events))
    assert stream.gap(500 * MS).length == 10 * MS
    assert stream.gap(5_000 * MS) == Gap(991 * MS, 5_000 * MS + 1)


def test_an_open_gap_ends_with_the_last_request(tmp_path: Path) -> None:
    stream = ProbeStream("probe", "nowhere", "192.0.2.1", tmp_path)
    lines = ["sent 0 0", f"answered 0 {MS}", *(f"sent {n} {n * 10 * MS}" for n in range(1, 51))]
    (tmp_path / "probe.events").write_text("\n".join(lines) + "\n")
    assert stream.gap(2 * MS) == Gap(MS, 500 * MS)
