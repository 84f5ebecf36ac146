"""The face that every part of an instance has.

An instance is a dozen parts and a role. A part is one concern: the copy of a standby, the table of
a master, what the other nodes say, the VIP, whether OpenVPN answers. Parts of one room may know
each other; across rooms only ``parts`` and ``instance`` see two of them. What a part has to do with
the rest goes through six calls:

``take(event, now)``
    Something was heard, from OpenVPN or from another node. ``dispatch`` is the table that says
    which part takes which event.
``get_timer()``
    When time alone makes the part do, or mean, something else. The instance's timer is the
    smallest of all; nothing else names a moment.
``handle_timer(now)``
    Time has passed. Afterwards ``get_timer()`` lies in the future. Until then it stays, even when
    the moment has passed: an event that comes a hair before a late timer must not make it vanish.
``statistics(now)``
    What ``status`` and metrics read: one frozen record, defined beside the part that counts.
``problems(now)``
    What an administrator has to fix, and how.
``stop(now)``
    OpenVPN is gone, or may have become another: what was known of it is void.

A part that has no use for the time names it ``_now``.

Which parts there are: ``parts``. In what order an instance does things, and why: ``instance``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ovpnha.problems import Problem


@dataclass(frozen=True)
class PartStatistics:
    """The figures of one part; ``status --json`` shows them among the instance's own."""


class Part:
    """One concern of an instance; a part overrides what concerns it."""

    def take(self, event: object, now: float) -> None:
        """Something was heard that concerns this part."""

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is due, even if that has passed."""
        return None

    def handle_timer(self, now: float) -> None:
        """Time has passed; afterwards ``get_timer`` is later than ``now``."""

    def statistics(self, _now: float) -> object:
        """The figures of this part, a frozen record; None when it has none."""
        return None

    def problems(self, _now: float) -> Iterator[Problem]:
        """What an administrator has to fix, and how."""
        return iter(())

    def stop(self, now: float) -> None:
        """OpenVPN is gone, or may have become another."""


def first(moments: Iterable[float | None], after: float = float("-inf")) -> float | None:
    """The first of these moments that there is, later than ``after``."""
    found = None
    for one in moments:
        if one is not None and one > after and (found is None or one < found):
            found = one
    return found
