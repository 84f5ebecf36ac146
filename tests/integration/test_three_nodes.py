"""A cluster of three nodes: one after the other dies, and the one that is left serves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.pace import PATIENCE
from tests.lab.deaths import cut_node, kill_openvpn
from tests.lab.lab import Lab
from tests.lab.session import Session

pytestmark = pytest.mark.integration


def test_the_last_of_three_serves(make_lab: Callable[..., Lab]) -> None:
    """Two are away at the end, one of them without its cables; the priorities say who follows."""
    lab = make_lab(nodes=3)
    lab.start_cluster()
    session = Session(lab)
    killed = session.strike(kill_openvpn)
    assert session.recovers(killed, PATIENCE)
    lab.wait_master("b")
    lab.wait_in_sync("c")
    cut = session.strike(cut_node)
    assert (killed.node, cut.node) == ("a", "b")
    assert session.recovers(cut, PATIENCE)
    lab.wait_master("c")
    print(f"kill {session.outage_ms(killed):.0f} ms, cut {session.outage_ms(cut):.0f} ms")
    assert session.noticed(killed).nothing
    assert session.finish() == ""
