"""What holds whenever a node, or its end of the back channel, is driven."""

from __future__ import annotations

import pytest

from ovpnha.replication.agenda import Agenda, Member

ROUNDING = 1e-6


@pytest.fixture(autouse=True)
def no_time_comes_forward_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not asked again has no earlier time than it said."""
    get_timer = Agenda.get_timer

    def check(self: Agenda[Member]) -> float | None:
        first = get_timer(self)
        for name, member in self._members.items():
            time, kept = member.get_timer(), self._times.get(name)
            assert time is None or (kept is not None and kept <= time + ROUNDING), name
        return first

    monkeypatch.setattr(Agenda, "get_timer", check)
