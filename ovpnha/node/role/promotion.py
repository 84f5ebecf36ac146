"""The promotions of an instance: how many there were, and where the time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType

from ovpnha.management.replies import ListReply, PromoteReply
from ovpnha.node.part import Part, PartStatistics

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, float("inf"))
"""Upper bounds of the histograms, in seconds."""

PHASES = ("ordered", "promoted", "listed", "published")


@dataclass(frozen=True)
class PhaseTimes:
    """How long promotions took from their cause to the end of one phase, since the start."""

    buckets: Mapping[float, int]  # how many took at most so long, by upper bound; the last has all
    total: float  # seconds, of all of them


@dataclass(frozen=True)
class PromotionStatistics(PartStatistics):
    """All promotions, and the last one."""

    promotions: int = 0
    last_promotion: float = 0.0  # monotonic seconds; 0.0 when never
    last_promotion_phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds since the VIP event, by phase name."""
    promotion_times: Mapping[str, PhaseTimes] = field(default_factory=dict)  # by phase


@dataclass(frozen=True)
class Carried:
    """What a promotion was made with."""

    clients: int  # that it went on with
    dropped: int = 0  # copies that were known to be stale
    lacking: int = 0  # that another node had, and this one not
    reconnecting: int = 0  # whose keys have changed elsewhere: they are told to reconnect
    silent: float | None = None
    """Seconds from the last word of the last master to the VIP; None: it is not heard any more."""


class Promotion(Part):
    """Phases of the last promotion, in seconds since the event that caused it, and of all."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0
        self.phases: dict[str, float] = {}
        self._cause = 0.0
        self.carried = Carried(0)
        self._counts: dict[str, Counter[float]] = {phase: Counter() for phase in PHASES}
        self._totals = dict.fromkeys(PHASES, 0.0)

    def begin(self, cause: float, now: float, carried: Carried) -> None:
        """The order was given now, because of an event at ``cause``."""
        self.carried = carried
        self.count += 1
        self.last = now
        self._cause = cause
        self.phases = {}
        self.reach("ordered", now)

    def take(self, event: object, now: float) -> None:
        """OpenVPN has carried out a part of it."""
        match event:
            case PromoteReply():
                self.reach("promoted", now)
            case ListReply():
                self.reach("listed", now)

    def reach(self, phase: str, now: float) -> None:
        """A phase is over; only its first time counts."""
        if not self.count or phase in self.phases:
            return
        seconds = self.phases[phase] = now - self._cause
        bound = next(bound for bound in BOUNDS if seconds <= bound)
        self._counts[phase][bound] += 1
        self._totals[phase] += seconds

    def statistics(self, _now: float) -> PromotionStatistics:
        """How many, and how long they took."""
        phases = MappingProxyType(dict(self.phases))
        return PromotionStatistics(self.count, self.last, phases, self.times())

    def times(self) -> Mapping[str, PhaseTimes]:
        """How long each phase took, over all promotions; zeros before the first.

        A counter that begins with its first event hides that event from ``increase``.
        """
        found = {}
        for phase, counts in self._counts.items():
            sums = accumulate(counts[bound] for bound in BOUNDS)
            buckets = MappingProxyType(dict(zip(BOUNDS, sums, strict=True)))
            found[phase] = PhaseTimes(buckets, self._totals[phase])
        return MappingProxyType(found)
