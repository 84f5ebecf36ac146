"""The master dies at each instant of a renegotiation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovpnha.lab.renegotiation import INSTANTS, broken_promises, run
from tests.integration.conftest import OPENVPN

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

RUNS = 2


@pytest.mark.parametrize("instant", list(INSTANTS))
def test_the_master_dies_at_an_instant_of_a_renegotiation(instant: str) -> None:
    openvpn: Path = OPENVPN
    outcomes = [run(instant, number, openvpn) for number in range(1, RUNS + 1)]
    assert broken_promises(outcomes) == []
