"""What a run of the DCO client may cost, and how runs become rows."""

from __future__ import annotations

import pytest

from tests.lab.dco.__main__ import summary, table
from tests.lab.dco.cases import CASES, LOST_MS, SEAMLESS_MS, Outcome, broken_promise


def outcome(case: str = "takeover", gap: float = 10.0, **given: object) -> Outcome:
    values = {"lost": 1, "back_after_s": 0.1, "reconnected": False} | given
    return Outcome(case=case, longest_gap_ms=gap, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
def test_a_lost_client_breaks_every_promise(case: str) -> None:
    assert "for good" in broken_promise(outcome(case, back_after_s=None))


def test_the_bounds() -> None:
    assert not broken_promise(outcome(gap=SEAMLESS_MS))
    assert broken_promise(outcome(gap=SEAMLESS_MS + 1))
    assert broken_promise(outcome(reconnected=True))
    flight = "kill-in-tls-flight"
    assert not broken_promise(outcome(flight, LOST_MS, reconnected=True))
    assert broken_promise(outcome(flight, LOST_MS + 1))


def test_a_row_is_the_worst_of_its_runs() -> None:
    runs = [
        outcome(gap=5.0, lost=3, crashes=("BUG: so",)),
        outcome(gap=9.0, back_after_s=None),
        outcome("failback"),
    ]
    rows = summary(runs)
    assert rows[0] == {
        "case": "takeover",
        "runs": 2,
        "lost": 3,
        "longest_gap_ms": 9.0,
        "back_after_s": 0.1,
        "lost_for_good": 1,
        "reconnected": 0,
        "crashes": ["BUG: so"],
    }
    assert [row["case"] for row in rows] == ["takeover", "failback"]
    assert table(rows).count("\n") == len(rows)
    assert table(rows).splitlines()[1].split()[-1] == "1"
