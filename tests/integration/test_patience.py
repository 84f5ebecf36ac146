"""Nobody is told to reconnect for silence, nor for what others sent: see `tests.faults.rekey`."""

from __future__ import annotations

import pytest

from tests.faults.fault import Fault
from tests.faults.rekey import FAULTS
from tests.lab.lab import quiet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_client_is_waited_for(fault: Fault) -> None:
    fault.try_once(quiet)
