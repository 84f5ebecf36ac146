"""Whose turn it is, of many that each have times of their own.

A step concerns one or two of a node's instances. To ask all of them each time whether something is
due would make a step cost as much as there are instances, and with each of them come more steps.
So each is asked after it was touched, and its answer stands until then:

    touched, or its time has come --> due --> looked at, and asked again for its time

Whoever may have another time now must be touched. An answer that has become too early costs a look
in vain; one that has become too late would be a timer that does not fire, so nothing else than a
touch may bring a time forward. Decides nothing about what is done then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from ovpnha.model import InstanceName


class _Timed(Protocol):
    def get_timer(self) -> float | None: ...


Member = TypeVar("Member", bound=_Timed)


class Agenda(Generic[Member]):
    """The members by their instance, each with its time."""

    def __init__(self, members: Mapping[InstanceName, Member]) -> None:
        self._members = members
        self._times: dict[InstanceName, float] = {}
        self._touched: set[InstanceName] = set(members)

    def touch(self, name: InstanceName) -> None:
        """Something was said to this one, or it is new."""
        self._touched.add(name)

    def leave(self, name: InstanceName) -> None:
        """This one is no member any more."""
        self._touched.discard(name)
        self._times.pop(name, None)

    def due(self, now: float) -> list[InstanceName]:
        """Who was touched, or whose time has come; they stay touched until ``get_timer``."""
        self._touched.update(name for name, time in self._times.items() if time <= now)
        return [name for name in self._members if name in self._touched]

    def get_timer(self) -> float:
        """The first time of all; infinity when there is none."""
        for name in self._touched:
            time = self._members[name].get_timer()
            if time is None:
                self._times.pop(name, None)
            else:
                self._times[name] = time
        self._touched.clear()
        return min(self._times.values(), default=math.inf)


class Addressed(Generic[Member]):
    """Sources or sinks: whoever is addressed may have something to say, and has its turn then."""

    def __init__(self) -> None:
        self._members: dict[InstanceName, Member] = {}
        self._agenda = Agenda(self._members)
        self.get_timer = self._agenda.get_timer

    def __getitem__(self, name: InstanceName) -> Member:
        self._agenda.touch(name)
        return self._members[name]

    def __setitem__(self, name: InstanceName, member: Member) -> None:
        self._members[name] = member
        self._agenda.touch(name)

    def get(self, name: InstanceName) -> Member | None:
        """This one, if it is a member."""
        return self[name] if name in self._members else None

    def pop(self, name: InstanceName) -> Member | None:
        """It is no member any more."""
        self._agenda.leave(name)
        return self._members.pop(name, None)

    def all(self) -> Iterator[Member]:
        """All are addressed."""
        yield from (self[name] for name in self._members)

    @property
    def seen(self) -> Mapping[InstanceName, Member]:
        """All of them, looked at only."""
        return self._members

    def due(self, now: float) -> list[Member]:
        """Those that were addressed, or whose time has come."""
        return [self._members[name] for name in self._agenda.due(now)]
