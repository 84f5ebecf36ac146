"""All checks of one node: which is due when, what came of it, and what is told of them.

::

      due ──► started ──► running ──► finished ──► waits for its period ──► due
                                        │
                            judge: verdict, text, time

A check is never run twice at once: it is due only when its last run has finished, and then not
sooner than ``GAP`` after that, however long it took. Who runs it kills it at its limit, so every
run finishes. One that is for a master only rests while its instance is none here: a run that was
under way when it began to rest is not counted.

Must never wait, run a program or read a clock. Rules: docs/roles.md, "Checks".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ovpnha.checks.judge import CheckOutcome, Judge
from ovpnha.errors import printable
from ovpnha.model import CheckState, InstanceName, Role, Verdict

GAP = 0.2
"""Least seconds between the end of a run and the next one of the same check."""
TEXT_LIMIT = 200
"""Characters that are kept of what a check says."""


@dataclass(frozen=True)
class CheckPlan:
    """One check, as it is configured. Times are seconds."""

    name: str
    instance: InstanceName | None  # None: of the whole node, so that it counts for all
    period: float
    rise: int
    fall: int
    critical: bool
    sticky: bool
    master_only: bool


@dataclass(frozen=True)
class CheckNews:
    """A verdict has changed."""

    name: str
    instance: InstanceName | None
    verdict: Verdict
    before: Verdict
    critical: bool
    text: str
    recovered: bool = False  # good again, and nobody was told so since it failed


class _Check:
    """One check and its judge."""

    def __init__(self, plan: CheckPlan, now: float, *, stuck: bool) -> None:
        self.plan = plan
        self.judge = Judge(
            rise=plan.rise, fall=plan.fall, sticky=plan.sticky, stuck=stuck and plan.sticky
        )
        self.due = now
        self.running = False
        self.resting = plan.master_only
        self.void = False  # it rested during the run that is under way
        self.owed = self.judge.stuck  # that it is good again must be told
        self.text = ""
        self.checked = 0
        self.at: float | None = None  # when it last had a result

    def describe(self) -> CheckState:
        return CheckState(
            name=self.plan.name,
            verdict=self.judge.verdict,
            critical=self.plan.critical,
            resting=self.resting,
            stuck=self.judge.stuck,
            checked=self.checked,
            text=self.text,
        )


class Checks:
    """Those of one node."""

    def __init__(
        self,
        plans: Sequence[CheckPlan],
        instances: Sequence[InstanceName],
        now: float,
        stuck: Sequence[str] = (),
    ) -> None:
        self._checks = {plan.name: _Check(plan, now, stuck=plan.name in stuck) for plan in plans}
        self._roles = dict.fromkeys(instances, Role.INIT)
        self._news: list[CheckNews] = []

    def set_role(self, instance: InstanceName, role: Role, now: float) -> None:
        """An instance of this node has this role now."""
        self._roles[instance] = role
        for one in self._checks.values():
            rests = one.plan.master_only and not self._is_master(one.plan.instance)
            if one.resting and not rests:
                one.due = now
            if rests and not one.resting:
                one.judge.rest()
                one.void = one.running
            one.resting = rests

    def _is_master(self, instance: InstanceName | None) -> bool:
        roles = self._roles.values() if instance is None else (self._roles[instance],)
        return Role.MASTER in roles

    def role(self, instance: InstanceName | None) -> Role | None:
        """What an instance is now; None for the whole node."""
        return None if instance is None else self._roles[instance]

    def begin(self, now: float) -> tuple[str, ...]:
        """The checks to be run now; each must be finished."""
        due = [one for one in self._waiting() if one.due <= now]
        for one in due:
            one.running, one.due = True, now + one.plan.period
        return tuple(one.plan.name for one in due)

    def finish(self, name: str, outcome: CheckOutcome, text: str, now: float, wall: float) -> None:
        """A run has ended; ``wall`` is seconds since 1970."""
        one = self._checks[name]
        void, one.running, one.void = one.void, False, False
        one.due = max(one.due, now + GAP)
        if one.resting or void:
            return
        one.text = printable(text[:TEXT_LIMIT])
        if outcome is not CheckOutcome.LATER:
            one.at, one.checked = now, int(wall)
        before = one.judge.verdict
        one.judge.take(outcome)
        self._note(one, before)

    def reset(self, name: str | None, now: float) -> tuple[str, ...]:
        """Somebody says that it is mended, or that all are; gives the names of those that were."""
        found = [
            one
            for one in self._checks.values()
            if one.judge.verdict is Verdict.FAILED and name in (None, one.plan.name)
        ]
        for one in found:
            before = one.judge.verdict
            one.judge.reset()
            one.text, one.due = "reset", now
            self._note(one, before)
        return tuple(one.plan.name for one in found)

    def _note(self, one: _Check, before: Verdict) -> None:
        plan, verdict = one.plan, one.judge.verdict
        if verdict is before:
            return
        recovered = one.owed and verdict is Verdict.OK
        one.owed = (one.owed or verdict is Verdict.FAILED) and not recovered
        told = (verdict, before, plan.critical, one.text, recovered)
        self._news.append(CheckNews(plan.name, plan.instance, *told))

    def next_news(self) -> CheckNews | None:
        """A change of a verdict that was not told yet."""
        return self._news.pop(0) if self._news else None

    def get_timer(self) -> float | None:
        """When a check is due."""
        return min((one.due for one in self._waiting()), default=None)

    def _waiting(self) -> Iterator[_Check]:
        return (one for one in self._checks.values() if not (one.running or one.resting))

    def names(self) -> tuple[str, ...]:
        """Every check."""
        return tuple(self._checks)

    def stuck(self) -> tuple[str, ...]:
        """The checks whose failure stays until it is reset."""
        return tuple(name for name, one in self._checks.items() if one.judge.stuck)

    def age(self, name: str, now: float) -> float | None:
        """Seconds since a check last had a result; None when it never had."""
        at = self._checks[name].at
        return None if at is None else now - at

    def states(self) -> Mapping[InstanceName, tuple[CheckState, ...]]:
        """For each instance the checks that count for it, those that failed and matter first."""
        return {
            instance: tuple(
                sorted(
                    (
                        one.describe()
                        for one in self._checks.values()
                        if one.plan.instance in (None, instance)
                    ),
                    key=_weight,
                )
            )
            for instance in self._roles
        }


def _weight(state: CheckState) -> tuple[bool, bool]:
    return state.verdict is not Verdict.FAILED, not state.critical
