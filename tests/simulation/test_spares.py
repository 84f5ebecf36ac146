"""Spares in bad company, and a judge that is awake."""

from __future__ import annotations

import pytest

from tests.simulation.spares import (
    SpareRun,
    believe_closed_connections,
    take_silence_for_an_end,
)

SEEDS = 12
DEFECT_SEEDS = 24
"""So many at most until the planted defect is found."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_broken(seed: int) -> None:
    assert SpareRun(seed).run() == []


def test_a_spare_that_is_promoted_while_the_old_process_still_sends_is_found() -> None:
    found = (SpareRun(seed, believe_closed_connections).run() for seed in range(DEFECT_SEEDS))
    assert any("two masters on" in one for violations in found for one in violations)


def test_a_spare_that_is_promoted_beside_one_that_says_nothing_is_found() -> None:
    found = (SpareRun(seed, take_silence_for_an_end).run() for seed in range(DEFECT_SEEDS))
    assert any("two masters on" in one for violations in found for one in violations)
