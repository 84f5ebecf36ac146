"""What is held of a check after a row of results."""

from __future__ import annotations

import pytest

from ovpnha.checks.judge import CheckOutcome, Judge
from ovpnha.model import Verdict

OUTCOMES = {"+": CheckOutcome.GOOD, "-": CheckOutcome.BAD, "?": CheckOutcome.LATER}
VERDICTS = {"u": Verdict.UNKNOWN, "o": Verdict.OK, "f": Verdict.FAILED}


def judge(*, sticky: bool = False, stuck: bool = False) -> Judge:
    return Judge(rise=2, fall=3, sticky=sticky, stuck=stuck)


def is_ok(one: Judge) -> bool:
    return one.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("+", "o"),  # one good result is enough to begin with
        ("--", "uu"),
        ("---", "uuf"),  # also of one that was never good
        ("+--+", "oooo"),  # the row is broken
        ("+--+--", "oooooo"),
        ("+---", "ooof"),
        ("---+", "uuff"),
        ("---++", "uuffo"),
        ("---+-+", "uuffff"),
        ("---+-++", "uuffffo"),
        ("?", "u"),
        ("+?", "oo"),
        ("--?-", "uuuf"),  # later neither begins nor ends a row
        ("---+?+", "uufffo"),
        ("---???????", "uuffffffff"),
    ],
)
def test_a_row_of_results_makes_a_verdict(results: str, verdicts: str) -> None:
    one = judge()
    found = []
    for letter in results:
        one.take(OUTCOMES[letter])
        found.append(one.verdict)
    assert found == [VERDICTS[letter] for letter in verdicts]
    assert not one.stuck


def test_a_sticky_failure_stays_until_it_is_reset() -> None:
    one = judge(sticky=True)
    for letter in "---++++++":
        one.take(OUTCOMES[letter])
    assert one.stuck
    one.reset()
    assert (one.verdict, one.stuck) == (Verdict.UNKNOWN, False)
    one.take(CheckOutcome.GOOD)
    assert one.verdict is Verdict.OK


def test_a_failure_of_before_a_restart_is_kept() -> None:
    one = judge(sticky=True, stuck=True)
    one.take(CheckOutcome.GOOD)
    one.take(CheckOutcome.GOOD)
    assert one.stuck


def test_a_rest_begins_a_new_row_and_keeps_the_verdict() -> None:
    one = judge()
    one.take(CheckOutcome.GOOD)
    one.take(CheckOutcome.BAD)
    one.take(CheckOutcome.BAD)
    one.rest()
    one.take(CheckOutcome.BAD)
    one.take(CheckOutcome.BAD)
    assert is_ok(one)
    one.take(CheckOutcome.BAD)
    assert not is_ok(one)
    one.take(CheckOutcome.GOOD)
    one.rest()
    one.take(CheckOutcome.GOOD)
    assert not is_ok(one)
