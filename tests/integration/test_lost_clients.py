"""OpenVPN lives and has lost its clients: it is not fit to be master while another has them."""

from __future__ import annotations

import pytest

from tests.faults.lost_clients import DEEDS, Deed, lose_clients
from tests.lab.lab import Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_the_vip_goes_where_the_clients_are(lab: Lab, deed: Deed) -> None:
    print(lose_clients(lab, deed))
