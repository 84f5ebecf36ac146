"""How long a certificate has to live, as a person would say it."""

from __future__ import annotations

import pytest

from ovpnha.doctor.server import DAY, _days


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (2 * DAY, "2 days"),
        (2 * DAY - 3600, "47 hours"),
        (2.6 * DAY, "3 days"),
        (7200.0, "2 hours"),
    ],
)
def test_from_two_days_on_it_is_told_in_days(seconds: float, said: str) -> None:
    assert _days(seconds) == said
