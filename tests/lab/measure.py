"""From what the lab saw to figures. Pure: nanoseconds of CLOCK_MONOTONIC in, milliseconds out.

The outage is the longest gap between two answers that follow each other, of which the later came
after the kill, minus the normal interval of the probes:

    outage_ms = max(answer[i + 1] - answer[i]) - interval,  answer[i + 1] > kill

A gap that is still open at the end of the run counts up to there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

MS = 1_000_000


@dataclass(frozen=True)
class Probe:
    """One numbered request; ``answered`` is None when its answer never came."""

    number: int
    sent: int
    answered: int | None


@dataclass(frozen=True)
class Gap:
    """The time between two answers that follow each other."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Nanoseconds from answer to answer."""
        return self.end - self.start


def longest_gap(probes: Iterable[Probe], kill: int, end: int) -> Gap:
    """The longest gap that ends after ``kill``; the run's ``end`` closes an open one."""
    answers = sorted(probe.answered for probe in probes if probe.answered is not None)
    if not answers:
        return Gap(kill, end)
    gaps = [Gap(*pair) for pair in pairwise([*answers, max(end, answers[-1])])]
    return max((gap for gap in gaps if gap.end > kill), key=lambda gap: gap.length)


def outage_ms(gap: Gap, interval_ms: float) -> float:
    """How long the client was without answers, beyond the normal interval."""
    return max(0.0, gap.length / MS - interval_ms)


def lost(probes: Iterable[Probe]) -> int:
    """How many probes were never answered."""
    return sum(probe.answered is None for probe in probes)


@dataclass(frozen=True)
class Run:
    """One run of a scenario, as it stands in the result file. Times are milliseconds.

    ``phases`` count from the kill. ``detail`` has what explains the figures: which run it was, the
    servers' keepalive, the outage in the other direction, what was wrong.
    """

    scenario: str
    control: bool
    outage_ms: float
    vip_move_ms: float
    probes_sent: int
    probes_lost: int
    client_hard_resets: int
    client_renegotiations: int
    client_restarts: int
    tcp_alive: bool
    phases: dict[str, float]
    detail: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The run as an object of the result file."""
        return asdict(self)

    @property
    def own_ms(self) -> float:
        """The outage without the time that the VIP manager took."""
        return self.outage_ms - self.vip_move_ms


@dataclass(frozen=True)
class Curve:
    """The probes around the kill for the picture: (sent - kill, round trip or None) in ms."""

    scenario: str
    control: bool
    points: Sequence[tuple[float, float | None]]
    marks: dict[str, float]


def curve(run: Run, probes: Iterable[Probe], kill: int) -> Curve:
    """What the picture shows of a run."""
    points = [
        (
            (probe.sent - kill) / MS,
            None if probe.answered is None else (probe.answered - probe.sent) / MS,
        )
        for probe in probes
    ]
    return Curve(run.scenario, run.control, points, run.phases)
