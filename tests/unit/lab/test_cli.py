"""What ``make lab`` builds: nodes behind a firewall and NAT, unless it is told otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.cli import Kind, Planned, make_setup
from tests.lab.rules import Rules
from tests.lab.scenarios import SCENARIOS

MINE = Path("build/openvpn/openvpn")


@pytest.mark.parametrize(
    ("control_keepalive", "plain", "rules", "conntrack"),
    [
        (None, False, Rules.SNAT_STATEFUL, True),
        ("2 10", False, Rules.SNAT_STATEFUL, False),
        (None, True, Rules.NONE, False),
        ("2 10", True, Rules.NONE, False),
    ],
)
def test_what_the_nodes_have_beside_openvpn(
    control_keepalive: str | None, plain: bool, rules: Rules, conntrack: bool
) -> None:
    """The control run has the same firewall, and nothing that carries its entries."""
    kind = Kind(nodes=3, plain=plain)
    setup = make_setup(Planned(SCENARIOS[0], control_keepalive, 1, kind), MINE)
    assert (setup.rules, setup.conntrack) == (rules, conntrack)
    assert setup.nodes == 3
    assert setup.seamless == (control_keepalive is None)
