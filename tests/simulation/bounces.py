"""Bounces of the VIP, drawn from a seed: away from its master, and back before all is copied.

A bounce begins in a settled cluster in which all clients are protected. What may disturb it, its
``spice``, is drawn apart, so that a plain bounce can be told from one in bad company.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.simulation.schedule import Schedule
from tests.simulation.steps import Step

HAND, RESTART, RELOAD, PORTS = "by hand", "restart", "reload", "ports"
"""Who moves the VIP: somebody; keepalived, restarted or reloaded on every node; the clients'
switch, whose ports come up one after the other."""

AROUND = 0.25
"""Seconds before and after a bounce in which clients change."""


@dataclass(frozen=True)
class Move:
    """The VIP comes to a node, ``at`` seconds after the bounce began."""

    at: float
    node: int


@dataclass(frozen=True)
class Bounce:
    """One bounce of one cluster's VIP."""

    how: str
    spice: str
    moves: tuple[Move, ...]  # by hand: where the VIP goes; else when each node's keepalived is back
    schedule: Schedule  # the cluster; its steps count from the beginning of the bounce

    @property
    def seed(self) -> int:
        """What it was drawn from."""
        return self.schedule.seed

    @property
    def end(self) -> float:
        """Seconds from the first move to the last."""
        return self.moves[-1].at

    def without(self, steps: frozenset[int]) -> Bounce:
        """The same with fewer steps."""
        return replace(self, schedule=self.schedule.without(steps))

    def __str__(self) -> str:
        places = " ".join(f"{one.at * 1000:.1f}ms:n{one.node}" for one in self.moves)
        return f"{self.how}, {self.spice}: {places}\n{self.schedule}"


SPICES = {
    "plain": 30,
    "churn": 30,
    "loss": 8,
    "sidecar": 8,
    "sidecars": 4,
    "demote": 5,
    "options": 5,
    "again": 10,
}
"""How often each is drawn: nothing; clients that come, go and renegotiate; a BCN that loses; a
sidecar, or two, started anew; a demote asked; a third node with other options; several bounces."""

PURE = frozenset({"plain", "churn", "options", "again", "demote"})
"""Where every part works, and is heard: elsewhere a client that changed may have to wait, because
nobody who has it is asked in time."""


def draw_bounce(seed: int, spice: str = "") -> Bounce:
    """The bounce of this seed, with the spice that it draws or this one."""
    rng = random.Random(seed)  # noqa: S311 - a test's dice
    drawn = rng.choices(list(SPICES), list(SPICES.values()))[0]
    spice = spice or drawn
    nodes = 3 if spice == "options" else rng.choice((2, 2, 3))
    how = rng.choices((HAND, RESTART, RELOAD, PORTS), (60, 15, 15, 10))[0]
    clients = rng.choices((60, 100, 250, 500), (64, 25, 9, 2))[0]
    if how == HAND:
        moves = _draw_moves(rng, 2 if spice == "options" else nodes, again=spice == "again")
    else:
        moves = _draw_starts(rng, nodes)
    steps = _draw_steps(rng, spice, nodes, clients, moves[-1].at)
    return Bounce(
        how,
        spice,
        moves,
        Schedule(
            seed=seed,
            nodes=nodes,
            links=rng.choice((1, 2)),
            preferred=False,
            round_size=rng.choice((1 << 24, 1 << 24, 256)),
            packets=1,
            clients=clients,
            chaos=0.0,
            lost=frozenset(),
            steps=tuple(sorted(steps, key=lambda step: step.at)),
            work=rng.choice((0.0, 0.0003, 0.001, 0.002)),
            differ=frozenset({nodes - 1}) if spice == "options" else frozenset(),
        ),
    )


def _draw_stay(rng: random.Random) -> float:
    """Seconds for which the VIP stays."""
    return 10 ** rng.uniform(-3.0, 0.0)


def _draw_moves(rng: random.Random, nodes: int, *, again: bool) -> tuple[Move, ...]:
    """A-B-A, A-B-A-B, A-B-A-B-A, or more; with three nodes B is now one and now another."""
    count = rng.choice((2, 2, 2, 3, 4)) * (3 if again else 1)
    at, here = 0.0, 0
    moves = []
    for number in range(count):
        others = [node for node in range(nodes) if node != here]
        back = number % 2 and 0 in others and rng.random() < 0.8
        here = 0 if back else rng.choice(others)
        moves.append(Move(at, here))
        at += _draw_stay(rng)
    return tuple(moves)


def _draw_starts(rng: random.Random, nodes: int) -> tuple[Move, ...]:
    """When the keepalived of each node runs again, or its port is up."""
    starts = [rng.choice((0.0, 10 ** rng.uniform(-3.0, 0.0))) for _ in range(nodes)]
    return tuple(sorted((Move(at, node) for node, at in enumerate(starts)), key=lambda one: one.at))


def _draw_steps(rng: random.Random, spice: str, nodes: int, clients: int, end: float) -> list[Step]:
    def step(what: str, seconds: float = 0.0, number: int | None = None) -> Step:
        at = rng.uniform(0.0, end + 2 * AROUND)
        drawn = rng.randrange(1 << 16) if number is None else number
        return Step(at, what, rng.randrange(nodes), seconds, drawn)

    company = {
        "loss": [step("weather", end + 1.0, rng.randrange(32))],
        "sidecar": [step("kill_sidecar", rng.uniform(0.01, 0.5))],
        "sidecars": [step("kill_sidecar", rng.uniform(0.01, 0.5)) for _ in range(2)],
        "demote": [step("demote")],
    }.get(spice, [])
    if spice != "plain":
        kinds = ("renegotiate", "renegotiate", "renegotiate", "connect", "disconnect", "float")
        company += [step(rng.choice(kinds)) for _ in range(rng.choice((0, 4, clients // 6)))]
    return company
