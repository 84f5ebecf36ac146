"""Connections of every kind live through the nodes' firewall and NAT, over three moves of the VIP.

A few lives of `make nat`, drawn anew each time; the seed is printed. One without conntrackd shows
that there is something to see.
"""

from __future__ import annotations

import random
from itertools import islice

import pytest

from tests.integration.conftest import OPENVPN
from tests.lab.lab import quiet
from tests.lab.nat.life import Life, live
from tests.lab.nat.rows import FAMILIES, Death, Traffic, broken_promises
from tests.lab.rules import Rules

pytestmark = pytest.mark.integration

IDLE_SECONDS = 2.0
SESSIONS = 40
PROMISED = [(rules, death) for rules in Rules if rules is not Rules.MASQUERADE for death in Death]
TRANSLATES = [one for one in PROMISED if one[0] is Rules.SNAT_VIP]
FILTERS = [one for one in PROMISED if one[0] in {Rules.STATEFUL, Rules.STATEFUL_SYN}]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("choices", [TRANSLATES, FILTERS], ids=["translates", "filters"])
def test_every_session_lives(choices: list[tuple[Rules, Death]]) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    rules, death = random.Random(seed).choice(choices)  # noqa: S311 - a test's dice
    print(f"seed {seed}: {rules}, {death}")
    life = Life(rules, death, False, FAMILIES, IDLE_SECONDS, SESSIONS)
    rows = list(live(life, OPENVPN, quiet))
    dead = [line for line in broken_promises(rows) if "dead" in line]
    assert not dead
    assert {row.traffic for row in rows} == set(Traffic)


def test_without_conntrackd_they_die() -> None:
    life = Life(Rules.STATEFUL_SYN, Death.KILL, True, FAMILIES, IDLE_SECONDS, SESSIONS, patience=2)
    first_move = islice(live(life, OPENVPN, quiet), len(Traffic) * len(FAMILIES))
    assert not any(row.alive for row in first_move if row.traffic is Traffic.DOWNLOAD)
