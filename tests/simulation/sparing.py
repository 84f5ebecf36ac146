"""Machines with two processes of OpenVPN: which have them in a schedule, and what befalls these.

Drawn by dice of its own, so that a schedule without spares is what it always was. What happens to
whole machines, networks, VIPs and clients happens to these as well; here is what only they know:
planned moves from one process to the other, alone or as a whole restart, and deaths of one of them,
or of both, at the same time as all else.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ovpnha.machines import SparePolicy
from tests.simulation.steps import MASTER, Step

SHARE = 0.3
"""Of the schedules, how many have machines with spares."""
POLICIES = (SparePolicy.ALWAYS, SparePolicy.ALWAYS, SparePolicy.RESTART)

WEIGHTS = {
    "move": 10,
    "renew": 6,
    "kill_openvpn": 8,
    "pause_openvpn": 5,
    "break_management": 4,
    "kill_both": 2,
    "bar": 2,
    "flap": 4,
    "vip_cut": 2,
    "crash": 2,
    "switchover": 5,
    "demote": 2,
    "promote": 2,
    "kill_sidecar": 3,
    "pause": 3,
    "renegotiate": 4,
    "connect": 2,
}
BURST = 0.6
"""Probability that a step follows the one before within milliseconds."""


@dataclass(frozen=True)
class SparePlan:
    """Which machines have spares, and what happens because of that."""

    machines: frozenset[int]
    policy: SparePolicy
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return f"{self.policy} on {sorted(self.machines)}"


def draw_spares(seed: int, nodes: int, chaos: float, share: float = SHARE) -> SparePlan | None:
    """The spares of a schedule: most have none."""
    rng = random.Random(f"spares {seed}")  # noqa: S311 - a test's dice
    if rng.random() >= share:
        return None
    machines = frozenset(one for one in range(nodes) if rng.random() < 0.75) or frozenset({0})
    return SparePlan(machines, rng.choice(POLICIES), tuple(_draw_steps(rng, nodes, chaos)))


def _draw_steps(rng: random.Random, nodes: int, chaos: float) -> list[Step]:
    kinds = rng.sample(sorted(WEIGHTS), rng.randint(3, len(WEIGHTS)))
    weights = [WEIGHTS[kind] for kind in kinds]
    steps: list[Step] = []
    at = 0.0
    for _ in range(rng.choice((3, 6, 12))):
        burst = steps and rng.random() < BURST
        at = at + 10 ** rng.uniform(-4.5, -0.5) if burst else rng.uniform(0.8, chaos)
        node = MASTER if rng.random() < 0.7 else rng.randrange(nodes)
        seconds = 10 ** rng.uniform(-2.5, 0.8)
        what = rng.choices(kinds, weights)[0]
        steps.append(Step(at, what, node, seconds, rng.randrange(1 << 16)))
    return steps
